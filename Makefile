# What there is to do with this repository: `make help`.

PREFIX     ?= /usr/local
DESTDIR    ?=
ZSH_DIR    ?= $(PREFIX)/share/zsh/site-functions
CARGO      ?= cargo
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN        := $(TARGET_DIR)/release
MSRV       := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
TRIPLE     := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
SUDO       := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

# Packages by what needs them; `a|b` is the first of the two that the distribution has.
BUILD_PACKAGES := g++ make pkg-config libclang-dev liblxc-dev|lxc-dev libsquashfs-dev libzmq3-dev
RUN_PACKAGES   := liblxc-common iproute2 nftables conntrack squashfs-tools busybox-static mmdebstrap uidmap mount kmod tar gzip zstd xz-utils e2fsprogs libzmq5
# What `appc gateway` runs; nothing else needs it.
GATEWAY_PACKAGES := caddy
TEST_PACKAGES  := $(GATEWAY_PACKAGES) openssl curl iptables python3 python3-zmq util-linux e2fsprogs procps libcap2-bin strace rsync attr
VM_PACKAGES    := qemu-system-x86 mmdebstrap debian-archive-keyring e2fsprogs squashfs-tools binutils
ARM64_PACKAGES := gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static|qemu-user
DEB_PACKAGES   := debhelper dpkg-dev lintian python3 mmdebstrap debian-archive-keyring
BENCH_PACKAGES := lxc-utils|lxc iperf3 podman crun|runc netavark|containernetworking-plugins iptables wrk
# Debian's LXD. Ubuntu has it as a snap alone, which is a daemon for the whole host: then there are no rows about it.
LXD_PACKAGE     = $(shell apt-cache depends lxd 2>/dev/null | grep -q liblxc && echo lxd)

.DEFAULT_GOAL := help
.PHONY: help deps deps-bench deps-vm deps-arm64 deps-deb rust build agent zmq-proxy install uninstall check fmt clippy unit doc \
	check-msrv check-arm64 test test-vm demo deb deb-check test-deb bench bench-scale fuzz clean

help: ## List what there is
	@echo 'usage: make TARGET'
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  %-12s %s\n' "$$name" "$$text"; done

deps: PACKAGES = $(BUILD_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES)
deps: ## Install the Debian or Ubuntu packages that are missing
	@$(install_missing)

deps-bench: PACKAGES = $(BENCH_PACKAGES) $(LXD_PACKAGE)
deps-bench:
	@$(install_missing)

deps-vm: PACKAGES = $(VM_PACKAGES)
deps-vm:
	@$(install_missing)

deps-arm64: PACKAGES = $(ARM64_PACKAGES)
deps-arm64:
	@$(install_missing)

deps-deb: PACKAGES = $(BUILD_PACKAGES) $(DEB_PACKAGES)
deps-deb:
	@$(install_missing)

# Debian's caddy serves a page on port 80 from its installation on, which nobody has asked for who builds and tests.
# Asks dpkg first: where nothing is missing there is no call to apt, no network and no root needed.
define install_missing
set -eu; \
is_installed() { [ "$$(dpkg-query -W -f '$${db:Status-Status}' "$$1" 2>/dev/null)" = installed ]; }; \
missing=; \
for choice in $(foreach package,$(PACKAGES),'$(package)'); do \
	found=; \
	for package in $$(echo "$$choice" | tr '|' ' '); do if is_installed "$$package"; then found=1; fi; done; \
	[ -n "$$found" ] || missing="$$missing $$choice"; \
done; \
[ -n "$$missing" ] || exit 0; \
command -v apt-get >/dev/null || { echo "make deps: not a Debian or Ubuntu host; install by hand:$$missing" >&2; exit 1; }; \
$(SUDO) apt-get update -q; \
wanted=; \
for choice in $$missing; do \
	chosen=; \
	for package in $$(echo "$$choice" | tr '|' ' '); do \
		if [ -z "$$chosen" ] && apt-cache show "$$package" >/dev/null 2>&1; then chosen=$$package; fi; \
	done; \
	[ -n "$$chosen" ] || { echo "make deps: no package $$choice in this distribution" >&2; exit 1; }; \
	wanted="$$wanted $$chosen"; \
done; \
echo "make deps: installing$$wanted"; \
$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$wanted; \
case " $$wanted " in *" caddy "*) [ ! -d /run/systemd/system ] || $(SUDO) systemctl disable --now caddy.service;; esac
endef

