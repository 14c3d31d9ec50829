"""Tokenizers of a few hundred pieces, cut as those of the models are, learned from `../prose.txt`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

PROSE = Path(__file__).resolve().parent.parent / "prose.txt"
# Pieces that are learned, besides bytes or characters.
LEARNED = 48

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
PUNCTUATION = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + PUNCTUATION
QWEN = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + PUNCTUATION
LOWER, UPPER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
CASED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|" + CASED
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}|" + CASED
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role + '\\n' + message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# One template for those whose turns have other marks: what stands before a turn, behind its role, and behind it.
TURNS = (
    "{{{{ bos_token }}}}{{% for message in messages %}}{0}{{{{ message.role }}}}{1}{{{{ message.content }}}}{2}{{% endfor %}}"
    "{{% if add_generation_prompt %}}{0}assistant{1}{{% endif %}}"
)


@dataclass
class Style:
    """How one family cuts texts, and its special tokens by role."""

    expression: str | None = None
    """Of a byte-level vocabulary; none if it is SentencePiece-like or cuts with GPT-2's own expression."""
    digits_alone: bool = False
    ignore_merges: bool = False
    compose: bool = False
    special: list[str] = field(default_factory=list)
    special_first: bool = False
    bos: str | None = None
    """What each text begins with."""
    eos: str = ""
    unknown: str | None = None
    """Of a SentencePiece-like vocabulary."""
    space_prefix: bool = True
    not_special: list[str] = field(default_factory=list)
    template: str = CHATML
    template_file: bool = False


STYLES = {
    "llama3": Style(
        LLAMA3, ignore_merges=True, bos="<|begin_of_text|>", eos="<|eot_id|>", template_file=True,
        special=["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        template=TURNS.format("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
    ),
    "smollm2": Style(
        digits_alone=True, special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], special_first=True, eos="<|im_end|>"
    ),
    "smollm3": Style(
        LLAMA3, ignore_merges=True, eos="<|im_end|>", template_file=True,
        special=["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"],
        not_special=["<think>", "</think>"],
    ),
    "qwen": Style(
        QWEN, compose=True, special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], eos="<|im_end|>",
        not_special=["<think>", "</think>"],
    ),
    "tekken": Style(
        TEKKEN, ignore_merges=True, special=["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], special_first=True,
        bos="<s>", eos="</s>", template=TURNS.format("[INST]", ":", "[/INST]</s>"),
    ),
    "granite": Style(
        digits_alone=True, special=["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"], special_first=True,
        eos="<|end_of_text|>", template=TURNS.format("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n"),
    ),
    "granite4": Style(
        LLAMA3, special=["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"], eos="<|end_of_text|>",
        template=TURNS.format("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n"),
    ),
    "phi4": Style(
        GPT4O, special=["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], eos="<|end|>",
        template=TURNS.format("<|", "|>", "<|end|>"),
    ),
    "llama2": Style(
        unknown="<unk>", bos="<s>", eos="</s>", special=["<unk>", "<s>", "</s>"],
        template=TURNS.format("[INST]", ":", "[/INST]</s>"),
    ),
    "phi3": Style(
        unknown="<unk>", eos="<|end|>", special=["<unk>", "<s>", "</s>"],
        not_special=[], template=TURNS.format("<|", "|>\n", "<|end|>\n"),
    ),
    "gemma3": Style(
        unknown="<unk>", space_prefix=False, bos="<bos>", eos="<end_of_turn>",
        special=["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
        not_special=["\n\n", "▁▁", "<b>"], template=TURNS.format("<start_of_turn>", "\n", "<end_of_turn>\n"),
    ),
}  # fmt: skip


def save(name: str, folder: Path) -> Tokenizer:
    """Writes `tokenizer.json`, `tokenizer_config.json` and, for some, `chat_template.jinja`; returns the tokenizer."""
    style = STYLES[name]
    tokenizer = sentence_piece(style) if style.unknown else byte_level(style)
    if style.bos:
        begin = (style.bos, tokenizer.token_to_id(style.bos))
        template = processors.TemplateProcessing(single=f"{style.bos}:0 $A:0", special_tokens=[begin])
        tokenizer.post_processor = template
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "add_bos_token": style.bos is not None,
        "bos_token": style.bos or next((text for text in ("<s>", "<|begin_of_text|>") if text in style.special), None),
        "eos_token": style.eos,
        "unk_token": style.unknown,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    if style.template_file:
        (folder / "chat_template.jinja").write_text(style.template)
    else:
        config["chat_template"] = style.template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return tokenizer


def texts() -> list[str]:
    return PROSE.read_text(encoding="utf-8").split("\n\n")


def byte_level(style: Style) -> Tokenizer:
    """Bytes and what is merged of them, with the special tokens before or behind."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=style.ignore_merges))
    if style.compose:
        tokenizer.normalizer = normalizers.NFC()
    cuts = [pre_tokenizers.Digits(individual_digits=True)] if style.digits_alone else []
    if style.expression:
        cuts.append(pre_tokenizers.Split(Regex(style.expression), "isolated", invert=False))
    cuts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=style.expression is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    tokenizer.decoder = decoders.ByteLevel()
    first = style.special if style.special_first else []
    trainer = trainers.BpeTrainer(
        vocab_size=256 + LEARNED + len(first), special_tokens=first, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in style.special])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in style.not_special])
    return tokenizer


def sentence_piece(style: Style) -> Tokenizer:
    """Markers, bytes, pieces in the order of their merges, characters."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always" if style.space_prefix else "never")
    learner.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=LEARNED + 96, show_progress=False))
    by_id = sorted(learner.get_vocab().items(), key=lambda piece: piece[1])
    learned = [text for text, _ in by_id if len(text) > 1]
    characters = [text for text, _ in by_id if len(text) == 1]
    markers = [*style.special, *style.not_special]
    markers += [] if style.eos in markers else ["<|system|>", "<|user|>", "<|assistant|>", style.eos]
    pieces = [*style.special, *(f"<0x{byte:02X}>" for byte in range(256)), *style.not_special, *learned, *characters]
    vocabulary = {text: id for id, text in enumerate(dict.fromkeys(pieces))}
    # As transformers takes merges from a SentencePiece model: every way to a piece, the earlier piece first.
    mergeable = {*learned, *characters, *(text for text in style.not_special if text == "▁▁")}
    merges = [
        (text[:at], text[at:])
        for text in vocabulary
        if text in mergeable
        for at in range(1, len(text))
        if text[:at] in mergeable and text[at:] in mergeable
    ]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=style.unknown, fuse_unk=True, byte_fallback=True)
    )
    spaces = normalizers.Replace(" ", "▁")
    if style.space_prefix:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    else:
        tokenizer.normalizer = spaces
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous", invert=False)
    strip = [decoders.Strip(" ", 1, 0)] if style.space_prefix else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    special = [text for text in markers if text not in style.not_special]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in style.not_special])
    return tokenizer
