# SPDX-License-Identifier: GPL-2.0-or-later
"""verify: known volumes by a real iperf3 to and from a floating IP, and what fipmeter says that it has counted of them. The
figures beside it are the story's own: of the VM's network card, and of a place where every packet is by itself.
"""

import json
import re
import shlex
import subprocess

import pytest
from accounts import FAR, FIP
from fiplab import build, traffic
from metering import Meter, wait_for

pytestmark = pytest.mark.own_lab("r1")
STATISTICS = [f"/sys/class/net/eth0/statistics/{name}" for name in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")]
CLIENT = f"ip netns exec {build.FAR}"
SMALL = ["--test=in:2M:80M", "--test=out:2M:80M"]


@pytest.fixture(params=["nft", "iptables", "ebpf"])
def backend(request):
    return request.param


@pytest.fixture
def flavour(backend):
    """Of one kind each: which it is plays no part."""
    return "legacy" if backend == "iptables" else "nft"


ONE = pytest.mark.parametrize("backend", ["nft"], indirect=True)


@pytest.fixture
def server(lab):
    """iperf3 -s in the VM behind the floating IP."""
    with lab.popen(["iperf3", "--server", "--forceflush"], ns="a", text=True, stdout=subprocess.PIPE) as process:
        wait_for(lambda: "listening" in process.stdout.readline(), "iperf3 to listen")
        yield process
        process.kill()


@pytest.fixture
def meter(lab, backend, tmp_path):
    meter = Meter(lab, tmp_path, backend)
    try:
        meter.start()
        yield meter
        meter.leave()
    finally:
        meter.kill()


def verify(meter, *more, status=0):
    return meter.command("verify", "--address", FIP["a"], "--client", CLIENT, *more, status=status)


def rows(meter, *more, status=0):
    told = json.loads(verify(meter, "-o", "json", *more, status=status).stdout)
    return told["rows"]


def card(lab):
    return ["--card", shlex.join(["ip", "netns", "exec", lab.vms["a"].namespace, "cat", *STATISTICS])]


def test_what_is_counted_is_between_payload_and_headers(lab, server, meter):
    inward, outward = rows(meter, *SMALL, *card(lab))
    for row, direction in (inward, "in"), (outward, "out"):
        assert row["direction"] == direction and row["verdict"] == "inside"
        assert row["volume_bytes"] == 2 << 20 and row["rate_bits"] == 80_000_000
        assert 2 << 20 <= row["sent_bytes"] < 3 << 20
        assert row["received_bytes"] == row["lowest_bytes"] <= row["collected_bytes"] <= row["highest_bytes"]
        assert row["card_bytes"] - row["error_bytes"] == row["collected_bytes"]
        assert 0 < row["error_bytes"] < row["card_bytes"] / 10      # Ethernet headers, and segments that were merged
        assert row["mss"] == 1448 and row["header_bytes"] == 52
        assert row["off_wire_bytes"] is None
    # it is what the rows say, all of it: nothing else was sent
    counted = meter.usage_of(FIP["a"])
    assert sum(row["in_bytes"] for row in counted) > inward["collected_bytes"]
    assert sum(row["in_packets"] + row["out_packets"] for row in counted) > inward["collected_packets"] + outward["collected_packets"]


@ONE
def test_a_table_for_people_and_one_for_a_page(lab, server, meter):
    table = verify(meter, "--test=in:1M:80M").stdout
    assert "1 of 1 inside: payload <= collected <= payload + headers" in table
    assert re.search(r"^in +1.0 MiB +80.0 Mb/s +\d+ +\d+ +\d+ +inside$", table, re.M), table
    page = verify(meter, "--test=in:1M:80M:quiet", "--scale=2", "-o", "markdown").stdout.splitlines()
    assert "| direction | volume | rate | with | collected | payload | payload + headers | verdict |" in page
    assert "|---|---:|---:|---|---:|---:|---:|---|" in page
    assert any(re.fullmatch(r"\| in \| 512.0 KiB \| 80.0 Mb/s \| quiet \| \d+ \| \d+ \| \d+ \| inside \|", line) for line in page)
    assert "Each volume is 1/2 of what was asked for (--scale)." in page


@ONE
def test_the_commands_around_a_test_are_called_with_its_label(lab, server, meter, tmp_path):
    calls = tmp_path / "calls"
    script = tmp_path / "around"
    script.write_text(f"#!/bin/sh\necho \"$@\" >>{calls}\n")
    script.chmod(0o755)
    verify(meter, "--test=in:1M:80M", "--test=out:1M:80M:slow", "--around", f"{script} here")
    assert calls.read_text().splitlines() == ["here begin slow out", "here end slow out"]


@ONE
def test_a_count_that_is_not_the_payload_is_told(lab, server, meter):
    """An address behind which something else sends, too: more than was to be counted."""
    send = f"ip netns exec {build.FAR} {traffic.sender(lab)} icmp --to {FIP['a']} --count 400 --bytes 1400 --wait 1000"
    row, = rows(meter, "--test=in:1M:80M:others", "--around", f"sh -c '{send}'", status=4)
    assert row["verdict"] == "outside: above"
    assert row["collected_bytes"] > row["highest_bytes"]


def complains(meter, expected, *more, status=1):
    said = verify(meter, *more, status=status).stderr
    line = said.strip().splitlines()[-1]
    assert line.startswith("fipmeter verify: ") and expected in line, said


@ONE
def test_what_is_missing_is_told(lab, meter):
    complains(meter, "right: iperf3 -s runs at 198.51.100.101", *SMALL)
    complains(meter, "--card", *SMALL, "--card", "false")
    complains(meter, "said 1 numbers (right: four", *SMALL, "--card", "echo 1 two")
    complains(meter, "cannot be run", *SMALL, "--client", "/nonexistent/ssh")
    said = meter.command("verify", "--address", FAR, *SMALL, status=3).stderr
    assert f"address {FAR} is not metered on this node" in said


@ONE
def test_without_an_agent_nobody_waits_for_ever(lab, server, meter):
    meter.stop()
    meter.configure("interval = 1\n")
    complains(meter, "does the agent run? (fipmeter status)", *SMALL)
    meter.configure("")
    meter.start()


BESIDE = {"nft": "ebpf", "iptables": "nft", "ebpf": "iptables"}


def test_two_back_ends_at_once_count_the_same(lab, server, meter, backend):
    """Where nothing is merged and nothing is split, all of them see the same packets."""
    told = rows(meter, *SMALL, "--beside", BESIDE[backend])
    for row in told:
        assert row["verdict"] == "inside"
        assert (row["beside_bytes"], row["beside_packets"]) == (row["collected_bytes"], row["collected_packets"])
    # nothing of it is stored, and nothing stays
    assert len(meter.query("SELECT tag FROM generation")) == 1
    again = verify(meter, "--test=in:1M:80M", "--beside", BESIDE[backend]).stdout
    assert f'"Off the other" is collected minus what {BESIDE[backend]} has counted at the same time.' in again
    complains(meter, "stand there already (right: another back end than the agent's", *SMALL, "--beside", backend)
    complains(meter, "there is no back end xdp in this build (right: nft, iptables, ebpf)", *SMALL, "--beside", "xdp")
