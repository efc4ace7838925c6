# SPDX-License-Identifier: GPL-2.0-or-later
"""Beside the rules that this project starts from (docs: iptables, mangle PREROUTING, one rule a counter, the set
subnet1 of the VMs without floating IP): both count the same on scenarios 1 to 6, our classes summed.

Left out on purpose: a VM with floating IP that calls another VM's fixed address on a second subnet of its router.
There the seed's rule for `vm_out` asks only that the destination is not in subnet1, so it counts what never leaves the
router whenever the called VM has a floating IP (a -> e, e -> a, b -> e, ...); ours do not (test_truth_table).
"""

import re
from collections import defaultdict

from accounts import FAR, FIP, GATEWAY, HOME, Bill, expect, floating, gateway
from flows import Flow, carry

WITHOUT = {"r1": ["c", "d"], "r2": ["g"]}


def seed_rules(lab, router):
    """The seed's rules 4 to 8 for one router, as arguments of iptables -t mangle."""
    address = GATEWAY[router]
    inside, not_inside = ["-m", "set", "--match-set", "subnet1"], ["-m", "set", "!", "--match-set", "subnet1"]
    rules = [
        [*inside, "src", *not_inside, "dst", *comment(f"traffic_snat_{address}_out")],
        ["-d", f"{address}/32", *not_inside, "src", *comment(f"traffic_snat_{address}_in")],
    ]
    for vm in [vm for vm, home in HOME.items() if home == router]:
        rules += [["-s", f"{lab.fixed(vm)}/32", *not_inside, "dst", *comment(f"traffic_{FIP[vm]}_vm_out")],
                  ["-d", f"{FIP[vm]}/32", *comment(f"traffic_{FIP[vm]}_vm_in")]]
    return rules


def comment(name):
    return ["-m", "comment", "--comment", name, "-j", "traffic_chain"]


class Seed:
    """The rules of both routers, put in and taken out again."""

    def __init__(self, lab):
        self.lab = lab
        self.before = {router: self._saved(router) for router in WITHOUT}

    def mangle(self, router, *argv):
        self.lab.run(router, [self.lab.iptables, "-w", "10", "-t", "mangle", *argv])

    def _saved(self, router):
        return self.lab.run(router, [self.lab.iptables_save, "-t", "mangle"]).splitlines()[1:-1]

    def __enter__(self):
        for router, vms in WITHOUT.items():
            self.lab.run(router, ["ipset", "create", "subnet1", "hash:ip"])
            for vm in vms:
                self.lab.run(router, ["ipset", "add", "subnet1", self.lab.fixed(vm)])
            self.mangle(router, "-N", "traffic_chain")
            for rule in seed_rules(self.lab, router):
                self.mangle(router, "-A", "PREROUTING", *rule)
        return self

    def __exit__(self, *exception):
        for router in WITHOUT:
            for rule in seed_rules(self.lab, router):
                self.mangle(router, "-D", "PREROUTING", *rule)
            self.mangle(router, "-X", "traffic_chain")
            self.lab.run(router, ["ipset", "destroy", "subnet1"])

    def counters(self):
        """{comment: (packets, bytes)} of all its rules."""
        found = {}
        for router in WITHOUT:
            text = self.lab.run(router, [self.lab.iptables_save, "-c", "-t", "mangle"])
            for packets, size, name in re.findall(r"^\[(\d+):(\d+)\].*--comment \"?(traffic_[\w.]+)", text, re.M):
                found[name] = int(packets), int(size)
        return found


def ours(rows):
    """The same names and numbers from our rows, whatever their class."""
    found = defaultdict(lambda: (0, 0))
    for row in rows:
        infix = {"floating": ("traffic_", "_vm_"), "gateway": ("traffic_snat_", "_")}[row["kind"]]
        for way in ("in", "out"):
            name = f"{infix[0]}{row['address']}{infix[1]}{way}"
            packets, size = found[name]
            found[name] = packets + row[f"{way}_packets"], size + row[f"{way}_bytes"]
    return found


def scenarios():
    """Scenarios 1 to 6; who is on the bill is the business of test_truth_table."""
    calls = [("far", FIP["a"], "a"), ("a", FAR, "far"), ("a", FIP["b"], "b"), ("a", FIP["e"], "e"),
             ("a", FIP["f"], "f"), ("h", FIP["a"], "a"), ("c", FAR, "far"), ("d", FAR, "far"), ("c", FIP["b"], "b"),
             ("d", FIP["b"], "b"), ("c", FIP["f"], "f"), ("g", FIP["e"], "e"), ("g", FIP["h"], "h")]
    return [Flow(f"{who} calls {to}", who, to, server) for who, to, server in calls]


def test_the_seeds_own_rules_and_ours_count_the_same(lab, metered):
    with Seed(lab) as seed:
        for flow in scenarios():
            for protocol in flow.protocols:
                carry(lab, flow, protocol)
        metered.once()
        theirs = seed.counters()
    assert len(theirs) == 2 * 2 + 2 * 5
    assert all(packets for packets, _ in theirs.values()), theirs
    mine = ours(metered.usage())
    assert {name: mine[name] for name in theirs} == theirs
    assert set(mine) == set(theirs)


def test_the_seeds_rules_stand_untouched_through_our_coming_and_going(lab, meter):
    with Seed(lab) as seed:
        lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
        before = seed.counters()
        meter.once()
        lab.send("far", FIP["a"], proto="udp", count=4, bytes=100)
        meter.once()
        meter.detach()
        lab.send("far", FIP["a"], proto="udp", count=5, bytes=100)
        after = seed.counters()
        assert after.pop(f"traffic_{FIP['a']}_vm_in") == (12, 1200)
        assert before.pop(f"traffic_{FIP['a']}_vm_in") == (3, 300)
        assert before == after
    expect(lab, meter.usage(), Bill().add([(floating("a"), "internet", "in")], 4, 400))
    assert gateway("r1")[2] == GATEWAY["r1"]
