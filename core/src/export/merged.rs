//! The base model with an adapter added to its weights, in the base's own formats.
//!
//! Prefer the adapter. What training adds to a weight is small, often smaller than the step between two
//! neighbouring values of a 4-bit format; rounding the sum back to that format then loses part of what was
//! learned, and adds noise to what was known. [`MergeReport`] says how much. An adapter keeps full precision, is
//! a hundred times smaller and can be taken off again.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use nightgraft_adapter::{AdapterTensors, LoraPair};
use nightgraft_ggml::{is_quantizable, quantize, weight_type};
use nightgraft_gguf::{TensorSink, TensorType, Writer};
use nightgraft_kernels::{WeightType, Weights};

use crate::base::{Base, Weight};
use crate::error::{AdapterProblem, ModelProblem};
use crate::lora::mismatch;
use crate::{Error, Result};

/// Rows in memory at once come to about this many values.
const CHUNK_VALUES: usize = 1 << 18;

/// What merging cost.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct MergeReport {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// One entry for each changed tensor, in the order of the file.
    pub tensors: Vec<TensorError>,
    /// The largest of the tensors' `relative_error`.
    pub max_relative_error: f64,
    /// Their mean.
    pub mean_relative_error: f64,
    /// Root mean square of all rounding errors over that of all updates: at 1, rounding moved the
    /// weights as much as training did.
    pub error_to_update: f64,
}

/// What rounding did to one tensor.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TensorError {
    /// The tensor's name.
    pub name: String,
    /// Its format.
    pub format: &'static str,
    /// The format that it has in the base, where values cannot be packed into that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_format: Option<&'static str>,
    /// Root mean square of the rounding errors over that of the exact merged weights.
    pub relative_error: f64,
    /// Root mean square of the rounding errors over that of the adapter's update.
    pub error_to_update: f64,
}

