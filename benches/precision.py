"""The loss of training in mixed precision beside that in f32: a picture, and the largest difference.

    python3 benches/precision.py --nightgraft target/release/nightgraft --model M.gguf [--data D.jsonl] [--steps 200]

Trains twice with the same settings and seed, and writes benches/results/precision.svg.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, MARGIN = 640, 300, 40
COLOURS = {"f32": "#1f6feb", "mixed": "#d1242f"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nightgraft", type=Path, required=True, help="the binary")
    parser.add_argument("--model", type=Path, required=True, help="the GGUF")
    parser.add_argument("--data", type=Path, default=ROOT / "tests" / "data" / "demo" / "train.jsonl")
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        curves = {precision: losses(precision, Path(folder), options) for precision in COLOURS}
    difference = max(abs(b / a - 1) for a, b in zip(curves["f32"], curves["mixed"], strict=True))
    print(f"{options.steps} steps, loss {curves['f32'][0]:.3f} to {curves['f32'][-1]:.3f} in f32,", end=" ")
    print(f"{curves['mixed'][-1]:.3f} mixed; at most {100 * difference:.2f} % apart at any step")
    out = ROOT / "benches" / "results" / "precision.svg"
    out.write_text(picture(curves))
    print(f"written to {out}")
    sys.exit(difference > 0.01)


def losses(precision: str, folder: Path, options: argparse.Namespace) -> list[float]:
    out = folder / precision
    command = [options.nightgraft.resolve(), "train", "--model", options.model, "--data", options.data, "--out", out]
    command += ["--steps", options.steps, "--eval-every", "0", "--patience", "0"]
    command += ["--lr", "2e-4", "--batch-tokens", "512", "--precision", precision]
    subprocess.run([str(part) for part in command], check=True)
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def picture(curves: dict[str, list[float]]) -> str:
    highest = max(max(losses) for losses in curves.values())
    n = len(curves["f32"])

    def point(step: int, loss: float) -> str:
        x = MARGIN + (WIDTH - 2 * MARGIN) * step / max(n - 1, 1)
        return f"{x:.1f},{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * loss / highest:.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="24">loss of each of {n} steps, in nats; 0 to {highest:.1f}</text>',
    ]
    corner, right = point(0, 0), point(n - 1, 0)
    lines.append(f'<polyline fill="none" stroke="#888" points="{point(0, highest)} {corner} {right}"/>')
    for row, (name, losses) in enumerate(curves.items()):
        points = " ".join(point(step, loss) for step, loss in enumerate(losses))
        # The first is drawn broad, so that one under the other shows.
        stroke = f'stroke="{COLOURS[name]}" stroke-width="{3 - 2 * row}"'
        lines.append(f'<polyline fill="none" {stroke} points="{points}"/>')
        lines.append(f'<text x="{WIDTH - 100}" y="{24 + 18 * row}" fill="{COLOURS[name]}">{name}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


main()
