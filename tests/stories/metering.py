# SPDX-License-Identifier: GPL-2.0-or-later
"""The class Meter: fipmeter in a lab, with a store of its own. What the program says is never taken on trust: a crash,
a report of a sanitizer or a wrong exit status fails the story, with standard error shown.
"""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("FIPMETER_BUILD", "build") / "fipmeter"

# What stands before the program: privileges that are taken from it, if the stories are to run with less.
UNDER = shlex.split(os.environ.get("FIPMETER_UNDER", ""))

# The agent's own clock never strikes inside a story: samples are asked for.
INTERVAL_S = 3600
PATIENCE_S = 30


def wait_for(condition, what, patience_s=PATIENCE_S):
    """Poll until condition() is true, and return what it gave."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience_s} s for {what}"
        time.sleep(0.003)
    return found


def now_us():
    return time.time_ns() // 1000


class Meter:
    def __init__(self, lab, directory, backend="nft", place="auto"):
        assert PROGRAM.exists(), f"{PROGRAM} is not there: make build"
        directory.mkdir(exist_ok=True)
        self.lab = lab
        self.state = directory / "state"
        # What the machine itself may have in /etc is no part of the story.
        self.config = directory / "fipmeter.conf"
        self.backend = backend
        self.place = place
        self.configure("")
        self.log = directory / "agent.log"
        self.process = None

    def configure(self, text):
        """Write the configuration: this meter's back end, then text."""
        self.config.write_text(f"[agent]\nbackend = {self.backend}\nebpf_place = {self.place}\n{text}")

    # --- running ---

    def run(self, *argv, status=0):
        """Run a command of fipmeter where an agent would run; its exit status must be as told (a tuple: one of)."""
        done = self.lab.sh([*UNDER, PROGRAM, *argv], timeout=60)
        allowed = status if isinstance(status, tuple) else (status,)
        assert done.returncode in allowed, (f"fipmeter {' '.join(map(str, argv))}: exit status {done.returncode}, "
                                            f"not {status}\n{done.stderr}{done.stdout}")
        return done

    def node_argv(self, command, *more):
        return [command, "--config", self.config, "--state-dir", self.state, *more]

    def command(self, command, *more, status=0):
        """The same, with this meter's configuration and state directory."""
        return self.run(*self.node_argv(command, *more), status=status)

    def once(self, *more, status=0):
        return self.command("agent", "--once", *more, status=status)

    def detach(self, status=0):
        done = self.command("detach", status=status)
        pins = self.lab.sh(["find", "/sys/fs/bpf/fipmeter"]).stdout
        assert status or not pins, f"left behind in the kernel:\n{pins}"
        return done

    def audit(self):
        return self.command("audit")

    # --- the agent in the background ---

    def start(self, interval_s=INTERVAL_S):
        """Start an agent; when this returns it has taken its first sample."""
        assert self.process is None, "the agent runs already"
        before = now_us()
        argv = [*UNDER, PROGRAM, *self.node_argv("agent", "--interval", interval_s)]
        with self.log.open("a") as log:
            self.process = self.launch(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_sampled(before)

    def launch(self, argv, **options):
        """How the agent is started; a story may put a service manager here."""
        return self.lab.popen(argv, **options)

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self._check_alive()
        self.process.send_signal(number)

    def sample(self):
        """Have the agent take a sample, and wait until that is in the store."""
        before = now_us()
        self.signal(signal.SIGUSR1)
        self._wait_sampled(before)

    def stop(self):
        """SIGTERM: a last sample, then the end."""
        self.signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        self.process = None
        assert status == 0, f"the agent ended with {status} on SIGTERM\n{self.said()}"

    def kill(self):
        """kill -9, if it runs."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _check_alive(self):
        status = self.process.poll()
        assert status is None, f"the agent ended by itself with {status}\n{self.said()}"

    def _wait_sampled(self, since_us):
        """Until the coverage of every router that stands reaches beyond since_us. That of single addresses does so earlier:
        it is written with the births, before the kernel counts by the new plan."""
        wanted = {router.uuid for router in self.lab.routers.values() if router.present}

        def sampled():
            self._check_alive()
            return wanted <= {row["router"] for row in self.coverage() if row["end"] >= since_us and not row["address"]}

        try:
            wait_for(sampled, "a sample of all routers to be in the store")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None

    # --- what it has counted ---

    def usage(self, *argv, per="interval"):
        """What `fipmeter usage -o json` says of all time."""
        return json.loads(self.command("usage", "--since", "0", "--per", per, "-o", "json", *argv).stdout)

    def usage_of(self, address):
        """The rows of one address, oldest first."""
        return sorted(self.usage("--address", address), key=lambda row: (row["start"], row["end"]))

    def query(self, statement, *values):
        """Read the store past the program, as anybody may. Empty as long as there is no store."""
        path = self.state / "usage.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as store:
            store.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in store.execute(statement, values)]
            except sqlite3.OperationalError as error:
                # The agent is making it at this moment.
                if "no such table" in str(error) or "unable to open" in str(error):
                    return []
                raise

    def coverage(self, router=None):
        """The coverage rows, of one router of the lab if named, oldest first."""
        rows = self.query("SELECT * FROM coverage ORDER BY seq")
        return [row for row in rows if router is None or row["router"] == self.lab.routers[router].uuid]

    def states(self, router):
        """The states of a router as a whole, oldest first."""
        return [row["state"] for row in self.coverage(router) if not row["address"]]

    # --- the end ---

    def leave(self):
        """What every story ends with: the books add up, and nothing of ours stays in the kernel."""
        if self.process:
            self.stop()
        self.audit()
        self.detach()
        self.audit()
