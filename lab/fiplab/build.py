# SPDX-License-Identifier: GPL-2.0-or-later
"""From plain data to namespaces, links, addresses and rules.

Every veth pair is made in the namespace `fabric`, where the bridges are, with its other end already in its place; then
one shell script per namespace does the rest. A router is a list of `Step`s in the order in which a real agent makes
it; `up` runs them in one go, router-add with the recorded pauses between them.
"""

from dataclasses import dataclass, field

from . import neutron, topology

FABRIC, EXT, FAR = "fabric", "ext-gw", "far"
KEEPALIVED_VIP = "169.254.0.174/24"

NO_IPV6 = "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e $f ] || echo 1 >$f; done\n"
# One value for all devices, except where Neutron sets `all`.
ROUTER_SYSCTLS = NO_IPV6 + """cd /proc/sys/net/ipv4
for d in conf/*; do echo 0 >$d/rp_filter; echo 0 >$d/arp_filter; echo 0 >$d/arp_ignore; echo 0 >$d/arp_announce; done
echo 1 >ip_forward
echo 1 >conf/all/arp_ignore
echo 2 >conf/all/arp_announce
[ ! -e ../netfilter/nf_conntrack_acct ] || echo 0 >../netfilter/nf_conntrack_acct
"""
# A redirect would make a VM go past its router.
HOST_SYSCTLS = NO_IPV6 + """cd /proc/sys/net/ipv4
for d in conf/*; do echo 0 >$d/rp_filter; echo 0 >$d/accept_redirects; echo 0 >$d/send_redirects; done
"""
# br_netfilter, where loaded, would show bridged frames to iptables.
FABRIC_SYSCTLS = NO_IPV6 + "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done\n"

# Port 9 swallows: a datagram to it provokes no ICMP error. Truth counts all IPv4 that passes eth0, by address pair.
QUIET = "table ip labquiet { chain input { type filter hook input priority 0; udp dport 9 drop; }; }\n"
TRUTH = """table ip labtruth {
  set in { type ipv4_addr . ipv4_addr; size 65535; flags dynamic; counter; }
  set out { type ipv4_addr . ipv4_addr; size 65535; flags dynamic; counter; }
  chain prerouting {
    type filter hook prerouting priority -450; iif != lo update @in { ip saddr . ip daddr counter };
  }
  chain postrouting {
    type filter hook postrouting priority 450; oif != lo update @out { ip saddr . ip daddr counter };
  }
}
"""


@dataclass
class Step:
    """A part of a router: links to make from the fabric, then a script inside. `pause`: recorded seconds before it."""
    pause: tuple
    script: str
    links: list = field(default_factory=list)


def here(command, text):
    """A shell line that feeds `text` to `command`."""
    return f"{command} <<'END'\n{text.rstrip()}\nEND\n"


def batch(lines):
    return here("ip -batch -", "\n".join(lines))


def bridge(network):
    return "brq" + topology.lab_uuid(f"network/{network}")[:11]


def _bridge_links(networks):
    lines = []
    for name in networks:
        lines.append(f"link add {bridge(name)} type bridge forward_delay 0 mcast_snooping 0")
        lines.append(f"link set {bridge(name)} up")
    return lines


def _plug(lab, tap, network, device, mac, namespace):
    """The veth pair of one device: `tap` on the bridge, `device` in its namespace."""
    return [f"link add {tap} mtu {lab.mtu} type veth peer name {device} address {mac} mtu {lab.mtu} netns {namespace}",
            f"link set {tap} master {bridge(network)} up"]


def plug_port(lab, router, port):
    return _plug(lab, port.tap, port.network, port.device, port.mac, router.namespace)


def _offloads(lab, devices):
    if lab.offloads:
        return ""
    return "".join(f"ethtool -K {device} tso off gso off gro off tx off >/dev/null\n" for device in devices)


