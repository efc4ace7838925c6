# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that runs as long as a test wants, and what came of it by counts that are not ours: the sender's, and that of a
rule of nft at the same hook (tests/stories/witness.py).
"""

import json
import signal
import subprocess

from fiplab import traffic
from metering import wait_for
from witness import Witness

SIZE = 100


class Steady:
    """UDP from `who` to `to` by way of `router`, from now until stop(). Use as a context: it ends with the block."""

    def __init__(self, lab, router, who, to, match, rate=2000, size=SIZE):
        self.witness = Witness(lab, router, match)
        self.size, self.sent, self.errors = size, None, ""
        argv = [traffic.sender(lab), "udp", "--to", to, "--count", 10**9, "--bytes", size, "--rate", rate]
        self.process = lab.popen(argv, ns=who, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        wait_for(lambda: self.witness.packets() > 0, "the first packet")
        return self

    def __exit__(self, *exception):
        if self.sent is None:
            self.process.kill()
            self.process.communicate()

    def stop(self):
        """No packet comes after this. Bytes that were sent; the sender and the rule at the hook must agree on them."""
        self.process.send_signal(signal.SIGTERM)
        output, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        self.sent = json.loads(output)["sent"]
        wait_for(lambda: self.witness.packets() == self.sent, "what was sent to have passed the hook")
        assert self.witness.counts() == (self.sent, self.sent * self.size)
        return self.sent * self.size

