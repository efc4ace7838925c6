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
        self._make(lab, router, f"""
            counter seen {{ }}
            chain entry {{
                type filter hook prerouting priority -400;
                {match} counter name seen
            }}
            """)

    def _make(self, lab, router, content):
        self.lab, self.router, self.table = lab, router, f"witness{next(_numbers)}"
        lab.run(router, ["nft", "-f", "-"], input=f"table ip {self.table} {{ {content} }}")

    def _counters(self):
        listing = json.loads(self.lab.run(self.router, ["nft", "-j", "list", "counters", "table", "ip", self.table]))
        counters = [item["counter"] for item in listing["nftables"] if "counter" in item]
        return {each["name"]: (each["packets"], each["bytes"]) for each in counters}

    def counts(self):
        """(packets, bytes) since it was made."""
        return self._counters()["seen"]

    def packets(self):
        return self.counts()[0]


class ServedWitness(Witness):
    """Counts what comes for an address while the router serves it, which is asked before all of our hooks and again behind
    them: when the address comes or goes a packet may be between the two, and then either is right for us."""

    MARK = "0x100"      # none of Neutron's

    def __init__(self, lab, router, address):
        self._make(lab, router, f"""
            counter before {{ }}
            counter both {{ }}
            counter behind {{ }}
            chain first {{
                type filter hook prerouting priority -460;
                ip daddr {address} fib daddr type local meta mark set meta mark | {self.MARK} counter name before
            }}
            chain second {{
                type filter hook prerouting priority -140;
                ip daddr {address} meta mark & {self.MARK} == 0 fib daddr type local counter name behind
                ip daddr {address} meta mark & {self.MARK} != 0 fib daddr type local counter name both
                ip daddr {address} meta mark set meta mark & {~int(self.MARK, 16) & 0xffffffff:#x}
            }}
            """)

    def counts(self):
        return self._counters()["before"]

    def agrees(self, packets):
        """Could that have been counted?  All that both have seen, and nothing that neither has."""
        counters = {name: each[0] for name, each in self._counters().items()}
        return counters["both"] <= packets <= counters["before"] + counters["behind"]


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
