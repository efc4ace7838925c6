#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the completion of a shell out of the program's own option tables: completion.py PROGRAM bash|zsh|fish FILE.

The program lists its commands (--list-commands) and the options of each (COMMAND --list-options). An option whose
description is a list of words, such as "table, json or csv (table)", is completed with these.
"""
import re
import subprocess
import sys


class Option:
    def __init__(self, line):
        self.name, self.letter, self.argument, self.kind, self.text = line.split("\t")
        self.flags = [f"--{self.name}"] + ([f"-{self.letter}"] if self.letter != "-" else [])

    @property
    def words(self):
        listed = re.sub(r" ?\([^)]*\)", "", self.text).split(": ")[-1]
        words = re.split(r", | or ", listed)
        return words if len(words) > 1 and all(re.fullmatch("[a-z]+", word) for word in words) else []


def lines(*argv):
    return subprocess.run(argv, check=True, capture_output=True, encoding="utf-8").stdout.splitlines()


def bash(commands):
    yield "# bash completion for fipmeter"
    yield "_fipmeter()"
    yield "{"
    yield '\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}'
    yield "\tCOMPREPLY=()"
    yield "\tif ((COMP_CWORD == 1)); then"
    yield f'\t\tmapfile -t COMPREPLY < <(compgen -W "{" ".join(commands)} --help --version" -- "$word")'
    yield "\t\treturn"
    yield "\tfi"
    yield '\tcase "$command $before" in'
    for command, (_, options) in commands.items():
        for option in options:
            patterns = "|".join(f'"{command} {flag}"' for flag in option.flags)
            if option.kind == "file":
                action = "-d" if option.argument == "DIR" else "-f"
                yield f'\t{patterns}) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen {action} -- "$word"); return ;;'
            elif option.words:
                yield f'\t{patterns}) mapfile -t COMPREPLY < <(compgen -W "{" ".join(option.words)}" -- "$word"); return ;;'
            elif option.kind == "text":
                yield f"\t{patterns}) return ;;"
    yield "\tesac"
    yield '\tcase $command in'
    for command, (_, options) in commands.items():
        flags = " ".join(flag for option in options for flag in option.flags)
        yield f'\t{command}) mapfile -t COMPREPLY < <(compgen -W "{flags}" -- "$word") ;;'
    yield "\tesac"
    yield "}"
    yield "complete -F _fipmeter fipmeter"


def zsh_quote(text):
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh_action(option):
    if option.kind == "none":
        return ""
    if option.kind == "file":
        return f":{option.argument}:_files" + (" -/" if option.argument == "DIR" else "")
    return f":{option.argument}:({' '.join(option.words)})" if option.words else f":{option.argument}: "


def zsh(commands):
    yield "#compdef fipmeter"
    yield "_fipmeter() {"
    yield "\tlocal -a commands"
    yield "\tif ((CURRENT == 2)); then"
    yield "\t\tcommands=("
    for command, (summary, _) in commands.items():
        yield f"\t\t\t'{command}:{zsh_quote(summary)}'"
    yield "\t\t)"
    yield "\t\t_describe command commands"
    yield "\t\treturn"
    yield "\tfi"
    yield "\tlocal command=$words[2]"
    yield "\tshift words; ((CURRENT--))"
    yield "\tcase $command in"
    for command, (_, options) in commands.items():
        yield f"\t{command})"
        yield "\t\t_arguments \\"
        for option in options:
            for flag in option.flags:
                joined = flag + ("=" if option.kind != "none" and flag.startswith("--") else "")
                yield f"\t\t\t'{joined}[{zsh_quote(option.text)}]{zsh_action(option)}' \\"
        yield "\t\t\t&& return"
        yield "\t\t;;"
    yield "\tesac"
    yield "}"
    yield '_fipmeter "$@"'


def fish(commands):
    yield "# fish completion for fipmeter"
    yield "complete -c fipmeter -f"
    for command, (summary, _) in commands.items():
        yield f"complete -c fipmeter -n __fish_use_subcommand -a {command} -d {fish_quote(summary)}"
    for command, (_, options) in commands.items():
        for option in options:
            line = f"complete -c fipmeter -n '__fish_seen_subcommand_from {command}' -l {option.name}"
            line += f" -s {option.letter}" if option.letter != "-" else ""
            if option.kind == "file":
                line += " -r -F"
            elif option.kind == "text":
                line += f" -x -a '{' '.join(option.words)}'" if option.words else " -x"
            yield f"{line} -d {fish_quote(option.text)}"


def fish_quote(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


program, shell, target = sys.argv[1:]
commands = {}
for line in lines(program, "--list-commands"):
    name, summary = line.split("\t")
    commands[name] = summary, [Option(each) for each in lines(program, name, "--list-options")]
with open(target, "w", encoding="utf-8") as file:
    file.write("\n".join({"bash": bash, "zsh": zsh, "fish": fish}[shell](commands)) + "\n")
