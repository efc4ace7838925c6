# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent with the capabilities of its unit and no other one (capabilities(7)): these stories, told elsewhere with all
that root may, come out the same. FIPMETER_UNDER runs any story like this.
"""

import metering
import pytest
from test_backends import *  # noqa: F401,F403
from test_detach import *  # noqa: F401,F403
from test_supervisor import *  # noqa: F401,F403

CAPABILITIES = ["net_admin", "net_raw", "net_broadcast", "sys_admin", "sys_ptrace", "bpf", "perfmon"]
SETPRIV = ["setpriv", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in CAPABILITIES)]),
           "--inh-caps", "-all", "--no-new-privs", "--"]


@pytest.fixture(autouse=True)
def unprivileged(monkeypatch):
    monkeypatch.setattr(metering, "UNDER", SETPRIV)


def test_the_agent_has_these_capabilities_alone(lab, meter):
    meter.start()
    held = dict(line.split(":\t") for line in open(f"/proc/{meter.pid}/status").read().splitlines() if ":\t" in line)
    numbers = {"net_broadcast": 11, "net_admin": 12, "net_raw": 13, "sys_ptrace": 19, "sys_admin": 21,
               "perfmon": 38, "bpf": 39}
    assert int(held["CapEff"], 16) == int(held["CapBnd"], 16) == sum(1 << numbers[name] for name in CAPABILITIES)
    assert held["NoNewPrivs"] == "1"
