# SPDX-License-Identifier: GPL-2.0-or-later
"""One agent a node: whoever comes second fails, says who is first, and changes nothing."""

import pytest
from accounts import FIP, expect, floating
from metering import Meter
from rules import all_listings

A = floating("a")


@pytest.fixture
def running(meter):
    meter.start()
    return meter


@pytest.mark.parametrize("command", [["agent"], ["agent", "--once"], ["detach"]], ids=" ".join)
@pytest.mark.parametrize("store", ["the same", "another"])
def test_a_second_one_on_the_same_netns_directory_fails_and_names_the_pid(lab, running, tmp_path, command, store):
    second = running if store == "the same" else Meter(lab, tmp_path / "second")
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    before = all_listings(lab)
    done = second.command(*command, status=1)
    assert str(running.pid) in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 2 and done.stdout == ""
    assert all_listings(lab) == before
    assert store == "the same" or not (second.state / "usage.db").exists()
    running.sample()
    expect(lab, running.usage(), {(*A, "internet"): (10, 1000, 0, 0)})


def test_another_name_for_the_netns_directory_is_the_same_directory(lab, running, tmp_path):
    (tmp_path / "netns").symlink_to("/run/netns")
    second = Meter(lab, tmp_path / "second")
    done = second.command("agent", "--once", "--netns-dir", tmp_path / "netns", status=1)
    assert str(running.pid) in done.stderr


def test_the_first_one_killed_the_next_one_starts_at_once(lab, running):
    running.kill()
    running.start()
    running.stop()
    running.once()


def test_those_who_only_look_may_look_beside_the_agent(lab, running):
    running.run("plan", "--config", running.config)
    running.command("agent", "--once", "--dry-run")
    running.usage()
    running.audit()


def test_two_agents_with_a_netns_directory_each_share_no_lock_but_never_a_store(lab, running, tmp_path):
    (tmp_path / "empty").mkdir()
    other = Meter(lab, tmp_path / "second")
    other.command("agent", "--once", "--netns-dir", tmp_path / "empty")
    done = running.command("agent", "--once", "--netns-dir", tmp_path / "empty", status=1)
    assert str(running.pid) in done.stderr
