//! From `config.json` to a [`Plan`]: one file for each architecture of GGUF.
//!
//! Keys and tensors are those that llama.cpp loads (`llama-arch.cpp`, `models/<architecture>.cpp`). Architectures whose rope
//! rotates neighbouring rows (`llama_model_rope_type`: llama, smollm3, granite, mistral3) get the rows of queries and keys
//! reordered; the others keep `transformers`' halves.

mod decoder;
mod gemma3;
mod granite;
mod llama;
mod mistral3;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
mod smollm3;

#[cfg(test)]
mod tests;

use crate::Result;
use crate::config::Config;
use crate::plan::Plan;

type Describe = fn(&Config) -> Result<Plan>;

/// By the names that `transformers` gives them.
const ARCHITECTURES: &[(&str, Describe)] = &[
    ("LlamaForCausalLM", llama::describe),
    ("MistralForCausalLM", llama::describe),
    ("Qwen2ForCausalLM", qwen2::describe),
    ("Qwen3ForCausalLM", qwen3::describe),
    ("Gemma3ForCausalLM", gemma3::describe),
    ("Gemma3ForConditionalGeneration", gemma3::describe),
    ("SmolLM3ForCausalLM", smollm3::describe),
    ("GraniteForCausalLM", granite::describe),
    ("GraniteMoeHybridForCausalLM", granite::describe_hybrid),
    ("Ministral3ForCausalLM", mistral3::describe),
    ("Mistral3ForConditionalGeneration", mistral3::describe),
    ("Phi3ForCausalLM", phi3::describe),
];

/// The architectures that import, as `config.json` names them.
pub fn importable_architectures() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|(name, _)| *name)
}

/// What the file of a model with this configuration will hold.
pub(crate) fn describe(config: &Config) -> Result<Plan> {
    let known = ARCHITECTURES.iter().find(|(name, _)| *name == config.architecture);
    let (_, describe) = known.ok_or_else(|| config.unknown())?;
    describe(config)
}
