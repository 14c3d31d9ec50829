//! What is in a model file, and whether it can be trained.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nightgraft_adapter::Module;
use nightgraft_ggml::{WeightType, weight_type};
use nightgraft_text::{ChatTemplate, Date, Tokenizer};
use serde::Serialize;

use crate::base::{Base, LayerSpec, ModelSpec};
use crate::model_file::{FileHash, ModelFile};
use crate::{Error, Result};

/// A model file in a few figures.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    /// The file.
    pub path: PathBuf,
    /// Its size, or that of all of a split model's files.
    pub bytes: u64,
    /// The files that it is in.
    pub files: usize,
    /// `general.architecture`.
    pub architecture: String,
    /// `general.name`, if given.
    pub name: Option<String>,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Sizes, where the architecture is one that we know.
    pub n_layer: Option<usize>,
    /// See `n_layer`.
    pub n_embd: Option<usize>,
    /// See `n_layer`.
    pub n_head: Option<usize>,
    /// See `n_layer`.
    pub n_head_kv: Option<usize>,
    /// See `n_layer`.
    pub n_ff: Option<usize>,
    /// See `n_layer`.
    pub n_vocab: Option<usize>,
    /// See `n_layer`.
    pub n_ctx_train: Option<usize>,
    /// See `n_layer`.
    pub tied_head: Option<bool>,
    /// The matrices that an adapter can sit on, where the architecture is one that we know.
    pub adaptable: Vec<AdaptableModule>,
    /// Tensors by format.
    pub tensors: Vec<TensorGroup>,
    /// `tokenizer.ggml.model` and `tokenizer.ggml.pre`, or why the vocabulary cannot be used.
    pub tokenizer: String,
    /// Whether there is a chat template that we can render.
    pub chat_template: bool,
    /// Identifies the base: adapters and checkpoints belong to one.
    pub fingerprint: String,
    /// The SHA-256 of the whole file, of which the fingerprint sees the header and samples; if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// None if the model can be trained, else why not.
    pub not_trainable: Option<String>,
}

/// A matrix that layers have and an adapter can sit on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdaptableModule {
    /// What `--targets` and the file call it.
    pub module: Module,
    /// Layers that have it.
    pub layers: usize,
    /// Rows, of the largest.
    pub outputs: usize,
    /// Columns, of the largest.
    pub inputs: usize,
    /// Numbers of an adapter of rank 1 on all of them; one of rank r has r times as many.
    pub parameters_per_rank: u64,
}

/// The tensors of one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorGroup {
    /// ggml's name of the format.
    pub format: &'static str,
    /// How many tensors.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether they are read through ggml's functions, which takes longer than with a kernel.
    pub slow: bool,
}

/// Looks into a model file of any architecture.
///
/// # Errors
/// [`crate::Error::Gguf`] if it is not a well-formed GGUF file.
pub fn inspect(model: &Path) -> Result<ModelInfo> {
    let file = ModelFile::open(model)?;
    let mut groups: BTreeMap<&'static str, TensorGroup> = BTreeMap::new();
    for tensor in file.tensors() {
        let format = tensor.kind.name();
        let slow = matches!(weight_type(tensor.kind.ggml_id()), Some(WeightType::Foreign(_)));
        let group = groups.entry(format).or_insert(TensorGroup { format, tensors: 0, bytes: 0, slow });
        group.tensors += 1;
        group.bytes += tensor.n_bytes;
    }
    let metadata = file.metadata();
    let text = |key: &str| metadata.string(key).map(str::to_owned);
    let tokenizer = Tokenizer::from_gguf(metadata);
    let chat_template = tokenizer.as_ref().is_ok_and(|tokenizer| {
        ChatTemplate::from_gguf(metadata, tokenizer, Date::now())
            .is_some_and(|template| template.check().is_ok())
    });
    let mut info = ModelInfo {
        path: model.to_owned(),
        bytes: file.n_bytes(),
        files: file.parts().len(),
        architecture: text("general.architecture").unwrap_or_default(),
        name: text("general.name"),
        parameters: file.tensors().iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum(),
        n_layer: None,
        n_embd: None,
        n_head: None,
        n_head_kv: None,
        n_ff: None,
        n_vocab: None,
        n_ctx_train: None,
        tied_head: None,
        adaptable: Vec::new(),
        tensors: groups.into_values().collect(),
        tokenizer: match &tokenizer {
            Ok(_) => [text("tokenizer.ggml.model"), text("tokenizer.ggml.pre")]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        },
        chat_template,
        fingerprint: file.fingerprint()?.to_string(),
        sha256: None,
        not_trainable: tokenizer.err().map(|error| error.to_string()),
    };
    match Base::open(file) {
        Ok(base) => describe(&mut info, &base),
        // That is no fault of the model's.
        Err(error @ Error::Config { .. }) => return Err(error),
        Err(error) => info.not_trainable = Some(error.to_string()),
    }
    Ok(info)
}

/// Looks into a model file as [`inspect`] does, and hashes every byte of it.
///
/// # Errors
/// As [`inspect`]; [`crate::Error::ModelChanged`] if the file changes meanwhile.
pub fn inspect_with_hash(model: &Path) -> Result<ModelInfo> {
    let hash = FileHash::read(&ModelFile::open(model)?)?;
    Ok(ModelInfo { sha256: Some(hash.sha256.to_string()), ..inspect(model)? })
}

fn describe(info: &mut ModelInfo, base: &Base) {
    let spec = &base.spec;
    // Where layers differ, the largest.
    let most = |of_layer: &dyn Fn(&LayerSpec) -> usize| spec.layers.iter().map(of_layer).max();
    info.n_layer = Some(spec.n_layer());
    info.n_embd = Some(spec.n_embd);
    info.n_head = most(&|layer| layer.attention().n_head);
    info.n_head_kv = most(&|layer| layer.attention().n_head_kv);
    info.n_ff = most(&|layer| layer.feed_forward.n_ff);
    info.n_vocab = Some(spec.n_vocab);
    info.n_ctx_train = Some(spec.n_ctx_train);
    info.tied_head = Some(spec.tied_head);
    info.adaptable = spec.all_modules().into_iter().map(|module| adaptable(spec, module)).collect();
}

fn adaptable(spec: &ModelSpec, module: Module) -> AdaptableModule {
    let shapes: Vec<_> = (0..spec.n_layer()).filter_map(|layer| spec.module_shape(layer, module)).collect();
    AdaptableModule {
        module,
        layers: shapes.len(),
        outputs: shapes.iter().map(|(n_out, _)| *n_out).max().unwrap_or(0),
        inputs: shapes.iter().map(|(_, n_in)| *n_in).max().unwrap_or(0),
        parameters_per_rank: shapes.iter().map(|(n_out, n_in)| (n_out + n_in) as u64).sum(),
    }
}
