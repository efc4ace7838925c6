# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenario 7 of the seed: under a rate limit it counts what passed the limiter where that stands before the hook, and what
came to the limiter where it stands behind.

So `in` is what passed a policer at the ingress of qg-, and `out` what the VM sent, whatever a limiter at the egress of qg- let
through. The truth is counted on both sides: by the sender and the receiver, and by the qdisc that drops.
"""

import pytest
from accounts import EXT, FAR, FIP
from conftest import make_lab
from fiplab.topology import lab_mac
from limits import dropped, egress_htb, egress_policer, egress_tbf, ingress_policer, limited
from metering import Meter, wait_for
from witness import lead_to

FLOOD = {"proto": "udp", "count": 4000, "bytes": 1400}  # some 300 Mb/s, and nobody hears that it does not arrive
PAYLOAD = 250_000


@pytest.fixture(scope="module")
def lab():
    """Without offloads: a packet is a packet on the wire, whatever counts. Nobody asks for link addresses: a queue would drop
    the question, too."""
    with make_lab("limits", "nft", ["r1"]) as standing:
        lead_to(standing, "r1", FIP["a"])
        standing.run("r1", ["ip", "neigh", "replace", EXT, "lladdr", lab_mac("ext-gw"), "nud", "permanent", "dev",
                            standing.routers["r1"].qg])
        yield standing


@pytest.fixture(params=["nft", "iptables", "ebpf", "ebpf-rule"])
def meter(request, lab, tmp_path):
    meter = Meter(lab, tmp_path, request.param.removesuffix("-rule"), "rule" if "rule" in request.param else "auto")
    try:
        meter.once()
        yield meter
        meter.leave()
    finally:
        meter.kill()


def flood(lab, who, to, server):
    lab.send(who, to, **FLOOD)


def tcp(lab, who, to, server):
    lab.tcp(who, to, server=server, bytes=PAYLOAD)


def difference(after, before):
    return tuple(one - other for one, other in zip(after, before))


class Flow:
    """What passed between a and far on either side of a limiter, as (packets, bytes): since it was made."""

    def __init__(self, lab, meter):
        self.lab, self.meter = lab, meter
        self.before = self._look()

    def _look(self):
        a, fip = self.lab.fixed("a"), FIP["a"]
        none = (0, 0)
        ends = {(who, way): self.lab.truth(who, way) for who in ("a", "far") for way in ("in", "out")}
        rows = self.meter.usage_of(fip)
        billed = [tuple(sum(row[f"{way}_{unit}"] for row in rows) for unit in ("packets", "bytes"))
                  for way in ("in", "out")]
        return {"a in": ends["a", "in"].get((FAR, a), none), "a out": ends["a", "out"].get((a, FAR), none),
                "far in": ends["far", "in"].get((fip, FAR), none), "far out": ends["far", "out"].get((FAR, fip), none),
                "billed in": billed[0], "billed out": billed[1], "dropped": (dropped(self.lab, "r1"), 0)}

    def look(self):
        now = self._look()
        return {name: difference(now[name], self.before[name]) for name in now}

    def settle(self, sent, arrived):
        """When what was sent has arrived or was dropped, and is billed."""
        def billed():
            before = self.look()
            if before[sent][0] != before[arrived][0] + before["dropped"][0]:
                return None
            self.meter.once()
            after = self.look()
            same = all(after[name] == before[name] for name in before if not name.startswith("billed"))
            return after if same else None  # else something was still on its way

        return wait_for(billed, f"{sent} to be {arrived}, or dropped")


def tell(record_property, capsys, what, found):
    told = f"{what}: " + ", ".join(f"{name} {packets}/{size}" for name, (packets, size) in found.items())
    record_property("counted", told)
    with capsys.disabled():
        print(f"\n{told}")


@pytest.mark.parametrize("carry", [flood, tcp])
def test_what_an_ingress_policer_drops_is_not_billed(lab, meter, carry, tmp_path, record_property, capsys):
    with limited(lab, "r1", ingress_policer, tmp_path):
        flow = Flow(lab, meter)
        carry(lab, "far", FIP["a"], "a")
        found = flow.settle("far out", "a in")
    tell(record_property, capsys, f"{meter.backend}, ingress policer, {carry.__name__} in", found)
    assert found["billed in"] == found["a in"] < found["far out"], "as it passed, and some of it did not"
    assert found["billed out"] == found["a out"] == found["far in"]
    assert found["dropped"][0] > 0


@pytest.mark.parametrize("carry", [flood, tcp])
@pytest.mark.parametrize("limiter", [egress_policer, egress_htb, egress_tbf])
def test_what_an_egress_limiter_drops_is_billed(lab, meter, limiter, carry, tmp_path, record_property, capsys):
    with limited(lab, "r1", limiter, tmp_path):
        flow = Flow(lab, meter)
        carry(lab, "a", FAR, "far")
        found = flow.settle("a out", "far in")
    tell(record_property, capsys, f"{meter.backend}, {limiter.__name__}, {carry.__name__} out", found)
    assert found["billed out"] == found["a out"] > found["far in"], "as the VM sent it, though not all of it left"
    assert found["billed in"] == found["a in"] == found["far out"]
    assert found["dropped"][0] > 0
