# SPDX-License-Identifier: GPL-2.0-or-later
"""watch: what is sent while it looks is what it shows, to the byte, by each back end and without an agent; and on a terminal it
is a screen that obeys its keys.
"""

import json
import os
import pty
import shlex
import subprocess

import pytest
from accounts import FIP, GATEWAY
from conftest import make_lab
from metering import PATIENCE_S, PROGRAM, Meter, wait_for
from test_docs import expect_schema


@pytest.fixture(scope="module")
def lab():
    with make_lab("watch", "nft", ["r1"]) as standing:
        yield standing


@pytest.fixture
def meter(lab, request, tmp_path):
    """Counters stand, and no agent runs."""
    meter = Meter(lab, tmp_path, getattr(request, "param", "nft"))
    meter.once()
    yield meter
    meter.leave()


def argv(meter, *more):
    return [PROGRAM, "watch", "--config", meter.config, *more]


def lines_of(meter):
    """JSON, as long as anybody would wait."""
    return argv(meter, "-o", "json", "--count", PATIENCE_S)


@pytest.mark.parametrize("meter", ["nft", "iptables", "ebpf"], indirect=True)
def test_what_is_sent_while_it_looks_is_what_it_shows(lab, meter):
    lab.send("far", FIP["a"], proto="udp", count=5, bytes=100)
    with lab.popen(lines_of(meter), stdout=subprocess.PIPE, text=True) as process:
        lines = [json.loads(process.stdout.readline())]         # from now on it counts
        lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
        lab.send("c", "203.0.113.9", proto="udp", count=4, bytes=200)
        while sum(each["out_bytes"] for line in lines for each in line["addresses"]) < 800:
            lines.append(json.loads(process.stdout.readline()))
        process.terminate()
    assert (lines[0]["addresses"], lines[0]["routers"], lines[0]["counting"], lines[0]["failed"]) == ([], 1, 1, 0)
    seen = [each for line in lines for each in line["addresses"]]
    assert {each["address"] for each in seen} == {FIP["a"], GATEWAY["r1"]} and {each["router"] for each in seen} == {
        lab.routers["r1"].uuid}
    assert sum(each["in_bytes"] for each in seen) == 700 and sum(each["in_packets"] for each in seen) == 7
    assert sum(each["out_bytes"] for each in seen) == 800
    assert all(each["interval_us"] > 0 for each in seen)
    assert sum(of["in_bytes"] for each in seen for of in each["classes"] if of["class"] == "internet") == 700
    expect_schema("watch", next(line for line in lines if line["addresses"]))
    assert meter.query("SELECT * FROM usage_fact") == [], "nothing of it is in the books"


def test_a_table_a_second_into_a_pipe(lab, meter):
    with lab.popen(argv(meter, "--plain", "--count", PATIENCE_S, "--sort", "in"), stdout=subprocess.PIPE, text=True) as process:
        assert "0 of 4 addresses have traffic, 1 of 1 routers have counters" in process.stdout.readline()
        lab.send("far", FIP["b"], proto="udp", count=5, bytes=100)
        line = next(line for line in process.stdout if line.startswith(FIP["b"]))
        process.terminate()
    address, router, in_bytes, out_bytes, in_packets, out_packets = line.split()
    assert router == lab.routers["r1"].uuid and 0 < int(in_bytes) <= 500 and (out_bytes, out_packets) == ("0", "0")


def test_count_is_the_number_of_tables_and_without_counters_there_is_nothing_to_see(lab, meter):
    meter.detach()
    done = lab.sh(argv(meter, "--count", "1"))
    assert done.returncode == 0 and "0 of 0 addresses have traffic, 0 of 1 routers have counters" in done.stdout
    assert done.stdout.count("routers have") == 1


