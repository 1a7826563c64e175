#!/bin/sh
# Checks the whole project for 64-bit ARM on a host of another architecture, and runs the unit tests that need no kernel of
# their own in QEMU's emulation of that processor (`make check-arm64`).
#
# The libraries come from the distribution's packages for arm64, unpacked beside the build: nothing of them is installed.
set -eu

cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
triplet=aarch64-linux-gnu
build=${CARGO_TARGET_DIR:-$PWD/target}/arm64
sysroot=$build/sysroot

if [ "$(uname -m)" = aarch64 ]; then
	echo "arm64.sh: this host is one: make check" >&2
	exit 1
fi

# Packages whose programs never run here are unpacked all the same: which are needed is apt's to know.
unpack_sysroot() {
	rm -rf "$build/apt" "$sysroot.new"
	mkdir -p "$build/apt/lists/partial" "$build/apt/archives/partial" "$sysroot.new"
	: > "$build/apt/status"
	cat > "$build/apt/conf" <<-END
		APT::Architecture "arm64";
		APT::Architectures { "arm64"; };
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Dir::State "$build/apt";
		Dir::State::status "$build/apt/status";
		Dir::Cache "$build/apt";
	END
	export APT_CONFIG="$build/apt/conf"
	apt-get update -q
	lxc=liblxc-dev
	apt-cache show $lxc >/dev/null 2>&1 || lxc=lxc-dev
	apt-get install -q -y --download-only $lxc libsquashfs-dev libzmq3-dev libc6-dev
	unset APT_CONFIG
	for package in "$build"/apt/archives/*.deb; do dpkg-deb --extract "$package" "$sysroot.new"; done
	rm -rf "$build/apt" "$sysroot"
	mv "$sysroot.new" "$sysroot"
}

[ -d "$sysroot" ] || unpack_sysroot
if command -v rustup >/dev/null; then rustup target add $target; fi

export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR="$sysroot"
export PKG_CONFIG_LIBDIR="$sysroot/usr/lib/$triplet/pkgconfig:$sysroot/usr/share/pkgconfig"
export CC_aarch64_unknown_linux_gnu=$triplet-gcc CXX_aarch64_unknown_linux_gnu=$triplet-g++
export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu="--sysroot=$sysroot"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$triplet-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-D warnings -C link-arg=--sysroot=$sysroot"
emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$emulator -L $sysroot"
export CARGO_PROFILE_DEV_DEBUG=none

cargo check --locked --workspace --all-targets --target $target --target-dir "$build"
(cd appcontainers-zmq-proxy && cargo check --locked --all-targets --target $target --target-dir "$build/zmq-proxy")

# What QEMU 7.2 cannot do is left out: it knows neither openat2(2) nor the ioctl by which rustix asks for a terminal's modes (TCGETS2), and
# with it a program that is not there is missed only after its start. The agent's other tests execute the agent, which needs ARM.
cargo test --locked --target $target --target-dir "$build" --no-fail-fast --lib --bins --test '*' \
	-p appcontainers -p appcontainers-monitor -p appcontainers-sys -p appcontainers-wire -- \
	--skip overlay::tests:: \
	--skip an_import_is_made_fit_for_a_container \
	--skip a_terminal_is_raw_while_it_is_held_and_until_a_panic \
	--skip a_missing_program_is_named_with_its_package
cargo test --locked --target $target --target-dir "$build" --bins -p appcontainers-tools -- \
	--skip the_last_name_is_what_the_tree_is_called \
	--skip no_link_leads_out_and_those_that_stay_inside_are_followed
