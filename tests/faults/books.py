# SPDX-License-Identifier: GPL-2.0-or-later
"""What must be true of the books after every fault, read past the program."""


def gaps(meter, router=None):
    """The gaps on record, of one router of the lab if named."""
    return [row for row in meter.coverage(router) if row["state"] == "gap"]


def check(meter):
    """`audit` finds nothing; no row is there twice, overlaps another of its meter or ends before it begins; no counter
    has two open meters."""
    meter.audit()
    rows = meter.query("SELECT * FROM usage ORDER BY meter, start, seq")
    for one, two in zip(rows, rows[1:]):
        assert one["meter"] != two["meter"] or one["end"] <= two["start"], f"rows overlap: {one} {two}"
    for row in rows:
        assert row["start"] <= row["end"] and min(row[f"{way}_{what}"] for way in ("in", "out")
                                                  for what in ("bytes", "packets")) >= 0, row
    twice = meter.query("SELECT generation, kind, address, class FROM meter WHERE closed_us = 0 GROUP BY 1, 2, 3, 4 "
                        "HAVING count(*) > 1")
    assert not twice, twice


def total(rows, way=None):
    """Bytes of usage rows: in, out, or both."""
    return sum((row["in_bytes"] if way != "out" else 0) + (row["out_bytes"] if way != "in" else 0) for row in rows)


def booked(meter, *addresses, router=None, way=None):
    """Bytes in the books for these addresses, as sqlite3 alone adds them up."""
    marks = ",".join("?" * len(addresses))
    where = f"address IN ({marks})" + (" AND router = ?" if router else "")
    values = [*addresses, *([meter.lab.routers[router].uuid] if router else [])]
    sums = meter.query(f"SELECT ifnull(sum(in_bytes), 0) AS ins, ifnull(sum(out_bytes), 0) AS outs FROM usage "
                       f"WHERE {where}", *values)
    return sum((row["ins"] if way != "out" else 0) + (row["outs"] if way != "in" else 0) for row in sums)


def length_s(coverage):
    """Seconds that coverage rows span together."""
    return sum(row["end"] - row["start"] for row in coverage) / 1e6
