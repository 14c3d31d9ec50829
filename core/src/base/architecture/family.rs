//! Architectures that cannot be trained, by what they are.

use nightgraft_gguf::Metadata;

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

/// What a model of this name and with these metadata is, if that is why it cannot be trained.
pub(super) fn of(name: &str, metadata: &Metadata) -> Option<ArchitectureKind> {
    of_name(name).or_else(|| of_keys(name, metadata))
}

fn of_name(name: &str) -> Option<ArchitectureKind> {
    let is_in = |names: &[&str]| names.contains(&name);
    if is_in(RECURRENT) {
        return Some(ArchitectureKind::Recurrent);
    }
    if is_in(ENCODERS) {
        return Some(ArchitectureKind::Encoder);
    }
    (is_in(EXPERTS) || name.ends_with("moe")).then_some(ArchitectureKind::Experts)
}

/// What the keys of an architecture say that no list here has.
fn of_keys(name: &str, metadata: &Metadata) -> Option<ArchitectureKind> {
    let is_of_state = |key: &str| {
        let key = key.strip_prefix(name).and_then(|key| key.strip_prefix('.'));
        key.is_some_and(|key| key.starts_with("ssm.") || key.starts_with("wkv."))
    };
    if metadata.iter().any(|(key, _)| is_of_state(key)) {
        return Some(ArchitectureKind::Recurrent);
    }
    if metadata.bool(&format!("{name}.attention.causal")) == Some(false) {
        return Some(ArchitectureKind::Encoder);
    }
    let n_expert = metadata.u64(&format!("{name}.expert_count"));
    n_expert.is_some_and(|n| n > 0).then_some(ArchitectureKind::Experts)
}
