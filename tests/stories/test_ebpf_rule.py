# SPDX-License-Identifier: GPL-2.0-or-later
"""What is peculiar to a rule that calls the programs of ebpf: it has no pin, and somebody else's hands reach it. What both share
is in test_ebpf.py.
"""

import json
import time

import pins
import pytest
from accounts import FAR, FIP, expect, floating
from limits import egress_filter, ingress_policer, limited
from metering import wait_for
from test_backends import packets, standing
from test_ebpf import gaps
from witness import Witness, stream

A = floating("a")
pytestmark = [pytest.mark.own_lab("r1", "r2"), pytest.mark.parametrize("backend", ["ebpf-rule"], indirect=True),
              pytest.mark.parametrize("flavour", ["nft"], indirect=True)]


def take(meter, place):
    """From the next start on the programs are called so."""
    meter.place = place
    meter.configure("")


@pytest.mark.parametrize("asked", ["auto", "link"])
def test_where_there_is_a_link_it_is_taken_unless_a_rule_is_asked_for(lab, meter, asked):
    meter.once()
    assert pins.rules(lab) == {"r1", "r2"} and not pins.links(lab)
    take(meter, asked)
    meter.once()
    assert not pins.rules(lab) and len(pins.links(lab)) == 2


@pytest.mark.parametrize("asked", ["link", "rule"])
def test_doctor_and_status_say_what_calls_the_programs_and_on_which_side_of_a_policer(lab, meter, asked):
    take(meter, asked)
    meter.start()
    checks = json.loads(meter.command("doctor", "--all", "-o", "json", status=(0, 1, 4)).stdout)["findings"]
    said = [check["text"] for check in checks if (check["check"], check["about"]) == ("kernel", "ebpf")]
    where = "at prerouting, behind a policer at a device's ingress"
    assert said == [f"works here (BTF, and a {asked} {where})"]
    wait_for(lambda: f"a {asked} calls it {where}" in meter.command("status").stdout, "the agent to tell")


def test_the_place_changes_with_a_gap_and_without_an_overlap(lab, meter):
    came = Witness(lab, "r1", f"ip daddr {FIP['a']}")
    meter.start()
    with stream(lab, "far", FIP["a"], 4000, 2000):
        for place in "link", "rule", "link":
            time.sleep(0.3)
            meter.stop()
            take(meter, place)
            meter.start()
    meter.sample()
    assert 0 < packets(meter.usage_of(FIP["a"]), "in") < came.packets() == 4000
    assert gaps(meter, "r1") and gaps(meter, "r2")
    wait_for(lambda: pins.counts(lab, "r1", FIP["a"]), "what was made anew")
    meter.sample()
    before = packets(meter.usage_of(FIP["a"]), "in")
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.sample()
    assert packets(meter.usage_of(FIP["a"]), "in") == before + 10


def test_pins_that_go_beside_an_agent_cost_nothing(lab, meter):
    """It has the maps open, and the rule calls a program that has them, too."""
    meter.start()
    for line in "rm -r /sys/fs/bpf/fipmeter", "umount -l /sys/fs/bpf":
        lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
        done = lab.sh(["sh", "-ec", line])
        assert not done.returncode, done.stderr
        lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
        meter.sample()
    meter.kill()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.start()
    expect(lab, meter.usage(), {(*A, "internet"): (50, 5000, 0, 0)})
    assert not gaps(meter, "r1")


def test_a_table_that_somebody_puts_to_sleep_is_woken_with_a_gap(lab, meter):
    meter.start()
    lab.run("r1", ["nft", "add table ip fipmeter_ebpf { flags dormant; }"])
    meter.sample()
    meter.sample()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.sample()
    expect(lab, meter.usage(), {(*A, "internet"): (10, 1000, 0, 0)})
    assert gaps(meter, "r1")


def test_a_rule_whose_maps_went_while_no_agent_ran_counts_nothing_and_is_replaced(lab, meter):
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.once()
    lab.sh(["rm", "-r", "/sys/fs/bpf/fipmeter"])
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)  # the only ones that are missing
    assert pins.rules(lab) == {"r1", "r2"}
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.once()
    expect(lab, meter.usage(), {(*A, "internet"): (20, 2000, 0, 0)})
    assert gaps(meter, "r1")


def test_detach_takes_a_rule_of_which_nothing_else_is_left(lab, meter):
    meter.once()
    lab.sh(["rm", "-r", "/sys/fs/bpf/fipmeter"])
    meter.detach()
    assert not pins.rules(lab) and not standing(lab, "r1")


def test_another_back_end_takes_over_from_a_rule_and_back(lab, meter):
    for backend, stands in ("ebpf", "ebpf"), ("nft", "nft"), ("ebpf", "ebpf"):
        meter.backend = backend
        meter.configure("")
        meter.once()
        assert standing(lab, "r1") == {stands}


def test_a_namespace_that_is_deleted_is_held_by_nothing(lab, meter):
    """Neither while an agent runs nor while none does."""
    meter.start()
    lab.send("far", FIP["f"], proto="udp", count=3, bytes=100)
    meter.kill()
    ends = [port.tap for port in lab.routers["r2"].ports]
    lab.sh(["ip", "netns", "del", lab.routers["r2"].namespace])
    lab.routers["r2"].present = False
    wait_for(lambda: not any(end in lab.run("fabric", ["ip", "-o", "link"]) for end in ends), "its cables to go")
    meter.start()
    expect(lab, meter.usage(), {(*floating("f"), "internet"): (3, 300, 0, 0)})


@pytest.mark.parametrize("limiter", [ingress_policer, egress_filter])
def test_nothing_of_ours_is_in_qdiscs_of_neutron_or_others(lab, meter, limiter, tmp_path):
    """It counts behind either, which exclude each other: whatever a filter says of what it lets pass."""
    with limited(lab, "r1", limiter, tmp_path):
        before = lab.run("r1", ["tc", "qdisc"])
        meter.once()
        lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
        lab.send("a", FAR, proto="udp", count=5, bytes=100)
        meter.once()
        assert lab.run("r1", ["tc", "qdisc"]) == before
    expect(lab, meter.usage(), {(*A, "internet"): (10, 1000, 5, 500)})


def test_addresses_come_and_go_and_the_rule_stays(lab, meter):
    meter.start()
    lab.associate("198.51.100.120", "c")
    wait_for(lambda: pins.of_address(lab, "counters", "198.51.100.120"), "its counters")
    listed = lab.run("r1", ["nft", "-a", "list", "table", "ip", "fipmeter_ebpf"])
    lab.send("far", "198.51.100.120", proto="udp", count=10, bytes=100)
    meter.sample()
    lab.disassociate("198.51.100.120")
    wait_for(lambda: not pins.of_address(lab, "addresses", "198.51.100.120"), "it to be gone")
    meter.sample()
    assert lab.run("r1", ["nft", "-a", "list", "table", "ip", "fipmeter_ebpf"]) == listed
    assert packets(meter.usage_of("198.51.100.120"), "in") == 10
