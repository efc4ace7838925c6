# SPDX-License-Identifier: GPL-2.0-or-later
"""The continuous audit: all that Neutron lets through leaves next to no residue, and what is planted to be counted by nobody is
found at the next sample."""

import json
import time

import pytest
from accounts import EXT, FAR, FIP, GATEWAY, METADATA
from metering import wait_for

pytestmark = pytest.mark.own_lab("r1")

UNKNOWN = "198.51.100.200"
STRANGE = "172.31.9.9"      # in no subnet of the router
MUCH = {"proto": "udp", "count": 2500, "bytes": 1000, "rate": 2500}     # 2.5 MB in a second
SENT = MUCH["count"] * MUCH["bytes"]
LITTLE = 2048               # ARP, and what the router says of itself


def router(meter, code=(0, 4)):
    argv = ["status", "--config", meter.config, "--state-dir", meter.state, "-o", "json"]
    return json.loads(meter.run(*argv, status=code).stdout)["routers"][0]


def judged(meter, code=(0, 4)):
    """A sample a second after the last one, at least; what it adds to the sums, and the problem that is told then."""
    before = router(meter)["residue"]

    def added():
        time.sleep(0.3)     # samples that come too soon only add to the window
        meter.sample()
        return router(meter)["residue"]["windows"] > before["windows"]

    wait_for(added, "a window to be judged")
    wait_for(lambda: router(meter)["residue"]["end"] > before["end"], "the agent to tell")
    after = router(meter, code)
    return {name: after["residue"][name] - before[name] for name in before if name != "end"}, after["problem"]


@pytest.fixture
def audited(lab, meter):
    """An agent whose first window has begun."""
    meter.start()
    for who, to in (("far", FIP["a"]), ("a", FAR)):     # neighbours are known, then
        lab.send(who, to, proto="udp", count=1, bytes=100)
    judged(meter, code=0)
    return meter


def external(lab):
    links = json.loads(lab.run("r1", ["ip", "-j", "link"]))
    return next(link["ifname"] for link in links if link["ifname"].startswith("qg-"))


def test_traffic_of_all_kinds_leaves_next_to_nothing(lab, audited):
    for who, to in (("far", FIP["a"]), ("a", FAR), ("c", FAR), ("a", FIP["b"]), ("a", FIP["a"]), ("c", FIP["b"]), ("a", EXT),
                    ("a", METADATA), ("a", lab.fixed("d"))):
        lab.send(who, to, proto="udp", count=2000, bytes=1000)
    lab.send("far", GATEWAY["r1"], proto="icmp", count=2000, bytes=1000)
    lab.tcp("far", FIP["b"], server="b", bytes=5_000_000)
    sums, problem = judged(audited, code=0)
    assert sums["residue_in_bytes"] < LITTLE and sums["residue_out_bytes"] < LITTLE, sums
    assert (sums["flagged"], sums["excess_bytes"], problem) == (0, 0, "")
    booked = audited.usage(per="total")
    for way in ("in_bytes", "out_bytes"):
        assert sum(row[way] for row in booked) - 100 == sums[way] > 9_000_000, "all that is booked, but for the first window"


def test_an_address_that_neutron_does_not_know_is_found(lab, audited):
    lab.run("r1", ["ip", "addr", "add", f"{UNKNOWN}/32", "dev", external(lab)])
    lab.send("far", UNKNOWN, **MUCH)
    lab.send("far", FIP["a"], **MUCH)
    sums, problem = judged(audited, code=4)
    assert sums["flagged"] == 1 and 0.9 * SENT < sums["residue_in_bytes"] <= SENT, sums
    assert "bytes from outside at least" in problem
    # it stays a problem, told once; and is none when it is over
    lab.send("far", UNKNOWN, **MUCH)
    _, again = judged(audited, code=4)
    assert again == problem and audited.said().count("were counted for no address") == 1
    lab.run("r1", ["ip", "addr", "del", f"{UNKNOWN}/32", "dev", external(lab)])
    lab.send("far", FIP["a"], **MUCH)
    sums, problem = judged(audited, code=0)
    assert (sums["flagged"], problem) == (0, "") and sums["residue_in_bytes"] < LITTLE
    assert "well again" in audited.said()


