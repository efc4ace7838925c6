# SPDX-License-Identifier: GPL-2.0-or-later
"""`[agent] out_point = egress`: `out` is what the external device was given to send, behind whatever limits its rate.

The truth is what the receiver counted. A kernel that leaves out a trace point now and then (this one does while process 1 is
current) makes it too low by as many packets as are told; so each story holds the difference against what was told, and goes on
until a run came in which nothing was missed.
"""

import re

import pytest
from accounts import EXT, FAR, FIP
from conftest import make_lab
from fiplab.topology import lab_mac
from limits import egress_htb, egress_tbf, limited
from metering import Meter, wait_for
from witness import lead_to

PAYLOAD = 250_000
ROUNDS = 20
MISSED = re.compile(r"out: (\d+) packets that its external devices sent were not seen")


@pytest.fixture(scope="module")
def lab():
    with make_lab("sent", "nft", ["r1"]) as standing:
        lead_to(standing, "r1", FIP["a"])
        standing.run("r1", ["ip", "neigh", "replace", EXT, "lladdr", lab_mac("ext-gw"), "nud", "permanent", "dev",
                            standing.routers["r1"].qg])
        yield standing


@pytest.fixture
def meter(lab, tmp_path):
    meter = Meter(lab, tmp_path, "ebpf")
    meter.configure("out_point = egress\n")
    try:
        meter.once()
        yield meter
        meter.leave()
    finally:
        meter.kill()


def missed(meter):
    """How many packets were told not to have been seen, since ever."""
    return sum(int(found[1]) for row in meter.coverage("r1") if (found := MISSED.fullmatch(row["reason"])))


def sums(rows, way):
    return tuple(sum(row[f"{way}_{unit}"] for row in rows) for unit in ("packets", "bytes"))


class Flow:
    """What left for far from a, since it was made: as the receiver has it, as it is billed, and what was told."""

    def __init__(self, lab, meter):
        self.lab, self.meter = lab, meter
        self.before = self._look()

    def _look(self):
        arrived = self.lab.truth("far", "in").get((FIP["a"], FAR), (0, 0))
        return arrived, sums(self.meter.usage_of(FIP["a"]), "out"), missed(self.meter)

    def look(self):
        """((packets, bytes) arrived, billed, packets missed)."""
        (arrived, billed, told), (arrived0, billed0, told0) = self._look(), self.before
        return ([now - then for now, then in zip(arrived, arrived0)],
                [now - then for now, then in zip(billed, billed0)], told - told0)


def queued(lab):
    return any("backlog 0b 0p" not in line for line in
               lab.run("r1", ["tc", "-s", "qdisc", "show", "dev", lab.routers["r1"].qg]).splitlines() if "backlog" in line)


def flood(lab):
    lab.send("a", FAR, proto="udp", count=4000, bytes=1400)  # some 300 Mb/s


def tcp(lab):
    lab.tcp("a", FAR, bytes=PAYLOAD)


@pytest.mark.parametrize("carry", [flood, tcp])
@pytest.mark.parametrize("limiter", [egress_htb, egress_tbf])
def test_what_left_behind_an_egress_limiter_is_billed(lab, meter, limiter, carry, tmp_path, capsys):
    with limited(lab, "r1", limiter, tmp_path):
        for _ in range(ROUNDS):
            flow = Flow(lab, meter)
            sent = lab.truth("a", "out")[lab.fixed("a"), FAR][0] if (lab.fixed("a"), FAR) in lab.truth("a", "out") else 0
            carry(lab)
            wait_for(lambda: not queued(lab), "the queue to be empty")
            meter.once()
            arrived, billed, told = flow.look()
            sent = lab.truth("a", "out")[lab.fixed("a"), FAR][0] - sent
            with capsys.disabled():
                print(sent, arrived, billed, told)
            assert sent > arrived[0] > 0
            assert arrived[0] - billed[0] == told
            if not told:
                assert arrived == billed
                return
    pytest.fail("no run in which nothing was missed")
