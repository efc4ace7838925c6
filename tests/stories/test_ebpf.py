# SPDX-License-Identifier: GPL-2.0-or-later
"""What is peculiar to the back end ebpf: counters that outlive a namespace and an agent, pins, and maps that can be full;
whether a link calls its programs or, as on kernels that have none, a rule.
"""

import signal
import struct
import subprocess

import pins
import pytest
from accounts import FAR, FIP, GATEWAY, expect, floating
from metering import wait_for
from pins import PINS, cookie, links
from test_backends import packets, standing
from witness import Witness, lead_to, stream

A, F = floating("a"), floating("f")
ADDRESSES = 1 << 18  # as many as the map takes: bpf/meter.h

pytestmark = [pytest.mark.own_lab("r1", "r2"), pytest.mark.parametrize("backend", ["ebpf", "ebpf-rule"], indirect=True),
              pytest.mark.parametrize("flavour", ["nft"], indirect=True)]


def gaps(meter, router):
    return [row["reason"] for row in meter.coverage(router) if row["state"] == "gap"]


# --- namespaces ---

def called(lab, place):
    """How many routers count."""
    return len(pins.rules(lab) if place == "rule" else links(lab))


def test_a_router_that_goes_while_no_agent_runs_has_its_last_reading(lab, meter, place):
    """A pinned link holds the namespace; the next agent reads the counters, and lets it go."""
    meter.start()
    lab.send("far", FIP["f"], proto="udp", count=3, bytes=100)
    meter.sample()
    meter.kill()
    lab.send("far", FIP["f"], proto="udp", count=4, bytes=100)
    lab.router_drop("r2")
    assert called(lab, place) == (1 if place == "rule" else 2)
    meter.start()
    expect(lab, meter.usage(), {(*F, "internet"): (7, 700, 0, 0)})
    assert not gaps(meter, "r2") and called(lab, place) == 1
    assert not meter.query("SELECT 1 FROM meter WHERE closed_us = 0 AND address = ?", FIP["f"])


def test_a_router_that_comes_back_under_its_name_is_another_one(lab, meter, place):
    meter.start()
    lab.send("far", FIP["f"], proto="udp", count=3, bytes=100)
    meter.kill()
    lab.router_drop("r2")
    lab.router_add("r2", redraw=True)
    lab.send("far", FIP["f"], proto="udp", count=4, bytes=100)  # nobody counts in the new one yet
    meter.start()
    assert gaps(meter, "r2") == ["another namespace had come under the name before anybody looked"]
    lab.send("far", FIP["f"], proto="udp", count=5, bytes=100)
    meter.sample()
    expect(lab, meter.usage(), {(*F, "internet"): (8, 800, 0, 0)})
    assert called(lab, place) == 2 and all(pins.calling(lab, router) for router in ("r1", "r2"))


def test_a_router_that_is_deleted_is_let_go_at_once(lab, meter):
    """Whoever holds a namespace holds its devices: the other ends of its cables would stay."""
    meter.start()
    lab.send("far", FIP["f"], proto="udp", count=3, bytes=100)
    ends = [port.tap for port in lab.routers["r2"].ports]
    lab.sh(["ip", "netns", "del", lab.routers["r2"].namespace])
    lab.routers["r2"].present = False
    wait_for(lambda: not any(end in lab.run("fabric", ["ip", "-o", "link"]) for end in ends), "its cables to go")
    meter.sample()
    expect(lab, meter.usage(), {(*F, "internet"): (3, 300, 0, 0)})


# --- pins ---

# Deletes a counter of a's floating IP: the program has none for the packets that follow.
DELETE_ONE = f"""
import json, subprocess, sys
for entry in json.load(sys.stdin):
    at = bytes(int(each, 16) for each in entry["key"])
    if at[:4] == bytes({[int(part) for part in FIP["a"].split(".")]}):
        subprocess.run(["bpftool", "map", "delete", "pinned", "{PINS}/counters", "key", *map(str, at)], check=True)
        break
""".replace("'", '"')


