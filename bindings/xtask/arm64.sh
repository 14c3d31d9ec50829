#!/bin/sh
# Installs what compiles for arm64 Linux, runs it under emulation, and checks types for phones: Debian's own Rust
# with its arm64 standard library and its sources, a cross compiler, an emulator. Ends with 3 and one line that
# says why when this machine cannot have it.
set -eu

unavailable() {
    printf '%s\n' "$*"
    exit 3
}

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || unavailable "made for x86-64 Linux, this is $(uname -s) $(uname -m)"

rust_needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$(dirname "$0")/../../Cargo.toml")

missing_packages() {
    [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/x86_64-unknown-linux-gnu/lib ] || echo rustc-web
    [ -d /usr/lib/rustlib/aarch64-unknown-linux-gnu/lib ] || echo libstd-rust-web-dev:arm64
    [ -e /usr/lib/rustlib/src/rust/library/std/Cargo.toml ] || echo rust-web-src
    [ -e /lib/ld-linux-aarch64.so.1 ] || echo libc6:arm64
    [ -e /usr/lib/aarch64-linux-gnu/libstdc++.so.6 ] || echo libstdc++6:arm64
    command -v aarch64-linux-gnu-gcc >/dev/null || echo gcc-aarch64-linux-gnu
    command -v aarch64-linux-gnu-g++ >/dev/null || echo g++-aarch64-linux-gnu
    command -v qemu-aarch64 >/dev/null || echo qemu-user
}

packages=$(missing_packages | tr '\n' ' ')
if [ -n "$packages" ]; then
    command -v apt-get >/dev/null || unavailable "missing $packages(Debian's names), and there is no apt-get"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        sudo="sudo -n"
        $sudo true 2>/dev/null ||
            unavailable "as root, run: dpkg --add-architecture arm64; apt-get update; apt-get install -y $packages"
    fi
    echo "installing: $packages" >&2
    $sudo dpkg --add-architecture arm64 >&2
    $sudo apt-get update -qq >&2
    # $packages and $sudo are lists of words.
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >&2 ||
        unavailable "apt-get could not install $packages"
fi

found=$(/usr/bin/rustc --version | awk '{ print $2 }')
oldest=$(printf '%s\n%s\n' "$rust_needed" "$found" | sort -V | head -n 1)
[ "$oldest" = "$rust_needed" ] || unavailable "Rust $rust_needed or newer is needed, /usr/bin/rustc is $found"
[ -z "$(missing_packages)" ] || unavailable "still missing after the installation: $(missing_packages | tr '\n' ' ')"
