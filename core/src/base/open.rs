//! From a GGUF file to a model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nightgraft_ggml::{Error as GgmlError, FileChange};
use nightgraft_gguf::Fingerprint;
use nightgraft_kernels::{WeightType, Weights};

use super::spec::{BranchNorms, Mixer, NormKind};
use super::weight::BiasedMatrix;
use super::weight::Lookup;
use super::{LayerWeights, ModelSpec, RopeFactors, Weight, architecture};
use crate::model_file::{FileHash, ModelFile};
use crate::{Error, Result};

/// A model whose weights are all where its [`ModelSpec`] says.
#[derive(Clone, Debug)]
pub struct Base {
    /// What it computes.
    pub spec: ModelSpec,
    /// The layers' weights, from the embedding up.
    pub layers: Vec<LayerWeights>,
    /// `[n_vocab, n_embd]`.
    pub token_embd: Weight,
    /// Norm before the head, F32 `[n_embd]`.
    pub output_norm: Weight,
    /// The head, `[n_vocab, n_embd]`: the embedding where it is tied.
    pub output: Weight,
    file: ModelFile,
    fingerprint: Fingerprint,
}

impl Base {
    /// Reads the metadata and finds every weight.
    ///
    /// # Errors
    /// [`UnsupportedModel`](crate::Error::UnsupportedModel) with the key or tensor that is missing, of the wrong
    /// shape or format, or beyond what can be computed here; [`Config`](crate::Error::Config) if `NIGHTGRAFT_ISA` asks for
    /// instructions that this machine lacks.
    pub fn open(file: ModelFile) -> Result<Self> {
        nightgraft_ggml::check_instructions()?;
        let spec = architecture::read(&file)?;
        let mut lookup = Lookup::new(&file);
        let token_embd = lookup.matrix("token_embd.weight", spec.n_vocab, spec.n_embd)?;
        let output_norm = lookup.vector("output_norm.weight", spec.n_embd)?;
        let output = if spec.tied_head {
            token_embd.clone()
        } else {
            lookup.matrix("output.weight", spec.n_vocab, spec.n_embd)?
        };
        for rope in &spec.ropes {
            let tensors = match rope.factors {
                RopeFactors::None => &[][..],
                RopeFactors::All(_) => &[architecture::ROPE_FACTORS],
                RopeFactors::ByLength { .. } => &architecture::ROPE_FACTORS_BY_LENGTH,
            };
            for tensor in tensors {
                lookup.vector(tensor, rope.dims / 2)?;
            }
        }
        let layers = (0..spec.n_layer())
            .map(|layer| layer_weights(&mut lookup, &spec, layer))
            .collect::<Result<Vec<_>>>()?;
        lookup.finish()?;
        let fingerprint = file.fingerprint()?;
        file.check()?;
        Ok(Self { spec, layers, token_embd, output_norm, output, file, fingerprint })
    }

    /// Opens a model again, for work that was begun with the file that `known` is of.
    ///
    /// # Errors
    /// [`ModelChanged`](crate::Error::ModelChanged) if that file is gone, or another one is there; those of
    /// [`open`](Self::open).
    pub fn reopen(path: &Path, known: &FileHash) -> Result<Self> {
        let changed = |path, change| Err(Error::ModelChanged { path, change });
        if let Some((path, change)) = known.change(path) {
            return changed(path, change);
        }
        let file = ModelFile::open(path)?;
        if !known.is_of(&file) {
            return changed(path.to_owned(), FileChange::Replaced);
        }
        Self::open(file)
    }

    /// Drops the vocabulary that the file's header holds in memory: for work that needs no tokenizer any more and writes no
    /// model.
    pub fn without_vocabulary(mut self) -> Self {
        self.file = self.file.drop_arrays();
        self
    }

    /// The mapped file.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// The value of `general.architecture`.
    pub fn architecture(&self) -> &str {
        self.file.metadata().string(architecture::KEY).unwrap_or_default()
    }

    /// Which file this is.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The bytes of a weight of this model; empty for one of another model that does not fit here.
    pub fn weight_bytes(&self, weight: &Weight) -> &[u8] {
        let end = weight.offset.checked_add(weight.n_bytes);
        end.and_then(|end| self.file.bytes_at(weight.offset..end)).unwrap_or_default()
    }

