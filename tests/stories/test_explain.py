# SPDX-License-Identifier: GPL-2.0-or-later
"""explain: from a row back to the counter that it comes from, as the kernel shows it; and what is told where the kernel, or
the address, is there no more.
"""

import json
import sqlite3
from contextlib import closing

import pytest
from accounts import FIP, GATEWAY
from conftest import make_lab
from metering import PROGRAM, Meter
from test_golden import on_terminal, store  # noqa: F401

COUNTS = ("in_bytes", "in_packets", "out_bytes", "out_packets")


@pytest.fixture(scope="module")
def lab():
    with make_lab("explain", "nft", ["r1"]) as standing:
        yield standing


@pytest.fixture
def new_meter(lab, tmp_path):
    """Gives a meter of a back end, with an agent that runs; at the end the books add up and nothing stays in the kernel."""
    meters = []

    def start(backend="nft"):
        meters.append(Meter(lab, tmp_path, backend))
        meters[-1].start()
        return meters[-1]

    try:
        yield start
        for meter in meters:
            meter.leave()
    finally:
        for meter in meters:
            meter.kill()


def explain(meter, address, *more, status=0):
    return json.loads(meter.run(*meter.node_argv("explain", address, "-o", "json", *more), status=status).stdout)


def line(told, class_name="internet"):
    return next(each for each in told["meters"] if each["class"] == class_name)


def counts(of):
    return tuple(of[name] for name in COUNTS)


@pytest.mark.parametrize("backend", ["nft", "iptables", "ebpf"])
def test_from_the_row_back_to_the_counter_as_the_kernel_shows_it(lab, new_meter, backend):
    meter = new_meter(backend)
    lab.send("far", FIP["a"], proto="udp", count=2, bytes=100)
    meter.sample()
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
    meter.sample()
    lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
    told = explain(meter, FIP["a"])
    assert (told["kind"], told["fixed"], told["router"], told["state"], told["backend"], told["flavour"], told["role"]) == (
        "floating", lab.fixed("a"), lab.routers["r1"].uuid, "metered", backend, "nft", "master")
    found = line(told)
    assert counts(found["baseline"]) == (200, 2, 0, 0) and counts(found["reading"]) == (900, 9, 0, 0)
    assert counts(found) == counts(told["row"]) == (700, 7, 0, 0) and found["chains"] and found["adds_up"]
    assert counts(found["booked"]) == counts(found["last"]) == (900, 9, 0, 0)
    assert counts(found["kernel"]) == (1200, 12, 0, 0), "three packets are not in the books yet"
    row = meter.query("SELECT s.id, u.seq, u.in_bytes FROM usage_fact u JOIN store s USING (store) WHERE u.meter = ? "
                      "ORDER BY u.seq DESC", found["meter"])[0]
    assert (found["store"], found["seq"], row["in_bytes"]) == (row["id"], row["seq"], 700)
    assert counts(line(told, "cloud")) == (0, 0, 0, 0) and line(told, "cloud")["seq"] == 0
    for each in told["sums"]:
        assert each["holds"] and "900" in lab.sh(["sh", "-c", each["command"]]).stdout
    shown = lab.sh(["sh", "-c", told["show_command"]]).stdout
    if backend == "ebpf":
        assert FIP["a"].replace(".", ",") in "".join(shown.split())
    else:
        assert found["counter_in"] in shown and "packets 12 bytes 1200" in shown and FIP["b"] not in shown.split(found["counter_in"])[0]
    assert "in 700 bytes in 7 packets" in told["sentence"] and "the kernel shows that or more." in told["sentence"]
    text = meter.run(*meter.node_argv("explain", FIP["a"])).stdout
    assert text.splitlines()[-1] == told["sentence"] and found["counter_out"] in text and "300" in text.split("KERNEL-NOW")[1]
    gateway = explain(meter, GATEWAY["r1"])
    assert (gateway["kind"], gateway["fixed"], line(gateway)["counter_in"]) == (
        "gateway", "", f"traffic_snat_{GATEWAY['r1']}_in_internet")


def test_a_counter_that_is_set_back_or_gone_is_said(lab, new_meter):
    meter = new_meter()
    lab.send("far", FIP["a"], proto="udp", count=4, bytes=100)
    meter.sample()
    lab.run("r1", ["nft", "reset", "counters", "table", "ip", "fipmeter"])
    told = explain(meter, FIP["a"])
    assert counts(line(told)["kernel"]) == (0, 0, 0, 0) and "SHOWS LESS than was read" in told["sentence"]
    assert "SET BACK" in meter.run(*meter.node_argv("explain", FIP["a"])).stdout
    meter.sample()
    after = explain(meter, FIP["a"], status=(0, 4))
    assert line(after)["meter"] != line(told)["meter"] and "set back" in after["gaps"][0]["reason"]
    assert len(after["history"]) == 1, "the same counters, and the same owner"
    meter.stop()
    lab.run("r1", ["nft", "delete", "table", "ip", "fipmeter"])
    told = explain(meter, FIP["a"], status=(0, 4))
    assert "do not stand there any more" in told["kernel_failure"] and "kernel" not in line(told)
    assert (told["flavour"], told["backend"], told["show_command"]) == ("", "", "")
    meter.start()


