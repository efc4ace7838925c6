# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that runs while something happens, and a count of it that is not ours."""

import itertools
import json
import subprocess
from contextlib import contextmanager

from fiplab import traffic

_numbers = itertools.count(1)


class Witness:
    """Counts what enters a router and fits `match` (of nft), before everything else there, as long as the router stands."""

    def __init__(self, lab, router, match):
        self.lab, self.router, self.table = lab, router, f"witness{next(_numbers)}"
        lab.run(router, ["nft", "-f", "-"], input=f"""
            table ip {self.table} {{
                counter seen {{ }}
                chain entry {{
                    type filter hook prerouting priority -400;
                    {match} counter name seen
                }}
            }}
            """)

    def counts(self):
        """(packets, bytes) since it was made."""
        listing = json.loads(self.lab.run(self.router, ["nft", "-j", "list", "counters", "table", "ip", self.table]))
        seen = next(item["counter"] for item in listing["nftables"] if "counter" in item)
        return seen["packets"], seen["bytes"]

    def packets(self):
        return self.counts()[0]


@contextmanager
def stream(lab, who, to, count, rate=1000, size=100, proto="udp"):
    """`count` packets while the block runs; it ends when the last one is sent."""
    argv = [traffic.sender(lab), proto, "--to", to, "--count", count, "--bytes", size, "--rate", rate]
    with lab.popen(argv, ns=who, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sender:
        try:
            yield
            _, errors = sender.communicate(timeout=60)
        finally:
            sender.kill()
    assert sender.returncode == 0, errors


def lead_to(lab, router, address):
    """From now on outside packets for that address go to that router, as if it had announced it already."""
    external = lab.routers[router].external
    lab.run("ext", ["ip", "neigh", "replace", address, "lladdr", external.mac, "nud", "permanent", "dev", "eth0"])
