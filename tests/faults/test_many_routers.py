# SPDX-License-Identifier: GPL-2.0-or-later
"""Routers come and go all the time under one agent: it keeps no memory, no descriptor and no namespace of those that went,
and the last reading of each. By the agent's clock an hour passes from one round to the next: what it remembers of a router
that is gone, and the sums of an hour, are let go after that.
"""

from pathlib import Path

import pytest
from clocks import Clock, sample, start, stop
from metering import wait_for
from scale import backends, flavours, times
from spoilt import descriptors, settled

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft",)), backends(short=("nft",))]

FAULT = "1,000 routers come and go in an hour (compressed)"
TOGETHER = times(50, 5)
ROUNDS = times(20, 16)
WARM = times(4, 8)          # rounds after which nothing may grow any more
CACHE_KB = 4096             # SQLite's, which fills as the database grows: cache_size in src/store/sql.c
PAGE_KB = 4.3               # of the cache: the page, and what SQLite keeps about it
# A router, beside that, for the allocator: 0.8 of 1,000 (nft), 1.9 of the first 400 (iptables), less from round to round. The
# short run begins to look while the heap still grows to its size.
GROWTH_KB = times(3, 8)


def memory_kb(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon")).split()[1])


def cached_kb(meter):
    """What of the database SQLite may have in memory."""
    return min(meter.query("PRAGMA page_count")[0]["page_count"] * PAGE_KB, CACHE_KB)


def held_by(pid):
    """How many network namespaces the process has open."""
    return sum(count for kind, count in descriptors(pid).items() if kind.startswith("qrouter-") or kind == "net")


def one_round(lab, meter, number):
    """Routers with a floating IP each, traffic to each, and away with them. Bytes that were sent."""
    names = [f"x{number}.{each}" for each in range(TOGETHER)]
    lab.routers_add(names, floating=1, vms=0)
    wanted = {lab.routers[name].uuid for name in names}
    wait_for(lambda: wanted <= {row["router"] for row in meter.coverage()}, "the new routers to be metered", patience_s=120)
    sample(meter)
    for name in names:
        (address,) = lab.routers[name].floating
        lab.send("far", address, proto="udp", count=2, bytes=100)
    for name in names:
        lab.router_drop(name)
        del lab.routers[name]
    wait_for(lambda: held_by(meter.pid) <= 1, "the namespaces to be let go")
    sample(meter)
    return 200 * TOGETHER


def test_memory_descriptors_and_namespaces_stay_flat_and_every_last_reading_is_kept(lab, meter, result, tmp_path):
    sent, grown, clock = 0, [], Clock(tmp_path / "clock", meter)
    start(meter)
    usual = settled(meter.pid)
    for number in range(ROUNDS):
        sent += one_round(lab, meter, number)
        wait_for(lambda: settled(meter.pid) == usual, "the descriptors to be those of before and no other")
        clock.step(3600)
        sample(meter)
        grown.append(memory_kb(meter.pid) - cached_kb(meter))
    booked = meter.query("SELECT sum(in_bytes) AS bytes FROM usage")[0]["bytes"]
    gaps = len(meter.query("SELECT seq FROM coverage WHERE state = 'gap'"))
    stop(meter)
    result.fault = FAULT
    result.add(sent, booked, gaps)
    result.times = ROUNDS * TOGETHER
    result.note = (f"memory without SQLite's cache {grown[WARM - 1]:.0f} kB after {WARM * TOGETHER} routers, "
                   f"{grown[-1]:.0f} kB after {ROUNDS * TOGETHER}")
    assert booked == sent, f"{booked} bytes of {sent}"
    assert grown[-1] - grown[WARM - 1] <= GROWTH_KB * TOGETHER * (ROUNDS - WARM), grown
