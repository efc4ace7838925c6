# SPDX-License-Identifier: GPL-2.0-or-later
"""Exact to the wire: what is sent as one packet of 64 KB, merged on the way or cut into fragments counts, by the ebpf back
end, as the packets that a wire would carry, to the byte.

The truth is counted by the receiver, behind a device that has every packet really split (no offloads there). What the
back ends of basis skb are off by in the same transfers is measured, and printed.
"""

import itertools
import os
import subprocess

import pytest
from accounts import FAR, FIP
from fiplab import Lab, offloads
from metering import Meter, wait_for

PEER = [str(path) for path in ("/usr/bin/python3", "-I", os.path.join(os.path.dirname(__file__), "wire_peer.py"))]
MEGABYTES = 3_000_000

_ports = itertools.count(30000)


# --- the lab ---

def prepare(lab, how):
    """Packets are as large as they can be on the way into the router, and split on the way to who receives them."""
    offloads.keep_queues_short(lab, "a", "far")
    if how != "off":
        offloads.split_at_the_ends(lab, "a")
    if how == "merged":
        offloads.gather_at_the_router(lab, "a")


@pytest.fixture(scope="module", params=["1500", "1450"])
def mtu(request):
    return int(request.param)


@pytest.fixture(scope="module", params=["off", "on", "merged"])
def how(request):
    return request.param


@pytest.fixture(scope="module")
def wire(mtu, how):
    with Lab(name=f"stories-{os.getpid()}-wire", routers=["r1"], offloads=how != "off", mtu=mtu,
             pauses=False) as lab:
        prepare(lab, how)
        yield lab


# --- what is sent ---

def words(want):
    return [f"{key}={value}" for key, value in want.items()]


def tcp(lab, who, to, server, **want):
    port = next(_ports)
    with lab.popen([*PEER, "tcp-take", "0.0.0.0", port, *words(want)], ns=server, text=True,
                   stdout=subprocess.PIPE) as listening:
        try:
            assert listening.stdout.readline() == "ready\n"
            lab.run(who, [*PEER, "tcp-send", to, port, *words(want)])
            assert int(listening.communicate(timeout=60)[0]) == want["bytes"]
        finally:
            listening.kill()


def udp(lab, who, to, server, **want):
    lab.run(who, [*PEER, "udp", to, 9, *words(want)])


TRANSFERS = [
    (tcp, {"bytes": MEGABYTES}),
    (tcp, {"bytes": MEGABYTES, "mss": 1000}),
    (tcp, {"bytes": MEGABYTES // 10, "chunk": 700}),
    (tcp, {"bytes": MEGABYTES, "options": 1}),
    (udp, {"count": 20, "bytes": 30100, "segment": 1000}),
    (udp, {"count": 20, "bytes": 30100, "segment": 1000, "options": 1}),
    (udp, {"count": 20, "bytes": 9000}),
    (udp, {"count": 20, "bytes": 9000, "options": 1}),
]
# Of a datagram of 9,000 bytes all fragments but the first one are off: six of seven, at either MTU.
FRAGMENTS = 2 * 20 * 6


def carry_all(lab):
    """Each in both directions; TCP also without time stamps, so with a shorter header."""
    for who, to, server in ("a", FAR, "far"), ("far", FIP["a"], "a"):
        for send, want in TRANSFERS:
            send(lab, who, to, server, **want)
        lab.run(who, ["sysctl", "-qw", "net.ipv4.tcp_timestamps=0"])
        tcp(lab, who, to, server, bytes=MEGABYTES)
        lab.run(who, ["sysctl", "-qw", "net.ipv4.tcp_timestamps=1"])


def truth(lab):
    """(in_packets, in_bytes, out_packets, out_bytes) of a's floating IP, when nothing arrives any more."""
    seen = []

    def is_quiet():
        seen.append(lab.truth("a", "in")[FAR, lab.fixed("a")] + lab.truth("far", "in")[FIP["a"], FAR])
        return len(seen) > 1 and seen[-1] == seen[-2]

    wait_for(is_quiet, "all packets to arrive")
    return seen[-1]


# --- the stories ---

def counted(meter):
    rows = meter.usage_of(FIP["a"])
    return tuple(sum(row[name] for row in rows) for name in ("in_packets", "in_bytes", "out_packets", "out_bytes"))


def carry_metered(lab, counting, directory, place="auto"):
    """What a back end has counted, and the truth."""
    meter = Meter(lab, directory, counting, place)
    try:
        meter.once()
        lab.truth_zero("a")
        lab.truth_zero("far")
        carry_all(lab)
        true = truth(lab)
        meter.once()
        bill = counted(meter)
        assert {row["basis"] for row in meter.usage_of(FIP["a"])} == {"wire" if counting == "ebpf" else "skb"}
        meter.leave()
    finally:
        meter.kill()
    return bill, true


@pytest.mark.parametrize("place", ["link", "rule"])
def test_ebpf_counts_what_was_on_the_wire(wire, place, tmp_path):
    bill, true = carry_metered(wire, "ebpf", tmp_path, place)
    assert bill == true and min(true) > 8000, "in packets, bytes, out packets, bytes"


@pytest.mark.parametrize("mtu", ["1500"], indirect=True)
@pytest.mark.parametrize("counting", ["nft", "iptables"])
def test_what_the_others_are_off_by(wire, counting, how, tmp_path, record_property, capsys):
    """Fragments are put together before their hooks; what is merged, or not split yet, has one header."""
    bill, true = carry_metered(wire, counting, tmp_path)
    off = tuple(one - other for one, other in zip(bill, true))
    told = f"offloads {how}, {counting}: off by {off} of {true} (in packets, bytes, out packets, bytes)"
    record_property("off", told)
    with capsys.disabled():
        print(f"\n{told}")
    fragments = FRAGMENTS if how == "off" else 10 * FRAGMENTS
    assert all(-packets >= fragments for packets in off[::2]) and max(off) < 0, told
