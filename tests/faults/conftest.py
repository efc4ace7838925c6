# SPDX-License-Identifier: GPL-2.0-or-later
"""What all faults stand on: the labs and meters of the stories, how often each is done, and a record of what came out.

A test of this room runs a short selection inside `make test`, and everything if FIPMETER_FAULTS=full is in the
environment (`make faults`): scale.py says how to write that. It asks for the fixture `result` and fills it in; what is
left there at the end of the test, together with whether it passed, is one line of the table of results.
"""

import importlib.util
import os
import sys
from pathlib import Path

STORIES = Path(__file__).resolve().parents[1] / "stories"
sys.path.insert(0, str(STORIES))

_spec = importlib.util.spec_from_file_location("stories_conftest", STORIES / "conftest.py")
_stories = importlib.util.module_from_spec(_spec)
sys.modules["stories_conftest"] = _stories
_spec.loader.exec_module(_stories)

import pytest  # noqa: E402
from result import Result  # noqa: E402
from scale import FULL  # noqa: E402
from stories_conftest import flavour, lab, make_lab, meter, metered, place, pytest_configure, shared_labs  # noqa: E402, F401


@pytest.fixture(scope="session", params=["count-nft", "count-iptables", "count-ebpf", "count-ebpf-rule"])
def backend(request):
    """What counts in the kernel."""
    return request.param.removeprefix("count-").removesuffix("-rule")


# What ebpf is held to in the short run: the faults in which it is not like the others.
SHORT_FOR_EBPF = ("test_neighbours.py", "test_namespace.py", "test_killed_inside.py::test_killed_at_each_step[count-ebpf-BackEnd")


# And in any run where a rule calls its programs.
FILES_FOR_RULE = {"test_neighbours.py", "test_namespace.py"}


def is_wanted(item):
    chosen = item.callspec.params if hasattr(item, "callspec") else {}
    if chosen.get("backend") == "count-ebpf-rule" and not os.environ.get("FIPMETER_ALL"):
        return item.path.name in FILES_FOR_RULE and chosen.get("flavour") == "nft"
    return FULL or os.environ.get("FIPMETER_ALL") or chosen.get("backend") != "count-ebpf" or any(each in item.nodeid for each in SHORT_FOR_EBPF)


def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if not is_wanted(item)]
    items[:] = [item for item in items if is_wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.when == "call":
        item.story_failed = report.failed
    if result := getattr(item, "fault_result", None):
        result.failed |= report.failed
        if report.failed:
            result.note = result.note or report.longreprtext.strip().splitlines()[-1][:200]
        if call.when == "teardown":
            result.ended = True
        result.write()


@pytest.fixture
def result(request):
    """To be filled in: result.fault, .times, .expected_bytes, ... (result.py)."""
    name = request.node.name if request.node.path is None else f"{request.node.path.stem}-{request.node.name}"
    kinds = getattr(request.node, "callspec", None)
    made = Result(name, kinds.params.get("backend", "").removeprefix("count-") if kinds else "")
    request.node.fault_result = made
    made.write()
    return made
