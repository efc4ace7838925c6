# SPDX-License-Identifier: GPL-2.0-or-later
"""A laboratory of Neutron-like routers, VMs and an outside, made of network namespaces. See lab/README.md."""

from .lab import FLAVOURS, Lab
from .neutron import normalise
from .ns import LabError

__all__ = ["FLAVOURS", "Lab", "LabError", "normalise"]
