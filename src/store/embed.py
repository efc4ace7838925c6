# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes schema.h of schema.sql: the text, and the two numbers that the program knows the file by.

usage: embed.py schema.sql schema.h
"""
import re
import sys

source, target = sys.argv[1:]
with open(source, encoding="ascii") as file:
    text = file.read()


def number(pragma):
    return re.search(rf"^PRAGMA {pragma} = (\w+);$", text, re.MULTILINE)[1]


def quoted(line):
    return '\t"' + line.replace("\\", "\\\\").replace('"', '\\"') + '\\n"'


# Comments between the statements would be dropped by SQLite anyway.
lines = [line for line in text.splitlines() if line and not line.startswith("--")]
with open(target, "w", encoding="ascii") as file:
    file.write(f"#define SCHEMA_APPLICATION_ID {number('application_id')}\n"
               f"#define SCHEMA_VERSION {number('user_version')}\n"
               "static const char schema_sql[] =\n" + "\n".join(map(quoted, lines)) + ";\n")
