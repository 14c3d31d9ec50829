#!/bin/sh
# As RUSTC_WRAPPER: compiles our own crates with coverage counters and checked arithmetic, and with little optimization, which
# takes longer than it saves in a short run; every other crate as it is.
rustc=$1
shift
case " $* " in
*" --crate-name nightgraft_kernels "* | *" --crate-name nightgraft_ggml "*) ;;
*" --crate-name nightgraft_"* | *" --crate-type bin "*targets/*)
    exec "$rustc" "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on -Coverflow-checks=on -Copt-level=1
    ;;
esac
exec "$rustc" "$@"
