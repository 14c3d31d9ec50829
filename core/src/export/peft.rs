//! The folder of Hugging Face's PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use half::{bf16, f16};
use nightgraft_adapter::{AdapterTensors, Factor, LoraPair, LoraPairs, LoraSpec, Module};
use nightgraft_files::atomic::{self, AtomicFolder};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;

use super::contents::Contents;
use super::foreign;
use super::hugging_face;
use super::imported::ImportedAdapter;
use super::peft_config::{self, PeftConfig};
use super::recorded_base::{FINGERPRINT, RecordedBase};
use crate::base::Base;
use crate::error::{AdapterProblem, ForeignAdapter};
use crate::lora::mismatch;
use crate::{Error, Result};

pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const TENSORS: &str = "adapter_model.safetensors";
/// A configuration has some kilobytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Writes an adapter as a PEFT folder. If the folder exists, it is replaced, but only if it holds nothing else.
///
/// # Errors
/// [`Error::Adapter`] if the adapter does not fit `base`; [`Error::Io`].
pub fn write_peft(folder: &Path, tensors: &AdapterTensors, base: &Base) -> Result<()> {
    if let Some(problem) = mismatch(tensors, base) {
        return Err(Error::adapter(folder, problem));
    }
    let mut config = serde_json::to_vec_pretty(&peft_config::describe(tensors, base))
        .expect("a JSON value can be written as JSON");
    config.push(b'\n');
    let bytes = to_safetensors(tensors, base).map_err(|problem| Error::adapter(folder, problem))?;
    let files = AtomicFolder::create(folder, &[CONFIG, TENSORS])?;
    files.write(CONFIG, &config)?;
    files.write(TENSORS, &bytes)?;
    Ok(files.commit()?)
}

/// Whether a PEFT folder can be written at `folder`: nothing is there, or a PEFT folder with nothing else in it.
///
/// # Errors
/// [`Error::Io`] naming what stands in the way.
pub fn check_peft_target(folder: &Path) -> Result<()> {
    Ok(atomic::check_replaceable(folder, &[CONFIG, TENSORS])?)
}

/// Writes only the tensors, under PEFT's names and in Hugging Face's row order: for adapters and for anything
/// of the same shapes, such as gradients.
///
/// # Errors
/// [`Error::Adapter`] if the shapes do not fit `base`; [`Error::Io`].
pub fn write_peft_tensors(path: &Path, tensors: &AdapterTensors, base: &Base) -> Result<()> {
    let bytes = to_safetensors(tensors, base).map_err(|problem| Error::adapter(path, problem))?;
    Ok(atomic::write_file(path, &bytes)?)
}

fn to_safetensors(tensors: &AdapterTensors, base: &Base) -> Result<Vec<u8>, AdapterProblem> {
    let mut stored: Vec<(String, [usize; 2], Vec<u8>)> = Vec::with_capacity(2 * tensors.pairs.len());
    for (&(layer, module), pair) in &tensors.pairs {
        let fits = base.spec.module_shape(layer, module) == Some((pair.n_out, pair.n_in));
        if !fits || pair.a.len() != pair.rank * pair.n_in || pair.b_t.len() != pair.rank * pair.n_out {
            return Err(AdapterProblem::NotOfTheModelsShape { tensor: module.tensor_name(layer) });
        }
        let rows = hugging_face::source_rows(&base.spec, layer, module);
        let b = hugging_face::b_to_hugging_face(&pair.b_t, pair.rank, pair.n_out, rows.as_deref());
        let name = |factor| hugging_face::tensor_name(&base.spec, layer, module, factor);
        stored.push((name(Factor::A), [pair.rank, pair.n_in], bytes_of(&pair.a)));
        stored.push((name(Factor::B), [pair.n_out, pair.rank], bytes_of(&b)));
    }
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(library)?;
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut bytes = safetensors::serialize(views, Some(format)).map_err(library)?;
    add_text(&mut bytes, FINGERPRINT, &base.fingerprint().to_string());
    Ok(bytes)
}

/// What the library says of a file.
fn library(error: SafeTensorError) -> AdapterProblem {
    AdapterProblem::Safetensors(error.to_string())
}

/// Adds a text to the metadata of a safetensors file that has one already. `safetensors` itself would write two in an
/// order that changes from run to run.
fn add_text(file: &mut Vec<u8>, key: &str, value: &str) {
    const LENGTH: usize = size_of::<u64>();
    const METADATA: &[u8] = br#""__metadata__":{"#;
    let Some(length) = file.first_chunk().map(|bytes| u64::from_le_bytes(*bytes) as usize) else { return };
    let Some(at) = file.windows(METADATA.len()).position(|window| window == METADATA) else { return };
    let mut text = format!("{}:{},", Value::from(key), Value::from(value)).into_bytes();
    // The tensors after the header begin at multiples of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    file[..LENGTH].copy_from_slice(&((length + text.len()) as u64).to_le_bytes());
    let at = at + METADATA.len();
    file.splice(at..at, text);
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Reads an adapter from its two files.
///
/// # Errors
/// [`Error::Adapter`] names what is missing, wrong, not supported or does not fit `base`; [`Error::Io`].
pub(super) fn read_peft(folder: &Path, base: &Base) -> Result<ImportedAdapter> {
    let config_path = folder.join(CONFIG);
    let config = read_config(&config_path)?;
    let path = folder.join(TENSORS);
    if !path.is_file() {
        let trainer = ForeignAdapter::of_folder(folder);
        return Err(Error::adapter(folder, trainer.map_or(AdapterProblem::NoTensorFile, Into::into)));
    }
    let contents = Contents::of(&path)?;
    let unreadable = |error| Error::adapter(&path, library(error));
    let file = SafeTensors::deserialize(&contents).map_err(unreadable)?;
    let pairs = read_pairs(&file, base).map_err(|problem| Error::adapter(&path, problem))?;
    contents.check(&path)?;
    let ranks: BTreeSet<usize> = pairs.values().map(|pair| pair.rank).collect();
    config.modules.check(&pairs, &base.spec).map_err(|problem| Error::adapter(&config_path, problem))?;
    let alpha = config.plain_alpha(&ranks).map_err(|problem| Error::adapter(&config_path, problem))?;
    let tensors = AdapterTensors { spec: spec(&pairs, alpha, config.dropout), pairs };
    let (_, header) = SafeTensors::read_metadata(&contents).map_err(unreadable)?;
    let fingerprint = header.metadata().as_ref().and_then(|texts| texts.get(FINGERPRINT)).cloned();
    Ok(ImportedAdapter { tensors, base: RecordedBase { fingerprint, name: config.base } })
}

fn read_config(path: &Path) -> Result<PeftConfig> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::adapter(path, AdapterProblem::NoConfiguration),
        _ => Error::io("open", path)(error),
    })?;
    if metadata.len() > MAX_CONFIG_BYTES {
        return Err(Error::adapter(path, AdapterProblem::ConfigurationTooLarge { bytes: metadata.len() }));
    }
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    PeftConfig::parse(&text).map_err(|problem| Error::adapter(path, problem))
}

