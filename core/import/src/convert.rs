//! One tensor on its way: rows are read, changed, packed and written, some at a time.

use std::ops::ControlFlow;

use half::{bf16, f16};
use nightgraft_gguf::{TensorSink, TensorType};
use rayon::prelude::*;

use crate::plan::{Change, Content, PlannedTensor};
use crate::weights::{Rows, Weights};
use crate::{Error, Result, TensorProblem};

/// Rows in memory at once come to about this many values: 16 MiB of them.
const CHUNK_VALUES: u64 = 1 << 22;
/// What one thread packs at a time.
const TASK_VALUES: usize = 1 << 16;

/// Packs rows of so many values into blocks of a type, as `ggml_quantize_chunk` does. It is called from several threads.
pub type Quantize<'q> = dyn Fn(TensorType, usize, &[f32]) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>
    + Sync
    + 'q;

/// Writes a tensor as `kind`; `on_bytes` is told of written bytes, and may end the work.
pub(crate) fn write_tensor(
    tensor: &PlannedTensor,
    kind: TensorType,
    weights: &Weights,
    quantize: &Quantize,
    sink: &mut TensorSink,
    on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<()> {
    let (stored, first_row, change) = match &tensor.content {
        Content::Values(values) => {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            return put(&bytes, sink, on_bytes);
        }
        Content::Stored { tensor, first_row, change, .. } => (weights.tensor(tensor)?, *first_row, *change),
    };
    let (n_cols, n_rows) = match tensor.dims[..] {
        [n_cols, n_rows] => (n_cols, n_rows),
        // Values of a vector are rows of one.
        _ => (1, tensor.dims.iter().product()),
    };
    let at_once = rows_at_once(n_cols, n_rows, change);
    let mut rows = stored.rows()?;
    let mut values = vec![0.0; (at_once * n_cols) as usize];
    let mut reordered = Vec::new();
    for start in (0..n_rows).step_by(at_once as usize) {
        let n = at_once.min(n_rows - start);
        let values = &mut values[..(n * n_cols) as usize];
        read_changed(&mut rows, first_row + start, n_cols as usize, change, values, &mut reordered)?;
        let packed = pack(kind, n_cols as usize, values, quantize);
        let (path, tensor) = (|| stored.path().to_owned(), || stored.name().to_owned());
        let packed = packed.map_err(|problem| Error::Tensor { path: path(), tensor: tensor(), problem })?;
        for bytes in packed {
            put(&bytes, sink, on_bytes)?;
        }
    }
    Ok(())
}

/// How many rows are read together: whole heads where rows change places within a head.
fn rows_at_once(n_cols: u64, n_rows: u64, change: Change) -> u64 {
    let unit = match change {
        Change::Interleave { head_dim } => head_dim,
        Change::None | Change::AddOne => 1,
    };
    let units = (CHUNK_VALUES / (n_cols * unit)).max(1);
    (units * unit).min(n_rows)
}

fn read_changed(
    rows: &mut Rows,
    first: u64,
    n_cols: usize,
    change: Change,
    values: &mut [f32],
    reordered: &mut Vec<f32>,
) -> Result<()> {
    match change {
        Change::None => rows.read(first, values),
        Change::AddOne => {
            rows.read(first, values)?;
            values.iter_mut().for_each(|value| *value += 1.0);
            Ok(())
        }
        Change::Interleave { head_dim } => {
            reordered.resize(values.len(), 0.0);
            rows.read(first, reordered)?;
            interleave(reordered, values, head_dim as usize, n_cols);
            Ok(())
        }
    }
}

/// Rows `i` and `i + head_dim / 2` of each head become rows `2 i` and `2 i + 1`.
fn interleave(from: &[f32], to: &mut [f32], head_dim: usize, n_cols: usize) {
    let head = head_dim * n_cols;
    for (from, to) in from.chunks_exact(head).zip(to.chunks_exact_mut(head)) {
        let (first, second) = from.split_at(head / 2);
        let halves = first.chunks_exact(n_cols).zip(second.chunks_exact(n_cols));
        for (pair, (first, second)) in to.chunks_exact_mut(2 * n_cols).zip(halves) {
            let (even, odd) = pair.split_at_mut(n_cols);
            even.copy_from_slice(first);
            odd.copy_from_slice(second);
        }
    }
}

/// The bytes of whole rows, in pieces.
fn pack(
    kind: TensorType,
    n_cols: usize,
    values: &[f32],
    quantize: &Quantize,
) -> Result<Vec<Vec<u8>>, TensorProblem> {
    let task = (TASK_VALUES / n_cols).max(1) * n_cols;
    values.par_chunks(task).map(|rows| pack_rows(kind, n_cols, rows, quantize)).collect()
}

fn pack_rows(
    kind: TensorType,
    n_cols: usize,
    rows: &[f32],
    quantize: &Quantize,
) -> Result<Vec<u8>, TensorProblem> {
    if !rows.iter().all(|value| value.is_finite()) {
        return Err(TensorProblem::NotFinite);
    }
    match kind {
        TensorType::F32 => Ok(rows.iter().flat_map(|value| value.to_le_bytes()).collect()),
        TensorType::BF16 => match rows.iter().find(|&&value| bf16::from_f32(value).is_infinite()) {
            Some(&value) => Err(TensorProblem::Beyond { kind, value }),
            None => Ok(rows.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()),
        },
        TensorType::F16 => match rows.iter().find(|&&value| f16::from_f32(value).is_infinite()) {
            Some(&value) => Err(TensorProblem::Beyond { kind, value }),
            None => Ok(rows.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()),
        },
        _ => {
            let packed = quantize(kind, n_cols, rows).map_err(TensorProblem::Quantizer)?;
            match beyond_scales(kind, rows, &packed) {
                Some(value) => Err(TensorProblem::Beyond { kind, value }),
                None => Ok(packed),
            }
        }
    }
}

/// The largest value of the first block with a scale that is no finite number: of large values ggml makes such scales, and says
/// nothing.
fn beyond_scales(kind: TensorType, rows: &[f32], packed: &[u8]) -> Option<f32> {
    let n_bytes = usize::try_from(kind.tensor_bytes(&[kind.block_len()])?).ok()?;
    let n_values = usize::try_from(kind.block_len()).ok()?;
    let is_finite = |block: &[u8], at: usize| match block.get(at..at + 2) {
        Some(&[low, high]) => f16::from_le_bytes([low, high]).is_finite(),
        _ => true,
    };
    let mut blocks = rows.chunks(n_values).zip(packed.chunks(n_bytes));
    let (values, _) = blocks.find(|(_, block)| !scales(kind).iter().all(|&at| is_finite(block, at)))?;
    values.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()))
}