def test_a_router_that_goes_is_let_go_and_one_that_comes_is_seen(lab, meter):
    def held(process):
        return [name for name in map(os.readlink, (each.path for each in os.scandir(f"/proc/{process.pid}/fd"))) if "qrouter-" in name]

    def until(process, condition):
        return next(line for line in map(json.loads, process.stdout) if condition(line))

    with lab.popen(lines_of(meter), stdout=subprocess.PIPE, text=True) as process:
        until(process, lambda line: line["counting"] == 1)
        assert len(held(process)) == 1
        lab.router_drop("r1")
        assert until(process, lambda line: line["routers"] == 0)["known"] == 0 and not held(process)
        lab.router_add("r1")
        meter.once(status=(0, 4))
        assert until(process, lambda line: line["counting"] == 1)["known"] == 4
        assert len(held(process)) == 1
        process.terminate()


# --- the screen ---

class Terminal:
    """tmux around the command, of a size: what it shows, and keys for it."""

    def __init__(self, lab, directory, columns, command):
        self.lab, self.socket, self.status = lab, directory / "tmux", directory / "status"
        self._tmux("-f", "/dev/null", "-u", "new-session", "-d", "-x", columns, "-y", 24, "-e", "LC_ALL=C.UTF-8",
                   f"{shlex.join(map(str, command))}; echo $? >{self.status}")

    def _tmux(self, *words):
        done = self.lab.sh(["tmux", "-S", self.socket, *map(str, words)])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def press(self, *keys):
        self._tmux("send-keys", *keys)

    def shows(self, *texts):
        """The lines of the screen that has all of the texts."""
        def found():
            shown = self._tmux("capture-pane", "-p")
            return shown.splitlines() if all(text in shown for text in texts) else None

        return wait_for(found, f"the screen to show {texts}")

    def ended(self):
        return wait_for(lambda: self.status.exists() and self.status.read_text().strip(), "the command to end")

    def close(self):
        self.lab.sh(["tmux", "-S", self.socket, "kill-server"])


@pytest.fixture
def terminal(lab, meter, tmp_path):
    opened = []

    def start(columns):
        opened.append(Terminal(lab, tmp_path, columns, argv(meter)))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.mark.parametrize("columns", [80, 160])
def test_a_screen_that_obeys_its_keys(lab, terminal, columns):
    on = terminal(columns)
    lines = on.shows("4 of 4 addresses, by total, class all", "? help")
    assert [line.split()[0] for line in lines[3:7]] == [GATEWAY["r1"], FIP["a"], FIP["b"], FIP["e"]] and max(map(len, lines)) <= columns
    assert ("internet" in lines[2]) == (columns == 160), "classes beside each other where there is room"
    on.press("z")
    on.shows("0 of 4 addresses (idle ones left out)")
    on.press("a", "z", "/", ".102", "Enter")
    assert [line.split()[0] for line in on.shows("1 of 4 addresses, by address, class all, filter .102")[3:4]] == [FIP["b"]]
    lab.send("far", FIP["b"], proto="udp", count=9, bytes=1000)
    on.shows("█")
    on.press("Escape", "c", "b")
    on.shows("4 of 4 addresses, by address, class cloud\n", "0 b/s")
    on.press("Space")
    on.shows("PAUSED")
    on.press("?")
    assert max(map(len, on.shows("any key goes back"))) < 80
    on.press("x", "q" if columns == 80 else "C-c")
    assert on.ended() == "0"


def test_a_terminal_that_nobody_knows_is_said(lab, meter):
    master, slave = pty.openpty()
    done = subprocess.run(["nsenter", f"--mount=/proc/{lab.inside.pid}/ns/mnt", *argv(meter)], stdin=slave, stdout=slave,
                          stderr=subprocess.PIPE, text=True, timeout=30, env={**os.environ, "TERM": "none-of-these"})
    os.close(slave), os.close(master)
    said = done.stderr.splitlines()[0]     # a sanitizer has more: ncurses does not give back what it took before it failed
    assert done.returncode == 1 and said == ("fipmeter watch: the terminal none-of-these is not known here (set TERM, or ask for "
                                             "--plain)")
