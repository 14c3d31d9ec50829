//! Which model an adapter was trained on, as far as it says so.
//!
//! What this program writes carries the base's fingerprint, which leaves no doubt. Others write a name, which one model
//! has many of: a repository, its quantized copies, a folder on somebody's disk. Names count as different only where that
//! cannot be a matter of spelling.

use std::collections::BTreeSet;

use nightgraft_gguf::Metadata;

use crate::base::Base;
use crate::error::OtherBase;

/// Under this key the fingerprint stands in a GGUF adapter and in the metadata of PEFT's tensors.
pub const FINGERPRINT: &str = "nightgraft.base.fingerprint";

/// What an adapter says of its base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedBase {
    /// Its fingerprint.
    pub fingerprint: Option<String>,
    /// A repository, a name, or a path on the disk of whoever trained it.
    pub name: Option<String>,
}

impl RecordedBase {
    /// What a GGUF adapter says (`convert_lora_to_gguf.py` writes the name).
    pub fn of_gguf(metadata: &Metadata) -> Self {
        let text = |key: &str| metadata.string(key).map(str::to_owned);
        Self {
            fingerprint: text(FINGERPRINT),
            name: text("general.base_model.0.repo_url").or_else(|| text("general.base_model.0.name")),
        }
    }

    /// Whether that is another model than `base`; none also where nothing says so.
    pub fn other_than(&self, base: &Base) -> Option<OtherBase> {
        if let Some(fingerprint) = &self.fingerprint {
            return (*fingerprint != base.fingerprint().to_string()).then_some(OtherBase::Fingerprint);
        }
        let recorded = Name::of(self.name.as_deref()?);
        let model = ModelNames::of(base.file().metadata());
        model.exclude(&recorded).then_some(OtherBase::Name { recorded: recorded.shown, model: model.shown })
    }
}

/// A name, taken apart.
struct Name {
    /// Its last part, with the owner of a repository.
    shown: String,
    /// Its words but for those that tell copies of one model apart.
    words: BTreeSet<String>,
    /// `OWNER/NAME`, or a link to it.
    is_repository: bool,
}

impl Name {
    fn of(name: &str) -> Self {
        let name = name.trim().trim_end_matches(['/', '\\']);
        let link = name.strip_prefix("https://huggingface.co/");
        let is_local = link.is_none() && (name.starts_with(['/', '.', '~']) || name.contains('\\'));
        let name = link.unwrap_or(name);
        let parts: Vec<_> = name.split(['/', '\\']).collect();
        let is_repository = parts.len() == 2 && !is_local;
        let last = parts.last().copied().unwrap_or_default();
        let shown = if is_repository { name } else { last };
        Self { shown: shown.chars().take(96).collect(), words: words(last), is_repository }
    }

    /// Numbers of parameters, such as `135m`.
    fn sizes(&self) -> BTreeSet<&str> {
        sizes(&self.words)
    }
}

/// What a model calls itself.
struct ModelNames {
    shown: String,
    /// The words of its own repository, if it says which that is.
    repository: Option<BTreeSet<String>>,
    /// The words of all its names.
    words: BTreeSet<String>,
}

impl ModelNames {
    fn of(metadata: &Metadata) -> Self {
        let text = |key: &str| metadata.string(key);
        let repository = text("general.source.huggingface.repository")
            .or_else(|| text("general.source.repo_url"))
            .map(Name::of);
        let keys = ["general.name", "general.basename", "general.size_label", "general.finetune"];
        let of_parent = ["general.base_model.0.name", "general.base_model.0.repo_url"];
        let mut all: BTreeSet<String> = keys
            .into_iter()
            .chain(of_parent)
            .filter_map(text)
            .flat_map(|name| Name::of(name).words)
            .collect();
        all.extend(repository.iter().flat_map(|name| name.words.clone()));
        let shown = match &repository {
            Some(name) => name.shown.clone(),
            None => text("general.name").unwrap_or("without a name").chars().take(96).collect(),
        };
        Self { shown, repository: repository.map(|name| name.words), words: all }
    }

