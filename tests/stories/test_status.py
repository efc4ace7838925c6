# SPDX-License-Identifier: GPL-2.0-or-later
"""status: what an operator sees at night. All well is exit status 0, anything not metered 4, and it says what and why."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios

import pytest
from accounts import FIP, GATEWAY
from metering import PROGRAM, wait_for

pytestmark = pytest.mark.own_lab("r1", "r5")


def status(meter, *more, code=0):
    argv = ["status", "--config", meter.config, "--state-dir", meter.state]
    return meter.run(*argv, *more, status=code).stdout


def told(meter, code=0):
    return json.loads(status(meter, "-o", "json", code=code))


def on_terminal(lab, columns, *argv):
    """What a terminal of so many columns shows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with lab.popen([PROGRAM, *argv], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        process.wait(30)
        shown = os.read(master, 65536).decode()
    os.close(master)
    return shown.replace("\r\n", "\n")


def start(meter):
    """The agent tells after it has written to the store."""
    meter.start()
    wait_for(lambda: told(meter, code=(0, 4))["metered"], "the agent to tell that all is well")


def of(meter, router, code=0):
    return next(each for each in told(meter, code)["routers"] if each["router"] == meter.lab.routers[router].uuid)


def test_each_router_with_what_counts_there(lab, meter, flavour, backend, place):
    start(meter)
    state = told(meter)
    assert set(state) == {"running", "pid", "node", "version", "started", "interval_s", "netns_dir", "state_dir", "backend",
                          "sampled", "kept", "failure", "events", "locks", "ebpf", "problems", "routers", "store", "metered"}
    assert (state["running"], state["metered"], state["events"], state["pid"]) == (True, True, True, meter.pid)
    assert ("xtables.lock" in state["locks"]) == (backend == "iptables")
    called = "rule" if place == "rule" else "link"
    assert state["ebpf"].startswith(f"a {called} calls it at prerouting, behind a policer" if backend == "ebpf" else "")
    assert (state["ebpf"] != "") == (backend == "ebpf")
    router = of(meter, "r1")
    assert (router["flavour"], router["backend"], router["role"]) == (flavour, backend, "master")
    assert (router["gateway"], router["gateway_served"]) == (GATEWAY["r1"], True)
    assert {each["address"]: each["fixed"] for each in router["floating"]} == {
        FIP[vm]: lab.fixed(vm) for vm in "abe"}
    text = status(meter)
    assert lab.routers["r1"].uuid in text and f"pid {meter.pid}" in text and max(map(len, text.splitlines())) < 200


def test_the_command_it_tells_lists_the_counters(lab, meter, backend):
    start(meter)
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
    command = of(meter, "r1")["list_command"]
    assert command in status(meter, "--router", lab.routers["r1"].uuid[:8])
    listing = lab.sh(["sh", "-c", command]).stdout
    if backend == "ebpf":
        words = "".join(listing.split())
        assert f'"address":[{FIP["a"].replace(".", ",")}]' in words and '"in_bytes":700,"in_packets":7' in words
    else:
        assert f"traffic_{FIP['a']}_vm_in_internet" in listing and "packets 7 bytes 700" in listing


def test_a_standby_and_a_gap_are_shown(lab, meter):
    start(meter)
    lab.standby("r5")
    wait_for(lambda: of(meter, "r5")["role"] == "standby", "the standby to be seen")
    lab.run("r1", ["sh", "-c", "nft delete table ip fipmeter || nft delete table ip fipmeter_ebpf || "
                     "rm -r /sys/fs/bpf/fipmeter || iptables-legacy -t mangle -F PREROUTING"])
    meter.sample()
    gap = next(gap for gap in of(meter, "r1")["gaps"] if not gap["address"])
    assert gap["reason"] and gap["start"] < gap["end"]
    assert gap["reason"] in status(meter, "--router", lab.routers["r1"].namespace)


def test_an_agent_that_was_killed_is_missed_and_one_that_ended_is_not_there(lab, meter):
    start(meter)
    pid = meter.pid
    meter.kill()
    text = status(meter, code=4)
    assert "not running" in text and str(pid) in text
    assert told(meter, code=4)["metered"] is False
    meter.start()
    meter.stop()
    assert "not running" in status(meter, code=4)
    assert told(meter, code=4)["routers"] == []


def test_where_the_lock_of_the_l3_agent_cannot_be_had_nothing_is_written(lab, meter):
    meter.backend = "iptables"
    meter.configure("xtables_lock = /nonexistent/run/xtables.lock\n")
    meter.once(status=4)
    assert "fipmeter" not in lab.run("r1", ["sh", "-c", "iptables-legacy-save"])
    meter.process = lab.popen([PROGRAM, *meter.node_argv("agent", "--interval", 3600)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: told(meter, code=(0, 4)).get("sampled"), "the agent to tell")
    problem = of(meter, "r1", code=4)["problem"]
    assert "rules not written" in problem and "/nonexistent/run/xtables.lock" in problem
    assert "[agent] xtables_lock" in status(meter, "--router", lab.routers["r1"].uuid, code=4)
    assert "fipmeter" not in lab.run("r1", ["sh", "-c", "iptables-legacy-save"])
    meter.kill()
    meter.configure("")     # so that the end of the story can clean up


def test_what_cannot_be_entered_is_told_with_its_reason(lab, meter):
    start(meter)
    junk = "qrouter-3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a"
    lab.sh(["touch", f"/run/netns/{junk}"])
    meter.sample()
    wait_for(lambda: junk in {each["namespace"] for each in told(meter, code=(0, 4))["routers"]}, "the junk to be told")
    bad = next(each for each in told(meter, code=4)["routers"] if each["namespace"] == junk)
    assert bad["problem"]
    assert junk in status(meter, code=4)
    narrow = " ".join(on_terminal(lab, 80, "status", "--config", meter.config, "--state-dir", meter.state).split())
    assert f"{junk}: {bad['problem']}" in narrow and "\n3f1e9a52 " in on_terminal(
        lab, 80, "status", "--config", meter.config, "--state-dir", meter.state)
    assert bad["problem"] in status(meter, "--router", "3f1e9a52", code=4)
    lab.sh(["rm", f"/run/netns/{junk}"])
    meter.sample()
    wait_for(lambda: told(meter, code=(0, 4))["metered"], "all to be well")


def test_a_lock_that_somebody_holds_on_to_leaves_the_router_unmetered_until_it_is_free(lab, meter, backend):
    if backend != "iptables":
        meter.backend = "iptables"
        meter.configure("")
    start(meter)
    lab.run("r1", ["iptables-legacy", "-w", "-t", "mangle", "-F", "PREROUTING"])
    with lab.popen(["flock", "-o", "/run/xtables.lock", "sleep", "60"]) as holder:
        try:
            wait_for(lambda: lab.sh(["flock", "-n", "/run/xtables.lock", "true"]).returncode, "the lock to be held")
            meter.signal(10)
            wait_for(lambda: of(meter, "r1", code=(0, 4))["problem"], "the problem to be told")
            assert "/run/xtables.lock is held by others" in of(meter, "r1", code=4)["problem"]
        finally:
            holder.kill()
    wait_for(lambda: not lab.sh(["flock", "-n", "/run/xtables.lock", "true"]).returncode, "the lock to be free")
    meter.sample()
    wait_for(lambda: told(meter, code=(0, 4))["metered"], "all to be well")


def test_a_router_that_is_not_known_is_exit_status_3(lab, meter):
    start(meter)
    status(meter, "--router", "ffffffff", code=3)
