#!/bin/sh
# The whole job on the sample data: ask, train, ask again.
# usage: demo.sh NIGHTGRAFT OUT
set -eu

nightgraft=${1:?usage: demo.sh NIGHTGRAFT OUT}
out=${2:?usage: demo.sh NIGHTGRAFT OUT}
data=$(dirname "$0")/../../tests/data/demo
epochs=${DEMO_EPOCHS:-4}
lr=${DEMO_LR:-auto}

bold() {
    if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi
}

# ask [--adapter A]: the three questions and their answers
ask() {
    while IFS= read -r question; do
        [ -n "$question" ] || continue
        printf '\n  > %s\n' "$question"
        answer=$("$nightgraft" generate --model "$model" --chat --max-tokens 80 --prompt "$question" "$@" </dev/null)
        printf '%s\n' "$answer" | fold -s -w 96 | sed 's/^/    /'
    done <"$data/prompts.txt"
}

# perplexity [--adapter A]: on conversations that are not trained on
perplexity() {
    "$nightgraft" eval --model "$model" --data "$data/valid.jsonl" --json "$@" |
        sed 's/.*"perplexity":\([0-9.e+-]*\).*/\1/'
}

bold "1. The model"
model=$("$nightgraft" fetch smollm2-135m)
"$nightgraft" inspect "$model" | sed -n 's/^\(name\|parameters\|file\) /  &/p'

bold "2. Before training"
before=$(perplexity)
printf '  held-out perplexity: %.2f\n' "$before"
ask

bold "3. Training on $(wc -l <"$data/train.jsonl" | tr -d ' ') conversations, $epochs times over"
"$nightgraft" train --model "$model" --data "$data/train.jsonl" --valid "$data/valid.jsonl" --out "$out" \
    --epochs "$epochs" --lr "$lr" --resume never

bold "4. After training"
after=$(perplexity --adapter "$out/adapter")
printf '  held-out perplexity: %.2f\n' "$after"
ask --adapter "$out/adapter"

bold "5. What came of it"
awk -v before="$before" -v after="$after" 'BEGIN {
    printf "  held-out perplexity %.2f -> %.2f (%+.0f %%)\n", before, after, (after / before - 1) * 100
}'
printf '  loss curve: %s\n  adapter:    %s (PEFT), %s (llama.cpp)\n' "$out/loss.svg" "$out/adapter" "$out/adapter.gguf"
printf '  ask more:   %s generate --model %s --adapter %s --chat --prompt "..."\n' "$nightgraft" "$model" "$out/adapter"