def test_maps_that_somebody_unpins_are_pinned_again(lab, meter):
    meter.start()
    lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
    lab.sh(["sh", "-c", f"rm {PINS}/counters {PINS}/routers {PINS}/programs*"])
    lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
    meter.sample()
    meter.kill()
    lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
    meter.start()
    expect(lab, meter.usage(), {(*A, "internet"): (9, 900, 0, 0)})
    assert not gaps(meter, "r1")


def what_somebody_takes(lab, place):
    """Shell lines. Where a rule calls, pins can go and come back, and nothing is missing meanwhile."""
    router = lab.routers["r1"].namespace
    calls = {"rule": [f"ip netns exec {router} nft delete {pins.RULE_TABLE}",
                      f"ip netns exec {router} nft flush {pins.RULE_TABLE}",
                      f"ip netns exec {router} nft add rule ip fipmeter_ebpf prerouting counter accept"]}
    return [*calls.get(place, [f"rm {PINS}/link-{cookie(lab, 'r1')}", "rm -r /sys/fs/bpf/fipmeter", "umount -l /sys/fs/bpf"]),
            f"bpftool -j map dump pinned {PINS}/counters | /usr/bin/python3 -c '{DELETE_ONE}'"]


def test_what_somebody_takes_is_made_again_and_told(lab, meter, place):
    breaks = what_somebody_takes(lab, place)
    meter.start()
    for number, line in enumerate(breaks):
        lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
        done = lab.sh(["sh", "-ec", line])
        assert not done.returncode, done.stderr
        meter.sample()
        meter.sample()
        wait_for(lambda: standing(lab, "r1") == {"ebpf"}, f"what was made again after: {line}")
        meter.sample()
        told = packets(meter.usage_of(FIP["a"]), "in")  # with what came before, if it could still be read
        lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
        meter.sample()
        assert packets(meter.usage_of(FIP["a"]), "in") == told + 10, line
        assert len([row for row in meter.coverage("r1") if row["state"] == "gap" and not row["address"]]) > number, line
    meter.command("status")


def running(lab, place):
    """The program that counts, as the kernel numbers it."""
    number, = pins.dump(lab, f"programs{'_rule' if place == 'rule' else ''}").values()
    return int.from_bytes(number, "little")


def builds(lab):
    """Of which builds programs are pinned."""
    return {name.partition("-")[2] for name in lab.sh(["ls", PINS]).stdout.split() if name.startswith("meter_")}


def put_another_build(lab, build):
    """What is pinned is of another build now."""
    for program in "count", "hook":
        done = lab.sh(["sh", "-c", f"mv {PINS}/meter_{program}-* {PINS}/meter_{program}-{build}"])
        assert not done.returncode, done.stderr


def test_a_start_of_the_same_build_takes_up_the_program(lab, meter, place):
    meter.start()
    first, build = running(lab, place), builds(lab)
    assert len(build) == 1
    meter.kill()
    meter.start()
    assert running(lab, place) == first and builds(lab) == build


def test_a_program_that_counts_into_other_maps_is_not_taken_up(lab, meter, place):
    """Somebody has put another map into the place of one while no agent ran. What was in the old one is a gap."""
    meter.start()
    first = running(lab, place)
    meter.kill()
    lab.sh(["sh", "-ec", f"rm {PINS}/counters; bpftool map create {PINS}/counters type percpu_hash key 8 value 32 "
                         "entries 524288 name counters flags 1"])
    meter.start()
    wait_for(lambda: standing(lab, "r1") == {"ebpf"}, "counters in the new map")
    assert running(lab, place) != first
    lab.send("far", FIP["a"], proto="udp", count=5, bytes=100)
    meter.sample()
    expect(lab, meter.usage(), {(*A, "internet"): (5, 500, 0, 0)})
    assert gaps(meter, "r1")


