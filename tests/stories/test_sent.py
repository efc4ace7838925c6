# SPDX-License-Identifier: GPL-2.0-or-later
"""`[agent] out_point = egress`: `out` is what the external device was given to send, behind whatever limits its rate."""

import contextlib
import json
import os
import signal

import pins
import pytest
from accounts import EXT, FAR, FIP, GATEWAY, Bill, gateway, totals
from conftest import make_lab
from fiplab import Lab, offloads
from fiplab.topology import lab_mac
from flows import carry
from limits import egress_htb, egress_tbf, limited
from metering import Meter, wait_for
from sent import Flow, device, drained, is_billed, missed, reasons, sums, until_all_is_seen
from test_strangers import ELSEWHERE, outside_sends_by_way_of
from test_truth_table import FLOWS
from witness import lead_to, stream

PAYLOAD = 250_000
EGRESS = "out_point = egress\n"
TURNED = "where out counts was changed"
WAITED = "out: what waited in the queue was counted where it came in, and what followed not at all"
GONE = "out: an external device went before it was asked whether all that it had sent was seen"


@contextlib.contextmanager
def metered_in(lab, directory, place="auto"):
    meter = Meter(lab, directory, "ebpf", place)
    meter.configure(EGRESS)
    try:
        yield meter
        meter.leave()
    finally:
        meter.kill()


def settle_neighbours(lab):
    """Nobody asks for link addresses: a queue would drop the question, too."""
    lead_to(lab, "r1", FIP["a"])
    lab.run("r1", ["ip", "neigh", "replace", EXT, "lladdr", lab_mac("ext-gw"), "nud", "permanent", "dev", lab.routers["r1"].qg])


@pytest.fixture(scope="module")
def lab():
    """Without offloads: a packet is a packet on the wire."""
    with make_lab("sent", "nft", ["r1"]) as standing:
        settle_neighbours(standing)
        yield standing


@pytest.fixture
def meter(lab, tmp_path):
    with metered_in(lab, tmp_path) as meter:
        meter.once()
        yield meter


@pytest.fixture
def own_lab():
    with make_lab("sent-own", "nft", ["r1", "r2"]) as standing:
        settle_neighbours(standing)
        yield standing


@pytest.fixture
def own_meter(own_lab, tmp_path):
    with metered_in(own_lab, tmp_path) as meter:
        yield meter


# --- behind a limiter ---

def flood(lab):
    lab.send("a", FAR, proto="udp", count=4000, bytes=1400)  # some 300 Mb/s, through 10


def tcp(lab):
    lab.tcp("a", FAR, bytes=PAYLOAD)


@pytest.mark.parametrize("send", [flood, tcp])
@pytest.mark.parametrize("limiter", [egress_htb, egress_tbf])
def test_what_left_behind_a_limiter_is_billed(lab, meter, limiter, send, tmp_path, record_property, capsys):
    def run():
        flow = Flow(lab, meter)
        send(lab)
        drained(lab)
        meter.once()
        all_billed = flow.is_all_billed()
        told = f"{limiter.__name__}, {send.__name__}: {flow.entered} packets, bytes entered, {flow.arrived} left and were billed"
        if all_billed:
            record_property("counted", told)
            with capsys.disabled():
                print(f"\n{told}")
        assert flow.entered > flow.arrived, "the limiter dropped nothing"
        return all_billed

    with limited(lab, "r1", limiter, tmp_path):
        until_all_is_seen(run)
    rows = meter.usage_of(FIP["a"])
    assert {row["basis"] for row in rows} == {"wire-sent"} and not reasons(meter)


def test_packets_of_many_segments_and_fragments_count_as_on_the_wire(tmp_path):
    with Lab(name=f"stories-{os.getpid()}-sent-wire", routers=["r1"], offloads=True, mtu=1450, pauses=False) as lab, \
            metered_in(lab, tmp_path) as meter:
        settle_neighbours(lab)
        offloads.keep_queues_short(lab, "a", "far")
        offloads.split_at_the_ends(lab, "a")
        meter.once()

        def run():
            flow = Flow(lab, meter)
            lab.tcp("a", FAR, bytes=3_000_000)
            lab.send("a", FAR, proto="udp", count=20, bytes=9000)
            drained(lab)
            meter.once()
            return flow.is_all_billed(merged=True)

        until_all_is_seen(run)


# --- who pays ---

