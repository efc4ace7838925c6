# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that keeps a lab alive: it sits in a mount namespace of its own with a tmpfs on /run/netns,
a bpf file system on /sys/fs/bpf and a lock of legacy tables that no other lab waits for.

Run as `unshare --mount --propagation private holder.py NAME PARENT`. All namespaces of the lab are files in that
tmpfs, so the end of this process (and of those inside the lab) is the end of everything. It dies with its parent, and
at the end of its standard input, until it reads the line "keep": then it stays on its own.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PR_SET_PDEATHSIG = 1
XTABLES_LOCK = Path("/run/xtables.lock")
BPF_FS = "/sys/fs/bpf"


def mount_lock():
    """The file has no name any more: it is gone with the lab."""
    XTABLES_LOCK.touch(mode=0o600)
    with tempfile.NamedTemporaryFile(prefix="fipmeter-lab-") as lock:
        subprocess.run(["mount", "--bind", lock.name, XTABLES_LOCK], check=True)


def mount_bpf():
    """As systemd does on a host. Where the kernel has no bpf(2), nobody will miss it. The machine's own is taken away before:
    whoever unmounts this one must not find that one beneath, with what other labs and the machine itself have in it."""
    while subprocess.run(["mountpoint", "-q", BPF_FS]).returncode == 0:
        subprocess.run(["umount", "-l", BPF_FS], check=True)
    subprocess.run(["mount", "-t", "bpf", "-o", "mode=700", "bpf", BPF_FS], stderr=subprocess.DEVNULL)


def main():
    parent = int(sys.argv[2])
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return 1
    os.setsid()
    options = "mode=755,nosuid,nodev,noexec"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "fipmeter-lab", "/run/netns"], check=True)
    mount_bpf()
    mount_lock()
    print("ready", flush=True)
    if sys.stdin.readline() != "keep\n":
        return 0
    libc.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)
    print("kept", flush=True)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
