# SPDX-License-Identifier: GPL-2.0-or-later
"""Killed inside a birth, a death, a hand-over, a succession or a change of back end, before each system call of it that
changes something outside of the process: the next start ends the work, and every byte of before, between and after is in the
books, or stands as a gap where nothing could count it. Never more than was sent.
"""

import random
import shutil

import pytest
from accounts import FAR, FIP, GATEWAY
from books import booked, check, gaps, length_s
from fiplab import neutron
from killing import calls_of, run_until
from scale import FULL, flavours, times
from witness import lead_to

EACH = times(20, 2)         # times at each step, there and back together
SAMPLE = 4                  # steps of the short run, of those where something has just been made, or is about to be
DECISIVE = {"pwrite64", "fdatasync", "fsync", "rename", "setsockopt", "membarrier"}
# What bpf(2) changes; all else that it is asked for is a question.
BPF = {f"bpf BPF_{what}" for what in ("MAP_UPDATE_ELEM", "MAP_DELETE_ELEM", "OBJ_PIN", "LINK_CREATE")}
STEPS = "sendto,sendmsg,setsockopt,pwrite64,fdatasync,fsync,write,ftruncate,rename,unlink,membarrier,bpf"
SIZE = 100
NEW, OTHER_GATEWAY = "198.51.100.120", "198.51.100.90"
OTHER = {"nft": "iptables", "iptables": "nft", "ebpf": "nft"}

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft",))]


class Change:
    """One change of Neutron's (or of the configuration), and its counterpart: do(True), do(False), do(True), ..."""

    into = FIP["b"]             # where traffic from outside goes to
    payers = ()                 # who may have it in the books
    may_miss = False            # nothing counts in some moment of it: then a gap says so

    def __init__(self, lab, meter):
        self.lab, self.meter = lab, meter

    def before(self, there):
        """Traffic of before the change, and of between the killed run and the next: the bytes that are to be counted."""
        return self.send(3)

    between = before

    def send(self, count):
        return (self.lab.send("far", self.into, proto="udp", count=count, bytes=SIZE)["bytes"]
                + self.lab.send("c", FAR, proto="udp", count=count, bytes=SIZE)["bytes"])


class BirthAndDeath(Change):
    """A floating IP of c: its rules come first, its address when the meter is ready. c's own traffic is on the bill of
    the floating IP or of the gateway address, at every moment."""

    into = NEW
    payers = (NEW, GATEWAY["r1"])

    def rules(self, text):
        self.lab.run("r1", [self.lab.iptables_restore, "--noflush", "-w", "10"], input=text)

    def address(self, verb):
        self.lab.run("r1", ["ip", "addr", verb, f"{NEW}/32", "dev", self.lab.routers["r1"].qg])

    def do(self, there):
        lead_to(self.lab, "r1", NEW)
        self.rules((neutron.associate if there else neutron.disassociate)(NEW, self.lab.fixed("c")))
        if not there:
            self.address("del")

    def before(self, there):
        """Nobody has the address before it is born, nor after its death."""
        return (0 if there else self.send_in(3)) + self.send_out(2)

    def between(self, there):
        return self.send_out(2)

    def after(self, there):
        if there:
            self.address("add")
        return (self.send_in(4) if there else 0) + self.send_out(2)

    def send_in(self, count):
        return self.lab.send("far", NEW, proto="udp", count=count, bytes=SIZE)["bytes"]

    def send_out(self, count):
        return self.lab.send("c", FAR, proto="udp", count=count, bytes=SIZE)["bytes"]


class LateBirth(BirthAndDeath):
    """The address is there and has traffic before anybody has looked: what is missing is a gap."""

    may_miss = True

    def do(self, there):
        super().do(there)
        if there:
            self.address("add")

    def between(self, there):
        return (self.send_in(3) if there else 0) + self.send_out(2)

    def after(self, there):
        return (self.send_in(4) if there else 0) + self.send_out(2)


class HandOver(Change):
    """Floating IP b goes to c and back: what comes in is its own all the time."""

    payers = (FIP["b"], GATEWAY["r1"])

    def do(self, there):
        self.lab.move(FIP["b"], "c" if there else "b")

    def after(self, there):
        return self.send(4)


class Succession(Change):
    """Another gateway address: for the back end iptables a second generation that takes over."""

    payers = (FIP["b"], GATEWAY["r1"], OTHER_GATEWAY)

    def do(self, there):
        self.lab.gateway_change("r1", OTHER_GATEWAY if there else GATEWAY["r1"])

    def after(self, there):
        return self.send(4)


