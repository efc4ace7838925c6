# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is billed: the accounts of the lab, and what the rows of a meter must come to.

An account is (router, kind, address); a line of a bill is an account and a class. Counts are
(in_packets, in_bytes, out_packets, out_bytes), seen from the public address.
"""

from collections import defaultdict

import pytest

FAR = "203.0.113.9"             # beyond the external subnet: class internet
EXT = "198.51.100.1"            # on the external subnet: class cloud
METADATA = "169.254.169.254"    # class free
NOTHING = (0, 0, 0, 0)

FIP = {"a": "198.51.100.101", "b": "198.51.100.102", "e": "198.51.100.105", "f": "198.51.100.106",
       "h": "198.51.100.108", "k": "198.51.100.111", "j": "198.51.100.40"}
HOME = {"a": "r1", "b": "r1", "e": "r1", "f": "r2", "h": "r2", "k": "r4", "j": "r5"}
GATEWAY = {"r1": "198.51.100.71", "r2": "198.51.100.72", "r4": "198.51.100.74", "r5": "198.51.100.207"}


def floating(vm):
    """The account of a VM's floating IP, as the lab has it at first."""
    return HOME[vm], "floating", FIP[vm]


def gateway(router):
    return router, "gateway", GATEWAY[router]


def unattributed(router):
    return router, "unattributed", ""


class Bill:
    """What should have been counted: add to it as traffic is sent."""

    def __init__(self):
        self.lines = defaultdict(lambda: list(NOTHING))

    def add(self, hits, packets, size):
        """hits: (account, class, "in" or "out") each; size: bytes of all the packets together."""
        for account, class_name, direction in hits:
            line = self.lines[(*account, class_name)]
            at = 0 if direction == "in" else 2
            line[at] += packets
            line[at + 1] += size
        return self


def totals(lab, rows):
    """{(router, kind, address, class): counts} of usage rows, routers by their names in the lab."""
    names = {router.uuid: router.name for router in lab.routers.values()}
    found = defaultdict(lambda: list(NOTHING))
    for row in rows:
        line = found[names.get(row["router"], row["router"]), row["kind"], row["address"], row["class"]]
        for at, column in enumerate(("in_packets", "in_bytes", "out_packets", "out_bytes")):
            line[at] += row[column]
    return {key: tuple(counts) for key, counts in found.items() if any(counts)}


def expect(lab, rows, wanted):
    """All rows together come to exactly this and to nothing else. wanted: a Bill, or a dict of lines."""
    wanted = wanted.lines if isinstance(wanted, Bill) else wanted
    wanted = {key: tuple(counts) for key, counts in wanted.items() if any(counts)}
    found = totals(lab, rows)
    if found != wanted:
        pytest.fail(_difference(wanted, found), pytrace=False)


def _difference(wanted, found):
    lines = ["counted                                             in_packets in_bytes out_packets out_bytes"]
    for key in sorted(set(wanted) | set(found)):
        mine, its = wanted.get(key, NOTHING), found.get(key, NOTHING)
        name = " ".join(key)
        lines.append(f"{'  ' if mine == its else '! '}{name:48} {its}"
                     + ("" if mine == its else f"  should be {mine}  difference {_minus(its, mine)}"))
    return "\n".join(lines)


def _minus(a, b):
    return tuple(x - y for x, y in zip(a, b))


def counts_of(row):
    return row["in_packets"], row["in_bytes"], row["out_packets"], row["out_bytes"]
