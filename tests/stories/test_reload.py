# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGHUP: the configuration is read anew, as a whole or not at all, and nothing that was counted is lost by it."""

import json
import signal
import subprocess

import pytest
from accounts import FIP, expect, floating
from metering import PROGRAM, wait_for
from test_backends import OTHER, standing

F = floating("f")

pytestmark = pytest.mark.own_lab("r1", "r2")


def reload(meter, text):
    meter.configure(text)
    meter.signal(signal.SIGHUP)


def problem(meter):
    """What status says about the configuration; with one of its own, as it would refuse a bad one too."""
    told = meter.run("status", "--config", "/dev/null", "--state-dir", meter.state, "-o", "json", status=(0, 4))
    return [each["message"] for each in json.loads(told.stdout)["problems"] if each["about"] == "configuration"]


def test_classes_change_and_what_was_counted_stays_what_it_was(lab, meter):
    meter.start()
    lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
    reload(meter, "[classes]\npeering = 203.0.113.0/24\n")
    wait_for(lambda: "configuration read anew" in meter.said(), "the reload")
    meter.sample()
    lab.send("far", FIP["f"], proto="udp", count=5, bytes=100)
    meter.sample()
    rows = meter.usage_of(FIP["f"])
    assert sum(row["in_packets"] for row in rows) == 15, rows
    assert {row["class"] for row in rows} == {"internet", "peering"}, rows
    assert sum(row["in_packets"] for row in rows if row["class"] == "peering") == 5


def test_another_back_end_takes_over_while_the_agent_runs(lab, meter, backend):
    meter.start()
    for name in OTHER[backend], backend:
        lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
        meter.backend = name
        reload(meter, "")
        wait_for(lambda: standing(lab, "r1") == {name} and standing(lab, "r2") == {name}, f"{name} alone to count")
    meter.sample()
    lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
    meter.sample()
    expect(lab, meter.usage(), {(*F, "internet"): (30, 3000, 0, 0)})
    gaps = [row["reason"] for row in meter.coverage("r2") if row["state"] == "gap"]
    assert gaps == ["the back end was changed"] * 2, gaps


@pytest.mark.parametrize("text, why", [
    ("[classes]\nfree = 192.0.2.1/24\n", "[classes] free: "),
    ("[store]\npath = /srv/elsewhere\n[classes]\nbig = 192.0.2.0/24\n", "[store] path cannot change while the agent runs"),
    ("[store]\ntimezone = Europe/Berlin\n", "[store] timezone cannot change"),
    ("[backends]\nipset = 3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a\n", "[backends] ipset: no back end"),
    ("[store]\nkeep_hours = 3\n", "[store] keep_hours: 3 is less than keep_minutes"),
], ids=["prefix", "path", "timezone", "backend", "keep"])
def test_what_does_not_do_is_refused_whole_and_told(lab, meter, text, why):
    if "path" in text:
        # The command line rules over the file, and says the same directory before and after.
        meter.node_argv = lambda command, *more: [command, "--config", meter.config, *more]
        meter.configure(f"[store]\npath = {meter.state}\n")
    meter.start()
    settings = meter.config.read_text()
    reload(meter, text)
    told = wait_for(lambda: problem(meter), "the refusal")
    assert len(told) == 1 and why in told[0] and told[0].startswith("not taken, going on with the old one: "), told
    lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
    meter.sample()
    assert {row["class"] for row in meter.query("SELECT class FROM meters")} == {"cloud", "free", "internet"}
    meter.config.write_text(settings)
    meter.signal(signal.SIGHUP)
    wait_for(lambda: "well again configuration" in meter.said() and not problem(meter), "the end of the refusal")
    expect(lab, meter.usage(), {(*F, "internet"): (10, 1000, 0, 0)})


@pytest.mark.parametrize("flavour", ["nft"], indirect=True)
@pytest.mark.parametrize("backend", ["count-nft"], indirect=True)
def test_a_dry_run_reads_it_anew_too_and_changes_nothing(lab, backend, tmp_path):
    config, log = tmp_path / "fipmeter.conf", tmp_path / "log"
    config.write_text("[agent]\nbackend = nft\n")
    with log.open("w") as said:
        process = lab.popen([PROGRAM, "agent", "--dry-run", "--config", config, "--state-dir", tmp_path / "state"],
                            stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    wait_for(lambda: "metering node=" in log.read_text(), "the agent to look")
    config.write_text("[agent]\nbackend = nft\n[classes]\nfree = 192.0.2.1/24\n")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "[classes] free: " in log.read_text(), "the refusal")
    config.write_text("[agent]\nbackend = nft\ninterval = 30\n")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "read anew backend=nft interval=30s" in log.read_text(), "the reload")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, log.read_text()
    assert "would create counters" in log.read_text() and not (tmp_path / "state").exists()
    assert not standing(lab, "r1") and not standing(lab, "r2")
