"""Training steps of mlx-lm on a folder of Hugging Face weights, quantized to 4 bits: prints their speed as JSON.

    mlx_steps.py FOLDER TOKENS BATCH SECONDS

Run by compare.py in an environment that has mlx-lm and no PyTorch. On CPUs mlx computes in one thread, whose time is the
process's. The first step is not counted.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx_lm.convert import convert
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load_model

KEYS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
KEYS += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def main(source: str, tokens: int, batch: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "quantized"
        convert(source, str(quantized), quantize=True, q_bits=4)
        model, config = load_model(quantized)
    model.freeze()
    linear_to_lora_layers(model, len(model.layers), {"rank": 8, "scale": 2.0, "dropout": 0.0, "keys": KEYS})
    model.train()
    optimizer = optim.AdamW(learning_rate=1e-4)

    def loss(ids: mx.array) -> mx.array:
        logits = model(ids[:, :-1]).astype(mx.float32)
        return nn.losses.cross_entropy(logits, ids[:, 1:], reduction="mean")

    gradient = nn.value_and_grad(model, loss)
    wall, cpu, began = [], [], time.monotonic()
    while len(wall) < 2 or time.monotonic() - began < seconds:
        ids = mx.random.randint(0, config["vocab_size"], (batch, tokens))
        before = time.monotonic(), time.process_time()
        value, gradients = gradient(ids)
        gradients, _ = optim.clip_grad_norm(gradients, 1.0)
        optimizer.update(model, gradients)
        mx.eval(model.parameters(), optimizer.state, value)
        wall.append(time.monotonic() - before[0])
        cpu.append(time.process_time() - before[1])
    n_tokens = tokens * batch
    speeds = {"wall": n_tokens / statistics.median(wall[1:]), "cpu": n_tokens / statistics.median(cpu[1:])}
    print(json.dumps({**speeds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
