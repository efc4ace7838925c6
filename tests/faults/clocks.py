# SPDX-License-Identifier: GPL-2.0-or-later
"""An agent with a wall clock of its own (shim_clock.c): how it is set, and how to wait for a sample without asking it."""

import signal
import struct
import time

from metering import wait_for
from spoilt import preloaded


class Clock:
    """The clock of the agent, as it is told by a file that the agent maps."""

    def __init__(self, path, meter):
        self.path, self.meter, self.ahead_s = path, meter, 0
        path.write_bytes(bytes(8))
        meter.launch = lambda argv, **options: meter.lab.popen([*preloaded("clock", FAULT_CLOCK=path), *argv], **options)

    def step(self, seconds):
        """As clock_settime(2): who waits for a time by it hears of that."""
        self.ahead_s += seconds
        with self.path.open("r+b") as file:
            file.write(struct.pack("q", self.ahead_s * 1_000_000))
        if self.meter.process:
            self.meter.signal(signal.SIGRTMIN)

    def now_us(self):
        return time.time_ns() // 1000 + self.ahead_s * 1_000_000


def last_read(meter):
    """By the boot clock, which nobody sets."""
    return max((row["read_boot_us"] for row in meter.query("SELECT read_boot_us FROM generation")), default=0)


def sample(meter):
    before = last_read(meter)
    meter.signal(signal.SIGUSR1)
    wait_for(lambda: last_read(meter) > before, "a sample")


def start(meter, interval_s=3600):
    """Meter.start() waits by the machine's clock. The agent says so when its first sample is over."""
    meter._wait_sampled = lambda since_us: None
    before = meter.said().count(" metering node=")
    meter.start(interval_s)
    wait_for(lambda: meter.process.poll() is not None or meter.said().count(" metering node=") > before, "the first sample")


def stop(meter):
    meter.stop()
    del meter._wait_sampled
