# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor: a fault that is planted is named by its check, with reason and remedy, and nothing else is; the command that it
tells shows what it says. All in one lab a flavour, with an agent that counts in r3 by iptables and else by nft.
"""

import ctypes
import json
import os
import subprocess
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import pytest
from accounts import FIP, GATEWAY
from conftest import make_lab
from fiplab.build import floating_line
from fiplab.lab import FLAVOURS
from limits import dropped, egress_filter, egress_policer, egress_tbf, ingress_policer, limited
from metering import PROGRAM, Meter, wait_for
from rules import listings
from test_capabilities import CAPABILITIES
from test_status import on_terminal

STRANGE, FORWARDED = "198.51.100.200", "198.51.100.201"
BAD = "203.0.113.99"
OTHER = {"nft": "legacy", "legacy": "nft"}
JUNK = "qrouter-3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a"


@pytest.fixture(scope="module", params=["nft", "legacy"])
def flavour(request):
    return request.param


@pytest.fixture(scope="module")
def lab(flavour):
    with make_lab("doctor", flavour) as standing:
        yield standing


class Patient:
    """A meter whose agent runs, and what the doctor says of it on a host whose iptables is of the lab's flavour."""

    def __init__(self, lab, directory):
        self.lab = lab
        self.tools = directory / "tools"
        self.tools.mkdir()
        self.use_iptables(lab.flavour)
        self.meter = Meter(lab, directory, "nft")
        self.configure()

    def configure(self, lock="/run/xtables.lock", backend="nft", more=""):
        self.meter.backend = backend
        self.meter.configure(f"xtables_lock = {lock}\n[backends]\niptables = {self.lab.routers['r3'].uuid}\n{more}")

    def use_iptables(self, flavour):
        (self.tools / "iptables").unlink(missing_ok=True)
        (self.tools / "iptables").symlink_to(f"/usr/sbin/xtables-{flavour}-multi")

    def run(self, *more, under=(), shell="", command="doctor"):
        """In a mount namespace of its own, after the commands of a shell."""
        argv = ["unshare", "--mount", "sh", "-ec", f'{shell}\nexec "$@"', "sh", *under, PROGRAM,
                *self.meter.node_argv(command, *more)]
        return self.lab.sh(argv, env={**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}"}, timeout=60)

    def told(self, **how):
        done = self.run("-o", "json", **how)
        told = json.loads(done.stdout)
        assert done.stderr == "" and done.returncode == (4 if told["problems"] else 0), (done.returncode, done.stderr)
        levels = [each["level"] for each in told["findings"]]
        assert (told["problems"], told["warnings"]) == (levels.count("problem"), levels.count("warning"))
        return told

    def complaints(self, **how):
        """{(check, level, about): finding} of what is not ok."""
        return {(each["check"], each["level"], each["about"]): each for each in self.told(**how)["findings"]
                if each["level"] != "ok"}

    def namespace(self, router):
        return self.lab.routers[router].namespace


@pytest.fixture(scope="module")
def patient(lab, tmp_path_factory):
    patient = Patient(lab, tmp_path_factory.mktemp("doctor"))
    try:
        patient.meter.start()
        wait_for(lambda: not {"agent", "metered"} & {check for check, _, _ in patient.complaints()}, "the agent to tell")
        yield patient
        patient.configure()
        patient.meter.leave()
    finally:
        patient.meter.kill()


# --- a sound node ---

def test_each_namespace_is_told_with_its_flavour_and_its_back_end(lab, patient, flavour):
    told = patient.told()
    assert {each["namespace"]: (each["router"], each["flavour"], each["backend"]) for each in told["routers"]} == {
        router.namespace: (router.uuid, flavour, "iptables" if router.name == "r3" else "nft")
        for router in lab.routers.values()}
    assert {check for check, _, _ in patient.complaints()} <= {"clock", "disk"}, "what the machine itself may lack"
    for each in told["findings"]:
        if each["check"] == "flavour":
            assert "SNAT" in lab.sh(["sh", "-c", each["command"]]).stdout, each


def test_a_sound_node_has_the_same_line_of_each_check_for_each_router(lab, patient):
    checks = {}
    for each in patient.told()["findings"]:
        checks.setdefault(each["about"], []).append(each["check"])
    assert len({tuple(checks[router.namespace]) for router in lab.routers.values()}) == 1
    assert set(checks) == {"", "nft", "iptables", "ebpf", *(router.namespace for router in lab.routers.values())}


def test_the_clock_is_as_the_kernel_says(patient):
    libc = ctypes.CDLL(None)
    kept = libc.adjtimex(ctypes.create_string_buffer(512)) != 5      # TIME_ERROR, adjtimex(2)
    clock = next(each for each in patient.told()["findings"] if each["check"] == "clock")
    assert clock["level"] == ("ok" if kept else "warning")


def test_it_changes_nothing(lab, patient, tmp_path):
    def all_there_is():
        files = [path for path in patient.meter.state.iterdir() if not path.name.endswith("-shm")]
        kernel = [{command: lines for command, lines in listings(lab, router).items() if "/sys/fs/bpf" not in command}
                  for router in ("r1", "r3")]     # what is pinned may be another agent's
        return [{path: path.read_bytes() for path in files}, kernel, lab.sh(["find", "/run/netns"]).stdout]

    before = all_there_is()
    for more in [], ["--all"], ["-o", "json"], ["--state-dir", tmp_path / "none"]:
        patient.run(*more)
    assert all_there_is() == before and list(tmp_path.iterdir()) == []
    with undone(lambda: patient.configure(lock=tmp_path / "xtables.lock"), patient.configure):
        patient.run()
    assert list(tmp_path.iterdir()) == []


def test_it_pins_and_mounts_nothing(lab, patient):
    argv = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /sys/fs/bpf; mount; "$@" >/dev/null || [ $? = 4 ]; '
            "echo; mount; find /sys/fs/bpf", "sh", PROGRAM, *patient.meter.node_argv("doctor")]
    done = lab.sh(argv)
    before, after = done.stdout.split("\n\n")
    assert done.returncode == 0 and after.splitlines() == [*before.splitlines(), "/sys/fs/bpf"], done


