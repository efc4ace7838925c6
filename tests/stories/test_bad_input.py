# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever is put in: one clear error of at most two lines that shows no control character, the exit status of the
contract (1 failed, 2 wrong usage, 3 not known), and nothing damaged: the files of the state directory stay the same to the
byte. What a running agent does with junk is in test_junk, with a bad configuration at a reload in test_reload.

Each run has a mount namespace of its own, with an empty /run, so that most of this needs no lab.
"""

import csv
import io
import json
import re
import sqlite3
import subprocess
from contextlib import closing

import pytest
from metering import PROGRAM, Meter
from rules import all_listings
from test_capabilities import CAPABILITIES

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\n\"'\r\t\\\u202e\u2028\u0085"
BIG = "x" * 65536
NO_TEXT = b"\xff\xfe\x1b"
UUID = "3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a"

INSIDE = 'mount -t tmpfs none /run; mkdir /run/netns; eval "$0"; exec "$@"'
BARE = ["--bounding-set", "-all,+sys_admin,+net_admin,+net_raw,+net_broadcast,+sys_ptrace"]  # no leave to open any file


def run(*argv, before="", under=()):
    """Run fipmeter in a mount namespace of its own, after the commands of a shell."""
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", INSIDE, before, *under, PROGRAM, *argv],
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    done.stdout, done.stderr = (part.decode("utf-8", "surrogateescape") for part in (done.stdout, done.stderr))
    return done


def shows_no_control(text, allowed="\n"):
    return not [c for c in text if c not in allowed and
                (ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u2028\u2029" or 0xdc80 <= ord(c) <= 0xdcff)]


def complains(done, status, *told):
    """The one clear error."""
    assert done.returncode == status, (done.returncode, done.stderr[:2000], done.stdout[:200])
    assert done.stdout == "", done.stdout[:200]
    assert 1 <= done.stderr.count("\n") <= 2 and done.stderr.endswith("\n") and len(done.stderr) < 2000, done.stderr[:3000]
    assert done.stderr.startswith("fipmeter") and shows_no_control(done.stderr), repr(done.stderr)
    for part in told:
        assert part in done.stderr, (part, done.stderr)


# --- options ---

def listed(*argv):
    return [line.split("\t") for line in run(*argv).stdout.splitlines()]


COMMANDS = [line[0] for line in listed("--list-commands")]
OPTIONS = [(command, name, kind) for command in COMMANDS
           for name, _, _, kind, _ in listed(command, "--list-options") if name != "help"]

# What a command cannot do without.
NEEDS = {"agent": ["--once"], "explain": ["192.0.2.1"], "verify": ["--address=192.0.2.1"]}

NO_TIME = ["", "yesterday", "2026-13-01", "2026-02-30", "20260723", "2026-07-23T25:00", "2026-07-23T12:00+25:00", "-1y",
           "-", "+1h", "1.5h", "1e9", "0x10", "99999999999999999999", "1969-12-31", "-99999999999999999999d"]

# What does not do, and what the error says of it.
WRONG = {
    "since": (NO_TIME, "--since"),
    "until": (NO_TIME, "--until"),
    "at": (NO_TIME, "--at"),
    "count": (["0", "-1", "1.5", "1000001", "0x10", " 1", "99999999999999999999"], "right: whole seconds from 1 to 1000000"),
    "sort": (["Total", "rate", "in "], "right: total, in, out, packets, address or router"),
    "per": (["week", "Day", "hour "], "right: interval, minute, hour, day, month or total"),
    "by": (["ip", "Router"], "right: address, router, class, project or node"),
    "output": (["xml", "JSON", "table,json"], "right: table"),
    "address": (["1.2.3", "1.2.3.4/32", "1.2.3.256", "::1", "localhost", "0.0.0.0", " 1.2.3.4"], "right: 192.0.2.1"),
    "class": (["Internet", "a b", "9", "abcdefghijklmnop"], "right: internet"),
    "interval": (["0", "-1", "3601", "1.5", "60s", "0x10", "1e3", " 60", "99999999999999999999"],
                 "right: whole seconds from 1 to 3600"),
    "backend": (["NFT", "xdp", "nft,iptables"], "right: auto, nft, iptables"),
    "port": (["0", "-1", "65536", "http", "0x10", " 1"], "right: a whole number from 1 to 65535"),
    "mtu": (["575", "65536", "1.5k"], "right: a whole number from 576 to 65535"),
    "scale": (["0", "1000001", "1e2"], "right: a whole number from 1 to 1000000"),
    "test": (["in", "1G:in:1M", "in:1G:0", "in:1G:1M:a b"], "right: in:1G:100M"),
    "node": (["two words", "tab\tbed", "n" * 256], "right: a name"),
}


@pytest.mark.parametrize("command, name, kind", OPTIONS, ids=lambda value: value)
def test_an_option_with_a_value_that_does_not_do(command, name, kind, tmp_path):
    fixed = [command, *NEEDS.get(command, [])[:command in ("explain", "verify")], "--config=/dev/null", f"--state-dir={tmp_path / 'none'}"]
    fixed = fixed[:2] if command in ("plan", "watch") else fixed
    if kind == "none":
        complains(run(*fixed, f"--{name}=no"), 2, f"--{name} takes no value")
        return
    complains(run(*fixed, f"--{name}"), 2, f"--{name}")     # nothing behind it
    complains(run(*fixed, f"--{name}", ""), 2, f"--{name} is empty")
    for value in WRONG[name][0] if name in WRONG else []:
        complains(run(*fixed, f"--{name}={value}"), 2, WRONG[name][1] if value else f"--{name} is empty")
    if name in WRONG:
        complains(run(*fixed, f"--{name}", HOSTILE), 2, r"a\x1b[31mred\x1b]0;title\x07\x0a", WRONG[name][1])
        complains(run(*fixed, f"--{name}", BIG), 2, WRONG[name][1], "characters ...")
    if kind == "text":
        complains(run(*fixed, f"--{name}", NO_TEXT), 2, r"'\xff\xfe\x1b' is no text")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("argv", [["--state-dir"], ["--wrong"], ["-q"], ["--"], ["word"], [""], [HOSTILE], [BIG],
                                  [NO_TEXT], ["--", HOSTILE], [f"--{HOSTILE}"], [f"--{BIG}=1"]], ids=range(12))
def test_arguments_that_no_command_takes(argv):
    for command in COMMANDS:
        if argv == ["--"]:
            argv = ["--", "word"]
        complains(run(command, *argv), 2, f"fipmeter {command} --help")


@pytest.mark.parametrize("argv", [["word"], [""], ["USAGE"], ["usage "], ["-x"], ["--since"], [HOSTILE], [BIG], [NO_TEXT],
                                  ["-" + HOSTILE]], ids=range(10))
def test_a_command_that_does_not_exist(argv):
    complains(run(*argv), 2, "fipmeter --help")


def test_a_time_that_ends_before_it_begins(tmp_path):
    complains(run("usage", "--since", "-1h", "--until", "-2h"), 2, "--since -1h is later than --until -2h")


# --- the configuration ---

CONFIGURATIONS = {
    "section": ("[agents]\n", "[agents]: unknown section (right: agent, store"),
    "hostile section": ("[a\x1b[31m]\n", "conf: "),
    "key": ("[agent]\ninterwal = 60\n", "[agent] interwal: unknown key (right: interval, "),
    "hostile key": ("[classes]\n\x1b[31m\x07 = 10.0.0.0/8\n", r"Invalid key name: \x1b[31m\x07"),
    "long key": (f"[agent]\n{BIG} = 1\n", "unknown key (right: interval, "),
    "long section": (f"[{BIG}]\nnode = 1\n", "unknown section (right: agent, "),
    "long line": (BIG, "right: [section], then key = value"),
    "prefix": ("[classes]\nfree = 10.0.0.1/8\n", "[classes] free: ", "right: 10.0.0.0/8"),
    "no prefix": ("[classes]\nfree = 10.0.0.0/33\n", "[classes] free: ", "right: "),
    "hostile prefix": ("[classes]\nfree = \x1b]0;x\x07\n", r"[classes] free: ", r"\x1b]0;x\x07", "right: "),
    "long prefix": (f"[classes]\nfree = {BIG}\n", "[classes] free: ", "right: "),
    "IPv6 prefix": ("[classes]\nfree = 2001:db8::/32\n", "[classes] free: ", "right: "),
    "one prefix in two classes": ("[classes]\nfree = 10.0.0.0/8\npeering = 10.0.0.0/8\n", "[classes] peering: 10.0.0.0/8",
                                  "class free"),
    "interval": ("[agent]\ninterval = often\n", "[agent] interval: 'often'", "right: whole seconds from 1 to 3600"),
    "long interval": ("[agent]\ninterval = " + "9" * 65536 + "\n", "[agent] interval: ", "right: whole seconds"),
    "place": ("[agent]\nebpf_place = ingress\n", "[agent] ebpf_place: 'ingress'", "right: auto, link or rule"),
    "node": ("[agent]\nnode = a\x1b[31mb\n", "[agent] node: ", r"\x1b", "right: a name without blanks"),
    "long node": (f"[agent]\nnode = {BIG}\n", "[agent] node: ", "right: a name of at most 255 bytes"),
    "path": ("[store]\npath = usage\n", "[store] path: 'usage'", "right: an absolute path"),
    "time zone": ("[store]\ntimezone = \x1b[2J\n", "[store] timezone: ", r"\x1b[2J", "right: a time zone"),
    "quota": ("[store]\nquota = much\n", "[store] quota: 'much'", "right: "),
    "router": ("[backends]\nnft = \x1b[31m\n", "[backends] nft: ", r"\x1b[31m", "right: the router's id"),
    "out_point": ("[agent]\nout_point = Egress\n", "[agent] out_point: 'Egress'", "right: ingress or egress"),
    "hostile out_point": ("[agent]\nout_point = \x1b[31m\n", "[agent] out_point: ", r"\x1b[31m", "right: ingress or egress"),
    "NUL": ("[agent]\n\0\n", "NUL byte"),
}


@pytest.fixture
def config(tmp_path):
    return tmp_path / "fipmeter.conf"


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_configuration_that_does_not_do_stops_every_command(case, config, tmp_path):
    text, *told = CONFIGURATIONS[case]
    config.write_text(text)
    for command in COMMANDS if len(text) < 1000 else ["agent", "usage"]:
        argv = [command, "--config", config, *NEEDS.get(command, [])]
        complains(run(*argv), 1, f"fipmeter {command}: {config}: ", *told)


@pytest.mark.parametrize("command", ["agent", "plan", "detach"])
@pytest.mark.parametrize("text, more, has", [
    ("", [], "auto"), ("backend = nft\n", [], "nft"), ("backend = ebpf\n", ["--backend", "iptables"], "iptables"),
    ("[backends]\nnft = 3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a\n", [], "auto")])
def test_egress_where_no_router_is_counted_by_what_can(config, command, text, more, has):
    config.write_text(f"[agent]\nout_point = egress\n{text}")
    complains(run(command, "--config", config, *NEEDS.get(command, []), *more), 1,
              f"fipmeter {command}: {config}: [agent] out_point: egress takes back end ebpf", f"the back end is {has}",
              "right: backend = ebpf, or [backends] ebpf = ROUTER, or out_point = ingress")


def test_a_configuration_that_cannot_be_read(config, tmp_path):
    (tmp_path / "directory").mkdir()
    config.write_text("[agent]\n")
    config.chmod(0)
    for command in [[each, *NEEDS.get(each, [])] for each in COMMANDS]:
        complains(run(*command, "--config", tmp_path / "none"), 1, f"{tmp_path}/none: No such file", "right: ")
        complains(run(*command, "--config", tmp_path / "directory"), 1, "/directory: Is a directory", "right: ")
        complains(run(*command, "--config", config, under=["setpriv", *BARE]), 1, f"{config}: Permission denied")
        complains(run(*command, "--config", HOSTILE), 1, r"a\x1b[31mred", "right: ")
        complains(run(*command, "--config", BIG), 1, "File name too long", "right: ")
    complains(run("usage", "--config", "/dev/zero"), 1, "/dev/zero: File too large", "right: ")


def test_text_that_is_no_utf8(config):
    config.write_bytes(b"[agent]\nnode = \xff\n")
    complains(run("agent", "--once", "--config", config), 1, f"{config}: is not UTF-8")


# --- the state directory ---

def files(directory):
    """All that is kept there, without what each opening writes: the lock's pid, an empty WAL and its index."""
    kept = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    return {name: text for name, text in kept.items() if name not in ("lock", "usage.db-shm") and
            (name, text) != ("usage.db-wal", b"")}


