# SPDX-License-Identifier: GPL-2.0-or-later
"""When the agent samples: at each multiple of the interval on the wall clock, when told to, and before it goes."""

from accounts import FIP
from metering import wait_for

INTERVAL_US = 2_000_000
# What a busy machine may be late by; far less than half an interval, so that a loop that drifts is found out.
LATE_US = 700_000


def ends(meter, router):
    """The end of the router's coverage: the time of the last sample in the store."""
    return [row["end"] for row in meter.coverage(router) if not row["address"]]


def next_end(meter, router, after):
    return wait_for(lambda: max(ends(meter, router), default=0) > after and max(ends(meter, router)), "the next sample")


def test_samples_stand_at_each_multiple_of_the_interval(lab, meter):
    """Three samples that nobody asked for; the one at the start stands where it stands."""
    meter.start(interval_s=INTERVAL_US // 1_000_000)
    last = max(ends(meter, "r1"))
    for _ in range(3):
        end = next_end(meter, "r1", last)
        assert end % INTERVAL_US < LATE_US, f"{end} us is not at a multiple of the interval"
        assert end - last < 1.5 * INTERVAL_US
        last = end


def test_rows_of_a_running_agent_are_whole_and_without_flags(lab, meter):
    """Each interval's traffic is a row of that interval; a restart in between is the only thing that is flagged."""
    meter.start()
    meter.sample()
    for _ in range(3):
        lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
        meter.sample()
    rows = meter.usage_of(FIP["a"])
    assert [row["in_packets"] for row in rows] == [10, 10, 10]
    assert all(row["flags"] == [] for row in rows), rows
    assert all(early["end"] == late["start"] for early, late in zip(rows, rows[1:]))
