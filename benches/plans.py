"""What training really takes in memory against what was planned, over contexts, precisions and budgets.

    python3 benches/plans.py --nightgraft target/release/nightgraft MODEL.gguf [MODEL.gguf ...]

For every model, context and precision: the least budget that is not refused, 1.4 and 2 times that, and none. Each runs in
a process of its own (`nightgraft bench`) and reports its plan and the most anonymous memory after any step. A budget 3 %
below the least must be refused, naming the least, and the run of the least must really take more than the refused budget.
Prints a table, writes benches/results/plans.json, exits 1 if a run takes 3 % more or 15 % less than planned.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results" / "plans.json"
ABOVE, BELOW = 1.03, 0.85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--nightgraft", type=Path, required=True, help="the binary")
    parser.add_argument("--contexts", default="64,256,512,1024,2048")
    parser.add_argument("--rank", default="8")
    options = parser.parse_args()
    rows, wrong = [], 0
    for model in options.models:
        for precision in ["f32", "mixed"]:
            for context in options.contexts.split(","):
                settings = ["--model", model, "--precision", precision, "--context", context, "--rank", options.rank]
                least = refused(options, settings, 1)
                refused_budget = least * 97 // 100
                named = refused(options, settings, refused_budget)
                for factor in [1.0, 1.4, 2.0, None]:
                    # Plans of two processes differ by some kilobytes.
                    budget = int(least * factor) + (1 << 17) if factor else None
                    row = run(options, settings, budget)
                    row |= {"model": model.name, "precision": precision, "context": int(context), "budget": budget}
                    ratio = row["measured"] / row["planned"]
                    fits = BELOW <= ratio <= ABOVE and (budget is None or row["planned"] <= budget)
                    refusal = factor != 1.0 or (row["measured"] > refused_budget and abs(named / least - 1) < 0.01)
                    wrong += not (fits and refusal)
                    rows.append(row)
                    print(
                        f"{model.name[:24]:24} {precision:5} {context:>5} budget {megabytes(budget)} planned"
                        f" {megabytes(row['planned'])} measured {megabytes(row['measured'])} {ratio:6.3f}"
                        f" {row['speed']:6.0f} tokens/s{'' if fits and refusal else '  WRONG'}",
                        flush=True,
                    )
    RESULTS.write_text(json.dumps({"date": datetime.date.today().isoformat(), "runs": rows}, indent=1) + "\n")
    print(f"{len(rows)} runs, {wrong} of them wrong; written to {RESULTS}")
    sys.exit(wrong > 0)


def bench(options: argparse.Namespace, settings: list, budget: int | None) -> subprocess.CompletedProcess:
    command = [options.nightgraft.resolve(), "bench", *settings, "--seconds", "1", "--json", "-q"]
    command += ["--memory", budget] if budget else []
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def run(options: argparse.Namespace, settings: list, budget: int | None) -> dict:
    done = bench(options, settings, budget)
    if done.returncode:
        sys.exit(f"a budget of {budget} was refused: {done.stderr}")
    report = json.loads(done.stdout)
    return {
        "planned": report["plan"]["total"],
        "measured": report["anonymous_bytes"],
        "speed": report["tokens_per_cpu_second"],
    }


def refused(options: argparse.Namespace, settings: list, budget: int) -> int:
    """The least that would do, in the words of the refusal."""
    done = bench(options, settings, budget)
    needed = re.search(r"(\d+) bytes of memory are needed", done.stderr)
    if done.returncode == 0 or not needed:
        sys.exit(f"a budget of {budget} was not refused: {done.stdout}{done.stderr}")
    return int(needed[1])


def megabytes(n: int | None) -> str:
    return f"{n / 1e6:7.1f}" if n else "   none"


main()
