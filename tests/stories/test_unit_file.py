# SPDX-License-Identifier: GPL-2.0-or-later
"""The unit of the agent: how exposed it is, and whether the agent can live by it. systemd itself does not run here: its
filter of system calls is held against what the agent really calls, its capabilities are tried in test_capabilities.
"""

import re
import shlex
import subprocess

import pytest
from accounts import FIP
from metering import PROGRAM
from test_capabilities import CAPABILITIES, SETPRIV

UNIT = PROGRAM.parent / "packaging/fipmeter-agent.service"


def settings(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)


def run(*argv):
    return subprocess.run(argv, capture_output=True, encoding="utf-8", timeout=60)


def test_its_exposure_is_at_most_two_and_a_half():
    done = run("systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_it_has_the_capabilities_that_the_stories_run_with():
    assert settings("CapabilityBoundingSet") == [" ".join(f"CAP_{name.upper()}" for name in CAPABILITIES)]


def test_it_sees_processes_of_others_although_they_are_hidden():
    """ProtectProc is a /proc mounted with hidepid; what is asked for is what kernel/xtlock.c reads."""
    assert settings("ProtectProc") == ["ptraceable"]
    stranger = subprocess.Popen(["setpriv", "--reuid", "65534", "--clear-groups", "sleep", "60"])
    try:
        look = f"mount -t proc -o hidepid=ptraceable proc /proc && exec \"$@\" ls /proc/{stranger.pid}/root/run"
        done = run("unshare", "--mount", "sh", "-c", look, "sh", *SETPRIV)
        assert done.returncode == 0 and done.stdout, done.stderr
    finally:
        stranger.kill()
        stranger.wait()


def test_the_back_end_ebpf_can_write_its_pins():
    """/sys is read-only for it, except for this directory, which has to be there when the mounts are made."""
    (made,) = settings("ExecStartPre")
    assert made.startswith("-+") and made.endswith(" /sys/fs/bpf/fipmeter")
    assert settings("ReadWritePaths") == ["/run -/sys/fs/bpf/fipmeter"]


def members(name):
    """All system calls of a set, with those of the sets in it."""
    lines = run("systemd-analyze", "syscall-filter", "--no-pager", name).stdout.splitlines()
    names = {line.strip() for line in lines[1:] if line.strip() and not line.strip().startswith("#")}
    return names | {each for inner in names if inner.startswith("@") for each in members(inner)}


def allowed():
    calls = set()
    for words in settings("SystemCallFilter"):
        for word in words.removeprefix("~").split():
            named = members(word) if word.startswith("@") else {word}
            calls = calls - named if words.startswith("~") else calls | named
    return calls | members("@default")


@pytest.mark.own_lab("r1", "r2")
def test_its_filter_lets_the_agent_do_all_that_it_does(lab, meter, tmp_path):
    trace = tmp_path / "trace"
    launch = meter.launch
    meter.launch = lambda argv, **options: launch(["strace", "-D", "-f", "-qq", "-o", str(trace), *argv], **options)
    meter.start()
    lab.send("far", FIP["f"], proto="udp", count=3, bytes=100)
    meter.sample()
    lab.router_delete("r2")
    meter.sample()
    meter.stop()
    called = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M)) - {"execve"}
    assert len(called) > 20 and {"setns", "sendmsg"} & called, shlex.join(sorted(called))
    refused = called - allowed()
    # What it does without when it is refused: it asks for more descriptors, which the unit gives (LimitNOFILE); it and
    # SQLite give files to the group, which is theirs already (Group).
    assert refused <= {"prlimit64", "setrlimit", "chown", "fchown"}, refused
    assert settings("Group") == ["fipmeter"]
    assert settings("LimitNOFILE") and int(settings("LimitNOFILE")[0]) > 1 << 19
