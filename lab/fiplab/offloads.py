# SPDX-License-Identifier: GPL-2.0-or-later
"""Where packets are merged and split on their way: of a veth the same as of a network card, but only if it is told so.

A lab with offloads=True passes packets on as large as they are sent. Here the ends see each packet by itself, which makes
their counts the truth, while the router's devices put together what belongs together.
"""

from . import build

NONE = ["tso", "off", "gso", "off", "gro", "off", "tx", "off", "sg", "off"]
SINGLE = ["tso", "off", "gso", "off", "tx-udp-segmentation", "off"]
# Less is on its way than a queue takes (1,000 packets): whatever the router has seen arrives.
WINDOW = "4096 65536 200000"
GATHER_NS = 200_000     # as long as a network card would gather packets for one interrupt


def ethtool(lab, who, device, *words):
    lab.run(who, ["ethtool", "-K", device, *words])


def keep_queues_short(lab, *hosts):
    """TCP sends no more at once than the lab's queues take."""
    for who in hosts:
        lab.run(who, ["sysctl", "-qw", f"net.ipv4.tcp_rmem={WINDOW}"])


def split_at_the_ends(lab, vm):
    """Who receives gets single packets, whatever was sent: the VM and the host far."""
    ethtool(lab, build.EXT, "eth1", *NONE)
    ethtool(lab, "fabric", lab.vms[vm].tap, *NONE)


def gather_at_the_router(lab, vm):
    """The senders send single packets, and the router's devices put them together."""
    router = lab.routers[lab.vms[vm].router]
    ethtool(lab, vm, "eth0", *SINGLE)
    ethtool(lab, build.EXT, "eth0", *SINGLE)
    for port in router.external, router.internal[0]:
        ethtool(lab, "fabric", port.tap, "tso", "off")  # veth spares itself the merging where the other end could split
        ethtool(lab, router.name, port.device, "gro", "on", "rx-udp-gro-forwarding", "on")
        lab.run(router.name, ["unshare", "--mount", "sh", "-ec", "mount -t sysfs sysfs /sys; "
                              f"echo {GATHER_NS} >/sys/class/net/{port.device}/gro_flush_timeout"])
