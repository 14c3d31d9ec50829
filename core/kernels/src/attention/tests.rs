#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use super::{
    AttentionShape, Saved, attention_back_splits, attention_back_sum, attention_on, back_on, check_attention,
};
use crate::isa::Kernels;
use crate::weights::reference::Random;
use crate::{ComputeType, KernelError, Part, Rows, RowsMut, Tier};

/// Single-precision rounding in scores, exponentials and sums, for values of about 1.
const TOLERANCE: f64 = 2e-6;
/// Central differences in double precision with a step of 1e-4: their own error is about 1e-8.
const STEP: f64 = 1e-4;
/// Vectors are quantized to some thousands of steps of their largest value, in scores of up to ±30 that are exponents.
const INT16_TOLERANCE: f64 = 2e-3;
const DIFFERENCE_TOLERANCE: f64 = 1e-5;

#[derive(Clone)]
struct Case {
    shape: AttentionShape,
    starts: Vec<i32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    dout: Vec<f32>,
}

/// What the kernels or the reference computed, without gaps between rows.
#[derive(PartialEq, Debug)]
struct Results<T> {
    out: Vec<T>,
    lse: Vec<T>,
    dq: Vec<T>,
    dk: Vec<T>,
    dv: Vec<T>,
}

impl Case {
    fn new(
        (n_head, n_head_kv, head_dim): (usize, usize, usize),
        segments: &[usize],
        window: Option<usize>,
    ) -> Self {
        let mut random = Random::new((n_head * 100 + head_dim) as u64);
        let mut starts = Vec::new();
        for length in segments {
            let start = starts.len() as i32;
            starts.extend(std::iter::repeat_n(start, *length));
        }
        let (n, wide, narrow) = (starts.len(), n_head * head_dim, n_head_kv * head_dim);
        Case {
            shape: AttentionShape::new([n_head, n_head_kv], head_dim, 1.3 / (head_dim as f32).sqrt())
                .unwrap()
                .windowed(window.and_then(NonZeroUsize::new)),
            starts,
            // Rows of q, k and v have gaps of 3; scores spread over about ±10.
            q: random.floats(n * (wide + 3)).iter().map(|value| value * 4.0).collect(),
            k: random.floats(n * (narrow + 3)).iter().map(|value| value * 2.0).collect(),
            v: random.floats(n * (narrow + 3)),
            dout: random.floats(n * wide),
        }
    }

    fn sizes(&self) -> (usize, usize, usize) {
        let shape = &self.shape;
        (self.starts.len(), shape.query_columns(), shape.key_columns())
    }

    fn kernels(&self, tier: Tier, count: usize) -> Results<f32> {
        let (n, wide, narrow) = self.sizes();
        let kernels = Kernels::of(tier).unwrap();
        let q = Rows::new(&self.q, n, wide, wide + 3).unwrap();
        let k = Rows::new(&self.k, n, narrow, narrow + 3).unwrap();
        let v = Rows::new(&self.v, n, narrow, narrow + 3).unwrap();
        let out_width = self.shape.result_columns();
        let mut out = vec![f32::NAN; n * out_width];
        let n_splits = attention_back_splits(&self.shape);
        let (mut dq, mut dkv) = (vec![f32::NAN; n * wide], vec![f32::NAN; n_splits * n * 2 * narrow]);
        for index in (0..count).rev() {
            let y = RowsMut::new(&mut out, n, out_width, out_width).unwrap();
            // SAFETY: the tier is available, each part is run once, and nothing else touches `out`.
            unsafe { attention_on(kernels, &self.shape, q, k, v, &self.starts, y, Part { index, count }) }
                .unwrap();
        }
        let saved = Saved {
            q,
            k,
            v,
            out: Rows::new(&out, n, out_width, out_width).unwrap(),
            dout: Rows::new(&self.dout, n, wide, wide).unwrap(),
        };
        for index in (0..count).rev() {
            let dq = RowsMut::new(&mut dq, n, wide, wide).unwrap();
            let dkv = RowsMut::new(&mut dkv, n_splits * n, 2 * narrow, 2 * narrow).unwrap();
            let part = Part { index, count };
            // SAFETY: the tier is available, each part is run once, and nothing else touches the results.
            unsafe { back_on(kernels, &self.shape, &saved, &self.starts, [dq, dkv], part) }.unwrap();
        }
        let (dkv, others) = dkv.split_at_mut(n * 2 * narrow);
        let others = Rows::new(others, (n_splits - 1) * n, 2 * narrow, 2 * narrow).unwrap();
        for index in 0..count {
            let dkv = RowsMut::new(dkv, n, 2 * narrow, 2 * narrow).unwrap();
            let part = Part { index, count };
            // SAFETY: as above.
            unsafe { attention_back_sum(&self.shape, others, &self.starts, dkv, part) }.unwrap();
        }
        let columns = |values: &[f32], width: usize, first: usize, last: usize| -> Vec<f32> {
            values.chunks(width).flat_map(|row| row[first..last].to_vec()).collect()
        };
        Results {
            lse: columns(&out, out_width, wide, out_width),
            out: columns(&out, out_width, 0, wide),
            dq,
            dk: columns(dkv, 2 * narrow, 0, narrow),
            dv: columns(dkv, 2 * narrow, narrow, 2 * narrow),
        }
    }

