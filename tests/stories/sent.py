# SPDX-License-Identifier: GPL-2.0-or-later
"""What left a router, by others than fipmeter, and what that says of it, where `out` counts where it is sent.

A kernel that leaves out a trace point now and then (this one does while process 1 is the current one) has it count too little,
by packets that are told. So what is billed is held against what was told, to the packet, and a story goes on until a run
came in which nothing was left out: that one has to be right to the byte.
"""

import json
import re

import pytest
from accounts import FAR, FIP, totals
from metering import wait_for

ROUNDS = 40
MISSED = re.compile(r"out: (\d+) packets that its external devices sent were not seen")


def missed(meter, router=None):
    """How many packets were told not to have been seen, since ever."""
    return sum(int(found[1]) for row in meter.coverage(router) if (found := MISSED.fullmatch(row["reason"])))


def reasons(meter, router="r1"):
    """Of the gaps of a router, but for those that tell of packets that were not seen."""
    return [row["reason"] for row in meter.coverage(router) if row["state"] == "gap" and not MISSED.fullmatch(row["reason"])]


def device(lab, router="r1"):
    """The statistics of its external device, and what waits in its queue."""
    name = lab.routers[router].qg
    sent = json.loads(lab.run(router, ["ip", "-s", "-j", "link", "show", "dev", name]))[0]["stats64"]["tx"]["packets"]
    queues = json.loads(lab.run(router, ["tc", "-s", "-j", "qdisc", "show", "dev", name]))
    return sent, sum(queue["qlen"] for queue in queues)


def drained(lab, router="r1"):
    wait_for(lambda: not device(lab, router)[1], "the queue to be empty")


def sums(rows, way):
    return tuple(sum(row[f"{way}_{unit}"] for row in rows) for unit in ("packets", "bytes"))


class Flow:
    """What has left for far from a since it was made."""

    def __init__(self, lab, meter):
        self.lab, self.meter = lab, meter
        self.before = self._look()

    def _look(self):
        arrived = self.lab.truth("far", "in").get((FIP["a"], FAR), (0, 0))
        entered = self.lab.truth("a", "out").get((self.lab.fixed("a"), FAR), (0, 0))
        return [*arrived, *sums(self.meter.usage_of(FIP["a"]), "out"), missed(self.meter), *entered, device(self.lab)[0]]

    def left_out(self, merged=False, killed=False):
        """How many packets were left out, all of them told, and few; anything else fails. merged: one that is told may be many;
        killed: an agent was, and may have told what the next one tells again."""
        arrived, size, billed, billed_size, told, *entered, sent = (now - then for now, then in zip(self._look(), self.before))
        self.entered, self.arrived = tuple(entered), (arrived, size)
        assert arrived > 0
        left_out = arrived - billed
        if merged or killed:
            assert 0 <= left_out <= told * (50 if merged else 1), (arrived, billed, told)
        else:  # what is told besides was of other packets: of ARP and the like, if the device has sent any
            assert 0 <= told - left_out <= sent - arrived, (arrived, billed, told, sent)
        assert left_out <= arrived // 10, "as good as nothing works"
        if not left_out:
            assert billed_size == size
        return left_out

    def is_all_billed(self, merged=False):
        return not self.left_out(merged)


def until_all_is_seen(run):
    """run: returns whether nothing was left out."""
    for _ in range(ROUNDS):
        if run():
            return
    pytest.fail(f"in none of {ROUNDS} runs all was seen")


def is_billed(lab, meter, before, bill):
    """The same of all that came on the bill since `before`, (usage, packets told): of `out` alone something may be missing."""
    found, wanted = totals(lab, meter.usage()), {key: tuple(counts) for key, counts in bill.lines.items() if any(counts)}
    found = {key: tuple(now - then for now, then in zip(counts, before[0].get(key, (0, 0, 0, 0)))) for key, counts in found.items()}
    found = {key: counts for key, counts in found.items() if any(counts)}
    if found == wanted:
        return True
    short = sum(counts[2] - found.get(key, (0, 0, 0, 0))[2] for key, counts in wanted.items())
    same = all(found.get(key, (0, 0, 0, 0))[:2] == counts[:2] for key, counts in wanted.items())
    assert same and set(found) <= set(wanted) and 0 < short <= missed(meter) - before[1], (found, wanted)
    return False
