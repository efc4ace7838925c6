# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent under something that spoils its calls, and the question that is asked after each: do the books agree with what
was sent, and if they do not, do they say so?
"""

import collections
import json
import os
import signal

from metering import PROGRAM, wait_for

SHIMS = PROGRAM.parent / "tests/faults"


def preloaded(module, **environment):
    """What stands before a program so that it runs with one of the modules of this room preloaded."""
    path = SHIMS / f"shim_{module}.so"
    assert path.exists(), f"{path} is not there: make build"
    return ["env", f"LD_PRELOAD={path}", *(f"{name}={value}" for name, value in environment.items())]


class Books:
    """What was sent to one floating IP, and what is in the store of it, as anybody may read it there."""

    def __init__(self, lab, meter, address, size=100):
        self.lab, self.meter, self.address, self.size = lab, meter, address, size
        self.sent = 0           # bytes, for certain
        self.lost = 0           # bytes that the books lack, and say so
        self._gaps = 0

    def send(self, count=1):
        assert self.lab.send("far", self.address, proto="udp", count=count, bytes=self.size)["sent"] == count
        self.sent += count * self.size

    def booked(self):
        return self.meter.query("SELECT ifnull(sum(in_bytes), 0) AS bytes FROM usage WHERE address = ?",
                                self.address)[0]["bytes"]

    def gaps(self):
        return len(self.meter.query("SELECT seq FROM coverage WHERE state = 'gap'"))

    def check(self, what):
        """Never more than was sent; less only with a gap that was not there before."""
        missing, gaps = self.sent - self.lost - self.booked(), self.gaps()
        assert missing >= 0, f"{what}: {-missing} bytes too many in the books"
        assert not missing or gaps > self._gaps, f"{what}: {missing} bytes are missing, and no gap says so"
        self.lost += missing
        self._gaps = gaps

    def end(self, result, fault, count):
        """What came of the fault, done so often, as a line of the table."""
        result.fault = fault
        result.add(self.sent, self.booked(), self.gaps())
        result.times = count


def status(meter, code=(0, 4)):
    return json.loads(meter.command("status", "-o", "json", status=code).stdout)


def ask_for_sample(meter):
    """And wait until it is over, whatever came of it."""
    before = status(meter)["sampled"]
    meter.signal(signal.SIGUSR1)
    wait_for(lambda: status(meter)["sampled"] > before, "a sample to be over")


def descriptors(pid):
    """What a process holds open, without what differs from one to the next: {kind: how many}."""
    found, own = collections.Counter(), os.readlink(f"/proc/{pid}/ns/net")
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            # of a file of /proc: the kernel forgets its name now and then
            target = os.readlink(f"/proc/{pid}/fd/{fd}").replace("netstat (deleted)", "netstat")
        except FileNotFoundError:
            continue
        kind = target.split(":")[0] if ":[" in target else os.path.basename(target)
        found["own net" if target == own else kind] += 1
    return found


def settled(pid):
    """The same, once it stays the same for a while: between two cycles."""
    seen = [descriptors(pid)]

    def is_settled():
        seen.append(descriptors(pid))
        return len(seen) > 20 and all(each == seen[-1] for each in seen[-20:])

    wait_for(is_settled, "the descriptors to stay the same")
    return seen[-1]