def test_the_program_is_replaced_in_a_flood_and_no_packet_is_lost_or_counted_twice(lab, meter, place):
    """Each start of another build puts its own program into the place of the one before, in all routers by one write."""
    came = Witness(lab, "r1", f"ip daddr {FIP['a']}")
    meter.start()
    with stream(lab, "far", FIP["a"], 60_000, 20_000):
        programs = set()
        while len(programs) < 6:
            programs.add(running(lab, place))
            meter.kill()
            put_another_build(lab, len(programs))
            meter.start()
            assert len(builds(lab)) == 1
    meter.sample()
    assert packets(meter.usage_of(FIP["a"]), "in") == came.packets() == 60_000
    assert not gaps(meter, "r1")


# --- another agent on the same host ---

def test_an_agent_of_another_netns_directory_leaves_these_routers_alone(lab, meter, place, tmp_path):
    meter.once()
    lab.send("far", FIP["a"], proto="udp", count=3, bytes=100)
    other = tmp_path / "other"
    other.mkdir()
    meter.run("agent", "--once", "--backend", "ebpf", "--netns-dir", other, "--config", meter.config,
              "--state-dir", tmp_path / "state2")
    assert called(lab, place) == 2
    with lab.popen(["flock", PINS, "sh", "-c", "echo held; cat"], text=True, stdin=subprocess.PIPE,
                   stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        assert "in use by another fipmeter" in meter.once(status=1).stderr
        holder.stdin.close()
    meter.once()
    expect(lab, meter.usage(), {(*A, "internet"): (3, 300, 0, 0)})


def test_pins_of_another_version_are_named_and_left_alone(lab, meter, place):
    """They count on by maps that this one cannot read: both at once would be one more than is read."""
    other = "/sys/fs/bpf/fipmeter/999"
    lab.sh(["sh", "-ec", f"mkdir -p {other}"])
    assert f"{other} is of another version" in meter.once(status=1).stderr
    assert not lab.sh(["test", "-e", PINS]).returncode == 0
    lab.sh(["rmdir", other])
    meter.once()
    assert called(lab, place) == 2


def test_a_strangers_map_under_our_name_is_named_and_left_alone(lab, meter, place):
    """What it has is longer than ours: nothing of it may be read."""
    pin = f"{PINS}/routers"
    strange = f"bpftool map create {pin} type hash key 8 value 4096 entries 4 name strange"
    for before in f"mkdir -p {PINS}", f"rm {pin}":  # where nothing of ours is, and in the place of ours
        assert not lab.sh(["sh", "-ec", f"{before}; {strange}"]).returncode
        assert f"{pin}: what is pinned there is no map of fipmeter's" in meter.once(status=1).stderr
        assert '"strange"' in lab.sh(["bpftool", "-j", "map", "show", "pinned", pin]).stdout
        lab.sh(["rm", pin])
        meter.once()
        assert called(lab, place) == 2


# --- what is kept of the namespace's routes ---

MARK = slice(16, 24)            # in the values of bpf/meter.h
GATEWAY_MARK = slice(80, 88)


def counted(lab, address, way):
    """Packets that the kernel has counted so far, in or out."""
    found = pins.of_address(lab, "counters", address).values()
    return sum(struct.unpack("<4Q", each)[1 if way == "in" else 3] for values in found for each in values)


def is_marked(lab):
    """What the routes said of a's addresses, and of the gateway address, is kept."""
    addresses = [entries.values() for entries in (pins.of_address(lab, "addresses", lab.fixed("a")),
                                                  pins.of_address(lab, "addresses", FIP["a"]))]
    routers = pins.dump(lab, "routers")
    return all(any(any(value[MARK]) for value in values) for values in addresses) and any(
        any(value[GATEWAY_MARK]) for value in routers.values())


FLOWS = [("far", FIP["a"], FIP["a"], "in"), ("a", FAR, FIP["a"], "out"), ("far", GATEWAY["r1"], GATEWAY["r1"], "in"),
         ("c", FAR, GATEWAY["r1"], "out")]


def more(lab):
    """How many more packets count after five of each flow: {(address, way): packets}."""
    before = {flow: counted(lab, *flow[2:]) for flow in FLOWS}
    for who, to, *_ in FLOWS:
        lab.send(who, to, proto="udp", count=5, bytes=100)
    return {flow[2:]: counted(lab, *flow[2:]) - before[flow] for flow in FLOWS}


def test_what_routes_have_said_holds_until_they_change(lab, meter):
    """Not one packet longer: neither when an address goes, nor when a subnet does; and it comes back with them."""
    every = {flow[2:]: 5 for flow in FLOWS}
    meter.once()
    lead_to(lab, "r1", FIP["a"])
    lead_to(lab, "r1", GATEWAY["r1"])
    wait_for(lambda: more(lab) == every and is_marked(lab), "routes to have been as they are for a while")
    assert more(lab) == every
    router = lab.routers["r1"]
    inside = router.internal[0].device
    for verb, *what in (["addr", f"{FIP['a']}/32", "dev", router.qg], ["route", "10.0.1.0/24", "dev", inside]):
        lab.run("r1", ["ip", verb, "del", *what])
        gone = {(FIP["a"], "in"): 0} if verb == "addr" else {(FIP["a"], "out"): 0, (GATEWAY["r1"], "out"): 0}
        assert more(lab) == {**every, **gone}, what
        lab.run("r1", ["ip", verb, "add", *what])
        assert more(lab) == every, what
        wait_for(lambda: more(lab) == every and is_marked(lab), "routes to have been as they are for a while")


# --- full maps ---

FILL = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, *words):
    attr = ctypes.create_string_buffer(struct.pack(*words).ljust(128, b"\\0"))
    return libc.syscall(321, command, attr, 128), attr
