# SPDX-License-Identifier: GPL-2.0-or-later
"""The class Lab: what tests and the command line use. Each method hands over to the module of its subject.

    with Lab(name="t1", flavour="legacy") as lab:
        lab.send("a", "203.0.113.9", proto="icmp", count=10, bytes=500)
        print(lab.run("r1", ["iptables-legacy-save", "-c"]))

A lab made here dies with the thread that made it; keep() lets it live on, attach() finds it again.
"""

import os
import random
import time
from contextlib import contextmanager

from . import build, changes, neutron, ns, topology, traffic
from .ns import LabError

FLAVOURS = {"nft": "iptables-nft", "legacy": "iptables-legacy"}


class Lab:
    def __init__(self, name=None, flavour="nft", routers=None, offloads=False, mtu=1500, pauses=True, ipv6_rules=True,
                 send_program=None):
        if flavour not in FLAVOURS:
            raise LabError(f"flavour {flavour}: nft or legacy")
        self.name = name or f"py{os.getpid()}"
        self.flavour = flavour
        self.offloads, self.mtu, self.pauses, self.ipv6_rules = offloads, mtu, pauses, ipv6_rules
        self.send_program = send_program
        self.routers, self.vms = topology.standard()
        if routers is not None:
            self._select(routers)
        self.inside = None
        self._extra_used = 256      # addresses of topology.EXTRA that are taken

    def _select(self, names):
        unknown = set(names) - set(self.routers)
        if unknown:
            raise LabError(f"no router {', '.join(sorted(unknown))} in the lab: {', '.join(self.routers)}")
        self.routers = {name: router for name, router in self.routers.items() if name in names}
        self.vms = {name: vm for name, vm in self.vms.items() if vm.router in names}

    # --- life ---

    def up(self):
        """Build it; what an earlier run of this name left is cleaned up first."""
        ns.need_root()
        self.down()
        ns.clean_dead()
        self.inside = ns.Inside.create(self.name)
        try:
            self._record("building")
            build.build_all(self)
            self._record("up")
        except BaseException:
            self.down()
            raise
        return self

    def down(self):
        """End everything of this name. Nothing there is fine."""
        ns.clean(self.name)
        if self.inside:
            self.inside.release()
            self.inside = None
        for router in self.routers.values():
            router.present = False

    def keep(self):
        """Let the lab outlive this process (down, or `lab down`, ends it)."""
        self.inside.keep()

    @classmethod
    def attach(cls, name):
        """The lab `name` that stands already."""
        record = ns.read_record(name)
        if not ns.alive(record) or record["state"] != "up":
            raise LabError(f"lab {name} is not up (lab up --name {name})")
        lab = cls(name, record["flavour"], **record["options"])
        lab.routers, lab.vms = topology.from_json(record)
        lab._extra_used = record["extra_used"]
        lab.inside = ns.Inside(name, record["run"], record["holder"]["pid"])
        return lab

    def __enter__(self):
        return self.up()

    def __exit__(self, *exception):
        self.down()

    def _record(self, state="up"):
        options = {"offloads": self.offloads, "mtu": self.mtu, "ipv6_rules": self.ipv6_rules,
                   "send_program": self.send_program}
        ns.write_record(self.name, {"state": state, "run": self.inside.run_id, "flavour": self.flavour,
                                    "options": options, "extra_used": self._extra_used,
                                    "holder": {"pid": self.inside.pid, "start": self.inside.start},
                                    **topology.to_json(self.routers, self.vms)})

    # --- names ---

    @property
    def iptables(self):
        return FLAVOURS[self.flavour]

    @property
    def iptables_save(self):
        return f"{self.iptables}-save"

    @property
    def iptables_restore(self):
        return f"{self.iptables}-restore"

    def fixed(self, vm):
        return self.vms[vm].fixed

    def namespace(self, who):
        """The namespace of a lab name: a router, a VM, ext, far, fabric, or a namespace as it is."""
        if who is None:
            return None
        if who in self.routers:
            return self.routers[who].namespace
        if who in self.vms:
            return self.vms[who].namespace
        if who == "ext":
            return build.EXT
        if who in (build.EXT, build.FAR, build.FABRIC) or who.startswith(("qrouter-", "vm-")):
            return who
        raise LabError(f"{who}: no router, VM, ext, far or fabric of lab {self.name}")

    # --- commands ---

    def run(self, who, argv, input=None, **options):
        """Run `argv` in a namespace of the lab (None: the machine's); its standard output. Raises if it fails."""
        return self.inside.run(argv, self.namespace(who), input, **options)

    def sh(self, argv, ns=None, **options):
        """Run `argv` where an agent would: the lab's mount namespace. A CompletedProcess, whatever the status."""
        return self.inside.call(argv, self.namespace(ns), **options)

    def popen(self, argv, ns=None, **options):
        """Start `argv` in the background; it dies with the thread that started it."""
        return self.inside.popen(argv, self.namespace(ns), **options)

    def pause(self, shortest, longest):
        if self.pauses:
            time.sleep(random.uniform(shortest, longest))

    @contextmanager
    def _change(self, pause):
        """Around a change: pause=0 leaves the recorded pauses out; afterwards the record is true again."""
        before = self.pauses
        self.pauses = before and pause != 0
        try:
            yield
        finally:
            self.pauses = before
            if self.inside:
                self._record()

    # --- changes ---

    def associate(self, floating, vm, pause=None):
        with self._change(pause):
            changes.associate(self, floating, vm)

    def disassociate(self, floating, pause=None):
        with self._change(pause):
            changes.disassociate(self, floating)

    def move(self, floating, vm, pause=None):
        with self._change(pause):
            changes.move(self, floating, vm)

    def gateway_change(self, router, address, pause=None):
        with self._change(pause):
            changes.gateway_change(self, router, address)

    def standby(self, router, flood=True):
        with self._change(None):
            changes.standby(self, router, flood)

    def master(self, router):
        with self._change(None):
            changes.master(self, router)

    def agent_restart(self, router, pause=None):
        with self._change(pause):
            changes.agent_restart(self, router)

    def router_delete(self, router, pause=None):
        with self._change(pause):
            changes.router_delete(self, router)

    def router_drop(self, router, pause=None):
        with self._change(pause):
            changes.router_drop(self, router)

    def router_add(self, name, floating=0, vms=0, pause=None, redraw=False):
        """Bring back a router that is gone, step by step; or make a new one with floating IPs (`vms` of them real).

        redraw=True: a router that comes back has new device names."""
        if name not in self.routers:
            return self.routers_add([name], floating, vms)[0]
        with self._change(pause):
            router = self.routers[name]
            for network in ["ext", *router.networks] if redraw else []:
                router.draw(network)
            changes.router_back(self, name)
        return router

    def routers_add(self, names, floating=0, vms=0):
        """Make many new routers at once, each with `floating` floating IPs, `vms` of them with a VM behind.

        The external network is one Linux bridge: 1,000 routers, no more."""
        known = set(names) & set(self.routers)
        if known:
            raise LabError(f"there is a router {sorted(known)[0]} already")
        with self._change(None):
            routers, members = [], []
            for name in names:
                router, its_vms = topology.extra(name, floating, vms, self._extra_used)
                self._extra_used += 1 + floating
                self.routers[name] = router
                self.vms.update({vm.name: vm for vm in its_vms})
                routers.append(router)
                members += its_vms
            build.build_extra(self, routers, members)
        return routers

    def write_rules(self, router, flavour):
        """Write the router's rules in the other flavour as well: what a switch of the agent's iptables leaves."""
        router = self.routers[router]
        text = neutron.tables(router, self.fixed)
        self.inside.run([f"{FLAVOURS[flavour]}-restore", "--noflush", "-w", "10"], router.namespace, input=text)

    def rules(self, router, flavour=None):
        """The router's rules without counters and names of chance, to hold against others (neutron.normalise)."""
        return neutron.normalise(self.run(router, [f"{FLAVOURS[flavour or self.flavour]}-save"]))

    # --- traffic ---

    def send(self, who, to, **options):
        return traffic.send(self, who, to, **options)

    def tcp(self, who, to, **options):
        return traffic.tcp(self, who, to, **options)

    def iperf(self, who, to, server, arguments=()):
        return traffic.iperf(self, who, to, server, arguments)

    def truth(self, who, direction=None):
        return traffic.truth(self, who, direction)

    def truth_add(self, who):
        traffic.truth_add(self, who)

    def truth_zero(self, who):
        traffic.truth_zero(self, who)
