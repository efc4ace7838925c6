# SPDX-License-Identifier: GPL-2.0-or-later
"""The iptables rules of a router, as the l3-agent of Neutron 21 writes them: text for iptables-restore --noflush.

The agent builds a router's rules in steps, and so do we: `tables` with step "first" is what stands when the
namespace is new (forwarding is closed), "scopes" opens it, "metadata" completes it; step "all" is the end state in
one go. Changes of floating IPs are single edits in one atomic restore. Tables come in the agent's order (filter,
mangle, nat, raw), which is what makes /proc/net/ip_tables_names list them as on a real node, and chains sorted.
With SNAT off Neutron leaves out the gateway's `-o qg-` rule and the saving of the scope mark, and closes qg- to
other address scopes; its rule for calls to the router's own floating IPs stays, with the gateway address.
"""

import re

P = "neutron-l3-agent"
SCOPE = "0x4000000/0xffff0000"
METADATA = "-d 169.254.169.254/32 -i qr-+ -p tcp -m tcp --dport 80"
METADATA_NAT = f"{METADATA} -j REDIRECT --to-ports 9697"
METADATA_FILTER = [f"-A {P}-INPUT -m mark --mark 0x1/0xffff -j ACCEPT",
                   f"-A {P}-INPUT -p tcp -m tcp --dport 9697 -j DROP"]
RESTORE_MARK = "-m connmark ! --mark 0x0/0xffff0000 -j CONNMARK --restore-mark --nfmask 0xffff0000 --ctmask 0xffff0000"
SAVE_MARK = "-m connmark --mark 0x0/0xffff0000 -j CONNMARK --save-mark --nfmask 0xffff0000 --ctmask 0xffff0000"


def _table(name, builtin, chains, rules):
    """One table's restore text; rules that are None are left out."""
    lines = [f"*{name}"]
    lines += [f":{chain} ACCEPT [0:0]" for chain in builtin]
    lines += [f":{chain} - [0:0]" for chain in chains]
    return "\n".join(lines + [rule for rule in rules if rule] + ["COMMIT", ""])


def edit(table, lines):
    """Several edits of one table, in one atomic restore."""
    return "\n".join([f"*{table}", *lines, "COMMIT", ""])


def _own(names):
    return [f"{P}-{name}" for name in names]


def _jumps(builtin):
    return [f"-A {chain} -j {P}-{chain}" for chain in builtin]


def _filter(scope, metadata):
    builtin = ["FORWARD", "INPUT", "OUTPUT"]
    chains = ["neutron-filter-top"] + _own(["FORWARD", "INPUT", "OUTPUT", "local", "scope"])
    rules = [f"-A INPUT -j {P}-INPUT",
             "-A FORWARD -j neutron-filter-top", f"-A FORWARD -j {P}-FORWARD",
             "-A OUTPUT -j neutron-filter-top", f"-A OUTPUT -j {P}-OUTPUT",
             f"-A neutron-filter-top -j {P}-local", f"-A {P}-FORWARD -j {P}-scope"]
    return _table("filter", builtin, chains, rules + (METADATA_FILTER if metadata else []) + scope)


def _mangle(router, scope):
    builtin = ["FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING"]
    chains = _own(["FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING", "float-snat", "floatingip", "mark",
                   "scope"])
    rules = _jumps(builtin) + [
        f"-A {P}-POSTROUTING -o {router.qg} {SAVE_MARK}" if router.snat else None,
        f"-A {P}-PREROUTING -j {P}-mark",
        f"-A {P}-PREROUTING -j {P}-scope",
        f"-A {P}-PREROUTING {RESTORE_MARK}",
        f"-A {P}-PREROUTING -j {P}-floatingip",
        f"-A {P}-PREROUTING {METADATA} -j MARK --set-xmark 0x1/0xffff",
        f"-A {P}-float-snat {SAVE_MARK}",
        f"-A {P}-mark -i {router.qg} -j MARK --set-xmark 0x2/0xffff"]
    return _table("mangle", builtin, chains, rules + scope)


def floating_rules(address, fixed):
    """The three rules of a floating IP: chain and specification."""
    return [("OUTPUT", f"-d {address}/32 -j DNAT --to-destination {fixed}"),
            ("PREROUTING", f"-d {address}/32 -j DNAT --to-destination {fixed}"),
            ("float-snat", f"-s {fixed}/32 -j SNAT --to-source {address} --random-fully")]