# --- what is planted ---

@contextmanager
def undone(do, undo):
    do()
    try:
        yield
    finally:
        undo()


def inside(patient, router, do, undo):
    """Commands of a shell in a router."""
    return undone(lambda: patient.lab.run(router, ["sh", "-ec", do]), lambda: patient.lab.run(router, ["sh", "-ec", undo]))


def nft(patient, router, table, chain):
    family = table.split()[0]
    return inside(patient, router, f"nft -f - <<'END'\ntable {table} {{\n{chain}\n}}\nEND", f"nft delete table {table}")


def no_agent(patient):
    return undone(patient.meter.stop, patient.meter.start)


def killed_agent(patient):
    return undone(patient.meter.kill, patient.meter.start)


def other_iptables(patient):
    return undone(lambda: patient.use_iptables(OTHER[patient.lab.flavour]),
                  lambda: patient.use_iptables(patient.lab.flavour))


def both_flavours(patient):
    other = OTHER[patient.lab.flavour]
    flush = f"for t in raw mangle nat filter; do {FLAVOURS[other]} -w -t $t -F; {FLAVOURS[other]} -w -t $t -X; done"
    return undone(lambda: patient.lab.write_rules("r2", other), lambda: patient.lab.run("r2", ["sh", "-ec", flush]))


def other_lock(patient):
    return undone(lambda: patient.configure(lock=patient.meter.state / "xtables.lock"), patient.configure)


def drop_in_nft(patient):
    return nft(patient, "r1", "inet guard", "chain bad { drop; }\nchain early { type filter hook prerouting priority -300;\n"
               f"ip saddr {BAD} jump bad; }}")


def drop_by_a_map(patient):
    return nft(patient, "r1", "ip guard", "map verdicts { type ipv4_addr : verdict; elements = { %s : drop }; }\n"
               "chain early { type filter hook prerouting priority -200; ip saddr vmap @verdicts; }" % BAD)


def drop_at_ingress(patient):
    return nft(patient, "r1", "netdev guard", "chain early { type filter hook ingress device "
               f"{patient.lab.routers['r1'].qg} priority 0; ip saddr {BAD} drop; }}")


def drop_in_legacy(patient):
    rule = f"PREROUTING -s {BAD} -j DROP"
    return inside(patient, "r1", f"iptables-legacy -w -t raw -A {rule}", f"iptables-legacy -w -t raw -D {rule}")


def accept_before_ours(patient):
    rule = f"-s {BAD} -j ACCEPT"
    return inside(patient, "r3", f"iptables-legacy -w -t mangle -I PREROUTING 1 {rule}",
                  f"iptables-legacy -w -t mangle -D PREROUTING {rule}")


