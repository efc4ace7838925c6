# SPDX-License-Identifier: GPL-2.0-or-later
"""What all stories stand on: the flavour of Neutron's rules, a lab of routers, and a meter in it.

A lab is shared by all stories of a flavour that leave it as they found it; a story that changes routers asks for one
of its own: @pytest.mark.own_lab, or own_lab("r1", "r2") for only some of the routers. Each story has a meter with a
state directory of its own, and ends with a clean audit and with nothing of ours left in the kernel.
"""

import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

import pytest  # noqa: E402
from fiplab import Lab  # noqa: E402
from metering import Meter  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "own_lab(*routers): the story changes the lab, so it gets one for itself")


# What ebpf is held to in any run, and of that in one flavour what no flavour plays a part in; the rest by FIPMETER_ALL=1.
FILES_FOR_EBPF = {"test_follow.py", "test_restart.py", "test_detach.py", "test_backends.py", "test_unit_file.py"}
FILES_FOR_EBPF_ONCE = {"test_truth_table.py", "test_seed.py"}
# And where a rule calls its programs, as on kernels without the link.
FILES_FOR_RULE = {"test_truth_table.py", "test_seed.py", "test_follow.py", "test_restart.py", "test_detach.py"}


def is_wanted(item):
    chosen = item.callspec.params if hasattr(item, "callspec") else {}
    if os.environ.get("FIPMETER_ALL") or "ebpf" not in str(chosen.get("backend")):
        return True
    if chosen["backend"] == "count-ebpf-rule":
        return item.path.name in FILES_FOR_RULE and chosen.get("flavour") == "nft"
    if chosen["backend"] != "count-ebpf":
        return True
    return (item.path.name in FILES_FOR_EBPF
            or item.path.name in FILES_FOR_EBPF_ONCE and chosen.get("flavour") == "nft")


def pytest_collection_modifyitems(config, items):
    left_out = [item for item in items if not is_wanted(item)]
    items[:] = [item for item in items if is_wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.story_failed = outcome.get_result().failed


def make_lab(what, flavour, routers=None):
    """Lab.up() ends what a killed run of any name left behind. Pauses are left out: no story needs them."""
    return Lab(name=f"stories-{os.getpid()}-{what}", flavour=flavour, routers=routers, pauses=False)


class SharedLabs:
    """One lab a flavour, made when it is first asked for, and made anew after a story that failed in it."""

    def __init__(self):
        self._standing = {}

    def get(self, flavour):
        if flavour not in self._standing:
            self._standing[flavour] = make_lab(flavour, flavour).up()
        return self._standing[flavour]

    def drop(self, flavour):
        if flavour in self._standing:
            self._standing.pop(flavour).down()

    def drop_all(self):
        for flavour in list(self._standing):
            self.drop(flavour)


@pytest.fixture(scope="session")
def shared_labs():
    labs = SharedLabs()
    yield labs
    labs.drop_all()


@pytest.fixture(scope="session", params=["nft", "legacy"])
def flavour(request):
    """In which kind of iptables Neutron has written its rules."""
    return request.param


@pytest.fixture(scope="session", params=["count-nft", "count-iptables", "count-ebpf", "count-ebpf-rule"])
def backend(request):
    """What counts in the kernel."""
    return request.param.removeprefix("count-").removesuffix("-rule")


@pytest.fixture
def place(request):
    """By what ebpf's programs are called."""
    chosen = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    return "rule" if str(chosen.get("backend")).endswith("-rule") else "auto"


@pytest.fixture
def lab(request, shared_labs, flavour):
    own = request.node.get_closest_marker("own_lab")
    if own:
        with make_lab("own", flavour, list(own.args) or None) as standing:
            yield standing
        return
    standing = shared_labs.get(flavour)
    standing.soiled = False
    yield standing
    if standing.soiled or getattr(request.node, "story_failed", True):
        shared_labs.drop(flavour)


@pytest.fixture
def meter(lab, backend, place, tmp_path):
    """A meter that has not looked at anything yet."""
    meter = Meter(lab, tmp_path, backend, place)
    try:
        yield meter
        meter.leave()
    except BaseException:
        lab.soiled = True
        raise
    finally:
        meter.kill()


@pytest.fixture
def metered(meter):
    """A meter that counts already: whatever is sent from now on is in the bill."""
    meter.once()
    return meter
