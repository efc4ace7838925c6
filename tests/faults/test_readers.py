# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody else has the store open: a writer's lock makes rows late, a long snapshot keeps the WAL from being emptied.
Neither loses a byte, and status says it.
"""

import sqlite3
from contextlib import contextmanager

import pytest
from accounts import FIP
from metering import wait_for
from scale import backends, flavours, times
from spoilt import Books, ask_for_sample, status

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft",)), backends(short=("nft",))]

FAULT = "a reader holds a lock or a long snapshot on the store"
BIG = 4 << 20       # beyond this size of the WAL the agent wants to empty it


@contextmanager
def connection(meter):
    store = sqlite3.connect(meter.state / "usage.db", isolation_level=None, timeout=10)
    try:
        yield store
    finally:
        store.close()


def wal_size(meter):
    return (meter.state / "usage.db-wal").stat().st_size


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_lock_makes_rows_late_and_loses_nothing(lab, meter, result, lock):
    books, rounds = Books(lab, meter, FIP["a"]), times(10, 1)
    meter.start()
    for _ in range(rounds):
        books.send()
        meter.sample()
        with connection(meter) as store:
            store.execute(f"BEGIN {lock}")
            for _ in range(times(3, 1)):
                books.send()
                ask_for_sample(meter)
            told = status(meter, code=4)
            assert "usage.db" in told["failure"] and "locked" in told["failure"] and told["kept"] < told["sampled"], told
            store.execute("ROLLBACK")
        meter.sample()
        books.check("the lock is gone")
        assert not books.lost
        wait_for(lambda: status(meter)["metered"], "all to be well")
        assert books.gaps() == 0
    books.end(result, FAULT, rounds)


def grow(meter, books, limit, enough):
    """Samples until enough() is true."""
    for _ in range(limit):
        books.send()
        meter.sample()
        if found := enough():
            return found
    pytest.fail(f"not after {limit} samples")


def test_a_long_snapshot_loses_nothing_is_told_and_the_wal_is_used_again(lab, meter, result):
    books, rounds = Books(lab, meter, FIP["a"]), times(10, 1)
    meter.start()
    for _ in range(rounds):
        books.send()
        meter.sample()
        with connection(meter) as reader:
            reader.execute("BEGIN")
            before = reader.execute("SELECT count(*) FROM usage_fact").fetchone()
            found = grow(meter, books, 1000, lambda: status(meter)["problems"])
            assert "usage.db-wal" in found[0]["message"] and "reads the store" in found[0]["message"], found
            assert status(meter, code=4)["failure"] == ""
            assert reader.execute("SELECT count(*) FROM usage_fact").fetchone() == before
            reader.execute("COMMIT")
        # who asks for the status reads, too, and may be in the way for one sample more
        grow(meter, books, 20, lambda: status(meter)["metered"])
        size = wal_size(meter)
        assert size > BIG
        for _ in range(times(100, 20)):
            books.send()
            meter.sample()
        assert wal_size(meter) <= size, "the WAL grows on though nobody holds it"
        books.check("the snapshot is over")
        assert not books.lost and books.gaps() == 0
    rows = meter.query("SELECT flags FROM usage WHERE flags <> ''")
    assert not rows, rows
    books.end(result, FAULT, rounds)


def put_in_the_way(directory):
    """False if the agent has a file there just now: the sample is in the store before it is in the second home."""
    try:
        directory.mkdir()
    except FileExistsError:
        return False
    return True


def test_the_second_home_is_not_said_to_be_well_again_by_a_sample_that_did_not_try_it(lab, meter, result):
    books, obstacle = Books(lab, meter, FIP["a"]), meter.state / "baselines.new"
    about = "second home of the baselines"
    meter.start()
    wait_for(lambda: put_in_the_way(obstacle), "the agent not to write at that moment")
    books.send()
    meter.sample()
    wait_for(lambda: about in {problem["about"] for problem in status(meter)["problems"]}, "the second home to be missed")
    with connection(meter) as store:
        store.execute("BEGIN IMMEDIATE")
        books.send()
        ask_for_sample(meter)
        assert about in {problem["about"] for problem in status(meter, code=4)["problems"]}
        store.execute("ROLLBACK")
    assert f"well again {about}" not in meter.said()
    obstacle.rmdir()
    meter.sample()
    wait_for(lambda: f"well again {about}" in meter.said(), "the second home to be well again")
    books.check("the lock is gone")
    assert not books.lost
    books.end(result, FAULT, 1)
