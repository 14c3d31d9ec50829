//! The folder of Hugging Face's PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use half::{bf16, f16};
use nightgraft_adapter::{AdapterTensors, LoraPair, LoraSpec, Module};
use nightgraft_files::atomic::{self, AtomicFolder};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use super::contents::Contents;
use super::error::adapter_error;
use super::foreign::{self, Foreign};
use super::hugging_face::{self, Factor};
use super::imported::ImportedAdapter;
use super::peft_config::{self, PeftConfig};
use super::recorded_base::{FINGERPRINT, RecordedBase};
use crate::base::Base;
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
        return Err(adapter_error(folder, problem));
    }
    let mut config = serde_json::to_vec_pretty(&peft_config::describe(tensors, base))
        .map_err(|error| adapter_error(folder, error.to_string()))?;
    config.push(b'\n');
    let bytes = to_safetensors(tensors, base).map_err(|problem| adapter_error(folder, problem))?;
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
    let bytes = to_safetensors(tensors, base).map_err(|problem| adapter_error(path, problem))?;
    Ok(atomic::write_file(path, &bytes)?)
}

fn to_safetensors(tensors: &AdapterTensors, base: &Base) -> Result<Vec<u8>, String> {
    let mut stored: Vec<(String, [usize; 2], Vec<u8>)> = Vec::with_capacity(2 * tensors.pairs.len());
    for (&(layer, module), pair) in &tensors.pairs {
        let fits = layer < base.spec.n_layer && base.spec.module_shape(module) == (pair.n_out, pair.n_in);
        if !fits || pair.a.len() != pair.rank * pair.n_in || pair.b_t.len() != pair.rank * pair.n_out {
            return Err(format!("{} does not have the model's shape", module.tensor_name(layer)));
        }
        let rows = hugging_face::source_rows(&base.spec, module);
        let b = hugging_face::b_to_hugging_face(&pair.b_t, pair.rank, pair.n_out, rows.as_deref());
        let name = |factor| hugging_face::tensor_name(layer, module, factor);
        stored.push((name(Factor::A), [pair.rank, pair.n_in], bytes_of(&pair.a)));
        stored.push((name(Factor::B), [pair.n_out, pair.rank], bytes_of(&b)));
    }
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| error.to_string())?;
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut bytes = safetensors::serialize(views, Some(format)).map_err(|error| error.to_string())?;
    add_text(&mut bytes, FINGERPRINT, &base.fingerprint().to_string());
    Ok(bytes)
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
        let text = match Foreign::of_folder(folder) {
            Some(foreign) => foreign.to_string(),
            None => format!("{TENSORS} is missing"),
        };
        return Err(adapter_error(folder, text));
    }
    let contents = Contents::of(&path)?;
    let file =
        SafeTensors::deserialize(&contents).map_err(|error| adapter_error(&path, error.to_string()))?;
    let pairs = read_pairs(&file, base).map_err(|problem| adapter_error(&path, problem))?;
    contents.check(&path)?;
    let ranks: BTreeSet<usize> = pairs.values().map(|pair| pair.rank).collect();
    config.modules.check(&pairs).map_err(|problem| adapter_error(&config_path, problem.to_string()))?;
    let alpha = config.plain_alpha(&ranks).map_err(|problem| adapter_error(&config_path, problem))?;
    let tensors = AdapterTensors { spec: spec(&pairs, alpha, config.dropout), pairs };
    let (_, header) =
        SafeTensors::read_metadata(&contents).map_err(|error| adapter_error(&path, error.to_string()))?;
    let fingerprint = header.metadata().as_ref().and_then(|texts| texts.get(FINGERPRINT)).cloned();
    Ok(ImportedAdapter { tensors, base: RecordedBase { fingerprint, name: config.base } })
}

fn read_config(path: &Path) -> Result<PeftConfig> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            adapter_error(path, "the file is missing; without it the adapter's alpha is not known".into())
        }
        _ => Error::io("open", path)(error),
    })?;
    if metadata.len() > MAX_CONFIG_BYTES {
        return Err(adapter_error(path, format!("{} bytes are no configuration", metadata.len())));
    }
    let text = std::fs::read(path).map_err(Error::io("read", path))?;
    PeftConfig::parse(&text).map_err(|problem| adapter_error(path, problem))
}

/// What an adapter's pairs cover.
pub(super) fn spec(pairs: &BTreeMap<(usize, Module), LoraPair>, alpha: f32, dropout: f32) -> LoraSpec {
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

fn read_pairs(file: &SafeTensors, base: &Base) -> Result<BTreeMap<(usize, Module), LoraPair>, String> {
    let mut halves: BTreeMap<(usize, Module), [Option<TensorView>; 2]> = BTreeMap::new();
    for (name, view) in file.iter() {
        let (layer, module, factor) =
            hugging_face::parse_tensor_name(name).ok_or_else(|| match foreign::part_of(name) {
                Some(what) => format!("tensor {name:?} is {what}, which cannot be read"),
                None => format!("tensor {name:?} is no LoRA factor of a module that can be adapted"),
            })?;
        if layer >= base.spec.n_layer {
            return Err(format!("tensor {name:?}: the model has {} layers", base.spec.n_layer));
        }
        let place = &mut halves.entry((layer, module)).or_default()[factor as usize];
        if place.replace(view).is_some() {
            return Err(format!("tensor {name:?} occurs twice under different names"));
        }
    }
    if halves.is_empty() {
        return Err("it holds no tensors".into());
    }
    halves.into_iter().map(|(place, views)| Ok((place, pair(place, views, base)?))).collect()
}

fn pair(
    (layer, module): (usize, Module),
    views: [Option<TensorView>; 2],
    base: &Base,
) -> Result<LoraPair, String> {
    let name = |factor| hugging_face::tensor_name(layer, module, factor);
    let [a, b] = views;
    let a = a.ok_or_else(|| format!("{} is missing, its partner is there", name(Factor::A)))?;
    let b = b.ok_or_else(|| format!("{} is missing, its partner is there", name(Factor::B)))?;
    let (n_out, n_in) = base.spec.module_shape(module);
    let rank = match a.shape() {
        &[rank, width] if rank > 0 && width == n_in => rank,
        got => return Err(format!("{}: expected [rank, {n_in}], got {got:?}", name(Factor::A))),
    };
    if b.shape() != [n_out, rank] {
        return Err(format!("{}: expected [{n_out}, {rank}], got {:?}", name(Factor::B), b.shape()));
    }
    let a = numbers(&a).map_err(|problem| format!("{}: {problem}", name(Factor::A)))?;
    let b = numbers(&b).map_err(|problem| format!("{}: {problem}", name(Factor::B)))?;
    let rows = hugging_face::source_rows(&base.spec, module);
    let b_t = hugging_face::b_from_hugging_face(&b, rank, n_out, rows.as_deref());
    let pair = LoraPair { rank, n_in, n_out, a, b_t };
    match pair.problem() {
        None => Ok(pair),
        Some(problem) => Err(format!("{}: {problem}", hugging_face::module_path(layer, module))),
    }
}

fn numbers(view: &TensorView) -> Result<Vec<f32>, String> {
    fn map<const N: usize>(bytes: &[u8], decode: fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| decode(*chunk)).collect()
    }
    match view.dtype() {
        Dtype::F32 => Ok(map(view.data(), f32::from_le_bytes)),
        Dtype::F16 => Ok(map(view.data(), |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Ok(map(view.data(), |bytes| bf16::from_le_bytes(bytes).to_f32())),
        other => Err(format!("numbers of type {other:?}; F32, F16 and BF16 can be read")),
    }
}
