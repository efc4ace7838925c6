# SPDX-License-Identifier: GPL-2.0-or-later
"""Routers of the lab to compare meters in, one router an arm: nothing, each back end, the seed's rules, Neutron's own meter.

All stand at once, so that runs can alternate within milliseconds.  An agent of its own looks at those routers alone that are
its arms: they are shown to it in a netns directory of their own.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

from measuring import PROGRAM, ROOT, progress

sys.path[:0] = [str(ROOT / "lab"), str(ROOT / "tests/stories")]

from fiplab import Lab, build  # noqa: E402

BACKENDS = ["nft", "iptables", "ebpf"]
METERED_DIR = "/run/netns/metered"    # in the tmpfs that the lab has there


@contextmanager
def bench_lab(name, flavour="nft", routers=(), pauses=False, **options):
    """With a bpffs of its own: ebpf counts for one agent a host, and others may be at work here."""
    with Lab(name=f"bench-{name}", flavour=flavour, routers=list(routers), pauses=pauses, **options) as lab:
        lab.inside.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"])
        yield lab


def teach_bridges(lab, routers):
    """Where each router is: a bridge that does not know floods all its ports."""
    lines = [f"fdb replace {port.mac} dev {port.tap} master static" for router in routers for port in router.ports]
    lab.inside.run(["bridge", "-n", build.FABRIC, "-batch", "-"], input="\n".join(lines) + "\n")


# --- rules of others, as one text for iptables-restore ---

def seed_rules(lab, router):
    """The seed's: mangle PREROUTING, two rules a floating IP, two for the gateway address."""
    def rule(match, name):
        return f"-A PREROUTING {match} -m comment --comment {name} -j traffic_chain"

    inside, outside = "-m set --match-set subnet1", "-m set ! --match-set subnet1"
    lines = ["*mangle", ":traffic_chain - [0:0]",
             rule(f"{inside} src {outside} dst", f"traffic_snat_{router.gateway}_out"),
             rule(f"-d {router.gateway}/32 {outside} src", f"traffic_snat_{router.gateway}_in")]
    for address, vm in router.floating.items():
        lines += [rule(f"-s {lab.fixed(vm)}/32 {outside} dst", f"traffic_{address}_vm_out"),
                  rule(f"-d {address}/32", f"traffic_{address}_vm_in")]
    return "\n".join([*lines, "COMMIT", ""])


def put_seed(lab, router):
    lab.run(router.name, ["sh", "-ec", "ipset create subnet1 hash:ip; ipset add subnet1 172.16.0.2"])
    restore(lab, router, seed_rules(lab, router))


def label(number):
    """The part of a label's chain name that Neutron takes from its uuid."""
    return f"{number:08x}-b"


def neutron_meter_rules(lab, router):
    """neutron-metering-agent's (iptables driver): filter FORWARD, and for each label two chains. One label a floating IP with
    a rule a direction is the least that tells addresses apart: it sums in and out; a label for each would be twice that."""
    labels = range(len(router.floating))
    lines = ["*filter", ":neutron-meter-FORWARD - [0:0]"]
    lines += [f":neutron-meter-{kind}-{label(number)} - [0:0]" for number in labels for kind in "lr"]
    lines.append("-A FORWARD -j neutron-meter-FORWARD")
    for number, vm in zip(labels, router.floating.values()):
        mine, fixed = label(number), lab.fixed(vm)
        lines += [f"-A neutron-meter-FORWARD -j neutron-meter-r-{mine}", f"-A neutron-meter-l-{mine}",
                  f"-A neutron-meter-r-{mine} -d {fixed}/32 -i {router.qg} -j neutron-meter-l-{mine}",
                  f"-A neutron-meter-r-{mine} -s {fixed}/32 -o {router.qg} -j neutron-meter-l-{mine}"]
    return "\n".join([*lines, "COMMIT", ""])


def put_neutron_meter(lab, router):
    restore(lab, router, neutron_meter_rules(lab, router))


def put_one(lab, router):
    """What nf_tables takes at the least at our hook: one chain with one rule, which counts all packets together."""
    lab.run(router.name, ["nft", "-f", "-"], input="table ip one { chain c { type filter hook prerouting priority -150; counter; }; }\n")


def restore(lab, router, text):
    lab.run(router.name, [lab.iptables_restore, "--noflush", "-w", "10"], input=text)


# --- ours ---

