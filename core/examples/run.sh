#!/bin/sh
# Runs the examples on a tiny model, which learns nothing but is quick.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
model=$folder/tiny.gguf
notes=tests/data/scenario/notes.jsonl

# Of the whole workspace, so that dependencies are those of the other checks.
cargo build --quiet --release --locked --workspace \
    --example tiny_model --example train --example answer --example night
examples=${CARGO_TARGET_DIR:-target}/release/examples

"$examples/tiny_model" "$model"
"$examples/train" "$model" "$notes" "$folder/run"
"$examples/answer" "$model" "Who feeds the gulls?" "$folder/run/adapter"
"$examples/night" "$model" "$folder/store" "$notes"
