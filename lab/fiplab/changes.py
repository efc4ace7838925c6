# SPDX-License-Identifier: GPL-2.0-or-later
"""What Neutron does to routers that stand: each function makes one change in the recorded order.

The numbers handed to lab.pause() are the shortest and longest recorded seconds between two parts of a change; a lab
made with pauses=False (or pause=0 in a call) leaves them out. Functions keep lab.routers and lab.vms true.
"""

import shutil
from pathlib import Path

from . import build, neutron, topology
from .ns import PYTHON, LabError


def _restore(lab, router, text):
    lab.inside.run([f"{lab.iptables}-restore", "--noflush", "-w", "10"], router.namespace, input=text)


def _ip(lab, namespace, lines):
    if lines:
        lab.inside.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines) + "\n")


def _announce(lab, router, device, addresses):
    if addresses:
        lab.inside.run([PYTHON, "-I", Path(__file__).with_name("announce.py"), device, *addresses], router.namespace)


def _forget_connections(lab, router, address):
    """As Neutron: entries of incoming, then of outgoing connections. Nothing to delete is no failure."""
    if shutil.which("conntrack"):
        lab.inside.call(["conntrack", "-D", "-d", address], router.namespace)
        lab.inside.call(["conntrack", "-D", "-q", address], router.namespace)


def _router_of(lab, address):
    for router in lab.routers.values():
        if address in router.floating:
            return router
    raise LabError(f"{address} is no floating IP of the lab")


def _add_address(lab, router, address):
    if not router.standby:
        _ip(lab, router.namespace, [build.floating_line(router, "add", address)])
        _announce(lab, router, router.qg, [address])


def _remove_address(lab, router, address):
    if not router.standby:
        _ip(lab, router.namespace, [build.floating_line(router, "del", address)])


def _set_owner(lab, router, address, vm, position=0):
    items = [item for item in router.floating.items() if item[0] != address]
    items.insert(position, (address, vm.name))
    router.floating = dict(items)
    vm.floating = address


def associate(lab, address, vm_name):
    vm = lab.vms[vm_name]
    router = lab.routers[vm.router]
    if any(address in other.floating for other in lab.routers.values()):
        raise LabError(f"{address} is in use, move it")
    if vm.floating:
        raise LabError(f"{vm_name} has {vm.floating}")
    _restore(lab, router, neutron.associate(address, vm.fixed))
    _set_owner(lab, router, address, vm)
    lab.pause(0.070, 0.130)
    _add_address(lab, router, address)


def disassociate(lab, address):
    router = _router_of(lab, address)
    vm = lab.vms[router.floating[address]]
    _restore(lab, router, neutron.disassociate(address, vm.fixed))
    lab.pause(0.065, 0.130)
    _remove_address(lab, router, address)
    del router.floating[address]
    vm.floating = None
    lab.pause(0.020, 0.070)
    _forget_connections(lab, router, address)


def move(lab, address, vm_name):
    """To another VM: of the same router one atomic change, of another one two agents' work that overlaps."""
    router, vm = _router_of(lab, address), lab.vms[vm_name]
    before = lab.vms[router.floating[address]]
    if vm.floating:
        raise LabError(f"{vm_name} has {vm.floating}")
    if vm.router == router.name:
        position = list(router.floating).index(address)
        _restore(lab, router, neutron.move(address, position, before.fixed, vm.fixed))
        before.floating = None
        _set_owner(lab, router, address, vm, position)
    else:
        _move_away(lab, address, router, before, lab.routers[vm.router], vm)


def _move_away(lab, address, old, before, new, vm):
    _restore(lab, old, neutron.disassociate(address, before.fixed))
    lab.pause(0.002, 0.070)
    _restore(lab, new, neutron.associate(address, vm.fixed))
    lab.pause(0.024, 0.110)
    _remove_address(lab, old, address)
    del old.floating[address]
    before.floating = None
    _set_owner(lab, new, address, vm)
    lab.pause(0.040, 0.070)
    _add_address(lab, new, address)
    _forget_connections(lab, old, address)


def gateway_change(lab, name, address):
    """A new gateway port: for 0.9 s two qg- devices, and rules that name the old one until later still."""
    router = lab.routers[name]
    if router.ha:
        raise LabError(f"{name} is an HA router: no gateway change in the lab")
    old = router.external
    old_gateway = router.gateway
    router.draw()
    router.gateway = address
    new = router.external
    _ip(lab, build.FABRIC, build.plug_port(lab, router, new))
    lab.pause(0.05, 0.14)
    lab.inside.scripts([(router.namespace, build.device_up(lab, new.device, [build.port_line(router, "add", new)]))])
    lab.pause(0.25, 0.31)
    _ip(lab, router.namespace, [build.default_line(router, "replace")])
    _announce(lab, router, router.qg, [address])
    lab.pause(0.30, 0.33)
    _ip(lab, router.namespace, [f"link del {old.device}"])
    if not router.snat:
        _ip(lab, build.EXT, [f"route replace {prefix} via {address}" for prefix in router.networks.values()])
    lab.pause(0.06, 1.8)
    _restore(lab, router, neutron.gateway_replaced(router, (old_gateway, old.device), (address, new.device)))
    _ip(lab, router.namespace, [build.floating_line(router, "add", floating) for floating in router.floating])
    _announce(lab, router, router.qg, list(router.floating))
    lab.pause(0.06, 1.2)
    _restore(lab, router, neutron.scope_changed(router, [old.device], [new.device]))


