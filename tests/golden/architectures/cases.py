"""The tiny models: for each architecture one after the shape of the published ones and one that is unlike them (heads of
another size than `hidden_size / num_attention_heads`, odd numbers of layers and heads, a tied or an untied head, windows
and original contexts shorter than the texts)."""

from dataclasses import dataclass

SEPARATE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


@dataclass
class Case:
    """One model. `tokenizer` names a style of `tiny_tokenizer`, `extra_rows` are rows of the embedding without a token."""

    name: str
    config: dict
    tokenizer: str
    extra_rows: int = 0

    @property
    def linear_modules(self) -> list[str]:
        """All linear matrices of a layer."""
        return FUSED if self.config["model_type"] == "phi3" else SEPARATE


def sized(model_type: str, layers: int, hidden: int, inner: int, heads: int, kv_heads: int, **more) -> dict:
    """The keys that all of the configs share."""
    return {
        "model_type": model_type, "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": inner,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "max_position_embeddings": 256, **more,
    }  # fmt: skip


def rope(kind: str = "default", theta: float = 10000.0, **more) -> dict:
    return {"rope_type": kind, "rope_theta": theta, **more}


# Some wavelengths of a head of 24 lie below 16 positions (kept), some above 64 (stretched), one between (blended).
LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
# A ramp from the first pair of a head of 16 to the third, and questions that grow sharper from the 33rd token on.
YARN = rope(
    "yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=4.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0,
    llama_4_scaling_beta=0.1,
)  # fmt: skip
GLOBAL_AND_LOCAL = {"full_attention": rope(theta=1000000.0), "sliding_attention": rope()}
SCALED_GLOBAL = {"full_attention": rope("linear", 1000000.0, factor=8.0), "sliding_attention": rope()}


def longrope(original: int, pairs: int) -> dict:
    """Factors for `pairs` pairs; the long ones hold for contexts above `original` tokens."""
    return rope(
        "longrope",
        short_factor=[1.0 + 0.125 * pair for pair in range(pairs)],
        long_factor=[1.0 + 0.75 * pair for pair in range(pairs)],
        original_max_position_embeddings=original,
    )


CASES = [
    Case("llama", sized("llama", 3, 48, 80, 4, 2, head_dim=24, rope_parameters=LLAMA3, tie_word_embeddings=False), "llama3"),
    Case("llama_tied", sized("llama", 2, 48, 72, 3, 3, rope_parameters=rope(), tie_word_embeddings=True), "smollm2"),
    Case("mistral", sized("mistral", 2, 32, 64, 4, 1, head_dim=16, sliding_window=None, rope_parameters=rope()), "llama2"),
    Case("mistral3", sized("ministral3", 3, 48, 64, 4, 2, head_dim=16, rope_parameters=YARN, tie_word_embeddings=True), "tekken"),
    Case("mistral3_untied", sized(
        "ministral3", 2, 32, 48, 3, 3, head_dim=8, tie_word_embeddings=False,
        rope_parameters=YARN | {"rope_theta": 1000000.0, "factor": 16.0, "beta_fast": 32.0,
                                "original_max_position_embeddings": 16},
    ), "tekken"),
    Case("qwen2", sized("qwen2", 2, 48, 80, 4, 2, rope_parameters=rope(theta=1000000.0), tie_word_embeddings=False), "qwen", 12),
    Case("qwen2_tied", sized("qwen2", 3, 40, 56, 5, 1, rope_parameters=rope(), tie_word_embeddings=True), "qwen"),
    Case("qwen3", sized(
        "qwen3", 3, 48, 72, 4, 2, head_dim=24, rope_parameters=rope(theta=1000000.0), tie_word_embeddings=True,
    ), "qwen", 12),
    Case("qwen3_untied", sized("qwen3", 2, 32, 64, 2, 2, head_dim=8, rope_parameters=rope(), tie_word_embeddings=False), "qwen"),
    Case("gemma3", sized(
        "gemma3_text", 7, 32, 48, 4, 1, head_dim=16, query_pre_attn_scalar=16, sliding_window=8,
        rope_parameters=GLOBAL_AND_LOCAL,
    ), "gemma3"),
    Case("gemma3_scaled", sized(
        "gemma3_text", 6, 48, 40, 2, 2, head_dim=8, query_pre_attn_scalar=8, sliding_window=20,
        rope_parameters=SCALED_GLOBAL,
    ), "gemma3"),
    Case("smollm3", sized("smollm3", 5, 32, 48, 4, 2, rope_parameters=rope(theta=5000000.0), tie_word_embeddings=True), "smollm3"),
    Case("smollm3_untied", sized("smollm3", 4, 48, 32, 6, 1, rope_parameters=rope(), tie_word_embeddings=False), "smollm3"),
    Case("granite", sized(
        "granite", 3, 48, 64, 4, 2, rope_parameters=rope(theta=10000000.0), tie_word_embeddings=True,
        embedding_multiplier=2.0, residual_multiplier=0.6, attention_multiplier=0.2, logits_scaling=0.5,
    ), "granite"),
    Case("granite_untied", sized(
        "granite", 2, 32, 40, 2, 1, rope_parameters=rope(), tie_word_embeddings=False,
        embedding_multiplier=3.0, residual_multiplier=1.5, attention_multiplier=0.5, logits_scaling=0.75,
    ), "granite4"),
    Case("phi3", sized("phi3", 3, 48, 64, 4, 4, rope_parameters=rope(partial_rotary_factor=1.0), tie_word_embeddings=False), "phi3"),
    Case("phi3_short_factors", sized(
        "phi3", 2, 64, 48, 4, 2, max_position_embeddings=1024, original_max_position_embeddings=256,
        tie_word_embeddings=True, rope_parameters=longrope(256, 6) | {"partial_rotary_factor": 0.75},
    ), "phi4"),
    Case("phi3_long_factors", sized(
        "phi3", 2, 48, 40, 3, 1, original_max_position_embeddings=32, tie_word_embeddings=False,
        rope_parameters=longrope(32, 8) | {"partial_rotary_factor": 1.0},
    ), "phi3"),
]  # fmt: skip
