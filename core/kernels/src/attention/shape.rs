//! The shape of an attention layer.

use std::num::NonZeroUsize;

use crate::error::ShapeError;
use crate::gemm::ComputeType;
use crate::tile::MAX_DEPTH;

/// The widest head that [`attention`](super::attention()) and its gradients take.
pub const MAX_HEAD_DIM: usize = MAX_DEPTH;
/// The most heads: a thousand times what models have, and few enough that a token's columns can always be counted.
pub const MAX_HEADS: usize = 1 << 16;
/// Work items of the backward pass to aim at: three for each of four threads.
const WORK_ITEMS: usize = 12;
/// The most splits of the queries, however few key heads there are: each takes as much memory as the gradients of all keys and
/// values.
const MAX_SPLITS: usize = 4;

/// The heads of an attention layer. Every value of this type makes sense: [`AttentionShape::new`] is the only way to one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    n_head: usize,
    n_head_kv: usize,
    head_dim: usize,
    scale: f32,
    window: Option<NonZeroUsize>,
    softcap: Option<f32>,
    compute_type: ComputeType,
}

/// A token's values in all matrices of the backward pass together.
const MOST_COLUMNS: Option<usize> = match (2 * MAX_SPLITS + 2).checked_mul(MAX_HEADS) {
    Some(heads) => heads.checked_mul(MAX_HEAD_DIM),
    None => None,
};
const _: () = assert!(MOST_COLUMNS.is_some(), "the sums of columns below cannot overflow");

impl AttentionShape {
    /// `n_head` heads of queries, which share `n_head_kv` heads of keys and values evenly, of `head_dim` values each; scores
    /// are products times `scale`, usually 1/√head_dim. A query attends to everything before it in its segment.
    ///
    /// # Errors
    /// For no heads or more than [`MAX_HEADS`], heads that cannot be shared evenly, empty heads or wider ones than
    /// [`MAX_HEAD_DIM`], and a scale that is not a positive number.
    pub fn new(
        [n_head, n_head_kv]: [usize; 2],
        head_dim: usize,
        scale: f32,
    ) -> Result<AttentionShape, ShapeError> {
        let fail = |what, expected, got| Err(ShapeError { op: "attention", what, expected, got });
        if !(1..=MAX_HEADS).contains(&n_head) {
            return fail("number of heads", n_head.clamp(1, MAX_HEADS), n_head);
        }
        if n_head_kv == 0 || !n_head.is_multiple_of(n_head_kv) {
            return fail("number of heads of keys, which divides that of queries,", n_head, n_head_kv);
        }
        if !(1..=MAX_HEAD_DIM).contains(&head_dim) {
            return fail("length of a head", head_dim.clamp(1, MAX_HEAD_DIM), head_dim);
        }
        if !(scale > 0.0 && scale.is_finite()) {
            return fail("number of positive scales", 1, 0);
        }
        Ok(Self {
            n_head,
            n_head_kv,
            head_dim,
            scale,
            window: None,
            softcap: None,
            compute_type: ComputeType::F32,
        })
    }

    /// This shape with a window: a query attends to at most so many keys, itself included.
    pub fn windowed(self, window: Option<NonZeroUsize>) -> Self {
        Self { window, ..self }
    }

    /// This shape with scores passed through `cap · tanh(· / cap)`.
    ///
    /// # Errors
    /// For a cap that is not a positive number.
    pub fn capped(self, softcap: Option<f32>) -> Result<AttentionShape, ShapeError> {
        match softcap {
            Some(cap) if !(cap > 0.0 && cap.is_finite()) => {
                Err(ShapeError { op: "attention", what: "number of positive caps", expected: 1, got: 0 })
            }
            softcap => Ok(Self { softcap, ..self }),
        }
    }

    /// This shape with scores, and their gradients, that are products of numbers of `compute_type`. Heads are quantized to
    /// 16-bit integers with a scale for each vector.
    pub fn with_compute_type(self, compute_type: ComputeType) -> Self {
        Self { compute_type, ..self }
    }