/// Writes `base` with the adapter added: each adapted matrix is dequantized, gets `(alpha / rank) · B·A`, and is
/// quantized to its own format again, some rows at a time; where that takes an importance matrix, to a K-quant that is no
/// smaller. Everything else is copied; a base in several files becomes one. `on_progress` is told the finished and the total
/// number of adapted tensors.
///
/// # Errors
/// [`Error::Adapter`] if the adapter does not fit `base`, or `path` is the base itself; [`Error::Io`];
/// [`Error::ModelChanged`] if the base's file changed meanwhile.
pub fn write_merged(
    path: &Path,
    tensors: &AdapterTensors,
    base: &Base,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<MergeReport> {
    if let Some(problem) = mismatch(tensors, base) {
        return Err(Error::adapter(path, problem));
    }
    let is_base = |target: &PathBuf| {
        let mut files = base.file().parts().iter().map(|part| part.mapping.path());
        files.any(|file| file.canonicalize().is_ok_and(|file| file == *target))
    };
    if path.canonicalize().ok().as_ref().is_some_and(is_base) {
        return Err(Error::adapter(path, AdapterProblem::IsBase));
    }
    // A pair with B = 0 changes nothing, and rounding again would.
    let changed = |pair: &&LoraPair| pair.b_t.iter().any(|&value| value != 0.0);
    let total = tensors.pairs.values().filter(changed).count();
    let progress = RefCell::new((on_progress, Vec::with_capacity(total)));
    let mut writer = Writer::new(base.file().metadata().clone());
    for info in base.file().tensors() {
        let adapted = tensors.pairs.iter().find_map(|(&(layer, module), pair)| {
            let weight = base.layers.get(layer)?.module(module)?;
            (weight.name == info.name && changed(&pair)).then_some((weight, pair))
        });
        let added = match adapted {
            None => writer.tensor(&info.name, &info.dims, info.kind, base.file().bytes(info)),
            Some((weight, pair)) => {
                let progress = &progress;
                let stored = stored_as(info.kind);
                writer.tensor_produced(&info.name, &info.dims, stored, move |sink| {
                    let sums = merge(base, weight, pair, tensors.spec.alpha, sink)?;
                    let (on_progress, done) = &mut *progress.borrow_mut();
                    done.push((weight, sums));
                    on_progress(done.len(), total);
                    Ok(())
                })
            }
        };
        added.map_err(|problem| Error::adapter(path, problem))?;
    }
    let bytes = writer.write_if(path, || Ok(base.file().check()?))?;
    let (_, done) = progress.into_inner();
    Ok(report(path, bytes, &done))
}

/// The format that changed weights of a format are packed into: the same one, or, where that takes an importance matrix, the
/// smallest K-quant that is no smaller.
fn packed_as(kind: WeightType) -> WeightType {
    if is_quantizable(kind) {
        kind
    } else if kind.block_bytes() <= WeightType::Q2_K.block_bytes() {
        WeightType::Q2_K
    } else {
        WeightType::Q3_K
    }
}

/// As what tensors of a type stand in the merged file if they are changed.
pub(super) fn stored_as(kind: TensorType) -> TensorType {
    let packed = weight_type(kind.ggml_id()).map(packed_as);
    packed.and_then(|packed| TensorType::from_ggml_id(packed.ggml_id())).unwrap_or(kind)
}

/// Squares summed over a tensor.
#[derive(Clone, Copy, Default)]
struct Sums {
    error: f64,
    merged: f64,
    update: f64,
}

fn merge(base: &Base, weight: &Weight, pair: &LoraPair, alpha: f32, sink: &mut TensorSink) -> Result<Sums> {
    let source = base.weights(weight)?;
    let kind = packed_as(weight.kind);
    let n_cols = weight.n_cols;
    let rows_at_once = (CHUNK_VALUES / n_cols).clamp(1, weight.n_rows);
    let mut rows = vec![0.0; rows_at_once * n_cols];
    let mut update = vec![0.0; n_cols];
    let mut rounded = vec![0.0; n_cols];
    let mut sums = Sums::default();
    for first in (0..weight.n_rows).step_by(rows_at_once) {
        let n_rows = rows_at_once.min(weight.n_rows - first);
        let rows = &mut rows[..n_rows * n_cols];
        for (row, out) in (first..).zip(rows.chunks_exact_mut(n_cols)) {
            source.dequantize_row(row, out);
            update_row(pair, alpha, row, &mut update);
            sums.update += squares(&update);
            out.iter_mut().zip(&update).for_each(|(value, update)| *value += update);
        }
        let packed = quantize(kind, n_cols, rows)?;
        let stored = Weights::new(kind, n_rows, n_cols, &packed).ok_or_else(|| wrong_size(weight))?;
        for (row, exact) in rows.chunks_exact(n_cols).enumerate() {
            stored.dequantize_row(row, &mut rounded);
            sums.merged += squares(exact);
            sums.error += rounded.iter().zip(exact).map(|(r, x)| f64::from(r - x).powi(2)).sum::<f64>();
        }
        sink.write(&packed)?;
    }
    Ok(sums)
}

/// Row `row` of `(alpha / rank) · B·A`.
fn update_row(pair: &LoraPair, alpha: f32, row: usize, out: &mut [f32]) {
    out.fill(0.0);
    let scale = alpha / pair.rank as f32;
    for (k, a) in pair.a.chunks_exact(pair.n_in).enumerate() {
        let factor = scale * pair.b_t[k * pair.n_out + row];
        out.iter_mut().zip(a).for_each(|(out, a)| *out += factor * a);
    }
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

fn wrong_size(weight: &Weight) -> Error {
    let problem = ModelProblem::Packing { tensor: weight.name.clone(), format: weight.kind };
    Error::UnsupportedModel { problem }
}

fn report(path: &Path, bytes: u64, done: &[(&Weight, Sums)]) -> MergeReport {
    let ratio = |part: f64, whole: f64| if whole > 0.0 { (part / whole).sqrt() } else { 0.0 };
    let tensors: Vec<TensorError> = done
        .iter()
        .map(|(weight, sums)| TensorError {
            name: weight.name.clone(),
            format: packed_as(weight.kind).name(),
            base_format: (packed_as(weight.kind) != weight.kind).then(|| weight.kind.name()),
            relative_error: ratio(sums.error, sums.merged),
            error_to_update: ratio(sums.error, sums.update),
        })
        .collect();
    let errors = tensors.iter().map(|tensor| tensor.relative_error);
    let total = |part: fn(&Sums) -> f64| done.iter().map(|(_, sums)| part(sums)).sum::<f64>();
    MergeReport {
        path: path.to_owned(),
        bytes,
        max_relative_error: errors.clone().fold(0.0, f64::max),
        mean_relative_error: errors.sum::<f64>() / tensors.len().max(1) as f64,
        error_to_update: ratio(total(|sums| sums.error), total(|sums| sums.update)),
        tensors,
    }
}
