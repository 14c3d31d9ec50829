#!/bin/sh
# As RUSTC_WORKSPACE_WRAPPER: compiles the workspace's crates with debug assertions and overflow checks on top of the
# release profile. Dependencies, llama.cpp among them, are those of the ordinary build.
exec "$@" -C debug-assertions=on -C overflow-checks=on
