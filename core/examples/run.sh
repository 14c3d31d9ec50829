#!/bin/sh
# Runs the examples on a tiny model, which learns nothing but is quick.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
model=$folder/tiny.gguf
notes=tests/data/scenario/notes.jsonl

example() {
    name=$1
    shift
    cargo run --quiet --release --locked --package nightgraft-core --example "$name" -- "$@"
}

example tiny_model "$model"
example train "$model" "$notes" "$folder/run"
example answer "$model" "Who feeds the gulls?" "$folder/run/adapter"
example night "$model" "$folder/store" "$notes"
