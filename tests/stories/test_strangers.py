# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets that are not what they say they are, and routers that see what is not theirs: nobody pays for them."""

from contextlib import contextmanager

import pytest
from accounts import FAR, FIP, GATEWAY, NOTHING, Bill, expect, floating, totals
from flows import Flow, carry

A, J = floating("a"), floating("j")
ELSEWHERE = "192.0.2.77"    # neither local nor on-link anywhere


@contextmanager
def outside_sends_by_way_of(lab, router):
    """The external gateway hands packets for ELSEWHERE to a router, and swallows them when they come back from it."""
    rule = ["to", ELSEWHERE, "iif", "eth0", "blackhole"]
    lab.run("ext", ["ip", "route", "add", ELSEWHERE, "via", GATEWAY[router]])
    lab.run("ext", ["ip", "rule", "add", *rule])
    try:
        yield
    finally:
        lab.run("ext", ["ip", "rule", "del", *rule])
        lab.run("ext", ["ip", "route", "del", ELSEWHERE, "via", GATEWAY[router]])


@pytest.mark.parametrize("router, forged", [("r1", "10.0.1.11"), ("r1", "10.0.1.13"), ("r4", "8.8.8.11")],
                         ids=["fixed address of a", "address of c", "fixed address of k in public space"])
def test_an_outsider_who_forges_a_tenants_address_writes_on_nobodys_bill(lab, metered, router, forged):
    with outside_sends_by_way_of(lab, router):
        lab.send("far", ELSEWHERE, proto="udp", count=12, bytes=900, source=forged)
        lab.send("far", ELSEWHERE, proto="icmp", count=3, bytes=300, source=forged)
        metered.once()
    expect(lab, metered.usage(), {})


@pytest.mark.parametrize("vm, other, forged", [("a", "a", "10.0.1.11"), ("a", "b", "10.0.1.11"),
                                               ("k", "k", "8.8.8.11"), ("k", "k", "8.8.8.50")])
def test_what_comes_from_outside_to_a_floating_ip_is_of_class_internet_whatever_its_source(lab, metered, vm, other,
                                                                                          forged):
    """Also where the source is in a tenant's subnet: only who is inside is `cloud` by that."""
    lab.send("far", FIP[other], proto="udp", count=9, bytes=800, source=forged)
    metered.once()
    expect(lab, metered.usage(), {(*floating(other), "internet"): (9, 7200, 0, 0)})


def test_an_outsider_who_forges_a_floating_ip_is_taken_for_the_cloud_but_charges_it_with_nothing(lab, metered):
    lab.send("far", FIP["b"], proto="udp", count=6, bytes=600, source=FIP["f"])
    metered.once()
    expect(lab, metered.usage(), {(*floating("b"), "cloud"): (6, 3600, 0, 0)})


def test_a_vm_that_forges_a_strangers_source_pays_nothing_and_who_gets_it_does(lab, metered):
    """Source in no local prefix: no row for the sender; the floating IP it reaches counts by that source."""
    lab.send("c", FAR, proto="udp", count=5, bytes=500, source="8.8.4.4")
    lab.send("c", FIP["b"], proto="udp", count=4, bytes=400, source="8.8.4.4")
    metered.once()
    expect(lab, metered.usage(), {(*floating("b"), "internet"): (4, 1600, 0, 0)})


def test_a_vm_that_forges_its_neighbours_fixed_address_is_billed_as_the_neighbour(lab, metered):
    """Nothing behind the router can tell them apart: that is the port's security group's work."""
    lab.send("c", FAR, proto="udp", count=5, bytes=500, source=lab.fixed("a"))
    metered.once()
    expect(lab, metered.usage(), {(*A, "internet"): (0, 0, 5, 2500)})


