"""The same training step here and in PEFT, in turns: tokens a second by wall clock and by processor time, and memory.

    python3 benches/peers/compare.py --model M.gguf --nightgraft target/release/nightgraft [--rounds 5] [--batch 1]

Every round runs each contender in a process of its own, for about as long: `nightgraft bench` in f32 and in mixed
precision, PEFT in f32 and in bf16 on the same file dequantized. Rank 8, all modules, random tokens, none of them padding.
Prints a table of medians, the ratios among them those within a round, and writes
benches/results/peers-TOKENSxBATCH.json. Processor time is that of the busiest thread or of all of them divided by their
number, whichever is more: what other programs take does not count. Memory is anonymous here, and all that is resident in
PEFT, whose weights are no mapped file. The Python environment is that of tests/golden; `--mlx` makes another one, for
mlx-lm on the same weights in its own 4 bits (a step of SmolLM2 takes it a minute on a CPU), and goes on without it
if it does not install.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
sys.dont_write_bytecode = True

from pinned_venv import cache, enter  # noqa: E402

enter()

import argparse  # noqa: E402
import datetime  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import venv  # noqa: E402

REFERENCE = "PEFT float32"
MLX = "mlx-lm 4bit"
CONTENDERS = ["nightgraft f32", "nightgraft mixed", REFERENCE, "PEFT bfloat16"]
MLX_REQUIREMENTS = ["mlx[cpu]==0.32.4", "mlx-lm==0.32.2"]
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="the GGUF")
    parser.add_argument("--nightgraft", type=Path, required=True, help="the binary")
    parser.add_argument("--tokens", type=int, default=256, help="of an example")
    parser.add_argument("--batch", type=int, default=1, help="examples of a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=12, help="of training in each turn")
    parser.add_argument("--without", action="append", default=[], choices=[name for name in CONTENDERS if name != REFERENCE], help="leave one out")
    parser.add_argument("--mlx", action="store_true", help="mlx-lm, too")
    parser.add_argument("--peft", metavar="DTYPE", help=argparse.SUPPRESS)
    parser.add_argument("--save", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.model = options.model.expanduser().resolve()
    if options.peft:
        print(json.dumps(peft(options)))
        return
    if options.save:
        save(options.model, options.save)
        return
    results = {name: [] for name in CONTENDERS if name not in options.without}
    with tempfile.TemporaryDirectory() as folder:
        if options.mlx and (python := mlx_python()):
            subprocess.run([sys.executable, *sys.argv, "--save", folder], check=True, capture_output=True)
            options.mlx_command = [python, Path(__file__).with_name("mlx_steps.py"), folder]
            results[MLX] = []
        for turn in range(options.rounds):
            for name in results:
                results[name].append(run(name, options))
                print(f"round {turn + 1}: {name}: {results[name][-1]['cpu']:.1f} tokens/s", file=sys.stderr)
    report(results, options)


def mlx_python() -> Path | None:
    """The interpreter of an environment with mlx-lm, made on first use; none where it does not install."""
    folder = cache() / "mlx-venv"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text().split() != MLX_REQUIREMENTS:
        venv.create(folder, with_pip=True)
        installed = subprocess.run([python, "-m", "pip", "install", "--quiet", *MLX_REQUIREMENTS])
        if installed.returncode:
            print("mlx-lm does not install here: left out", file=sys.stderr)
            return None
        stamp.write_text(" ".join(MLX_REQUIREMENTS))
    return python


def save(model: Path, folder: str) -> None:
    """The weights dequantized, as Hugging Face writes them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name)
    # What says that they came from a GGUF would forbid saving them.
    base.hf_quantizer = None
    del base.config.quantization_config
    base.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model.parent, gguf_file=model.name).save_pretrained(folder)


def run(name: str, options: argparse.Namespace) -> dict:
    if name == MLX:
        command = [*options.mlx_command, options.tokens, options.batch, options.seconds]
        done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])
    engine, precision = name.split()
    if engine == "PEFT":
        command = [sys.executable, *sys.argv, "--peft", precision]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    command = [options.nightgraft.resolve(), "bench", "--model", options.model, "--precision", precision, "--json", "-q"]
    command += ["--context", options.tokens, "--batch-tokens", options.tokens * options.batch]
    command += ["--threads", options.threads, "--seconds", options.seconds]
    shown = json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)
    return {
        "wall": shown["tokens_per_second"],
        "cpu": shown["tokens_per_cpu_second"],
        "megabytes": shown["anonymous_bytes"] / 1e6,
    }


def peft(options: argparse.Namespace) -> dict:
    """Steps of PEFT in this process, the first two not counted."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    base = AutoModelForCausalLM.from_pretrained(
        options.model.parent, gguf_file=options.model.name, dtype=getattr(torch, options.peft)
    )
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=MODULES)).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    random = torch.Generator().manual_seed(1)
    wall, cpu, began = [], [], time.monotonic()
    while len(wall) < 5 or time.monotonic() - began < options.seconds:
        ids = torch.randint(0, base.config.vocab_size, (options.batch, options.tokens), generator=random)
        before = time.monotonic(), time.thread_time(), time.process_time()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        wall.append(time.monotonic() - before[0])
        thread, process = time.thread_time() - before[1], time.process_time() - before[2]
        cpu.append(max(thread, process / options.threads))
    n_tokens = options.batch * options.tokens
    return {
        "wall": n_tokens / statistics.median(wall[2:]),
        "cpu": n_tokens / statistics.median(cpu[2:]),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def report(results: dict, options: argparse.Namespace) -> None:
    def median(name: str, key: str) -> float:
        return statistics.median(turn[key] for turn in results[name])

    print(f"{'':18} {'tokens/s':>9} {'by CPU':>9} {'/ PEFT f32':>10} {'MB':>6}")
    for name in results:
        turns = zip(results[name], results[REFERENCE], strict=True)
        ratio = statistics.median(ours["cpu"] / theirs["cpu"] for ours, theirs in turns)
        digits = 1 if name == MLX else 0
        rates = f"{median(name, 'wall'):9.{digits}f} {median(name, 'cpu'):9.{digits}f} {ratio:10.2f}"
        print(f"{name:18} {rates} {median(name, 'megabytes'):6.0f}")
    out = ROOT / "benches" / "results" / f"peers-{options.tokens}x{options.batch}.json"
    settings = {"model": options.model.name, "tokens": options.tokens, "batch": options.batch, "threads": options.threads}
    machine = {"machine": platform.machine(), "processor": processor(), "date": datetime.date.today().isoformat()}
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({**machine, **settings, "rounds": results}, indent=1) + "\n")
    print(f"written to {out}")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


main()