rust:
	@command -v $(CARGO) >/dev/null || { echo 'make: no cargo: install a Rust toolchain, $(MSRV) or newer (rustup)' >&2; exit 1; }

build: rust agent zmq-proxy ## Build appc, appc-monitor, appc-zmq-proxy and the static appc-agent, in release mode
	$(CARGO) build --release --locked -p appcontainers-cli -p appcontainers-monitor

# The agent's flags are its own, and so is its target directory: in a common one each build would undo the other.
# Mode 0711: the container's root runs the agent and may not read it.
agent: rust
	RUSTFLAGS='$(RUSTFLAGS) -C target-feature=+crt-static --cfg getrandom_backend="linux_raw"' \
		$(CARGO) build --release --locked -p appcontainers-tools --target $(TRIPLE) --target-dir $(TARGET_DIR)/agent
	mkdir -p $(BIN)
	install -m 0711 $(TARGET_DIR)/agent/$(TRIPLE)/release/appc-agent $(BIN)/appc-agent

# Its libzmq is the distribution's, as the configuration in its directory says; in a common target directory each build
# would undo the other.
zmq-proxy: rust
	cd appcontainers-zmq-proxy && $(CARGO) build --release --locked --target-dir $(TARGET_DIR)/zmq-proxy
	mkdir -p $(BIN)
	install -m 0755 $(TARGET_DIR)/zmq-proxy/release/appc-zmq-proxy $(BIN)/appc-zmq-proxy

UNITS := $(wildcard packaging/systemd/appcontainers*)
install: ## Install what `make build` has built: PREFIX=/usr/local, DESTDIR
	@for program in appc appc-monitor appc-zmq-proxy appc-agent; do \
		[ -x $(BIN)/$$program ] || { echo "make install: $(BIN)/$$program is not there: make build" >&2; exit 1; }; done
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/appcontainers
	install -m 0755 $(BIN)/appc $(DESTDIR)$(PREFIX)/bin/appc
	install -m 0755 $(BIN)/appc-monitor $(DESTDIR)$(PREFIX)/libexec/appcontainers/appc-monitor
	install -m 0755 $(BIN)/appc-zmq-proxy $(DESTDIR)$(PREFIX)/libexec/appcontainers/appc-zmq-proxy
	install -m 0711 $(BIN)/appc-agent $(DESTDIR)$(PREFIX)/libexec/appcontainers/appc-agent
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(ZSH_DIR) \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BIN)/appc man --output $(DESTDIR)$(PREFIX)/share/man/man1
	$(BIN)/appc completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/appc
	$(BIN)/appc completions zsh > $(DESTDIR)$(ZSH_DIR)/_appc
	$(BIN)/appc completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/appc.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 0644 $(UNITS) $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed -i 's|/usr/bin/|$(PREFIX)/bin/|' $(DESTDIR)$(PREFIX)/lib/systemd/system/appcontainers*.service

uninstall: ## Remove what `make install` has installed; containers and images stay
	rm -f $(DESTDIR)$(PREFIX)/bin/appc
	rm -rf $(DESTDIR)$(PREFIX)/libexec/appcontainers
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/appc.1 $(DESTDIR)$(PREFIX)/share/man/man1/appc-*.1
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/appc
	rm -f $(DESTDIR)$(ZSH_DIR)/_appc
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/appc.fish
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))

check: fmt clippy unit doc ## Format, lints, unit and property tests, docs; warnings are errors

fmt: rust
	$(CARGO) fmt --all -- --check
	cd appcontainers-zmq-proxy && $(CARGO) fmt -- --check

clippy: rust
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd appcontainers-zmq-proxy && $(CARGO) clippy --locked --all-targets --target-dir $(TARGET_DIR)/zmq-proxy -- -D warnings

unit: rust
	$(CARGO) test --locked --workspace --exclude appcontainers-tests
	cd appcontainers-zmq-proxy && $(CARGO) test --locked --target-dir $(TARGET_DIR)/zmq-proxy

doc: rust
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	cd appcontainers-zmq-proxy && RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --target-dir $(TARGET_DIR)/zmq-proxy

