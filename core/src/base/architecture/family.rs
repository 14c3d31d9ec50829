//! Architectures that cannot be trained, by what they are.

use crate::error::ArchitectureKind;

const EXPERTS: &[&str] = &[
    "llama4",
    "grok",
    "dbrx",
    "arctic",
    "deepseek",
    "deepseek2",
    "deepseek2-ocr",
    "deepseek32",
    "deepseek4",
    "glm-dsa",
    "gpt-oss",
    "dots1",
    "bailingmoe",
    "bailingmoe2",
    "bailingmoe3",
    "smallthinker",
    "mistral4",
    "mimo2",
    "afmoe",
    "olmoe",
];
const RECURRENT: &[&str] = &[
    "mamba",
    "mamba2",
    "jamba",
    "falcon-h1",
    "rwkv6",
    "rwkv6qwen2",
    "rwkv7",
    "arwkv7",
    "plamo2",
    "nemotron_h",
    "nemotron_h_moe",
    "granitehybrid",
    "lfm2",
    "lfm2moe",
    "qwen3next",
    "qwen35",
    "qwen35moe",
    "kimi-linear",
];
const ENCODERS: &[&str] = &[
    "bert",
    "modern-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "neo-bert",
    "jina-bert-v2",
    "jina-bert-v3",
    "eurobert",
    "gemma-embedding",
    "llama-embed",
    "t5",
    "t5encoder",
    "clip",
];

/// What a model of this name is, if that is why it cannot be trained.
pub(super) fn of(name: &str) -> Option<ArchitectureKind> {
    let is_in = |names: &[&str]| names.contains(&name);
    if is_in(RECURRENT) {
        return Some(ArchitectureKind::Recurrent);
    }
    if is_in(ENCODERS) {
        return Some(ArchitectureKind::Encoder);
    }
    (is_in(EXPERTS) || name.ends_with("moe")).then_some(ArchitectureKind::Experts)
}
