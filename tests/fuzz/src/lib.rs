//! What the fuzz targets share: a folder in memory for readers that want a path, the tiny model that adapters and
//! texts are read against, and a lid on memory.
//!
//! Each target has the form "read these bytes; if they were accepted, what came out must keep its promises". A panic,
//! an arithmetic overflow, a broken promise, an abort, an input that takes longer than ten seconds and an allocation
//! beyond [`MEMORY_LIMIT`] are all findings.

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cap::Cap;
use nightgraft_adapter::{AdapterTensors, LoraPair, LoraSpec, Module};
use nightgraft_core::fuzzing::{Base, ModelFile};
use nightgraft_kernels::WeightType;
use nightgraft_text::{ChatTemplate, Date, Tokenizer};
use nightgraft_tiny_model::{CHATML, HuggingFaceFolder, N_EMBD, TinyModel, Vocabulary};
use tempfile::TempDir;

/// The most that a target may hold at a time; the GGUF reader's own cap on a decoded header is half of it.
pub const MEMORY_LIMIT: usize = 1 << 30;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY_LIMIT);

/// A folder in memory, where the system has one.
pub fn scratch() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let in_memory = Path::new("/dev/shm");
        let made = if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() };
        made.expect("a scratch folder can be made")
    };
    FOLDER.get_or_init(make).path()
}

/// Puts `bytes` into the scratch folder under `name`, as a new file: a mapping of the former one stays what it was.
pub fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch().join(name);
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, bytes).expect("the scratch folder takes a file");
    path
}

/// A one-layer model with a byte-level vocabulary and a ChatML template.
pub fn tiny_model() -> &'static Base {
    static MODEL: OnceLock<Base> = OnceLock::new();
    MODEL.get_or_init(|| {
        let path = scratch().join("tiny.gguf");
        let mut recipe = TinyModel::new(WeightType::Q8_0);
        recipe.n_layer = 1;
        recipe.chat_template = Some(CHATML.to_owned());
        recipe.write(&path).expect("the tiny model can be written");
        let file = ModelFile::open(&path).expect("the tiny model is well formed");
        Base::open(file).expect("the tiny model is supported")
    })
}

/// The tokenizer of [`tiny_model`].
pub fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        Tokenizer::from_gguf(tiny_model().file().metadata()).expect("the tiny model has a tokenizer")
    })
}

/// The chat template of [`tiny_model`].
pub fn template() -> &'static ChatTemplate {
    static TEMPLATE: OnceLock<ChatTemplate> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let found = ChatTemplate::from_gguf(tiny_model().file().metadata(), tokenizer(), Date::now());
        found.expect("the tiny model has a template")
    })
}

/// A PEFT configuration that [`small_adapter`]'s tensors go with.
pub const PEFT_CONFIG: &[u8] =
    br#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": ["q_proj"]}"#;

/// A rank-1 adapter of one matrix of [`tiny_model`].
pub fn small_adapter() -> AdapterTensors {
    let spec = LoraSpec { rank: 1, alpha: 2.0, modules: vec![Module::AttnQ], layers: 0..1, dropout: 0.0 };
    let pair =
        LoraPair { rank: 1, n_in: N_EMBD, n_out: N_EMBD, a: vec![0.5; N_EMBD], b_t: vec![0.25; N_EMBD] };
    AdapterTensors { spec, pairs: [((0, Module::AttnQ), pair)].into() }
}

/// The files of a folder that is imported; the first byte of an input is the place of one among them.
pub const IMPORTED_FILES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
];

/// Folders of a few kilobytes: one of each shape of layer, both kinds of vocabulary among them.
pub fn import_recipes() -> [HuggingFaceFolder; 4] {
    ["LlamaForCausalLM", "Gemma3ForCausalLM", "Ministral3ForCausalLM", "Phi3ForCausalLM"].map(
        |architecture| {
            let vocabulary = if architecture == "Gemma3ForCausalLM" {
                Vocabulary::SentencePiece
            } else {
                Vocabulary::ByteLevel
            };
            HuggingFaceFolder {
                n_layer: 1,
                n_embd: 8,
                n_ff: 8,
                n_head: 2,
                n_head_kv: 1,
                head_dim: 4,
                vocabulary,
                ..HuggingFaceFolder::new(architecture)
            }
        },
    )
}
