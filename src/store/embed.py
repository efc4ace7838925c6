# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes schema.h of the schema's texts, in the order of their formats: the texts, and the two numbers that the program
knows the file by.

usage: embed.py schema.sql schema_2.sql ... schema.h
"""
import re
import sys

*sources, target = sys.argv[1:]
texts = [open(source, encoding="ascii").read() for source in sources]


def number(text, pragma):
    return re.search(rf"^PRAGMA {pragma} = (\w+);$", text, re.MULTILINE)[1]


def quoted(line):
    return '\t"' + line.replace("\\", "\\\\").replace('"', '\\"') + '\\n"'


def literal(text):
    # Comments between the statements would be dropped by SQLite anyway.
    return "\n".join(quoted(line) for line in text.splitlines() if line and not line.startswith("--"))


for at, text in enumerate(texts):
    assert number(text, "user_version") == str(at + 1), sources[at]
with open(target, "w", encoding="ascii") as file:
    file.write(f"#define SCHEMA_APPLICATION_ID {number(texts[0], 'application_id')}\n"
               f"#define SCHEMA_VERSION {len(texts)}\n"
               "/* What makes format n + 1 of format n; 0 is an empty file. */\n"
               "static const char *const schema_steps[SCHEMA_VERSION] = {\n" + ",\n".join(map(literal, texts)) + "\n};\n")
