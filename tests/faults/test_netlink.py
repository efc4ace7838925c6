# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink answers that are damaged on their way (shim_netlink.c says how), and messages that are not the kernel's. What
cannot be believed is asked for again or refused; it never becomes a row.
"""

import random
import re
import signal
import subprocess

import pytest
from accounts import FIP
from fiplab.ns import PYTHON
from metering import PROGRAM, wait_for
from scale import flavours, times
from spoilt import Books, preloaded

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft",))]

FAULT = "netlink: {}"
# After these a reading is told from what is none by the message alone. A spoilt attribute may take something from what is
# seen of a router: that is said by a gap.
WITHOUT_LOSS = {"interrupted": "interrupted dump", "lost": "ENOBUFS", "truncated": "truncated messages",
                "cut": "messages that end too early", "oversized": "oversized messages", "alien": "messages of other processes",
                "another": "answers to others"}
ATTRIBUTES = {"length": "attributes of a wrong length", "type": "attributes of a wrong type"}


def ended_in_libnftnl(done):
    """Told by shim_netlink.c of the crash that it met."""
    return done.returncode == -signal.SIGSEGV and bool(re.search(r"^crashed in .*/libnftnl\.so", done.stderr, re.M))


def spoilt_cycle(lab, meter, kind, seed, one_in):
    under = preloaded("netlink", FAULT_NETLINK=f"{kind}:{seed}:{one_in}")
    done = lab.sh([*under, PROGRAM, *meter.node_argv("agent", "--once")], timeout=120)
    if kind in ATTRIBUTES and (ended_in_libnftnl(done) or "contact your vendor" in done.stderr):
        # libnftnl (1.2.4) does not look before it takes an attribute, or ends the process by itself. It reads our rules
        # for the one back end, and Neutron's for both.
        return -1
    what = f"seed {seed}:{one_in}: status {done.returncode}\n{done.stderr}"
    assert done.returncode in (0, 1, 4), what
    assert not done.returncode or done.stderr.startswith("fipmeter"), f"not a word of {what}"
    return done.returncode


@pytest.mark.parametrize("kind", [*WITHOUT_LOSS, *ATTRIBUTES])
def test_answers_that_are_damaged_are_never_billed(lab, meter, result, kind):
    books, seeds = Books(lab, meter, FIP["a"]), times(200, 3)
    refused = killed = 0
    meter.once()
    for seed in range(seeds):
        if fresh := seed % 3 == 2:
            meter.detach()
        else:
            books.send()
        status = spoilt_cycle(lab, meter, kind, seed, random.Random(seed).choice([2, 5, 15, 40, 100]))
        refused += status > 0
        killed += status < 0
        if not fresh:
            books.send()
        meter.once()
        books.send()
        meter.once()
        books.check(f"{kind} {seed}")
    assert kind in ATTRIBUTES or not books.lost, f"{books.lost} bytes of {books.sent} are in a gap"
    assert kind in ("alien", "interrupted") or refused + killed, "none of the cycles met a damage"
    books.end(result, FAULT.format({**WITHOUT_LOSS, **ATTRIBUTES}[kind]), seeds)
    result.note = f"{refused} cycles refused" + (f", {killed} ended inside libnftnl" if killed else "")


def test_alien_messages_do_not_even_disturb(lab, meter, result):
    """Every cycle is whole, with one before every second answer."""
    books, count = Books(lab, meter, FIP["a"]), times(100, 4)
    meter.once()
    for seed in range(count):
        books.send()
        assert spoilt_cycle(lab, meter, "alien", seed, 2) == 0
        assert books.booked() == books.sent
    books.check("alien")
    assert not books.lost
    books.end(result, FAULT.format(WITHOUT_LOSS["alien"]), count)


# --- a real stranger ---

STRANGER = """
import itertools, socket, struct, sys, time
bus, port = int(sys.argv[1]), int(sys.argv[2])
done = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, bus)
done.bind((0, 0))
print("ready", flush=True)
for number in itertools.count():
    seq = number % 300
    if number % 3000 == 0:
        time.sleep(0.002)
    # the end of a dump; an error; a new object without anything in it; half a message
    for kind, body in ((3, bytes(4)), (2, struct.pack("=i", -2) + bytes(16)), (0xa12, bytes(24)), (0x10, b"")):
        message = struct.pack("=IHHII", 16 + len(body) + (kind == 0x10), kind, 2, seq, port) + body
        try:
            done.sendto(message, (port, 0))
        except OSError as error:
            if error.errno not in (11, 105):    # the queue is full; and when the agent has gone it is over
                sys.exit(0)
"""


def netlink_sockets(lab, pid, who):
    """{(bus, port): did something wait in its queue, or was dropped from it} of the sockets of a process in a namespace."""
    mine = set()
    for line in lab.sh(["sh", "-c", f"ls -l /proc/{pid}/fd"]).stdout.splitlines():
        if "socket:[" in line:
            mine.add(line.rpartition("[")[2].rstrip("]"))
    table = lab.sh(["cat", "/proc/thread-self/net/netlink"], ns=who).stdout.splitlines()[1:]
    return {(int(fields[1]), int(fields[2])): int(fields[4]) + int(fields[8]) > 0
            for fields in map(str.split, table) if fields[-1] in mine}


def test_messages_of_another_process_are_passed_over(lab, meter, result):
    books = Books(lab, meter, FIP["a"])
    meter.start()
    meter.sample()
    targets = [("r1", *each) for each in netlink_sockets(lab, meter.pid, "r1")]
    targets += [(None, *each) for each in netlink_sockets(lab, meter.pid, None)]
    # in the router netfilter and the devices' statistics, outside the events of either bus
    assert {target[0] for target in targets} == {"r1", None} and len(targets) == 4, targets
    strangers = []
    try:
        for who, bus, port in targets:
            argv = [PYTHON, "-I", "-c", STRANGER, bus, port]
            strangers.append(lab.popen(argv, ns=who, text=True, stdout=subprocess.PIPE))
            assert strangers[-1].stdout.readline() == "ready\n"
        wait_for(lambda: any(netlink_sockets(lab, meter.pid, "r1").values()), "their messages to be in the agent's queue")
        for _ in range(times(200, 4)):
            books.send()
            meter.sample()
        assert not any(stranger.poll() for stranger in strangers)
        strangers_ran = all(stranger.poll() is None for stranger in strangers)
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.communicate()
    assert strangers_ran, "the agent was not there to hear them"
    books.check("beside strangers")
    meter.sample()
    books.check("after them")
    assert not books.lost and not books.gaps()
    meter.stop()
    books.end(result, FAULT.format(WITHOUT_LOSS["alien"]), times(200, 4))
