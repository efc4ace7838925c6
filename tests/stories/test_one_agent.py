# SPDX-License-Identifier: GPL-2.0-or-later
"""One agent a node: whoever comes second fails, says who is first, and changes nothing."""

import json
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from accounts import FIP, expect, floating
from metering import PROGRAM, Meter, wait_for
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


# --- a directory that comes later ---

class Early:
    """An agent of the directory that is to come, beside the meter of the story."""

    def __init__(self, lab, directory, netns):
        directory.mkdir()
        self.lab, self.netns, self.log = lab, netns, directory / "log"
        self.state = directory / "state"
        self.argv = [PROGRAM, "agent", "--config", "/dev/null", "--backend", "nft", "--interval", "3600", "--netns-dir", netns,
                     "--state-dir", self.state]
        with self.log.open("w") as log:
            self.process = lab.popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: "metering node=" in self.said(), "the agent to meter")

    def said(self):
        return self.log.read_text()

    def sample(self, what):
        self.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: what() if callable(what) else what in self.said(), "the sample")

    def metered(self):
        """What it has a meter of."""
        with closing(sqlite3.connect(f"file:{self.state}/usage.db?mode=ro", uri=True)) as store:
            return store.execute("SELECT count(*) FROM meter").fetchone()[0]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.said()


@pytest.fixture
def later(lab, tmp_path):
    """Where a directory of namespaces will be; and how it comes, with one router in it."""
    netns = tmp_path / "netns"
    name = lab.routers["r2"].namespace
    script = f"mkdir {netns} && touch {netns}/{name} && mount --bind /run/netns/{name} {netns}/{name}"
    yield netns, lambda: lab.sh(["sh", "-ec", script])
    lab.sh(["sh", "-c", f"umount {netns}/{name}"])


def one_lab(test):
    for name, value in (("flavour", "nft"), ("backend", "count-nft")):
        test = pytest.mark.parametrize(name, [value], indirect=True)(test)
    return pytest.mark.own_lab("r2")(test)


@one_lab
def test_who_was_there_before_the_directory_holds_it_when_it_comes(lab, backend, later, tmp_path):
    netns, come = later
    first = Early(lab, tmp_path / "first", netns)
    come()
    first.sample(first.metered)
    argv = [PROGRAM, "agent", "--once", "--config", "/dev/null", "--netns-dir", netns, "--state-dir", tmp_path / "second"]
    done = lab.sh(argv)
    assert done.returncode == 1 and f"pid {first.process.pid}" in done.stderr and "one agent a node" in done.stderr
    assert not (tmp_path / "second").exists()
    told = lab.sh([PROGRAM, "status", "--config", "/dev/null", "--netns-dir", netns, "--state-dir", first.state, "-o", "json"])
    assert json.loads(told.stdout)["pid"] == first.process.pid and json.loads(told.stdout)["metered"], told.stdout
    first.end()
    assert lab.sh([PROGRAM, "detach", "--config", "/dev/null", "--netns-dir", netns, "--state-dir", first.state]).returncode == 0


@one_lab
def test_who_took_the_directory_when_it_came_keeps_it_from_who_was_there_before(lab, backend, later, tmp_path):
    netns, come = later
    first = Early(lab, tmp_path / "first", netns)
    first.process.send_signal(signal.SIGSTOP)
    come()
    second = Early(lab, tmp_path / "second", netns)
    assert second.metered()
    first.process.send_signal(signal.SIGCONT)
    first.sample(f"pid {second.process.pid}")
    assert "is metered already, one agent a node" in first.said() and not first.metered()
    lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
    second.end()
    with closing(sqlite3.connect(second.state / "usage.db")) as store:
        assert store.execute("SELECT sum(in_packets), sum(in_bytes) FROM usage").fetchone() == (10, 1000)
    first.sample(first.metered)     # it takes over
    first.end()
    assert lab.sh([PROGRAM, "detach", "--config", "/dev/null", "--netns-dir", netns, "--state-dir", first.state]).returncode == 0
