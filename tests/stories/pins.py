# SPDX-License-Identifier: GPL-2.0-or-later
"""What the back end ebpf has pinned in a lab, read and changed by bpftool, as anybody may."""

import json
import struct

PINS = "/sys/fs/bpf/fipmeter/2"
RULE_TABLE = "table ip fipmeter_ebpf"


def cookie(lab, router):
    """The cookie of a router's namespace (SO_NETNS_COOKIE)."""
    ask = "import socket; print(int.from_bytes(socket.socket().getsockopt(socket.SOL_SOCKET, 71, 8), 'little'))"
    return int(lab.run(router, ["/usr/bin/python3", "-c", ask]))


def link_of(lab, router):
    return f"{PINS}/link-{cookie(lab, router)}"


def links(lab):
    """The names of the links that are pinned: one for each router that counts by one."""
    return {name for name in lab.sh(["ls", PINS]).stdout.split() if name.startswith("link-")}


def rules(lab):
    """The names of the routers in which a rule stands in place of a link."""
    return {name for name, router in lab.routers.items()
            if router.present and RULE_TABLE in lab.run(name, ["nft", "list", "tables"]).splitlines()}


def calling(lab, router):
    """Is there something in the router that calls the programs?"""
    return f"link-{cookie(lab, router)}" in links(lab) or router in rules(lab)


def _bytes(words):
    return bytes(int(each, 16) for each in words)


def dump(lab, name):
    """{key: value} of a map, both as bytes; of a per-CPU map {key: [value of each CPU]}. Empty if it is not there."""
    entries = json.loads(lab.sh(["bpftool", "-j", "map", "dump", "pinned", f"{PINS}/{name}"]).stdout or "[]")
    if not isinstance(entries, list):
        return {}
    return {_bytes(entry["key"]): _bytes(entry["value"]) if "value" in entry
            else [_bytes(each["value"]) for each in entry["values"]] for entry in entries}


def of_address(lab, name, address):
    """The entries of a map that have this address in their keys: at the first word, or, of prefixes, at the third."""
    wanted = bytes(int(part) for part in address.split("."))
    return {key: value for key, value in dump(lab, name).items() if wanted in (key[:4], key[8:12])}


def _change(lab, what, name, key, more=()):
    argv = ["bpftool", "map", what, "pinned", f"{PINS}/{name}", "key", *map(str, key), *more]
    done = lab.sh(argv)
    assert not done.returncode, f"{argv}: {done.stdout}{done.stderr}"


def delete(lab, name, key):
    _change(lab, "delete", name, key)


def put(lab, name, key, value):
    """value as dump() has it. Of a per-CPU map bpftool gives all CPUs the same one: an equal share of the sum, rounded down."""
    if not isinstance(value, bytes):
        sums = (sum(numbers) // len(value) for numbers in zip(*(struct.unpack("<4Q", each) for each in value)))
        value = struct.pack("<4Q", *sums)
    _change(lab, "update", name, key, ["value", *map(str, value)])


def counts(lab, router, address):
    """Does the program count for this floating IP in this router?"""
    key = cookie(lab, router).to_bytes(8, "little")
    found = dump(lab, "routers").get(key)
    if not found or not calling(lab, router) or not (dump(lab, "programs") or dump(lab, "programs_rule")):
        return False
    slot, table = found[12:14], int.from_bytes(found[16:20], "little")
    return table != 0 and all(any(each[4:6] == slot for each in of_address(lab, name, address))
                              for name in ("addresses", "counters"))
