# SPDX-License-Identifier: GPL-2.0-or-later
"""What the program says of its options is what its manual pages and its completion say."""

import re
import subprocess

import pytest
from metering import PROGRAM, ROOT

PACKAGING = PROGRAM.parent / "packaging"
PAGES = sorted((ROOT / "man").glob("*.[58]"))


def run(*argv, status=0):
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


COMMANDS = [line.split("\t")[0] for line in run(PROGRAM, "--list-commands").splitlines()]


def options(command):
    return {line.split("\t")[0]: line.split("\t")[1:] for line in run(PROGRAM, command, "--list-options").splitlines()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_clean(page):
    assert run("mandoc", "-Tlint", "-W", "warning", page) == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_its_place_in_the_page_and_no_other_does(command):
    page = (ROOT / "man" / f"fipmeter-{command}.8").read_text()
    told = set(re.findall(r"^\.It Fl (?:\w , )?-([a-z-]+)", page, re.M))
    assert told == set(options(command))
    for name, (letter, *_) in options(command).items():
        assert letter == "-" or re.search(rf"^\.It Fl {letter} , -{name}\b", page, re.M), name
    assert f".It Cm {command}\n" in (ROOT / "man/fipmeter.8").read_text()


def test_every_key_of_the_configuration_is_in_its_page_and_in_the_example():
    source = (ROOT / "src/core/config.c").read_text()
    page, example = (ROOT / "man/fipmeter.conf.5").read_text(), (ROOT / "packaging/fipmeter.conf").read_text()
    keys = re.findall(r'^\t\{ "(\w+)", "(\w+)", set_\w+ \},$', source, re.M)
    assert len(keys) > 8
    for section, key in keys:
        assert f".It Li {key}\n" in page and f"[{section}]" in page, key
        assert re.search(rf"^#{key} = ", example, re.M), key


def test_help_ends_with_an_example_and_fits_the_terminal():
    for command in COMMANDS:
        text = run(PROGRAM, command, "--help")
        assert f"Examples:\n  fipmeter {command}" in text
        assert max(map(len, text.splitlines())) <= 80, command


# --- completion ---

def complete_in_bash(*words):
    script = (f"source {PACKAGING / 'fipmeter'}; COMP_WORDS=({' '.join(words)!s}{chr(32) + chr(39) * 2 if words[-1] == '' else ''}); "
              f"COMP_CWORD={len(words) - 1}; _fipmeter; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    return set(run("bash", "-c", script).split())


def complete_in_fish(line):
    return {each.split("\t")[0] for each in
            run("fish", "-N", "-c", f"source {PACKAGING / 'fipmeter.fish'}; complete -C '{line}'").splitlines()}


def test_bash_completes_commands_options_and_words():
    assert complete_in_bash("fipmeter", "") == {*COMMANDS, "--help", "--version"}
    for command in COMMANDS:
        assert complete_in_bash("fipmeter", command, "--") == {f"--{name}" for name in options(command)}
    assert complete_in_bash("fipmeter", "usage", "--per", "m") == {"minute", "month"}
    assert complete_in_bash("fipmeter", "usage", "-o", "") == {"table", "json", "csv", "markdown"}
    assert complete_in_bash("fipmeter", "agent", "--backend", "") == {"auto", "nft", "iptables", "ebpf"}
    assert complete_in_bash("fipmeter", "usage", "--address", "") == set()


def test_bash_completes_files_and_directories(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").touch()
    assert complete_in_bash("fipmeter", "usage", "--state-dir", f"{tmp_path}/") == {f"{tmp_path}/one"}
    assert complete_in_bash("fipmeter", "usage", "-c", f"{tmp_path}/") == {f"{tmp_path}/one", f"{tmp_path}/two"}


def test_words_that_are_completed_are_taken():
    for per in complete_in_bash("fipmeter", "usage", "--per", ""):
        run(PROGRAM, "usage", "--per", per, "--state-dir", "/nonexistent", status=1)
    for by in complete_in_bash("fipmeter", "usage", "--by", ""):
        run(PROGRAM, "usage", "--by", by, "--state-dir", "/nonexistent", status=1)


def test_fish_completes_commands_options_and_words():
    assert set(COMMANDS) <= complete_in_fish("fipmeter ")
    assert complete_in_fish("fipmeter usage --s") == {"--since=", "--state-dir="} or \
        complete_in_fish("fipmeter usage --s") == {"--since", "--state-dir"}
    assert complete_in_fish("fipmeter usage --per m") == {"minute", "month"}


def test_zsh_can_read_its_completion():
    run("zsh", "-f", "-c", f"autoload -Uz compinit; compinit -u -D; fpath=({PACKAGING} $fpath); autoload -Uz _fipmeter; "
        "autoload +X _fipmeter && compdef _fipmeter fipmeter && print ${_comps[fipmeter]} | grep -qx _fipmeter")