def program_at_the_device(patient):
    source = patient.tools / "pass.c"
    source.write_text('__attribute__((section("xdp"), used)) int pass(void *c) { return 2; }\n'
                      'char licence[] __attribute__((section("license"), used)) = "GPL";\n')
    device, built = patient.lab.routers["r1"].qg, source.with_suffix(".o")
    return inside(patient, "r1", f"clang -O2 -target bpf -c {source} -o {built}\nip link set dev {device} xdp obj {built} sec xdp",
                  f"ip link set dev {device} xdp off")


def limit_at_egress(patient):
    return limited(patient.lab, "r1", egress_tbf, patient.tools)


def limit_of_neutron_at_egress(patient):
    return limited(patient.lab, "r1", egress_policer, patient.tools)


def filter_at_egress(patient):
    return limited(patient.lab, "r1", egress_filter, patient.tools)


def zone(patient):
    return nft(patient, "r1", "ip zones", "chain early { type filter hook prerouting priority raw; "
               f"ip saddr {BAD} ct zone set 7; }}")


def zone_by_iptables(patient):
    tool, rule = patient.lab.iptables, f"PREROUTING -s {BAD} -j CT --zone 7"
    return inside(patient, "r1", f"{tool} -w -t raw -A {rule}", f"{tool} -w -t raw -D {rule}")


def untracked_by_iptables(patient):
    tool, rule = patient.lab.iptables, f"PREROUTING -s {BAD} -j CT --notrack"
    return inside(patient, "r1", f"{tool} -w -t raw -A {rule}", f"{tool} -w -t raw -D {rule}")


def address_without_rule(patient):
    line = f"dev {patient.lab.routers['r1'].qg}"
    return inside(patient, "r1", f"ip addr add {STRANGE}/32 {line}", f"ip addr del {STRANGE}/32 {line}")


def rule_without_address(patient):
    router = patient.lab.routers["r1"]
    return inside(patient, "r1", f"ip {floating_line(router, 'del', FIP['b'])}", f"ip {floating_line(router, 'add', FIP['b'])}")


def port_forwarding(patient):
    line, tool = f"dev {patient.lab.routers['r1'].qg}", patient.lab.iptables
    rule = f"neutron-l3-agent-PREROUTING -d {FORWARDED}/32 -p tcp --dport 80 -j DNAT --to-destination 10.0.1.13:8080"
    return inside(patient, "r1", f"{tool} -w -t nat -A {rule}\nip addr add {FORWARDED}/32 {line}",
                  f"ip addr del {FORWARDED}/32 {line}\n{tool} -w -t nat -D {rule}")


def small_mtu(patient):
    device = patient.lab.routers["r2"].qg
    return inside(patient, "r2", f"ip link set dev {device} mtu 1400", f"ip link set dev {device} mtu 1500")


def over_quota(patient):
    return undone(lambda: patient.configure(more="[store]\nquota = 1000\n"), patient.configure)


def no_namespace(patient):
    path = f"/run/netns/{JUNK}"
    return undone(lambda: patient.lab.sh(["touch", path]), lambda: patient.lab.sh(["rm", path]))


def flushed(patient):
    patient.lab.run("r5", ["nft", "delete", "table", "ip", "fipmeter"])
    return undone(patient.meter.sample, lambda: None)


