# SPDX-License-Identifier: GPL-2.0-or-later
"""Routers go, in order or in haste, and come back under their names with everything else new."""

import pytest
from accounts import FAR, FIP, Bill, expect, floating, gateway

F, R2, A = floating("f"), gateway("r2"), floating("a")

pytestmark = pytest.mark.own_lab("r1", "r2")

GOINGS = pytest.mark.parametrize("going", ["router_delete", "router_drop"], ids=["in order", "in haste"])


def send(lab, count):
    lab.send("far", FIP["f"], proto="udp", count=count, bytes=100)


def gaps(meter, router):
    return [row for row in meter.coverage(router) if row["state"] == "gap" and not row["address"]]


def sum_in(meter):
    return sum(row["in_packets"] for row in meter.usage_of(FIP["f"]))


@GOINGS
def test_a_router_that_went_between_two_looks_leaves_a_gap_from_its_last_reading(lab, meter, going, backend):
    meter.once()
    send(lab, 10)
    meter.once()
    send(lab, 5)            # these go with the namespace, unless the counters are outside
    getattr(lab, going)("r2")
    meter.once()
    if backend == "ebpf":
        expect(lab, meter.usage(), {(*F, "internet"): (15, 1500, 0, 0)})
        assert not gaps(meter, "r2")
        return
    expect(lab, meter.usage(), {(*F, "internet"): (10, 1000, 0, 0)})
    metered = [row for row in meter.coverage("r2") if row["state"] == "metered"]
    assert [row["start"] for row in gaps(meter, "r2")] == [metered[-1]["end"]]


@GOINGS
def test_a_router_that_comes_back_is_metered_anew_and_nothing_twice(lab, meter, going, backend):
    meter.once()
    send(lab, 10)
    meter.once()
    getattr(lab, going)("r2")
    meter.once()
    lab.router_add("r2", redraw=True)
    meter.once()
    send(lab, 7)
    lab.send("g", FAR, proto="udp", count=3, bytes=100)
    meter.once()
    expect(lab, meter.usage(), {(*F, "internet"): (17, 1700, 0, 0), (*R2, "internet"): (0, 0, 3, 300)})
    assert backend == "ebpf" or gaps(meter, "r2")
    assert meter.states("r2")[-1] == "metered"


@GOINGS
def test_a_router_that_went_and_came_back_while_nobody_looked_is_not_taken_for_the_old_one(lab, meter, going, backend):
    """The same name, and more traffic than before: a difference to the old baseline would be wrong and plausible."""
    meter.once()
    send(lab, 10)
    meter.once()
    send(lab, 5)
    getattr(lab, going)("r2")
    lab.router_add("r2")
    send(lab, 50)
    meter.once()            # nothing of ours stands there: these 50 were not counted
    send(lab, 20)
    meter.once()
    kept = 5 if backend == "ebpf" else 0
    expect(lab, meter.usage(), {(*F, "internet"): (30 + kept, 3000 + 100 * kept, 0, 0)})
    assert gaps(meter, "r2")


@GOINGS
def test_a_running_agent_follows_a_router_that_goes_and_comes_back(lab, meter, going):
    meter.start()
    send(lab, 10)
    meter.sample()
    for _ in range(2):
        getattr(lab, going)("r2")
        meter.sample()
        lab.router_add("r2")
        meter.sample()
        send(lab, 4)
        meter.sample()
    meter.stop()
    expect(lab, meter.usage(), {(*F, "internet"): (18, 1800, 0, 0)})
    assert not gaps(meter, "r2") and not gaps(meter, "r1")
    if lab.flavour == "nft":        # legacy rules make no event: their address may be there before they are seen
        assert not any(row["flags"] for row in meter.usage())


def test_a_router_without_external_device_counts_nothing_until_it_has_one(lab, meter):
    """r2 loses its gateway port, as a router does that is set down, and gets it back."""
    router = lab.routers["r2"]
    meter.once()
    send(lab, 10)
    meter.once()
    lab.run("r2", ["ip", "link", "del", router.qg])
    meter.once()
    lab.send("g", "10.0.1.11", proto="udp", count=4, bytes=100)
    lab.send("f", FAR, proto="udp", count=4, bytes=100)
    meter.once()
    expect(lab, meter.usage(), {(*F, "internet"): (10, 1000, 0, 0)})


def test_new_routers_are_metered_from_the_next_look_on(lab, meter):
    bill = Bill()
    meter.once()
    lab.routers_add(["x1", "x2", "x3"], floating=2, vms=2)
    meter.once()
    for number, name in enumerate(["x1", "x2", "x3"]):
        for address in lab.routers[name].floating:
            lab.send("far", address, proto="icmp", count=3 + number, bytes=100)
            bill.add([((name, "floating", address), "internet", way) for way in ("in", "out")],
                     3 + number, 300 + 100 * number)
    lab.send("far", FIP["a"], proto="udp", count=2, bytes=100)
    bill.add([(A, "internet", "in")], 2, 200)
    meter.once()
    expect(lab, meter.usage(), bill)
