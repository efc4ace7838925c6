# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of the lab: one function a command, thin over the class Lab."""

import argparse
import json
import os
import signal
import sys

from . import ns
from .lab import FLAVOURS, Lab
from .ns import LabError

EXAMPLES = """examples:
  lab up                                     all routers, rules in nf_tables
  lab up --name old --flavour legacy --routers r1,r2
  lab exec r1 -- iptables-nft-save -c        in the namespace of router r1
  lab exec host -- build/fipmeter agent --once    where an agent would run
  lab send a 203.0.113.9 --proto udp --count 1000 --bytes 1400
  lab associate 198.51.100.120 c
  lab move 198.51.100.102 g                  to a VM of another router
  lab router-add x1 --floating 100           a new router for a bench
  lab down
"""


def _names(text):
    return [name for name in text.split(",") if name]


def cmd_up(arguments):
    lab = Lab(arguments.name, arguments.flavour, arguments.routers, arguments.offloads, arguments.mtu)
    lab.up()
    lab.keep()
    print(f"lab {lab.name} is up: {', '.join(lab.routers)} ({lab.flavour}), holder {lab.inside.pid}")


def cmd_down(arguments):
    ns.clean(arguments.name)


def cmd_status(arguments):
    record = ns.read_record(arguments.name)
    if not ns.alive(record):
        print(f"lab {arguments.name}: down" + (" (an earlier run was killed)" if record else ""))
        return 1
    lab = Lab.attach(arguments.name)
    if arguments.json:
        print(json.dumps(record, indent=2))
        return 0
    print(f"lab {lab.name}: up, {lab.flavour}, holder {lab.inside.pid}")
    for router in lab.routers.values():
        state = "gone" if not router.present else "standby" if router.standby else "up"
        print(f"{router.name:8} {state:8} {router.gateway:16} {router.namespace} {router.qg}")
        for vm in lab.vms.values():
            if vm.router == router.name and vm.present:
                print(f"  {vm.name:6} {vm.fixed:16} {vm.floating or '-'}")
    return 0


def cmd_exec(arguments):
    lab = Lab.attach(arguments.name)
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    who = None if arguments.who == "host" else lab.namespace(arguments.who)
    os.environ[ns.MARK] = lab.inside.mark
    argv = lab.inside.argv(command or [os.environ.get("SHELL", "/bin/sh")], who)
    os.execvp(argv[0], argv)


def cmd_send(arguments):
    lab = Lab.attach(arguments.name)
    print(json.dumps(lab.send(arguments.who, arguments.to, proto=arguments.proto, count=arguments.count,
                              bytes=arguments.bytes, source=arguments.source, rate=arguments.rate,
                              port=arguments.port)))


def cmd_tcp(arguments):
    lab = Lab.attach(arguments.name)
    print(lab.tcp(arguments.who, arguments.to, server=arguments.server, bytes=arguments.bytes,
                  reverse=arguments.reverse))


def cmd_iperf(arguments):
    end = Lab.attach(arguments.name).iperf(arguments.who, arguments.to, arguments.server,
                                           [word for word in arguments.arguments if word != "--"])["end"]
    for side in ("sum_sent", "sum_received", "sum"):
        if side in end:
            print(f"{side}: {end[side]['bytes']} bytes, {end[side]['bits_per_second'] / 1e6:.0f} Mbit/s")


def cmd_truth(arguments):
    for (source, to), (packets, size) in sorted(Lab.attach(arguments.name).truth(arguments.who).items()):
        print(f"{source:16} {to:16} {packets:>10} {size:>14}")


def cmd_change(arguments):
    """A change of the lab that is a method of the same name with the same arguments."""
    lab = Lab.attach(arguments.name)
    options = {} if arguments.method in ("standby", "master") else {"pause": 0 if arguments.fast else None}
    getattr(lab, arguments.method)(*[getattr(arguments, name) for name in arguments.takes], **options)


def cmd_router_add(arguments):
    lab = Lab.attach(arguments.name)
    router = lab.router_add(arguments.router, arguments.floating, arguments.vms, 0 if arguments.fast else None,
                            arguments.redraw)
    print(router.namespace)


def cmd_write_rules(arguments):
    Lab.attach(arguments.name).write_rules(arguments.router, arguments.flavour)


def _add_change(add, name, text, takes):
    parser = add(name, text, cmd_change)
    for argument in takes:
        parser.add_argument(argument)
    if name not in ("standby", "master"):
        parser.add_argument("--fast", action="store_true", help="without the pauses that a real agent makes")
    parser.set_defaults(method=name.replace("-", "_"), takes=takes)


