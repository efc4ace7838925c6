# SPDX-License-Identifier: GPL-2.0-or-later
"""Another writer edits the legacy table that our rules are in, all the time, among 2,000 rules of his, while ours are taken
away and made again. By a lock that both take nothing of his and nothing of ours is lost; without it we do not write.
"""

import fcntl
import os
import re
import signal
import subprocess
from contextlib import contextmanager

import pytest
from accounts import FIP
from books import booked, check, gaps
from metering import wait_for
from scale import backends, flavours, times

REPAIRS = times(500, 6)        # of each flavour
HELD = times(20, 2)
RULES = 2000
SIZE = 100
A = FIP["a"]

pytestmark = [pytest.mark.own_lab("r1"), flavours(), backends(full=("iptables",), short=("iptables",))]

# Appends one and takes the oldest away; each a replacement of the whole table. Stops at the first that fails.
WRITER = """
n=$1
until [ -e "$2" ]; do
    n=$((n + 1))
    iptables-legacy -w 60 -t mangle -A theirs -s 192.0.2.$((n % 250 + 1)) -m mark --mark $n
    iptables-legacy -w 60 -t mangle -D theirs 1
done
echo $n
"""


class Writer:
    """The neighbour with his own lock file, and one rule that counts what enters the router by UDP."""

    def __init__(self, lab, directory):
        self.lab, self.lock, self.end = lab, directory / "xtables.lock", directory / "end"
        self.environment = {**os.environ, "XTABLES_LOCKFILE": str(self.lock)}
        rules = "".join(f"-A theirs -s 192.0.2.{n % 250 + 1}/32 -m mark --mark {n}\n" for n in range(1, RULES + 1))
        lab.run("r1", ["iptables-legacy-restore", "-w", "-n"], env=self.environment,
                input=f"*mangle\n:theirs - [0:0]\n-A PREROUTING -p udp -m comment --comment witness\n{rules}COMMIT\n")

    def run(self, *argv):
        return self.lab.run("r1", ["iptables-legacy", "-w", "60", "-t", "mangle", *argv], env=self.environment)

    @contextmanager
    def writing(self):
        argv = ["sh", "-ec", WRITER, "sh", RULES, self.end]
        with self.lab.popen(argv, ns="r1", env=self.environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE) as process:
            try:
                yield
                self.end.touch()
                output, errors = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 0, errors
        self.last = int(output)

    def rules(self):
        return [int(number, 16) for number in re.findall(r"-A theirs .*--mark (\S+)", self.run("-S", "theirs"))]

    def counted(self):
        return int(re.search(r"^ *(\d+) .*witness", self.run("-nvxL", "PREROUTING"), re.M)[1])


def jump(writer):
    """The specification of our rule in PREROUTING, or None."""
    found = re.search(r"^-A PREROUTING (.*-j fipmeter\S*)$", writer.run("-S", "PREROUTING"), re.M)
    return found[1].split() if found else None


def take_away(writer):
    """What somebody does who flushes or restores: our jump is gone."""
    words = subprocess.run(["xargs", "-n1"], input=" ".join(jump(writer)), text=True, stdout=subprocess.PIPE,
                           check=True).stdout.splitlines()
    writer.run("-D", "PREROUTING", *words)


def burst(lab):
    return lab.send("far", A, proto="udp", count=5, bytes=SIZE)["bytes"]


def test_repairs_beside_another_writer(lab, meter, result, tmp_path):
    result.fault = "another writer of the legacy tables, 2,000 rules, our set-up and repair repeated meanwhile, one shared lock"
    writer = Writer(lab, tmp_path)
    meter.configure(f"xtables_lock = {writer.lock}\n")
    sent = 0
    with writer.writing():
        meter.start()
        for number in range(REPAIRS):
            sent += burst(lab)
            take_away(writer)
            meter.signal(signal.SIGUSR1)
            wait_for(lambda: jump(writer), "our rules to stand again")
            meter.sample()
    assert writer.rules() == list(range(writer.last - RULES + 1, writer.last + 1)), "an edit of the neighbour is lost"
    sent += burst(lab)
    meter.sample()
    check(meter)
    result.add(sent, booked(meter, A), len(gaps(meter)))
    result.times = REPAIRS
    result.note = f"{2 * (writer.last - RULES)} edits of the neighbour, his rule counted {writer.counted() * SIZE} bytes"
    assert booked(meter, A) == sent
    assert writer.counted() * SIZE == sent
    assert "in spite of the lock" not in meter.said()


@contextmanager
def held(path):
    """Somebody has the lock all the time."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def table(lab):
    """Without the lock: looking needs none."""
    return [line for line in lab.run("r1", ["iptables-legacy-save", "-t", "mangle"]).splitlines()
            if line.startswith("-A")]


def test_without_the_lock_nothing_is_written_and_it_is_said(lab, meter, result, tmp_path):
    result.fault = "another writer of the legacy tables has the lock, or it cannot be had: nothing is written, and it is said"
    writer = Writer(lab, tmp_path)
    meter.configure(f"xtables_lock = {writer.lock}\n")
    meter.once()
    sent = 0
    for number in range(HELD):
        take_away(writer)
        before = table(lab)
        if number % 2:
            meter.configure(f"xtables_lock = {tmp_path}/none/xtables.lock\n")
            said = meter.once(status=4).stderr
        else:
            with held(writer.lock):
                said = meter.once(status=4).stderr
        assert table(lab) == before, "it has written without the lock"
        assert "not written" in said and "xtables.lock" in said, said
        meter.configure(f"xtables_lock = {writer.lock}\n")
        meter.once()
        assert jump(writer)
        sent += burst(lab)
        meter.once()
        check(meter)
    result.add(sent, booked(meter, A), len(gaps(meter)))
    result.times = HELD
    assert booked(meter, A) == sent
    assert writer.rules() == list(range(1, RULES + 1)) and writer.counted() * SIZE == sent
    assert len(gaps(meter)) >= HELD