def writer(command):
    return [command, *NEEDS.get(command, [])]


WRITERS, READERS = ["agent", "detach"], ["usage", "audit", "explain"]


def put(state, statements):
    """Change a store past the program."""
    with closing(sqlite3.connect(state / "usage.db")) as store:
        store.execute("PRAGMA foreign_keys = OFF")
        store.executescript(statements) if isinstance(statements, str) else [store.execute(*each) for each in statements]
        store.commit()


@pytest.fixture
def state(tmp_path):
    """A store that the agent has made."""
    state = tmp_path / "state"
    done = run("agent", "--once", "--config", "/dev/null", "--state-dir", state)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return state


def refuses(state, commands, *told, **how):
    before = files(state) if state.is_dir() else None
    for command in commands:
        complains(run(*writer(command), "--config", "/dev/null", "--state-dir", state, **how), 1, *told)
        assert before is None or files(state) == before, command


def test_a_state_directory_on_a_read_only_mount(state):
    before = f"mount --bind {state} {state}; mount -o remount,bind,ro {state}"
    refuses(state, WRITERS, f"the store in {state} cannot be written", "Read-only file system", "(the agent needs to",
            before=before)
    before = files(state)
    done = run("usage", "--state-dir", state, "--config", "/dev/null", before=f"mount --bind {state} {state}; "
               f"mount -o remount,bind,ro {state}")
    assert done.returncode in (0, 1) and shows_no_control(done.stderr) and files(state) == before