check-msrv: deps rust ## Compile all with the oldest Rust that Cargo.toml names; rustup fetches it
	rustup toolchain install $(MSRV) --profile minimal
	rustup run $(MSRV) cargo check --locked --workspace --all-targets --target-dir $(TARGET_DIR)/msrv
	cd appcontainers-zmq-proxy && rustup run $(MSRV) cargo check --locked --all-targets --target-dir $(TARGET_DIR)/msrv/zmq-proxy

check-arm64: deps deps-arm64 rust ## Compile all for 64-bit ARM, and run there, emulated, the tests that need no kernel
	tests/arm64.sh

test: ## Install what is missing, build, and run everything; needs root
	$(MAKE) deps
	$(MAKE) build
	$(MAKE) check
	APPC_BIN_DIR=$(BIN) $(CARGO) test --locked -p appcontainers-tests

# Its disk is kept in target/vm. KVM is not used: this runs where there is none, too.
GUEST ?= debian-13
test-vm: ## The suites in a virtual machine; needs root and a Debian mirror. GUEST=debian-13|debian-12, SUITE='run exec': only these
	$(MAKE) deps deps-vm
	$(MAKE) build
	$(SUDO) env APPC_BIN_DIR=$(BIN) TARGET_DIR=$(TARGET_DIR) GUEST_PACKAGES='$(RUN_PACKAGES) $(TEST_PACKAGES)' \
		tests/vm/run $(GUEST) $(SUITE)

demo: ## From nothing to an app saved as one file; needs root. HOST=1: on this host's own network
	$(MAKE) deps
	$(MAKE) build
	$(SUDO) env APPC_BIN_DIR=$(BIN) HOST=$(HOST) examples/demo.sh

# The packages' programs have a target directory of their own: paths of this checkout and of cargo's registry are not in
# them, so that each checkout of a commit gives the same bytes. That takes flags that would make `make build` build all anew.
DEB_DIR   := $(TARGET_DIR)/debian
CRATES    := $(or $(CARGO_HOME),$(HOME)/.cargo)
SAME_PATH := $(CURDIR)=/usr/src/appcontainers $(DEB_DIR)/cargo=/usr/src/appcontainers/target $(CRATES)=/usr/share/cargo
C_TARGET  := $(subst -,_,$(TRIPLE))
deb: deps-deb ## Build the Debian packages, into target/debian; DEB_VERSION: other than the commit's
	RUSTFLAGS='$(strip $(RUSTFLAGS) $(addprefix --remap-path-prefix=,$(SAME_PATH)))' \
		CFLAGS_$(C_TARGET)='$(addprefix -ffile-prefix-map=,$(SAME_PATH))' \
		CXXFLAGS_$(C_TARGET)='$(addprefix -ffile-prefix-map=,$(SAME_PATH))' \
		CARGO_TARGET_DIR=$(DEB_DIR)/cargo $(MAKE) build
	CARGO_TARGET_DIR=$(DEB_DIR)/cargo packaging/make-deb $(DEB_DIR)

deb-check: deps-deb ## As deb, of what is committed: built in two other places and compared, and lintian
	packaging/check-deb $(DEB_DIR)

test-deb: deb ## Install, use, upgrade, remove and purge the packages in chroots of Debian 12 and 13; needs root
	$(SUDO) packaging/test-deb $(DEB_DIR)

# The package lxc may set up a bridge lxcbr0 on this host; lxd sets up none before `lxd init`.
bench: deps deps-bench build ## This project beside its peers; needs root, and 15 GB in /var/tmp. MEASURES='start images': only these
	$(CARGO) build --locked --release -p appcontainers-benches
	$(SUDO) env APPC_BIN_DIR=$(BIN) APPC_BENCH_CONTAINERS=$(APPC_BENCH_CONTAINERS) $(BIN)/appcontainers-benches $(MEASURES)

bench-scale: ## A thousand containers at once: starts, memory, stops, limits; needs root, 8 GB of memory. APPC_BENCH_CONTAINERS: other than 1000
	$(MAKE) bench MEASURES=scale

SECONDS_EACH ?= 60
fuzz: deps rust ## Fuzz all that parses what comes from outside: SECONDS_EACH=60
	@set -e; for target in $(patsubst fuzz/targets/%.rs,%,$(wildcard fuzz/targets/*.rs)); do \
		echo "make fuzz: $$target, $(SECONDS_EACH) seconds"; fuzz/run $$target $(SECONDS_EACH); done

clean: rust ## Remove what was built
	$(CARGO) clean
