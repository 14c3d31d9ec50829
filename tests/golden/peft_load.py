"""Does PEFT read our exported folder and compute what we compute?

    python3 tests/golden/peft_load.py --model M.gguf --adapter RUN/adapter --data D.jsonl --nightgraft BIN

Loads the folder with `PeftModel.from_pretrained` on the base dequantized to f32, refuses tensors that do not find their
place, and compares the mean loss on D.jsonl (`{"input_ids", "labels"}` lines of at most 256 tokens) with
`nightgraft eval`. With --logits FILE it compares logits too: a list of {"sequence", "position", "ids", "values",
"log_sum_exp"} as in smollm2_peft/expected.json, written by our own forward. Exit code 1 on FAIL.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from pinned_venv import enter  # noqa: E402

enter()

import argparse  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402

import peft_reference as reference  # noqa: E402
import torch  # noqa: E402

CONTEXT = 256
# f32 on both sides, sums in another order.
LOSS_RELATIVE, LOGIT_ABSOLUTE = 1e-4, 2e-3
# Where an adapter moves the loss less than this, one that is not applied could pass.
VISIBLE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="the GGUF")
    parser.add_argument("--adapter", type=Path, required=True, help="the PEFT folder")
    parser.add_argument("--data", type=Path, required=True, help="a file of input_ids and labels")
    parser.add_argument("--nightgraft", type=Path, help="the binary, for `eval`")
    parser.add_argument("--logits", type=Path, help="logits to compare")
    parser.add_argument("--threads", type=int, default=1, help="of both sides")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    sequences = reference.read_sequences(options.data)
    if any(len(s.input_ids) > CONTEXT or s.supervised == 0 for s in sequences):
        raise SystemExit(f"{options.data}: an example is longer than {CONTEXT} tokens or has no supervised token")
    base = reference.load_base(options.model.expanduser().resolve())
    before = reference.evaluate(base, sequences)
    model = reference.load_adapter(base, options.adapter)
    after = reference.evaluate(model, sequences)
    print(f"PEFT: loss {before:.6f} without and {after:.6f} with the adapter, {len(sequences)} examples")

    if not (options.nightgraft or options.logits):
        sys.exit(0)
    passed = True
    if options.nightgraft:
        passed &= compare_loss(options, before, after)
    if options.logits:
        passed &= compare_logits(model, sequences, json.loads(options.logits.read_text()))
    print("PASS" if passed else "FAIL")
    sys.exit(0 if passed else 1)


def compare_loss(options, without: float, theirs: float) -> bool:
    command = [options.nightgraft.resolve(), "eval", "--model", options.model, "--adapter", options.adapter,
               "--data", options.data, "--context", CONTEXT, "--threads", options.threads, "--json"]  # fmt: skip
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"nightgraft ended with exit code {done.returncode}")
    ours = json.loads(done.stdout)["loss"]
    error = abs(ours - theirs) / theirs
    print(f"eval: ours {ours:.6f}, PEFT {theirs:.6f}, relative {error:.2e} (limit {LOSS_RELATIVE:.0e})")
    if abs(theirs - without) / without < VISIBLE:
        print("this adapter hardly changes the loss of this data: the comparison proves nothing")
        return False
    return error <= LOSS_RELATIVE


def compare_logits(model, sequences, records) -> bool:
    worst = 0.0
    for record in records:
        with torch.no_grad():
            row = reference.logits(model, sequences[record["sequence"]].input_ids)[record["position"]]
        theirs = [row[i].item() for i in record["ids"]] + [row.logsumexp(0).item()]
        ours = [*record["values"], record["log_sum_exp"]]
        worst = max(worst, *(abs(a - b) for a, b in zip(ours, theirs, strict=True)))
    print(f"logits: worst difference {worst:.2e} over {len(records)} positions (limit {LOGIT_ABSOLUTE:.0e})")
    return bool(records) and worst <= LOGIT_ABSOLUTE


if __name__ == "__main__":
    main()
