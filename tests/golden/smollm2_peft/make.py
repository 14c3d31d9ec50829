"""Makes this golden case again: PEFT's losses, logits, LoRA gradients and AdamW curve on the real SmolLM2 weights.

    python3 tests/golden/smollm2_peft/make.py --model SmolLM2-135M-Instruct.Q4_1.gguf

Reads texts.json; writes tokens.jsonl, adapter/, expected.json, grads.safetensors and SOURCE. Takes about two minutes and
installs its own pinned environment first (see ../pinned_venv.py).
"""

import sys
from pathlib import Path

CASE = Path(__file__).resolve().parent
sys.path.insert(0, str(CASE.parent))
sys.dont_write_bytecode = True

from pinned_venv import enter  # noqa: E402

enter()

import argparse  # noqa: E402
import json  # noqa: E402

import peft_reference as reference  # noqa: E402
import torch  # noqa: E402
from provenance import sha256, versions  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
RANK, ALPHA, LAYERS, B_STD, SEED = 4, 8.0, [0, 13, 29], 0.05, 20
LEARNING_RATE, STEPS = 1e-3, 30
# The first micro-batch with `--no-packing --no-shuffle --context 128 --batch-tokens 512`.
CONTEXT, BATCH_TOKENS, BATCH = 128, 512, [0, 1, 2, 3, 4]
# Where logits are recorded: (sequence, position).
POSITIONS = [(0, 0), (0, 57), (1, 90), (2, 40), (5, 80)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", type=Path, required=True, help="the Q4_1 GGUF of SmolLM2-135M-Instruct")
    model_path = arguments.parse_args().model.expanduser().resolve()
    if sha256(model_path) != MODEL_SHA256:
        raise SystemExit(f"{model_path} is not the expected file")
    torch.set_num_threads(1)

    sequences = tokenize(model_path)
    write_lines(CASE / "tokens.jsonl", sequences)
    first = [sequences[i] for i in BATCH]

    base = reference.load_base(model_path)
    expected = {
        "adapter": {"rank": RANK, "alpha": ALPHA, "layers": LAYERS},
        "options": {"context": CONTEXT, "batch_tokens": BATCH_TOKENS, "packing": False, "shuffle": False},
        "base": losses(base, sequences) | {"logits": top_logits(base, sequences)},
    }

    model = reference.add_lora(base, RANK, ALPHA, SEED, LAYERS, B_STD)
    reference.save_adapter(model, CASE / "adapter", "SmolLM2-135M-Instruct")
    check_adapter()
    expected["start"] = losses(model, sequences) | {"logits": top_logits(model, sequences)}

    loss, grads = reference.gradients(model, first)
    save_file(grads, CASE / "grads.safetensors")
    expected["first_batch"] = {
        "sequences": BATCH,
        "supervised_tokens": sum(s.supervised for s in first),
        "loss": loss,
        "grad_norm": torch.cat([g.flatten() for g in grads.values()]).double().norm().item(),
    }

    batches = ([sequences[step % len(sequences)]] for step in range(STEPS))
    curve = list(reference.train(model, batches, LEARNING_RATE))
    expected["adamw"] = {
        "lr": LEARNING_RATE, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "clip": 0.0,
        "schedule": "constant", "sequences_per_step": 1, "order": "file order, cycling", "losses": curve,
    }  # fmt: skip
    expected["end"] = losses(model, sequences)

    expected["noise"] = noise(model_path, first, loss, grads)
    (CASE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    write_source()


def tokenize(model_path: Path) -> list[reference.Sequence]:
    """Tokens and labels of texts.json: chats learn their assistant turns, prompts their completion, texts all of it.

    A whole text also labels its first token: that label must be ignored, since nothing predicts it.
    """
    tokenizer = reference.load_tokenizer(model_path)
    sequences = []
    for entry in json.loads((CASE / "texts.json").read_text(encoding="utf-8")):
        if "messages" in entry:
            pieces = chat_pieces(entry["messages"])
        elif "prompt" in entry:
            pieces = [(entry["prompt"], False), (entry["completion"], True)]
        else:
            pieces = [(entry["text"], True)]
        ids, labels = [], []
        for text, supervised in pieces:
            piece = tokenizer.encode(text, add_special_tokens=False)
            ids += piece
            labels += piece if supervised else [reference.IGNORED] * len(piece)
        if not CONTEXT // 2 < len(ids) <= CONTEXT:
            raise SystemExit(f"a text has {len(ids)} tokens, outside {CONTEXT // 2 + 1} to {CONTEXT}")
        sequences.append(reference.Sequence(ids, labels))
    head = sum(len(sequences[i].input_ids) for i in BATCH)
    if not head <= BATCH_TOKENS < head + len(sequences[len(BATCH)].input_ids):
        raise SystemExit(f"the first micro-batch would not be {BATCH}")
    return sequences


def chat_pieces(messages) -> list[tuple[str, bool]]:
    """ChatML by hand: an assistant turn is supervised up to and including its end marker."""
    pieces = []
    for message in messages:
        pieces.append((f"<|im_start|>{message['role']}\n", False))
        pieces.append((message["content"] + "<|im_end|>", message["role"] == "assistant"))
        pieces.append(("\n", False))
    return pieces


def losses(model, sequences) -> dict:
    """The mean loss over all supervised tokens, and that of each sequence alone."""
    each = [reference.evaluate(model, [sequence]) for sequence in sequences]
    return {"loss": reference.evaluate(model, sequences), "sequence_losses": each}


def top_logits(model, sequences) -> list[dict]:
    """The five highest logits at a few positions, and the log of the sum of all exponentials there."""
    found = []
    for sequence, position in POSITIONS:
        with torch.no_grad():
            row = reference.logits(model, sequences[sequence].input_ids)[position]
        values, ids = row.topk(5)
        found.append({
            "sequence": sequence, "position": position, "ids": ids.tolist(), "values": values.tolist(),
            "log_sum_exp": row.logsumexp(0).item(),
        })  # fmt: skip
    return found


def noise(model_path: Path, batch, loss: float, grads) -> dict:
    """How far this f32 reference is from the same in f64: what no implementation in f32 can be blamed for."""
    base = reference.load_base(model_path, torch.float64)
    adapter = reference.load_adapter(base, CASE / "adapter", trainable=True).double()
    exact_loss, exact = reference.gradients(adapter, batch)
    errors = sorted(reference.distance(grads[name], exact[name])[1] for name in grads)
    return {
        "loss_relative": abs(loss - exact_loss) / exact_loss,
        "gradient_relative_l2_median": errors[len(errors) // 2],
        "gradient_relative_l2_max": errors[-1],
    }


def check_adapter() -> None:
    """Refuses an adapter that is not the one asked for."""
    tensors = load_file(CASE / "adapter" / "adapter_model.safetensors")
    layers = {int(name.removeprefix(reference.PREFIX).split(".")[0]) for name in tensors}
    if sorted(layers) != LAYERS or any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise SystemExit("the saved adapter is not the one asked for")


def write_lines(path: Path, sequences) -> None:
    rows = ({"input_ids": s.input_ids, "labels": s.labels} for s in sequences)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_source() -> None:
    """SOURCE: where everything here comes from, so that a difference can be traced."""
    made = ["tokens.jsonl", "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
            "expected.json", "grads.safetensors"]  # fmt: skip
    lines = [
        "Made by: python3 tests/golden/smollm2_peft/make.py --model SmolLM2-135M-Instruct.Q4_1.gguf",
        f"Model: SmolLM2-135M-Instruct.Q4_1.gguf, sha256 {MODEL_SHA256}",
        "Reference: weights dequantized to f32 (q and k rows un-permuted by transformers), eager attention, f32, one",
        "thread, one sequence at a time from position 0, losses averaged over supervised tokens.",
        "Texts: texts.json, written for this repository.",
        versions("torch", "transformers", "peft", "gguf", "safetensors", "numpy", "accelerate"),
        "",
        *(f"{sha256(CASE / name)}  {name}" for name in made),
    ]
    (CASE / "SOURCE").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
