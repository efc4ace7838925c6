# SPDX-License-Identifier: GPL-2.0-or-later
"""What all benches share: runs that alternate, medians with their noise, tables of 80 columns, and the file of results.

A figure is the median of its runs; its noise is the median distance from it (MAD), which a few disturbed runs do not move.
Arms that are compared run in turn, in one session, so that what else the machine does meets them all.
"""

import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("FIPMETER_BUILD", "build")
PROGRAM = BUILD / "fipmeter"
RESULTS = ROOT / "bench/results"


def progress(text):
    print(text, file=sys.stderr, flush=True)


class Figure:
    """Runs of one thing: their median and noise."""

    def __init__(self, runs):
        self.runs = list(runs)
        self.median = statistics.median(self.runs)
        self.noise = statistics.median(abs(run - self.median) for run in self.runs)

    def over(self, other):
        """The ratio to another figure, run by run."""
        return Figure(mine / its for mine, its in zip(self.runs, other.runs, strict=True))

    def minus(self, other):
        """The difference from another figure, run by run."""
        return Figure(mine - its for mine, its in zip(self.runs, other.runs, strict=True))

    def json(self, digits=3):
        figures = {"median": self.median, "noise": self.noise, "least": min(self.runs), "most": max(self.runs)}
        return {**{name: round(value, digits) for name, value in figures.items()}, "runs": len(self.runs)}


def alternate(arms, times):
    """Call each of the arms (name -> function) in turn, `times` over, another one first in each round: name -> its results."""
    found, names = {name: [] for name in arms}, list(arms)
    for number in range(times):
        for at in range(len(names)):
            name = names[(at + number) % len(names)]
            found[name].append(arms[name]())
    return found


@contextmanager
def children_cpu():
    """Yields a list that afterwards has the CPU seconds and the wall seconds of the processes that were run and waited for."""
    spent = []
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    yield spent
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent += [after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall]


def table(title, columns, lines):
    """Print lines of text under their columns; the first is to the left, the others are to the right."""
    widths = [max(len(line[at]) for line in [columns, *lines]) for at in range(len(columns))]
    print(f"\n{title}")
    for line in [columns, *lines]:
        print("  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                        for at, (cell, width) in enumerate(zip(line, widths))).rstrip())


def cpu_model():
    lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return lines[0].split(":")[1].strip() if lines else platform.machine()


def build_type():
    options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, check=True,
                                        text=True).stdout)
    return next(option["value"] for option in options if option["name"] == "buildtype")


class Bench:
    """One run of a bench: what the machine was like before it began, and its results as a file."""

    def __init__(self, name):
        self.name, self.program = name, Path(sys.argv[0]).name
        self.load = os.getloadavg()
        progress(f"{self.name}: load before {self.load[0]:.1f}")

    def write(self, results):
        head = {"measured": time.strftime("%Y-%m-%d"), "command": shlex.join([f"bench/{self.program}", *sys.argv[1:]]),
                "kernel": platform.release(), "cpu": cpu_model(), "cpus": os.cpu_count(), "build": build_type(),
                "load_before": round(self.load[0], 2), "load_after": round(os.getloadavg()[0], 2)}
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps({**head, **results}, indent=2) + "\n")
        progress(f"{self.name}: bench/results/{self.name}.json")
