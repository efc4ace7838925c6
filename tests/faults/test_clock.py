# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody sets the clock, or the process does not run for a while. Sums stay as they are, no row is there twice, none lasts
a negative time.

The machine's own clock is never set: the agent alone has another one (shim_clock.c).
"""

import signal
import time
from pathlib import Path

import pytest
from accounts import FIP
from clocks import Clock, last_read, sample, start, stop
from metering import wait_for
from scale import backends, flavours, times
from spoilt import Books

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft",)), backends(short=("nft",))]

FAULT = "clock set by +-1 s, +-1 h, +-1 year; suspended process"
YEAR = 365 * 86400
STEPS = [1, -1, 3600, -3600, YEAR, -YEAR]


@pytest.fixture
def clock(meter, tmp_path):
    return Clock(tmp_path / "clock", meter)


def check_rows(meter, books):
    books.check("clock")
    assert not books.lost and not books.gaps()
    rows = meter.query("SELECT * FROM usage ORDER BY seq")
    assert all(row["start"] <= row["end"] for row in rows), "a row of negative time"
    assert all(row["start"] <= row["end"] for row in meter.coverage()), "coverage of negative time"
    assert len({(row["store"], row["seq"]) for row in rows}) == len(rows)
    assert sum(row["in_bytes"] for row in rows if row["address"] == books.address) == books.sent
    meter.audit()
    return rows


@pytest.mark.parametrize("seconds", times(STEPS, [1, -3600, YEAR]))
def test_the_clock_is_set_under_the_agent(lab, meter, clock, result, seconds):
    """Each step there and back. Windows are measured by the boot clock: no row is late by a step."""
    books, rounds = Books(lab, meter, FIP["a"]), times(10, 1)
    start(meter)
    for _ in range(rounds):
        for step in seconds, -seconds:
            books.send()
            sample(meter)
            books.send()
            clock.step(step)
            books.send()
            sample(meter)
            row = meter.query("SELECT start, end, in_packets, flags FROM usage WHERE address = ? ORDER BY seq DESC LIMIT 1",
                              books.address)[0]
            assert abs(row["end"] - clock.now_us()) < 60_000_000, "the row does not end by the new clock"
            assert row["in_packets"] == 2 and not row["flags"] and row["end"] - row["start"] < 60_000_000, row
    stop(meter)
    assert not [row for row in check_rows(meter, books) if row["flags"]]
    books.end(result, FAULT, rounds * 2)


@pytest.mark.parametrize("seconds", times(STEPS, [-YEAR]))
def test_the_clock_is_set_while_the_agent_is_away(lab, meter, clock, result, seconds):
    books, rounds = Books(lab, meter, FIP["a"]), times(10, 1)
    for _ in range(rounds):
        for step in seconds, -seconds:
            start(meter)
            books.send()
            sample(meter)
            meter.kill()
            del meter._wait_sampled
            books.send()
            clock.step(step)
            start(meter)
            books.send()
            sample(meter)
            stop(meter)
            check_rows(meter, books)
    flags = [row["flags"] for row in meter.query("SELECT flags FROM usage WHERE flags <> ''")]
    assert set(flags) == {"catchup"}, flags
    books.end(result, FAULT, rounds * 2)


@pytest.mark.parametrize("seconds", times(STEPS, [-YEAR]))
def test_samples_go_on_at_full_intervals_of_the_new_clock(lab, meter, clock, result, seconds):
    """A step back by a year must not mean that the next sample is in a year; one forward, that a year of them is due."""
    books, interval_us = Books(lab, meter, FIP["a"]), 2_000_000
    start(meter, interval_s=2)
    for step in seconds, -seconds:
        books.send()
        clock.step(step)
        ends = []
        for _ in range(2):
            before = last_read(meter)
            wait_for(lambda: last_read(meter) > before, "a sample that nobody asked for")
            ends.append(meter.query("SELECT read_us FROM generation ORDER BY read_boot_us DESC LIMIT 1")[0]["read_us"])
        assert abs(ends[-1] - clock.now_us()) < 30_000_000
        assert ends[-1] % interval_us < interval_us / 2, "not at a full interval"
    stop(meter)
    check_rows(meter, books)
    books.end(result, FAULT, 2)


def test_a_process_that_is_suspended_is_late_and_loses_nothing(lab, meter, result):
    books, rest_s, interval_s = Books(lab, meter, FIP["a"]), times(300, 4), times(60, 1)
    meter.start(interval_s=interval_s)
    before = last_read(meter)
    wait_for(lambda: last_read(meter) > before, "a sample of its own", patience_s=90)
    meter.signal(signal.SIGSTOP)
    wait_for(lambda: Path(f"/proc/{meter.pid}/stat").read_text().split()[2] == "T", "the process to be stopped")
    suspended = last_read(meter)
    books.send()
    time.sleep(rest_s)
    books.send()
    meter.signal(signal.SIGCONT)
    wait_for(lambda: last_read(meter) > suspended, "a sample after that", patience_s=90)
    row = wait_for(lambda: meter.query("SELECT * FROM usage WHERE address = ? AND in_packets = 2 ORDER BY seq DESC LIMIT 1",
                                       books.address), "the row of that time")[0]
    assert row["flags"] == "late" and row["end"] - row["start"] > rest_s * 1_000_000, row
    assert sum(1 for each in meter.query("SELECT seq FROM usage WHERE start >= ?", row["start"])) == 1, "one row, not many"
    meter.stop()
    check_rows(meter, books)
    books.end(result, FAULT, 1)
