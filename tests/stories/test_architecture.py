# SPDX-License-Identifier: GPL-2.0-or-later
"""The house of the design, held against the sources: which room may know which, and what may stand where."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"

# Arrows run one way. "" is main.c itself.
BELOW = {"store", "backend", "inventory", "kernel", "core"}
MAY_INCLUDE = {
    "": {"cmd"},
    "cmd": {"cmd", "web", "ship", "owners"} | BELOW,
    "web": {"web", "store", "core"},        # no kernel room: these run without privileges
    "ship": {"ship", "store", "core"},
    "owners": {"owners", "store", "core"},
    "store": {"store", "kernel", "core"},
    "backend": {"backend", "kernel", "core", "bpf"},
    "inventory": {"inventory", "kernel", "core"},
    "kernel": {"kernel", "core"},
    "core": {"core"},
    "bpf": {"bpf"},                         # beside src: what runs in the kernel, and the header shared with it
}
# What core may know of the world: GLib, and those parts of libc that ask the system nothing.
CORE_KNOWS = {"glib.h", "arpa/inet.h", "ctype.h", "errno.h", "float.h", "inttypes.h", "limits.h", "math.h",
              "stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h", "time.h"}
LONGEST_FILE, LONGEST_HEADER = 600, 250
PRINTS = r"\b(?:printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|putc|fputc|perror|g_print|g_printerr|dprintf)\s*\("
EXITS = r"\b(?:exit|_exit|quick_exit)\s*\("


def sources(folder=SRC):
    found = sorted(path for path in folder.rglob("*") if path.suffix in (".c", ".h"))
    assert found, f"no sources below {folder}"
    return found


def name(path):
    return str(path.relative_to(ROOT))


def code(path):
    """A C file without its comments and the insides of its strings."""
    def blank(match):
        text = match.group(0)
        return '""' if text[0] == '"' else "''" if text[0] == "'" else " " + "\n" * text.count("\n")

    parts = r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'"
    return re.sub(parts, blank, path.read_text(), flags=re.S)


def includes(path):
    """(quoted, angled) names. Comments may show examples, so they are left out; strings are needed here."""
    text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.S)
    return (re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.M),
            re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.M))


def room(path):
    relative = path.relative_to(SRC)
    return relative.parts[0] if len(relative.parts) > 1 else ""


def whereabouts(pattern):
    """The files of src whose code matches."""
    return {name(path) for path in sources() if re.search(pattern, code(path))}


def tracked():
    """What git knows or would take: all files of the project, as text."""
    argv = ["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / each for each in names if each and (ROOT / each).is_file()]


def test_every_folder_of_src_is_a_room_that_the_design_knows():
    assert {room(path) for path in sources()} <= set(MAY_INCLUDE)


def test_arrows_between_the_rooms_run_one_way():
    wrong = [f"{name(path)} includes {include}" for path in sources() for include in includes(path)[0]
             if include.split("/")[0] not in MAY_INCLUDE[room(path)]]
    assert not wrong, "\n".join(wrong)


def test_project_headers_are_named_by_their_room_and_exist():
    """Headers that the build makes are not in src; they too are named by a room."""
    wrong = [f"{name(path)} includes {include}" for path in sources() for include in includes(path)[0]
             if "/" not in include or include.split("/")[0] not in MAY_INCLUDE]
    assert not wrong, "\n".join(wrong)


def test_core_knows_glib_and_libc_and_nothing_of_the_system():
    wrong = [f"{name(path)} includes <{include}>" for path in sources(SRC / "core") for include in includes(path)[1]
             if include not in CORE_KNOWS]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library, rooms", [
    (r"sqlite3\.h", {"store", "owners"}), (r"lib(?:mnl|nftnl|iptc)/.*", {"kernel", "inventory", "backend"}),
    (r"bpf/.*", {"backend"}), (r"libpq.*", {"ship"}), (r"microhttpd\.h", {"web"}), (r"curl/.*", {"owners"}), (r"libsmartcols.*", {"cmd"}),
    (r"ncurses\.h", {"cmd"}),
])
def test_each_library_is_known_in_its_rooms_only(library, rooms):
    wrong = [f"{name(path)} includes <{include}>" for path in sources() for include in includes(path)[1]
             if re.fullmatch(library, include) and room(path) not in rooms]
    assert not wrong, "\n".join(wrong)


def test_setns_stands_in_one_file():
    assert whereabouts(r"\bsetns\s*\(") == {"src/kernel/netns.c"}


def test_only_cmd_and_main_print_and_exit():
    wrong = {each for pattern in (PRINTS, EXITS) for each in whereabouts(pattern)
             if not each.startswith("src/cmd/") and each != "src/main.c"}
    assert not wrong, sorted(wrong)


def test_sql_is_bound_and_never_put_together_from_text():
    statements = r"\b(?:snprintf|sqlite3_mprintf|g_strdup_printf|g_string_append_printf)\s*\([^;]*" \
                 r"\b(?:SELECT|INSERT|UPDATE|DELETE)\s"
    wrong = [name(path) for path in sources() if re.search(statements, path.read_text())]
    assert not wrong, wrong


def test_no_file_of_src_has_grown_into_two():
    wrong = [f"{name(path)}: {lines} lines" for path in sources()
             if (lines := path.read_text().count("\n")) > (LONGEST_HEADER if path.suffix == ".h" else LONGEST_FILE)]
    assert not wrong, "\n".join(wrong)


def test_every_source_names_its_licence_on_top():
    """On the first line, or on the second behind an interpreter's."""
    kinds = {".c", ".h", ".py", ".sql", ".sh"}
    wrong = [name(path) for path in tracked() if path.suffix in kinds or path.name in ("meson.build", "Makefile")
             if "SPDX-License-Identifier: GPL-2.0-or-later" not in "".join(path.open().readlines()[:2])]
    assert not wrong, "\n".join(wrong)


def test_no_file_names_a_path_of_somebodys_machine():
    """Written in pieces, so that this file does not find itself."""
    homes = "|".join(("wo" + "rk", "ro" + "ot", "ho" + "me"))
    pattern = re.compile(rf"(?:^|[\s\"'=(`<:,;\[])/(?:{homes})(?:/|\b(?![\w-]))".encode(), re.M)
    wrong = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            wrong += [f"{name(path)}: {match.group(0).decode().strip()}" for match in pattern.finditer(content)]
    assert not wrong, "\n".join(wrong)