    /// The definition, in double precision.
    fn reference(&self) -> Results<f64> {
        let wide = |values: &[f32], width: usize| -> Vec<f64> {
            values.chunks(width + 3).flat_map(|row| &row[..width]).map(|value| f64::from(*value)).collect()
        };
        let (_, n_wide, n_narrow) = self.sizes();
        self.reference_of(&wide(&self.q, n_wide), &wide(&self.k, n_narrow), &wide(&self.v, n_narrow))
    }

    fn reference_of(&self, q: &[f64], k: &[f64], v: &[f64]) -> Results<f64> {
        let (n, wide, narrow) = self.sizes();
        let (n_head, head_dim) = (self.shape.n_head(), self.shape.head_dim());
        let (scale, window) = (self.shape.scale(), self.shape.window());
        let zeros = |n: usize| vec![0.0f64; n];
        let mut results = Results {
            out: zeros(n * wide),
            lse: zeros(n * n_head),
            dq: zeros(n * wide),
            dk: zeros(n * narrow),
            dv: zeros(n * narrow),
        };
        for t in 0..n {
            for head in 0..n_head {
                let at_q = t * wide + head * head_dim;
                let at_k = |j: usize| j * narrow + head / self.shape.group_size() * head_dim;
                let attends =
                    |j: &usize| *j >= self.starts[t] as usize && window.is_none_or(|window| t - j < window);
                let keys: Vec<usize> = (0..=t).filter(attends).collect();
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let query = &q[at_q..][..head_dim];
                let cap = self.shape.softcap().map(f64::from);
                let score = |j: &usize| {
                    let score = f64::from(scale) * dot(query, &k[at_k(*j)..][..head_dim]);
                    cap.map_or(score, |cap| cap * (score / cap).tanh())
                };
                let scores: Vec<f64> = keys.iter().map(score).collect();
                let lse = scores.iter().map(|score| score.exp()).sum::<f64>().ln();
                let p: Vec<f64> = scores.iter().map(|score| (score - lse).exp()).collect();
                results.lse[t * n_head + head] = lse;
                for (j, p) in keys.iter().zip(&p) {
                    for d in 0..head_dim {
                        results.out[at_q + d] += p * v[at_k(*j) + d];
                    }
                }
                let dout: Vec<f64> =
                    self.dout[at_q..][..head_dim].iter().map(|value| f64::from(*value)).collect();
                let delta = dot(&dout, &results.out[at_q..][..head_dim]);
                for (j, p) in keys.iter().zip(&p) {
                    let slope = cap.map_or(1.0, |cap| 1.0 - (score(j) / cap).powi(2));
                    let ds = f64::from(scale) * slope * p * (dot(&dout, &v[at_k(*j)..][..head_dim]) - delta);
                    for d in 0..head_dim {
                        results.dv[at_k(*j) + d] += p * dout[d];
                        results.dk[at_k(*j) + d] += ds * query[d];
                        results.dq[at_q + d] += ds * k[at_k(*j) + d];
                    }
                }
            }
        }
        results
    }
}

fn assert_close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(*got) - expected).abs() <= tolerance * largest, "{what}[{i}]: {got} {expected}");
    }
}

