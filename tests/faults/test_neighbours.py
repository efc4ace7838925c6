# SPDX-License-Identifier: GPL-2.0-or-later
"""Neighbours who flush, restore, reset and take away, in one router, while traffic runs: what was counted before stays, all
is mended (at once where the kernel tells, else at the next sample), the time in between is a gap, and nothing is billed
that was not sent.
"""

import json
import random
import signal
import time

import pins
import pytest
from accounts import FIP
from books import booked, check, gaps, length_s
from metering import now_us, wait_for
from scale import FULL, flavours, times
from steady import SIZE, Steady

TIMES = times(300, 0)           # of each back end, over both flavours; 0: each once
PROMPT_S = 2                    # for what the kernel tells
RATE = 500
KNOWN, FLOWING = FIP["a"], FIP["b"]

pytestmark = [pytest.mark.own_lab("r1"), flavours(full=("nft", "legacy"))]


def sh(lab, text, **options):
    lab.run("r1", ["sh", "-ec", text], **options)


def save(lab):
    """A save of everything, as somebody may have made it for himself."""
    return lab.run("r1", ["sh", "-c", "nft list ruleset"]), lab.run("r1", ["ipset", "save"]), lab.run(
        "r1", ["sh", "-c", "iptables-legacy-save -c -t mangle"])


def ours(ruleset):
    """The text of our table in a listing of all."""
    return ruleset[ruleset.index("table ip fipmeter {"):].split("\n}\n")[0] + "\n}\n"