def _gateway_nat(router, gateway, device):
    """What names the gateway in nat: one rule in POSTROUTING, then those of the chain snat."""
    to_gateway = f"-j SNAT --to-source {gateway} --random-fully"
    return ([f"-A {P}-POSTROUTING ! -o {device} -m conntrack ! --ctstate DNAT -j ACCEPT"]
            + ([f"-A {P}-snat -o {device} {to_gateway}"] if router.snat else [])
            + [f"-A {P}-snat -m mark ! --mark 0x2/0xffff -m conntrack --ctstate DNAT {to_gateway}"])


def _nat(router, fixed, metadata):
    builtin = ["OUTPUT", "POSTROUTING", "PREROUTING"]
    chains = _own(["OUTPUT", "POSTROUTING", "PREROUTING", "float-snat", "snat"]) + ["neutron-postrouting-bottom"]
    gateway = _gateway_nat(router, router.gateway, router.qg)
    rules = [f"-A PREROUTING -j {P}-PREROUTING", f"-A OUTPUT -j {P}-OUTPUT", f"-A POSTROUTING -j {P}-POSTROUTING",
             "-A POSTROUTING -j neutron-postrouting-bottom", gateway[0],
             f"-A {P}-PREROUTING {METADATA_NAT}" if metadata else None, f"-A {P}-snat -j {P}-float-snat"]
    rules += gateway[1:]
    rules += [f"-A {P}-{chain} {rule}" for address, vm in router.floating.items()
              for chain, rule in floating_rules(address, fixed(vm))]
    rules.append("-A neutron-postrouting-bottom -m comment --comment \"Perform source NAT on outgoing traffic.\" "
                 f"-j {P}-snat")
    return _table("nat", builtin, chains, rules)


def _raw():
    builtin = ["OUTPUT", "PREROUTING"]
    return _table("raw", builtin, _own(["OUTPUT", "PREROUTING"]), _jumps(builtin))


def _filter_scope(device):
    return f"-A {P}-scope -o {device} -m mark ! --mark {SCOPE} -j DROP"


def _mangle_scope(device):
    return f"-A {P}-scope -i {device} -j MARK --set-xmark {SCOPE}"


def _scopes(router):
    """The address scope rules: for the filter table and for mangle."""
    inside = [port.device for port in router.internal]
    guarded = inside if router.snat else inside + [router.qg]
    return ([_filter_scope(device) for device in guarded],
            [_mangle_scope(device) for device in inside + [router.qg]])


def tables(router, fixed, step="all"):
    """The rules of `router`; `fixed` tells a VM's fixed address by its name."""
    if step == "scopes":
        in_filter, in_mangle = _scopes(router)
        return edit("filter", [f"-D {P}-scope -j DROP"] + in_filter) + edit("mangle", in_mangle)
    if step == "metadata":
        return edit("filter", METADATA_FILTER) + edit("nat", [f"-I {P}-PREROUTING 1 {METADATA_NAT}"])
    whole = step == "all"
    in_filter, in_mangle = _scopes(router) if whole else ([f"-A {P}-scope -j DROP"], [])
    return (_filter(in_filter, whole) + _mangle(router, in_mangle) + _nat(router, fixed, whole) + _raw())


def tables6():
    """The IPv6 rules: the same in every router, and for the lab a mere presence, since IPv6 is off."""
    filter_chains = ["neutron-filter-top"] + _own(["FORWARD", "INPUT", "OUTPUT", "local", "scope"])
    hooks = ["FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING"]
    metadata = "-d fe80::a9fe:a9fe/128 -i qr-+ -p tcp -m tcp --dport 80"
    return (_table("filter", hooks[:3], filter_chains,
                   [f"-A INPUT -j {P}-INPUT", "-A FORWARD -j neutron-filter-top", f"-A FORWARD -j {P}-FORWARD",
                    "-A OUTPUT -j neutron-filter-top", f"-A OUTPUT -j {P}-OUTPUT",
                    f"-A neutron-filter-top -j {P}-local", f"-A {P}-FORWARD -j {P}-scope"] + METADATA_FILTER)
            + _table("mangle", hooks, _own(["FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING", "scope"]),
                     _jumps(hooks) + [f"-A {P}-PREROUTING -j {P}-scope", f"-A {P}-PREROUTING {RESTORE_MARK}",
                                      f"-A {P}-PREROUTING {metadata} -j MARK --set-xmark 0x1/0xffff"])
            + _table("nat", ["PREROUTING"], _own(["PREROUTING"]),
                     [f"-A PREROUTING -j {P}-PREROUTING",
                      f"-A {P}-PREROUTING {metadata} -j REDIRECT --to-ports 9697"])
            + _raw())