    /// Whether `recorded` cannot be this model.
    fn exclude(&self, recorded: &Name) -> bool {
        if recorded.words.is_empty() || self.words.is_empty() {
            return false;
        }
        if let Some(repository) = self.repository.as_ref().filter(|_| recorded.is_repository) {
            return *repository != recorded.words;
        }
        let (theirs, ours) = (recorded.sizes(), sizes(&self.words));
        if !theirs.is_empty() && !ours.is_empty() {
            return theirs.is_disjoint(&ours);
        }
        // A folder may have any name; one with a number of parameters is called after its model.
        (recorded.is_repository || !theirs.is_empty()) && recorded.words.is_disjoint(&self.words)
    }
}

/// The words of a name, but for those that tell copies of one model apart.
fn words(name: &str) -> BTreeSet<String> {
    const NOISE: &[&str] = &[
        "gguf",
        "ggml",
        "hf",
        "mlx",
        "unsloth",
        "bnb",
        "nf4",
        "4bit",
        "8bit",
        "awq",
        "gptq",
        "int4",
        "int8",
        "fp8",
        "fp16",
        "f16",
        "bf16",
        "f32",
        "fp32",
        "quantized",
        "dynamic",
        "imatrix",
        "k",
        "m",
        "s",
        "l",
        "xs",
        "xxs",
        "nl",
        "0",
        "1",
    ];
    let is_quantization = |word: &str| {
        let digits = word.strip_prefix("iq").or_else(|| word.strip_prefix('q'));
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let name = name.to_lowercase();
    let name = name.strip_suffix(".gguf").unwrap_or(&name);
    let words = name.split(|c: char| !c.is_alphanumeric() && c != '.').map(|word| word.trim_matches('.'));
    words
        .filter(|word| !word.is_empty() && !NOISE.contains(word) && !is_quantization(word))
        .map(str::to_owned)
        .collect()
}

fn sizes(words: &BTreeSet<String>) -> BTreeSet<&str> {
    let is_size = |word: &&str| {
        let number = word.strip_suffix(['b', 'm']).unwrap_or_default();
        number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok()
    };
    words.iter().map(String::as_str).filter(is_size).collect()
}

#[cfg(test)]
mod tests {
    use nightgraft_gguf::Value;

    use super::*;

    fn excludes(model: &[(&str, &str)], recorded: &str) -> bool {
        let mut metadata = Metadata::new();
        for (key, value) in model {
            metadata.insert(*key, Value::String((*value).to_owned()));
        }
        ModelNames::of(&metadata).exclude(&Name::of(recorded))
    }

    #[test]
    fn copies_of_a_model_are_no_other_model() {
        let named = [("general.name", "Smollm2 135M 8k Lc100K Mix1 Ep2")];
        let source = [("general.source.huggingface.repository", "HuggingFaceTB/SmolLM2-135M-Instruct")];
        for recorded in [
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "unsloth/SmolLM2-135M-Instruct-bnb-4bit",
            "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
            "/home/somebody/models/SmolLM2-135M-Instruct",
            "bartowski/SmolLM2-135M-Instruct-Q4_K_M.gguf",
            "./output/final",
            "/content/model",
            "",
        ] {
            assert!(!excludes(&named, recorded), "{recorded}");
            assert!(!excludes(&source, recorded), "{recorded}");
        }
        assert!(!excludes(&[], "meta-llama/Llama-3.2-1B"), "nothing is known of the model");
    }

    #[test]
    fn other_models_are_told_by_family_size_or_repository() {
        let named = [("general.name", "Smollm2 135M 8k Lc100K Mix1 Ep2")];
        for recorded in [
            "meta-llama/Llama-3.2-1B-Instruct",
            "HuggingFaceTB/SmolLM2-360M-Instruct",
            "gpt2-community/gpt2",
            "/models/Llama-3.2-1B",
        ] {
            assert!(excludes(&named, recorded), "{recorded}");
        }
        let source = [("general.source.huggingface.repository", "Qwen/Qwen2.5-1.5B-Instruct")];
        assert!(excludes(&source, "Qwen/Qwen2.5-Coder-1.5B-Instruct"));
        assert!(excludes(&source, "Qwen/Qwen2.5-1.5B"));
        assert!(excludes(&[("general.name", "tiny")], "acme/large-7b"));
    }
}