def device_up(lab, device, lines):
    """Bring a device up, then `lines` of ip. gso_max_segs 1: TCP makes no packet that the wire would not carry."""
    gso = "" if lab.offloads else " gso_max_segs 1"
    return _offloads(lab, [device]) + batch([f"link set {device}{gso} up", *lines])


def restore(lab, text, iptables=None):
    return here(f"{iptables or lab.iptables}-restore --noflush -w 10", text)


def restore6(lab, iptables=None):
    return restore(lab, neutron.tables6(), (iptables or lab.iptables).replace("iptables", "ip6tables"))


# --- addresses of a router ---

def floating_line(router, verb, address):
    broadcast = "" if router.ha else f" brd {address}"
    return f"addr {verb} {address}/32{broadcast} dev {router.qg}"


def port_line(router, verb, port):
    broadcast = "" if router.ha else " brd +"
    return f"addr {verb} {port.address}{broadcast} dev {port.device}"


def default_line(router, verb):
    return f"route {verb} default via {router.next_hop} dev {router.qg} proto {'keepalived' if router.ha else 'static'}"


def ha_lines(router, verb):
    """What keepalived adds or takes away, in its order. Taking away, the default route goes first."""
    lines = [f"addr {verb} {KEEPALIVED_VIP} dev {router.ha_port.device}"]
    lines += [port_line(router, verb, port) for port in router.internal + [router.external]]
    lines += [floating_line(router, verb, address) for address in router.floating]
    default = [default_line(router, verb)]
    return lines + default if verb == "add" else default + lines


# --- routers ---

def _device_steps(lab, router):
    yield Step((0.12, 0.18), ROUTER_SYSCTLS + batch(["link set lo up"]))
    if router.ha:
        port = router.ha_port
        yield Step((0.1, 0.2), device_up(lab, port.device, [f"addr add {port.address} brd + dev {port.device}"]),
                   plug_port(lab, router, port))
    for port in router.internal:
        lines = [] if router.ha else [port_line(router, "add", port)]
        yield Step((0.11, 0.2), device_up(lab, port.device, lines), plug_port(lab, router, port))
    lines = [] if router.ha else [port_line(router, "add", router.external)]
    yield Step((0.1, 0.18), device_up(lab, router.qg, lines), plug_port(lab, router, router.external))
    if not router.ha:
        yield Step((0.19, 0.31), batch([default_line(router, "add")]))


def router_steps(lab, router, whole):
    """The steps that make a router. `whole`: its rules in their final state at once, not as the agent builds them."""
    yield from _device_steps(lab, router)
    rules = neutron.tables(router, lab.fixed, "all" if whole else "first")
    yield Step((0.06, 1.1), restore(lab, rules) + (restore6(lab) if lab.ipv6_rules else ""))
    floating = [floating_line(router, "add", address) for address in router.floating]
    if router.ha:
        yield Step((0.1, 0.13), batch([] if router.standby else ha_lines(router, "add")))
    elif floating:
        yield Step((0.1, 0.13), batch(floating))
    if not whole:
        yield Step((0.1, 0.5), restore(lab, neutron.tables(router, lab.fixed, "scopes")))
        yield Step((0.05, 0.09), restore(lab, neutron.tables(router, lab.fixed, "metadata")))


def build_routers(lab, routers):
    """Several routers at once, without pauses; their namespaces and bridges exist already."""
    steps = {router.namespace: list(router_steps(lab, router, whole=True)) for router in routers}
    links = [line for parts in steps.values() for step in parts for line in step.links]
    lab.inside.run(["ip", "-n", FABRIC, "-batch", "-"], input="\n".join(links) + "\n")
    lab.inside.scripts([(namespace, "".join(step.script for step in parts)) for namespace, parts in steps.items()])
    for router in routers:
        router.present = True


def build_router_slowly(lab, router):
    """One router, step by step as the agent does it."""
    add_namespaces(lab, [router.namespace])
    router.present = True
    for step in router_steps(lab, router, whole=False):
        lab.pause(*step.pause)
        if step.links:
            lab.inside.run(["ip", "-n", FABRIC, "-batch", "-"], input="\n".join(step.links) + "\n")
        lab.inside.scripts([(router.namespace, step.script)])


