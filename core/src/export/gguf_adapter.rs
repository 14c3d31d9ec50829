//! llama.cpp's adapter file: a GGUF with two tensors for each adapted one.
//!
//! `<tensor>.lora_a` is `A`, `[rank, n_in]` (dimensions in ggml's order: `n_in, rank`), `<tensor>.lora_b` is `B`,
//! `[n_out, rank]`. llama.cpp scales by `alpha / rank`, taking the rank from the tensor, and by 1 if alpha is 0
//! (`llama-adapter.cpp`). Rows stand in the order of the base's GGUF, so nothing is permuted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use nightgraft_adapter::{AdapterTensors, Factor, LoraPair, LoraPairs, Module};
use nightgraft_ggml::weight_type;
use nightgraft_gguf::{self as gguf, GgufHeader, Metadata, TensorInfo, TensorType, Value, Writer};
use nightgraft_kernels::Weights;

use super::contents::Contents;
use super::imported::ImportedAdapter;
use super::peft::spec;
use super::recorded_base::{FINGERPRINT, RecordedBase};
use crate::base::Base;
use crate::error::{AdapterMetadataProblem, AdapterProblem};
use crate::lora::mismatch;
use crate::{Error, Result};

const ALPHA: &str = "adapter.lora.alpha";

/// Writes an adapter for llama.cpp.
///
/// # Errors
/// [`Error::Adapter`] if the adapter does not fit `base`;
/// [`Error::Io`].
pub fn write_gguf_adapter(path: &Path, tensors: &AdapterTensors, base: &Base) -> Result<()> {
    writer(path, tensors, base)?.write(path)?;
    Ok(())
}

/// Writes an adapter for llama.cpp into a file that is open already and called `name` in errors.
///
/// # Errors
/// As [`write_gguf_adapter`].
pub fn write_gguf_adapter_into(
    file: &mut dyn io::Write,
    name: &Path,
    tensors: &AdapterTensors,
    base: &Base,
) -> Result<()> {
    writer(name, tensors, base)?.write_into(file, name)?;
    Ok(())
}

fn writer<'a>(path: &Path, tensors: &AdapterTensors, base: &Base) -> Result<Writer<'a>> {
    if let Some(problem) = mismatch(tensors, base) {
        return Err(Error::adapter(path, problem));
    }
    let mut metadata = Metadata::new();
    metadata.insert("general.type", Value::String("adapter".into()));
    metadata.insert("general.architecture", Value::String(base.architecture().to_owned()));
    metadata.insert("general.file_type", Value::U32(0));
    metadata.insert("adapter.type", Value::String("lora".into()));
    metadata.insert(ALPHA, Value::F32(tensors.spec.alpha));
    metadata.insert(FINGERPRINT, Value::String(base.fingerprint().to_string()));
    let mut writer = Writer::new(metadata);
    for (&(layer, module), pair) in &tensors.pairs {
        let name = module.tensor_name(layer);
        let [rank, n_in, n_out] = [pair.rank, pair.n_in, pair.n_out].map(|n| n as u64);
        let a: Vec<u8> = pair.a.iter().flat_map(|value| value.to_le_bytes()).collect();
        let b = (0..pair.n_out).flat_map(|row| (0..pair.rank).map(move |k| pair.b_t[k * pair.n_out + row]));
        let b: Vec<u8> = b.flat_map(f32::to_le_bytes).collect();
        writer
            .tensor(&format!("{name}.lora_a"), &[n_in, rank], TensorType::F32, a)
            .and_then(|()| writer.tensor(&format!("{name}.lora_b"), &[rank, n_out], TensorType::F32, b))
            .map_err(|problem| Error::adapter(path, problem))?;
    }
    Ok(writer)
}

