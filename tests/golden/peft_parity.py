"""The full check by hand: a `nightgraft` binary against PyTorch + PEFT on the real weights, every layer adapted.

    python3 tests/golden/peft_parity.py --nightgraft target/release/nightgraft --model M.gguf --data D.jsonl --work DIR

Makes a random PEFT adapter (all modules, all layers, B not zero) and compares, in f32 on both sides,
  1. the loss of the first micro-batch and the gradient of every LoRA tensor (`nightgraft gradients`),
  2. the losses of AdamW steps from that adapter (`nightgraft train`) on the same batches.
Prints each worst case and PASS or FAIL; exit code 1 on FAIL. Without --nightgraft it runs PyTorch's half alone.
D.jsonl holds `{"input_ids", "labels"}` lines of at most 256 tokens; WORK may be deleted afterwards.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from pinned_venv import enter  # noqa: E402

enter()

import argparse  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

import peft_reference as reference  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

CONTEXT = BATCH_TOKENS = 256
# What an f32 implementation must keep. PEFT itself, f32 against f64, is off by 2e-6 in the loss and 3e-4 in the
# worst gradient; AdamW turns such differences into whole steps where a gradient is near zero, hence the wider curve.
LOSS_RELATIVE, COSINE, GRADIENT_RELATIVE, CURVE_RELATIVE = 1e-4, 0.9999, 1e-3, 5e-3
MICRO_BATCHES = ["--no-packing", "--no-shuffle", "--context", str(CONTEXT), "--batch-tokens", str(BATCH_TOKENS)]


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)

    sequences = reference.read_sequences(options.data)
    epoch = micro_batches(sequences)
    print(f"{len(sequences)} examples in {len(epoch)} micro-batches; the first one: {epoch[0]}")
    batches = [[sequences[i] for i in epoch[step % len(epoch)]] for step in range(options.steps)]

    model = reference.add_lora(reference.load_base(options.model), options.rank, 2.0 * options.rank, options.seed)
    adapter = work / "adapter"
    model.save_pretrained(adapter)

    passed = True
    loss, grads = reference.gradients(model, [sequences[i] for i in epoch[0]])
    save_file(grads, work / "peft_grads.safetensors")
    print(f"PEFT: first loss {loss:.7f}, {len(grads)} gradients")
    if options.nightgraft:
        passed &= compare_gradients(options, adapter, work, loss, grads)

    if options.steps:
        started = time.monotonic()
        curve = list(reference.train(model, batches, options.lr))
        seconds = time.monotonic() - started
        tokens = sum(len(s.input_ids) for batch in batches for s in batch)
        (work / "peft_losses.json").write_text(json.dumps(curve) + "\n")
        print(f"PEFT: {options.steps} steps, loss {curve[0]:.5f} to {curve[-1]:.5f}, {tokens / seconds:.1f} tokens/s")
        if options.nightgraft:
            passed &= compare_curve(options, adapter, work, curve)

    if options.nightgraft:
        print("PASS" if passed else "FAIL")
        sys.exit(0 if passed else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nightgraft", type=Path, help="the binary; without it only PyTorch's half runs")
    parser.add_argument("--model", type=Path, required=True, help="the GGUF")
    parser.add_argument("--data", type=Path, required=True, help="a file of input_ids and labels")
    parser.add_argument("--work", type=Path, required=True, help="a scratch folder")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50, help="of AdamW; 0 compares the gradients alone")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1, help="of both sides")
    options = parser.parse_args()
    options.model = options.model.expanduser().resolve()
    return options


def micro_batches(sequences) -> list[list[int]]:
    """Consecutive examples as long as they fit, as `--no-packing --no-shuffle` makes them; one list an epoch."""
    batches, tokens = [], BATCH_TOKENS
    for index, sequence in enumerate(sequences):
        length = len(sequence.input_ids)
        if length > CONTEXT or sequence.supervised == 0:
            raise SystemExit(f"line {index + 1}: {length} tokens, {sequence.supervised} supervised: not comparable")
        if tokens + length > BATCH_TOKENS:
            batches.append([])
            tokens = 0
        batches[-1].append(index)
        tokens += length
    return batches


def nightgraft(options, *arguments) -> str:
    """Runs the binary and returns its standard output."""
    command = [options.nightgraft.resolve(), *map(str, arguments), "--threads", str(options.threads), "--json"]
    print("$", " ".join(map(str, command)))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"nightgraft ended with exit code {done.returncode}")
    return done.stdout


def compare_gradients(options, adapter: Path, work: Path, loss: float, grads) -> bool:
    """Loss and every gradient of the first micro-batch."""
    out = work / "nightgraft_grads.safetensors"
    out.unlink(missing_ok=True)
    printed = nightgraft(options, "gradients", "--model", options.model, "--init-adapter", adapter,
                         "--data", options.data, "--out", out, *MICRO_BATCHES)  # fmt: skip
    ours_loss, ours = json.loads(printed)["loss"], load_file(out)
    loss_error = abs(ours_loss - loss) / loss
    print(f"first loss: ours {ours_loss:.7f}, PEFT {loss:.7f}, relative {loss_error:.2e} (limit {LOSS_RELATIVE:.0e})")
    if ours.keys() != grads.keys():
        print(f"tensor names differ: {sorted(ours.keys() ^ grads.keys())[:6]}")
        return False
    wrong = [name for name in grads if ours[name].shape != grads[name].shape]
    if wrong:
        print(f"shapes differ: {wrong[0]}: ours {tuple(ours[wrong[0]].shape)}, PEFT {tuple(grads[wrong[0]].shape)}")
        return False

    compared = {name: reference.distance(ours[name], grads[name]) for name in grads}
    worst_cosine = min(compared, key=lambda name: compared[name][0])
    worst_error = max(compared, key=lambda name: compared[name][1])
    median = statistics.median(error for _, error in compared.values())
    print(f"cosine: worst {compared[worst_cosine][0]:.8f} in {worst_cosine} (limit {COSINE})")
    print(f"relative L2: worst {compared[worst_error][1]:.2e} in {worst_error}, median {median:.2e}"
          f" (limit {GRADIENT_RELATIVE:.0e})")  # fmt: skip
    for kind in sorted({name.split(".", 5)[5] for name in compared}):
        worst = max(error for name, (_, error) in compared.items() if name.endswith(kind))
        print(f"  {kind:38} worst relative L2 {worst:.2e}")
    # Written so that a NaN fails.
    gradients_hold = compared[worst_cosine][0] >= COSINE and compared[worst_error][1] <= GRADIENT_RELATIVE
    return loss_error <= LOSS_RELATIVE and gradients_hold and all(map(finite, compared.values()))


def finite(pair) -> bool:
    return all(value == value for value in pair)


def compare_curve(options, adapter: Path, work: Path, curve: list[float]) -> bool:
    """The loss of each AdamW step, before its update."""
    out = work / "run"
    shutil.rmtree(out, ignore_errors=True)
    config = work / "parity.toml"
    config.write_text("held_out = 0.0\npatience = 0\n")
    nightgraft(options, "train", "--config", config, "--model", options.model, "--data", options.data, "--out", out,
               "--init-adapter", adapter, "--steps", options.steps, "--lr", options.lr, "--schedule", "constant",
               "--warmup", 0, "--clip", 0, "--weight-decay", 0, "--accumulate", 1, *MICRO_BATCHES,
               "--eval-every", 0, "--checkpoint-every", 0, "--resume", "never", "--precision", "f32")  # fmt: skip
    lines = (out / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines if line.strip()]
    if len(metrics) != len(curve):
        print(f"metrics.jsonl has {len(metrics)} steps, expected {len(curve)}")
        return False
    errors = [abs(ours["loss"] - theirs) / theirs for ours, theirs in zip(metrics, curve)]
    for step, (ours, theirs, error) in enumerate(zip(metrics, curve, errors), start=1):
        print(f"  step {step:3}: ours {ours['loss']:.6f}  PEFT {theirs:.6f}  relative {error:.2e}")
    rate = statistics.median(ours["tokens_per_second"] for ours in metrics)
    print(f"curve: worst relative {max(errors):.2e} (limit {CURVE_RELATIVE:.0e}); ours ran {rate:.1f} tokens/s")
    return all(error <= CURVE_RELATIVE for error in errors)


if __name__ == "__main__":
    main()
