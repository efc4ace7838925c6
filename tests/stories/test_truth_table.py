# SPDX-License-Identifier: GPL-2.0-or-later
"""The truth table, flow by flow: who pays for which packet, to the byte and nothing else. The numbers in front are the
scenarios of the design; a, b, e have a floating IP on r1, f and h on r2, k on r4; c, d on r1, g on r2, l on r4 have
none; r3 has no source NAT; h has the fixed address of a; 8.8.8.0/24 is a tenant's subnet behind r4.
"""

import pytest
from accounts import EXT, FAR, FIP, GATEWAY, METADATA, Bill, expect, floating, gateway, unattributed
from flows import Flow, carry

A, B, E, F, H, K, J = (floating(vm) for vm in "abefhkj")
R1, R2, R4 = (gateway(router) for router in ("r1", "r2", "r4"))
R3 = unattributed("r3")


def both(calling, called, class_name):
    """Caller and called are both on the bill: (a packet there, a packet back)."""
    return ([(calling, class_name, "out"), (called, class_name, "in")],
            [(called, class_name, "out"), (calling, class_name, "in")])


def outward(calling, class_name):
    return [(calling, class_name, "out")], [(calling, class_name, "in")]


def inward(called, class_name):
    return [(called, class_name, "in")], [(called, class_name, "out")]


def itself(account):
    """Request and reply are each sent to the public address, and come back from it."""
    hits = [(account, "cloud", "out"), (account, "cloud", "in")]
    return hits, hits


NOWHERE = [], []

FLOWS = [
    Flow("1 far calls floating IP a", "far", FIP["a"], "a", *inward(A, "internet")),
    Flow("1 a calls far", "a", FAR, "far", *outward(A, "internet")),
    Flow("1 a calls an address on the external subnet", "a", EXT, "ext", *outward(A, "cloud")),
    Flow("1 the external subnet calls floating IP a", "ext", FIP["a"], "a", *inward(A, "cloud")),
    Flow("2 a calls floating IP b of its subnet", "a", FIP["b"], "b", *both(A, B, "cloud")),
    Flow("2 a calls floating IP e of the other subnet", "a", FIP["e"], "e", *both(A, E, "cloud")),
    Flow("3 a calls floating IP f of another router", "a", FIP["f"], "f", *both(A, F, "cloud")),
    Flow("3 f calls floating IP a of another router", "f", FIP["a"], "a", *both(F, A, "cloud")),
    Flow("3 a calls floating IP h whose fixed address is that of a", "a", FIP["h"], "h", *both(A, H, "cloud")),
    Flow("4 c calls far", "c", FAR, "far", *outward(R1, "internet")),
    Flow("4 d on the other subnet calls far", "d", FAR, "far", *outward(R1, "internet")),
    Flow("4 c calls an address on the external subnet", "c", EXT, "ext", *outward(R1, "cloud")),
    Flow("5 c calls floating IP b of its subnet", "c", FIP["b"], "b", *both(R1, B, "cloud")),
    Flow("5 c calls floating IP e of the other subnet", "c", FIP["e"], "e", *both(R1, E, "cloud")),
    Flow("6 c calls floating IP f of another router", "c", FIP["f"], "f", *both(R1, F, "cloud")),
    Flow("6 g calls floating IP h of its router", "g", FIP["h"], "h", *both(R2, H, "cloud")),
    Flow("6 g calls floating IP b of another router", "g", FIP["b"], "b", *both(R2, B, "cloud")),
    Flow("- a calls its own floating IP", "a", FIP["a"], "a", *itself(A)),
    Flow("- a calls d by fixed address", "a", "10.0.2.14", "d", *NOWHERE),
    Flow("- a calls e by fixed address", "a", "10.0.2.15", "e", *NOWHERE),
    Flow("- d calls a by fixed address", "d", "10.0.1.11", "a", *NOWHERE),
    Flow("- a calls c by fixed address on one subnet", "a", "10.0.1.13", "c", *NOWHERE),
    Flow("- a calls the metadata address", "a", METADATA, None, [(A, "free", "out")], [], echo=False),
    Flow("- c calls the metadata address", "c", METADATA, None, [(R1, "free", "out")], [], echo=False),
    # The router answers these itself, and what it sends by itself counts for nobody on it.
    Flow("- far calls the gateway address", "far", GATEWAY["r1"], None, [(R1, "internet", "in")], []),
    Flow("- c calls its own gateway address", "c", GATEWAY["r1"], None, *NOWHERE),
    Flow("- a calls its own gateway address", "a", GATEWAY["r1"], None,
         [(A, "cloud", "out"), (R1, "cloud", "in")], []),
    Flow("- a calls the other gateway address", "a", GATEWAY["r2"], None,
         [(A, "cloud", "out"), (R2, "cloud", "in")], [(A, "cloud", "in")], quiet=False),
    Flow("- a calls its router inside", "a", "10.0.1.1", None, *NOWHERE),
    # Without source NAT: counted, said to be unattributed, never billed.
    Flow("- i behind the router without SNAT calls far", "i", FAR, "far", *outward(R3, "internet")),
    Flow("- far calls i behind the router without SNAT", "far", "10.0.4.21", "i", *inward(R3, "internet")),
    # For r1 the caller is a fixed address that is routed from outside: nothing on the external subnet.
    Flow("- i calls floating IP a", "i", FIP["a"], "a",
         [(R3, "cloud", "out"), (A, "internet", "in")], [(A, "internet", "out"), (R3, "cloud", "in")]),
    # A tenant's subnet in public space.
    Flow("- k calls far", "k", FAR, "far", *outward(K, "internet")),
    Flow("- l calls far", "l", FAR, "far", *outward(R4, "internet")),
    Flow("- l in 8.8.8.0 calls floating IP k of its router", "l", FIP["k"], "k", *both(R4, K, "cloud")),
    Flow("- k in 8.8.8.0 calls its own floating IP", "k", FIP["k"], "k", *itself(K)),
    Flow("- j behind the HA master calls far", "j", FAR, "far", *outward(J, "internet")),
    Flow("- far calls floating IP j of the HA master", "far", FIP["j"], "j", *inward(J, "internet")),
]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name.replace(" ", "_"))
def test_each_packet_is_on_the_right_bill(lab, metered, flow):
    bill = Bill()
    for protocol in flow.protocols:
        there, back = carry(lab, flow, protocol)
        if flow.server and flow.who != flow.server:
            # Only a VM that answers itself, and TCP, have both directions in one number or no fixed number at all.
            assert there[0] and (protocol == "udp") == (not back[0])
        bill.add(flow.there, *there).add(flow.back, *back)
    metered.once()
    expect(lab, metered.usage(), bill)


