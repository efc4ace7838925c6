# SPDX-License-Identifier: GPL-2.0-or-later
"""What came out of one fault: a line of the table that `tests/faults/table` prints.

Kept as NAME.json in the directory that FIPMETER_FAULTS_RESULTS names; nowhere if it is not set. A file is there from the
begin of a test, so that a run that was ended by force is told from one that passed.
"""

import json
import os
import re
from pathlib import Path


class Result:
    def __init__(self, name, backend=""):
        self.name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
        self.backend = backend
        self.fault = name           # the text of the table
        self.times = 0
        self.expected_bytes = None  # by a count that is not ours
        self.found_bytes = None     # the sum of the usage rows
        self.gaps = None            # how many were declared
        self.overcounts = 0         # how often more was found than expected
        self.note = ""
        self.failed = self.ended = False

    def add(self, expected, found, gaps=0):
        """One more time: bytes that were there, bytes that are in the books, gaps that are declared."""
        self.times += 1
        self.expected_bytes = (self.expected_bytes or 0) + expected
        self.found_bytes = (self.found_bytes or 0) + found
        self.gaps = (self.gaps or 0) + gaps
        self.overcounts += found > expected

    def row(self):
        holds = self.ended and not self.failed and not self.overcounts
        return {"fault": self.fault, "backend": self.backend, "times": self.times, "expected_bytes": self.expected_bytes,
                "found_bytes": self.found_bytes, "gaps": self.gaps, "overcounts": self.overcounts,
                "verdict": "holds" if holds else "FAILS",
                "note": self.note or ("" if self.ended else "the test did not end")}

    def write(self):
        directory = os.environ.get("FIPMETER_FAULTS_RESULTS")
        if directory:
            Path(directory).mkdir(parents=True, exist_ok=True)
            (Path(directory) / f"{self.name}.json").write_text(json.dumps([self.row()], indent=1) + "\n")