fn check(case: &Case) {
    let fastest = *Tier::available().last().unwrap();
    let first = case.kernels(fastest, 1);
    let expected = case.reference();
    assert_close("out", &first.out, &expected.out, TOLERANCE);
    assert_close("lse", &first.lse, &expected.lse, TOLERANCE);
    // Gradients of differences of probabilities: the rounding of large scores shows.
    assert_close("dq", &first.dq, &expected.dq, 4.0 * TOLERANCE);
    assert_close("dk", &first.dk, &expected.dk, 4.0 * TOLERANCE);
    assert_close("dv", &first.dv, &expected.dv, 4.0 * TOLERANCE);
    same_everywhere(case, &first);

    let int16 = Case { shape: case.shape.with_compute_type(ComputeType::Int16), ..case.clone() };
    let first = int16.kernels(fastest, 1);
    assert_close("int16 out", &first.out, &expected.out, INT16_TOLERANCE);
    assert_close("int16 lse", &first.lse, &expected.lse, INT16_TOLERANCE);
    assert_close("int16 dq", &first.dq, &expected.dq, INT16_TOLERANCE);
    assert_close("int16 dk", &first.dk, &expected.dk, INT16_TOLERANCE);
    assert_close("int16 dv", &first.dv, &expected.dv, INT16_TOLERANCE);
    same_everywhere(&int16, &first);
}

fn same_everywhere(case: &Case, first: &Results<f32>) {
    for tier in Tier::available() {
        for count in [1, 2, 3, 16] {
            // The slow tier does not need every number of parts.
            if tier != Tier::Scalar || count == 3 {
                assert_eq!(case.kernels(tier, count), *first, "{tier:?} {count}");
            }
        }
    }
}

#[test]
fn attention_and_its_gradients_agree_with_the_definition() {
    check(&Case::new((1, 1, 1), &[1], None));
    check(&Case::new((2, 1, 8), &[5], None));
    check(&Case::new((3, 3, 80), &[70], None));
    check(&Case::new((6, 2, 64), &[33, 1, 40, 7], None));
    check(&Case::new((4, 1, 37), &[2, 90], Some(9)));
    check(&Case::new((2, 2, 16), &[64, 64], Some(32)));
    check(&Case::new((1, 1, 256), &[40], Some(1)));
    // Heads that are not quantized, being wide; many that share keys; as many splits as there can be, one to three.
    check(&Case::new((1, 1, 320), &[50], None));
    check(&Case::new((20, 1, 8), &[100], None));
    check(&Case::new((8, 4, 16), &[200], None));
    check(&Case::new((5, 5, 16), &[150], None));
    check(&Case::new((16, 8, 8), &[150], None));
    for (segments, window, cap) in [(&[70][..], None, 5.0), (&[33, 600], Some(40), 3.0)] {
        let mut case = Case::new((4, 2, 32), segments, window);
        case.shape = case.shape.capped(Some(cap)).unwrap();
        check(&case);
    }
    // A token may be told to attend further back than the one before it.
    let mut case = Case::new((2, 1, 16), &[60, 70], None);
    case.starts[100..].fill(20);
    check(&case);
}

#[test]
fn working_memory_is_as_large_as_planned() {
    for n_tokens in [40, 400, 1600] {
        let case = Case::new((2, 1, 64), &[n_tokens], None);
        let tier = *Tier::available().last().unwrap();
        let planned = 4 * super::scratch_floats(n_tokens, &case.shape);
        // A thread of its own has no memory from other tests.
        let held = std::thread::spawn(move || {
            case.kernels(tier, 1);
            crate::scratch::held()
        });
        assert!(held.join().unwrap().abs_diff(planned) < 4096, "{n_tokens}");
    }
}

#[test]
fn long_sequences_cross_blocks_of_depth() {
    check(&Case::new((2, 1, 16), &[1100], None));
    check(&Case::new((2, 2, 8), &[300, 700, 100], Some(600)));
}

#[test]
fn segments_do_not_see_each_other() {
    let packed = Case::new((2, 1, 32), &[45, 30], None);
    let results = packed.kernels(Tier::Scalar, 1);
    let mut changed = Case::new((2, 1, 32), &[45, 30], None);
    for value in &mut changed.k[..45 * 35] {
        *value = 0.5 - *value;
    }
    let other = changed.kernels(Tier::Scalar, 1);
    assert_eq!(results.out[45 * 64..], other.out[45 * 64..]);
    assert_eq!(results.dk[45 * 32..], other.dk[45 * 32..]);
    assert_ne!(results.out[..45 * 64], other.out[..45 * 64]);
}

