# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager keeps the descriptors of the namespaces while the agent is away, as systemd does with its descriptor
store (systemd.service(5), FileDescriptorStoreMax; sd_notify(3), sd_listen_fds(3)). So what was counted in a router that
was deleted meanwhile is read by the next agent.
"""

import array
import os
import signal
import socket
import sys
import time

import pytest
from accounts import FIP, expect, floating
from metering import wait_for

F = floating("f")

pytestmark = pytest.mark.own_lab("r1", "r2")

HAND_OVER = """
import os, sys
names, first = sys.argv[1], int(sys.argv[2])
handed = [int(fd) for fd in sys.argv[3].split(",") if fd]
high = [os.dup2(fd, 200 + i) for i, fd in enumerate(handed)]
for i, fd in enumerate(high):
    os.dup2(fd, first + i, inheritable=True)
os.closerange(first + len(high), 256)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
os.execvp(sys.argv[4], sys.argv[4:])
"""


class Supervisor:
    """The part of systemd that the agent talks to: a socket for its messages, and a store of descriptors by name."""

    def __init__(self, directory, meter):
        self.lab, self.kept, self.told = meter.lab, {}, []
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(str(self.path))
        self.environment = {}
        meter.launch = self.launch

    def launch(self, argv, **options):
        self.take()
        names = ":".join(self.kept)
        fds = list(self.kept.values())
        wrapped = [sys.executable, "-I", "-c", HAND_OVER, names, 3, ",".join(map(str, fds)), *argv]
        env = {**os.environ, "NOTIFY_SOCKET": str(self.path), **self.environment}
        return self.lab.popen(wrapped, env=env, pass_fds=fds, **options)

    def take(self):
        """Do what the messages say that have come."""
        while True:
            try:
                message, fds, _, _ = socket.recv_fds(self.socket, 4096, 8)
            except BlockingIOError:
                return self.kept
            fields = dict(line.split("=", 1) for line in message.decode().splitlines())
            self.told += fields.items()
            if "FDSTORE" in fields:
                assert len(fds) == 1 and fields["FDNAME"] not in self.kept, fields
                self.kept[fields["FDNAME"]] = fds[0]
            elif "FDSTOREREMOVE" in fields:
                os.close(self.kept.pop(fields["FDNAME"]))

    def heard(self, name):
        """What was said under a name since this was last asked, in order."""
        self.take()
        said = [value for key, value in self.told if key == name]
        self.told = [each for each in self.told if each[0] != name]
        return said

    def close(self):
        self.socket.close()
        for fd in self.kept.values():
            os.close(fd)
        self.kept = {}


@pytest.fixture
def supervisor(meter, tmp_path):
    supervisor = Supervisor(tmp_path, meter)
    yield supervisor
    supervisor.close()


def test_a_router_deleted_while_the_agent_is_away_is_read_by_the_next_one(lab, meter, supervisor):
    meter.start()
    assert set(supervisor.take()) == {router.namespace for router in lab.routers.values()}
    lab.send("far", FIP["f"], proto="udp", count=10, bytes=100)
    meter.sample()
    lab.send("far", FIP["f"], proto="udp", count=7, bytes=100)
    meter.kill()
    lab.send("far", FIP["f"], proto="udp", count=5, bytes=100)
    lab.router_drop("r2")
    meter.start()
    meter.sample()
    assert set(supervisor.take()) == {lab.routers["r1"].namespace}
    expect(lab, meter.usage(), {(*F, "internet"): (22, 2200, 0, 0)})
    assert [row["flags"] for row in meter.usage_of(FIP["f"])] == [[], ["catchup"]]
    assert set(meter.states("r2")) == {"metered"}


def test_an_agent_that_restarts_takes_the_same_namespaces_over(lab, meter, supervisor):
    meter.start()
    for count in 10, 20:
        lab.send("far", FIP["f"], proto="udp", count=count, bytes=100)
        meter.kill()
        kept = dict(supervisor.take())
        meter.start()
        assert supervisor.take() == kept
    lab.router_delete("r2")
    wait_for(lambda: len(supervisor.take()) == 1, "the namespace to be let go")
    meter.sample()
    expect(lab, meter.usage(), {(*F, "internet"): (30, 3000, 0, 0)})


def test_the_service_manager_hears_when_the_agent_is_ready_reloads_and_stops(lab, meter, supervisor):
    meter.start()
    assert wait_for(lambda: supervisor.heard("READY"), "READY=1") == ["1"]
    assert f"metering {len(lab.routers)} routers by {meter.backend}" in supervisor.heard("STATUS")
    meter.signal(signal.SIGHUP)
    wait_for(lambda: supervisor.heard("READY"), "READY=1 after the reload")
    assert supervisor.heard("RELOADING") == ["1"] and int(supervisor.heard("MONOTONIC_USEC")[0]) > 0
    assert supervisor.heard("STATUS")[-1] == "configuration read anew"
    meter.configure("interval = 0\n")
    meter.signal(signal.SIGHUP)
    wait_for(lambda: supervisor.heard("READY"), "READY=1 after the refusal")
    assert "was not taken" in supervisor.heard("STATUS")[-1]
    meter.stop()
    assert supervisor.heard("STOPPING") == ["1"]
    meter.configure("")


def test_the_watchdog_is_fed_by_samples_and_by_nothing_else(lab, meter, supervisor):
    supervisor.environment = {"WATCHDOG_USEC": "180000000"}
    meter.start(interval_s=100)
    wait_for(lambda: supervisor.heard("READY"), "READY=1")
    # It must wait for three samples.
    assert supervisor.heard("WATCHDOG_USEC")[-1] == "300000000"
    supervisor.heard("WATCHDOG")
    for _ in range(3):
        meter.sample()
        assert wait_for(lambda: supervisor.heard("WATCHDOG"), "WATCHDOG=1") == ["1"]
    time.sleep(0.3)
    assert not supervisor.heard("WATCHDOG")
    os.kill(meter.pid, signal.SIGSTOP)
    meter.process.send_signal(signal.SIGUSR1)
    time.sleep(0.3)
    assert not supervisor.heard("WATCHDOG")
    os.kill(meter.pid, signal.SIGCONT)
    wait_for(lambda: supervisor.heard("WATCHDOG"), "WATCHDOG=1")
