# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic of known size, and the lab's own count of it.

send() runs the C sender, tcp() one connection with an exact payload, iperf() a load. truth() reads the nft table
`labtruth`, which counts every IPv4 packet on eth0 of a VM or an outside host as the device sees it: independent of
any meter in the routers, and the word on what TCP really sent.
"""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path

from . import build
from .ns import PYTHON, RECORDS, LabError

_ports = itertools.count(20000)


def sender(lab):
    """The program of send.c: as named, as meson built it, or compiled here for this lab."""
    named = lab.send_program or os.environ.get("FIPLAB_SEND")
    if named:
        return str(Path(named).resolve())
    root = Path(__file__).resolve().parents[2]
    source, built = root / "lab/send.c", root / "build/lab/send"
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return str(built)
    own = RECORDS / lab.name / "send"
    if not own.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise LabError(f"{built} is missing or old and there is no C compiler: build it with meson")
        subprocess.run([compiler, "-std=gnu11", "-O2", "-o", own, source], check=True)
    return str(own)


def send(lab, who, to, proto="icmp", count=1, bytes=100, source=None, rate=None, port=9, wait_ms=1000):
    """Send `count` IP packets of `bytes` bytes from the namespace `who`; returns what the sender says."""
    argv = [sender(lab), proto, "--to", to, "--count", count, "--bytes", bytes, "--port", port, "--wait", wait_ms]
    argv += ["--from", source] if source else []
    argv += ["--rate", rate] if rate else []
    return json.loads(lab.run(who, argv))


def tcp(lab, who, to, server="far", bytes=1_000_000, reverse=False, port=None):
    """Carry exactly `bytes` from `who` to the address `to`, where `server` listens (reverse: back). Returns `bytes`."""
    port = port or next(_ports)
    script = [PYTHON, "-I", Path(__file__).with_name("tcp_peer.py")]
    roles = ("send", "take") if reverse else ("take", "send")
    listening = lab.popen([*script, "serve", "0.0.0.0", port, roles[0], bytes], ns=server, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with listening:
        try:
            if listening.stdout.readline() != "ready\n":
                raise LabError(f"{server}: no listener on port {port}: {listening.communicate()[1].strip()}")
            called = lab.run(who, [*script, "call", to, port, roles[1], bytes])
            output, errors = listening.communicate(timeout=60)
        finally:
            listening.kill()
    if listening.returncode or int(called) != bytes or int(output) != bytes:
        raise LabError(f"tcp {who} -> {to}: {called.strip()} and {output.strip()} of {bytes} bytes {errors.strip()}")
    return bytes


def iperf(lab, who, to, server, arguments=()):
    """An iperf3 run from `who` to the address `to`; returns its report as data."""
    port = next(_ports)
    listening = lab.popen(["iperf3", "-s", "-1", "-p", port, "--forceflush"], ns=server, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with listening:
        try:
            for line in listening.stdout:
                if "listening" in line:
                    break
            else:
                raise LabError(f"{server}: iperf3 does not listen")
            return json.loads(lab.run(who, ["iperf3", "-J", "-c", to, "-p", port, *arguments]))
        finally:
            listening.kill()


def truth(lab, who, direction=None):
    """{(source, destination): (packets, bytes)} of all IPv4 on eth0 of `who` since it was made.

    `direction` "in" or "out" for one side only. Fragments count in pieces coming in and whole going out."""
    found = {}
    for name in [direction] if direction else ["in", "out"]:
        data = json.loads(lab.run(who, ["nft", "-j", "list", "set", "ip", "labtruth", name]))
        for item in data["nftables"]:
            for element in item.get("set", {}).get("elem", []):
                value, counter = element["elem"]["val"], element["elem"]["counter"]
                key = tuple(value["concat"])
                before = found.get(key, (0, 0))
                found[key] = (before[0] + counter["packets"], before[1] + counter["bytes"])
    return found


def truth_add(lab, who):
    """Count in a namespace that has no such table. Routers have none by themselves: they look like Neutron's."""
    lab.run(who, ["nft", "-f", "-"], input=build.TRUTH)


def truth_zero(lab, who):
    """Begin anew: both sets of `who` are emptied."""
    lab.run(who, ["nft", "-f", "-"], input="flush set ip labtruth in\nflush set ip labtruth out\n")