# What is planted: [(check, level, router, a part of the text, a part of the remedy, what the told command shows)]
FAULTS = {
    no_agent: [("agent", "problem", "", "not running for /run/netns", "start it", None)],
    killed_agent: [("agent", "problem", "", "ended without a word", "start it", None)],
    other_iptables: [("tools", "warning", "", "it shows nothing of them, as if there were none", "a tool of their own flavour",
                      "DNAT")],
    both_flavours: [("tools", "warning", "", "the rules of 1 router are", "a tool of their own flavour", "DNAT"),
                    ("flavour", "warning", "r2", "both flavours have rules", "flush the tables of the other one", FIP["f"])],
    other_lock: [("lock", "warning", "", "not shared: ", "mount the host's /run/xtables.lock", None)],
    drop_in_nft: [("ahead", "warning", "r1", "chain inet guard early (priority -300) may drop", "have its owner move it",
                   "jump bad")],
    drop_by_a_map: [("ahead", "warning", "r1", "chain ip guard early (priority -200) may drop", "have its owner move it",
                     "@verdicts")],
    drop_at_ingress: [("ahead", "warning", "r1", "chain netdev guard early (at the ingress of a device)",
                       "have its owner move it", BAD)],
    drop_in_legacy: [("ahead", "warning", "r1", "PREROUTING of the legacy table raw may drop", "have its owner move it", BAD)],
    accept_before_ours: [("ahead", "problem", "r3", "PREROUTING of the legacy table mangle takes packets away",
                          "have its owner move it behind fipmeter's", BAD)],
    program_at_the_device: [("ahead", "warning", "r1", "has a program of XDP", "find out whose it is", "prog/xdp")],
    limit_at_egress: [("limits", "warning", "r1", "tbf at egress stands behind the counters", "limit at the VM's port", "tbf")],
    limit_of_neutron_at_egress: [("limits", "warning", "r1", "htb at egress stands behind the counters",
                                  "limit at the VM's port", "htb")],
    filter_at_egress: [("limits", "warning", "r1", "filters at egress stand behind the counters", "limit at the VM's port",
                        "bpf")],
    zone: [("conntrack", "warning", "r1", "chain ip zones early (priority -300) puts packets into a conntrack zone",
            "Neutron uses no zones in routers", "ct zone set 7")],
    zone_by_iptables: [("conntrack", "warning", "r1", "puts packets into a conntrack zone", "Neutron uses no zones", BAD)],
    untracked_by_iptables: [("conntrack", "warning", "r1", "takes packets from conntrack", "find out whose it is", BAD)],
    address_without_rule: [("addresses", "problem", "r1", f"{STRANGE} stands on an external device, but no nat rule",
                            "ask Neutron whose it is", STRANGE)],
    rule_without_address: [("addresses", "warning", "r1", f"{FIP['b']} is translated to ", "see the log of the l3-agent",
                            GATEWAY["r1"])],
    port_forwarding: [("addresses", "warning", "r1", f"{FORWARDED} has port forwardings alone", "bill it in another way", None)],
    small_mtu: [("mtu", "warning", "r2", " only 1400", "give the tenant network the MTU", "mtu 1400")],
    over_quota: [("store", "warning", "", "beyond its quota of 1.0 kB", "raise [store] quota", None)],
    no_namespace: [("namespaces", "problem", JUNK, "is a plain file, not a network namespace", "remove the file", None)],
    flushed: [("gaps", "warning", "r5", "1 gap in the last 24 hours", "docs/operate.md", None)],
}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_fault_is_named_with_its_remedy_and_nothing_else_is(lab, patient, plant):
    before = patient.complaints()
    with plant(patient):
        wait_for(lambda: patient.complaints().keys() != before.keys(), "the fault to be seen")
        found = patient.complaints()
        new = {key: found[key] for key in found.keys() - before.keys()}
        expected = {(check, level, lab.routers[who].namespace if who in lab.routers else who): rest
                    for check, level, who, *rest in FAULTS[plant]}
        assert new.keys() == expected.keys()
        for key, (text, remedy, shown) in expected.items():
            finding = new[key]
            assert text in finding["text"] and remedy in finding["remedy"], finding
            if shown:
                done = lab.sh(["sh", "-c", finding["command"]])
                assert done.returncode == 0 and shown in done.stdout, (finding["command"], done.stdout, done.stderr)
    if plant is not flushed:
        wait_for(lambda: patient.complaints().keys() == before.keys(), "all to be as before")


def test_the_trap_is_real(lab, patient):
    """The host's iptables shows nothing where the other flavour has the rules, and doctor's command shows them."""
    with other_iptables(patient):
        told = next(each for each in patient.complaints().values() if each["check"] == "tools")
        host = lab.sh([patient.tools / "iptables", "-t", "nat", "-S"], ns="r1")
        assert host.returncode == 0 and "DNAT" not in host.stdout
        assert f"the rules of {len(lab.routers)} routers are " in told["text"]


CONTAINER = """mount --rbind /run/netns {place}; mount -t tmpfs none /run; mkdir /run/netns; mount --rbind {place} /run/netns
[ {flavour} = nft ] || mount --bind /usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi
touch {place}.ready; read end
"""


@contextmanager
def l3_agent_in_a_container(patient):
    """With a /run of its own but for the namespaces, and an iptables of the lab's flavour."""
    script, place = patient.tools / "neutron-l3-agent", patient.tools / "place"
    place.mkdir()
    script.write_text(CONTAINER.format(place=place, flavour=patient.lab.flavour))
    ready = place.with_suffix(".ready")
    with patient.lab.popen(["unshare", "--mount", "sh", "-e", script], stdin=subprocess.PIPE) as process:
        try:
            wait_for(ready.exists, "the container to stand")
            yield process.pid
        finally:
            process.kill()
            ready.unlink()
            place.rmdir()


