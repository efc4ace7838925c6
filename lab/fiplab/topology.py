# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands in the lab, as plain data: routers, their ports, VMs, floating IPs.

Nothing here touches the system. Names, uuids and MAC addresses are derived from the lab's own names, so that the
same lab always looks the same; `Router.draw` changes them on purpose (Neutron: a new port has a new name).
A subnet's gateway is its .1. Floating IPs lead to the name of a VM, whose fixed address the NAT rules need.
"""

import hashlib
import ipaddress
import uuid
from dataclasses import asdict, dataclass, field

EXTERNAL = ipaddress.ip_network("198.51.100.0/24")
EXTERNAL_GATEWAY = "198.51.100.1"
# Routers made in numbers (router-add) take their public addresses from here: a second subnet of the same network.
EXTRA = ipaddress.ip_network("198.18.0.0/15")
EXTRA_GATEWAY = "198.18.0.1"
EXTRA_TENANT = ipaddress.ip_network("172.16.0.0/16")
FAR = "203.0.113.9"
FAR_GATEWAY = "203.0.113.1"

_SPACE = uuid.UUID("7f1b3a52-4d0e-5c55-9a3e-0f1b2c3d4e5f")


def lab_uuid(text):
    """The uuid that `text` always gets."""
    return str(uuid.uuid5(_SPACE, text))


def lab_mac(text):
    """A MAC address in Neutron's range."""
    digest = hashlib.sha256(text.encode()).digest()
    return "fa:16:3e:%02x:%02x:%02x" % tuple(digest[:3])


@dataclass
class Port:
    """A device of a router: `kind` is qg, qr or ha; `network` names the bridge behind it."""
    kind: str
    suffix: str
    mac: str
    network: str
    address: str            # address/prefix length

    @property
    def device(self):
        return f"{self.kind}-{self.suffix}"

    @property
    def tap(self):
        return f"tap{self.suffix}"


@dataclass
class Vm:
    name: str
    router: str
    network: str
    fixed: str
    prefix: int
    gateway: str
    floating: str = None
    present: bool = True    # False: an address only, without a namespace behind it

    @property
    def namespace(self):
        return f"vm-{self.name}"

    @property
    def mac(self):
        return lab_mac(f"vm/{self.name}")

    @property
    def tap(self):
        return "tap" + lab_uuid(f"vm/{self.name}")[:11]


@dataclass
class Router:
    name: str
    gateway: str
    networks: dict                                  # network name -> prefix
    floating: dict = field(default_factory=dict)    # floating IP -> VM name, in the order of the rules
    snat: bool = True
    ha: bool = False
    standby: bool = False
    present: bool = False
    drawn: dict = field(default_factory=dict)       # port -> how often its name was drawn anew

    @property
    def uuid(self):
        return lab_uuid(f"router/{self.name}")

    @property
    def namespace(self):
        return f"qrouter-{self.uuid}"

    @property
    def subnet(self):
        """The external subnet its gateway address is of."""
        return EXTERNAL if ipaddress.ip_address(self.gateway) in EXTERNAL else EXTRA

    @property
    def next_hop(self):
        return EXTERNAL_GATEWAY if self.subnet == EXTERNAL else EXTRA_GATEWAY

    def draw(self, what="ext"):
        """Give the port to network `what` another name and MAC address from now on."""
        self.drawn[what] = self.drawn.get(what, 0) + 1

    def port(self, kind, network, address):
        text = f"port/{self.name}/{kind}/{network}/{self.drawn.get(network, 0)}"
        return Port(kind, lab_uuid(text)[:11], lab_mac(text), network, address)

    @property
    def external(self):
        return self.port("qg", "ext", f"{self.gateway}/{self.subnet.prefixlen}")

    @property
    def internal(self):
        return [self.port("qr", network, f"{ipaddress.ip_network(prefix)[1]}/{prefix.split('/')[1]}")
                for network, prefix in self.networks.items()]

    @property
    def ha_port(self):
        return self.port("ha", f"ha-{self.name}", "169.254.195.168/18") if self.ha else None

    @property
    def ports(self):
        return ([self.ha_port] if self.ha else []) + self.internal + [self.external]

    @property
    def qg(self):
        return self.external.device

    @property
    def qr(self):
        """Network name -> device name."""
        return {port.network: port.device for port in self.internal}


def _vm(name, router, network, fixed, prefix=24):
    gateway = ipaddress.ip_network(f"{fixed}/{prefix}", strict=False)[1]
    return Vm(name, router, network, fixed, prefix, str(gateway))


def standard():
    """The lab's own routers and VMs: two dicts by name."""
    routers = [
        Router("r1", "198.51.100.71", {"n1": "10.0.1.0/24", "n2": "10.0.2.0/24"},
               {"198.51.100.101": "a", "198.51.100.102": "b", "198.51.100.105": "e"}),
        # n1dup overlaps n1 of r1, as tenants' subnets do; h has the fixed address of a.
        Router("r2", "198.51.100.72", {"n3": "10.0.3.0/24", "n1dup": "10.0.1.0/24"},
               {"198.51.100.106": "f", "198.51.100.108": "h"}),
        Router("r3", "198.51.100.73", {"n4": "10.0.4.0/24"}, snat=False),
        # A tenant may choose public space for his subnet.
        Router("r4", "198.51.100.74", {"n8": "8.8.8.0/24"}, {"198.51.100.111": "k"}),
        Router("r5", "198.51.100.207", {"n5": "10.0.5.0/24"}, {"198.51.100.40": "j"}, ha=True),
    ]
    vms = [
        _vm("a", "r1", "n1", "10.0.1.11"), _vm("b", "r1", "n1", "10.0.1.12"), _vm("c", "r1", "n1", "10.0.1.13"),
        _vm("d", "r1", "n2", "10.0.2.14"), _vm("e", "r1", "n2", "10.0.2.15"),
        _vm("f", "r2", "n3", "10.0.3.16"), _vm("g", "r2", "n3", "10.0.3.17"), _vm("h", "r2", "n1dup", "10.0.1.11"),
        _vm("i", "r3", "n4", "10.0.4.21"),
        _vm("k", "r4", "n8", "8.8.8.11"), _vm("l", "r4", "n8", "8.8.8.12"),
        _vm("j", "r5", "n5", "10.0.5.20"),
    ]
    return _linked(routers, vms)


def extra(name, floating, vms, first):
    """A router with `floating` floating IPs, `vms` of them with a VM behind: (router, list of VMs).

    Its addresses are those of EXTRA from number `first` on. All such routers have the same tenant subnet, each on a
    bridge of its own."""
    network = f"n-{name}"
    router = Router(name, str(EXTRA[first]), {network: str(EXTRA_TENANT)})
    members = []
    for number in range(max(floating, vms)):
        vm = _vm(f"{name}.{number + 1}", name, network, str(EXTRA_TENANT[256 + number]), EXTRA_TENANT.prefixlen)
        vm.present = number < vms
        members.append(vm)
        if number < floating:
            vm.floating = str(EXTRA[first + 1 + number])
            router.floating[vm.floating] = vm.name
    return router, members


def _linked(routers, vms):
    by_name = {vm.name: vm for vm in vms}
    for router in routers:
        for address, vm in router.floating.items():
            by_name[vm].floating = address
    return {router.name: router for router in routers}, by_name


def to_json(routers, vms):
    return {"routers": [asdict(router) for router in routers.values()], "vms": [asdict(vm) for vm in vms.values()]}


def from_json(data):
    return ({item["name"]: Router(**item) for item in data["routers"]},
            {item["name"]: Vm(**item) for item in data["vms"]})