def test_a_state_directory_that_is_to_be_made_where_nothing_can_be(tmp_path):
    place = tmp_path / "mount"
    place.mkdir()
    refuses(place / "state", WRITERS, f"{place}/state: Read-only file system", "name another with --state-dir",
            before=f"mount -t tmpfs -o ro none {place}")
    assert not list(place.iterdir())


def test_a_file_in_place_of_the_state_directory_or_above_it(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    refuses(file, WRITERS, f"{file}", "ile", "--state-dir")
    refuses(file / "state", WRITERS, f"{file}/state: Not a directory", "--state-dir")
    refuses(file, READERS, f"there is no usage in {file} yet")
    assert file.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_state_directory_without_permission(state, tmp_path):
    state.chmod(0)
    bare = {"under": ["setpriv", *BARE]}
    refuses(state, WRITERS, f"the store in {state} cannot be written", "Permission denied", "needs to own", **bare)
    refuses(state, READERS, f"{state}/usage.db: Permission denied", "in the group fipmeter", **bare)
    state.chmod(0o500)
    (state / "lock").unlink()
    refuses(state, WRITERS, f"the store in {state} cannot be written", "Permission denied", **bare)
    tmp_path.chmod(0o500)
    refuses(tmp_path / "new", WRITERS, f"{tmp_path}/new: Permission denied", "--state-dir", **bare)


@pytest.mark.parametrize("name", ["lock", "usage.db"])
def test_a_directory_in_place_of_a_file_of_the_store(state, name):
    (state / name).unlink()
    (state / name).mkdir()
    refuses(state, WRITERS, f"{state}/{name}")


def test_a_link_in_place_of_the_lock(state):
    (state / "lock").unlink()
    (state / "lock").symlink_to(state / "elsewhere")
    refuses(state, WRITERS, f"{state}/lock: ", "symbolic links")
    assert not (state / "elsewhere").exists()


def test_a_file_system_without_room(tmp_path):
    """It fails with a remedy where there is no room for the tables; nothing that looks like a store is left."""
    place = tmp_path / "mount"
    place.mkdir()
    refuses(place / "state", WRITERS, "usage.db", "is full", "make room there",
            before=f"mount -t tmpfs -o size=40k none {place}")


def test_a_store_of_a_newer_version(state):
    put(state, "PRAGMA user_version = 999")
    refuses(state, WRITERS + READERS, f"{state}/usage.db: made by a newer fipmeter (format 999, this one knows",
            "install that one, or move the file away")
    for command in "status", "doctor":
        done = run(command, "--state-dir", state, "--config", "/dev/null")
        assert done.returncode == 4 and "made by a newer fipmeter" in done.stdout and done.stderr == ""


NO_STORES = {
    "text": lambda path: path.write_text("no database\n" * 100),
    "control characters": lambda path: path.write_bytes(HOSTILE.encode() * 1000),
    "another program's": lambda path: sqlite3.connect(path).executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1)"),
    "a half": lambda path: path.write_bytes(path.read_bytes()[:path.stat().st_size // 2]),
    "a page of zeros": lambda path: path.write_bytes(path.read_bytes()[:8192] + bytes(4096) + path.read_bytes()[12288:]),
}


@pytest.mark.parametrize("case", NO_STORES)
def test_a_store_that_is_no_database_is_left_alone_by_readers_and_set_aside_by_the_agent(state, case):
    for rest in state.glob("usage.db-*"):
        rest.unlink()
    if case == "another program's":
        (state / "usage.db").unlink()
    NO_STORES[case](state / "usage.db")
    was = (state / "usage.db").read_bytes()
    for command in READERS if case not in ("a half", "a page of zeros") else []:
        complains(run(*writer(command), "--config", "/dev/null", "--state-dir", state), 1, f"{state}/usage.db: ")
        assert (state / "usage.db").read_bytes() == was
    done = run("agent", "--once", "--config", "/dev/null", "--state-dir", state)
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and shows_no_control(done.stderr), done.stderr
    aside = re.search(r"set aside as (usage\.db\.damaged-[0-9TZ]+)", done.stderr)[1]
    assert (state / aside).read_bytes() == was
    assert run("audit", "--config", "/dev/null", "--state-dir", state).returncode == 0


def test_a_time_zone_other_than_the_store_has_settled(state, config):
    config.write_text("[store]\ntimezone = Europe/Berlin\n")
    before = files(state)
    for command in WRITERS:
        complains(run(*writer(command), "--config", config, "--state-dir", state), 1, "its days are those of UTC",
                  "set [store] timezone = UTC")
    assert files(state) == before


@pytest.mark.parametrize("name", [HOSTILE, NO_TEXT, "d" * 255], ids=["hostile", "bytes", "long"])
def test_a_state_directory_with_a_hostile_name(tmp_path, name):
    """It is a name like others: it does, and is shown so that a terminal does not obey."""
    state = str(tmp_path).encode() + b"/" + (name if isinstance(name, bytes) else name.encode())
    for argv, status in [(["usage"], 1), (["status"], 4), (["agent", "--once"], 0), (["audit"], 0), (["audit", "-o", "json"], 0),
                         (["status", "-o", "json"], 4), (["doctor"], 4), (["doctor", "-o", "json"], 4), (["usage"], 0),
                         (["detach"], 0)]:
        done = run(*argv, "--config", "/dev/null", "--state-dir", state)
        assert done.returncode == status and shows_no_control(done.stdout + done.stderr), (argv, done)
        if "json" in argv:
            json.loads(done.stdout)
    (tmp_path / "file").touch()
    complains(run("agent", "--once", "--config", "/dev/null", "--state-dir", str(tmp_path / "file").encode() + b"/" +
                  state.split(b"/")[-1]), 1, "Not a directory")


# --- the environment ---

ENVIRONMENT = {"TZ": [HOSTILE, ":/dev/zero", "Mars/Olympus"], "COLUMNS": ["-1", HOSTILE, "0"], "LC_ALL": [HOSTILE, "xx_XX"],
               "NOTIFY_SOCKET": [HOSTILE, "/none", "@" + "n" * 200], "WATCHDOG_USEC": ["-1", HOSTILE, "0"],
               "JOURNAL_STREAM": [HOSTILE, "1:1"], "PATH": [HOSTILE, "", "/dev/null", "p" * 5000]}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_an_environment_of_nonsense_is_passed_over(state, name):
    for value in ENVIRONMENT[name]:
        for argv, status in [(["agent", "--once"], 0), (["usage", "--since", "-1h"], 0), (["status"], 4), (["doctor"], 4)]:
            done = run(*argv, "--config", "/dev/null", "--state-dir", state, under=["env", f"{name}={value}"])
            assert done.returncode == status and shows_no_control(done.stdout + done.stderr), (value, argv, done)


# --- names in the store, and of namespaces ---

def plant(state, name):
    """A row, a gap and a reading that does not add up, of a router and a node with that name."""
    put(state, [
        ("INSERT INTO generation VALUES (1, 'tag', 'boot', ?1, ?1, ?1, 'skb', 1, 1, 1, 1, 'ingress')", (name,)),
        ("INSERT INTO meter VALUES (1, 1, 'floating', '192.0.2.1', '10.0.0.1', 'internet', 0, 1, 1, 0, 0, 0, 0, 2, 2, 9, 9,"
         " 9, 9, 0)", ()),
        ("INSERT INTO usage_fact VALUES (1, 1, 1, 1000000, 2000000, 5, 1, 5, 1, 0, 5, 1, 5, 1)", ()),
        ("UPDATE store SET last_seq = 1", ()),
        ("INSERT INTO coverage_fact VALUES (1, 1, ?1, ?1, '', 1, 9000000000000000, 'gap', ?1)", (name,)),
    ])


NAMES = {"hostile": HOSTILE, "long": BIG, "formula": "=cmd|' /C calc'!A0", "quotes": 'a"b,c\'', "bytes": NO_TEXT}


@pytest.mark.parametrize("case", NAMES)
def test_names_in_the_store_are_shown_as_text_and_obeyed_by_nobody(state, case):
    name = NAMES[case]
    plant(state, name)
    if case == "bytes":
        put(state, "UPDATE generation SET node = CAST(node AS TEXT), router = CAST(router AS TEXT)")
    before = files(state)
    for argv in [["usage", "--since", "0", *more] for more in ([], ["--by", "node"], ["--by", "router"],
                                                               ["--per", "interval"])] + [["audit"], ["status"], ["doctor"],
                                                                ["explain", "192.0.2.1"]]:
        for form in [[], ["-o", "json"], ["-o", "csv"]]:
            if form == ["-o", "csv"] and argv[0] != "usage":
                continue
            done = run(*argv, *form, "--config", "/dev/null", "--state-dir", state)
            codes = {"usage": 0, "audit": 1, "status": 4, "doctor": 4, "explain": 4}
            assert done.returncode == codes[argv[0]] and done.stderr == "", (argv, done.stderr)
            assert shows_no_control(done.stdout, "\r\n" if "csv" in form else "\n"), (argv, form, done.stdout[:2000])
            if "json" in form:
                told = json.loads(done.stdout)
                if "node" in argv and case != "bytes":
                    assert [row["node"] for row in told] == [name]
            elif "csv" in form:
                head, row, *more = csv.reader(io.StringIO(done.stdout, newline=""))
                assert not more and len(head) == len(row) and not any(cell[:1] in ("=", "+", "-", "@") for cell in row)
    assert files(state) == before


@pytest.mark.parametrize("what", ["usage", "status"])
def test_a_router_that_is_not_known_is_3(state, what):
    for name in ["none", UUID, HOSTILE, BIG]:
        done = run(what, "--router", name, "--config", "/dev/null", "--state-dir", state)
        complains(done, 3, "router ", "known")
    complains(run("usage", "--address", "192.0.2.1", "--config", "/dev/null", "--state-dir", state), 3, "192.0.2.1")


@pytest.mark.parametrize("address", ["1.2.3", "1.2.3.4/32", "::1", "localhost", "0.0.0.0", "", HOSTILE, BIG, NO_TEXT])
def test_an_address_to_explain_that_is_none(address):
    complains(run("explain", address), 2, "is no IPv4 address (right: 192.0.2.1; ", "fipmeter explain --help")


def test_an_address_to_explain_that_is_missing_or_one_too_many():
    complains(run("explain"), 2, "ADDRESS is missing", "fipmeter explain --help")
    complains(run("explain", "192.0.2.1", HOSTILE), 2, r"a\x1b[31mred", "one argument too many")


def test_an_address_to_explain_that_is_not_known_is_3_and_says_what_there_is(state):
    argv = ["--config", "/dev/null", "--state-dir", state]
    complains(run("explain", "192.0.2.9", *argv), 3, "192.0.2.9 is not known", "none is like it", "fipmeter usage --since 0")
    plant(state, "one")
    complains(run("explain", "192.0.2.9", *argv), 3, "those like it are 192.0.2.1 ", "fipmeter usage --since 0")
    complains(run("explain", "10.0.0.1", *argv), 3, "the fixed address of the floating IP 192.0.2.1: ask for that")
    complains(run("explain", "8.8.8.8", *argv), 3, "none is like it")


def test_files_of_the_netns_directory_with_hostile_names(tmp_path, state):
    netns = tmp_path / "netns"
    netns.mkdir()
    names = [f"qrouter-{HOSTILE}", HOSTILE, f"qrouter-{UUID}\x1b[2J", "qrouter-" + "x" * 247, "two\nlines", "=1+1"]
    for name in [each.encode() for each in names] + [b"qrouter-\xff\xfe\x1b", f"snat-{UUID}\n".encode()]:
        open(str(netns).encode() + b"/" + name, "w").close()
    for argv in (["plan"], ["plan", "-o", "json"], ["agent", "--once", "--state-dir", state],
                 ["agent", "--once", "--dry-run", "--state-dir", state], ["detach", "--state-dir", state]):
        done = run(*argv, "--config", "/dev/null", "--netns-dir", netns)
        assert done.returncode == 0 and shows_no_control(done.stdout + done.stderr), (argv, done)
        assert all(line.startswith("fipmeter: ") for line in done.stderr.splitlines()), done.stderr
    for form in [], ["--all"], ["-o", "json"]:
        done = run("doctor", *form, "--config", "/dev/null", "--netns-dir", netns, "--state-dir", state)
        assert done.returncode == 4 and done.stderr == "" and shows_no_control(done.stdout), done
        assert "named like a router" in " ".join(done.stdout.split())


def test_a_netns_directory_that_is_none(tmp_path, state):
    (tmp_path / "file").touch()
    before = files(state)
    for argv in ["plan"], ["agent", "--once", "--state-dir", state], ["detach", "--state-dir", state]:
        complains(run(*argv, "--config", "/dev/null", "--netns-dir", tmp_path / "file"), 1, f"{tmp_path}/file: Not a directory")
        complains(run(*argv, "--config", "/dev/null", "--netns-dir", BIG), 1, "File name too long")
    assert files(state) == before


# --- with routers: nothing of ours comes into the kernel ---

def with_one_lab(test):
    for name, value in (("flavour", "nft"), ("backend", "count-nft")):
        test = pytest.mark.parametrize(name, [value], indirect=True)(test)
    return pytest.mark.own_lab("r2")(test)


@pytest.fixture
def refused(lab, tmp_path):
    """A meter that is never let in."""
    meter = Meter(lab, tmp_path)
    before = all_listings(lab)
    yield meter
    assert all_listings(lab) == before
    assert not meter.state.exists()


@with_one_lab
def test_what_is_refused_touches_no_router(backend, refused, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "bad.conf").write_text("[classes]\nfree = 10.0.0.1/8\n")
    for command in WRITERS:
        for more, status in ((["--config", tmp_path / "bad.conf"], 1), (["--backend", "xdp"], 2), (["--node", HOSTILE], 2),
                             (["--state-dir", tmp_path / "file"], 1), (["--state-dir", ""], 2)):
            complains(refused.command(*writer(command), *more, status=status), status)


def without(lab, meter, command, capabilities):
    """Run a command with all privileges that it needs but these."""
    left = ",".join(["-all", *(f"+{name}" for name in CAPABILITIES if name not in capabilities)])
    argv = [*command, "--config", str(meter.config), *([] if command[0] in ("plan", "watch") else ["--state-dir", str(meter.state)])]
    return lab.sh(["setpriv", "--bounding-set", left, "--inh-caps", "-all", "--", PROGRAM, *argv])


WATCH = ["watch", "--count=1"]

# Those of the back end ebpf alone: whoever does not ask for it does without.
EBPF = ["bpf", "perfmon"]


@with_one_lab
def test_a_privilege_that_is_missing_is_named(lab, backend, refused):
    for missing in [name for name in CAPABILITIES if name not in EBPF]:
        for command in ["agent", "--once"], ["agent", "--once", "--dry-run"], ["plan"], ["detach"], WATCH:
            done = without(lab, refused, command, [missing])
            if missing in ("net_broadcast", "sys_ptrace") and command[-1] in ("plan", "--dry-run", WATCH[-1]):
                assert done.returncode == 0, done.stderr    # who only looks does without
            else:
                complains(done, 1, f"missing privileges: CAP_{missing.upper()} (", "run as root")
    complains(without(lab, refused, ["agent", "--once"], CAPABILITIES), 1,
              *(f"CAP_{name.upper()}" for name in CAPABILITIES if name not in EBPF))


@with_one_lab
def test_a_host_name_with_hostile_bytes(lab, meter):
    named = 'printf "n\\033[31m\\377" >/proc/sys/kernel/hostname; exec "$@"'
    for command in ["plan", "-o", "json"], ["plan"], ["agent", "--once"], ["usage", "--since", "0", "--by", "node", "-o", "json"]:
        argv = [*command, "--config", str(meter.config), *([] if command[0] == "plan" else ["--state-dir", str(meter.state)])]
        done = lab.sh(["unshare", "--uts", "sh", "-ec", named, "sh", PROGRAM, *argv])
        assert done.returncode == 0 and shows_no_control(done.stdout + done.stderr), done
        if command == ["plan", "-o", "json"]:
            assert {site["node"] for site in json.loads(done.stdout)} == {r"n\x1b[31m\xff"}
    assert {row["node"] for row in meter.query("SELECT DISTINCT node FROM coverage")} == {r"n\x1b[31m\xff"}
