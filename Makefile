# SPDX-License-Identifier: GPL-2.0-or-later
# The short face of the build. Each target installs the Debian packages that it lacks, and says so.
#
#   make build      the program: build/fipmeter
#   make demo       a small cloud out of network namespaces, metered: ends with its usage table
#   make test       all tests; the last line is "N passed, N failed"
#   make sanitize   unit tests, contract and one story under the address and undefined-behaviour sanitizers
#   make deb        the Debian package of what is committed, in build/deb
#   make try-package  builds it, installs, runs, upgrades, removes and purges it on this machine
#   make install    into PREFIX (/usr/local); DESTDIR is honoured
PREFIX ?= /usr/local

BUILD_PACKAGES = gcc libc6-dev pkg-config meson ninja-build python3 libglib2.0-dev libmnl-dev libnftnl-dev \
	libip4tc-dev libsqlite3-dev libjansson-dev libsmartcols-dev libsystemd-dev libbpf-dev clang bpftool
LAB_PACKAGES = iproute2 nftables iptables ipset iperf3 ethtool conntrack procps tzdata
TEST_PACKAGES = python3-pytest sqlite3 strace systemd mandoc zsh fish

PACKAGE_PACKAGES = debhelper dpkg-dev lintian git

.PHONY: all build demo test sanitize deb try-package install clean
all: build

build:
	@packaging/need $(BUILD_PACKAGES)
	@test -f build/build.ninja || meson setup build --prefix=$(PREFIX) >build.log 2>&1 || { cat build.log; exit 1; }
	@rm -f build.log
	@ninja -C build --quiet

demo: build
	@packaging/need $(LAB_PACKAGES)
	@lab/demo

test: build
	@packaging/need $(LAB_PACKAGES) $(TEST_PACKAGES)
	@tests/run

sanitize:
	@packaging/need $(BUILD_PACKAGES) $(LAB_PACKAGES) $(TEST_PACKAGES)
	@tests/sanitize

deb:
	@packaging/need $(BUILD_PACKAGES) $(PACKAGE_PACKAGES)
	@packaging/deb build/deb

try-package: build
	@packaging/need $(BUILD_PACKAGES) $(LAB_PACKAGES) $(PACKAGE_PACKAGES)
	@packaging/try

install: build
	meson install -C build --no-rebuild

clean:
	rm -rf build build-sanitize
