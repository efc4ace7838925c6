# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of a fault is done: everything (FIPMETER_FAULTS=full) or what fits into `make test`."""

import os

import pytest

FULL = os.environ.get("FIPMETER_FAULTS") == "full"


def times(full, short):
    """How often: of the full run, of the short one."""
    return full if FULL else short


def flavours(full=("nft", "legacy"), short=("nft",)):
    """A mark: in which flavours of Neutron's rules the test runs."""
    return pytest.mark.parametrize("flavour", times(full, short), indirect=True)


def backends(full=("nft", "iptables", "ebpf"), short=("nft", "iptables")):
    """A mark: for which back ends the test runs. Without it: for all."""
    return pytest.mark.parametrize("backend", [f"count-{name}" for name in times(full, short)], indirect=True)
