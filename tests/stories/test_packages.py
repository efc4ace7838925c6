# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said in more than one place about packages is the same everywhere. Building and trying them takes minutes:
`make try-package`, `make try-rpm`, `make try-container`.
"""

import json
import re
import subprocess
from fnmatch import fnmatchcase

import pytest
from metering import PROGRAM, ROOT
from test_pages import COMMANDS

SPEC = (ROOT / "packaging/rpm/fipmeter.spec").read_text()
CONTROL = (ROOT / "debian/control").read_text()
MESON = (ROOT / "meson.build").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
UNIT = (ROOT / "packaging/systemd/fipmeter-agent.service.in").read_text()

# dependency() of meson.build -> Debian's package.
LIBRARIES = {"glib-2.0": "libglib2.0-dev", "libmnl": "libmnl-dev", "libnftnl": "libnftnl-dev", "libip4tc": "libip4tc-dev",
             "sqlite3": "libsqlite3-dev", "jansson": "libjansson-dev", "smartcols": "libsmartcols-dev", "ncursesw": "libncurses-dev",
             "libsystemd": "libsystemd-dev", "libbpf": "libbpf-dev"}

MACROS = {"_sbindir": "/usr/sbin", "_unitdir": "/usr/lib/systemd/system", "_sysusersdir": "/usr/lib/sysusers.d",
          "_tmpfilesdir": "/usr/lib/tmpfiles.d", "_mandir": "/usr/share/man", "_datadir": "/usr/share", "_sysconfdir": "/etc"}


def run(*argv):
    return subprocess.run(argv, check=True, capture_output=True, encoding="utf-8", timeout=60).stdout


def installed():
    """What `meson install` puts where, as with the prefix /usr. The configuration goes by a script of its own."""
    plan, options = (json.loads(run("meson", "introspect", what, PROGRAM.parent)) for what in ("--installed", "--buildoptions"))
    prefix = next(option["value"] for option in options if option["name"] == "prefix")
    return {path.replace(f"{prefix}/", "/usr/", 1) for path in plan.values()} | {"/etc/fipmeter/fipmeter.conf"}


def spec_files():
    """The files of the spec, directories and what comes from the source apart."""
    section = SPEC.split("\n%files\n")[1].split("\n%changelog")[0]
    lines = [line for line in section.splitlines() if line and not re.match("%(license|doc|dir|ghost)", line)]
    words = [re.sub(r"^%config\(noreplace\) ", "", line) for line in lines]
    return [re.sub(r"%\{(\w+)\}", lambda macro: MACROS[macro[1]], word) for word in words]


def test_the_rpm_has_every_file_that_is_installed_and_no_other():
    files, patterns = installed(), spec_files()
    assert len(files) > 12
    assert [path for path in files if not any(fnmatchcase(path, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatchcase(path, pattern) for path in files)] == []


def test_the_version_is_the_same_everywhere():
    version = re.search(r"version: '([^']+)'", MESON)[1]
    changelog = (ROOT / "debian/changelog").read_text()
    assert re.match(rf"fipmeter \({re.escape(version)}\)", changelog)
    assert re.search(r"^Version: +(\S+)$", SPEC, re.M)[1] == version
    assert re.search(r"^\* .* - (\S+)-1$", SPEC, re.M)[1] == version
    assert (ROOT / "NEWS").read_text().startswith(f"fipmeter {version}")


def test_every_library_is_named_where_packages_are_built():
    libraries = set(re.findall(r"dependency\('([^']+)'", MESON))
    assert libraries == set(LIBRARIES)
    for library, package in LIBRARIES.items():
        assert f"pkgconfig({library})" in SPEC, library
        for text in CONTROL, MAKEFILE:
            assert re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", text), package
    for library, version in re.findall(r"dependency\('([^']+)', version: '>=([^']+)'", MESON):
        assert f"pkgconfig({library}) >= {version}\n" in SPEC
    assert f"meson >= {re.search(r'''meson_version: '>=([^']+)'$''', MESON.replace(',', chr(10)), re.M)[1]}\n" in SPEC


def test_the_group_and_the_modes_are_the_same_everywhere():
    sysusers = (ROOT / "packaging/sysusers.d/fipmeter.conf").read_text()
    tmpfiles = (ROOT / "packaging/tmpfiles.d/fipmeter.conf").read_text()
    assert re.findall("^g (.*) -$", sysusers, re.M) == re.findall("^Group=(.*)$", UNIT, re.M) == ["fipmeter"]
    for path, mode in ("/var/lib/fipmeter", "0750"), ("/run/fipmeter", "0755"):
        assert f"d {path} {mode} root fipmeter -\n" in tmpfiles
        assert f"%dir %attr({mode},root,fipmeter) {path}\n" in SPEC
    assert "StateDirectoryMode=0750\n" in UNIT and "RuntimeDirectoryMode=0755\n" in UNIT
    assert "install -d -m 0750 -o root -g fipmeter /var/lib/fipmeter\n" in (ROOT / "debian/postinst").read_text()


@pytest.mark.parametrize("script", ["debian/postinst", "debian/postrm", "debian/prerm", "packaging/deb",
                                    "packaging/rpm/build", "packaging/container/build"])
def test_a_script_is_a_script(script):
    run("sh", "-n", ROOT / script)


def test_what_kolla_is_told_is_in_its_format():
    told = json.loads((ROOT / "packaging/container/config.json").read_text())
    assert set(told) == {"command", "config_files", "permissions"}
    program, command = told["command"].split()
    assert program == "fipmeter" and command in COMMANDS
    for each in told["config_files"]:
        assert {"source", "dest", "owner", "perm"} <= set(each) <= {"source", "dest", "owner", "perm", "optional"}
        assert each["source"].startswith("/var/lib/kolla/config_files/") and re.fullmatch("0[0-7]{3}", each["perm"])
    for each in told["permissions"]:
        assert set(each) == {"path", "owner", "perm"}
