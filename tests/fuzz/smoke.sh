#!/bin/sh
# A short fuzzing run of every target, on stable Rust: smoke.sh [SECONDS PER TARGET] [TARGET...]
#
# Instead of cargo-fuzz it builds the targets with cargo itself: coverage-rustc.sh instruments our crates alone, so that
# the dependencies, llama.cpp among them, come from the ordinary release build. What is found is left in
# $CARGO_TARGET_DIR/fuzz/<target>/; everything in regressions/<target>/ is tried first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-20}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- adapter checkpoint config gguf import jsonl night
: "${CARGO_TARGET_DIR:=$here/../../target}"
mkdir -p "$CARGO_TARGET_DIR/fuzz"
CARGO_TARGET_DIR=$(cd "$CARGO_TARGET_DIR" && pwd)
export CARGO_TARGET_DIR

cp "$here/../../Cargo.lock" "$here/Cargo.lock"
cd "$here"
RUSTC_WRAPPER=$here/coverage-rustc.sh cargo build --release --quiet
log=$CARGO_TARGET_DIR/fuzz/make_seeds.log
SEEDS=$CARGO_TARGET_DIR/fuzz/seeds "$CARGO_TARGET_DIR/release/make_seeds" 2>"$log" || { cat "$log"; exit 1; }

for target in "$@"; do
    work=$CARGO_TARGET_DIR/fuzz/$target
    mkdir -p "$work/corpus"
    set -- "$work/corpus" "$CARGO_TARGET_DIR/fuzz/seeds/$target"
    [ ! -d "regressions/$target" ] || set -- "$@" "regressions/$target"
    [ ! -f "dictionaries/$target" ] || set -- -dict="dictionaries/$target" "$@"
    echo "fuzz $target for $seconds s"
    if ! "$CARGO_TARGET_DIR/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -artifact_prefix="$work/" -verbosity=0 -print_final_stats=1 "$@" 2>"$work/log"; then
        grep -A 3 "panicked at" "$work/log" || tail -n 40 "$work/log"
        grep "Test unit written" "$work/log" || true
        echo "fuzz $target: FOUND something, see above and $work"
        exit 1
    fi
    grep -E "number_of_executed_units|new_units_added" "$work/log"
done