    /// Gives back the memory of weights' pages, which are read from the file again when they are needed.
    pub fn release<'a>(&self, weights: impl IntoIterator<Item = &'a Weight>) {
        for weight in weights {
            self.file.release(weight.offset..weight.offset.saturating_add(weight.n_bytes));
        }
    }

    /// The formats of its matrices that the kernels read through ggml's functions, which takes longer.
    pub fn slow_formats(&self) -> BTreeSet<&'static str> {
        let matrices =
            self.layers.iter().flat_map(LayerWeights::iter).chain([&self.token_embd, &self.output]);
        let is_slow = |weight: &&Weight| matches!(weight.kind, WeightType::Foreign(_));
        matrices.filter(is_slow).map(|weight| weight.kind.name()).collect()
    }

    /// A weight as the kernels take it.
    ///
    /// # Errors
    /// [`Ggml`](crate::Error::Ggml) if it is not a weight of this model.
    pub fn weights(&self, weight: &Weight) -> Result<Weights<'_>> {
        let bytes = self.weight_bytes(weight);
        Weights::new(weight.kind, weight.n_rows, weight.n_cols, bytes).ok_or_else(|| {
            let expected = format!("{} bytes", weight.n_bytes);
            GgmlError::Shape { op: "weights", expected, got: format!("{} bytes", bytes.len()) }.into()
        })
    }

    /// Looks up token embeddings: row `t` of `out`, `[ids.len(), n_embd]`, becomes the embedding of `ids[t]`, scaled as the
    /// layers take it.
    ///
    /// # Errors
    /// [`Ggml`](crate::Error::Ggml) with an id that is not in the vocabulary, or if `out` has another length.
    pub fn embed(&self, ids: &[u32], out: &mut [f32]) -> Result<()> {
        let n_embd = self.spec.n_embd;
        if ids.len().checked_mul(n_embd) != Some(out.len()) {
            let expected = format!("room for {} x {n_embd} values", ids.len());
            return Err(GgmlError::Shape { op: "embed", expected, got: out.len().to_string() }.into());
        }
        let table = self.weights(&self.token_embd)?;
        for (&id, row) in ids.iter().zip(out.chunks_exact_mut(n_embd)) {
            let index = id as usize;
            if index >= self.spec.n_vocab {
                let expected = format!("token ids below {}", self.spec.n_vocab);
                return Err(GgmlError::Shape { op: "embed", expected, got: id.to_string() }.into());
            }
            table.dequantize_row(index, row);
            if self.spec.embedding_scale != 1.0 {
                row.iter_mut().for_each(|value| *value *= self.spec.embedding_scale);
            }
        }
        Ok(())
    }
}

fn layer_weights(lookup: &mut Lookup, spec: &ModelSpec, layer: usize) -> Result<LayerWeights> {
    let of_layer = &spec.layers[layer];
    let Mixer::Attention(attention) = &of_layer.mixer;
    let mut matrices = BTreeMap::new();
    for module in spec.modules(layer) {
        let (n_rows, n_cols) = spec.module_shape(layer, module).unwrap_or_default();
        let weight = lookup.matrix(&module.tensor_name(layer), n_rows, n_cols)?;
        let bias = of_layer.biases.contains(&module);
        let bias = bias.then(|| lookup.vector(&module.bias_name(layer), n_rows)).transpose()?;
        matrices.insert(module, BiasedMatrix { weight, bias });
    }
    let mut norm = |name: &str, kind: Option<NormKind>, width: usize| {
        let is_weighted = kind == Some(NormKind::Weighted);
        is_weighted.then(|| lookup.vector(&format!("blk.{layer}.{name}.weight"), width)).transpose()
    };
    let [attn, ffn]: [BranchNorms; 2] = [attention.norms, of_layer.feed_forward.norms];
    Ok(LayerWeights {
        attn_norm: norm("attn_norm", attn.before, spec.n_embd)?,
        attn_post_norm: norm("post_attention_norm", attn.after, spec.n_embd)?,
        attn_q_norm: norm("attn_q_norm", attention.qk_norm, attention.head_dim)?,
        attn_k_norm: norm("attn_k_norm", attention.qk_norm, attention.head_dim)?,
        ffn_norm: norm("ffn_norm", ffn.before, spec.n_embd)?,
        ffn_post_norm: norm("post_ffw_norm", ffn.after, spec.n_embd)?,
        matrices,
    })
}