/// Where a block of a type has its f16 scales, in bytes from its start (the `block_*` structs of `ggml-common.h`).
fn scales(kind: TensorType) -> &'static [usize] {
    match kind {
        TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q8_0 => &[0],
        TensorType::Q4_K => &[0, 2],
        TensorType::Q6_K => &[208],
        _ => &[],
    }
}

fn put(bytes: &[u8], sink: &mut TensorSink, on_bytes: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<()> {
    sink.write(bytes).map_err(Error::Write)?;
    match on_bytes(bytes.len() as u64) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The inverse: rows `2 i` and `2 i + 1` of each head become rows `i` and `i + head_dim / 2`.
    fn halves(from: &[f32], head_dim: usize, n_cols: usize) -> Vec<f32> {
        let row_of = |row: usize| {
            let (head, i) = (row / head_dim, row % head_dim);
            head * head_dim + if i < head_dim / 2 { 2 * i } else { 2 * (i - head_dim / 2) + 1 }
        };
        (0..from.len() / n_cols).flat_map(|row| from[row_of(row) * n_cols..][..n_cols].to_vec()).collect()
    }

    proptest! {
        #[test]
        fn interleaving_is_undone_by_its_inverse(heads in 1usize..5, half in 1usize..9, n_cols in 1usize..7) {
            let head_dim = 2 * half;
            let from: Vec<f32> = (0..heads * head_dim * n_cols).map(|i| i as f32).collect();
            let mut to = vec![0.0; from.len()];
            interleave(&from, &mut to, head_dim, n_cols);
            prop_assert_eq!(halves(&to, head_dim, n_cols), from);
        }
    }

    #[test]
    fn a_head_of_six_rows_is_interleaved() {
        let from: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut to = vec![0.0; 12];
        interleave(&from, &mut to, 6, 1);
        assert_eq!(to, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
    }

    #[test]
    fn chunks_are_whole_heads() {
        let heads = Change::Interleave { head_dim: 96 };
        assert_eq!(rows_at_once(4096, 3072, heads), 960);
        assert_eq!(rows_at_once(1 << 24, 3072, heads), 96);
        assert_eq!(rows_at_once(1, 3072, Change::AddOne), 3072);
        assert_eq!(rows_at_once(1 << 24, 7, Change::None), 1);
    }

    #[test]
    fn values_that_a_type_cannot_hold_are_refused() {
        let pack = |kind, values: &[f32]| pack_rows(kind, 1, values, &|_, _, _| Ok(Vec::new()));
        for kind in [TensorType::F32, TensorType::Q8_0] {
            assert!(matches!(pack(kind, &[1.0, f32::NAN]), Err(TensorProblem::NotFinite)));
            assert!(matches!(pack(kind, &[f32::INFINITY]), Err(TensorProblem::NotFinite)));
        }
        assert!(matches!(
            pack(TensorType::F16, &[65_504.0, -70_000.0]),
            Err(TensorProblem::Beyond { kind: TensorType::F16, value: -70_000.0 })
        ));
        assert!(matches!(
            pack(TensorType::BF16, &[f32::MAX]),
            Err(TensorProblem::Beyond { value: f32::MAX, .. })
        ));
        assert_eq!(pack(TensorType::BF16, &[1.0]).ok(), Some(vec![0x80, 0x3f]));
    }

    #[test]
    fn blocks_with_infinite_scales_are_refused_with_their_largest_value() {
        for (kind, at) in [
            (TensorType::Q4_0, 0),
            (TensorType::Q5_0, 0),
            (TensorType::Q8_0, 0),
            (TensorType::Q4_K, 0),
            (TensorType::Q4_K, 2),
            (TensorType::Q6_K, 208),
        ] {
            let n = kind.block_len() as usize;
            let n_bytes = kind.tensor_bytes(&[n as u64]).unwrap() as usize;
            let mut values = vec![1.0; 2 * n];
            values[n + 1] = -9e8;
            let with = |scale: f16| {
                let mut packed = vec![0; 2 * n_bytes];
                packed[n_bytes + at..][..2].copy_from_slice(&scale.to_le_bytes());
                pack_rows(kind, n, &values, &|_, _, _| Ok(packed.clone()))
            };
            assert!(with(f16::MAX).is_ok(), "{kind:?}");
            for scale in [f16::INFINITY, f16::NEG_INFINITY, f16::NAN] {
                let found = with(scale);
                assert!(
                    matches!(found, Err(TensorProblem::Beyond { value: -9e8, .. })),
                    "{kind:?}: {found:?}"
                );
            }
        }
    }
}