def test_on_a_host_without_tools_those_of_the_container_show_the_rules(lab, patient):
    """The seed's own cloud: Neutron in a container, and nothing on the host that knows its flavour. The locks differ, too."""
    hide = "for tool in nft-multi legacy-multi; do mount --bind /dev/null /usr/sbin/xtables-$tool; done\n" \
           "mount --bind /dev/null /usr/sbin/nft"
    with undone(lambda: (patient.tools / "iptables").unlink(), lambda: patient.use_iptables(lab.flavour)), \
            l3_agent_in_a_container(patient) as pid:
        patient.configure(lock=f"/proc/{pid}/root/run/xtables.lock")
        found = patient.complaints(shell=hide)
        patient.configure()
        told = found[("tools", "warning", "")]
        assert told["text"].startswith("there is no iptables on this host, but the rules of ")
        assert told["command"].startswith(f"nsenter -t {pid} -m ip netns exec qrouter-")
        shown = lab.sh(["sh", "-c", told["command"]])
        assert shown.returncode == 0 and "SNAT" in shown.stdout, shown
    assert f"/proc/{pid}/root/run/xtables.lock is another file" in found[("lock", "warning", "")]["text"]


@pytest.mark.parametrize("make, level, side, who, to", [
    (ingress_policer, "ok", "filters at ingress stand before the counters", "far", FIP["a"]),
    (egress_policer, "warning", "htb at egress stands behind the counters", "a", "203.0.113.9"),
    (egress_filter, "warning", "filters at egress stand behind the counters", "a", "203.0.113.9")])
def test_on_which_side_of_a_limiter_it_counts_and_what_that_has_dropped(lab, patient, make, level, side, who, to):
    def when_all_is_dropped():
        before = dropped(lab, "r1")
        told = [each for each in patient.told()["findings"]
                if each["check"] == "limits" and each["about"] == patient.namespace("r1")]
        return (before, told) if before and dropped(lab, "r1") == before else None

    with limited(lab, "r1", make, patient.tools):
        lab.send(who, to, proto="udp", count=200, bytes=1400)
        gone, told = wait_for(when_all_is_dropped, "some to be dropped, and no more")
        assert len(told) == 1 and told[0]["level"] == level, told
        assert f"device {lab.routers['r1'].qg}: {side}" in told[0]["text"]
        assert told[0]["text"].endswith(f"({gone} packets so far)"), (gone, told)
        shown = lab.sh(["sh", "-c", told[0]["command"]])
        assert shown.returncode == 0 and ("bpf" in shown.stdout or "htb" in shown.stdout), shown


# --- what is planted around the program ---

def new_by(patient, **how):
    before = patient.complaints()
    return {key: finding for key, finding in patient.complaints(**how).items() if key not in before}


def test_privileges_that_are_missing(patient):
    def under(missing):
        left = ",".join(["-all", *(f"+{name}" for name in CAPABILITIES if name not in missing)])
        return ["setpriv", "--bounding-set", left, "--inh-caps", "-all", "--"]

    new = new_by(patient, under=under(["sys_admin"]))
    assert new.keys() == {("privileges", "problem", ""), ("kernel", "warning", ""), ("lock", "warning", ""),
                          ("namespaces", "warning", "")}
    assert "CAP_SYS_ADMIN" in new[("privileges", "problem", "")]["text"]
    assert new_by(patient, under=under(["net_broadcast"])).keys() == {("privileges", "warning", "")}


def test_a_disk_that_is_full(patient):
    state, copy = patient.meter.state, patient.tools / "copy"
    new = new_by(patient, shell=f"cp -a {state} {copy}; mount -t tmpfs -o size=8m none {state}; cp -a {copy}/. {state}")
    assert new.keys() == {("disk", "problem", "")}
    assert "full: " in new[("disk", "problem", "")]["text"] and "make room" in new[("disk", "problem", "")]["remedy"]


def test_a_store_that_is_none(patient):
    new = new_by(patient, shell=f"mount -t tmpfs none {patient.meter.state}")
    assert [key for key in new if key[0] != "disk"] == [("store", "problem", "")]
    assert "there is no store in" in new[("store", "problem", "")]["text"]
    new = new_by(patient, shell=f"mount -t tmpfs none {patient.meter.state}; echo no database >{patient.meter.state}/usage.db")
    assert "usage.db" in new[("store", "problem", "")]["text"] and new[("store", "problem", "")]["remedy"]


