# SPDX-License-Identifier: GPL-2.0-or-later
"""Floating IPs appear, go and move between two looks of the meter. What it could not know it says; old and new rows
together are what the counters had.
"""

import pytest
from accounts import FAR, FIP, NOTHING, Bill, counts_of, expect, floating, gateway, totals
from flows import STEADY, beside_traffic
from metering import wait_for

NEW = "198.51.100.120"
A, B, E = (floating(vm) for vm in "abe")
R1, R2 = gateway("r1"), gateway("r2")

pytestmark = pytest.mark.own_lab("r1", "r2")


def send(lab, who, to, count):
    lab.send(who, to, proto="udp", count=count, bytes=100)


def told(rows):
    """(fixed, in_packets, out_packets) of each row."""
    return [(row["fixed"], row["in_packets"], row["out_packets"]) for row in rows]


def test_a_floating_ip_that_appears_is_counted_from_then_on_and_the_time_before_is_a_gap(lab, meter):
    meter.once()
    lab.associate(NEW, "c")
    meter.once()
    send(lab, "far", NEW, 20)
    send(lab, "c", FAR, 30)
    meter.once()
    expect(lab, meter.usage(), {("r1", "floating", NEW, "internet"): (20, 2000, 30, 3000)})
    assert told(meter.usage_of(NEW)) == [(lab.fixed("c"), 20, 30)]
    gaps = [row for row in meter.coverage("r1") if row["state"] == "gap"]
    assert len(gaps) == 1 and gaps[0]["address"] == NEW
    assert meter.states("r1") == ["metered"]


def test_a_vm_pays_by_the_gateway_address_again_when_its_floating_ip_is_gone(lab, meter):
    meter.once()
    send(lab, "far", FIP["b"], 8)
    send(lab, "b", FAR, 9)
    lab.disassociate(FIP["b"])
    meter.once()
    send(lab, "b", FAR, 5)
    send(lab, "far", FIP["b"], 6)     # still sent there, but nobody has it
    meter.once()
    expect(lab, meter.usage(), {(*B, "internet"): (8, 800, 9, 900), (*R1, "internet"): (0, 0, 5, 500)})


def test_a_floating_ip_that_comes_back_to_another_vm_keeps_its_old_rows_with_the_old(lab, meter):
    meter.once()
    send(lab, "far", FIP["b"], 8)
    lab.disassociate(FIP["b"])
    meter.once()
    lab.associate(FIP["b"], "c")
    meter.once()
    send(lab, "far", FIP["b"], 4)
    meter.once()
    assert told(meter.usage_of(FIP["b"])) == [("10.0.1.12", 8, 0), ("10.0.1.13", 4, 0)]
    expect(lab, meter.usage(), {(*B, "internet"): (12, 1200, 0, 0)})


def test_a_floating_ip_that_moves_while_nobody_looks_is_known_in_sum_and_flagged(lab, meter):
    meter.once()
    send(lab, "far", FIP["b"], 8)
    meter.once()
    send(lab, "far", FIP["b"], 3)
    lab.move(FIP["b"], "c")
    send(lab, "far", FIP["b"], 4)
    meter.once()
    send(lab, "far", FIP["b"], 5)
    send(lab, "c", FAR, 6)
    meter.once()
    rows = meter.usage_of(FIP["b"])
    assert told(rows) == [("10.0.1.12", 8, 0), ("10.0.1.12", 7, 0), ("10.0.1.13", 5, 6)]
    assert ["moved" in row["flags"] for row in rows] == [False, True, False]
    expect(lab, meter.usage(), {(*B, "internet"): (20, 2000, 6, 600)})


def test_a_floating_ip_that_moves_away_and_back_while_nobody_looks_is_simply_counted(lab, meter):
    meter.once()
    lab.move(FIP["b"], "c")
    send(lab, "far", FIP["b"], 4)
    lab.move(FIP["b"], "b")
    meter.once()
    expect(lab, meter.usage(), {(*B, "internet"): (4, 400, 0, 0)})
    assert told(meter.usage_of(FIP["b"])) == [("10.0.1.12", 4, 0)]


def test_two_floating_ips_that_change_places_each_keep_their_own(lab, meter):
    meter.once()
    send(lab, "far", FIP["a"], 3)
    send(lab, "far", FIP["b"], 4)
    for address in FIP["a"], FIP["b"]:
        lab.disassociate(address)
    lab.associate(FIP["a"], "b")
    lab.associate(FIP["b"], "a")
    send(lab, "far", FIP["a"], 5)
    send(lab, "far", FIP["b"], 6)
    meter.once()
    send(lab, "a", FAR, 7)
    send(lab, "b", FAR, 8)
    meter.once()
    expect(lab, meter.usage(), {(*A, "internet"): (8, 800, 8, 800), (*B, "internet"): (10, 1000, 7, 700)})
    assert told(meter.usage_of(FIP["a"])) == [("10.0.1.11", 8, 0), ("10.0.1.12", 0, 8)]
    assert told(meter.usage_of(FIP["b"])) == [("10.0.1.12", 10, 0), ("10.0.1.11", 0, 7)]