def test_what_leaves_under_a_source_of_nobody_is_found(lab, audited):
    lab.send("a", FAR, source=STRANGE, **MUCH)
    lab.send("a", FAR, **MUCH)
    sums, problem = judged(audited, code=4)
    assert sums["flagged"] == 1 and 0.9 * SENT < sums["residue_out_bytes"] <= SENT + LITTLE, sums
    assert "bytes to the outside at least" in problem


def test_what_rules_of_others_drop_ahead_is_found(lab, audited):
    lab.run("r1", ["nft", "-f", "-"], input=f"""
        table ip others {{
            chain ahead {{
                type filter hook prerouting priority -300;
                ip daddr {FIP["a"]} drop
            }}
        }}
        """)
    lab.send("far", FIP["a"], **MUCH)
    sums, problem = judged(audited, code=0 if audited.backend == "ebpf" else 4)
    lab.run("r1", ["nft", "delete", "table", "ip", "others"])
    if audited.backend == "ebpf":
        assert sums["in_bytes"] == SENT, "its hook comes before all of others"
        return
    assert sums["flagged"] == 1 and sums["residue_in_bytes"] > 0.9 * SENT, sums
    assert "bytes from outside at least" in problem


PLANTED = {
    "nft": ["nft flush set ip fipmeter local", "nft flush chain ip fipmeter external"],
    "iptables": ["ipset flush fipmeter_local_src", "iptables-legacy -w -t mangle -F fipmeter-external"],
    "ebpf": ["rm -r /sys/fs/bpf/fipmeter"],
}


def test_a_set_emptied_and_a_rule_removed_are_gaps_and_then_it_is_judged_again(lab, audited, backend):
    for plant in PLANTED[backend]:
        before = len([row for row in audited.coverage("r1") if row["state"] == "gap"])
        lab.run("r1", ["sh", "-c", plant])
        lab.send("far", FIP["a"], **MUCH)
        lab.send("a", FAR, **MUCH)
        windows = router(audited)["residue"]["windows"]
        audited.sample()
        assert len([row for row in audited.coverage("r1") if row["state"] == "gap"]) > before
        assert router(audited)["residue"]["windows"] == windows, "what is a gap already is not judged"
        lab.send("far", FIP["a"], proto="udp", count=1, bytes=100)
        judged(audited, code=0)     # the first row behind a gap says so, and its window is not judged either
        lab.send("far", FIP["a"], **MUCH)
        sums, _ = judged(audited, code=0)
        assert sums["in_bytes"] == SENT and sums["residue_in_bytes"] < LITTLE and sums["flagged"] == 0, sums


# Neither nft(8) nor one call of bpftool(8) sets a counter that stands.
@pytest.mark.parametrize("backend", ["count-iptables"], indirect=True)
def test_what_somebody_writes_into_a_counter_is_not_billed_if_it_is_more_than_came(lab, audited):
    lab.send("far", FIP["a"], **MUCH)
    judged(audited, code=0)     # by now it is known that the devices count what we do
    booked = sum(row["in_bytes"] for row in audited.usage_of(FIP["a"]))
    lab.run("r1", ["sh", "-c", f"""ipset save fipmeter_in_internet | grep -F ' {FIP["a"]} ' |
        sed 's/ bytes [0-9]*/ bytes 5000000000000/' | ipset -exist restore"""])
    lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
    audited.sample()
    assert sum(row["in_bytes"] for row in audited.usage_of(FIP["a"])) == booked
    gap = next(row for row in audited.coverage("r1") if row["state"] == "gap" and row["address"] == FIP["a"])
    assert "rose by more than its router received" in gap["reason"] and "to 5000000000300 bytes" in gap["reason"]
    lab.send("far", FIP["a"], **MUCH)
    audited.sample()
    last = audited.usage_of(FIP["a"])[-1]
    assert (last["in_bytes"], last["flags"]) == (SENT, ["reset", "gap"])