class BackEnd(Change):
    """One back end bills at a time; the moment between them is a gap."""

    payers = (FIP["b"], GATEWAY["r1"])
    may_miss = True

    def __init__(self, lab, meter):
        super().__init__(lab, meter)
        self.first = meter.backend

    def do(self, there):
        self.meter.backend = OTHER[self.first] if there else self.first
        self.meter.configure("")

    def after(self, there):
        return self.send(4)


class OutPoint(Change):
    """`out` counts elsewhere: the old counters have their last reading, then new ones begin. What follows is `in` alone: of `out`
    the first two seconds are on no bill, as what waited in a queue is on one already."""

    payers = (FIP["b"], GATEWAY["r1"])
    may_miss = True

    def do(self, there):
        self.meter.configure("out_point = egress\n" if there else "")

    def after(self, there):
        return self.lab.send("far", self.into, proto="udp", count=4, bytes=SIZE)["bytes"]


def begin_anew(meter):
    """An empty store: what is looked at after each kill stays short."""
    meter.detach()
    shutil.rmtree(meter.state)
    meter.once()


def steps(change, meter, log):
    """The calls of the longer of the two ways, as they are when one is killed."""
    ways = []
    begin_anew(meter)
    for there in True, False:
        change.before(there)
        change.do(there)
        ways.append(calls_of(meter, log, STEPS))
        change.between(there)
        change.after(there)
        meter.once()
    return max(ways, key=len)


def chosen(calls):
    """The numbers of the steps to be killed at. In the midst of what a transaction writes it makes no difference where."""
    numbers = [number for number, around in enumerate(zip(["", *calls], calls, [*calls[1:], ""]), 1)
               if set(around) != {"pwrite64"} and (not around[1].startswith("bpf ") or around[1] in BPF)]
    if FULL:
        return numbers
    decisive = [number for number in numbers if {calls[number - 1], calls[number - 2]} & (DECISIVE | BPF)]
    return sorted(random.sample(decisive, SAMPLE))


def kill_at(change, meter, calls, number, there, result):
    """The change, a run that is killed at its number-th step, the next one; then the verdict. False if it had not so many."""
    had, were, length = booked(meter, *change.payers), len(gaps(meter)), length_s(gaps(meter))
    sent = change.before(there)
    change.do(there)
    killed = run_until(meter, calls, number)
    sent += change.between(there)
    meter.once()
    mended = booked(meter, *change.payers)
    after = change.after(there)
    meter.once()
    check(meter)
    found, more = booked(meter, *change.payers) - had, len(gaps(meter)) - were
    if killed:
        result.add(sent + after, found, more)
    where = f"{type(change).__name__} {'there' if there else 'back'}, step {number}"
    assert found <= sent + after, f"{where}: too much"
    assert booked(meter, *change.payers) - mended == after, f"{where}: the next start has not ended the work"
    longer = length_s(gaps(meter)) > length  # one may go on where the last one ended
    assert found == sent + after or (change.may_miss and longer), f"{where}: {sent + after - found} bytes missing, no gap"
    return killed


def kill_each_way(change, meter, calls, number, result):
    """There and back, until that was often enough: how often. One of the ways may be shorter than the other."""
    killed = 0
    for _ in range(EACH):
        killed += sum(kill_at(change, meter, calls, number, there, result) for there in (True, False))
        if killed >= EACH:
            break
    return killed


@pytest.mark.parametrize("kind", [BirthAndDeath, LateBirth, HandOver, Succession, BackEnd])
def test_killed_at_each_step(lab, meter, result, tmp_path, kind):
    result.fault = "killed inside a birth, a death, a hand-over, a change of back end, at each step"
    kill_at_each_step(lab, meter, result, tmp_path, kind)


@pytest.mark.parametrize("backend", ["ebpf"], indirect=True)
def test_killed_at_each_step_of_another_out_point(lab, meter, result, tmp_path):
    result.fault = "killed inside a change of out_point, at each step"
    kill_at_each_step(lab, meter, result, tmp_path, OutPoint)


def kill_at_each_step(lab, meter, result, tmp_path, kind):
    meter.once()
    change = kind(lab, meter)
    calls = steps(change, meter, tmp_path / "calls")
    numbers, killed = chosen(calls), []
    for number in numbers:
        begin_anew(meter)
        killed.append(kill_each_way(change, meter, calls, number, result))
    result.note = f"{kind.__name__}: {len(numbers)} steps, {min(killed)} times or more at each"
    assert min(killed) > 0, [number for number, times in zip(numbers, killed) if not times]