def _add_traffic(add):
    send = add("send", "send a known number of packets and print what was sent and answered", cmd_send)
    send.add_argument("who", help="a VM, far or ext")
    send.add_argument("to", help="an address")
    send.add_argument("--proto", choices=["udp", "icmp"], default="icmp")
    send.add_argument("--count", type=int, default=10)
    send.add_argument("--bytes", type=int, default=500, help="of each IP packet, header included")
    send.add_argument("--port", type=int, default=9)
    send.add_argument("--source", help="forge this source address")
    send.add_argument("--rate", type=int, help="packets a second")
    tcp = add("tcp", "one TCP connection with an exact payload", cmd_tcp)
    iperf = add("iperf", "an iperf3 run; what follows -- goes to its client", cmd_iperf)
    for parser in (tcp, iperf):
        parser.add_argument("who")
        parser.add_argument("to")
        parser.add_argument("--server", default="far", help="the namespace that owns the address (default far)")
    tcp.add_argument("--bytes", type=int, default=1_000_000)
    tcp.add_argument("--reverse", action="store_true")
    iperf.add_argument("arguments", nargs=argparse.REMAINDER)
    truth = add("truth", "what passed eth0: source, destination, packets, bytes", cmd_truth)
    truth.add_argument("who", help="a VM, far or ext")


def _add_life(add):
    up = add("up", "build a lab; an earlier one of the name is cleaned up first", cmd_up)
    up.add_argument("--flavour", choices=list(FLAVOURS), default="nft")
    up.add_argument("--routers", type=_names, help="only these, as r1,r2")
    up.add_argument("--mtu", type=int, default=1500)
    up.add_argument("--offloads", action="store_true", help="leave TSO, GSO, GRO and checksum offload on")
    add("down", "remove a lab and all that a killed one left", cmd_down)
    add("status", "what stands", cmd_status).add_argument("--json", action="store_true", help="the record")
    run = add("exec", "run a command in a namespace of the lab", cmd_exec)
    run.add_argument("who", help="a router, a VM, ext, far, fabric; host: the machine's network, the lab's /run/netns")
    run.add_argument("command", nargs=argparse.REMAINDER)


def build_parser():
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--name", default=os.environ.get("FIPLAB_NAME", "default"), help="which lab (default: default)")
    parser = argparse.ArgumentParser(prog="lab", description="Neutron-like routers made of network namespaces.",
                                     epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name, text, function):
        command = commands.add_parser(name, help=text, description=text, parents=[shared])
        command.set_defaults(function=function)
        return command

    _add_life(add)
    _add_traffic(add)
    _add_change(add, "associate", "give a VM a floating IP", ["floating", "vm"])
    _add_change(add, "disassociate", "take a floating IP away", ["floating"])
    _add_change(add, "move", "move a floating IP to another VM", ["floating", "vm"])
    _add_change(add, "gateway-change", "give a router another gateway port and address", ["router", "address"])
    _add_change(add, "agent-restart", "restart the l3-agent: its scope and metadata rules go for a while", ["router"])
    _add_change(add, "router-delete", "delete a router in order", ["router"])
    _add_change(add, "router-drop", "drop a router in haste: no rule is removed", ["router"])
    _add_change(add, "standby", "make an HA router standby", ["router"])
    _add_change(add, "master", "make an HA router master", ["router"])
    router = add("router-add", "bring back a router, or make a new one", cmd_router_add)
    router.add_argument("router")
    router.add_argument("--floating", type=int, default=0, metavar="M", help="a new router's floating IPs")
    router.add_argument("--vms", type=int, default=0, metavar="N", help="how many of them have a VM behind")
    router.add_argument("--redraw", action="store_true", help="with other device names than before")
    router.add_argument("--fast", action="store_true", help="without the pauses that a real agent makes")
    rules = add("write-rules", "write a router's rules in a flavour, beside what is there", cmd_write_rules)
    rules.add_argument("router")
    rules.add_argument("flavour", choices=list(FLAVOURS))
    return parser


def main():
    # A closed terminal or a stopped job ends an unfinished `up` as an interrupt does: cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = build_parser().parse_args()
    ns.need_root()
    try:
        sys.exit(arguments.function(arguments) or 0)
    except LabError as error:
        sys.exit(f"lab: {error}")
    except KeyError as error:
        sys.exit(f"lab: {error.args[0]} is not in this lab")
    except KeyboardInterrupt:
        sys.exit(130)
