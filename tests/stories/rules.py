# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands in a router's kernel tables, as the system's own tools print it, without what traffic changes."""

import re

LISTINGS = [["iptables-nft-save"], ["iptables-legacy-save"], ["ip6tables-nft-save"], ["ip6tables-legacy-save"],
            ["nft", "list", "ruleset"], ["ipset", "list"], ["cat", "/proc/net/ip_tables_names"],
            ["cat", "/proc/net/ip6_tables_names"], ["tc", "qdisc", "show"], ["ip", "-d", "link"], ["ip", "route"],
            ["find", "/sys/fs/bpf", "-path", "*fipmeter*"]]


def _without_counters(text):
    text = re.sub(r"\[\d+:\d+\]", "[]", text)
    text = re.sub(r"packets \d+ bytes \d+", "packets bytes", text)
    return [line for line in text.splitlines() if not line.startswith("# ")]


def listings(lab, router):
    """{command: lines}; a legacy table that is looked at is made by that, so only what is there is asked for."""
    found = {}
    for argv in LISTINGS:
        done = lab.sh(argv, ns=router)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        found[" ".join(argv)] = _without_counters(done.stdout)
    return found


def all_listings(lab):
    return {router.name: listings(lab, router.name) for router in lab.routers.values() if router.present}
