# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends the program at its n-th system call of some kinds, before that call does anything: strace sends it SIGKILL there
(strace(1), -e inject).
"""

import re
import signal

from metering import PROGRAM

# What changes something outside of the process: the kernel's tables, the store, the second home of the baselines.
STEPS = ("sendto,sendmsg,setsockopt,pwrite64,write,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,"
         "mkdir,membarrier")


def run_until(meter, number, calls=STEPS, command=("agent", "--once"), log=None):
    """`fipmeter agent --once`, killed at its number-th call of these. True if it was; False: there are not so many."""
    argv = ["strace", "-f", "-qq", "-o", log or "/dev/null", "-e", f"trace={calls}", "-e", "signal=none",
            "-e", f"inject={calls}:signal=SIGKILL:when={number}", PROGRAM, *meter.node_argv(*command)]
    done = meter.lab.sh(argv, timeout=60)
    if done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return True
    assert done.returncode in (0, 4), f"{done.returncode}\n{done.stdout}{done.stderr}"
    return False


def calls_of(meter, log, calls=STEPS, command=("agent", "--once")):
    """The names of these calls of a whole run, in order; of bpf(2) with what it is asked for."""
    argv = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={calls}", "-e", "signal=none", PROGRAM,
            *meter.node_argv(*command)]
    done = meter.lab.sh(argv, timeout=60)
    assert done.returncode in (0, 4), done.stderr
    return [" ".join(each).strip() for each in re.findall(r"^\d+ +(\w+)\((BPF_\w+)?", log.read_text(), re.M)]


def as_counted(calls, number):
    """The number-th of these calls as strace finds it, which counts each kind for itself: (n, name)."""
    names = [each.split()[0] for each in calls[:number]]
    return names.count(names[-1]), names[-1]