def test_a_kernel_that_lacks_what_a_back_end_needs(patient):
    hide = "mount -t tmpfs none /sys/kernel/btf"
    assert new_by(patient, shell=hide) == {}, "nothing asks for ebpf"
    with undone(lambda: patient.configure(backend="ebpf"), patient.configure):
        new = new_by(patient, shell=hide)
        assert new.keys() == {("kernel", "problem", "ebpf")}
        assert "/sys/kernel/btf/vmlinux" in new[("kernel", "problem", "ebpf")]["text"]


def test_a_netns_directory_that_is_none_and_one_that_is_empty(patient, tmp_path):
    (tmp_path / "file").touch()
    told = json.loads(patient.run("-o", "json", "--netns-dir", tmp_path / "file").stdout)
    assert [each["text"] for each in told["findings"] if each["check"] == "namespaces" and each["level"] == "problem"] == [
        f"cannot read the netns directory {tmp_path}/file: Not a directory"]
    told = json.loads(patient.run("-o", "json", "--netns-dir", tmp_path).stdout)
    assert [each["level"] for each in told["findings"] if each["check"] == "namespaces"] == ["warning"]


def test_what_passes_the_counters_by(lab, patient):
    """On a kernel with flow tables, and with devices that offload, which the machine of the tests may not have."""
    shim = PROGRAM.parent / "tests/faults/shim_offload.so"
    devices = lab.routers["r2"].qg
    under = ["env", f"LD_PRELOAD={shim}", f"FAULT_OFFLOAD={devices}", "ASAN_OPTIONS=verify_asan_link_order=0"]
    with nft(patient, "r1", "inet fast", "chain onward { type filter hook forward priority 0; }"):
        new = new_by(patient, under=under)
    flows = {("offload", "problem" if router.name == "r1" else "warning", router.namespace) for router in lab.routers.values()}
    assert new.keys() == flows
    assert "flow table inet fast quick lets connections go past prerouting" in new[
        ("offload", "problem", patient.namespace("r1"))]["text"]
    texts = [each["text"] for each in patient.told(under=under)["findings"]
             if each["check"] == "offload" and each["about"] == patient.namespace("r2")]
    assert len(texts) == 2 and texts[1].startswith(f"device {devices} has hw-tc-offload on"), texts


def test_more_routers_than_a_shell_gives_descriptors_for(lab, patient):
    """Two a router are held; the usual soft limit of 1,024 would do for 500. Who only looks raises it as the agent does."""
    few = ["prlimit", f"--nofile={5 + len(lab.routers)}:4096"]
    assert new_by(patient, under=few) == {}
    plan = patient.lab.sh([*few, PROGRAM, "plan", "--config", patient.meter.config])
    assert plan.returncode == 0 and plan.stderr == "", plan.stderr


@pytest.mark.parametrize("kind", ["interrupted", "lost", "truncated", "cut", "oversized", "alien", "another"])
def test_answers_of_the_kernel_that_are_damaged(patient, kind):
    """It comes to its end and says what could not be looked at. Damaged attributes are left out: libnftnl (1.2.4) ends the
    process over them."""
    shim = PROGRAM.parent / "tests/faults/shim_netlink.so"
    for seed in 1, 2:
        done = patient.run("-o", "json", under=["env", f"LD_PRELOAD={shim}", f"FAULT_NETLINK={kind}:{seed}:3",
                                                "ASAN_OPTIONS=verify_asan_link_order=0"])
        assert done.returncode in (0, 4) and done.stderr == "", (seed, done.returncode, done.stderr)
        assert json.loads(done.stdout)["findings"]


# --- for people ---

def test_a_terminal_of_80_columns_shows_it_without_a_line_that_is_too_long_but_commands(lab, patient):
    with address_without_rule(patient):
        argv = ["doctor", "--config", patient.meter.config, "--state-dir", patient.meter.state]
        shown, everything = on_terminal(lab, 80, *argv), on_terminal(lab, 80, *argv, "--all")
    for text in shown, everything:
        long = [line for line in text.splitlines() if len(line) > 80]
        assert not [line for line in long if not line.strip().startswith(("ip netns exec ", "fipmeter "))], long
    router = lab.routers["r1"].namespace
    block = list(takewhile(lambda line: not line.startswith("ok       qrouter-"),
                           shown.split(f"problem  {router}")[1].splitlines()))
    assert STRANGE in " ".join(block) and "-> ask Neutron" in " ".join(block)
    assert "each address has its rule" not in shown and "each address has its rule" in everything
    assert shown.rstrip().splitlines()[-1].startswith("1 problem, ")
