# SPDX-License-Identifier: GPL-2.0-or-later
"""Rate limits on a router's external device, as Neutron and others make them, and what the kernel says they dropped.

The kernel's own action `police` is a module that the machine of the tests may lack; a program at the same place, in the
same filter, does the same: so many bytes a second pass, what is more is dropped.
"""

import json
from contextlib import contextmanager

RATE = "10mbit"
BURST = 20_000
GO_ON = -1  # TC_ACT_UNSPEC
POLICE = """
struct __sk_buff { unsigned int len; };
static unsigned long (*bpf_ktime_get_ns)(void) = (void *)5;
static volatile unsigned long tokens = BURST, last;

__attribute__((section("tc"), used)) int police(struct __sk_buff *skb)
{
	unsigned long now = bpf_ktime_get_ns(), all = tokens + (now - last) / 800; /* ns a byte: 10 Mb/s */

	last = now;
	tokens = all < BURST ? all : BURST;
	if (tokens < skb->len)
		return 2; /* TC_ACT_SHOT */
	tokens -= skb->len;
	return CONFORMS;
}
char licence[] __attribute__((section("license"), used)) = "GPL";
"""


def policing(directory, parent, conforms):
    """The shell lines of the filter, at Neutron's priority. conforms: what it says of a packet that passes."""
    source, built = directory / "police.c", directory / "police.o"
    source.write_text(POLICE)
    return (f"clang -O2 -target bpf -DBURST={BURST} -DCONFORMS={conforms} -c {source} -o {built}\n"
            f"tc filter add dev $D parent {parent} protocol ip prio 1 bpf direct-action obj {built} sec tc\n")


def ingress_policer(directory):
    """Neutron's floating-IP QoS, what comes in: `police … drop` ends what conforms by TC_ACT_OK, no filter behind sees it."""
    return "tc qdisc add dev $D ingress\n" + policing(directory, "ffff:", 0), "tc qdisc del dev $D ingress"


def egress_policer(directory):
    """The same, what goes out: the htb has no class, its filter polices."""
    return "tc qdisc add dev $D root handle 1: htb\n" + policing(directory, "1:", GO_ON), "tc qdisc del dev $D root"


def egress_filter(directory):
    return "tc qdisc add dev $D clsact\n" + policing(directory, "ffff:fff3", GO_ON), "tc qdisc del dev $D clsact"


def egress_htb(directory):
    return (f"tc qdisc add dev $D root handle 1: htb default 1\n"
            f"tc class add dev $D parent 1: classid 1:1 htb rate {RATE} burst {BURST}\n"
            f"tc qdisc add dev $D parent 1:1 handle 10: pfifo limit 20", "tc qdisc del dev $D root")


def egress_tbf(directory):
    return (f"tc qdisc add dev $D root tbf rate {RATE} burst {BURST} limit {2 * BURST}", "tc qdisc del dev $D root")


@contextmanager
def limited(lab, router, make, directory):
    """The limiter stands while the block runs."""
    prefix = f"D={lab.routers[router].qg}\n"
    do, undo = make(directory)
    try:
        lab.run(router, ["sh", "-ec", prefix + do])
        yield
    finally:
        lab.run(router, ["sh", "-ec", prefix + undo])


def dropped(lab, router):
    """Packets that the external device's outermost qdiscs have dropped, their filters included."""
    listed = json.loads(lab.run(router, ["tc", "-s", "-j", "qdisc", "show", "dev", lab.routers[router].qg]))
    return sum(each["drops"] for each in listed if each.get("root") or each["kind"] in ("ingress", "clsact"))