#[test]
fn gradients_are_central_differences_of_the_output() {
    gradients_are_central_differences(&Case::new((2, 1, 6), &[4, 5], Some(4)));
    let mut capped = Case::new((2, 1, 6), &[4, 5], None);
    capped.shape = capped.shape.capped(Some(4.0)).unwrap();
    gradients_are_central_differences(&capped);
}

fn gradients_are_central_differences(case: &Case) {
    let (_, wide, narrow) = case.sizes();
    let got = case.kernels(*Tier::available().last().unwrap(), 2);
    let compact = |values: &[f32], width: usize| -> Vec<f64> {
        values.chunks(width + 3).flat_map(|row| &row[..width]).map(|value| f64::from(*value)).collect()
    };
    let inputs = [compact(&case.q, wide), compact(&case.k, narrow), compact(&case.v, narrow)];
    let loss = |inputs: &[Vec<f64>; 3]| -> f64 {
        let out = case.reference_of(&inputs[0], &inputs[1], &inputs[2]).out;
        out.iter().zip(&case.dout).map(|(out, dout)| out * f64::from(*dout)).sum()
    };
    for (which, gradient) in [&got.dq, &got.dk, &got.dv].into_iter().enumerate() {
        let differences: Vec<f64> = (0..inputs[which].len())
            .map(|i| {
                let (mut up, mut down) = (inputs.clone(), inputs.clone());
                up[which][i] += STEP;
                down[which][i] -= STEP;
                (loss(&up) - loss(&down)) / (2.0 * STEP)
            })
            .collect();
        assert!(differences.iter().any(|difference| difference.abs() > 0.1));
        assert_close("gradient", gradient, &differences, DIFFERENCE_TOLERANCE);
    }
}

#[test]
fn arguments_that_do_not_fit_are_reported() {
    let case = Case::new((4, 2, 8), &[3, 2], None);
    let q = Rows::new(&case.q, 5, 32, 35).unwrap();
    let k = Rows::new(&case.k, 5, 16, 19).unwrap();
    let check = |shape: &AttentionShape, starts: &[i32]| check_attention(shape, &q, &k, &k, starts);
    assert!(check(&case.shape, &case.starts).is_ok());
    assert!(check(&case.shape, &case.starts[1..]).is_err());
    assert!(check(&case.shape, &[0, 0, 0, -1, 3]).is_err());
    assert!(check(&case.shape, &[0, 0, 3, 3, 3]).is_err());
    for (heads, head_dim) in [([3, 1], 8), ([4, 1], 8), ([4, 2], 4)] {
        let other = AttentionShape::new(heads, head_dim, 1.0).unwrap();
        assert!(check(&other, &case.starts).is_err(), "{heads:?} of {head_dim}");
    }
}

#[test]
fn a_refused_part_is_an_error_and_writes_nothing() {
    let case = Case::new((4, 2, 8), &[3, 2], None);
    let (n, wide, narrow) = case.sizes();
    let q = Rows::new(&case.q, n, wide, wide + 3).unwrap();
    let k = Rows::new(&case.k, n, narrow, narrow + 3).unwrap();
    let width = case.shape.result_columns();
    let mut out = vec![7.0; n * width];
    let kernels = Kernels::of(Tier::Scalar).unwrap();
    for starts in [[0, 0, 0, 4, 3], [0, 0, 0, -1, 3], [0, 0, 0, i32::MIN, 3], [0, 0, 0, i32::MAX, 3]] {
        let y = RowsMut::new(&mut out, n, width, width).unwrap();
        // SAFETY: the tier is available, the only part is run once, and nothing else touches `out`.
        let refused = unsafe { attention_on(kernels, &case.shape, q, k, k, &starts, y, Part::WHOLE) };
        assert!(matches!(refused, Err(KernelError::Index(error)) if error.token == 3), "{refused:?}");
        let others = Rows::new(&[], 3 * n, 0, 0).unwrap();
        // SAFETY: as above.
        let refused = unsafe { attention_back_sum(&case.shape, others, &starts, y, Part::WHOLE) };
        assert!(matches!(refused, Err(KernelError::Index(error)) if error.got == starts[3]), "{refused:?}");
    }
    assert!(out.iter().all(|value| *value == 7.0));
}