# --- everything else ---

def add_namespaces(lab, names):
    lab.inside.run(["ip", "-batch", "-"], input="".join(f"netns add {name}\n" for name in names))


def _vm_script(lab, vm):
    return (HOST_SYSCTLS + batch(["link set lo up"])
            + device_up(lab, "eth0", [f"addr add {vm.fixed}/{vm.prefix} brd + dev eth0",
                                      f"route add default via {vm.gateway}"])
            + here("nft -f -", QUIET + TRUTH))


def _outside_scripts(lab):
    """The gateway of the external network and the host beyond it. What nobody knows is dropped without a word."""
    extra = topology.EXTRA.prefixlen
    gateway = [f"addr add {topology.EXTERNAL_GATEWAY}/{topology.EXTERNAL.prefixlen} brd + dev eth0",
               f"addr add {topology.EXTRA_GATEWAY}/{extra} brd + dev eth0", "route add blackhole default"]
    gateway += [f"route add {prefix} via {router.gateway}" for router in lab.routers.values() if not router.snat
                for prefix in router.networks.values()]
    beyond = [f"addr add {topology.FAR}/24 brd + dev eth0", f"route add default via {topology.FAR_GATEWAY}"]
    quiet = here("nft -f -", QUIET + TRUTH)
    return [(EXT, HOST_SYSCTLS + "echo 1 >ip_forward\n" + batch(["link set lo up"]) + device_up(lab, "eth0", gateway)
             + device_up(lab, "eth1", [f"addr add {topology.FAR_GATEWAY}/24 brd + dev eth1"]) + quiet),
            (FAR, HOST_SYSCTLS + batch(["link set lo up"]) + device_up(lab, "eth0", beyond) + quiet)]


def build_vms(lab, vms):
    vms = [vm for vm in vms if vm.present]
    if not vms:
        return
    links = [line for vm in vms for line in _plug(lab, vm.tap, vm.network, "eth0", vm.mac, vm.namespace)]
    lab.inside.run(["ip", "-n", FABRIC, "-batch", "-"], input="\n".join(links) + "\n")
    lab.inside.scripts([(vm.namespace, _vm_script(lab, vm)) for vm in vms])


def build_all(lab):
    """The whole lab, as fast as it goes."""
    routers, vms = list(lab.routers.values()), list(lab.vms.values())
    names = [FABRIC, EXT, FAR] + [vm.namespace for vm in vms if vm.present] + [router.namespace for router in routers]
    add_namespaces(lab, names)
    lab.inside.scripts([(FABRIC, FABRIC_SYSCTLS)])
    networks = ["ext"] + [name for router in routers for name in router.networks]
    networks += [f"ha-{router.name}" for router in routers if router.ha]
    links = _bridge_links(networks)
    links += _plug(lab, "tap-ext-gw", "ext", "eth0", topology.lab_mac("ext-gw"), EXT)
    links.append(f"link add eth1 netns {EXT} mtu {lab.mtu} address {topology.lab_mac('ext-gw/far')} type veth "
                 f"peer name eth0 address {topology.lab_mac('far')} mtu {lab.mtu} netns {FAR}")
    lab.inside.run(["ip", "-n", FABRIC, "-batch", "-"], input="\n".join(links) + "\n")
    lab.inside.scripts(_outside_scripts(lab))
    build_vms(lab, vms)
    build_routers(lab, routers)


def build_extra(lab, routers, vms):
    """Routers that are no part of the lab's own topology, with their networks and VMs."""
    add_namespaces(lab, [router.namespace for router in routers] + [vm.namespace for vm in vms if vm.present])
    links = [line for router in routers for line in _bridge_links(router.networks)]
    lab.inside.run(["ip", "-n", FABRIC, "-batch", "-"], input="\n".join(links) + "\n")
    build_vms(lab, vms)
    build_routers(lab, routers)
