#!/bin/sh
# As RUSTC_WORKSPACE_WRAPPER: compiles the workspace's crates with debug assertions and overflow checks on top of the
# release profile, and but for the kernels with little optimization, which takes longer than what it saves. Dependencies,
# llama.cpp among them, are those of the ordinary build.
case " $* " in
*" --crate-name nightgraft_kernels "*) optimization=3 ;;
*) optimization=1 ;;
esac
exec "$@" -C debug-assertions=on -C overflow-checks=on -C opt-level="$optimization"