path = ctypes.create_string_buffer(sys.argv[1].encode())
fd, _ = bpf(7, "<QII", ctypes.addressof(path), 0, 0)
count = int(sys.argv[2])
keys = ctypes.create_string_buffer(b"".join(struct.pack("<IHH", n, 65535, 0) for n in range(count)))
values = ctypes.create_string_buffer(24 * count)
number = {"put": 26, "drop": 27}[sys.argv[3]]
bpf(number, "<QQQQIIQQ", 0, 0, ctypes.addressof(keys), ctypes.addressof(values), count, fd, 0, 0)
"""


def test_thousands_of_floating_ips_at_once_have_counters(lab, meter):
    """More entries than the kernel has memory at hand for: it makes more when it is asked again."""
    numbers = range(5000)
    rules = [f"-A neutron-l3-agent-PREROUTING -d 198.18.{n // 250}.{n % 250 + 1}/32 -j DNAT "
             f"--to-destination 10.200.{n // 250}.{n % 250 + 1}" for n in numbers]
    lab.run("r1", [lab.iptables_restore, "--noflush", "-w", "10"], input="\n".join(["*nat", *rules, "COMMIT\n"]))
    for _ in range(3):
        meter.once()
        found = meter.query("SELECT count(DISTINCT address) AS count FROM meter WHERE closed_us = 0 AND address LIKE '198.18.%'")
        assert found[0]["count"] == len(numbers)
        meter.detach()


def test_a_map_that_is_full_is_told_and_others_go_on(lab, meter):
    meter.start()
    fill = ["/usr/bin/python3", "-c", FILL, f"{PINS}/addresses", ADDRESSES]
    assert not lab.sh([*fill, "put"]).returncode
    lab.associate("198.51.100.120", "c")
    lab.send("far", FIP["f"], proto="udp", count=5, bytes=100)
    meter.signal(signal.SIGUSR1)
    wait_for(lambda: meter.usage_of(FIP["f"]), "a sample of the other router")
    status = meter.command("status", status=4).stdout
    assert "is full" in status, status
    expect(lab, meter.usage("--router", lab.routers["r2"].uuid), {(*F, "internet"): (5, 500, 0, 0)})
    assert not lab.sh([*fill, "drop"]).returncode
    meter.sample()
    lab.send("far", "198.51.100.120", proto="udp", count=5, bytes=100)
    meter.sample()
    meter.command("status")
    assert packets(meter.usage_of("198.51.100.120"), "in") == 5
