# SPDX-License-Identifier: GPL-2.0-or-later
"""Who holds the store's write lock, or a snapshot of it, for as long as he likes: rows come late, status says so, and not a
byte is lost.
"""

import json
import signal
import sqlite3
from contextlib import closing

import pytest
from accounts import FIP, expect, floating
from metering import wait_for

TURNS = 20

pytestmark = [pytest.mark.own_lab("r2"), pytest.mark.parametrize("flavour", ["nft"], indirect=True),
              pytest.mark.parametrize("backend", ["count-nft"], indirect=True)]


def told(meter):
    return json.loads(meter.command("status", "-o", "json", status=(0, 4)).stdout)


def packets(connection):
    return connection.execute("SELECT ifnull(sum(in_packets), 0) FROM usage_fact").fetchone()[0]


def sample_in_vain(lab, meter):
    """A sample that cannot be kept."""
    before = told(meter)["kept"]
    meter.signal(signal.SIGUSR1)
    state = wait_for(lambda: (now := told(meter))["failure"] and now, "status to tell of it")
    assert "locked" in state["failure"] and not state["metered"] and state["kept"] == before, state
    text = meter.command("status", status=4).stdout
    assert "the counters keep it until then" in text


def test_twenty_times(lab, meter):
    meter.start()
    wait_for(lambda: told(meter)["metered"], "the agent to tell that all is well")
    for turn in range(1, TURNS + 1):
        with closing(sqlite3.connect(meter.state / "usage.db", isolation_level=None, timeout=10)) as other:
            locks = turn % 4 == 0
            other.execute("BEGIN IMMEDIATE" if locks else "BEGIN")
            seen = packets(other)
            lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
            sample_in_vain(lab, meter) if locks else meter.sample()
            assert packets(other) == seen       # he has his snapshot
            other.execute("ROLLBACK")
        meter.sample()
        assert sum(row["in_packets"] for row in meter.usage_of(FIP["f"])) == 10 * turn
    wait_for(lambda: told(meter)["metered"], "all to be well again")
    expect(lab, meter.usage(), {(*floating("f"), "internet"): (10 * TURNS, 1000 * TURNS, 0, 0)})
    assert {row["state"] for row in meter.coverage()} == {"metered"}


def test_a_snapshot_that_is_held_over_many_samples_does_not_keep_the_store_from_shrinking_back(lab, meter):
    """The WAL grows as long as somebody reads an old state of it, and is used anew when he has gone."""
    meter.start()
    with closing(sqlite3.connect(meter.state / "usage.db", isolation_level=None)) as other:
        other.execute("BEGIN")
        seen = packets(other)
        for _ in range(20):
            lab.send("far", FIP["f"], proto="udp", count=1, bytes=100)
            meter.sample()
        assert packets(other) == seen
        other.execute("ROLLBACK")
        assert packets(other) == seen + 20
    meter.stop()
    assert (meter.state / "usage.db-wal").stat().st_size == 0
    expect(lab, meter.usage(), {(*floating("f"), "internet"): (20, 2000, 0, 0)})
