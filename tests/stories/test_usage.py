# SPDX-License-Identifier: GPL-2.0-or-later
"""fipmeter usage over a store that a real agent wrote: what is known, what is not, and that all its sums agree."""

import csv
import io
import json
from datetime import datetime, timedelta, timezone

import pytest
from accounts import FAR, FIP, GATEWAY, expect, floating, gateway

A, B, R1 = floating("a"), floating("b"), gateway("r1")
COLUMNS = ("node router kind address fixed class start end in_bytes in_packets out_bytes out_packets basis "
           "flags").split()
COUNTS = ("in_bytes", "in_packets", "out_bytes", "out_packets")
KEYS = {"address": ("router", "kind", "address"), "router": ("router",), "class": ("class",), "node": ("node",)}


@pytest.fixture
def used(lab, metered):
    """Some traffic of two classes, in two samples."""
    for _ in range(2):
        lab.send("far", FIP["a"], proto="icmp", count=5, bytes=100)
        lab.send("a", FIP["b"], proto="udp", count=3, bytes=200)
        lab.send("c", FAR, proto="udp", count=2, bytes=300)
        metered.once()
    return metered


def test_an_address_or_router_that_is_not_known_ends_with_3(lab, used):
    for question in (["--address", "198.51.100.250"], ["--router", "00000000-1111-4222-8333-444444444444"]):
        done = used.command("usage", "-o", "json", *question, status=3)
        assert question[1] in done.stderr and len(done.stderr.splitlines()) <= 2
        assert done.stdout == ""


def test_what_is_known_but_without_traffic_is_an_empty_result(lab, used):
    assert used.usage("--address", FIP["e"]) == []
    assert used.usage("--router", lab.routers["r3"].uuid) == []
    assert used.usage("--address", FIP["a"], "--class", "free") == []
    assert used.usage("--address", FIP["a"], "--until", "1") == []


def test_a_store_that_was_never_written_is_an_error_with_a_remedy(lab, meter):
    done = meter.command("usage", "-o", "json", status=1)
    assert str(meter.state) in done.stderr
    meter.once()


def test_rows_have_exactly_the_names_that_the_contract_says(lab, used):
    rows = used.usage()
    assert rows and all(list(row) == COLUMNS for row in rows)
    for row in rows:
        assert all(type(row[name]) is int and row[name] >= 0 for name in COUNTS)
        assert row["basis"] == ("wire" if used.backend == "ebpf" else "skb") and isinstance(row["flags"], list)
        assert row["start"].endswith("Z") and row["end"].endswith("Z") and row["start"] < row["end"]
    assert {row["fixed"] for row in rows if row["kind"] == "gateway"} == {""}
    assert {row["fixed"] for row in rows if row["address"] == FIP["a"]} == {lab.fixed("a")}


@pytest.mark.parametrize("per", ["interval", "minute", "hour", "day", "month", "total"])
@pytest.mark.parametrize("by", KEYS)
def test_every_report_sums_to_the_same(lab, used, per, by):
    rows, report = used.usage(), used.usage("--by", by, per=per)
    keys = KEYS[by]
    assert sums(report, keys) == sums(rows, keys)
    if per != "interval":
        assert all(row[name] in ("", None) for row in report
                   for name in ("node", "router", "kind", "address", "class") if name not in keys)
    assert len(report) >= len(sums(rows, keys))


def sums(rows, keys):
    found = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        found[key] = [sum(pair) for pair in zip(found.get(key, [0] * 4), [row[name] for name in COUNTS])]
    return found


def test_csv_says_the_same_as_json(lab, used):
    text = used.command("usage", "--since", "0", "--per", "interval", "-o", "csv").stdout
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [{**row, "flags": " ".join(row["flags"])} for row in used.usage()] == [
        {**line, **{name: int(line[name]) for name in COUNTS}} for line in lines]


def test_since_is_inclusive_and_until_exclusive(lab, used):
    rows = used.usage()
    starts = sorted({row["start"] for row in rows})
    assert len(starts) >= 2
    middle = starts[1]
    early = used.usage("--until", middle)
    late = json.loads(used.command("usage", "--since", middle, "--per", "interval", "-o",
                               "json").stdout)
    assert len(early) + len(late) == len(rows)
    assert all(row["start"] < middle for row in early) and all(row["start"] >= middle for row in late)


def test_without_a_question_it_is_today_in_sum_by_address_and_a_table_for_people(lab, used):
    began = datetime.now(timezone.utc) - timedelta(minutes=2)
    report = json.loads(used.command("usage", "-o", "json").stdout)
    if began.astimezone().date() == datetime.now().astimezone().date():
        expect_total(lab, report)
    table = used.command("usage", "--since", "-1h").stdout
    assert all(address in table for address in (FIP["a"], FIP["b"], GATEWAY["r1"]))


def test_a_row_that_ends_before_the_question_does_is_not_said_to_reach_past_it(lab, used):
    used.start()    # rows go into the sums of their hour and day
    used.stop()
    assert used.query("SELECT * FROM day")
    assert "past the end" not in used.command("usage", "--since", "0").stdout


def expect_total(lab, report):
    assert {(row["kind"], row["address"]): (row["in_packets"], row["out_packets"]) for row in report} == {
        ("floating", FIP["a"]): (10, 16), ("floating", FIP["b"]): (6, 0), ("gateway", GATEWAY["r1"]): (0, 4)}
    assert {row["router"] for row in report} == {lab.routers["r1"].uuid}


def test_the_numbers_are_those_that_were_sent(lab, used):
    expect(lab, used.usage(), {
        (*A, "internet"): (10, 1000, 10, 1000), (*A, "cloud"): (0, 0, 6, 1200), (*B, "cloud"): (6, 1200, 0, 0),
        (*R1, "internet"): (0, 0, 4, 1200)})
    expect(lab, used.usage("--class", "cloud"), {(*A, "cloud"): (0, 0, 6, 1200), (*B, "cloud"): (6, 1200, 0, 0)})
    expect(lab, used.usage("--router", lab.routers["r2"].uuid), {})


def test_the_books_can_be_checked_with_sqlite_alone(lab, used):
    """The promise of the first page: the rows of a meter sum to its last reading less its first."""
    meters = {row["meter"]: row for row in used.query("SELECT * FROM meters")}
    rows = used.query("SELECT * FROM usage")
    assert len(rows) == len(used.usage())
    for number, meter in meters.items():
        for name in COUNTS:
            assert sum(row[name] for row in rows if row["meter"] == number) == (
                meter[f"last_{name}"] - meter[f"first_{name}"])
    assert {(row["address"], row["class"]) for row in rows} <= {(m["address"], m["class"]) for m in meters.values()}
