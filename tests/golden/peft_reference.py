"""PyTorch + PEFT as the reference: the base dequantized from its GGUF to f32, LoRA on top, one sequence at a time.

No padding and no packing anywhere: each sequence runs alone with positions from 0, and a batch's loss is the sum over
its supervised tokens divided by their number. Labels follow the Hugging Face convention: they stand beside their own
token and are shifted here, so the label of a sequence's first token is never used.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
warnings.filterwarnings("ignore", module="transformers|peft")

ALL_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IGNORED = -100
PREFIX = "base_model.model.model.layers."


@dataclass
class Sequence:
    """One training example; `labels` as in the file (not shifted)."""

    input_ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        return sum(label != IGNORED for label in self.labels[1:])


def read_sequences(path: Path) -> list[Sequence]:
    """Reads a file of `{"input_ids", "labels"}` lines."""
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return [Sequence(row["input_ids"], row["labels"]) for row in rows]


def load_base(gguf: Path, dtype=torch.float32):
    """The base with every weight dequantized, frozen, eager attention.

    transformers undoes the row permutation of q and k that llama-architecture GGUFs carry. A model loaded from GGUF
    refuses `save_pretrained`, so it is built again from its config.
    """
    source = dict(gguf_file=gguf.name, dtype=torch.float32, attn_implementation="eager")
    loaded = AutoModelForCausalLM.from_pretrained(str(gguf.parent), **source)
    config = loaded.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model = model.to(dtype).eval().requires_grad_(False)
    model.config.use_cache = False
    return model


def load_tokenizer(gguf: Path):
    """The tokenizer that transformers builds from the GGUF's vocabulary."""
    return AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)


def load_folder(folder: Path, dtype=torch.float32):
    """The base in a Hugging Face folder, frozen, eager attention. `dtype` is what it computes in, whatever is stored."""
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, attn_implementation="eager")
    model = model.eval().requires_grad_(False)
    model.config.use_cache = False
    return model


def add_lora(
    base, rank: int, alpha: float, seed: int, layers: list[int] | None = None, b_std: float = 0.02, modules=ALL_MODULES
):
    """A PEFT model with a random adapter in which no gradient vanishes: B is not zero.

    `layers=None` adapts all of them. A ~ U(-1/sqrt(n_in), 1/sqrt(n_in)), B ~ N(0, b_std).
    """
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=list(modules),
        layers_to_transform=layers,
    )
    model = get_peft_model(base, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in lora_parameters(model).items():
            if ".lora_A." in name:
                bound = parameter.shape[1] ** -0.5
                values = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
            else:
                values = torch.empty(parameter.shape).normal_(0.0, b_std, generator=generator)
            parameter.copy_(values)
    return model.eval()


def save_adapter(model, folder: Path, base_name: str) -> None:
    """Writes what a loader reads: the tensors, and the config without the path of this machine's model."""
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = base_name
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_adapter(base, folder: Path, trainable: bool = False):
    """Loads a PEFT folder, refusing one whose tensors do not all find their place."""
    from safetensors import safe_open

    model = PeftModel.from_pretrained(base, str(folder), is_trainable=trainable).eval()
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        stored = set(file.keys())
    expected = set(lora_parameters(model))
    if stored != expected:
        raise SystemExit(f"{folder}: tensors differ from what PEFT expects: {sorted(stored ^ expected)[:6]}")
    return model


def lora_parameters(model) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by the names that a PEFT folder gives them, sorted."""
    found = {n.replace(".default.", "."): p for n, p in model.named_parameters() if "lora_" in n}
    return dict(sorted(found.items()))


def logits(model, ids: list[int]) -> torch.Tensor:
    """[n_tokens, n_vocab]"""
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def loss_sum(model, sequence: Sequence) -> torch.Tensor:
    """The sum of -log p over the supervised tokens of one sequence."""
    predicted = logits(model, sequence.input_ids)[:-1]
    targets = torch.tensor(sequence.labels[1:])
    return cross_entropy(predicted, targets, ignore_index=IGNORED, reduction="sum")


def backward(model, batch: list[Sequence]) -> float:
    """Adds the gradients of the batch's mean loss to `.grad`; returns that loss."""
    count = sum(sequence.supervised for sequence in batch)
    total = 0.0
    for sequence in batch:
        loss = loss_sum(model, sequence) / count
        loss.backward()
        total += loss.item()
    return total


def evaluate(model, batch: list[Sequence]) -> float:
    """Mean loss over the supervised tokens."""
    with torch.no_grad():
        total = sum(loss_sum(model, sequence).item() for sequence in batch)
    return total / sum(sequence.supervised for sequence in batch)


def gradients(model, batch: list[Sequence]) -> tuple[float, dict[str, torch.Tensor]]:
    """The batch's mean loss and the gradient of every LoRA tensor."""
    model.zero_grad(set_to_none=True)
    loss = backward(model, batch)
    return loss, {name: p.grad.detach().clone() for name, p in lora_parameters(model).items()}


def train(model, batches, lr: float):
    """AdamW without decay, clipping or schedule; yields the loss before each update."""
    parameters = list(lora_parameters(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = backward(model, batch)
        optimizer.step()
        yield loss


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[float, float]:
    """(cosine, relative L2 error) in f64."""
    a, b = ours.double().flatten(), theirs.double().flatten()
    return (a @ b / (a.norm() * b.norm())).item(), ((a - b).norm() / b.norm()).item()
