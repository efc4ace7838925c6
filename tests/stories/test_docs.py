# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages of docs/ are true: names of files and functions are those of the sources, statements of SQL run and find what
they say, schemas are what the program prints, and whatever the program can complain of is explained.
"""

import json
import re
import sqlite3
import subprocess
from contextlib import closing

import pytest
from accounts import FIP
from conftest import make_lab
from metering import ROOT, Meter, wait_for

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "HACKING.md"]
DOMAINS = "src|tests|lab|bench|man|docs|packaging|debian"


def page(name):
    return (ROOT / "docs" / name).read_text()


def plain(text):
    """Without line ends and marks: for what may be broken over two lines."""
    return re.sub(r"\s+", " ", re.sub(r"[`\\]", "", text))


# --- names ---

@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_is_there(path):
    named = re.findall(rf"(?<![\w/.-])((?:{DOMAINS})/[\w./-]*[\w/])", path.read_text())
    wrong = [each for each in named if not (ROOT / each).exists() and not (each[-1] == "_" and list(ROOT.glob(f"{each}*")))]
    assert not wrong, wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_between_pages_leads_to_a_heading(path):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]+)?\)", path.read_text()):
        file = path.parent / target if target else path
        assert file.exists(), target
        slugs = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
                 for heading in re.findall(r"^#+ (.*)$", file.read_text(), re.M)}
        assert not anchor or anchor[1:] in slugs, f"{target}{anchor}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_function_that_a_page_names_is_defined_in_the_file_named_before_it(path):
    """A function belongs to the last file that is named before it."""
    file = None
    for source, function in re.findall(r"`(src/[\w/]+\.[ch])`|`(\w+)\(\)`", path.read_text()):
        if source:
            file = ROOT / source
            continue
        assert file, f"{function}() without a file"
        assert re.search(rf"^[^\s#/].*\b{function}\(", file.read_text(), re.M), f"{function}() is not in {file.name}"


def test_the_tables_of_performance_are_the_results_of_the_benches():
    done = subprocess.run([ROOT / "bench/table", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"bench/table: docs/performance.md is not what bench/results say\n{done.stderr}"


def test_one_packet_names_a_function_at_each_step():
    assert len(re.findall(r"`\w+\(\)`", page("one-packet.md"))) > 20


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```$", page("one-packet.md"), re.M | re.S)[1]


def same(line):
    """A rule without its counts and without the digits of a run."""
    return re.sub(r"^\[\d+:\d+\] |packets \d+ bytes \d+|(?<=fipmeter )[0-9a-f]{16}", "", line.strip())


def test_the_rules_of_iptables_on_the_page_are_those_that_stand(tmp_path):
    with make_lab("docs-legacy", "legacy", ["r1"]) as lab:
        meter = Meter(lab, tmp_path, "iptables")
        meter.once()
        rules = lab.run("r1", ["iptables-legacy-save", "-t", "mangle", "-c"])
        meter.leave()
    stand, told = [same(line) for line in rules.splitlines()], [same(line) for line in block("iptables").splitlines()]
    assert len(told) > 5 and [line for line in stand if line in told] == told, "all of them, in this order"


# --- a store, and an agent ---

@pytest.fixture(scope="module")
def lab():
    with make_lab("docs", "nft", ["r1", "r5"]) as standing:
        yield standing


@pytest.fixture(scope="module")
def meter(lab, tmp_path_factory):
    """An agent that has seen traffic, a gap, a restart, and sums of hours and days; and that runs."""
    meter = Meter(lab, tmp_path_factory.mktemp("docs"))
    try:
        meter.start()
        for class_address in ("far", "b"):
            lab.send(class_address, FIP["a"], proto="udp", count=3, bytes=200)
        meter.sample()
        lab.run("r1", ["nft", "delete", "table", "ip", "fipmeter"])
        meter.sample()
        lab.send("far", FIP["a"], proto="udp", count=5, bytes=300)
        meter.kill()
        meter.start()
        meter.stop()
        meter.start()
        lab.send("a", "203.0.113.9", proto="udp", count=2, bytes=100)
        meter.sample()
        yield meter
        meter.leave()
    finally:
        meter.kill()


def test_the_rules_of_nft_on_the_page_are_those_that_stand(lab, meter):
    stand = {same(line) for line in lab.run("r1", ["nft", "list", "table", "ip", "fipmeter"]).splitlines()}
    told = [same(line) for line in block("nft").splitlines()]
    assert len(told) > 25 and [line for line in told if line not in stand] == []


# --- store.md ---

STATEMENTS = re.findall(r"^\*\*(.*?)\*\*.*?^```sql\n(.*?)^```$", page("store.md"), re.M | re.S)
SOUND = [(title, text) for title, text in STATEMENTS if title.rstrip(".,") not in (
    "What was not measured, and why", "No traffic, or no measurement?", "The bill of an address for a month, by class",
    "The kernel against the books")]

# What would have to happen to the books for each statement to find it.
TAMPER = [
    "UPDATE meter SET last_in_bytes = last_in_bytes + 1 WHERE meter = 3",
    "UPDATE usage_fact SET end_in_bytes = end_in_bytes + 1 WHERE seq = (SELECT max(seq) FROM usage_fact u WHERE EXISTS "
    "(SELECT 1 FROM usage_fact e WHERE e.meter = u.meter AND e.seq < u.seq))",
    "DELETE FROM usage_fact WHERE seq = 2",
    "UPDATE hour_fact SET in_packets = in_packets + 1",
    "UPDATE day_fact SET out_bytes = out_bytes + 1",
    "DROP INDEX meter_open; INSERT INTO meter SELECT 1000, generation, kind, address, fixed, class, flags, first_us, "
    "first_boot_us, 0, 0, 0, 0, last_us, last_boot_us, 0, 0, 0, 0, 0 FROM meter WHERE closed_us = 0 LIMIT 1",
]


def ask(path, statement):
    done = subprocess.run(["sqlite3", "-readonly", "-batch", "-json", path, statement], capture_output=True,
                          encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), f"{statement}\n{done.stderr}"
    return json.loads(done.stdout or "[]")


@pytest.mark.parametrize("title, statement", SOUND, ids=lambda text: text[:40])
def test_what_finds_errors_finds_none(meter, title, statement):
    assert ask(meter.state / "usage.db", statement) == []


@pytest.mark.parametrize("number", range(len(SOUND)))
def test_what_finds_errors_finds_them(meter, tmp_path, number):
    with closing(sqlite3.connect(meter.state / "usage.db")) as source, closing(sqlite3.connect(tmp_path / "usage.db")) as copy:
        source.backup(copy)
        assert copy.execute("SELECT count(*) FROM hour_fact").fetchone()[0], "the store has sums"
        copy.executescript(TAMPER[number])
    assert ask(tmp_path / "usage.db", SOUND[number][1]), f"{SOUND[number][0]} does not see: {TAMPER[number]}"


def test_the_sum_on_the_first_page_finds_none_also_where_rows_are_dropped_and_finds_what_is_missing(meter, tmp_path):
    text = re.search(r'usage\.db "\s*(SELECT .*?)"\n```', (ROOT / "README.md").read_text(), re.S)[1]
    assert ask(meter.state / "usage.db", text) == []
    with closing(sqlite3.connect(meter.state / "usage.db")) as source, closing(sqlite3.connect(tmp_path / "usage.db")) as copy:
        source.backup(copy)
        copy.executescript("DELETE FROM usage_fact WHERE seq <= (SELECT max(rolled_seq) FROM rollup);"
                           "UPDATE rollup SET dropped_seq = rolled_seq")
        assert ask(tmp_path / "usage.db", text) == []
        copy.executescript("UPDATE meter SET last_in_bytes = last_in_bytes + 5 WHERE meter = 3")
    assert [row["missing"] for row in ask(tmp_path / "usage.db", text)] == [5]


def statement(title):
    return next(text for name, text in STATEMENTS if name.startswith(title))


def test_there_is_a_way_to_tamper_for_each_statement():
    assert len(SOUND) == len(TAMPER) and len(STATEMENTS) == len(SOUND) + 4


def test_the_gaps_are_those_that_status_tells(lab, meter):
    gaps = ask(meter.state / "usage.db", statement("What was not measured"))
    assert {gap["router"] for gap in gaps} == {lab.routers["r1"].uuid}
    told = {gap["reason"] for router in status(meter)["routers"] for gap in router["gaps"]}
    assert {gap["reason"] for gap in gaps} == told


def test_minutes_with_traffic_and_minutes_without_measurement(lab, meter):
    minutes = ask(meter.state / "usage.db", statement("No traffic"))
    assert len(minutes) == 60
    assert minutes[0]["measured_ms"] == minutes[0]["bytes"] == 0, "nobody measured an hour ago"
    assert sum(minute["bytes"] for minute in minutes) == sum(
        row["in_bytes"] + row["out_bytes"] for row in meter.usage("--router", lab.routers["r1"].uuid))
    assert all(0 <= minute["measured_ms"] <= 60000 for minute in minutes)


def test_the_bill_is_what_usage_says(meter):
    bill = ask(meter.state / "usage.db", statement("The bill"))
    said = json.loads(meter.command("usage", "--since", "0", "--by", "class", "--address", FIP["a"], "-o", "json").stdout)
    assert {(row["class"], row["in_bytes"], row["out_bytes"]) for row in bill} == {
        (row["class"], row["in_bytes"], row["out_bytes"]) for row in said}
    assert len(bill) == 2


def test_the_kernel_shows_what_the_books_have(lab, meter):
    meter.sample()
    listing = lab.run("r1", ["nft", "list", "counters", "table", "ip", "fipmeter"])
    books = ask(meter.state / "usage.db", statement("The kernel"))
    assert len(books) == 3
    for row in books:
        counter = f"traffic_{FIP['a']}_vm_in_{row['class']}"
        found = re.search(rf"{re.escape(counter)} \{{\s+packets (\d+) bytes (\d+)", listing)
        assert (int(found[1]), int(found[2])) == (row["last_in_packets"], row["last_in_bytes"])


def test_every_table_and_column_is_on_the_page(meter):
    text = plain(page("store.md"))
    for table in meter.query("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')"):
        assert re.search(rf"\*\*.*?\b{table['name']}\b", page("store.md")) or f" {table['name']}" in text, table
        for column in meter.query(f"SELECT name FROM pragma_table_info('{table['name']}')"):
            name = column["name"]
            words = {name, f"{name}_us"}
            if re.match(r"(first|last)_(?:in|out)_(?:bytes|packets)", name):
                words = {f"{name.split('_')[0]}_in_bytes"}
            assert any(re.search(rf"\b{word}\b", text) for word in words), (table["name"], name)


# --- output.md ---

TYPES = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def schema(title):
    """[(name, type)] of one section of output.md."""
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page("output.md"), re.M | re.S)[1]
    return re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", section, re.M)


def shape(value, name=""):
    """Each name below value with its type, in the order of its first appearance."""
    found = {}
    if isinstance(value, dict):
        for key, member in value.items():
            below = f"{name}.{key}" if name else key
            found.setdefault(below, set()).add(type_of(member))
            merge(found, shape(member, below))
    elif isinstance(value, list):
        for member in value:
            merge(found, shape(member, f"{name}[]"))
    return found


def merge(found, more):
    for name, types in more.items():
        found.setdefault(name, set()).update(types)


def type_of(value):
    if isinstance(value, list):
        return "array of object" if value and isinstance(value[0], dict) else "array of string" if value else "array"
    if isinstance(value, str) and TIME.fullmatch(value):
        return "time"
    return TYPES[type(value)]


def fits(types, told):
    """An empty array is any array, an empty text any time."""
    return all(each == told or each == "array" and told.startswith("array") or each == "string" and told == "time"
               for each in types)


def members(names):
    """{object: its members in their order}. An array that is empty where it comes first has its members later."""
    found = {}
    for name in names:
        above, _, own = name.rpartition(".")
        found.setdefault(above, []).append(own)
    return found


def expect_schema(title, value):
    found, told = shape(value), schema(title)
    assert members(found) == members(name for name, _ in told)
    wrong = {name: found[name] for name, kind in told if not fits(found[name], kind)}
    assert not wrong, wrong


def status(meter, code=(0, 4)):
    argv = ["status", "--config", meter.config, "--state-dir", meter.state, "-o", "json"]
    return json.loads(meter.run(*argv, status=code).stdout)


def test_the_schema_of_status(lab, meter):
    """With a gap on record, a namespace that is none, and a configuration that the agent cannot take."""
    junk = "qrouter-3f1e9a52-7f0e-4d53-9a0c-4d5c1d3f8f6a"
    text = meter.config.read_text()

    def look_anew():
        meter.sample()
        return status(meter)

    lab.sh(["touch", f"/run/netns/{junk}"])
    meter.config.write_text(f"{text}node = another\n")
    try:
        meter.signal(1)
        wait_for(lambda: any("node cannot change" in each["message"] for each in look_anew()["problems"]),
                 "the refusal to be told")
        wait_for(lambda: meter.sample() or any(not each["router"] for each in status(meter)["routers"]), "the junk to be told")
        expect_schema("status", status(meter, code=4))
    finally:
        meter.config.write_text(text)
        lab.sh(["rm", "-f", f"/run/netns/{junk}"])
        meter.signal(1)
    wait_for(lambda: look_anew()["metered"], "all to be well")


def test_what_status_always_has(meter, tmp_path):
    argv = ["status", "--config", meter.config, "--netns-dir", tmp_path, "--state-dir", tmp_path, "-o", "json"]
    found = json.loads(meter.run(*argv, status=4).stdout)
    section = re.search(r"^## status\n(.*?)^## ", page("output.md"), re.M | re.S)[1]
    lines = re.findall(r"^\| `(\w+)` \|[^|]*\|(.*)\|$", section, re.M)
    assert list(found) == [name for name, what in lines if "always" in what]


def doctor(meter, code=(0, 4)):
    return json.loads(meter.command("doctor", "-o", "json", status=code).stdout)


def test_the_schema_of_doctor(meter):
    expect_schema("doctor", doctor(meter))


def test_every_check_of_the_doctor_is_explained_and_no_other(meter):
    section = re.search(r"^## Doctor\n(.*?)^## ", page("operate.md"), re.M | re.S)[1]
    checks = [each["check"] for each in doctor(meter)["findings"]]
    assert list(dict.fromkeys(checks)) == re.findall(r"^\| `(\w+)` \|", section, re.M)
    manual = (ROOT / "man/fipmeter-doctor.8").read_text()
    assert list(dict.fromkeys(checks)) == re.findall(r"^\.It Cm (\w+)$", manual, re.M)


def test_the_schema_of_plan(meter):
    plan = json.loads(meter.run("plan", "--config", meter.config, "-o", "json").stdout)
    expect_schema("plan", plan)
    ranges = [(each["first"], each["last"]) for each in plan[0]["classes"]]
    assert ranges[0][0] == "0.0.0.0" and ranges[-1][1] == "255.255.255.255"


def test_the_schema_of_explain(lab, meter):
    """With a gap around it, and read from the kernel."""
    meter.sample()
    told = json.loads(meter.run(*meter.node_argv("explain", FIP["a"], "-o", "json"), status=(0, 4)).stdout)
    expect_schema("explain", told)
    for sum_ in told["sums"]:
        assert sum_["holds"] and lab.sh(["sh", "-c", sum_["command"]]).returncode == 0, sum_["command"]


def test_what_explain_says_of_a_flag_is_what_the_page_says():
    texts = re.findall(r'case FLAG_(\w+):\s*return "([^"]+)"', (SRC / "cmd/explain_words.c").read_text())
    section = re.search(r"^## Flags\n(.*?)^## ", page("operate.md"), re.M | re.S)[1]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.M))
    assert len(texts) == 6
    for flag, text in texts:
        assert rows[flag.lower()] == text


def test_the_schema_of_audit(meter):
    expect_schema("audit", json.loads(meter.command("audit", "-o", "json").stdout))


def test_the_schema_of_usage(meter):
    rows = meter.usage()
    assert any(row["flags"] for row in rows)
    found = shape(rows)
    assert [name.removeprefix("[].") for name in found] == [name for name, _ in schema("usage")]
    assert all(fits(found[f"[].{name}"], kind) for name, kind in schema("usage"))
    header = meter.command("usage", "--since", "0", "-o", "csv").stdout.splitlines()[0]
    assert header.split(",") == [name for name, _ in schema("usage")]


# --- operate.md ---

SRC = ROOT / "src"
# Whatever these say is said to the operator: by status, in the log, or as the last line of a command.
SPEAKERS = ["kernel/*.c", "backend/*.c", "inventory/*.c", "cmd/agent.c", "cmd/cycle*.[ch]", "cmd/look.c", "cmd/sites.c", "cmd/node.c",
            "cmd/upkeep.c", "cmd/reload.c", "cmd/bulletin.c", "cmd/status.c", "cmd/supervisor.c", "cmd/cmd.h", "core/cover.c", "core/ledger.c", "core/residue.c",
            "store/trace.c", "cmd/explain_live.c", "store/agree.c", "store/judge.c", "store/open.c", "store/place.c", "store/shape.c", "store/store.c", "store/sql.c", "store/baselines.c", "store/query.c"]
# What is not said: comments of rules, statements, help, formats of JSON, and the rows of tables.
SILENT = r"^bpftool map|^first_in_packets, |excluded\.|^ip netns exec|^nft list|SELECT |CASE |closed_us, tag|INSERT |UPDATE |DELETE |FROM |PRAGMA |BEGIN |WHERE |\?\d|^ *VALUES|^\{s:|Exit status|^  fipmeter|crossing|^rows? \d|not row|^%s +%s$"


def literals(text):
    """The texts of a C file, those that stand next to each other joined; comments and characters left out."""
    tokens = re.findall(r"/\*.*?\*/|'(?:\\.|[^'\\])+'|(\"(?:\\.|[^\"\\])*\")|(\s+)|(G_GU?INT64_FORMAT|JSON_INTEGER_FORMAT)|(.)", text, re.S)
    joined = None
    for string, blank, number, other in tokens:
        if string:
            joined = (joined or "") + string[1:-1]
        elif number and joined is not None:
            joined += "d"
        elif other and joined is not None:
            yield joined
            joined = None


def said(path):
    """Pieces between the conversions of all texts of a file that have some words."""
    text = re.sub(r"GOptionEntry entries\[\].*?\};|cmd_parse\(.*?entries,|^#include .*?$", "", path.read_text(), flags=re.S | re.M)
    for literal in literals(text):
        if re.search(SILENT, literal):
            continue
        for piece in re.split(r"%[-+0-9.*]*(?:l|ll|z)?[a-zA-Z]|\\n|STATUS=", literal):
            if len(re.findall(r"[\w'-]+", piece)) >= 3 and " " in piece.strip():
                yield piece.strip(" :,;().").replace('\\"', '"')


def test_every_reason_and_every_complaint_of_the_program_is_explained():
    told = plain(page("operate.md"))
    files = [path for pattern in SPEAKERS for path in sorted(SRC.glob(pattern)) if path.name != "nft_layout.c"]
    pieces = {piece: path.name for path in files for piece in said(path)}
    assert len(pieces) > 90
    missing = [f"{name}: {piece}" for piece, name in pieces.items() if plain(piece) not in told]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("title, source, pattern", [
    ("Flags", "core/model.c", r'case FLAG_\w+:\s*return "(\w+)"'), ("States", "core/model.c", r'\[STATE_\w+\] = "(\w+)"'),
])
def test_every_flag_and_state_is_explained_and_no_other(title, source, pattern):
    names = re.findall(pattern, (SRC / source).read_text())
    section = re.search(rf"^## {title}\n(.*?)^## ", page("operate.md"), re.M | re.S)[1]
    assert len(names) > 3 and names
    assert sorted(names) == sorted(re.findall(r"^\| `(\w+)` \|", section, re.M))


def reasons():
    """Of gaps and the like, where they are made: in the ledger, and by those who say why something was missed."""
    ledger = [piece for literal in literals((SRC / "core/ledger.c").read_text() + (SRC / "core/cover.c").read_text())
              if " " in literal and not literal.startswith(("core/", "%")) for piece in [re.sub(r"%\w+", "…", literal)]]
    missed = [text for path in SRC.rglob("*.[ch]")
              for text in re.findall(r'(?:(?:missed|between|late)\s*=|#define CYCLE_\w+)\s*"([^"]+)"', path.read_text())]
    sent = [re.sub(r"%\w+", "…", literal) for name in ("backend/ebpf.c", "cmd/cycle_residue.c")
            for literal in literals((SRC / name).read_text()) if literal.startswith("out: ")]
    return {*ledger, *missed, *sent}


def test_the_table_of_gaps_has_exactly_the_reasons_that_there_are():
    section = re.search(r"^## Gaps\n(.*?)^## ", page("operate.md"), re.M | re.S)[1]
    told = set(re.findall(r"^\| (?!reason|---)([^|]+?) \|", section, re.M))
    assert told == reasons() and len(told) > 8


def test_reload_names_exactly_what_cannot_change():
    source = (SRC / "cmd/reload.c").read_text()
    fixed = set(re.findall(r'\{ "(\[\w+\] \w+)", ', source))
    row = re.search(r"^\| … cannot change while the agent runs.*$", page("operate.md"), re.M)[0]
    assert set(re.findall(r"`(\[\w+\] \w+)`", row)) == fixed and len(fixed) == 6
    names = set(re.findall(r'^\t\{ "\w+", "(\w+)", set_\w+ \},$', (SRC / "core/config.c").read_text(), re.M))
    may = re.search(r"a sample follows\. (.*?) may\s+change", page("operate.md"), re.S)[1]
    assert set(re.findall(r"`(\w+)`", may)) == names - {name.split()[1] for name in fixed}


def test_a_backup_is_made_and_restored_as_the_page_says(lab, meter, tmp_path):
    """Last of all: it puts the books of this module back to an earlier state."""
    lines = re.search(r"^## Backup and restore\n(.*?)^## ", page("operate.md"), re.M | re.S)[1]
    make, restore = re.findall(r"^```\n(.*?)^```$", lines, re.M | re.S)
    backup, before = tmp_path / "backup", meter.usage("--address", FIP["a"])
    backup.mkdir()

    def follow(block):
        for line in block.replace("/var/lib/fipmeter", str(meter.state)).replace("/srv/backup", str(backup)).splitlines():
            if line.startswith("systemctl"):
                meter.stop() if "stop" in line else meter.start()
            elif line.startswith("fipmeter "):
                meter.run(*line.split()[1:])
            else:
                done = lab.sh(["sh", "-c", line])
                assert done.returncode == 0, f"{line}: {done.stderr}"

    follow(make)
    lab.send("far", FIP["a"], proto="udp", count=7, bytes=100)
    meter.sample()
    lost = meter.usage("--address", FIP["a"])[len(before):]
    assert sum(row["in_bytes"] for row in lost) == 700
    follow(restore)
    assert "older than the second home of the baselines" in meter.said()
    assert len(meter.query("SELECT * FROM store")) == 2
    lab.send("far", FIP["a"], proto="udp", count=9, bytes=100)
    meter.sample()
    rows = meter.usage("--address", FIP["a"])
    assert rows[:len(before)] == before and sum(row["in_bytes"] for row in rows[len(before):]) == 900, \
        "what was lost is neither there nor billed again"
