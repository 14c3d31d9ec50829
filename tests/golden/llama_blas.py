"""Our logits against those of a llama.cpp that does not round activations, on the very same 4-bit file.

    python3 tests/golden/llama_blas.py --nightgraft target/release/nightgraft --model M.gguf --work DIR

In front of 4-bit weights llama.cpp's own x86 kernels round activations to 8 bits; with a BLAS backend it multiplies
batches of 32 tokens and more in f32, as we do. This builds llama.cpp with OpenBLAS from the sources of the crate that
we link (in the user's cache: about 4 minutes of CPU, 40 MB), trains an adapter for 20 steps on the sample data, and
prints the mean Kullback-Leibler divergence per token between llama.cpp's predictions and ours, both ways round:
  1. with BLAS, and with the same build once its BLAS device is taken away,
  2. of the base alone, and with our adapter: the PEFT folder on our side, the exported GGUF file on llama.cpp's,
  3. on conversations, prose and code, or on the files given with --data (anything that `nightgraft eval` reads).
Every text has 64 to 256 tokens and is one batch; keys and values are f32, without flash attention.
Prints PASS or FAIL; exit code 1 on FAIL: a divergence with BLAS is not below 1e-3, or the adapter changes so little
that agreeing with it would prove nothing.
Needs cargo and, on Debian, apt-get install cmake ninja-build g++ pkg-config libopenblas-dev.
WORK may be deleted afterwards.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import pinned_venv  # noqa: E402

pinned_venv.enter(only=("numpy", "safetensors"))

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
from typing import NamedTuple  # noqa: E402

import numpy as np  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
CRATE = "llama-cpp-sys-2"
LIMIT = 1e-3
# What the adapter must change at least, in the same measure, so that agreeing with it means something.
LEAST_EFFECT = 20 * LIMIT
# BLAS takes over at 32 tokens; the upper bound keeps a text within one micro-batch of ours.
SHORTEST, LONGEST = 64, 256
# Read of a data file: usually some 2,000 tokens, far from the limit of `eval --logits`.
SAMPLE_CHARACTERS = 8_000
DATA = ["tests/data/demo/valid.jsonl", "tests/golden/prose.txt", "core/src/train/trainer.rs"]
# Rows of logits in f64 at once.
ROWS = 64

HEAD = (
    "file               texts  tokens  model    BLAS  llama.cpp || ours  ours || llama.cpp  worst token  same top token"
)


class Row(NamedTuple):
    """llama.cpp against ours on the texts of one file."""

    file: str
    n_texts: int
    n_tokens: int
    what: str
    blas: bool
    forward: float
    reverse: float
    worst: float
    same_top: float


def line(row: Row) -> str:
    blas = "on" if row.blas else "off"
    return (
        f"{row.file:17} {row.n_texts:6} {row.n_tokens:7}  {row.what:7}  {blas:4}"
        f"  {row.forward:17.2e}  {row.reverse:17.2e}  {row.worst:11.2e}  {row.same_top:14.2%}"
    )


def main() -> None:
    options = parse()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    program = build(options)
    adapter = train(options, work)

    rows, effects = [], []
    for path in options.data:
        texts = cut(options, path, work)
        bare = ours(options, texts, None, work)
        adapted = ours(options, texts, adapter / "adapter", work)
        effects.append(divergences(bare, adapted)[0])
        for what, logits, file in [("base", bare, None), ("adapter", adapted, adapter / "adapter.gguf")]:
            for blas in [True, False]:
                theirs = llama_cpp(options, program, texts, file, blas, work)
                same_top = float((theirs.argmax(axis=1) == logits.argmax(axis=1)).mean())
                rows.append(Row(path.name, len(texts), len(logits), what, blas, *divergences(theirs, logits), same_top))

    print("divergence in nats, mean over tokens")
    print("\n".join([HEAD, *map(line, rows)]))
    for path, effect in zip(options.data, effects):
        print(f"{path.name}: our predictions with the adapter diverge from ours without by {effect:.2f}")
    worst = max(max(row.forward, row.reverse) for row in rows if row.blas)
    print(f"worst mean with BLAS: {worst:.2e} (limit {LIMIT:.0e})")
    # Written so that a NaN fails.
    passed = all(row.forward < LIMIT and row.reverse < LIMIT for row in rows if row.blas)
    passed &= all(effect > LEAST_EFFECT for effect in effects)
    print("PASS" if passed else "FAIL")
    sys.exit(0 if passed else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nightgraft", type=Path, required=True, help="the binary")
    parser.add_argument("--model", type=Path, required=True, help="the GGUF")
    parser.add_argument("--work", type=Path, required=True, help="a scratch folder")
    parser.add_argument("--data", type=Path, action="append", help="a file to compare on, .jsonl or text; repeatable")
    parser.add_argument("--tokens", type=int, default=1024, help="of each file, about")
    parser.add_argument("--steps", type=int, default=20, help="of training the adapter")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of both sides, and of the build")
    options = parser.parse_args()
    options.data = [path.resolve() for path in options.data or [REPOSITORY / name for name in DATA]]
    options.model = options.model.expanduser().resolve()
    return options


def run(command, **more) -> subprocess.CompletedProcess:
    """Runs a command that must succeed."""
    command = list(map(str, command))
    print("$", " ".join(command), file=sys.stderr)
    done = subprocess.run(command, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"{Path(command[0]).name} ended with exit code {done.returncode}")
    return done


def build(options) -> Path:
    """llama.cpp as a library with the BLAS backend, from the crate's sources, and the program that calls it."""
    metadata = run(["cargo", "metadata", "--format-version", "1", "--locked"], cwd=REPOSITORY, stdout=subprocess.PIPE)
    package = next(package for package in json.loads(metadata.stdout)["packages"] if package["name"] == CRATE)
    source = Path(package["manifest_path"]).parent / "llama.cpp"
    folder = pinned_venv.cache() / f"llama-blas-{package['version']}"
    settings = ["CMAKE_BUILD_TYPE=Release", "BUILD_SHARED_LIBS=ON", "GGML_BLAS=ON", "GGML_BLAS_VENDOR=OpenBLAS"]
    settings += [f"LLAMA_BUILD_{part}=OFF" for part in ["APP", "COMMON", "EXAMPLES", "SERVER", "TESTS", "TOOLS"]]
    run(["cmake", "-S", source, "-B", folder / "build", "-G", "Ninja", *(f"-D{setting}" for setting in settings)],
        stdout=sys.stderr)  # fmt: skip
    run(["cmake", "--build", folder / "build", "--target", "llama", "-j", options.threads], stdout=sys.stderr)
    libraries, program = folder / "build" / "bin", folder / "llama_logits"
    run(["c++", "-std=c++17", "-O2", Path(__file__).with_name("llama_logits.cpp"), "-o", program,
         f"-I{source / 'include'}", f"-I{source / 'ggml' / 'include'}", f"-L{libraries}", f"-Wl,-rpath,{libraries}",
         "-lllama", "-lggml", "-lggml-base"])  # fmt: skip
    return program


