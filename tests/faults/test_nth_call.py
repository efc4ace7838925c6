# SPDX-License-Identifier: GPL-2.0-or-later
"""The n-th call fails, for n = 1, 2, 3, ... until a run has no such call left: strace(1) puts an error in its place. The
same for every 31st allocation, by a module of this room.

Whatever fails, the program ends as it says it does, and a good cycle afterwards makes the books right: to the byte, or with
a gap that says what they lack. Calls of the dynamic linker are among them (status 127, by its own message).
"""

import collections
import itertools
import re
import shutil
import signal
import subprocess

import pytest
from accounts import FIP
from metering import PATIENCE_S, PROGRAM, now_us, wait_for
from scale import FULL, flavours, times
from spoilt import Books, preloaded, settled

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft",))]

FAULT = "n-th call fails"
CALLS = {"openat": "EMFILE", "read": "EIO", "pread64": "EIO", "write": "ENOSPC", "pwrite64": "ENOSPC", "fsync": "EIO",
         "fdatasync": "EIO", "ftruncate": "ENOSPC", "rename": "EIO", "close": "EIO", "newfstatat": "EIO", "fcntl": "EAGAIN",
         "flock": "ENOLCK", "getdents64": "EIO", "sendto": "ENOBUFS", "recvmsg": "ENOBUFS", "recvfrom": "EIO", "socket": "EMFILE",
         "bind": "ENOMEM", "getsockopt": "ENOMEM", "setsockopt": "ENOMEM", "setns": "EPERM", "membarrier": "EINVAL",
         "mmap": "ENOMEM", "bpf": "ENOMEM"}
RUNNING = ["openat", "read", "pwrite64", "fsync", "fdatasync", "sendto", "recvmsg", "socket", "getsockopt", "setsockopt", "setns", "bpf"]
LOADER = 127
SHORT = 14      # so many of them in the short run
LAST = 5000     # no cycle has so many calls: a run that reaches this does not come to an end
ALLOCATIONS = 40_000    # more than a cycle has
STRETCH = 50            # rounds with one store


def strace(trace, call, n, *more):
    return ["strace", *more, "-f", "--seccomp-bpf", "-o", trace, "-e", f"trace={call}", "-e", "signal=none",
            "-e", f"inject={call}:error={CALLS[call]}:when={n}", "--"]


def was_reached(trace):
    return "(INJECTED)" in trace.read_text(errors="replace")


def count_calls(lab, trace, argv):
    lab.sh(["strace", "-f", "-o", trace, "-e", f"trace={','.join(CALLS)}", "--", PROGRAM, *argv])
    return collections.Counter(re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))