class Neighbour:
    """What he does; the saves are of before the traffic that the books have already."""

    def __init__(self, lab):
        self.lab = lab
        self.neutron = lab.run("r1", [lab.iptables_save])
        self.saved = self.counters = None
        self.extra = 0          # bytes sent in the midst of it

    def keep(self):
        self.saved = save(self.lab)
        self.counters = pins.of_address(self.lab, "counters", KNOWN)

    def sh(self, text, **options):
        sh(self.lab, text, **options)

    def restore_neutron(self):
        """What Neutron has written, put back at once by who took it away."""
        self.lab.run("r1", [self.lab.iptables_restore, "-w", "10"], input=self.neutron)

    # --- iptables of Neutron's own flavour ---

    def flush_filter_and_raw(self):
        self.sh(f"{self.lab.iptables} -w -F; {self.lab.iptables} -w -t raw -F")
        self.restore_neutron()

    def flush_and_delete_chains_of_mangle(self):
        self.sh(f"{self.lab.iptables} -w -t mangle -F; {self.lab.iptables} -w -t mangle -X")
        self.restore_neutron()

    def zero(self):
        self.sh("for t in filter nat mangle raw; do %s -w -t $t -Z; done" % self.lab.iptables)

    def restore_an_old_save(self):
        self.restore_neutron()

    # --- nft ---

    def nft_flush_ruleset(self):
        self.lab.run("r1", ["nft", "flush", "ruleset"])
        if self.lab.flavour == "nft":
            self.restore_neutron()

    def nft_restore_an_old_ruleset(self):
        """What iptables-nft has written nft cannot restore as it was."""
        self.lab.run("r1", ["nft", "-f", "-"], input="flush ruleset\n" + self.saved[0])
        if self.lab.flavour == "nft":
            self.restore_neutron()

    def nft_restore_our_old_table(self):
        self.lab.run("r1", ["nft", "-f", "-"], input="delete table ip fipmeter\n" + ours(self.saved[0]))

    def nft_restore_our_table_of_now(self):
        """No counter is smaller than in the books: only that the table is another one tells what was not counted."""
        table = self.lab.run("r1", ["nft", "list", "table", "ip", "fipmeter"])
        self.extra = burst(self.lab)
        self.lab.run("r1", ["nft", "-f", "-"], input="delete table ip fipmeter\n" + table)

    def nft_delete_our_table(self):
        self.lab.run("r1", ["nft", "delete", "table", "ip", "fipmeter"])

    def nft_flush_our_table(self):
        self.lab.run("r1", ["nft", "flush", "table", "ip", "fipmeter"])

    def nft_delete_our_chain(self):
        self.lab.run("r1", ["nft", "delete", "chain", "ip", "fipmeter", "prerouting"])

    def nft_flush_our_chain(self):
        self.lab.run("r1", ["nft", "flush", "chain", "ip", "fipmeter", "prerouting"])

    def nft_reset_counters(self):
        self.lab.run("r1", ["nft", "reset", "counters", "table", "ip", "fipmeter"])

    def nft_rule_before_ours(self):
        self.lab.run("r1", ["nft", "insert", "rule", "ip", "fipmeter", "prerouting", "accept"])

    def nft_flush_a_map(self):
        self.lab.run("r1", ["nft", "flush", "map", "ip", "fipmeter", "in_internet"])

    def nft_delete_an_element(self):
        self.lab.run("r1", ["nft", "delete", "element", "ip", "fipmeter", "in_internet", f"{{ {KNOWN} }}"])

    # --- ipset and legacy rules ---

    def legacy_flush_mangle(self):
        self.sh("iptables-legacy -w -t mangle -F")

    def legacy_delete_all_chains(self):
        self.sh("iptables-legacy -w -t mangle -F; iptables-legacy -w -t mangle -X")

    def legacy_zero_mangle(self):
        self.sh("iptables-legacy -w -t mangle -Z")

    def legacy_restore_an_old_save(self):
        self.lab.run("r1", ["iptables-legacy-restore", "-w", "-c"], input=self.saved[2])

    def legacy_delete_our_jump(self):
        self.sh("iptables-legacy -w -t mangle -D PREROUTING 1")

    def legacy_rule_before_ours(self):
        self.sh("iptables-legacy -w -t mangle -I PREROUTING -j ACCEPT")

    def legacy_rule_in_our_chain(self):
        self.sh("iptables-legacy -w -t mangle -I fipmeter-in -j ACCEPT || iptables-legacy -w -t mangle -I fipmeter2-in -j ACCEPT")

    def ipset_flush(self):
        self.sh("ipset flush")

    def ipset_flush_a_counting_set(self):
        self.sh("ipset flush $(ipset list -name | grep _in_internet | head -1)")

    def ipset_flush_a_set_that_only_asks(self):
        self.sh("ipset flush $(ipset list -name | grep _public | head -1)")

    def ipset_destroy(self):
        """It is refused as long as rules use them; without the rules all of them go."""
        self.sh("! ipset destroy 2>/dev/null; iptables-legacy -w -t mangle -F; iptables-legacy -w -t mangle -X; ipset destroy")

    def ipset_restore_an_old_save(self):
        """Old values into the sets that stand. Were they passed again before the next sample, nothing would tell."""
        self.sh("ipset -exist restore", input=self.saved[1])

    def ipset_destroy_and_restore(self):
        self.sh("iptables-legacy -w -t mangle -F; iptables-legacy -w -t mangle -X; ipset destroy")
        self.sh("ipset restore", input=self.saved[1])

    def ipset_delete_an_element(self):
        self.sh(f"ipset del $(ipset list -name | grep _in_internet | head -1) {FLOWING}")

    def ipset_add_an_element(self):
        self.sh("ipset add $(ipset list -name | grep _in_internet | head -1) 192.0.2.1")


    # --- pins, links and maps of ebpf ---

    def run(self, text):
        done = self.lab.sh(["sh", "-ec", text])
        assert not done.returncode, done.stderr

    def link_remove(self):
        self.run(f"rm {pins.link_of(self.lab, 'r1')}")

    def rule_delete_the_table(self):
        self.sh(f"nft delete {pins.RULE_TABLE}")

    def rule_flush_the_table(self):
        self.sh(f"nft flush {pins.RULE_TABLE}")

    def rule_add_another(self):
        self.sh("nft insert rule ip fipmeter_ebpf prerouting accept")

    def ebpf_remove_all_pins(self):
        self.run("rm -r /sys/fs/bpf/fipmeter")

    def ebpf_unmount(self):
        self.run("umount -l /sys/fs/bpf")

    def ebpf_unpin_the_maps(self):
        self.run(f"cd {pins.PINS}; rm programs* routers classes addresses prefixes counters")

    def ebpf_delete_a_counter(self):
        for key in pins.of_address(self.lab, "counters", KNOWN):
            pins.delete(self.lab, "counters", key)

    def ebpf_zero_a_counter(self):
        for key, value in self.counters.items():
            pins.put(self.lab, "counters", key, [bytes(len(each)) for each in value])

    def ebpf_restore_old_counters(self):
        for key, value in self.counters.items():
            pins.put(self.lab, "counters", key, value)

    def ebpf_delete_an_address(self):
        for key in pins.of_address(self.lab, "addresses", KNOWN):
            pins.delete(self.lab, "addresses", key)

    def ebpf_delete_the_router(self):
        for key in pins.dump(self.lab, "routers"):
            pins.delete(self.lab, "routers", key)

    def ebpf_delete_the_prefixes(self):
        for key in pins.dump(self.lab, "prefixes"):
            pins.delete(self.lab, "prefixes", key)

    def ebpf_take_the_program(self):
        pins.delete(self.lab, "programs_rule" if pins.rules(self.lab) else "programs", bytes(4))


EVERYBODY = ["flush_filter_and_raw", "flush_and_delete_chains_of_mangle", "zero", "restore_an_old_save",
             "nft_flush_ruleset"]


