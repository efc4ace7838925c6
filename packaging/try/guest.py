# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian 12 of its own, on which packages are tried without touching the machine: mount, process, network and cgroup
namespaces beside the routers of a lab, which is its host as a network node is the host of a container. The lab's
/run/netns is shared with it, mounts made later included. Its first process is systemd, or whatever is named.

Its file system is `base` (made once by debootstrap) with an overlay, so all that anything writes is seen.
"""
import hashlib
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "lab"))

# What the package depends on, systemd, and what is looked with.
PACKAGES = ["adduser", "dbus", "libbpf1", "libglib2.0-0", "libip4tc2", "libjansson4", "libmnl0", "libncursesw6", "libnftnl11", "libsmartcols1",
            "libsqlite3-0", "libsystemd0", "procps", "rpm", "systemd", "systemd-sysv"]
PATIENCE_S = 60

# Runs in the new namespaces; $root is what the guest will see. Nothing of the machine can be set from inside.
BOOT = r"""
mount -t overlay overlay -o lowerdir="$base",upperdir="$place/upper",workdir="$place/work" "$place/root"
root=$place/root
mount --make-private "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
	touch "$root/dev/$name"
	mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/netns"
mount --rbind /run/netns "$root/run/netns"
exec env -i container=fipmeter PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
"""


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"try: waited {PATIENCE_S} s for {what}, in vain")
        time.sleep(0.05)
    return found


def debian(packages=()):
    """The directory of a Debian 12 with these packages, made when it is not there yet."""
    directory = TOP / f"build/debian-12-{zlib.crc32(' '.join(packages).encode()):08x}"
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent) as place:
            argv = ["debootstrap", "--variant=minbase", *([f"--include={','.join(packages)}"] if packages else []),
                    "bookworm", f"{place}/debian"]
            done = subprocess.run(argv, capture_output=True, encoding="utf-8")
            if done.returncode:
                sys.exit(f"try: debootstrap: {done.stdout[-2000:]}{done.stderr}")
            os.rename(f"{place}/debian", directory)
    return directory


def cgroups():
    found = re.search(r"^\S+ (\S+) cgroup2 ", Path("/proc/mounts").read_text(), re.M)
    return Path(found[1]) if found else sys.exit("try: no cgroup2 is mounted here")


def describe(path):
    """Kind and mode, owner, content; None: there is no such thing."""
    if not os.path.lexists(path):
        return None
    state = path.lstat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(state.st_mode) else \
        os.readlink(path) if stat.S_ISLNK(state.st_mode) else ""
    return state.st_mode, state.st_uid, state.st_gid, content


class Guest:
    def __init__(self, lab, base, first, namespaces=("pid", "net", "uts", "ipc")):
        self.lab, self.base, self.namespaces = lab, Path(base), ["mount", "cgroup", *namespaces]
        self.first = list(map(str, first))

    def __enter__(self):
        self.place = tempfile.TemporaryDirectory(prefix="fipmeter-try-")
        for name in "upper", "work", "root":
            os.mkdir(f"{self.place.name}/{name}", 0o755)
        self.group = cgroups() / f"fipmeter-try-{os.getpid()}"
        self.group.mkdir(exist_ok=True)
        self.lab.sh(["mount", "--make-shared", "/run/netns"])
        enter = [f"--{name}" for name in self.namespaces]
        script = f"base={self.base.resolve()} place={self.place.name}\n{BOOT}"
        self.log = open(f"{self.place.name}/console", "w+", encoding="utf-8", errors="replace")
        self.process = self.lab.popen(
            ["sh", "-ec", f'echo $$ >{self.group}/cgroup.procs; exec "$@"', "sh", "unshare", *enter,
             "--propagation=slave", "--fork", "--kill-child=KILL", "sh", "-ec", script, "guest", *self.first],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = wait_for(self._first_process, f"the guest's {self.first[0]}")
        return self

    def _first_process(self):
        if self.process.poll() is not None:
            sys.exit(f"try: the guest did not start: {self.console()}")
        # It is the shell first, then env and chroot.
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            return next((int(pid) for pid in children if self._runs(pid) == self.first[0]), None)
        except OSError:
            return None

    @staticmethod
    def _runs(pid):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()

    def console(self):
        self.log.seek(0)
        return self.log.read()

    def __exit__(self, *exception):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        # Those that were in the guest's process namespace go with its first process, a moment later.
        wait_for(self._remove_group, "the guest's processes to end")
        self.place.cleanup()

    def _remove_group(self):
        try:
            for directory, _, _ in os.walk(self.group, topdown=False):
                os.rmdir(directory)
        except OSError:
            return False
        return True

    # --- inside ---

    def argv(self, *argv):
        return ["nsenter", f"--target={self.pid}", *(f"--{name}" for name in self.namespaces), "--root", "--wd=/", "--",
                "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *map(str, argv)]

    def call(self, *argv):
        return subprocess.run(self.argv(*argv), capture_output=True, encoding="utf-8", timeout=300, stdin=subprocess.DEVNULL)

    def run(self, *argv, status=0):
        """A command in the guest, which must end as told: its output."""
        done = self.call(*argv)
        if done.returncode != status:
            sys.exit(f"try: {' '.join(map(str, argv))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def path(self, path):
        """A file of the guest, as seen from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def take(self, file):
        """Copies a file into the guest's /mnt: its path there."""
        target = f"/mnt/{Path(file).name}"
        self.path(target).write_bytes(Path(file).read_bytes())
        return target

    # --- what was written ---

    def written(self):
        """All that stands on the disk otherwise than in the base: path -> kind, mode, owner, content."""
        upper = Path(self.place.name) / "upper"
        found = {f"/{path.relative_to(upper)}": describe(path) for path in upper.rglob("*")}
        return {name: entry for name, entry in found.items() if entry != describe(self.base / name[1:])}
