# SPDX-License-Identifier: GPL-2.0-or-later
"""Without a service manager: the agent as the first process of a container (pid_namespaces(7): a signal that the first
process does not handle is dropped), and its memory over many samples, changes and reloads.
"""

import os
import signal
from pathlib import Path

import pytest
from accounts import FIP, expect, floating
from metering import wait_for

F = floating("f")

pytestmark = [pytest.mark.own_lab("r2"), pytest.mark.parametrize("flavour", ["nft"], indirect=True),
              pytest.mark.parametrize("backend", ["count-nft"], indirect=True)]


@pytest.fixture
def first(meter):
    """A meter whose agent is process 1; its pid as seen from here."""
    launch = meter.launch
    meter.launch = lambda argv, **options: launch(
        ["env", "-i", "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *argv], **options)
    return meter


def inner(meter):
    children = Path(f"/proc/{meter.pid}/task/{meter.pid}/children")
    return int(wait_for(lambda: children.read_text().split(), "the agent to be there")[0])


def sample(meter, pid):
    """As Meter.sample(), but the signal goes to the agent."""
    before = len(meter.query("SELECT 1 FROM usage"))
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: len(meter.query("SELECT 1 FROM usage")) > before, "the sample")


def status(pid, name):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_as_process_1_it_samples_and_ends_with_a_last_sample(lab, first, number):
    first.start()
    pid = inner(first)
    assert status(pid, "NSpid")[-1] == "1"
    lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
    sample(first, pid)
    lab.send("far", FIP["f"], proto="udp", count=7, bytes=100)
    os.kill(pid, number)
    assert first.process.wait(30) == 0, first.said()
    first.process = None
    assert "stopped, the counters go on" in first.said()
    expect(lab, first.usage(), {(*F, "internet"): (17, 1700, 0, 0)})


def private_kib(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty:", "Swap:")))


def work(lab, meter, rounds):
    for turn in range(rounds):
        lab.send("far", FIP["f"], proto="udp", count=1, bytes=100)
        if turn % 4 == 0:
            lab.disassociate(FIP["f"])
            lab.associate(FIP["f"], "f")
        if turn % 4 == 1:
            meter.signal(signal.SIGHUP)
        meter.sample()


def open_files(meter):
    """Without those of the store, some of which are open for a moment at each commit."""
    names = (os.readlink(file) for file in Path(f"/proc/{meter.pid}/fd").iterdir() if file.is_symlink())
    return sorted(name for name in names if not name.startswith(str(meter.state)))


def test_its_memory_does_not_grow(lab, meter):
    """What a sample, a change of a floating IP and a reload take is given back: growth would add up in a cgroup."""
    meter.start()
    work(lab, meter, 24)
    before, files = private_kib(meter.pid), open_files(meter)
    work(lab, meter, 60)
    after = private_kib(meter.pid)
    assert after - before < 256, f"{before} KiB, 60 samples later {after} KiB"
    assert open_files(meter) == files