def choose(lab, trace, argv, calls, how_many):
    """(call, n) of the short run: evenly out of all those that come after the program has begun."""
    begin, all_ = count_calls(lab, trace, ["--version"]), count_calls(lab, trace, argv)
    every = [(call, n) for call in calls for n in range(min(begin[call], max(all_[call] - 1, 0)) + 1, all_[call] + 1)]
    assert len(every) > 100, "a cycle makes more calls than these"
    return every[::max(1, len(every) // how_many)]


def looks_at_names(trace):
    """The numbers of those newfstatat() of a whole cycle that ask whether a router's namespace is still there."""
    paths = re.findall(r'^\d+ +newfstatat\(\w+, "(.*?)"', trace.read_text(errors="replace"), re.MULTILINE)
    return [n for n, path in enumerate(paths, 1) if "/netns/qrouter-" in path]


def may_end_so(call, status, said):
    """0, 1 and 4 are what the agent promises. It ends itself where it cannot come back out of a namespace."""
    if call == "mmap" and status == -signal.SIGSEGV and not said:
        return True     # the dynamic linker
    if status == LOADER:
        return "error while loading shared libraries" in said or "cannot allocate TLS data structures" in said
    if call == "fcntl" and status == -signal.SIGABRT:
        return "Could not set close on exec" in said    # libip4tc ends the process by itself
    if call == "setns" and status == -signal.SIGTRAP:
        return "cannot come back from a network namespace" in said
    if status == 1:
        return said.startswith("fipmeter") and len(said.splitlines()) <= 2
    return status in (0, 4)


def is_way_back(n):
    """The first setns() leaves the namespace in which the back end was tried, which unshare() made; then in and out in turn."""
    return n % 2 == 1


class Cycles:
    """Cycles of `agent --once`, each with one call failing: before(), the cycle, after()."""

    def __init__(self, lab, meter, trace, before, after):
        self.lab, self.meter, self.trace, self.before, self.after = lab, meter, trace, before, after
        self.argv = meter.node_argv("agent", "--once")
        self.wrong_ends = []

    def fail(self, call, n):
        """False if the cycle did not have so many of them."""
        self.before()
        done = self.lab.sh([*strace(self.trace, call, n), PROGRAM, *self.argv], timeout=60)
        said = done.stderr + done.stdout
        if not may_end_so(call, done.returncode, said):
            self.wrong_ends.append(f"{call} {n}: status {done.returncode} {said}")
        reached = was_reached(self.trace)
        if call == "setns" and reached and (done.returncode == -signal.SIGTRAP) != is_way_back(n):
            self.wrong_ends.append(f"setns {n}: status {done.returncode}, in the wrong namespace?")
        self.after(f"{call} {n}")
        return reached

    def every(self):
        """How often there was something to fail."""
        count = 0
        for call in CALLS:
            numbers = itertools.takewhile(lambda n: self.fail(call, n), range(1, LAST))
            count += sum(1 for _ in numbers)
            self.meter.audit()
        return count

    def some(self):
        self.before()
        chosen = choose(self.lab, self.trace, self.argv, CALLS, SHORT) + [("setns", 2), ("setns", 3)]
        assert looks_at_names(self.trace)
        chosen += [("newfstatat", n) for n in looks_at_names(self.trace)]
        self.after("nothing")
        return sum(self.fail(call, n) for call, n in chosen)

    def run(self):
        count = self.every() if FULL else self.some()
        assert not self.wrong_ends, "\n".join(self.wrong_ends)
        assert count >= SHORT * 2 // 3, f"only {count} calls failed"
        return count


def test_a_cycle_of_routers_that_are_metered_already(lab, meter, tmp_path, result):
    books = Books(lab, meter, FIP["a"])
    meter.once()

    def after(what):
        books.send(2)
        meter.once()
        books.check(what)

    count = Cycles(lab, meter, tmp_path / "trace", books.send, after).run()
    assert not books.lost, f"{books.lost} bytes of {books.sent} are in a gap: the counters stood all the time"
    books.end(result, FAULT, count)


def test_the_first_cycle_which_makes_everything(lab, meter, tmp_path, result):
    books = Books(lab, meter, FIP["a"])

    def after(what):
        meter.once()
        books.send(2)
        meter.once()
        books.check(what)

    meter.once()
    count = Cycles(lab, meter, tmp_path / "trace", meter.detach, after).run()
    assert not books.lost, f"{books.lost} bytes of {books.sent} are in a gap: it was whole again before they came"
    books.end(result, FAULT, count)


def test_memory_is_short_at_one_moment_and_the_restart_is_exact(lab, meter, tmp_path, result):
    """GLib ends the process; what handles it goes on. Either way nothing is lost and nothing twice."""
    books, ends, lost = Books(lab, meter, FIP["a"]), collections.Counter(), 0
    mark = tmp_path / "reached"
    meter.once()
    n = 1
    while n < ALLOCATIONS:
        if sum(ends.values()) % STRETCH == STRETCH - 1:     # else the store, and with it the cycle, grows away from n
            lost += books.lost
            books.end(result, FAULT, 0)
            meter.detach()
            shutil.rmtree(meter.state)
            meter.once()
            books = Books(lab, meter, FIP["a"])
        if n % 2:
            meter.detach()
            meter.once()
        books.send()
        done = lab.sh([*preloaded("memory", FAULT_MEMORY=f"{n}:{mark}"), PROGRAM, *meter.node_argv("agent", "--once")])
        assert done.returncode <= 0 or done.returncode in (1, 4), f"{n}: status {done.returncode}\n{done.stderr}"
        books.send()
        meter.once()
        books.check(f"allocation {n}")
        if not mark.exists():
            break
        mark.unlink()
        ends[done.returncode] += 1
        n += times(31, n // 2 + 50)
    else:
        pytest.fail("the cycle has no end of allocations")
    assert ends[-signal.SIGTRAP] + ends[-signal.SIGABRT], f"nothing ended the process: {ends}"
    assert not books.lost + lost
    books.end(result, FAULT, sum(ends.values()))
    result.note = "allocations: " + ", ".join(f"{count} x status {status}" for status, count in sorted(ends.items()))


# --- an agent that runs ---

class Runner:
    """An agent that is started with one call of its set-up, or of the sample after it, failing."""

    def __init__(self, lab, meter, trace):
        self.lab, self.meter, self.trace = lab, meter, trace

    def start(self, prefix):
        meter = self.meter
        meter.log.write_text("")
        argv = [*prefix, PROGRAM, *meter.node_argv("agent", "--interval", 3600)]
        with meter.log.open("a") as log:
            meter.process = self.lab.popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: meter.process.poll() is not None or "metering node" in meter.said(), "the agent to run or to end")

    def sample(self):
        """Samples until one is whole. False if the agent has ended meanwhile."""
        wanted = {router.uuid for router in self.lab.routers.values()}
        for _ in range(PATIENCE_S * 2):
            before = now_us()
            if self.meter.process.poll() is not None:
                return False
            self.meter.process.send_signal(signal.SIGUSR1)
            try:
                wait_for(lambda: self.meter.process.poll() is not None or wanted <= {
                    row["router"] for row in self.meter.coverage() if row["end"] >= before and row["state"] == "metered"},
                    "a sample", patience_s=0.5)
            except AssertionError:
                continue
            return self.meter.process.poll() is None
        raise AssertionError(f"no sample is whole any more\n{self.meter.said()}")

    def run(self, books, call, n, usual):
        """Set-up, traffic, samples, with the n-th call failing. Was there an n-th call?"""
        meter = self.meter
        self.start(strace(self.trace, call, n, "-D"))
        books.send()
        goes_on = self.sample() and self.sample()
        if goes_on:
            opened = settled(meter.pid)
            if opened != usual and self.sample():   # what it let go at the end of a sample it has again by the next one
                opened = settled(meter.pid)
            assert opened == usual, f"{call} {n}: other descriptors are open than usual"
            meter.signal(signal.SIGTERM)
        status, meter.process = meter.process.wait(PATIENCE_S), None
        assert may_end_so(call, status, meter.said()) and (goes_on or status), f"{call} {n}: {status}\n{meter.said()}"
        meter.once()
        books.check(f"{call} {n}")
        return was_reached(self.trace)


def test_an_agent_that_runs_goes_on_and_keeps_nothing_open(lab, meter, tmp_path, result):
    books, runner = Books(lab, meter, FIP["a"]), Runner(lab, meter, tmp_path / "trace")
    meter.once()
    runner.start([])
    assert runner.sample() and runner.sample()
    usual, count = settled(meter.pid), 0
    meter.stop()
    if FULL:
        for call in RUNNING:
            count += sum(1 for _ in itertools.takewhile(lambda n: runner.run(books, call, n, usual), range(1, LAST)))
    else:
        for call, n in choose(lab, runner.trace, meter.node_argv("agent", "--once"), RUNNING, 8):
            count += runner.run(books, call, n, usual)
    assert not books.lost
    books.end(result, FAULT, count)