def associate(address, fixed):
    """New rules come first in their chains (in PREROUTING behind the metadata rule)."""
    return edit("nat", [f"-I {P}-{chain} {2 if chain == 'PREROUTING' else 1} {rule}"
                        for chain, rule in floating_rules(address, fixed)])


def disassociate(address, fixed):
    return edit("nat", [f"-D {P}-{chain} {rule}" for chain, rule in floating_rules(address, fixed)])


def move(address, position, old, new):
    """From one fixed address to another, in place. `position`: how many floating IPs stand before it."""
    lines = []
    for (chain, before), (_, after) in zip(floating_rules(address, old), floating_rules(address, new)):
        number = position + (2 if chain == "PREROUTING" else 1)
        lines += [f"-D {P}-{chain} {before}", f"-I {P}-{chain} {number} {after}"]
    return edit("nat", lines)


def _named(lines, verb):
    return [line.replace("-A ", f"{verb} ", 1) for line in lines]


def _gateway_mangle(router, device):
    save = [f"-A {P}-POSTROUTING -o {device} {SAVE_MARK}"] if router.snat else []
    return save + [f"-A {P}-mark -i {device} -j MARK --set-xmark 0x2/0xffff"]


def gateway_added(router, gateway, device):
    return edit("mangle", _gateway_mangle(router, device)) + edit("nat", _gateway_nat(router, gateway, device))


def gateway_removed(router, gateway, device):
    return (edit("mangle", _named(_gateway_mangle(router, device), "-D"))
            + edit("nat", _named(_gateway_nat(router, gateway, device), "-D")))


def gateway_replaced(router, old, new):
    """`old` and `new`: (address, device). One change a table."""
    return (edit("mangle", _named(_gateway_mangle(router, old[1]), "-D") + _gateway_mangle(router, new[1]))
            + edit("nat", _named(_gateway_nat(router, *old), "-D") + _gateway_nat(router, *new)))


def scope_changed(router, removed=(), added=()):
    """The scope rules of the gateway device: `removed` and `added` are device names."""
    mangle = _named([_mangle_scope(device) for device in removed], "-D") + [_mangle_scope(device) for device in added]
    text = edit("mangle", mangle)
    if not router.snat:
        text += edit("filter", _named([_filter_scope(device) for device in removed], "-D")
                     + [_filter_scope(device) for device in added])
    return text


def restarted(router, verb):
    """What an l3-agent that starts takes away ("-D") and puts back ("-A") a second or more later: scopes, metadata."""
    in_filter, in_mangle = _scopes(router)
    mark = f"-A {P}-PREROUTING {METADATA} -j MARK --set-xmark 0x1/0xffff"
    return (edit("filter", _named(in_filter + METADATA_FILTER, verb)) + edit("mangle", _named(in_mangle + [mark], verb))
            + edit("nat", [f"-D {P}-PREROUTING {METADATA_NAT}" if verb == "-D" else f"-I {P}-PREROUTING 1 {METADATA_NAT}"]))


def internal_removed(router):
    devices = [port.device for port in router.internal]
    return (edit("filter", _named([_filter_scope(device) for device in devices], "-D"))
            + edit("mangle", _named([_mangle_scope(device) for device in devices], "-D")))


def normalise(text):
    """A save without counters, comments and drawn names, tables in the order of their names.

    Two routers of the same shape give the same text, so that a lab's rules can be held against a recording."""
    found, names = {}, {}

    def name(match):
        device = match.group(0)
        if device not in names:
            names[device] = f"{device[:2]}-{sum(1 for known in names if known[:2] == device[:2]) + 1}"
        return names[device]

    for line in text.splitlines():
        if line.startswith("*"):
            table = found.setdefault(line, [])
        elif line and not line.startswith("#") and line != "COMMIT":
            line = re.sub(r"\[\d+:\d+\] ?", "", line).rstrip()
            table.append(re.sub(r"\bq[gr]-[0-9a-f]{8}-[0-9a-f]{2}\b", name, line))
    return "\n".join(line for table in sorted(found) for line in [table, *found[table]]) + "\n"