# Nothing of ours suffers, so nothing has to be declared.
HARMLESS = {"flush_filter_and_raw", "flush_and_delete_chains_of_mangle", "zero", "restore_an_old_save",
            "legacy_zero_mangle", "legacy_restore_an_old_save", "ebpf_unpin_the_maps"}


# A rule, and the agent, hold the maps without their pins.
HARMLESS_TO_RULES = {"ebpf_remove_all_pins", "ebpf_unmount"}


def breaks(name, meter):
    if meter.place == "rule" and name in HARMLESS_TO_RULES:
        return False
    return name not in HARMLESS and (meter.backend == "nft" or meter.place == "rule" or name != "nft_flush_ruleset")


def acts(meter):
    of_place = "rule_" if meter.place == "rule" else "link_"
    prefix = {"nft": ("nft_",), "iptables": ("legacy_", "ipset_"), "ebpf": ("ebpf_", of_place)}[meter.backend]
    return EVERYBODY + [name for name in dir(Neighbour) if name.startswith(prefix) and name not in EVERYBODY]


def stands(lab, backend):
    """Do counters of ours stand with a way to them?  By the system's own tools."""
    if backend == "nft":
        table = lab.sh(["nft", "list", "table", "ip", "fipmeter"], ns="r1").stdout
        return "hook prerouting" in table and f"{KNOWN} : " in table
    if backend == "ebpf":
        return pins.counts(lab, "r1", KNOWN)
    # it reads the rules, and then asks for the names of their sets: some may be gone by then
    saved = lab.sh(["iptables-legacy-save", "-t", "mangle"], ns="r1")
    rules = [line for line in saved.stdout.splitlines() if line.startswith("-A PREROUTING")]
    return saved.returncode == 0 and any("-j fipmeter" in line for line in rules) and "-j ACCEPT" not in rules[0]


def burst(lab, count=5):
    return lab.send("far", KNOWN, proto="udp", count=count, bytes=SIZE)["bytes"]


def wait_clean(meter):
    """Until a reading of after the act has found nothing amiss."""
    done = now_us()

    def clean():
        meter.sample()
        latest = [row for row in meter.coverage("r1") if not row["address"]][-1]
        return latest["state"] == "metered" and latest["end"] >= done

    wait_for(clean, "a reading that has missed nothing")


def suffer(lab, meter, neighbour, name):
    """One act, with traffic of known size before, between and after it: (sent, in the books, gaps, seconds to mend)."""
    had, were = booked(meter, KNOWN), len(gaps(meter))
    neighbour.keep()
    before = burst(lab)
    meter.sample()
    assert booked(meter, KNOWN) == had + before
    neighbour.extra = 0
    getattr(neighbour, name)()
    begun = time.monotonic()
    between = burst(lab, 3) + neighbour.extra
    if meter.backend != "nft":
        meter.signal(signal.SIGUSR1)        # its interval is over: one sample
    wait_for(lambda: stands(lab, meter.backend), f"our counters to stand after {name}")
    took = time.monotonic() - begun
    wait_clean(meter)
    mended = booked(meter, KNOWN)
    after = burst(lab)
    meter.sample()
    found, more = booked(meter, KNOWN) - had, gaps(meter)[were:]
    assert booked(meter, KNOWN) == mended + after, f"{name}: not mended"
    assert found <= before + between + after, f"{name}: too much"
    assert found >= before + after, f"{name}: what was counted before is lost"
    assert found == before + between + after or more, f"{name}: {between} bytes missing, and no gap"
    assert more or not breaks(name, meter), f"{name}: no gap"
    check(meter)
    return before + between + after, found, len(more), took


def test_neighbours(lab, meter, backend, result):
    result.fault = "neighbours: flush, delete, zero, restore of an old save, of rules, sets and rulesets; rules before ours"
    names = acts(meter)
    if FULL:
        names = random.choices(names, k=max(0, TIMES // 2 - len(names))) + names
    random.shuffle(names)
    neighbour, took = Neighbour(lab), []
    meter.start()
    with Steady(lab, "r1", "far", FLOWING, f"ip daddr {FLOWING}", RATE) as steady:
        for name in names:
            *numbers, seconds = suffer(lab, meter, neighbour, name)
            result.add(*numbers)
            took.append(seconds)
            print(name, *numbers, f"{seconds:.3f}")
        steady.process.terminate()
        sent = json.loads(steady.process.communicate()[0])["bytes"]
    meter.sample()
    flowing = booked(meter, FLOWING)
    lost, of = sent - flowing, length_s(gaps(meter))
    result.overcounts += lost < 0
    result.note = (f"in a stream {lost} of {sent} bytes lost, in {of:.1f} s of gaps"
                   + (f"; made again after {sorted(took)[len(took) // 2]:.3f} s (median), {max(took):.2f} s (longest)"
                      if backend == "nft" else ""))
    assert 0 <= lost <= (of + 0.05 * len(gaps(meter))) * RATE * SIZE, result.note
