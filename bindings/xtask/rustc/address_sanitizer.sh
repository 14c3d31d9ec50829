#!/bin/sh
# As RUSTC_WORKSPACE_WRAPPER: compiles the workspace's crates with the address sanitizer on top of the release profile.
# The stable compiler ships its run-time library and only lacks the right to be asked for it.
exec env RUSTC_BOOTSTRAP=1 "$@" -Zsanitizer=address
