# SPDX-License-Identifier: GPL-2.0-or-later
"""The store is damaged, replaced or removed under the running agent: it goes on at once, and bills nothing twice."""

import signal

import pytest
from accounts import FIP
from metering import wait_for

def overwrite(path):
    path.write_bytes(b"rubbish" * 5000)


def remove(path):
    path.unlink()


def booked(meter):
    return sum(row["in_bytes"] + row["out_bytes"] for row in meter.usage())


@pytest.mark.parametrize("harm, told", [(overwrite, "set aside as usage.db.damaged-"), (remove, "it was removed")])
def test_a_store_lost_under_the_agent_is_begun_anew_and_nothing_is_billed_twice(lab, meter, harm, told):
    meter.start()
    lab.send("far", FIP["a"], proto="icmp", count=20, bytes=1000)
    meter.sample()
    before = booked(meter)
    lab.send("far", FIP["a"], proto="icmp", count=10, bytes=1000)
    harm(meter.state / "usage.db")
    meter.signal(signal.SIGUSR1)
    wait_for(lambda: told in meter.said(), "the agent to say what became of the store")
    meter.sample()
    assert "a new store id begins" in meter.said()
    assert booked(meter) * 2 == before