def test_a_floating_ip_that_moves_to_another_router_is_counted_on_each_while_it_was_there(lab, meter):
    meter.once()
    send(lab, "far", FIP["e"], 8)
    lab.move(FIP["e"], "g")
    meter.once()
    send(lab, "far", FIP["e"], 5)
    send(lab, "g", FAR, 6)
    send(lab, "e", FAR, 7)
    meter.once()
    expect(lab, meter.usage(), {(*E, "internet"): (8, 800, 0, 0),
                                ("r2", "floating", FIP["e"], "internet"): (5, 500, 6, 600),
                                (*R1, "internet"): (0, 0, 7, 700)})
    assert told(meter.usage_of(FIP["e"])) == [("10.0.2.15", 8, 0), ("10.0.3.17", 5, 6)]


def test_a_new_gateway_address_takes_over_from_the_old(lab, meter):
    meter.once()
    send(lab, "c", FAR, 8)
    lab.gateway_change("r1", "198.51.100.90")
    meter.once()
    send(lab, "c", FAR, 5)
    send(lab, "far", FIP["a"], 6)
    send(lab, "far", "198.51.100.90", 7)
    meter.once()
    expect(lab, meter.usage(), {(*R1, "internet"): (0, 0, 8, 800), (*A, "internet"): (6, 600, 0, 0),
                                ("r1", "gateway", "198.51.100.90", "internet"): (7, 700, 5, 500)})


def test_what_a_new_subnet_sends_before_the_next_look_is_on_the_bill_or_said_to_be_missing(lab, meter):
    """A subnet is attached to the router, with its VMs: nobody may take the time before the look for measured."""
    device = lab.routers["r1"].qr["n2"]
    lab.run("r1", ["ip", "addr", "del", "10.0.2.1/24", "dev", device])
    meter.once()
    lab.run("r1", ["ip", "addr", "add", "10.0.2.1/24", "brd", "+", "dev", device])
    send(lab, "d", FAR, 5)
    send(lab, "e", FAR, 6)
    meter.once()
    counted = totals(lab, meter.usage())
    bill = {(*R1, "internet"): (0, 0, 5, 500), (*E, "internet"): (0, 0, 6, 600)}
    if counted != bill:
        assert "gap" in [row["state"] for row in meter.coverage("r1")], (counted, meter.coverage("r1"))
    send(lab, "d", FAR, 7)
    send(lab, "e", FAR, 8)
    meter.once()
    for key, more in (((*R1, "internet"), 7), ((*E, "internet"), 8)):
        assert totals(lab, meter.usage())[key][2] - counted.get(key, NOTHING)[2] == more


def test_changes_under_a_running_agent_lose_nothing_that_its_counters_had(lab, meter):
    """Floating IP b goes from VM to VM, with traffic before and after each sample."""
    bill = Bill()
    meter.start()
    for vm in ["c", "b", "c", "b"]:
        send(lab, "far", FIP["b"], 3)
        lab.move(FIP["b"], vm)
        send(lab, "far", FIP["b"], 4)
        meter.sample()
        bill.add([(B, "internet", "in")], 7, 700)
    meter.stop()
    expect(lab, meter.usage(), bill)
    assert {row["fixed"] for row in meter.usage_of(FIP["b"])} <= {"10.0.1.12", "10.0.1.13"}
    assert sum(counts_of(row)[0] for row in meter.usage_of(FIP["b"])) == 28


def test_what_comes_and_goes_beside_an_address_in_traffic_costs_it_nothing(lab, meter):
    """Echoes to a, while another floating IP, and a router, come and go with a sample at each step."""
    steps = [lambda: lab.associate(NEW, "c"), lambda: lab.move(FIP["b"], "d"), lambda: lab.disassociate(NEW),
             lambda: lab.move(FIP["b"], "b"), lambda: lab.router_drop("r2"), lambda: lab.router_add("r2")]

    def change(number):
        steps[number % len(steps)]()
        meter.sample()

    meter.start()
    sent = beside_traffic(lab, "icmp", FIP["a"], change, at_least=3 * len(steps))
    meter.stop()
    expect(lab, meter.usage(), {(*A, "internet"): (sent, sent * STEADY["bytes"]) * 2})


def test_a_floating_ip_that_moves_in_steady_traffic_loses_no_packet(lab, meter):
    """`in` is what arrives, whoever gets it: the address is served all the time, and its counter stays."""
    def change(number):
        lab.move(FIP["a"], "ca"[number % 2])
        meter.sample()

    meter.start()
    sent = beside_traffic(lab, "udp", FIP["a"], change, at_least=8)
    wait_for(lambda: arrived(lab) == sent, "the last packet to arrive")
    meter.stop()
    expect(lab, meter.usage(), {(*A, "internet"): (sent, sent * STEADY["bytes"], 0, 0)})


def arrived(lab):
    return sum(packets for vm in ("a", "c") for (source, _), (packets, _) in lab.truth(vm, "in").items()
               if source == FAR)
