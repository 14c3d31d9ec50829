#!/bin/sh
# Makes a corpus of files as one build of Nightgraft writes them: make.sh NIGHTGRAFT TINY.gguf CHATS.jsonl OUT
#   NIGHTGRAFT   the build's binary
#   TINY.gguf    what `cargo run --release -p nightgraft-core --example tiny_model -- TINY.gguf` writes
# Runs and sessions are stopped by SIGINT when they have done some of their steps; where exactly does not matter.
set -eu
nightgraft=$(realpath "$1") model=$(realpath "$2") chats=$(realpath "$3") out=$4
mkdir -p "$out"
cd "$out"
settings="--rank 2 --targets attn_q,ffn_down --layers 1..2 --threads 1 --lr 1e-3 --seed 7 --precision f32"

# COMMAND... is stopped once FILE has so many bytes or is there.
stopped() {
    until=$1
    shift
    "$@" >/dev/null 2>&1 &
    job=$!
    until eval "$until"; do sleep 0.05; done
    kill -INT $job
    wait $job && { echo "it ended before it was stopped: $*" >&2; exit 1; } || true
}

lines() { [ -f "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]; }

train="$nightgraft train --quiet --model $model --data $chats $settings"
$train --out finished --steps 6 --eval-every 3 --checkpoint-every 3 --keep-checkpoints 1 >/dev/null
stopped 'lines stopped/metrics.jsonl 8' $train --out stopped --steps 40 --accumulate 3 --eval-every 6 \
    --checkpoint-every 0
stopped 'lines dropout/metrics.jsonl 8' $train --out dropout --steps 40 --accumulate 3 --eval-every 0 --dropout 0.1 \
    --checkpoint-every 0
for folder in finished stopped dropout; do
    rm -f $folder/.lock $folder/loss.svg
done
# Where the model lay is no concern of anybody's.
sed -i 's|"model":"[^"]*"|"model":"/models/tiny.gguf"|' */base.json

# Twelve examples are learned and the graft is taken into use; others come, two of them go, and the session that goes on
# from the graft is stopped.
key=$PWD/key
printf '%064d\n' 7 >"$key"
head -n 12 "$chats" >first.jsonl
store() {
    night="$nightgraft night --quiet --model $model $settings"
    $night --store "$1" --data first.jsonl --steps 4 $2 >/dev/null
    id=$($nightgraft store list --json --store "$1" $2 | sed -n 's/.*"id":\([0-9]*\).*/\1/p' | head -n 1)
    $nightgraft store promote "$id" --force --store "$1" $2 >/dev/null
    $nightgraft journal add "$chats" --store "$1" $2 >/dev/null
    $nightgraft journal delete 15 17 --store "$1" $2 >/dev/null
    stopped "ls $1/session/step-*.ngck >/dev/null 2>&1" $night --store "$1" --steps 60 --accumulate 2 --checkpoint-every 5 $2
    rm -f "$1"/.lock "$1"/lock
}
store plain ""
store encrypted "--key-file $key"
rm first.jsonl