def nightgraft(options, *arguments) -> None:
    binary = options.nightgraft.resolve()
    run([binary, *arguments, "--threads", options.threads, "--quiet"], stdout=sys.stderr)


def train(options, work: Path) -> Path:
    """An adapter after some steps on the sample data."""
    out = work / "trained"
    shutil.rmtree(out, ignore_errors=True)
    nightgraft(options, "train", "--model", options.model, "--data", REPOSITORY / "tests/data/demo/train.jsonl",
               "--out", out, "--steps", options.steps, "--lr", "1e-3", "--held-out", 0, "--eval-every", 0)  # fmt: skip
    return out


def cut(options, path: Path, work: Path) -> list[list[int]]:
    """The first texts of a data file with a suitable length, as token ids: a conversation in the model's template, or
    256 tokens of a plain file."""
    content = path.read_text(encoding="utf-8")
    if len(content) > SAMPLE_CHARACTERS:
        content = content[: content.rfind("\n", 0, SAMPLE_CHARACTERS) + 1]
    suffix = ".jsonl" if path.suffix == ".jsonl" else ".txt"
    sample, out = work / f"sample{suffix}", work / "sample.safetensors"
    sample.write_text(content, encoding="utf-8")
    nightgraft(options, "eval", "--model", options.model, "--data", sample, "--context", LONGEST, "--logits", out)
    tensors = load_file(out)
    out.unlink()
    texts = np.split(tensors["ids"], np.cumsum(tensors["lengths"])[:-1])
    texts = [text.tolist() for text in texts if SHORTEST <= len(text) <= LONGEST]
    before = np.cumsum([0, *map(len, texts)])
    texts = [text for text, start in zip(texts, before) if start < options.tokens]
    if not texts:
        raise SystemExit(f"{path}: no text of {SHORTEST} to {LONGEST} tokens at its beginning")
    return texts


def ours(options, texts: list[list[int]], adapter: Path | None, work: Path) -> np.ndarray:
    """Our logits after every token that has a successor."""
    data, out = work / "ids.jsonl", work / "ours.safetensors"
    data.write_text("".join(json.dumps({"input_ids": ids, "labels": ids}) + "\n" for ids in texts))
    more = ["--adapter", adapter] if adapter else []
    nightgraft(options, "eval", "--model", options.model, "--data", data, "--context", LONGEST, "--logits", out, *more)
    tensors = load_file(out)
    out.unlink()
    assert tensors["ids"].tolist() == sum(texts, []), "the ids were changed on the way"
    assert tensors["places"].tolist() == places(texts), "not every token is there"
    return tensors["logits"]


def llama_cpp(options, program, texts: list[list[int]], adapter: Path | None, blas: bool, work: Path) -> np.ndarray:
    """llama.cpp's logits at the same places."""
    out = work / "theirs.f32"
    lines = "".join(" ".join(map(str, ids)) + "\n" for ids in texts)
    run([program, options.model, adapter or "-", "blas" if blas else "no-blas", options.threads, out], input=lines)
    logits = np.fromfile(out, dtype="<f4").reshape(sum(map(len, texts)), -1)
    out.unlink()
    return logits[places(texts)]


def places(texts: list[list[int]]) -> list[int]:
    """The index of every token but the last of each text."""
    starts = np.cumsum([0, *map(len, texts)]).tolist()
    return [start + i for start, ids in zip(starts, texts) for i in range(len(ids) - 1)]


def divergences(p: np.ndarray, q: np.ndarray) -> tuple[float, float, float]:
    """Mean of KL(p || q) and of KL(q || p) over rows, and the largest of either, in nats."""
    assert p.shape == q.shape, f"{p.shape} {q.shape}"
    forward, reverse = [], []
    for start in range(0, len(p), ROWS):
        log_p, log_q = (log_softmax(x[start : start + ROWS].astype(np.float64)) for x in (p, q))
        forward.append((np.exp(log_p) * (log_p - log_q)).sum(axis=1))
        reverse.append((np.exp(log_q) * (log_q - log_p)).sum(axis=1))
    forward, reverse = np.concatenate(forward), np.concatenate(reverse)
    return float(forward.mean()), float(reverse.mean()), float(np.maximum(forward, reverse).max())


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


if __name__ == "__main__":
    main()