    /// Number of query heads, a multiple of [`n_head_kv`](Self::n_head_kv).
    pub fn n_head(&self) -> usize {
        self.n_head
    }

    /// Number of key and value heads.
    pub fn n_head_kv(&self) -> usize {
        self.n_head_kv
    }

    /// The number of query heads that share a key head.
    pub fn group_size(&self) -> usize {
        self.n_head / self.n_head_kv
    }

    /// The number of splits of the queries in the backward pass, which has a matrix of gradients for keys and values for each.
    pub(super) fn n_splits(&self) -> usize {
        (WORK_ITEMS / self.n_head_kv).clamp(1, MAX_SPLITS)
    }

    /// Values per head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// The factor of the scores.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// The most keys that a query attends to, if there is a window.
    pub fn window(&self) -> Option<usize> {
        self.window.map(NonZeroUsize::get)
    }

    /// The soft-cap of the scores, if they have one.
    pub fn softcap(&self) -> Option<f32> {
        self.softcap
    }

    /// The type of the numbers that are multiplied for scores.
    pub fn compute_type(&self) -> ComputeType {
        self.compute_type
    }

    /// Columns of the queries, and of the output without the log-sum-exps.
    pub fn query_columns(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Columns of the keys, and of the values.
    pub fn key_columns(&self) -> usize {
        self.n_head_kv * self.head_dim
    }

    /// Columns of the result: the output, then each head's log-sum-exp.
    pub fn result_columns(&self) -> usize {
        self.query_columns() + self.n_head
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_shape_that_makes_no_sense_does_not_exist() {
        let wrapping = (1usize << 62) + 1; // times 4 it is 4
        for (heads, head_dim, scale) in [
            ([wrapping, wrapping], 4, 1.0),
            ([usize::MAX, 1], 1, 1.0),
            ([MAX_HEADS + 1, 1], 1, 1.0),
            ([0, 0], 4, 1.0),
            ([0, 1], 4, 1.0),
            ([4, 0], 4, 1.0),
            ([4, 3], 4, 1.0),
            ([2, 4], 4, 1.0),
            ([4, 2], 0, 1.0),
            ([4, 2], MAX_HEAD_DIM + 1, 1.0),
            ([4, 2], usize::MAX, 1.0),
            ([4, 2], 4, 0.0),
            ([4, 2], 4, -1.0),
            ([4, 2], 4, f32::NAN),
            ([4, 2], 4, f32::INFINITY),
        ] {
            assert!(AttentionShape::new(heads, head_dim, scale).is_err(), "{heads:?} of {head_dim}, {scale}");
        }
        let shape = AttentionShape::new([4, 2], 4, 1.0).unwrap();
        assert_eq!(shape.capped(Some(50.0)).unwrap().softcap(), Some(50.0));
        for cap in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(shape.capped(Some(cap)).is_err(), "{cap}");
        }
    }

    #[test]
    fn columns_of_the_largest_shape_can_be_counted() {
        let shape = AttentionShape::new([MAX_HEADS, MAX_HEADS], MAX_HEAD_DIM, 1.0).unwrap();
        assert_eq!(shape.query_columns(), MAX_HEADS * MAX_HEAD_DIM);
        assert_eq!(shape.result_columns(), shape.key_columns() + MAX_HEADS);
        let shape = AttentionShape::new([6, 2], 8, 0.5).unwrap();
        assert_eq!((shape.group_size(), shape.query_columns(), shape.key_columns()), (3, 48, 16));
        assert_eq!(shape.windowed(NonZeroUsize::new(7)).window(), Some(7));
    }

    #[test]
    fn many_heads_need_no_splits() {
        for (heads, n_splits) in [([6, 3], 4), ([6, 1], 4), ([16, 8], 1), ([32, 32], 1)] {
            assert_eq!(AttentionShape::new(heads, 8, 1.0).unwrap().n_splits(), n_splits);
        }
    }
}