def flood(lab):
    """What a switch that floods shows to a standby: from outside, from its VM, and between other routers' VMs."""
    lab.send("far", FIP["j"], proto="udp", count=11, bytes=1100)
    lab.send("far", GATEWAY["r5"], proto="udp", count=3, bytes=300)
    lab.send("j", FAR, proto="udp", count=7, bytes=700)
    lab.send("j", FIP["j"], proto="icmp", count=2, bytes=200, wait_ms=20)
    lab.send("j", FIP["a"], proto="udp", count=5, bytes=500)


@pytest.fixture
def as_master(lab):
    """However the story ends, the shared lab is as it was."""
    yield
    lab.master("r5")


def test_a_standby_counts_nothing_of_what_it_sees_and_says_that_it_is_one(lab, meter, as_master):
    lab.standby("r5")
    meter.once()
    flood(lab)
    meter.once()
    expect(lab, meter.usage(), {})
    assert meter.states("r5") == ["standby"]
    assert set(meter.states("r1")) == {"metered"}


def test_a_failover_that_the_agent_has_not_heard_of_counts_nothing(lab, meter, as_master):
    """Set up as master; then the addresses go, and no sample is between that and the flooded frames."""
    lab.master("r5")
    meter.start()
    lab.standby("r5")
    flood(lab)
    meter.sample()
    expect(lab, meter.usage(), {})
    assert meter.states("r5")[-1] == "standby"


def test_what_is_sent_to_a_standby_from_another_router_is_on_that_routers_bill_alone(lab, meter, as_master):
    lab.standby("r5")
    meter.once()
    lab.send("a", FIP["j"], proto="udp", count=8, bytes=800)
    meter.once()
    expect(lab, meter.usage(), {(*A, "cloud"): (0, 0, 8, 6400)})


def carry_of_j(lab):
    """There and back with far, called from either side: what should be on the bill."""
    bill = Bill()
    flows = [Flow("j calls far", "j", FAR, "far", [(J, "internet", "out")], [(J, "internet", "in")]),
             Flow("far calls j", "far", FIP["j"], "j", [(J, "internet", "in")], [(J, "internet", "out")])]
    for flow in flows:
        for protocol in flow.protocols:
            there, back = carry(lab, flow, protocol)
            bill.add(flow.there, *there).add(flow.back, *back)
    return bill


def test_a_router_that_becomes_master_again_counts_again(lab, meter, as_master):
    meter.start()
    for _ in range(2):
        lab.standby("r5")
        flood(lab)
        meter.sample()
        lab.master("r5")
        meter.sample()
    bill = carry_of_j(lab)
    meter.sample()
    expect(lab, meter.usage(), bill)
    assert meter.states("r5")[-1] == "metered"


@pytest.mark.parametrize("seen_as_master", [True, False], ids=["master at first", "standby at first"])
def test_what_a_new_master_carries_before_the_next_look_is_on_the_bill_or_said_to_be_missing(lab, meter, as_master,
                                                                                             seen_as_master):
    """A sample is taken while it is standby, none between the failover and the traffic: no row of that time may look
    complete that is not."""
    if not seen_as_master:
        lab.standby("r5")
    meter.start()
    lab.standby("r5")
    meter.sample()
    lab.master("r5")
    bill = carry_of_j(lab)
    meter.sample()
    wanted = tuple(bill.lines[(*J, "internet")])
    counted = totals(lab, meter.usage())
    assert set(counted) <= {(*J, "internet")}
    assert all(its <= mine for its, mine in zip(counted.get((*J, "internet"), NOTHING), wanted))
    if counted.get((*J, "internet")) != wanted:
        assert "gap" in meter.states("r5"), meter.coverage("r5")
        assert all("gap" in row["flags"] for row in meter.usage()), meter.usage()
    meter.sample()
    before = totals(lab, meter.usage())
    again = carry_of_j(lab)
    meter.sample()
    after = totals(lab, meter.usage())
    more = tuple(x - y for x, y in zip(after[(*J, "internet")], before.get((*J, "internet"), NOTHING)))
    assert more == tuple(again.lines[(*J, "internet")]), "from the next look on all is counted"
