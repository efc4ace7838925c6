# SPDX-License-Identifier: GPL-2.0-or-later
"""The store's file system is full, or has become read-only under the agent; later it is well again. An ext4 of a few MiB in a
file, mounted for the test: whatever the agent does there meets the real errors.
"""

import json
import os
import random
import signal
from pathlib import Path

import pytest
from accounts import FIP
from fiplab.ns import PYTHON
from metering import now_us, wait_for
from scale import backends, flavours, times
from spoilt import Books, ask_for_sample, status

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft",)), backends(short=("iptables",))]

FAULT = "disk full for hours, read-only remount, then free again"
SIZE = 12 << 20


READ = """
import json, sqlite3, sys
store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=10)
store.row_factory = sqlite3.Row
print(json.dumps([dict(row) for row in store.execute(sys.argv[2], json.loads(sys.argv[3]))]))
"""


class SmallDisk:
    """A small file system that is mounted in the lab and nowhere else, so that nobody else holds it."""

    def __init__(self, lab, directory):
        self.lab, self.image, self.path = lab, directory / "image", directory / "disk"
        self.path.mkdir()
        with self.image.open("wb") as image:
            image.truncate(SIZE)
        self.run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.run("mount", "-o", "loop", self.image, self.path)
        self.seen = Path(f"/proc/{lab.inside.pid}/root{self.path}")     # from here
        self.ballast = self.seen / "ballast"

    def run(self, *argv):
        return self.lab.run(None, argv)

    def fill(self, leave):
        """Leaves about so many bytes."""
        with self.ballast.open("ab") as ballast:
            try:
                while True:
                    free = os.statvfs(self.seen)
                    room = free.f_bavail * free.f_frsize - leave
                    if room <= 0:
                        return
                    os.write(ballast.fileno(), bytes(min(room, 1 << 16)))
            except OSError:
                return      # full earlier than it said

    def free(self):
        self.ballast.unlink()

    def turn_read_only(self):
        """As after an error of the medium (ext4(5), errors=remount-ro): whatever is open stays open and cannot be written."""
        self.lab.sh(["mount", "-o", "remount,abort", self.path])
        with pytest.raises(OSError):
            (self.seen / "probe").touch()

    def repair(self):
        """What an operator does then."""
        self.run("umount", self.path)
        checked = self.lab.sh(["e2fsck", "-fy", self.image])
        assert checked.returncode in (0, 1), checked.stdout
        self.run("mount", "-o", "loop", self.image, self.path)

    def query(self, statement, *values):
        """For Meter.query: read in the lab."""
        done = self.lab.sh([PYTHON, "-I", "-c", READ, self.path / "state/usage.db", statement, json.dumps(values)])
        if "no such table" in done.stderr or "unable to open" in done.stderr:
            return []
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def disk(lab, tmp_path):
    disk = SmallDisk(lab, tmp_path)
    yield disk
    lab.sh(["umount", disk.path])


@pytest.fixture
def books(lab, disk, meter):
    meter.state = disk.path / "state"
    meter.query = disk.query
    return Books(lab, meter, FIP["a"])


def sample_until_it_fails(meter, books):
    """As long as there is room in the files as they are, samples are kept."""
    for _ in range(300):
        books.send()
        ask_for_sample(meter)
        if status(meter)["failure"]:
            return
    pytest.fail("300 samples found room in a file system that is full")


def check_degraded(meter, reason):
    """It names the store and the reason, and the exit status is 4."""
    told = status(meter, code=4)
    assert str(meter.state / "usage.db") in told["failure"] and reason in told["failure"], told["failure"]
    assert told["running"] and not told["metered"] and told["kept"] < told["sampled"], told
    text = meter.run("status", "--config", meter.config, "--state-dir", meter.state, status=4).stdout
    assert reason in text and "the counters keep it until then" in text


def check_well(meter, books, since_us):
    """Nothing is lost, and the rows that begin after that are whole again."""
    books.send()
    meter.sample()
    books.send()
    meter.sample()
    books.check("well again")
    assert not books.lost, f"{books.lost} bytes are missing"
    later = meter.query("SELECT flags FROM usage WHERE start > ? AND in_bytes > 0", since_us)
    assert later and not any(row["flags"] for row in later), later
    wait_for(lambda: status(meter)["metered"], "status to say that all is well")
    meter.audit()


def test_a_full_disk_delays_rows_and_loses_nothing(disk, meter, books, result):
    chance = random.Random(5)
    meter.start()
    rounds = times(18, 1)
    for number in range(rounds):
        books.send()
        meter.sample()
        disk.fill(leave=chance.choice([0, 0, 4096, 8192, 20480, 65536]))
        sample_until_it_fails(meter, books)
        check_degraded(meter, "full")
        for _ in range(times(20, 3)):
            books.send()
            ask_for_sample(meter)
        if number % 3 == 2:     # and the machine restarts meanwhile
            meter.kill()
        disk.free()
        if not meter.process:
            meter.start()
        meter.sample()
        check_well(meter, books, now_us())
    books.end(result, FAULT, rounds)


def test_a_disk_that_turns_read_only_delays_rows_and_loses_nothing(disk, meter, books, result):
    rounds = times(2, 1)
    for _ in range(rounds):
        meter.start()
        books.send()
        meter.sample()
        disk.turn_read_only()
        sample_until_it_fails(meter, books)
        check_degraded(meter, "Read-only file system")
        for _ in range(times(20, 2)):
            books.send()
            ask_for_sample(meter)
        meter.signal(signal.SIGTERM)
        meter.process.wait(30)
        meter.process = None
        disk.repair()
        meter.start()
        meter.sample()
        check_well(meter, books, now_us())
        meter.stop()
    books.end(result, FAULT, rounds)
