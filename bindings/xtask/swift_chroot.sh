#!/bin/sh
# Swift for machines without it: runs a command in a Debian 13 chroot that has swiftlang. Needs root.
# usage: swift_chroot.sh CHROOT make             makes the chroot unless it is complete
#        swift_chroot.sh CHROOT run COMMAND...   runs the command in it
# `run` shows the folders that the variable NIGHTGRAFT_READ lists (separated by colons) at the same paths for reading,
# those of NIGHTGRAFT_WRITE for writing, and keeps the environment and the working folder. What it mounts is
# in a mount namespace of its own and ends with it.
set -eu

# What the chroot has. Whoever changes this makes every chroot anew.
release=trixie
packages='swiftlang libc6-dev libstdc++-14-dev libgcc-14-dev'
recipe="$release $packages"

chroot=${1:?usage: swift_chroot.sh CHROOT make|run}
task=${2:?usage: swift_chroot.sh CHROOT make|run}
shift 2
marker=$chroot/.complete

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

is_complete() { [ "$(cat "$marker" 2>/dev/null)" = "$recipe" ]; }

# The mirror that this machine's own packages come from, where it is a Debian; debootstrap knows one otherwise.
mirror() {
    [ "$(. /etc/os-release && echo "$ID")" = debian ] || return 0
    cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null |
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] *\)\{0,1\}\([^ ]*\) .*/\2/p' |
        grep '/debian/\{0,1\}$' | head -n 1
}

install_debootstrap() {
    command -v debootstrap >/dev/null && return
    apt-get install -qq -y --no-install-recommends debootstrap debian-archive-keyring >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends debootstrap debian-archive-keyring
    }
}

# In the private namespace. A chroot that was left half done may still have mounts of whoever left it: they are
# taken out of this namespace, and nothing beyond this file system is removed.
make_anew() {
    [ ! -e "$chroot" ] || echo "the chroot in $chroot is not complete; making it anew"
    awk -v folder="$chroot/" 'index($5 "/", folder) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r place; do umount -l "$place"; done
    rm -rf --one-file-system "$chroot"
    mkdir -p "$chroot"
    echo "making a Debian $release chroot with Swift in $chroot (3.3 GB, some minutes)"
    # $(mirror) is one word or none, $packages several.
    # shellcheck disable=SC2046,SC2086
    debootstrap --variant=minbase "$release" "$chroot" $(mirror) >"$chroot.log" 2>&1 ||
        { tail -n 20 "$chroot.log" >&2; fail "debootstrap failed; all of it is in $chroot.log"; }
    [ ! -d /etc/apt/apt.conf.d ] || cp /etc/apt/apt.conf.d/*proxy* "$chroot/etc/apt/apt.conf.d/" 2>/dev/null || true
    cp /etc/resolv.conf "$chroot/etc/resolv.conf"
    mount_system
    # shellcheck disable=SC2086
    chroot "$chroot" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages \
        >>"$chroot.log" 2>&1 ||
        { tail -n 20 "$chroot.log" >&2; fail "Swift could not be installed; all of it is in $chroot.log"; }
    chroot "$chroot" apt-get clean
    chroot "$chroot" swift --version >/dev/null 2>&1 || fail "Swift does not run in $chroot"
    printf '%s\n' "$recipe" >"$marker"
}

mount_system() {
    mountpoint -q "$chroot/proc" || mount -t proc proc "$chroot/proc"
    mountpoint -q "$chroot/dev" || mount --rbind /dev "$chroot/dev"
}

# show FOLDERS OPTIONS: each at its own path
show() {
    old_ifs=$IFS
    IFS=:
    for folder in $1; do
        mkdir -p "$chroot$folder"
        mount --bind "$folder" "$chroot$folder"
        [ -z "$2" ] || mount -o "remount,bind,$2" "$chroot$folder"
    done
    IFS=$old_ifs
}

[ "$(id -u)" -eq 0 ] || fail "a chroot needs root"
[ "${chroot#/}" != "$chroot" ] || fail "the chroot's path must begin with /"
mkdir -p "$(dirname "$chroot")"

if [ -z "${NIGHTGRAFT_IN_NAMESPACE:-}" ]; then
    unshare --mount true 2>/dev/null || fail "this system does not let root mount folders (a container without the right to)"
    export NIGHTGRAFT_IN_NAMESPACE=1
    exec unshare --mount --propagation private "$0" "$chroot" "$task" "$@"
fi
unset NIGHTGRAFT_IN_NAMESPACE

case $task in
make)
    # One at a time makes it; the others find it complete.
    exec 9>"$chroot.lock"
    flock 9
    is_complete && exit
    install_debootstrap
    make_anew
    ;;
run)
    is_complete || fail "there is no complete chroot in $chroot"
    mount_system
    show "${NIGHTGRAFT_READ:-}" ro
    show "${NIGHTGRAFT_WRITE:-}" ''
    here=$(pwd)
    # The caller's PATH and HOME mean nothing in there.
    exec chroot "$chroot" env HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c 'cd "$1" && shift && exec "$@"' sh "$here" "$@"
    ;;
*) fail "unknown task '$task'" ;;
esac
