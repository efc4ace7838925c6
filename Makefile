# SPDX-License-Identifier: GPL-2.0-or-later
# The short face of the build. Each target installs the Debian packages that it lacks, and says so.
#
#   make build      the program: build/fipmeter
#   make demo       a small cloud out of network namespaces, metered: ends with its usage table
#   make test       all tests; the last line is "N passed, N failed"
#   make bench      measures; figures go to bench/results
#   make faults     what may befall a node, as often as docs/guarantees.md says; ends with a table (hours)
#   make sanitize   unit tests, contract and one story under the address and undefined-behaviour sanitizers
#   make fuzz       every parser of bytes from outside, for a minute each, under both sanitizers
#   make deb        the Debian package of what is committed, in build/deb
#   make try-package  builds it, installs, runs, upgrades, removes and purges it on this machine
#   make install    into PREFIX (/usr/local); DESTDIR is honoured
PREFIX ?= /usr/local

BUILD_PACKAGES = gcc libc6-dev pkg-config meson ninja-build python3 libglib2.0-dev libmnl-dev libnftnl-dev \
	libip4tc-dev libsqlite3-dev libjansson-dev libsmartcols-dev libsystemd-dev
LAB_PACKAGES = iproute2 nftables iptables ipset iperf3 ethtool conntrack procps tzdata
TEST_PACKAGES = python3-pytest sqlite3 strace systemd mandoc zsh fish e2fsprogs

FUZZ_PACKAGES = clang libclang-rt-14-dev
PACKAGE_PACKAGES = debhelper dpkg-dev lintian git

.PHONY: all build demo test bench faults sanitize fuzz deb try-package install clean
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

bench: build
	@bench/store

faults: build
	@packaging/need $(LAB_PACKAGES) $(TEST_PACKAGES)
	@tests/faults/run $(ONLY)

sanitize:
	@packaging/need $(BUILD_PACKAGES) $(LAB_PACKAGES) $(TEST_PACKAGES)
	@tests/sanitize

fuzz:
	@packaging/need $(BUILD_PACKAGES) $(FUZZ_PACKAGES)
	@tests/fuzz/run

deb:
	@packaging/need $(BUILD_PACKAGES) $(PACKAGE_PACKAGES)
	@packaging/deb build/deb

try-package: build
	@packaging/need $(BUILD_PACKAGES) $(LAB_PACKAGES) $(PACKAGE_PACKAGES)
	@packaging/try

install: build
	meson install -C build --no-rebuild

clean:
	rm -rf build build-sanitize build-fuzz
