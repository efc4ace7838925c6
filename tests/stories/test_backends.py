# SPDX-License-Identifier: GPL-2.0-or-later
"""Which back end counts in which router, what happens when that is changed, and what each has to stand in a flood."""

import json
import time

import pytest
from accounts import FAR, FIP, GATEWAY, expect, floating
from fiplab import neutron
from metering import wait_for
import pins
from pins import PINS, cookie, links
from witness import Witness, stream

A = floating("a")
OTHER = {"nft": "iptables", "iptables": "nft", "ebpf": "nft"}

pytestmark = pytest.mark.own_lab("r1", "r2")

LATE = "a change could not be followed when it was seen"


def packets(rows, way):
    return sum(row[f"{way}_packets"] for row in rows)


def standing(lab, router):
    """Which back ends have something in a router."""
    tables = lab.run(router, ["nft", "list", "tables"])
    sets = lab.run(router, ["ipset", "list", "-name"])
    rules = lab.run(router, ["iptables-legacy-save", "-t", "mangle"])
    return {name for name, there in (("nft", "table ip fipmeter" in tables.splitlines()),
                                     ("iptables", "fipmeter" in sets + rules), ("ebpf", pins.calling(lab, router))) if there}


def test_auto_takes_nft(lab, meter):
    meter.backend = "auto"
    meter.configure("")
    meter.once()
    assert standing(lab, "r1") == {"nft"}


def test_a_router_may_have_another_back_end_than_the_rest(lab, meter, backend):
    meter.configure(f"[backends]\n{OTHER[backend]} = {lab.routers['r2'].uuid}\n")
    meter.once()
    assert (standing(lab, "r1"), standing(lab, "r2")) == ({backend}, {OTHER[backend]})
    lab.send("a", FIP["f"], proto="udp", count=10, bytes=100)
    meter.once()
    expect(lab, meter.usage(), {(*A, "cloud"): (0, 0, 10, 1000), (*floating("f"), "cloud"): (10, 1000, 0, 0)})
    plan = json.loads(meter.run("plan", "--config", meter.config, "-o", "json").stdout)
    assert {each["router"]: each["backend"] for each in plan} == {
        lab.routers["r1"].uuid: backend, lab.routers["r2"].uuid: OTHER[backend]}


def test_another_back_end_takes_over_with_a_gap_and_without_an_overlap(lab, meter, backend):
    witness = Witness(lab, "r1", f"ip daddr {FIP['a']}")
    meter.start()
    with stream(lab, "far", FIP["a"], 4000, 2000):
        for name in OTHER[backend], backend:
            time.sleep(0.4)
            meter.stop()
            meter.backend = name
            meter.configure("")
            meter.start()
            wait_for(lambda: standing(lab, "r1") == {name}, f"{name} alone to count")
    meter.sample()
    lost = witness.packets() - packets(meter.usage_of(FIP["a"]), "in")
    gaps = [row for row in meter.coverage("r1") if row["state"] == "gap"]
    length_s = sum(row["end"] - row["start"] for row in gaps) / 1e6
    assert 0 <= lost <= length_s * 2000 + 10 and len(gaps) == 2, (lost, gaps)
    rows = [row for row in meter.coverage("r1") if not row["address"]]
    assert all(one["end"] == two["start"] for one, two in zip(rows, rows[1:])), "coverage without a hole"


def test_floating_ips_that_come_and_go_in_a_flood_lose_no_packet(lab, meter):
    """What b sends counts for its floating IP or, without one, for the gateway address: together it is all."""
    left = Witness(lab, "r1", f"ip saddr {lab.fixed('b')} ip daddr {FAR}")
    meter.start()
    with stream(lab, "b", FAR, 60_000, 20_000):
        for _ in range(12):
            lab.disassociate(FIP["b"])
            time.sleep(0.05)
            lab.associate(FIP["b"], "b")
            time.sleep(0.05)
    meter.sample()
    rows = meter.usage_of(FIP["b"]) + meter.usage_of(GATEWAY["r1"])
    assert packets(rows, "out") == left.packets() == 60_000
    assert packets(meter.usage_of(GATEWAY["r1"]), "out") > 0


def test_a_floating_ip_that_moves_to_and_fro_in_a_flood_loses_no_packet(lab, meter):
    """Its out counter goes from one fixed address to the other with all that it has."""
    left = Witness(lab, "r1", f"ip saddr {{ {lab.fixed('b')}, {lab.fixed('c')} }} ip daddr {FAR}")
    meter.start()
    with stream(lab, "b", FAR, 60_000, 20_000), stream(lab, "c", FAR, 60_000, 20_000):
        for vm in "cb" * 10:
            lab.move(FIP["b"], vm)
            time.sleep(0.1)
            meter.sample()
    meter.sample()
    rows = meter.usage_of(FIP["b"]) + meter.usage_of(GATEWAY["r1"])
    assert packets(rows, "out") == left.packets() == 120_000
    assert len({row["fixed"] for row in meter.usage_of(FIP["b"])}) == 2


