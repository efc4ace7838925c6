# SPDX-License-Identifier: GPL-2.0-or-later
"""detach: what was counted stays in the store, and the routers are as if fipmeter had never been there."""

import pytest
from accounts import FAR, FIP, expect, floating, gateway
from rules import all_listings

A, R1 = floating("a"), gateway("r1")


@pytest.fixture(autouse=True)
def table(lab, backend):
    """A legacy table that was looked at once stays, empty, as long as the namespace (ip_tables.c); it costs nothing. So
    that listings can be compared it is there before fipmeter comes."""
    if backend == "iptables":
        for router in lab.routers:
            lab.run(router, ["iptables-legacy-save", "-t", "mangle"])


def test_detach_leaves_every_rule_set_as_it_was_before_us(lab, meter):
    before = all_listings(lab)
    meter.once()
    assert all_listings(lab) != before, "something of ours should stand there"
    lab.send("far", FIP["a"], proto="icmp", count=10, bytes=100)
    meter.once()
    meter.detach()
    after = all_listings(lab)
    for router in before:
        for command in before[router]:
            assert after[router][command] == before[router][command], f"{router}: {command}"


def test_detach_after_detach_and_without_anything_there_is_done_at_once(lab, meter):
    before = all_listings(lab)
    meter.detach()
    meter.once()
    meter.detach()
    meter.detach()
    assert all_listings(lab) == before


def test_detach_keeps_the_last_reading(lab, meter):
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
    lab.send("c", FAR, proto="udp", count=3, bytes=100)
    meter.detach()
    expect(lab, meter.usage(), {(*A, "internet"): (17, 1700, 0, 0), (*R1, "internet"): (0, 0, 3, 300)})


def test_what_is_sent_between_detach_and_the_next_start_is_nobodys_and_a_gap(lab, meter):
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.detach()
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=5, bytes=100)
    meter.once()
    expect(lab, meter.usage(), {(*A, "internet"): (15, 1500, 0, 0)})
    metered = [row for row in meter.coverage("r1") if not row["address"] and row["state"] == "metered"]
    assert len(metered) == 2 and metered[0]["end"] < metered[1]["start"], metered


def test_a_dry_run_changes_nothing(lab, meter):
    before = all_listings(lab)
    meter.command("agent", "--once", "--dry-run")
    assert all_listings(lab) == before
    assert not meter.state.exists() or not list(meter.state.iterdir())
    meter.run("plan", "--config", meter.config)
    assert all_listings(lab) == before
    meter.once()
