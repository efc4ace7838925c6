# SPDX-License-Identifier: GPL-2.0-or-later
"""UDP packets through the arms' routers, from bench/flood.c to where they end and are counted."""

import re

from fiplab import build, topology
from measuring import BUILD

CPU = 1         # the sender's
SINK = """table netdev sink {
  chain c { type filter hook ingress device eth0 priority 0; meta protocol ip udp dport 9 counter drop; }
}
"""


def vm_of(router):
    return f"{router.name}.1"


def prepare(lab, arms, used):
    """Where packets end, and nothing on the way that is not a node's: the lab's own counts are taken out; all neighbours are
    known, one VM has the addresses of all; connections are not forgotten between two batches."""
    for who in ["ext", *map(vm_of, arms.values())]:
        lab.run(who, ["nft", "-f", "-"], input=f"delete table ip labtruth\n{SINK}")
    for router in arms.values():
        vm = lab.vms[vm_of(router)]
        lines = [f"neigh replace {lab.fixed(name)} lladdr {vm.mac} nud permanent dev {router.internal[0].device}"
                 for name in list(router.floating.values())[::len(router.floating) // used]]
        lines.append(f"neigh replace {router.next_hop} lladdr {topology.lab_mac('ext-gw')} nud permanent dev {router.qg}")
        lab.run(router.name, ["ip", "-batch", "-"], input="\n".join(lines) + "\n")
        lab.run(router.name, ["sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=3600"])


def way(lab, router, direction, used, size):
    """A line for bench/flood.c, without the number of packets."""
    vm, step = lab.vms[vm_of(router)], len(router.floating) // used
    address = next(iter(router.floating))
    if direction == "in":
        words = [build.EXT, "eth0", topology.lab_mac("ext-gw"), router.external.mac, topology.FAR, 0, address, step]
    else:
        words = [vm.namespace, "eth0", vm.mac, router.internal[0].mac, vm.fixed, step, topology.FAR, 0]
    return " ".join(map(str, [f"/run/netns/{words[0]}", *words[1:], used, size]))


def flood(lab, ways, rounds):
    """ways: pairs of a line and its number of packets. For each its batches, as (packets, CPU ns, clock ns)."""
    text = "".join(f"{line} {packets}\n" for line, packets in ways)
    batches = [[] for _ in ways]
    for line in lab.inside.run([BUILD / "bench/flood", rounds, CPU], input=text).splitlines():
        number, *batch = map(int, line.split())
        batches[number].append(tuple(batch))
    return batches


def arrived(lab, arms):
    """How many packets have come to their end, by now."""
    text = "".join(lab.run(who, ["nft", "list", "table", "netdev", "sink"]) for who in ["ext", *map(vm_of, arms.values())])
    return sum(int(count) for count in re.findall(r"counter packets (\d+)", text))