def test_a_call_of_the_metadata_service_is_free_and_its_answer_is_the_routers_own(lab, metered):
    lab.truth_zero("a")
    # Redirected into the router, where nobody listens: one SYN, and a refusal that no hook of ours sees.
    call = f"import socket; socket.create_connection(('{METADATA}', 80), timeout=0.5)"
    assert lab.sh(["/usr/bin/python3", "-c", call], ns="a").returncode == 1
    packets, size = lab.truth("a", "out")[lab.fixed("a"), METADATA]
    metered.once()
    expect(lab, metered.usage(), {(*A, "free"): (0, 0, packets, size)})


def test_router_subnets_in_public_space_stay_inside(lab, metered):
    """k sends to l, and to nobody, in its own 8.8.8.0/24, by way of the router."""
    lab.run("k", ["ip", "route", "add", "8.8.8.12/32", "via", "8.8.8.1"])
    lab.run("k", ["ip", "route", "add", "8.8.8.50/32", "via", "8.8.8.1"])
    try:
        assert lab.send("k", "8.8.8.12", proto="icmp", count=10, bytes=500)["replies"] == 10
        lab.send("k", "8.8.8.50", proto="udp", count=5, bytes=700)
    finally:
        lab.run("k", ["ip", "route", "del", "8.8.8.12/32"])
        lab.run("k", ["ip", "route", "del", "8.8.8.50/32"])
    metered.once()
    expect(lab, metered.usage(), {})


def test_a_broadcast_and_a_multicast_of_a_vm_are_free_or_nothing(lab, metered):
    """They reach the router's device, and it forwards none; multicast has no local prefix, so it leaves as free."""
    lab.run("c", ["ip", "route", "add", "224.0.0.0/4", "dev", "eth0"])
    try:
        lab.send("c", "239.1.2.3", proto="udp", count=5, bytes=300)
    finally:
        lab.run("c", ["ip", "route", "del", "224.0.0.0/4"])
    lab.send("c", "10.0.1.255", proto="udp", count=4, bytes=300)
    lab.send("c", "255.255.255.255", proto="udp", count=3, bytes=300)
    metered.once()
    expect(lab, metered.usage(), {(*R1, "free"): (0, 0, 8, 2400)})


def test_fragments_count_as_the_basis_says(lab, metered, backend):
    """skb: connection tracking puts them together before the hook, one header; wire: three, each with its own."""
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=4000)
    metered.once()
    on_the_wire = (7 * 3, 7 * (4000 + 2 * 20), 0, 0)
    expect(lab, metered.usage(), {(*A, "internet"): on_the_wire if backend == "ebpf" else (7, 28000, 0, 0)})
    assert {row["basis"] for row in metered.usage()} == {"wire" if backend == "ebpf" else "skb"}


def test_the_accounts_of_the_stories_are_those_of_the_lab(lab):
    assert {vm.name: vm.floating for vm in lab.vms.values() if vm.floating} == FIP
    assert all(lab.routers[router].gateway == address for router, address in GATEWAY.items())
