# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends the program at one of its system calls, before that call does anything: strace sends it SIGKILL there
(strace(1), -e inject), which counts each kind of call for itself.
"""

import re
import signal

from metering import PROGRAM

# What changes something outside of the process: the kernel's tables, the store, the second home of the baselines.
STEPS = ("sendto,sendmsg,setsockopt,pwrite64,write,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,"
         "mkdir,membarrier")


def run_until(meter, calls, number, command=("agent", "--once")):
    """`fipmeter agent --once`, killed where another run made the number-th of its `calls` (calls_of()): at as many calls of
    its kind. True if it was; False: there are not so many.

    Never with strace's --seccomp-bpf: it injects no signals then, and says nothing of it."""
    kinds = [call.split()[0] for call in calls[:number]]
    call = kinds[-1]
    argv = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", "signal=none", "-e",
            f"inject={call}:signal=SIGKILL:when={kinds.count(call)}", PROGRAM, *meter.node_argv(*command)]
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