def test_without_agent_and_without_privileges_the_books_tell(lab, new_meter):
    meter = new_meter()
    lab.send("far", FIP["a"], proto="udp", count=4, bytes=100)
    meter.sample()
    meter.stop()
    told = explain(meter, FIP["a"])
    assert (told["backend"], told["flavour"], counts(line(told)["kernel"])) == ("nft", "", (400, 4, 0, 0))
    done = lab.sh(["setpriv", "--bounding-set", "-sys_admin", PROGRAM, *meter.node_argv("explain", FIP["a"], "-o", "json")])
    told = json.loads(done.stdout)
    assert done.returncode == 0 and "CAP_SYS_ADMIN" in told["kernel_failure"] and "kernel" not in line(told)
    assert counts(line(told)["last"]) == (400, 4, 0, 0) and told["sentence"].endswith("their last reading minus their first.")
    meter.start()


def test_whose_it_was_at_a_time_and_an_address_that_is_gone(lab, new_meter):
    meter, address = new_meter(), "198.51.100.120"
    lab.associate(address, "c")
    meter.sample()
    lab.send("far", address, proto="udp", count=5, bytes=100)
    meter.sample()
    while_c = explain(meter, address)["at"]
    lab.move(address, "d")
    meter.sample()
    lab.send("far", address, proto="udp", count=6, bytes=100)
    meter.sample()
    now = explain(meter, address, status=(0, 4))
    assert (now["fixed"], counts(now["row"])[0], [each["told"] for each in now["history"]]) == (lab.fixed("d"), 600, [False, True])
    then = explain(meter, address, "--at", while_c, status=(0, 4))
    assert (then["fixed"], [each["told"] for each in then["history"]]) == (lab.fixed("c"), [True, False])
    assert then["kernel_failure"].startswith("its meters are closed") and then["end"] == now["start"]
    assert "FIXED" in meter.run(*meter.node_argv("explain", address), status=(0, 4)).stdout
    lab.disassociate(address)
    meter.sample()
    gone = explain(meter, address)
    assert (gone["state"], gone["fixed"], gone["show_command"]) == ("none", lab.fixed("d"), "") and "metered so up to" in gone["sentence"]
    meter.run(*meter.node_argv("explain", lab.fixed("c")), status=3)
    before = explain(meter, address, "--at", "2020-01-01")
    assert (before["state"], before["row"]["level"]) == ("none", "") and "not metered yet" in before["sentence"]


# --- the books alone ---

@pytest.mark.parametrize("kept, level, sums", [
    ("rows_from_us = 1782950400000000", "hour", (2001600, 1700, 100, 1)),
    ("rows_from_us = 1782950400000000, hours_from_us = 1782950400000000", "day", (2001600, 1700, 100, 1))])
def test_where_rows_are_kept_no_more_the_sum_is_told(store, tmp_path, kept, level, sums):  # noqa: F811
    with closing(sqlite3.connect(store / "usage.db")) as source, closing(sqlite3.connect(tmp_path / "usage.db")) as copy:
        source.backup(copy)
        copy.executescript(f"DELETE FROM usage_fact WHERE seq <= 5; UPDATE rollup SET dropped_seq = 5; UPDATE kept SET {kept}")
    (tmp_path / "fipmeter.conf").touch()
    sent = on_terminal(tmp_path, 80, "explain", "198.51.100.101", "--at", "2026-07-01T00:30:00Z").decode()
    told = json.loads(on_terminal(tmp_path, 80, "explain", "198.51.100.101", "--at", "2026-07-01T00:30:00Z", "-o", "json"))
    assert told["row"]["level"] == level and counts(told["row"]) == sums and told["row"]["flags"] == ["gap", "late"]
    assert "baseline" not in told["meters"][0] and "BASELINE" not in sent and f"a whole {level}" in told["sentence"]
    later = json.loads(on_terminal(tmp_path, 80, "explain", "198.51.100.101", "-o", "json"))
    assert later["row"]["level"] == "row" and later["meters"][0]["chains"], "what came before it cannot be told"


@pytest.mark.parametrize("tamper, holds", [
    ("UPDATE usage_fact SET in_bytes = 1 WHERE seq = 6", [False, False]),
    ("UPDATE usage_fact SET end_in_bytes = end_in_bytes + 1 WHERE seq = 3", [True, False]),
    ("UPDATE meter SET last_out_bytes = last_out_bytes + 1 WHERE meter = 1", [False, True])])
def test_books_that_do_not_add_up_are_said(store, tmp_path, tamper, holds):  # noqa: F811
    with closing(sqlite3.connect(store / "usage.db")) as source, closing(sqlite3.connect(tmp_path / "usage.db")) as copy:
        source.backup(copy)
        copy.executescript(tamper)
    (tmp_path / "fipmeter.conf").touch()
    told = json.loads(on_terminal(tmp_path, 80, "explain", "198.51.100.101", "-o", "json"))
    assert [each["holds"] for each in told["sums"]] == holds and "DO NOT ADD UP" in told["sentence"]
    assert "IT IS NOT SO" in on_terminal(tmp_path, 160, "explain", "198.51.100.101").decode()