def agent_restart(lab, name):
    """The l3-agent starts anew: nat rules of floating IPs stay, scope and metadata rules go for a while."""
    router = lab.routers[name]
    _restore(lab, router, neutron.restarted(router, "-D"))
    lab.pause(1.0, 3.4)
    _restore(lab, router, neutron.restarted(router, "-A"))


def router_delete(lab, name):
    """In order, as the API asks for it: floating IPs, gateway, subnets, then the namespace. Its VMs stay."""
    router = lab.routers[name]
    restored = dict(router.floating)
    for address in restored:
        disassociate(lab, address)
        lab.pause(0.05, 0.2)
    if not router.standby:
        _ip(lab, router.namespace, [build.port_line(router, "del", router.external)])
    lab.pause(0.055, 0.080)
    _ip(lab, router.namespace, [f"link del {router.qg}"])
    lab.pause(0.075, 0.095)
    _restore(lab, router, neutron.gateway_removed(router, router.gateway, router.qg))
    lab.pause(0.020, 0.055)
    _restore(lab, router, neutron.scope_changed(router, removed=[router.qg]))
    lab.pause(0.19, 0.44)
    devices = [port.device for port in router.internal] + ([router.ha_port.device] if router.ha else [])
    _ip(lab, router.namespace, [f"link del {device}" for device in devices])
    lab.pause(0.09, 0.11)
    _restore(lab, router, neutron.internal_removed(router))
    lab.pause(0.065, 0.115)
    _unlink(lab, router)
    for address, vm in restored.items():        # what router_add of the same name brings back
        router.floating[address] = vm
        lab.vms[vm].floating = address


def router_drop(lab, name):
    """Set down, unscheduled or cleaned up: no rule is removed, the devices go, then the file."""
    router = lab.routers[name]
    for port in router.internal:
        _ip(lab, router.namespace, [f"link del {port.device}"])
    lab.pause(0.078, 0.082)
    if not router.standby:
        _ip(lab, router.namespace, [build.port_line(router, "del", router.external)])
    lab.pause(0.060, 0.065)
    _ip(lab, router.namespace, [f"link del {router.qg}"])
    if router.ha:
        _ip(lab, router.namespace, [f"link del {router.ha_port.device}"])
    lab.pause(0.150, 0.170)
    _unlink(lab, router)


def _unlink(lab, router):
    lab.inside.run(["ip", "netns", "del", router.namespace])
    router.present = False


def router_back(lab, name):
    """A router that was deleted or dropped comes back: same names, everything else new."""
    router = lab.routers[name]
    if router.present:
        raise LabError(f"{name} stands already")
    build.build_router_slowly(lab, router)
    if not router.standby:
        for port in router.internal:
            _announce(lab, router, port.device, [port.address.split("/")[0]])
        _announce(lab, router, router.qg, [router.gateway, *router.floating])


def standby(lab, name, flood=True):
    """The HA router gives its addresses away. `flood`: its neighbours go on sending to its devices, as through a
    switch that floods."""
    router = _ha_router(lab, name)
    if router.standby:
        return
    if flood:
        _neighbours(lab, router, "replace")
    _ip(lab, router.namespace, [f"link set {router.ha_port.device} down", *build.ha_lines(router, "del")])
    router.standby = True


def master(lab, name):
    """Becoming master: keepalived's own wait of 6.8 s is left out, the addresses come within a millisecond."""
    router = _ha_router(lab, name)
    if not router.standby:
        return
    _ip(lab, router.namespace, [f"link set {router.ha_port.device} up", *build.ha_lines(router, "add")])
    router.standby = False
    _neighbours(lab, router, "del")


def _ha_router(lab, name):
    router = lab.routers[name]
    if not router.ha:
        raise LabError(f"{name} is no HA router")
    return router


def _neighbours(lab, router, verb):
    """Permanent neighbour entries that lead to this router, in its VMs, the other routers and the external gateway."""
    def line(address, mac, device):
        fixed = f" lladdr {mac} nud permanent" if verb == "replace" else ""
        return f"neigh {verb} {address}{fixed} dev {device}"

    def outside(device):
        return [line(address, router.external.mac, device) for address in [router.gateway, *router.floating]]

    jobs = [(build.EXT, outside("eth0"))]
    jobs += [(other.namespace, outside(other.qg)) for other in lab.routers.values()
             if other is not router and other.present and other.name in topology.standard()[0]]
    ports = {port.network: port for port in router.internal}
    jobs += [(vm.namespace, [line(vm.gateway, ports[vm.network].mac, "eth0")])
             for vm in lab.vms.values() if vm.router == router.name and vm.present]
    for namespace, lines in jobs:
        # An entry may be gone already, with its device.
        lab.inside.call(["ip", "-n", namespace, "-force", "-batch", "-"], input="\n".join(lines) + "\n")
