# SPDX-License-Identifier: GPL-2.0-or-later
"""A flow: who calls whom, and on whose bill each packet there and back is. `carry` sends it and says how much it was.

ICMP and UDP are of known size by themselves. TCP is known by the lab's own count at both ends of it.
"""

import json
import subprocess
from dataclasses import dataclass, field

from fiplab import traffic
from metering import wait_for

ICMP = {"count": 10, "bytes": 500}
UDP = {"count": 20, "bytes": 1400}
TCP_PAYLOAD = 100_000
STEADY = {"count": 4000, "bytes": 100, "rate": 2000}     # two seconds


@dataclass
class Flow:
    name: str
    who: str
    to: str
    server: str = None      # the VM (or far, ext) behind `to`; None: nobody there answers TCP
    there: list = field(default_factory=list)   # (account, class, direction): what a packet of the caller is counted as
    back: list = field(default_factory=list)    # the same for a packet of the answer
    echo: bool = True       # ICMP is answered (by the server, or by a router whose own packets are not counted)

    quiet: bool = True      # UDP meets a drop, or an error that nobody pays for

    @property
    def protocols(self):
        return ["icmp"] + ["udp"] * self.quiet + ["tcp"] * bool(self.server)


def carry(lab, flow, protocol):
    """Send the flow; ((packets, bytes) there, (packets, bytes) back)."""
    ends = [end for end in (flow.who, flow.server) if end]
    for end in ends:
        lab.truth_zero(end)
    sent = {"icmp": _icmp, "udp": _udp, "tcp": _tcp}[protocol](lab, flow)
    if len(ends) == 2:
        wait_for(lambda: _arrived(lab, *ends), f"the last packet of {flow.name} to arrive")
    return sent if sent else _measured(lab, flow)


def _icmp(lab, flow):
    done = lab.send(flow.who, flow.to, proto="icmp", wait_ms=1000 if flow.echo else 20, **ICMP)
    assert done["replies"] == (ICMP["count"] if flow.echo else 0), done
    there = ICMP["count"], done["bytes"]
    return there, there if flow.echo else (0, 0)


def _udp(lab, flow):
    return (UDP["count"], lab.send(flow.who, flow.to, proto="udp", **UDP)["bytes"]), (0, 0)


def _tcp(lab, flow):
    lab.tcp(flow.who, flow.to, server=flow.server, bytes=TCP_PAYLOAD)


def _total(table):
    return sum(packets for packets, _ in table.values()), sum(size for _, size in table.values())


def _arrived(lab, client, server):
    """All that one end has sent the other has got."""
    if client == server:
        return _total(lab.truth(client, "out")) == _total(lab.truth(client, "in"))
    return (_total(lab.truth(client, "out")) == _total(lab.truth(server, "in"))
            and _total(lab.truth(server, "out")) == _total(lab.truth(client, "in")))


def _measured(lab, flow):
    """By the caller's own count: a VM that calls itself has sent both halves."""
    return (_total(lab.truth(flow.who, "out")),
            (0, 0) if flow.who == flow.server else _total(lab.truth(flow.who, "in")))


def beside_traffic(lab, protocol, to, change, at_least):
    """change(0), change(1), ... while packets run from far to the address `to`, one stream after the other until there
    were `at_least` changes. How many packets were sent, and for ICMP answered."""
    changes = sent = 0
    argv = [traffic.sender(lab), protocol, "--to", to]
    argv += [word for name, value in STEADY.items() for word in (f"--{name}", value)]
    while changes < at_least:
        stream = lab.popen(argv, ns="far", text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with stream:
            try:
                while stream.poll() is None:
                    change(changes)
                    changes += 1
                output, errors = stream.communicate()
            finally:
                stream.kill()
        assert stream.returncode == 0, errors
        said = json.loads(output)
        assert protocol != "icmp" or said["replies"] == STEADY["count"], said
        sent += said["sent"]
    return sent
