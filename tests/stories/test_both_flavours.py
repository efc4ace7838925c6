# SPDX-License-Identifier: GPL-2.0-or-later
"""After Neutron's iptables was switched, a router holds the rules of both flavours: each floating IP twice."""

import pytest
from accounts import FAR, FIP, Bill, expect, floating, gateway
from fiplab import neutron
from fiplab.lab import FLAVOURS
from flows import Flow, carry
from metering import wait_for

A, B, R1 = floating("a"), floating("b"), gateway("r1")
OTHER = {"nft": "legacy", "legacy": "nft"}

pytestmark = pytest.mark.own_lab("r1")

FLOWS = [
    Flow("far calls a", "far", FIP["a"], "a", [(A, "internet", "in")], [(A, "internet", "out")]),
    Flow("a calls b", "a", FIP["b"], "b", [(A, "cloud", "out"), (B, "cloud", "in")],
         [(B, "cloud", "out"), (A, "cloud", "in")]),
    Flow("c calls far", "c", FAR, "far", [(R1, "internet", "out")], [(R1, "internet", "in")]),
]


def carry_all(lab, bill):
    for flow in FLOWS:
        for protocol in flow.protocols:
            there, back = carry(lab, flow, protocol)
            bill.add(flow.there, *there).add(flow.back, *back)


def test_a_router_with_the_rules_of_both_flavours_meters_each_floating_ip_once(lab, meter, flavour):
    bill = Bill()
    lab.write_rules("r1", OTHER[flavour])
    meter.once()
    carry_all(lab, bill)
    meter.once()
    expect(lab, meter.usage(), bill)


def test_the_switch_itself_changes_no_bill(lab, meter, flavour):
    bill = Bill()
    meter.once()
    carry_all(lab, bill)
    lab.write_rules("r1", OTHER[flavour])
    carry_all(lab, bill)
    meter.once()
    carry_all(lab, bill)
    meter.once()
    expect(lab, meter.usage(), bill)
    assert {row["fixed"] for row in meter.usage_of(FIP["a"])} == {lab.fixed("a")}
    assert not [row for row in meter.usage() if "moved" in row["flags"]]


def test_rules_that_differ_after_a_switch_are_followed_where_the_kernel_follows_them(lab, meter, flavour):
    """The flavour that came later rules. An agent that was there knows which that is."""
    meter.start()
    lab.write_rules("r1", OTHER[flavour])
    text = neutron.edit("nat", [f"-{verb} neutron-l3-agent-{chain} {rule}" for verb, vm in (("D", "b"), ("I", "c"))
                                for chain, rule in neutron.floating_rules(FIP["b"], lab.fixed(vm))])
    lab.run("r1", [f"{FLAVOURS[OTHER[flavour]]}-restore", "--noflush", "-w", "10"], input=text)
    meter.sample()      # a table of another flavour is seen with the next sample
    wait_for(lambda: meter.query("SELECT * FROM meter WHERE address = ? AND fixed = ? AND closed_us = 0", FIP["b"],
                                 lab.fixed("c")), "the switch to be followed")
    lab.truth_zero("c")
    lab.send("far", FIP["b"], proto="udp", count=10, bytes=100)
    assert lab.truth("c", "in"), "the kernel leads to c"
    meter.sample()
    assert [(row["fixed"], row["in_packets"]) for row in meter.usage_of(FIP["b"])] == [(lab.fixed("c"), 10)]