/// What an adapter's pairs cover.
pub(super) fn spec(pairs: &LoraPairs, alpha: f32, dropout: f32) -> LoraSpec {
    let modules: BTreeSet<Module> = pairs.keys().map(|&(_, module)| module).collect();
    let first = pairs.keys().next().map_or(0, |&(layer, _)| layer);
    let end = pairs.keys().next_back().map_or(0, |&(layer, _)| layer + 1);
    LoraSpec {
        rank: pairs.values().map(|pair| pair.rank).max().unwrap_or(0),
        alpha,
        modules: modules.into_iter().collect(),
        layers: first..end,
        dropout,
    }
}

fn read_pairs(file: &SafeTensors, base: &Base) -> Result<LoraPairs, AdapterProblem> {
    let mut halves: BTreeMap<(usize, Module), [Option<TensorView>; 2]> = BTreeMap::new();
    for (name, view) in file.iter() {
        let tensor = || name.to_owned();
        let (layer, module, factor) =
            hugging_face::parse_tensor_name(name).ok_or_else(|| match foreign::part_of(name) {
                Some(part) => AdapterProblem::ForeignPart { tensor: tensor(), part },
                None => AdapterProblem::NoFactorOfModule { tensor: tensor() },
            })?;
        let n_layer = base.spec.n_layer();
        if layer >= n_layer {
            return Err(AdapterProblem::NoSuchLayer { tensor: tensor(), n_layer });
        }
        let place = &mut halves.entry((layer, module)).or_default()[factor as usize];
        if place.replace(view).is_some() {
            return Err(AdapterProblem::Repeated { tensor: tensor() });
        }
    }
    if halves.is_empty() {
        return Err(AdapterProblem::NoTensors);
    }
    halves.into_iter().map(|(place, views)| Ok((place, pair(place, views, base)?))).collect()
}

fn pair(
    (layer, module): (usize, Module),
    [a, b]: [Option<TensorView>; 2],
    base: &Base,
) -> Result<LoraPair, AdapterProblem> {
    let tensor = |factor| hugging_face::tensor_name(&base.spec, layer, module, factor);
    let a = a.ok_or_else(|| AdapterProblem::NoPartner { tensor: tensor(Factor::A) })?;
    let b = b.ok_or_else(|| AdapterProblem::NoPartner { tensor: tensor(Factor::B) })?;
    let (n_out, n_in) = base
        .spec
        .module_shape(layer, module)
        .ok_or_else(|| AdapterProblem::NoSuchMatrix { tensor: tensor(Factor::A), module })?;
    let other_shape = |factor, width, rank, view: &TensorView| AdapterProblem::Shape {
        tensor: tensor(factor),
        factor,
        width,
        rank,
        found: view.shape().to_vec(),
    };
    let rank = match a.shape() {
        &[rank, width] if rank > 0 && width == n_in => rank,
        _ => return Err(other_shape(Factor::A, n_in, 0, &a)),
    };
    if b.shape() != [n_out, rank] {
        return Err(other_shape(Factor::B, n_out, rank, &b));
    }
    let values = |factor, view: &TensorView| {
        numbers(view).map_err(|found| AdapterProblem::Numbers { tensor: tensor(factor), found })
    };
    let (a, b) = (values(Factor::A, &a)?, values(Factor::B, &b)?);
    let rows = hugging_face::source_rows(&base.spec, layer, module);
    let b_t = hugging_face::b_from_hugging_face(&b, rank, n_out, rows.as_deref());
    let pair = LoraPair { rank, n_in, n_out, a, b_t };
    match pair.problem() {
        None => Ok(pair),
        Some(problem) => {
            Err(AdapterProblem::Pair { name: hugging_face::module_path(&base.spec, layer, module), problem })
        }
    }
}

/// The numbers of a tensor, or their type if it cannot be read.
fn numbers(view: &TensorView) -> Result<Vec<f32>, Dtype> {
    fn map<const N: usize>(bytes: &[u8], decode: fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| decode(*chunk)).collect()
    }
    match view.dtype() {
        Dtype::F32 => Ok(map(view.data(), f32::from_le_bytes)),
        Dtype::F16 => Ok(map(view.data(), |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Ok(map(view.data(), |bytes| bf16::from_le_bytes(bytes).to_f32())),
        other => Err(other),
    }
}