/// Whether these are the keys that [`write_gguf_adapter`] gives a file; other programs write more.
pub(super) fn is_own_header(metadata: &Metadata) -> bool {
    let own =
        ["general.type", "general.architecture", "general.file_type", "adapter.type", ALPHA, FINGERPRINT];
    metadata.string("general.type") == Some("adapter") && metadata.iter().all(|(key, _)| own.contains(&key))
}

/// Reads an adapter made for llama.cpp.
///
/// # Errors
/// [`Error::Adapter`] names what is missing, wrong or does not fit `base`;
/// [`Error::Gguf`] for a file that is not well formed.
pub(super) fn read_gguf_adapter(path: &Path, base: &Base) -> Result<ImportedAdapter> {
    let contents = Contents::of(path)?;
    let header = gguf::parse(&contents)
        .map_err(|problem| Error::Gguf { path: path.to_owned(), problem: problem.into() })?;
    check_metadata(&header.metadata, base).map_err(|problem| Error::adapter(path, problem))?;
    let pairs = read_pairs(&header, &contents, base).map_err(|problem| Error::adapter(path, problem))?;
    let alpha = alpha(&header.metadata, &pairs).map_err(|problem| Error::adapter(path, problem))?;
    contents.check(path)?;
    let tensors = AdapterTensors { spec: spec(&pairs, alpha, 0.0), pairs };
    Ok(ImportedAdapter { tensors, base: RecordedBase::of_gguf(&header.metadata) })
}

fn check_metadata(metadata: &Metadata, base: &Base) -> Result<(), AdapterMetadataProblem> {
    let text = |key: &str| metadata.string(key).unwrap_or("not said");
    match text("general.type") {
        "adapter" => {}
        _ if text("general.architecture") == "controlvector" => {
            return Err(AdapterMetadataProblem::ControlVector);
        }
        _ if metadata.get("training.type").is_some() => return Err(AdapterMetadataProblem::Checkpoint),
        found @ ("model" | "not said") => {
            return Err(AdapterMetadataProblem::Model { found: found.to_owned() });
        }
        found => return Err(AdapterMetadataProblem::Type { found: found.to_owned() }),
    }
    match text("adapter.type") {
        "lora" => {}
        found => return Err(AdapterMetadataProblem::Method { found: found.to_owned() }),
    }
    if metadata.get("adapter.alora.invocation_tokens").is_some() {
        return Err(AdapterMetadataProblem::Invocation);
    }
    let (theirs, ours) = (text("general.architecture"), base.architecture());
    if theirs != ours {
        let (theirs, ours) = (theirs.to_owned(), ours.to_owned());
        return Err(AdapterMetadataProblem::Architecture { theirs, ours });
    }
    Ok(())
}

/// Alpha for scaling by `alpha / rank`; 0 or none means that llama.cpp does not scale.
fn alpha(metadata: &Metadata, pairs: &LoraPairs) -> Result<f32, AdapterMetadataProblem> {
    match metadata.get(ALPHA).map(Value::as_f32) {
        Some(Some(alpha)) if alpha.is_finite() && alpha != 0.0 => Ok(alpha),
        None | Some(Some(0.0)) => {
            let ranks: BTreeSet<usize> = pairs.values().map(|pair| pair.rank).collect();
            match ranks.first() {
                Some(&rank) if ranks.len() == 1 => Ok(rank as f32),
                _ => Err(AdapterMetadataProblem::NoAlpha),
            }
        }
        _ => Err(AdapterMetadataProblem::Alpha),
    }
}

fn read_pairs(header: &GgufHeader, contents: &[u8], base: &Base) -> Result<LoraPairs, AdapterProblem> {
    let mut halves: BTreeMap<(usize, Module), [Option<&TensorInfo>; 2]> = BTreeMap::new();
    for tensor in &header.tensors {
        let name = || tensor.name.clone();
        let (layer, module, factor) =
            parse_name(&tensor.name).ok_or_else(|| AdapterProblem::NoFactorOfMatrix { tensor: name() })?;
        let n_layer = base.spec.n_layer();
        if layer >= n_layer {
            return Err(AdapterProblem::NoSuchLayer { tensor: name(), n_layer });
        }
        halves.entry((layer, module)).or_default()[factor] = Some(tensor);
    }
    if halves.is_empty() {
        return Err(AdapterProblem::NoTensors);
    }
    halves.into_iter().map(|(place, tensors)| Ok((place, pair(contents, place, tensors, base)?))).collect()
}

