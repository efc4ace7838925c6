# SPDX-License-Identifier: GPL-2.0-or-later
"""`kill -9` of the agent while traffic runs, at any moment and inside its commits: the next start goes on with every byte."""

import random
import signal
import time

from accounts import FAR, FIP, GATEWAY
from books import booked, check, gaps
from killing import calls_of, run_until
from scale import flavours, times
from steady import Steady

ROUNDS = times(500, 20)         # of each flavour; every fifth inside a commit
AUDIT_EACH = 10
COMMIT = "pwrite64,fdatasync,fsync,write,rename,ftruncate,unlink"


def kill_at_random(meter):
    """In the quiet, or after a signal and 0 to 12 ms: at another point of the cycle each time."""
    if random.random() < 0.8:
        meter.signal(signal.SIGUSR1)
    time.sleep(random.uniform(0, 0.012))
    meter.kill()


def kill_in_commit(meter, calls):
    """The next start dies at one of the `calls` of its own commits. False: it made fewer and ended in order."""
    meter.kill()
    return run_until(meter, calls, random.randint(1, len(calls)))


def restart(meter):
    """Seconds from the start until a sample of all routers is in the store."""
    begun = time.monotonic()
    meter.start()
    return time.monotonic() - begun


@flavours()
def test_killed_in_traffic(lab, meter, result, tmp_path):
    result.fault = "kill -9 of the agent at a random moment in steady traffic, also inside the commit, then restart"
    took, inside = [], 0
    meter.once()
    calls = calls_of(meter, tmp_path / "calls", COMMIT)
    meter.start()
    with (Steady(lab, "r1", "far", FIP["a"], f"ip daddr {FIP['a']}") as into,
          Steady(lab, "r1", "c", FAR, f"ip saddr {lab.fixed('c')} ip daddr {FAR}") as out):
        for number in range(ROUNDS):
            if number % 5 == 4:
                inside += kill_in_commit(meter, calls)
            else:
                kill_at_random(meter)
            took.append(restart(meter))
            assert booked(meter, FIP["a"]) <= into.witness.counts()[1]
            assert booked(meter, GATEWAY["r1"]) <= out.witness.counts()[1]
            if number % AUDIT_EACH == 0:
                check(meter)
        truth = into.stop() + out.stop()
    meter.stop()
    check(meter)
    found = booked(meter, FIP["a"], GATEWAY["r1"])
    result.add(truth, found, len(gaps(meter)))
    result.times = ROUNDS
    late = sum(each > 2 for each in took)
    result.note = (f"{inside} inside a commit; sampling again after {sorted(took)[len(took) // 2]:.2f} s (median), "
                   f"{max(took):.2f} s (longest), {late} of {ROUNDS} after more than 2 s")
    assert found == truth
    assert not gaps(meter)
    assert inside >= ROUNDS // 10
