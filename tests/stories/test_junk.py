# SPDX-License-Identifier: GPL-2.0-or-later
"""What else may lie in the netns directory: it is passed over with one line at most, and all routers are metered."""

import time

import pytest
from accounts import FIP, expect, floating
from metering import wait_for

pytestmark = pytest.mark.own_lab("r1")

NAME = "qrouter-00000000-1111-4222-8333-444444444444"    # a router's, so something may be unmetered
A = floating("a")

# What each lays at "$1"; $2 is the file of a real router.
KINDS = {
    "a plain file": 'touch "$1"',
    "a directory": 'mkdir "$1"',
    "a link to a real router": 'ln -s "$2" "$1"',
    "a link to nothing": 'ln -s /nowhere "$1"',
    "a fifo": 'mkfifo "$1"',
    "a namespace of another kind": 'touch "$1"; mount --bind /proc/self/ns/uts "$1"',
    "the host's own network namespace": 'touch "$1"; mount --bind /proc/self/ns/net "$1"',
    "a dead socket": '/usr/bin/python3 -c "import socket, sys; socket.socket(1).bind(sys.argv[1])" "$1"',
}


def lay(lab, kind, name):
    script = ["sh", "-ec", KINDS[kind], "sh", f"/run/netns/{name}", f"/run/netns/{lab.routers['r1'].namespace}"]
    done = lab.sh(script)
    assert done.returncode == 0, done.stderr


def complaints(text, name):
    return [line for line in text.splitlines() if name in line]


def meter_beside(lab, meter, status):
    """Three looks, with traffic; what the second one says on stderr."""
    meter.once(status=status)
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    said = meter.once(status=status).stderr
    expect(lab, meter.usage(), {(*A, "internet"): (10, 1000, 0, 0)})
    return said


@pytest.fixture(autouse=True)
def leave_with_junk(meter):
    """detach may say, as the agent does, that something is not metered: the lab goes anyway."""
    yield
    meter.detach = lambda: None


@pytest.mark.parametrize("kind", KINDS)
def test_junk_with_the_name_of_a_router_is_told_in_one_line_and_the_others_are_metered(lab, meter, kind):
    lay(lab, kind, NAME)
    said = meter_beside(lab, meter, status=4)
    assert len(complaints(said, NAME)) == 1, said
    assert len(said.splitlines()) == 1, said


@pytest.mark.parametrize("name", ["qrouter-nonsense", "qrouter-", "qrouter", "snat-", "dhcp-1", "junk",
                                  NAME + "-more", NAME.upper()])
@pytest.mark.parametrize("kind", ["a plain file", "a link to a real router"])
def test_junk_that_is_named_like_no_router_leaves_nothing_unmetered(lab, meter, kind, name):
    lay(lab, kind, name)
    said = meter_beside(lab, meter, status=0)
    assert len(said.splitlines()) <= 1, said


def test_names_with_control_characters_reach_no_terminal(lab, meter):
    for name in ("qrouter-\x1b[31mred", NAME + "\x1b]0;title\x07", "\x1b[2J", "two\nlines", "qrouter-\nlines"):
        lay(lab, "a plain file", name)
        lab.run(None, ["ip", "netns", "add", name + "-real"])
    said = meter_beside(lab, meter, status=0)
    assert not [c for c in said if c < " " and c != "\n"]


def test_a_real_namespace_that_is_no_router_is_none_of_our_business(lab, meter):
    for name in ("qrouter-nonsense", "qrouter-x", "dhcp-00000000-1111-4222-8333-444444444444"):
        lab.run(None, ["ip", "netns", "add", name])
        assert lab.run(name, ["nft", "list", "ruleset"]) == "" if name.startswith("qrouter-") else True
    meter_beside(lab, meter, status=0)
    for name in ("qrouter-nonsense", "qrouter-x"):
        assert lab.run(name, ["nft", "list", "ruleset"]) == ""


def test_a_running_agent_tells_of_junk_once_and_of_its_end_once(lab, meter):
    lay(lab, "a fifo", NAME)
    meter.start()
    for _ in range(3):
        meter.sample()
    assert len(complaints(meter.said(), NAME)) == 1, meter.said()
    lab.run(None, ["rm", f"/run/netns/{NAME}"])
    meter.sample()
    meter.sample()
    assert len(complaints(meter.said(), NAME)) <= 2, meter.said()


def test_a_second_name_for_a_router_does_not_bill_it_twice(lab, meter):
    """The same namespace mounted on another router's name: whoever is told of it, each packet counts once."""
    real = f"/run/netns/{lab.routers['r1'].namespace}"
    lab.run(None, ["touch", f"/run/netns/{NAME}"])
    lab.run(None, ["mount", "--bind", real, f"/run/netns/{NAME}"])
    for _ in range(2):
        meter.once(status=(0, 4))
    lab.send("far", FIP["a"], proto="udp", count=10, bytes=100)
    meter.once(status=(0, 4))
    assert sum(row["in_packets"] for row in meter.usage_of(FIP["a"])) == 10


def test_an_empty_or_missing_netns_directory_is_metered_without_a_word(lab, meter, tmp_path):
    (tmp_path / "empty").mkdir()
    for directory in ("empty", "missing"):
        done = meter.once("--netns-dir", tmp_path / directory)
        assert done.stderr == "", done.stderr


@pytest.mark.own_lab("r1")
def test_a_running_agent_complains_of_junk_once_and_says_when_it_is_gone(lab, meter):
    junk = "qrouter-3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a"
    meter.start()
    lab.sh(["touch", f"/run/netns/{junk}"])
    wait_for(lambda: junk in meter.said(), "a complaint")
    for _ in range(3):
        meter.sample()
        time.sleep(0.05)
    time.sleep(2.5)     # as long as a name may wait for its namespace
    meter.sample()
    assert meter.said().count(junk) == meter.said().count(f"namespace={junk}") * 2 == 2, meter.said()
    lab.sh(["rm", f"/run/netns/{junk}"])
    meter.sample()
    wait_for(lambda: f"well again namespace={junk}" in meter.said(), "the end of the complaint")
