# SPDX-License-Identifier: GPL-2.0-or-later
# The short face of the build. Each target installs the Debian packages that it lacks, and says so.
#
#   make build      the program: build/fipmeter
#   make demo       a small cloud out of network namespaces, metered: ends with its usage table
#   make verify     the accuracy test with each back end in a lab: ends with its tables (minutes)
#   make test       all tests; the last line is "N passed, N failed"
#   make bench      measures; figures go to bench/results (ONLY=forwarding for one of them)
#   make faults     what may befall a node, as often as docs/guarantees.md says; ends with a table (hours)
#   make sanitize   unit tests, contract and one story under the address and undefined-behaviour sanitizers
#   make fuzz       every parser of bytes from outside, for a minute each, under both sanitizers
#   make coverage   which branches of the ledger the unit tests and the simulator take
#   make deb        the Debian package of what is committed, in build/deb
#   make rpm        the RPM of what is committed, in build/rpm
#   make try-package, make try-rpm  builds it twice, then installs, runs, upgrades and removes it in a Debian of its own
#   make try-container  builds the container's image, and runs it beside a lab's routers
#   make install    into PREFIX (/usr/local); DESTDIR is honoured
PREFIX ?= /usr/local

BUILD_PACKAGES = gcc libc6-dev pkg-config meson ninja-build python3 libglib2.0-dev libmnl-dev libnftnl-dev \
	libip4tc-dev libsqlite3-dev libjansson-dev libsmartcols-dev libsystemd-dev libbpf-dev clang bpftool \
	libncurses-dev
LAB_PACKAGES = iproute2 nftables iptables ipset iperf3 ethtool conntrack procps tzdata
TEST_PACKAGES = python3-pytest python3-pytest-xdist sqlite3 strace systemd mandoc zsh fish e2fsprogs tmux
BENCH_PACKAGES = linux-perf strace
FUZZ_PACKAGES = clang libclang-rt-14-dev
PACKAGE_PACKAGES = debhelper dpkg-dev git lintian
RPM_PACKAGES = git rpm rpmlint
TRY_PACKAGES = debootstrap
CONTAINER_PACKAGES = buildah crun git podman

.PHONY: all build demo verify test bench faults sanitize fuzz coverage deb try-package rpm try-rpm try-container install clean
all: build

build:
	@packaging/need $(BUILD_PACKAGES)
	@test -f build/build.ninja || meson setup build --prefix=$(PREFIX) >build.log 2>&1 || { cat build.log; exit 1; }
	@rm -f build.log
	@ninja -C build --quiet

demo: build
	@packaging/need $(LAB_PACKAGES)
	@lab/demo

verify: build
	@packaging/need $(LAB_PACKAGES)
	@lab/verify $(ONLY)

test: build
	@packaging/need $(LAB_PACKAGES) $(TEST_PACKAGES)
	@tests/run

bench: build
	@packaging/need $(LAB_PACKAGES) $(BENCH_PACKAGES)
	@for bench in $(or $(ONLY),forwarding program sampling reaction store watch); do bench/$$bench || exit 1; done
	@$(if $(ONLY),,bench/forwarding --legacy 4000)

faults: build
	@packaging/need $(LAB_PACKAGES) $(TEST_PACKAGES)
	@tests/faults/run $(ONLY)

sanitize:
	@packaging/need $(BUILD_PACKAGES) $(LAB_PACKAGES) $(TEST_PACKAGES)
	@tests/sanitize

fuzz:
	@packaging/need $(BUILD_PACKAGES) $(FUZZ_PACKAGES)
	@tests/fuzz/run

coverage:
	@packaging/need $(BUILD_PACKAGES)
	@tests/coverage

deb:
	@packaging/need $(BUILD_PACKAGES) $(PACKAGE_PACKAGES)
	@packaging/deb build/deb

try-package: build
	@packaging/need $(BUILD_PACKAGES) $(LAB_PACKAGES) $(PACKAGE_PACKAGES) $(TRY_PACKAGES)
	@packaging/try/package deb

rpm:
	@packaging/need $(BUILD_PACKAGES) $(RPM_PACKAGES)
	@packaging/rpm/build build/rpm

try-rpm: build
	@packaging/need $(BUILD_PACKAGES) $(LAB_PACKAGES) $(RPM_PACKAGES) $(TRY_PACKAGES)
	@packaging/try/package rpm

try-container: build
	@packaging/need $(LAB_PACKAGES) $(TRY_PACKAGES) $(CONTAINER_PACKAGES)
	@packaging/try/container

install: build
	meson install -C build --no-rebuild

clean:
	rm -rf build build-sanitize build-fuzz build-coverage