class Agent:
    """fipmeter in a lab, with a store of its own. What it says on failing is raised; its log is shown then."""

    def __init__(self, lab, directory, config, netns_dir="/run/netns"):
        self.lab, self.netns_dir = lab, netns_dir
        self.state, self.config, self.log = directory / "state", directory / "fipmeter.conf", directory / "agent.log"
        self.config.write_text(config)
        self.process = None

    def argv(self, command, *more):
        return [PROGRAM, command, "--config", self.config, "--state-dir", self.state, "--netns-dir", self.netns_dir, *more]

    def run(self, command, *more):
        """Again while not all is done (status 4): others on the machine may have held the lock of legacy tables."""
        for _ in range(30):
            done = self.lab.inside.call(self.argv(command, *more))
            if done.returncode != 4:
                break
            time.sleep(1)
        return self.lab.inside.result(done, None)

    # --- in the background ---

    def start(self, under=()):
        """When this returns it has taken its first sample."""
        with self.log.open("w") as log:
            self.process = self.lab.popen([*under, *self.argv("agent", "--interval", 3600)], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log)
        at = os.stat(f"/proc/{self.lab.inside.pid}/root{self.netns_dir}")
        self.told = Path(f"/run/fipmeter/netns-{os.major(at.st_dev)}-{os.minor(at.st_dev)}-{at.st_ino}.json")
        self._wait(lambda: self.told.exists())
        self.settle()

    @property
    def pid(self):
        return self.process.pid

    def _wait(self, condition, patience_s=300):
        deadline = time.monotonic() + patience_s
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the agent ended or does not go on:\n{self.log.read_text()}")
            time.sleep(0.0005)

    def cpu_s(self):
        """Of its life so far, to the nanosecond; what the kernel does elsewhere for it is not in it."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def settle(self):
        """Until it has nothing more to do."""
        before = -1
        while (now := self.cpu_s()) != before:
            before = now
            time.sleep(0.3)

    def sample(self):
        """(CPU seconds, wall seconds): from the request until what `status` reads is there; CPU until nothing more is to do."""
        before, cpu, began = self.told.stat().st_ino, self.cpu_s(), time.monotonic()
        self.process.send_signal(signal.SIGUSR1)
        self._wait(lambda: self.told.stat().st_ino != before)
        wall = time.monotonic() - began
        self.settle()
        return self.cpu_s() - cpu, wall

    def query(self, statement):
        """What a statement finds in the store."""
        with closing(sqlite3.connect(f"file:{self.state}/usage.db?mode=ro", uri=True, timeout=10)) as store:
            return store.execute(statement).fetchall()

    def memory_mib(self, field="VmHWM"):
        """The most that was resident (VmHWM), or is now (VmRSS)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024

    def forget_peak(self):
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def forks(self):
        """How many processes and threads it makes for one sample, and programs it becomes (strace)."""
        log = self.log.with_name("strace.log")
        with subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=fork,vfork,clone,clone3,execve", "-e", "signal=none",
                               "-o", log, "-p", str(self.pid)], stderr=subprocess.PIPE, text=True) as tracer:
            self._wait(lambda: f"TracerPid:\t{tracer.pid}" in Path(f"/proc/{self.pid}/status").read_text())
            self.sample()
            tracer.send_signal(signal.SIGINT)
        return len(log.read_text().splitlines())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(300):
            sys.exit(f"the agent failed:\n{self.log.read_text()}")


def show_only(lab, routers):
    """A netns directory with these routers alone, for an agent that is to leave the others."""
    names = "".join(f"touch {METERED_DIR}/{router.namespace}\nmount --bind /run/netns/{router.namespace} "
                    f"{METERED_DIR}/{router.namespace}\n" for router in routers)
    lab.inside.run(["sh", "-e"], input=f"mkdir -p {METERED_DIR}\n{names}")
    return METERED_DIR


def make_arms(lab, backends, floating, directory, others=("unmetered", "again", "one", "seed", "neutron")):
    """A router an arm, with so many floating IPs and one VM each: name -> router. `again` is unmetered as well: how far it is
    from `unmetered` is what the measure itself is off by."""
    names = [*others, *backends]
    progress(f"  {len(names)} routers with {floating} floating IPs")
    arms = dict(zip(names, lab.routers_add([f"{name}{floating}" for name in names], floating=floating, vms=1)))
    teach_bridges(lab, arms.values())
    for name, put in {"one": put_one, "seed": put_seed, "neutron": put_neutron_meter}.items():
        if name in arms:
            progress(f"  rules of {name}")
            put(lab, arms[name])
    progress("  fipmeter's counters")
    config = "[backends]\n" + "".join(f"{name} = {arms[name].uuid}\n" for name in backends)
    agent = Agent(lab, directory, config, show_only(lab, [arms[name] for name in backends]))
    agent.run("agent", "--once")
    return arms, agent