@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The whole lab, and a meter in it for all flows."""
    with make_lab("sent-all", "nft") as standing, metered_in(standing, tmp_path_factory.mktemp("all")) as meter:
        meter.once()
        yield standing, meter


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name.replace(" ", "_"))
def test_each_packet_that_leaves_is_on_the_same_bill(everything, flow):
    lab, meter = everything

    def run():
        before, bill = (totals(lab, meter.usage()), missed(meter)), Bill()
        for protocol in flow.protocols:
            there, back = carry(lab, flow, protocol)
            bill.add(flow.there, *there).add(flow.back, *back)
        meter.once()
        return is_billed(lab, meter, before, bill)

    until_all_is_seen(run)


def test_what_a_vm_sends_under_a_strangers_source_counts_for_the_address_that_it_leaves_with(everything):
    lab, meter = everything

    def run():
        before = totals(lab, meter.usage()), missed(meter)
        lab.send("c", FAR, proto="udp", count=5, bytes=500, source="8.8.4.4")
        meter.once()
        return is_billed(lab, meter, before, Bill().add([(gateway("r1"), "internet", "out")], 5, 2500))

    until_all_is_seen(run)


def test_an_outsider_who_has_a_router_send_charges_nobody(everything):
    """By its external device in and out again, under the sources of a VM, a floating IP and the gateway address."""
    lab, meter = everything
    before, (sent, _) = totals(lab, meter.usage()), device(lab)
    with outside_sends_by_way_of(lab, "r1"):
        for source in lab.fixed("a"), FIP["b"], GATEWAY["r2"]:
            lab.send("far", ELSEWHERE, proto="udp", count=12, bytes=900, source=source)
        meter.once()
    assert totals(lab, meter.usage()) == before
    assert device(lab)[0] >= sent + 12, "the router did send"


@pytest.mark.parametrize("place", ["link", "rule"])
def test_by_whatever_the_other_program_is_called(lab, tmp_path, place):
    """It leaves to this one what is sent, and has what is not: a calls far, and the floating IP of b."""
    a, b = (("r1", "floating", FIP[vm]) for vm in "ab")
    with metered_in(lab, tmp_path, place=place) as meter:
        meter.once()

        def run():
            before = totals(lab, meter.usage()), missed(meter)
            lab.send("a", FAR, proto="udp", count=7, bytes=100)
            lab.send("a", FIP["b"], proto="udp", count=5, bytes=100)
            meter.once()
            return is_billed(lab, meter, before, Bill().add([(a, "internet", "out")], 7, 700).add(
                [(a, "cloud", "out"), (b, "cloud", "in")], 5, 500))

        until_all_is_seen(run)


# --- what it says ---

def test_where_it_counts_is_told(lab, meter):
    lab.send("a", FAR, proto="udp", count=10, bytes=100)
    meter.once()
    assert {row["basis"] for row in meter.usage()} == {"wire-sent"}
    told = meter.command("explain", FIP["a"]).stdout
    assert "of out those that the external device was given to send (wire-sent)" in told
    assert meter.query("SELECT DISTINCT basis FROM usage") == [{"basis": "wire-sent"}]
    meter.start()
    told = meter.run("status", "--config", meter.config, "--state-dir", meter.state, "-o", "json").stdout
    assert '"basis": "wire-sent"' in told


def test_the_doctor_knows_on_which_side_of_a_limiter_it_counts(lab, meter, tmp_path):
    with limited(lab, "r1", egress_tbf, tmp_path):
        found = json.loads(meter.command("doctor", "-o", "json", status=(0, 4)).stdout)["findings"]
    told = [each for each in found if each["check"] == "limits"]
    assert [each["level"] for each in told] == ["ok"] and "`out` is what leaves" in told[0]["text"], told


def test_a_kernel_that_leaves_out_packets_is_told(lab, meter):
    """As this one does by itself now and then: nothing is there to be called, for some packets."""
    flow = Flow(lab, meter)
    key = pins.dump(lab, "sent_start_prog")
    assert key
    pins.delete(lab, "sent_start_prog", bytes(4))
    lab.send("a", FAR, proto="udp", count=7, bytes=100)
    meter.start()  # puts its own there
    meter.sample()
    assert missed(meter) >= 7 and not sums(meter.usage_of(FIP["a"]), "out")[0]
    until_all_is_seen(lambda: is_seen(lab, meter))
    assert flow.lab is lab


def is_seen(lab, meter):
    flow = Flow(lab, meter)
    lab.send("a", FAR, proto="udp", count=10, bytes=100)
    meter.sample()
    return flow.is_all_billed()


# --- changes ---

def reload(meter, text, wanted):
    meter.configure(text)
    meter.signal(signal.SIGHUP)
    wait_for(lambda: reasons(meter)[-1:] == [wanted], "another setting")


def wait_until_it_counts(lab, meter):
    meter.sample()  # a gap is written down before what it is about is done
    wait_for(lambda: meter.sample() or not pins.dump(lab, "sent_waits"), "the end of the wait")


def test_another_setting_is_a_gap_and_nothing_counts_twice(own_lab, own_meter):
    lab, meter = own_lab, own_meter
    meter.configure("")
    meter.start()
    with stream(lab, "a", FAR, 40_000, 5000):  # 8 s
        reload(meter, EGRESS, TURNED)
        wait_until_it_counts(lab, meter)
    drained(lab)
    meter.sample()
    meter.sample()
    arrived = lab.truth("far", "in")[FIP["a"], FAR][0]
    billed = sums(meter.usage_of(FIP["a"]), "out")[0]
    gaps = [row for row in meter.coverage("r1") if row["state"] == "gap"]
    length_s = sum(row["end"] - row["start"] for row in gaps) / 1e6
    assert 0 <= arrived - billed <= length_s * 5000 + 10, (arrived, billed, gaps)
    assert arrived - billed >= 5000, "what may have waited in the queue is on no bill"
    assert {row["basis"] for row in meter.usage_of(FIP["a"])} == {"wire", "wire-sent"}
    assert any("mixed" in row.values() for row in meter.usage("--address", FIP["a"], per="total"))
    reload(meter, "", TURNED)
    meter.sample()
    before = sums(meter.usage_of(FIP["a"]), "out")[0]
    lab.send("a", FAR, proto="udp", count=50, bytes=100)
    meter.sample()
    assert sums(meter.usage_of(FIP["a"]), "out")[0] == before + 50
    assert "sent" not in lab.sh(["ls", pins.PINS]).stdout, "nobody asks for it any more"


def test_routers_of_other_back_ends_count_as_ever(own_lab, own_meter):
    lab, meter = own_lab, own_meter
    meter.configure(f"{EGRESS}[backends]\nnft = {lab.routers['r2'].uuid}\n")
    meter.once()
    lab.send("a", FAR, proto="udp", count=5, bytes=100)
    lab.send("f", FAR, proto="udp", count=5, bytes=100)
    meter.once()
    assert {row["basis"] for row in meter.usage_of(FIP["f"])} == {"skb"}
    assert sums(meter.usage_of(FIP["f"]), "out") == (5, 500)
    assert {row["basis"] for row in meter.usage_of(FIP["a"])} <= {"wire-sent"}


# --- the agent goes ---

def test_what_leaves_while_agents_are_killed_and_replaced_is_billed_once(lab, meter):
    """Each start puts its own programs into the place of those before. What the kernel leaves out of so many is told by another
    agent than the one that was there."""
    for _ in range(3):
        flow = Flow(lab, meter)
        with stream(lab, "a", FAR, 30_000, 10_000):
            for _ in range(4):
                meter.start()
                meter.kill()
        drained(lab)
        meter.once()
        flow.left_out(killed=True)
    assert not reasons(meter)


def test_what_somebody_takes_is_made_again_and_told(own_lab, own_meter):
    lab, meter = own_lab, own_meter
    meter.start()
    for number, name in enumerate(["sent-link-start", "sent-link-done", "sent_seen", "sent_done_prog"]):
        lab.sh(["rm", f"{pins.PINS}/{name}"])
        meter.sample()
        assert len(reasons(meter)) > number, name
        wait_until_it_counts(lab, meter)
        assert reasons(meter)[-1] == WAITED, name
        until_all_is_seen(lambda: is_seen(lab, meter))


def test_a_strangers_map_under_our_name_is_named_and_left_alone(lab, meter):
    pin = f"{pins.PINS}/sent_seen"
    lab.sh(["sh", "-ec", f"rm {pin}; bpftool map create {pin} type hash key 16 value 4096 entries 4 name strange"])
    assert f"{pin}: what is pinned there is no map of fipmeter's" in meter.once(status=1).stderr
    assert '"strange"' in lab.sh(["bpftool", "-j", "map", "show", "pinned", pin]).stdout
    lab.sh(["rm", pin])
    meter.once()
    assert any(key[:8] == pins.cookie(lab, "r1").to_bytes(8, "little") for key in pins.dump(lab, "sent_told"))


def test_a_router_that_goes_leaves_nothing_there(own_lab, own_meter):
    lab, meter = own_lab, own_meter
    meter.start()
    lab.send("f", FAR, proto="udp", count=5, bytes=100)
    meter.sample()
    cookie = pins.cookie(lab, "r2").to_bytes(8, "little")
    assert any(key[:8] == cookie for key in pins.dump(lab, "sent_seen"))
    lab.router_drop("r2")
    wait_for(lambda: meter.sample() or not any(key[:8] == cookie for key in pins.dump(lab, "routers")), "the router to go")
    for name in "sent_seen", "sent_told", "sent_waits":
        assert not any(key[:8] == cookie for key in pins.dump(lab, name)), name
    assert set(reasons(meter, "r2")) <= {GONE}


def test_answers_of_the_router_itself_are_on_no_bill(lab, meter):
    assert lab.send("far", GATEWAY["r1"], proto="icmp", count=10, bytes=500)["replies"] == 10
    meter.once()
    found = totals(lab, meter.usage())
    assert found == {(*gateway("r1"), "internet"): (10, 5000, 0, 0)}
    assert device(lab)[0] >= 10