def test_two_floating_ips_that_change_places_in_a_flood_lose_no_packet(lab, meter):
    ours = [FIP["a"], FIP["b"]]
    left = Witness(lab, "r1", f"ip saddr {{ {lab.fixed('a')}, {lab.fixed('b')} }} ip daddr {FAR}")
    meter.start()
    with stream(lab, "a", FAR, 60_000, 20_000), stream(lab, "b", FAR, 60_000, 20_000):
        for turn in range(20):
            now, then = ("ab", "ba") if turn % 2 == 0 else ("ba", "ab")
            lines = [f"-{verb} neutron-l3-agent-{chain} {rule}" for verb, vms in (("D", now), ("I", then))
                     for address, vm in zip(ours, vms) for chain, rule in neutron.floating_rules(address, lab.fixed(vm))]
            lab.run("r1", [f"{lab.iptables}-restore", "--noflush", "-w", "10"], input=neutron.edit("nat", lines))
            time.sleep(0.1)
            meter.sample()
    meter.sample()
    rows = [row for row in meter.usage() if row["address"] in (*ours, GATEWAY["r1"])]
    assert packets(rows, "out") == left.packets() == 120_000
    assert {row["fixed"] for row in meter.usage_of(FIP["a"])} == {lab.fixed("a"), lab.fixed("b")}


def test_a_router_that_gets_hundreds_of_floating_ips_in_a_flood_loses_no_packet(lab, meter):
    """No set may be resized while it counts."""
    address = [f"203.0.113.{number}" for number in range(20, 220)]
    fixed = [f"10.0.1.{number}" for number in range(20, 220)]
    came = Witness(lab, "r1", f"ip daddr {FIP['a']}")
    meter.start()
    with stream(lab, "far", FIP["a"], 60_000, 20_000):
        for at in range(0, 200, 50):
            text = "".join(neutron.associate(*pair) for pair in zip(address[at:at + 50], fixed[at:at + 50]))
            lab.run("r1", [f"{lab.iptables}-restore", "--noflush", "-w", "10"], input=text)
            time.sleep(0.3)
        wait_for(lambda: len(meter.query("SELECT DISTINCT address FROM meter WHERE closed_us = 0")) > 200, "all to come")
    meter.sample()
    assert packets(meter.usage_of(FIP["a"]), "in") == came.packets() == 60_000
    # What took the machine longer than 0.1 s to follow is said to have been late, which is no loss.
    assert not [row for row in meter.coverage("r1") if row["state"] == "gap" and row["reason"] != LATE]
    for name, hashsize, entries in counting_sets(lab, "r1"):
        assert hashsize >= 8 * entries, f"{name} might grow while it counts"


def counting_sets(lab, router):
    """(name, hashsize, entries) of the sets of addresses with counters."""
    for text in lab.run(router, ["ipset", "list", "-terse"]).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        words = fields["Header"].split() if "Header" in fields else []
        if "counters" in words and fields["Type"] == "hash:ip":
            yield fields["Name"], int(words[words.index("hashsize") + 1]), int(fields["Number of entries"])


def test_sets_that_somebody_empties_and_rules_that_somebody_takes_are_made_again(lab, meter, backend):
    if backend == "nft":
        breaks = [["nft", "flush", "table", "ip", "fipmeter"], ["nft", "delete", "chain", "ip", "fipmeter", "prerouting"],
                  ["nft", "add table ip fipmeter { flags dormant; }"], ["nft", "delete", "table", "ip", "fipmeter"]]
    elif backend == "ebpf":
        breaks = [["rm", f"{PINS}/link-{cookie(lab, 'r1')}"], ["rm", "-r", "/sys/fs/bpf/fipmeter"]]
    else:
        breaks = [["ipset", "flush", "fipmeter_public"], ["ipset", "flush", "fipmeter_in_internet"],
                  ["iptables-legacy", "-t", "mangle", "-F", "PREROUTING"], ["iptables-legacy", "-t", "mangle", "-F"],
                  ["iptables-legacy", "-t", "mangle", "-I", "fipmeter-in", "-j", "ACCEPT"]]
    meter.start()
    counted = 0
    for number, argv in enumerate(breaks):
        lab.run("r1", argv)
        meter.sample()
        meter.sample()
        wait_for(lambda: standing(lab, "r1") == {backend}, "all to be made again")
        lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
        meter.sample()
        counted += 10
        assert packets(meter.usage_of(FIP["a"]), "in") == counted, argv
        gaps = [row for row in meter.coverage("r1") if row["state"] == "gap" and not row["address"]]
        assert len(gaps) > number, f"{argv}: no gap"
