# SPDX-License-Identifier: GPL-2.0-or-later
"""Routers of the lab to compare meters in, one router an arm: nothing, each back end, the seed's rules, Neutron's own meter.

All stand at once, so that runs can alternate within milliseconds.  An agent of its own looks at those routers alone that are
its arms: they are shown to it in a netns directory of their own.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

from measuring import PROGRAM, ROOT, progress

sys.path.insert(0, str(ROOT / "lab"))

from fiplab import Lab  # noqa: E402

BACKENDS = ["nft", "iptables", "ebpf"]
METERED_DIR = "/run/netns/metered"    # in the tmpfs that the lab has there


@contextmanager
def bare_lab(name, flavour="nft", **options):
    """Without any router. Its own bpffs: ebpf counts for one agent a host, and others may be at work here."""
    with Lab(name=f"bench-{name}", flavour=flavour, routers=[], pauses=False, **options) as lab:
        lab.inside.run(["sh", "-ec", f"mount -t bpf bpf /sys/fs/bpf; mkdir {METERED_DIR}"])
        yield lab


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
    a rule a direction is the least that tells addresses apart: it sums in and out, where a label for each would be twice that."""
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


def restore(lab, router, text):
    lab.run(router.name, [lab.iptables_restore, "--noflush", "-w", "10"], input=text)


# --- ours ---

class Agent:
    """fipmeter over some routers of a lab, each by the back end that is told."""

    def __init__(self, lab, directory, backends):
        """backends: pairs of a router and the name of its back end."""
        self.lab, self.state, self.config, self.log = lab, directory / "state", directory / "conf", directory / "log"
        own = "".join(f"{name} = {', '.join(router.uuid for router, its in backends if its == name)}\n" for name in BACKENDS
                      if any(its == name for _, its in backends))
        self.config.write_text(f"[agent]\nbackend = nft\n[backends]\n{own}")
        names = "".join(f"touch {METERED_DIR}/{router.namespace}\nmount --bind /run/netns/{router.namespace} "
                        f"{METERED_DIR}/{router.namespace}\n" for router, _ in backends)
        lab.inside.run(["sh", "-e"], input=names)
        self.process = None

    def argv(self, command, *more):
        return [PROGRAM, command, "--config", self.config, "--state-dir", self.state, "--netns-dir", METERED_DIR, *more]

    def run(self, command, *more):
        return self.lab.inside.run(self.argv(command, *more))


def make_arms(lab, backends, floating, directory, others=("unmetered", "again", "seed", "neutron")):
    """A router an arm, with so many floating IPs and one VM each: name -> router. `again` is unmetered as well: how far it is
    from `unmetered` is what the measure itself is off by."""
    names = [*others, *backends]
    progress(f"  {len(names)} routers with {floating} floating IPs")
    arms = dict(zip(names, lab.routers_add([f"{name}{floating}" for name in names], floating=floating, vms=1)))
    for name, put in {"seed": put_seed, "neutron": put_neutron_meter}.items():
        if name in arms:
            progress(f"  rules of {name}")
            put(lab, arms[name])
    agent = Agent(lab, directory, [(arms[name], name) for name in backends])
    progress("  fipmeter's counters")
    agent.run("agent", "--once")
    return arms, agent
