# SPDX-License-Identifier: GPL-2.0-or-later
"""What machines, and people, get to see, held to the byte: the files of tests/golden against the program's output of one
fixed store. FIPMETER_GOLDEN=write makes the files anew; look at the difference before you commit it.
"""

import csv
import fcntl
import io
import json
import os
import pty
import sqlite3
import struct
import subprocess
import termios
import unicodedata
from contextlib import closing

import pytest
from metering import PROGRAM, ROOT

GOLDEN = ROOT / "tests/golden"
ALL = ("usage", "--since", "2026-07-01T00:00:00Z", "--until", "2026-07-03T00:00:00Z")
FORMULA = "=cmd|' /C calc'!A0"
STRANGE = "\tn\n\r\x1b[31m\"q\",\\;\u202e\x9b"


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A store of the present format with what tests/golden/store.sql has."""
    directory = tmp_path_factory.mktemp("golden")
    schema = [ROOT / "src/store/schema.sql", *sorted((ROOT / "src/store").glob("schema_?.sql"))]
    with closing(sqlite3.connect(directory / "usage.db")) as database:
        for file in (*schema, GOLDEN / "store.sql"):
            database.executescript(file.read_text())
    (directory / "fipmeter.conf").touch()
    return directory


def environment(locale):
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LANG", "LC_CTYPE", "NO_COLOR")}
    return {**kept, "LC_ALL": locale, "TZ": "UTC", "TERM": "xterm"}


def argv_for(store, argv):
    return [PROGRAM, *argv, "--state-dir", store, "--config", store / "fipmeter.conf"]


def output(store, *argv, locale="C.UTF-8", status=0):
    done = subprocess.run(argv_for(store, argv), env=environment(locale), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, b""), argv
    return done.stdout.replace(os.fsencode(store), b"STORE")


def on_terminal(store, columns, *argv, locale="C.UTF-8"):
    """What a terminal of so many columns is sent."""
    master, slave = pty.openpty()
    settings = termios.tcgetattr(slave)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(argv_for(store, argv), env=environment(locale), stdout=slave, stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        os.close(slave)
        sent = b"".join(iter(lambda: read(master), b""))
        os.close(master)
        assert process.wait(60) == 0, process.stderr.read()
    return sent


def read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:     # EIO: nobody holds the other end any more
        return b""


def expect(name, found):
    path = GOLDEN / name
    if os.environ.get("FIPMETER_GOLDEN") == "write":
        path.write_bytes(found)
    assert found.decode() == path.read_bytes().decode(), f"{path} (FIPMETER_GOLDEN=write makes it anew)"


# --- for machines ---

@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize("name, more", [
    ("rows", ["--per", "interval"]), ("hours", ["--per", "hour"]), ("addresses", []), ("nodes", ["--by", "node"]),
    ("classes", ["--by", "class", "--per", "day"]), ("routers", ["--by", "router", "--per", "month"]),
    ("nothing", ["--class", "free"]),
])
def test_usage_for_machines(store, name, more, kind):
    found = output(store, *ALL, *more, "-o", kind)
    expect(f"usage-{name}.{kind}", found)
    assert found == output(store, *ALL, *more, "-o", kind, locale="C"), "machines get the same in every locale"


def test_csv_for_people_is_for_nobody_but_machines(store):
    assert on_terminal(store, 80, *ALL, "-o", "csv") == output(store, *ALL, "-o", "csv")
    assert on_terminal(store, 80, *ALL, "-o", "json") == output(store, *ALL, "-o", "json")


def test_json_gives_back_every_name_and_every_number_as_it_is_kept(store):
    rows = json.loads(output(store, *ALL, "--per", "interval", "-o", "json"))
    assert {row["node"] for row in rows} == {FORMULA, STRANGE, "網路節點-一"}
    assert max(row["in_bytes"] for row in rows) == 2 ** 53 + 1


def test_no_machine_output_holds_a_control_character(store):
    for argv in ([*ALL, "--per", "interval", "-o", "json"], [*ALL, "--per", "interval", "-o", "csv"], ["audit", "-o", "json"],
                 ["explain", "198.51.100.106", "-o", "json"]):
        text = output(store, *argv).decode().replace("\r\n", "\n")
        assert not [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf")], argv


@pytest.mark.parametrize("node", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(store, tmp_path, node):
    with closing(sqlite3.connect(store / "usage.db")) as source, closing(sqlite3.connect(tmp_path / "usage.db")) as copy:
        source.backup(copy)
        copy.execute("UPDATE generation SET node = ?", (node,))
        copy.commit()
    (tmp_path / "fipmeter.conf").touch()
    text = output(tmp_path, *ALL, "--per", "interval", "-o", "csv").decode()
    cells = {row["node"] for row in csv.DictReader(io.StringIO(text, newline=""))}
    assert len(cells) == 1 and cells.pop()[0] in "'\\", "an apostrophe, or the control character as an escape"


# --- explain ---

def test_explain_for_machines(store):
    """The latest row, with a neighbour of control characters in the store; and one in a gap, which is exit status 4."""
    expect("explain-latest.json", output(store, "explain", "198.51.100.101", "-o", "json"))
    expect("explain-gap.json", output(store, "explain", "198.51.100.101", "--at", "2026-07-01T00:59:30Z", "-o", "json", status=4))
    found = output(store, "explain", "198.51.100.106", "-o", "json")
    expect("explain-gone.json", found)
    assert found == output(store, "explain", "198.51.100.106", "-o", "json", locale="C")


@pytest.mark.parametrize("columns", [80, 160])
def test_explain_on_a_terminal(store, columns):
    found = on_terminal(store, columns, "explain", "198.51.100.101").replace(os.fsencode(store), b"STORE")
    lines = found.decode().splitlines()
    paths = [line for line in lines if "usage.db" in line]     # as long as the directory of this run is
    assert max(columns_of(line) for line in lines[:-1] if line not in paths) <= columns and len(lines[-1]) > columns
    assert lines[0] == "address     198.51.100.101, floating IP of 10.0.1.11" and lines[-1].endswith(".")


# --- audit ---

def test_audit_of_a_sound_store(store):
    expect("audit.json", output(store, "audit", "-o", "json"))
    expect("audit.txt", output(store, "audit"))


def test_audit_of_a_store_that_does_not_add_up(store, tmp_path):
    with closing(sqlite3.connect(store / "usage.db")) as source, closing(sqlite3.connect(tmp_path / "usage.db")) as copy:
        source.backup(copy)
        copy.execute("UPDATE meter SET last_in_bytes = last_in_bytes + 1 WHERE meter = 1")
        copy.execute("UPDATE coverage_fact SET node = char(27, 10) || '\"' || node, start_us = start_us - 1 WHERE seq = 3")
        copy.execute("UPDATE coverage_fact SET node = char(27, 10) || '\"' || node WHERE seq < 3")
        copy.commit()
    (tmp_path / "fipmeter.conf").touch()
    expect("audit-findings.json", output(tmp_path, "audit", "-o", "json", status=1))
    expect("audit-findings.txt", output(tmp_path, "audit", status=1))


# --- for people ---

TABLES = [("addresses", []), ("rows", ["--per", "interval"]), ("nodes", ["--by", "node", "--per", "day"])]


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("name, more", TABLES)
def test_usage_on_a_terminal(store, name, more, columns):
    expect(f"usage-{name}-{columns}.txt", on_terminal(store, columns, *ALL, *more))


def test_usage_in_a_file_is_exact_and_as_wide_as_it_is(store):
    expect("usage-rows.txt", output(store, *ALL, "--per", "interval"))


def columns_of(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def test_wide_characters_keep_the_columns_in_line(store):
    """Right-hand columns are numbers, so each line is as long as the others up to there, in columns of a terminal."""
    for columns in (80, 160):
        lines = on_terminal(store, columns, *ALL, "--by", "node").decode().splitlines()[1:-1]
        heading = next(line for line in lines if line.startswith("NODE"))
        at = heading.index(" IN ") + len(" IN")
        wide = next(line for line in lines if "網" in line)
        assert columns_of(wide[:wide.index("PB") + 2]) == at


def test_no_line_is_wider_than_the_terminal_and_none_is_cut_inside_a_character(store, tmp_path):
    with closing(sqlite3.connect(store / "usage.db")) as source, closing(sqlite3.connect(tmp_path / "usage.db")) as copy:
        source.backup(copy)
        copy.execute("UPDATE generation SET router = '路由器一二三四五', node = 'e' || char(769) || '網路節點'")
        copy.commit()
    (tmp_path / "fipmeter.conf").touch()
    for columns in range(60, 100):
        text = on_terminal(tmp_path, columns, *ALL, "--per", "day").decode()
        assert max(map(columns_of, text.splitlines())) <= columns, text


@pytest.mark.parametrize("name, more", TABLES)
def test_where_the_locale_has_ascii_alone_so_has_the_table(store, name, more):
    found = on_terminal(store, 80, *ALL, *more, locale="C")
    assert not [byte for byte in found if byte > 126 or byte < 32 and byte != 10]
    expect(f"usage-{name}-ascii.txt", found)