/// Layer, module, and 0 for A or 1 for B.
fn parse_name(name: &str) -> Option<(usize, Module, usize)> {
    let (tensor, factor) = match name.strip_suffix(".lora_a") {
        Some(tensor) => (tensor, 0),
        None => (name.strip_suffix(".lora_b")?, 1),
    };
    let (layer, rest) = tensor.strip_prefix("blk.")?.split_once('.')?;
    let (layer, module) = (layer.parse().ok()?, Module::from_gguf_name(rest.strip_suffix(".weight")?)?);
    (module.tensor_name(layer) == tensor).then_some((layer, module, factor))
}

fn pair(
    contents: &[u8],
    (layer, module): (usize, Module),
    [a, b]: [Option<&TensorInfo>; 2],
    base: &Base,
) -> Result<LoraPair, AdapterProblem> {
    let name = module.tensor_name(layer);
    let a = a.ok_or_else(|| AdapterProblem::NoPartner { tensor: format!("{name}.lora_a") })?;
    let b = b.ok_or_else(|| AdapterProblem::NoPartner { tensor: format!("{name}.lora_b") })?;
    let (n_out, n_in) = base
        .spec
        .module_shape(layer, module)
        .ok_or_else(|| AdapterProblem::NoSuchMatrix { tensor: name.clone(), module })?;
    let other_shape = |tensor: &TensorInfo, factor, width, rank| AdapterProblem::Dimensions {
        tensor: tensor.name.clone(),
        factor,
        width,
        rank,
        found: tensor.dims.clone(),
    };
    let rank = match shape(a) {
        Some([width, rank]) if width == n_in as u64 => rank,
        _ => return Err(other_shape(a, Factor::A, n_in, 0)),
    };
    if shape(b) != Some([rank, n_out as u64]) {
        return Err(other_shape(b, Factor::B, n_out, rank));
    }
    let rank = usize::try_from(rank).map_err(|_| AdapterProblem::Rank { tensor: a.name.clone(), rank })?;
    let a = numbers(contents, a, rank, n_in)?;
    let b = numbers(contents, b, n_out, rank)?;
    let b_t = (0..rank).flat_map(|k| b.iter().skip(k).step_by(rank).copied()).collect();
    let pair = LoraPair { rank, n_in, n_out, a, b_t };
    match pair.problem() {
        None => Ok(pair),
        Some(problem) => Err(AdapterProblem::Pair { name, problem }),
    }
}

fn shape(tensor: &TensorInfo) -> Option<[u64; 2]> {
    match *tensor.dims.as_slice() {
        [n] => Some([n, 1]),
        [n, m, ref rest @ ..] if rest.iter().all(|&dim| dim == 1) => Some([n, m]),
        _ => None,
    }
}

fn numbers(
    contents: &[u8],
    tensor: &TensorInfo,
    n_rows: usize,
    n_cols: usize,
) -> Result<Vec<f32>, AdapterProblem> {
    let weights = weight_type(tensor.kind.ggml_id())
        .and_then(|kind| Weights::new(kind, n_rows, n_cols, tensor.bytes(contents)))
        .ok_or_else(|| AdapterProblem::Format { tensor: tensor.name.clone(), found: tensor.kind })?;
    let mut values = vec![0.0; n_rows * n_cols];
    values.chunks_exact_mut(n_cols).enumerate().for_each(|(row, out)| weights.dequantize_row(row, out));
    Ok(values)
}
