# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent comes and goes; the kernel's counters stay. Nothing is lost, nothing counted twice."""

import signal
import time

import pytest
from accounts import FIP, expect, floating
from flows import STEADY, beside_traffic

A = floating("a")


def echoes(count):
    """What `count` echo requests and their replies come to."""
    return {(*A, "internet"): (count, count * STEADY["bytes"]) * 2}


def stop(meter, number):
    meter.stop()


def kill(meter, number):
    meter.kill()


def kill_inside_a_cycle(meter, number):
    """After a signal and a moment of 0 to 5 ms: at another point of the cycle each time."""
    meter.signal(signal.SIGUSR1)
    time.sleep(number % 26 * 0.0002)
    meter.kill()


@pytest.mark.parametrize("end", [stop, kill, kill_inside_a_cycle])
def test_restarts_in_steady_traffic_lose_nothing_and_count_nothing_twice(lab, meter, end):
    def restart(number):
        end(meter, number)
        meter.start()

    meter.start()
    sent = beside_traffic(lab, "icmp", FIP["a"], restart, at_least=8)
    meter.stop()
    expect(lab, meter.usage(), echoes(sent))
    assert set(meter.states("r1")) == {"metered"}


def test_samples_in_steady_traffic_sum_to_what_was_sent(lab, meter):
    meter.start()
    sent = beside_traffic(lab, "icmp", FIP["a"], lambda number: meter.sample(), at_least=20)
    meter.stop()
    rows = meter.usage()
    expect(lab, rows, echoes(sent))
    assert len(rows) > 10
    assert all(row["flags"] == [] for row in rows)
    ends = [row["end"] for row in meter.usage_of(FIP["a"])]
    starts = [row["start"] for row in meter.usage_of(FIP["a"])]
    assert all(end <= start for end, start in zip(ends, starts[1:])), "the rows of a meter do not overlap"


def test_the_first_row_after_a_restart_says_that_it_catches_up_and_no_other_does(lab, meter):
    meter.start()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.sample()
    meter.kill()
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
    meter.start()
    lab.send("far", FIP["a"], proto="udp", count=5, bytes=100)
    meter.sample()
    rows = meter.usage_of(FIP["a"])
    assert [(row["in_packets"], row["flags"]) for row in rows] == [(10, []), (7, ["catchup"]), (5, [])]
    assert rows[0]["end"] == rows[1]["start"]


def test_sigterm_takes_a_last_sample_and_leaves_the_counters_running(lab, meter):
    meter.start()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.stop()
    assert [row["in_packets"] for row in meter.usage_of(FIP["a"])] == [10]
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
    meter.once()
    rows = meter.usage_of(FIP["a"])
    assert [(row["in_packets"], row["flags"]) for row in rows] == [(10, []), (7, ["catchup"])]


def test_a_meter_that_starts_with_an_empty_store_does_not_bill_what_it_finds(lab, meter, tmp_path):
    """The store was lost: the counters stand, and nobody knows since when."""
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.state.rename(tmp_path / "lost")
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
    meter.once()
    rows = meter.usage_of(FIP["a"])
    assert [row["in_packets"] for row in rows] == [3]
    assert "unknown_start" in rows[0]["flags"]
