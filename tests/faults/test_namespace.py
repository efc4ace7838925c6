# SPDX-License-Identifier: GPL-2.0-or-later
"""A router's namespace is deleted at any moment between two samples, and made again under the same name: what its counters
had is in the books, and nothing of it is kept.
"""

import os
import random
import re
import subprocess
import time

import pins
import pytest
from accounts import FIP, GATEWAY
from books import booked, check, gaps, length_s
from metering import wait_for
from scale import flavours, times
from steady import Steady

ROUNDS = times(250, 3)          # of each flavour
SIZE = 100
PAYERS = (FIP["f"], GATEWAY["r2"])

pytestmark = [pytest.mark.own_lab("r1", "r2"), flavours()]


def held_by(pid, inode):
    """The descriptors of a process that lead to a network namespace."""
    found = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{entry}") == f"net:[{inode}]":
                found.append(entry)
        except FileNotFoundError:
            pass
    return found


def path_of(lab, router):
    return f"/proc/{lab.inside.pid}/root/run/netns/{lab.routers[router].namespace}"


def taps(lab, router):
    """Its devices' other ends, which stand as long as the namespace does."""
    links = lab.run("fabric", ["ip", "-o", "link"])
    return {port.tap for port in lab.routers[router].ports} & set(re.findall(r"^\d+: ([^@:]+)", links, re.M))


def wait_gone(lab, meter, inode):
    """Seconds until nobody holds the namespace: the agent's descriptor, then the namespace itself, as its devices tell."""
    begun = time.monotonic()
    wait_for(lambda: not held_by(meter.pid, inode), "the agent to let its descriptor go")
    closed = time.monotonic() - begun
    wait_for(lambda: not taps(lab, "r2"), "the namespace to end")
    return closed, time.monotonic() - begun


def some_traffic(lab):
    """In and out, in part before a sample and in part after it."""
    count = random.randint(1, 20)
    return (lab.send("far", FIP["f"], proto="udp", count=count, bytes=SIZE)["bytes"]
            + lab.send("g", "203.0.113.9", proto="udp", count=count, bytes=SIZE)["bytes"])


def delete(lab, meter, number):
    """In haste with all its devices in it, or these first, as Neutron does."""
    inode = os.stat(path_of(lab, "r2")).st_ino
    time.sleep(random.uniform(0, 0.02))
    if number % 3 == 0:
        lab.run(None, ["ip", "netns", "del", lab.routers["r2"].namespace])
        lab.routers["r2"].present = False
        return wait_gone(lab, meter, inode)
    lab.router_drop("r2")
    if number % 3 == 1:
        return wait_gone(lab, meter, inode)
    return 0, 0                 # made again at once: the agent meets the new one while it still has the old one


def test_deleted_and_made_again(lab, meter, result):
    result.fault = "namespace deleted at a random moment in the interval; deleted and re-created under the same name"
    took = []
    meter.start()
    open_files = len(os.listdir(f"/proc/{meter.pid}/fd"))
    for number in range(ROUNDS):
        had, sent = booked(meter, *PAYERS), some_traffic(lab)
        if random.random() < 0.5:
            meter.sample()
            sent += some_traffic(lab)
        took.append(delete(lab, meter, number))
        lab.router_add("r2", redraw=random.random() < 0.5)
        wait_counted(meter)
        if number % 10 == 9:
            meter.sample()
            check(meter)
        result.add(sent, booked(meter, *PAYERS) - had)
        assert booked(meter, *PAYERS) - had == sent, f"round {number}"
    meter.sample()
    result.gaps = len(whole_gaps(meter))
    tell(result, took)
    check_gaps(meter, ROUNDS)
    wait_for(lambda: len(os.listdir(f"/proc/{meter.pid}/fd")) <= open_files, "no more open files than at the start")


BUSY = ("another namespace took the place", "a change could not be followed when it was seen")


def whole_gaps(meter):
    """Gaps of the router as a whole. New addresses of a router that is new have theirs until they are counted."""
    return [row for row in gaps(meter) if not row["address"]]


def check_gaps(meter, rounds):
    """An agent that the machine did not let run for 0.1 s after a namespace was replaced, or in the midst of a router that is
    being made, says so, and for how long: since its last look, which with legacy rules may be a second ago."""
    found = whole_gaps(meter)
    assert all(row["reason"].startswith(BUSY) and length_s([row]) < 3 for row in found), found
    assert len(found) <= 1 + rounds // 4, found


def wait_counted(meter):
    """The new namespace is metered: the books have open meters of it, and nothing else."""
    wait_for(lambda: meter.query("SELECT 1 FROM meter WHERE address = ? AND closed_us = 0", FIP["f"]),
             "the router to be metered again")
    wait_for(lambda: counters(meter), "its counters")


def counters(meter):
    if meter.backend == "ebpf":
        return pins.counts(meter.lab, "r2", FIP["f"])
    listing = meter.lab.run("r2", ["sh", "-c", "nft list ruleset; ipset list; iptables-legacy-save -t mangle"])
    return f"{FIP['f']}_vm_in_internet" in listing and "fipmeter" in listing


def tell(result, took):
    waited = [each for each in took if each != (0, 0)]
    closed, gone = (max(each) for each in zip(*waited))
    late = sum(each[0] > 1 for each in waited)
    result.note = (f"descriptor kept for {closed:.2f} s, namespace for {gone:.2f} s at the longest; "
                   f"{late} of {len(waited)} descriptors for more than 1 s")
    assert late == 0


def test_deleted_in_traffic(lab, meter, result):
    """The devices go first, while packets come; the witness is read in what remains of the namespace."""
    result.fault = "namespace deleted at a random moment in the interval; deleted and re-created under the same name"
    meter.start()
    for number in range(max(2, ROUNDS // 10)):
        had = booked(meter, FIP["f"])
        with Steady(lab, "r2", "far", FIP["f"], f"ip daddr {FIP['f']}") as steady:
            kept = os.open(path_of(lab, "r2"), os.O_RDONLY)
            try:
                time.sleep(random.uniform(0, 0.05))
                lab.router_drop("r2")
                seen = read_kept(kept, steady.witness.table)
            finally:
                os.close(kept)
        meter.sample()
        result.add(seen, booked(meter, FIP["f"]) - had)
        assert booked(meter, FIP["f"]) - had == seen > 0, f"round {number}"
        lab.router_add("r2")
        wait_counted(meter)
    meter.sample()
    check(meter)
    result.gaps = len(whole_gaps(meter))
    check_gaps(meter, max(2, ROUNDS // 10))


def read_kept(fd, table):
    argv = ["nsenter", f"--net=/proc/self/fd/{fd}", "nft", "list", "counters", "table", "ip", table]
    listing = subprocess.run(argv, pass_fds=[fd], check=True, text=True, stdout=subprocess.PIPE).stdout
    return int(re.search(r"bytes (\d+)", listing)[1])
