# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab's own mount namespace: making it, running commands in it, and leaving nothing of it behind.

A holder process (holder.py) sits in a private mount namespace with a tmpfs on /run/netns; the lab's network
namespaces exist only there. Whatever runs in the lab carries FIPMETER_LAB=NAME/RUN in its environment (RUN is drawn
anew for each holder): by that mark the processes of a lab are found again, also without a record. The record is
/run/fipmeter-lab/NAME/lab.json.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "FIPMETER_LAB"
RECORDS = Path("/run/fipmeter-lab")
PYTHON = "/usr/bin/python3"
_libc = ctypes.CDLL(None)


class LabError(RuntimeError):
    """A command of the lab failed; the message has its standard error."""


def die_with_parent():
    """For preexec_fn: the child is killed when the thread that started it ends."""
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def start_time(pid):
    """When a process was started, in clock ticks since boot; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def marked(name, run=""):
    """The processes that run in the lab `name` (in one run of it), except this one."""
    wanted = f"{MARK}={name}/{run}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if any(item.startswith(wanted) for item in environment.split(b"\0")):
                found.append(int(entry))
    return found


def clean(name, run="", patience=10.0):
    """End all that runs in the lab `name` (in one run of it) and remove its record. Safe at any time, any number of
    times."""
    deadline = time.monotonic() + patience
    while pids := [pid for pid in marked(name, run) if start_time(pid) is not None]:
        if time.monotonic() > deadline:
            raise LabError(f"lab {name}: processes {pids} do not end")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.005)
    if not run or (read_record(name) or {}).get("run") == run:
        shutil.rmtree(RECORDS / name, ignore_errors=True)
    try:
        RECORDS.rmdir()
    except OSError:
        pass


def clean_dead():
    """Clean up after labs, of any name, whose holder was killed."""
    for directory in RECORDS.glob("*"):
        record = read_record(directory.name)
        if record and not alive(record):
            clean(directory.name, record["run"])


def read_record(name):
    """The record of the lab `name`, or None."""
    try:
        return json.loads((RECORDS / name / "lab.json").read_text())
    except (OSError, ValueError):
        return None


def write_record(name, record):
    """Replace the record at once: a reader sees the old or the new one."""
    directory = RECORDS / name
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = directory / f"lab.json.{os.getpid()}"
    temporary.write_text(json.dumps(record))
    temporary.rename(directory / "lab.json")


def alive(record):
    """True if the holder that a record names still runs."""
    holder = (record or {}).get("holder")
    return bool(holder) and start_time(holder["pid"]) == holder["start"]


class Inside:
    """The way into one lab: `pid` is its holder."""

    def __init__(self, name, run, pid, process=None):
        self.name = name
        self.run_id = run
        self.pid = pid
        self.start = start_time(pid)
        self._process = process

    @classmethod
    def create(cls, name):
        """Start a holder that lives as long as this process does, or until keep()."""
        Path("/run/netns").mkdir(mode=0o755, exist_ok=True)
        run = os.urandom(8).hex()
        argv = ["unshare", "--mount", "--propagation", "private", PYTHON, "-I",
                str(Path(__file__).with_name("holder.py")), name, str(os.getpid())]
        process = subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env={**os.environ, MARK: f"{name}/{run}"},
                                   preexec_fn=die_with_parent)
        if process.stdout.readline() != "ready\n":
            process.kill()
            raise LabError(f"lab {name}: no mount namespace of its own: {process.communicate()[1].strip()}")
        return cls(name, run, process.pid, process)

    @property
    def mark(self):
        return f"{self.name}/{self.run_id}"

    def keep(self):
        """Let the lab outlive this process."""
        self._process.stdin.write("keep\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != "kept\n":
            raise LabError(f"lab {self.name}: its holder ended")

    def release(self):
        """Forget the holder once it has been killed."""
        if self._process:
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
                stream.close()
            self._process.wait()
            self._process = None

    def argv(self, argv, namespace=None):
        """The command line that runs `argv` in the lab: in a network namespace of it, or in the machine's."""
        root = f"/proc/{self.pid}/root"
        enter = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt"]
        if namespace:
            enter.append(f"--net={root}/run/netns/{namespace}")
        return enter + [f"--wd={root}{os.getcwd()}", "--", *map(str, argv)]

    def popen(self, argv, namespace=None, env=None, **options):
        """A process in the lab that dies with this one."""
        environment = {**(os.environ if env is None else env), MARK: self.mark}
        return subprocess.Popen(self.argv(argv, namespace), env=environment, preexec_fn=die_with_parent, **options)

    def call(self, argv, namespace=None, input=None, timeout=None, **options):
        """Run to the end: a CompletedProcess with text, whatever the exit status."""
        with self.popen(argv, namespace, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE, **options) as process:
            try:
                stdout, stderr = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)

    def run(self, argv, namespace=None, input=None, **options):
        """Run to the end and return the standard output; LabError with the standard error if it fails."""
        return self.result(self.call(argv, namespace, input, **options), namespace)

    def result(self, done, namespace):
        if done.returncode:
            where = namespace or f"lab {self.name}"
            raise LabError(f"{where}: {' '.join(map(str, done.args))}: status {done.returncode}: "
                           f"{done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def scripts(self, pairs, together=4):
        """Run (namespace, shell text) pairs, a few at once; the first failure is raised."""
        waiting, running = list(pairs), []
        try:
            while waiting or running:
                while waiting and len(running) < together:
                    namespace, text = waiting.pop(0)
                    process = self.popen(["sh", "-e"], namespace, text=True, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    process.stdin.write(text)
                    process.stdin.close()
                    process.stdin = None
                    running.append((namespace, process))
                namespace, process = running.pop(0)
                output = process.communicate()[0]
                self.result(subprocess.CompletedProcess(["sh"], process.returncode, "", output), namespace)
        finally:
            for _, process in running:
                process.kill()
                process.communicate()


def need_root():
    if os.geteuid() != 0:
        sys.exit("lab: needs root (network namespaces, iptables)")
