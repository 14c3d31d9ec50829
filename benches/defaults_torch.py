"""The search of defaults.py in PyTorch, an implementation that shares nothing with this one: many rates at once on one GPU.

    python3 benches/defaults.py texts DATA > texts.json
    python3 benches/defaults_torch.py texts.json --model NAME=FILE --out results/defaults.jsonl [--workers 8]

The base is dequantized from its GGUF to f32 and stays frozen; a GPU may round the operands of its products (TF32). One adapter for each rate is trained beside it: they begin with
the same values, see the same micro-batches in the same order, and each has its own clipping, AdamW and rate, as `nightgraft
train` has by default. A run is a line of the same kind as there, with `"engine": "torch"`, and `evaluations` says how many
tokens were trained on by then: what a run had reached after some time counts, too. Needs torch, transformers and gguf.
"""

import argparse
import json
import math
import random
import sys
import time
from pathlib import Path

import torch
import torch.multiprocessing as processes
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

CONTEXT, HELD_OUT, RANK, ALPHA, WARMUP, CLIP, BETA1, BETA2, EPS = 256, 50, 8, 16.0, 0.05, 1.0, 0.9, 0.999, 1e-8
RATES = [3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3]
# Epochs and tokens of a micro-batch that are tried for so many examples.
TRIED = {
    20: [(3, 64), (3, 128), (3, 256)],
    100: [(3, 512), (3, 256), (2, 256), (3, 128)],
    400: [(3, 512), (3, 256), (2, 256), (3, 128)],
}
EVALUATIONS = 8
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--model", required=True, help="NAME=FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sources", help="only these")
    parser.add_argument("--sizes", default=",".join(map(str, TRIED)))
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    texts = json.loads(options.texts.read_text("utf-8"))
    sources = options.sources.split(",") if options.sources else list(texts)
    name, file = options.model.split("=", 1)
    folder = dict(pretrained_model_name_or_path=str(Path(file).resolve().parent), gguf_file=Path(file).name)
    tokenizer = AutoTokenizer.from_pretrained(**folder)
    base = AutoModelForCausalLM.from_pretrained(**folder, dtype=torch.float32, attn_implementation="sdpa").eval().requires_grad_(False)
    jobs = []
    for size in map(int, options.sizes.split(",")):
        for source in sources:
            examples = [example(tokenizer, base.config.eos_token_id, text) for text in texts[source][: HELD_OUT + size]]
            train, held_out = examples[HELD_OUT:], examples[:HELD_OUT]
            if len(train) < size / 2:
                continue
            per_epoch = sum(len(ids) for ids, _ in train)
            for epochs, batch in TRIED[size]:
                # An epoch of one micro-batch is no candidate.
                if per_epoch >= 2 * batch:
                    key = {"model": name, "source": source, "size": size, "seed": options.seed, "engine": "torch"}
                    jobs.append((key, train, held_out, epochs, batch))
    fork = processes.get_context("fork")
    taken = fork.Value("i", 0)
    workers = [fork.Process(target=work, args=(base, jobs, taken, options.out)) for _ in range(options.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(any(worker.exitcode for worker in workers))


def example(tokenizer, end: int, line: dict) -> tuple[list[int], list[bool]]:
    """Tokens, and for each whether it is learned: a text is, up to its end, and of a dialog the answer."""
    if "text" in line:
        ids = tokenizer.encode(line["text"], add_special_tokens=False) + [end]
        return ids[:CONTEXT], [True] * min(len(ids), CONTEXT)
    turns = [{"role": "user", "content": line["prompt"]}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer.encode(prompt, add_special_tokens=False)
    answer = tokenizer.encode(line["completion"].strip(), add_special_tokens=False) + [end]
    ids = (prompt + answer)[:CONTEXT]
    return ids, ([False] * len(prompt) + [True] * len(answer))[:CONTEXT]


def work(base, jobs: list, taken, out: Path) -> None:
    """Does jobs that no other process has taken."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base.to(device)
    model = None
    while True:
        with taken.get_lock():
            number = taken.value
            taken.value += 1
        if number >= len(jobs):
            return
        key, train, held_out, epochs, batch = jobs[number]
        began = time.monotonic()
        model = model or Adapters(base, len(RATES))
        runs = model.train(train, held_out, epochs, batch, key["seed"])
        seconds = time.monotonic() - began
        with out.open("a") as file:
            for rate, evaluations in zip(RATES, runs, strict=True):
                settings = {"lr": rate, "batch-tokens": batch, "epochs": epochs}
                losses = [loss for _, _, loss in evaluations]
                run = key | {"settings": settings, "before": losses[0], "best": min(losses), "last": losses[-1]}
                run |= {"steps": evaluations[-1][0], "tokens": evaluations[-1][1], "examples": len(train)}
                run |= {"supervised_tokens": sum(sum(learned[1:]) for _, learned in train)}
                file.write(json.dumps(run | {"seconds": round(seconds, 1), "evaluations": evaluations}) + "\n")
        print(key["model"], key["source"], key["size"], epochs, batch, f"{seconds:.0f} s", flush=True)


class Adapted(nn.Module):
    """A frozen product, and beside it a low-rank one for each run. Rows of run 0 come first, then those of run 1, ..."""

    def __init__(self, linear: nn.Linear, runs: int) -> None:
        super().__init__()
        self.linear = linear
        device = linear.weight.device
        self.a = nn.Parameter(torch.zeros(runs, RANK, linear.in_features, device=device))
        self.b = nn.Parameter(torch.zeros(runs, linear.out_features, RANK, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(len(self.a), -1, x.shape[-1])
        low = torch.bmm(torch.bmm(rows, self.a.transpose(1, 2)), self.b.transpose(1, 2))
        return self.linear(x) + (ALPHA / RANK) * low.view(*x.shape[:-1], -1)


class Adapters:
    """A base with one adapter for each of some runs."""

    def __init__(self, base, runs: int) -> None:
        self.base, self.runs, self.modules = base, runs, []
        self.device = base.lm_head.weight.device
        for layer in base.model.layers:
            for block in (layer.self_attn, layer.mlp):
                for name in MODULES:
                    if hasattr(block, name):
                        adapted = Adapted(getattr(block, name), runs)
                        setattr(block, name, adapted)
                        self.modules.append(adapted)
        self.parameters = [parameter for module in self.modules for parameter in (module.a, module.b)]

    def train(self, examples, held_out, epochs: int, batch_tokens: int, seed: int) -> list[list]:
        """For each run its evaluations: the step, the tokens so far, the held-out loss."""
        order = random.Random(seed)
        batches = [members for _ in range(epochs) for members in micro_batches(examples, batch_tokens, order)]
        # Padding that is all of a kind is cheap.
        fixed = micro_batches(sorted(held_out, key=lambda pair: len(pair[0])), 1024, None)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in self.modules:
                bound = module.a.shape[2] ** -0.5
                module.a.copy_(torch.empty(module.a.shape[1:]).uniform_(-bound, bound, generator=generator))
                module.b.zero_()
        rates = torch.tensor(RATES, device=self.device)
        moments = [torch.zeros_like(parameter) for parameter in self.parameters], [torch.zeros_like(parameter) for parameter in self.parameters]
        every = max(1, math.ceil(len(batches) / EVALUATIONS))
        evaluations, tokens = [[[0, 0, loss]] for loss in self.evaluate(fixed)], 0
        for step, batch in enumerate(batches):
            losses = self.losses(batch)
            losses.sum().backward()
            self.update(rates * share_of_rate(step, len(batches)), moments, step + 1)
            tokens += sum(len(ids) for ids, _ in batch)
            if (step + 1) % every == 0 or step + 1 == len(batches):
                for run, loss in zip(evaluations, self.evaluate(fixed), strict=True):
                    run.append([step + 1, tokens, loss])
        return evaluations

    def losses(self, batch, mean: bool = True) -> torch.Tensor:
        """The mean loss, or the sum, over the learned tokens of a micro-batch, for each run."""
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        targets = torch.full((len(batch), longest), -1)
        for row, (tokens, learned) in enumerate(batch):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            for place in range(1, len(tokens)):
                if learned[place]:
                    targets[row, place - 1] = tokens[place]
        ids, targets = ids.to(self.device), targets.to(self.device)
        # Padding stands behind, where causal attention does not look from what is real.
        hidden = self.base.model(input_ids=ids.repeat(self.runs, 1), use_cache=False).last_hidden_state
        supervised = targets >= 0
        hidden = hidden.view(self.runs, *targets.shape, -1)[:, supervised]
        logits = self.base.lm_head(hidden).float()
        wanted = targets[supervised].repeat(self.runs)
        losses = cross_entropy(logits.flatten(0, 1), wanted, reduction="none").view(self.runs, -1)
        return losses.mean(1) if mean else losses.sum(1)

    @torch.no_grad()
    def evaluate(self, batches) -> list[float]:
        total = sum(self.losses(batch, mean=False) for batch in batches)
        count = sum(sum(learned[1:]) for batch in batches for _, learned in batch)
        return [round(loss, 5) for loss in (total / count).tolist()]

    @torch.no_grad()
    def update(self, rates: torch.Tensor, moments: tuple, step: int) -> None:
        """AdamW without decay, after each run's gradient was cut to its own norm."""
        squares = sum(parameter.grad.flatten(1).square().sum(1) for parameter in self.parameters)
        cut = (CLIP / squares.sqrt()).clamp(max=1.0).view(-1, 1, 1)
        rates = rates.view(-1, 1, 1) * math.sqrt(1 - BETA2**step) / (1 - BETA1**step)
        eps = EPS * math.sqrt(1 - BETA2**step)
        gradients = [parameter.grad * cut for parameter in self.parameters]
        torch._foreach_lerp_(moments[0], gradients, 1 - BETA1)
        torch._foreach_mul_(moments[1], BETA2)
        torch._foreach_addcmul_(moments[1], gradients, gradients, 1 - BETA2)
        for parameter, mean, square in zip(self.parameters, *moments, strict=True):
            parameter.sub_(rates * mean / (square.sqrt() + eps))
            parameter.grad = None


def micro_batches(examples, batch_tokens: int, order: random.Random | None) -> list[list]:
    """Each example in the first micro-batch that has room for it, in a random order."""
    shuffled = list(examples)
    if order:
        order.shuffle(shuffled)
    batches, rooms = [], []
    for pair in shuffled:
        length = len(pair[0])
        place = next((place for place, room in enumerate(rooms) if room >= length), None)
        if place is None:
            place = len(batches)
            batches.append([])
            rooms.append(batch_tokens)
        batches[place].append(pair)
        rooms[place] -= length
    return batches


def share_of_rate(step: int, total: int) -> float:
    """A linear rise over the warm-up, then half a cosine."""
    warmup = math.ceil(WARMUP * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


if __name__ == "__main__":
    main()
