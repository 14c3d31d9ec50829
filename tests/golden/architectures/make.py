"""Makes the tiny models of all architectures and what PyTorch + PEFT computes with them, in f32:

    python3 tests/golden/architectures/make.py [--seed N --out DIR] [CASE...]

For each case of `cases.py` it writes a folder with `model/` (a Hugging Face folder with random weights in bfloat16),
`adapter/` (PEFT, on every linear matrix, A and B random), `tokens.jsonl`, `expected.json` and `grads.safetensors`; then
SOURCE. Takes about a minute and installs its own pinned environment first (see ../pinned_venv.py). With another seed and a
folder, `NIGHTGRAFT_ARCHITECTURES=DIR cargo test --release --test tests --test oracles -- architectures` compares that.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.dont_write_bytecode = True

from pinned_venv import enter  # noqa: E402

enter()

import argparse  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import zlib  # noqa: E402

import peft_reference as reference  # noqa: E402
import tiny_tokenizer  # noqa: E402
import torch  # noqa: E402
from cases import CASES, Case  # noqa: E402
from provenance import sha256, versions  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

RANK, ALPHA, B_STD = 2, 4.0, 0.1
LEARNING_RATE, STEPS = 1e-3, 20
# Each text is more than half a context long, so that with micro-batches of CONTEXT tokens each step has one.
CONTEXT, N_TEXTS = 64, 5
# The most of a loss and of a gradient by which this reference may be off f64: a tenth of what the test allows.
LOSS_NOISE, GRADIENT_NOISE = 1e-6, 1e-4


def main() -> None:
    torch.set_num_threads(1)
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, default=0, help="of all random numbers, together with the case's name")
    arguments.add_argument("--out", type=Path, default=HERE, help="where the folders are made")
    arguments.add_argument("cases", nargs="*", metavar="CASE", help="all of them if none is named")
    options = arguments.parse_args()
    unknown = set(options.cases) - {case.name for case in CASES}
    if unknown:
        raise SystemExit(f"no case is called {sorted(unknown)}")
    if options.seed != 0 and options.out == HERE:
        raise SystemExit("what is committed has seed 0: give --out, too")
    for case in CASES:
        if not options.cases or case.name in options.cases:
            make(case, options.seed, options.out / case.name)
    write_source(options.out)


def make(case: Case, seed: int, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "model").mkdir(parents=True)
    seed += zlib.crc32(case.name.encode())
    tokenizer = tiny_tokenizer.save(case.tokenizer, folder / "model")
    save_model(case, tokenizer, seed, folder / "model")
    sequences = tokenize(tokenizer)
    rows = ({"input_ids": s.input_ids, "labels": s.labels} for s in sequences)
    (folder / "tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    base = reference.load_folder(folder / "model")
    base_loss = reference.evaluate(base, sequences)
    model = reference.add_lora(base, RANK, ALPHA, seed, b_std=B_STD, modules=case.linear_modules)
    reference.save_adapter(model, folder / "adapter", case.name)
    loss, grads = reference.gradients(model, sequences)
    save_file(grads, folder / "grads.safetensors")
    batches = ([sequences[step % len(sequences)]] for step in range(STEPS))
    expected = {
        "base_loss": base_loss,
        "loss": loss,
        "supervised_tokens": sum(sequence.supervised for sequence in sequences),
        "adamw": {"lr": LEARNING_RATE, "losses": list(reference.train(model, batches, LEARNING_RATE))},
        "noise": noise(folder, sequences, loss, grads),
        "ids": {text: tokenizer.encode(text).ids for text in TEXTS},
    }
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{case.name}: loss {base_loss:.4f}, adapted {loss:.4f}, {len(grads)} gradients, {expected['noise']}, {size} bytes")
    if size > 1_000_000:
        raise SystemExit(f"{case.name} is too large to be committed")
    if expected["noise"]["loss"] > LOSS_NOISE or expected["noise"]["gradient_max"] > GRADIENT_NOISE:
        raise SystemExit(f"{case.name}: f32 and f64 are too far apart to compare anything with")


# Their ids are compared, too: words, spaces, line ends, letters and signs that are no piece.
TEXTS = ["The third step of the street", " two  spaces\nand\n\nlines", "It's 2026, isn't it?", "Zürich 日本 🚀", "HTTPServer x==1;"]


def save_model(case: Case, tokenizer, seed: int, folder: Path) -> None:
    """Random weights that bfloat16 holds exactly. They are rounded in a copy, since a model that is turned to bfloat16
    as a whole also rounds its tables of rotations."""
    style = tiny_tokenizer.STYLES[case.tokenizer]
    ids = {
        "bos_token_id": tokenizer.token_to_id(style.bos) if style.bos else None,
        "eos_token_id": tokenizer.token_to_id(style.eos),
        "pad_token_id": None,
        "vocab_size": tokenizer.get_vocab_size() + case.extra_rows,
    }
    config = AutoConfig.for_model(**case.config, **ids)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    zero_is_one = config.model_type == "gemma3_text"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(random(name, parameter, zero_is_one, generator))
    tensors = {name: parameter.detach().bfloat16() for name, parameter in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.architectures = [type(model).__name__]
    config.dtype = torch.bfloat16
    config.save_pretrained(folder)


def random(name: str, parameter: torch.Tensor, zero_is_one: bool, generator) -> torch.Tensor:
    """Values large enough that no part of a layer goes unnoticed."""
    noise = torch.empty(parameter.shape).normal_(0.0, 1.0, generator=generator)
    if "norm" in name:
        return 0.2 * noise + (0.0 if zero_is_one else 1.0)
    if name.endswith(".bias"):
        return 0.3 * noise
    return noise * parameter.shape[1] ** -0.5


def tokenize(tokenizer) -> list[reference.Sequence]:
    """Stretches of the prose; the first third of each is only read."""
    sequences = []
    for index in range(N_TEXTS):
        text = tiny_tokenizer.texts()[2 + index].replace("\n", " ")
        length = CONTEXT - 5 * index
        ids = tokenizer.encode(text).ids[:length]
        if len(ids) != length or not CONTEXT // 2 < length:
            raise SystemExit(f"text {index} has {len(ids)} tokens, not {length}")
        read = length // 3
        sequences.append(reference.Sequence(ids, [reference.IGNORED] * read + ids[read:]))
    return sequences


def noise(folder: Path, sequences, loss: float, grads) -> dict:
    """How far this f32 reference is from the same in f64: what no implementation in f32 can be blamed for."""
    base = reference.load_folder(folder / "model", torch.float64)
    adapter = reference.load_adapter(base, folder / "adapter", trainable=True).double()
    exact_loss, exact = reference.gradients(adapter, sequences)
    errors = [reference.distance(grads[name], exact[name])[1] for name in grads]
    return {"loss": abs(loss - exact_loss) / exact_loss, "gradient_max": max(errors)}


def write_source(out: Path) -> None:
    """SOURCE: where everything here comes from, so that a difference can be traced."""
    made = sorted(path for case in CASES for path in (out / case.name).rglob("*") if path.is_file())
    lines = [
        "Made by: python3 tests/golden/architectures/make.py",
        "Models: random weights from each case's name, rounded to bfloat16; their code is transformers' own.",
        "Reference: f32, eager attention, one thread, one sequence at a time from position 0, losses averaged over",
        "supervised tokens. Texts: ../prose.txt, written for this repository; the tokenizers are learned from it.",
        versions("torch", "transformers", "peft", "safetensors", "tokenizers"),
        "",
        *(f"{sha256(path)}  {path.relative_to(out)}" for path in made),
    ]
    (out / "SOURCE").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
