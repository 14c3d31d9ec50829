#![allow(clippy::unwrap_used)]

use super::int16::quantize_rows_int16_on;
use super::{
    Accumulator, Direction, F32Product, Int16Product, Int16Rows, accumulate_outer_on, linear_on,
    linear_transposed_on, sum_of_products_on,
};
use crate::isa::Kernels;
use crate::weights::reference::{Random, all_formats, random_bytes, values};
use crate::{Part, Rows, RowsMut, Tier, WeightType, Weights};

/// Rounding of a chain of fused multiply-adds: half a unit in the last place of the sum of magnitudes each, which random
/// signs keep far below the bound.
const TOLERANCE: f64 = 3e-6;
const TOKENS: [usize; 6] = [1, 2, 7, 13, 33, 70];

/// A product to compute: everything but the tier and the number of parts.
struct Case {
    direction: Direction,
    kind: WeightType,
    shape: (usize, usize),
    bytes: Vec<u8>,
    n_tokens: usize,
    x: Vec<f32>,
    x_stride: usize,
    start: Vec<f32>,
    y_stride: usize,
    accumulate: bool,
}

impl Case {
    fn new(
        direction: Direction,
        kind: WeightType,
        shape: (usize, usize),
        n_tokens: usize,
        pad: usize,
        accumulate: bool,
    ) -> Self {
        let mut random = Random::new((shape.0 * 1000 + shape.1 * 10 + n_tokens) as u64);
        let (n_in, n_out) = match direction {
            Direction::Linear => (shape.1, shape.0),
            Direction::Transposed => shape,
        };
        let (x_stride, y_stride) = (n_in + pad, n_out + 2 * pad);
        Case {
            direction,
            kind,
            shape,
            bytes: random_bytes(kind, shape.0, shape.1, &mut random),
            n_tokens,
            x: random.floats(n_tokens * x_stride),
            x_stride,
            start: random.floats(n_tokens * y_stride),
            y_stride,
            accumulate,
        }
    }

    fn run(&self, tier: Tier, count: usize) -> Vec<f32> {
        let kernels = Kernels::of(tier).unwrap();
        let w = Weights::new(self.kind, self.shape.0, self.shape.1, &self.bytes).unwrap();
        let (n_in, n_out) = (self.x_stride_less_pad(), self.n_out());
        let x = Rows::new(&self.x, self.n_tokens, n_in, self.x_stride).unwrap();
        let mut out = self.start.clone();
        let y = RowsMut::new(&mut out, self.n_tokens, n_out, self.y_stride).unwrap();
        for index in (0..count).rev() {
            let part = Part { index, count };
            // SAFETY: the tier is available, each part is run once, and nothing else touches `out`.
            unsafe {
                match self.direction {
                    Direction::Linear => linear_on(kernels, w, x, y, self.accumulate, part),
                    Direction::Transposed => linear_transposed_on(kernels, w, x, y, self.accumulate, part),
                }
            }
            .unwrap();
        }
        out
    }

    fn x_stride_less_pad(&self) -> usize {
        match self.direction {
            Direction::Linear => self.shape.1,
            Direction::Transposed => self.shape.0,
        }
    }

    fn n_out(&self) -> usize {
        match self.direction {
            Direction::Linear => self.shape.0,
            Direction::Transposed => self.shape.1,
        }
    }

    /// Checks a result against sums in double precision, and that the gaps between rows were left alone.
    fn check(&self, out: &[f32]) {
        let weights = values(self.kind, &self.bytes);
        let n_in = self.x_stride_less_pad();
        for t in 0..self.n_tokens {
            for o in 0..self.y_stride {
                let start = self.start[t * self.y_stride + o];
                let got = out[t * self.y_stride + o];
                if o >= self.n_out() {
                    assert_eq!(got, start);
                    continue;
                }
                let (mut sum, mut magnitude) = (if self.accumulate { f64::from(start) } else { 0.0 }, 0.0);
                for i in 0..n_in {
                    let w = match self.direction {
                        Direction::Linear => weights[o * self.shape.1 + i],
                        Direction::Transposed => weights[i * self.shape.1 + o],
                    };
                    let term = w * f64::from(self.x[t * self.x_stride + i]);
                    sum += term;
                    magnitude += term.abs();
                }
                let error = (f64::from(got) - sum).abs();
                assert!(
                    error <= TOLERANCE * (magnitude + f64::from(start).abs()),
                    "{:?} {:?} {:?} {t} {o}: {got} {sum}",
                    self.direction,
                    self.kind,
                    self.shape
                );
            }
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The fastest tier is compared with the reference, all tiers and numbers of parts with it.
fn check(case: &Case) {
    let tiers = Tier::available();
    let first = case.run(*tiers.last().unwrap(), 1);
    case.check(&first);
    for tier in tiers {
        for count in [1, 2, 3, 8] {
            // The slow tier does not need every number of parts.
            if tier != Tier::Scalar || count % 2 == 1 {
                assert_eq!(bits(&case.run(tier, count)), bits(&first), "{tier:?} {count}");
            }
        }
    }
}

#[test]
fn every_format_multiplies_in_both_directions() {
    for kind in all_formats() {
        let n_cols = if kind.block_len() == 1 { 77 } else { 2 * kind.block_len() };
        for (index, n_tokens) in TOKENS.into_iter().enumerate() {
            for direction in [Direction::Linear, Direction::Transposed] {
                check(&Case::new(direction, kind, (45, n_cols), n_tokens, 3 * (index % 2), index % 3 == 1));
            }
        }
    }
}

#[test]
fn odd_shapes_multiply_in_both_directions() {
    let shapes =
        [(1, 1), (8, 100), (16, 64), (24, 33), (3, 700), (700, 3), (31, 530), (1100, 40), (40, 1100)];
    for (index, shape) in shapes.into_iter().enumerate() {
        for direction in [Direction::Linear, Direction::Transposed] {
            for accumulate in [false, true] {
                let n_tokens = TOKENS[(index + usize::from(accumulate)) % TOKENS.len()];
                check(&Case::new(direction, WeightType::F32, shape, n_tokens, index, accumulate));
            }
        }
    }
    check(&Case::new(Direction::Linear, WeightType::Q4_K, (9, 1024), 600, 0, false));
    check(&Case::new(Direction::Transposed, WeightType::Q6_K, (600, 256), 5, 1, true));
    // A depth whose blocks cut through those of the format.
    let foreign = all_formats().last().unwrap();
    check(&Case::new(Direction::Linear, foreign, (40, 3 * 256), 5, 1, true));
    check(&Case::new(Direction::Transposed, foreign, (600, 3 * 256), 5, 0, false));
}

#[test]
fn parts_may_run_at_the_same_time() {
    let case = Case::new(Direction::Linear, WeightType::Q8_0, (200, 640), 70, 1, true);
    let w = Weights::new(case.kind, 200, 640, &case.bytes).unwrap();
    let x = Rows::new(&case.x, 70, 640, 641).unwrap();
    let mut out = case.start.clone();
    let y = RowsMut::new(&mut out, 70, 200, 202).unwrap();
    std::thread::scope(|scope| {
        for index in 0..4 {
            // SAFETY: each part is run once, and nothing else touches `out`.
            scope.spawn(move || unsafe { crate::linear(w, x, y, true, Part { index, count: 4 }) }.unwrap());
        }
    });
    assert_eq!(bits(&out), bits(&case.run(Tier::Scalar, 1)));
}

#[test]
fn working_memory_is_no_larger_than_planned() {
    // Rows of 1024 values are packed.
    let [n_tokens, n_in] = [600, 1024];
    for (kind, direction, n_out) in [
        (WeightType::F32, Direction::Linear, 96),
        (all_formats().last().unwrap(), Direction::Transposed, 1024),
    ] {
        let held = std::thread::spawn(move || {
            Case::new(direction, kind, (n_out, n_in), n_tokens, 0, false).run(fastest(), 1);
            crate::scratch::held()
        });
        let smallest = crate::AttentionShape::new([1, 1], 1, 1.0).unwrap();
        let is_foreign = matches!(kind, WeightType::Foreign(_));
        let planned = crate::scratch_bytes(n_tokens, &smallest, is_foreign);
        let held = held.join().unwrap();
        assert!(held <= planned && held > planned / 2, "{held} of {planned}");
    }
}

fn fastest() -> Tier {
    *Tier::available().last().unwrap()
}

#[test]
fn a_sum_of_nothing_is_zero() {
    for tier in Tier::available() {
        let w = Weights::new(WeightType::F32, 3, 0, &[]).unwrap();
        let x = Rows::new(&[], 2, 0, 0).unwrap();
        let mut out = [5.0f32; 6];
        let y = RowsMut::new(&mut out, 2, 3, 3).unwrap();
        // SAFETY: the tier is available, the only part is run once, and nothing else touches `out`.
        unsafe { linear_on(Kernels::of(tier).unwrap(), w, x, y, false, Part::WHOLE) }.unwrap();
        assert_eq!(out, [0.0; 6]);
    }
}

#[test]
fn outer_products_accumulate() {
    for (rank, n, n_tokens) in
        [(1, 1, 1), (8, 100, 70), (16, 33, 7), (13, 576, 33), (64, 40, 600), (256, 9, 13)]
    {
        let mut random = Random::new((rank * n) as u64);
        let (u, x) = (random.floats(n_tokens * (rank + 2)), random.floats(n_tokens * (n + 1)));
        let start = random.floats(rank * (n + 5));
        let run = |tier: Tier, count: usize| {
            let mut out = start.clone();
            let grad = RowsMut::new(&mut out, rank, n, n + 5).unwrap();
            for index in 0..count {
                let u = Rows::new(&u, n_tokens, rank, rank + 2).unwrap();
                let x = Rows::new(&x, n_tokens, n, n + 1).unwrap();
                // SAFETY: the tier is available, each part is run once, and nothing else touches `out`.
                unsafe { accumulate_outer_on(Kernels::of(tier).unwrap(), u, x, grad, Part { index, count }) }
                    .unwrap();
            }
            out
        };
        let tiers = Tier::available();
        let first = run(*tiers.last().unwrap(), 1);
        for r in 0..rank {
            for j in 0..n + 5 {
                let mut sum = f64::from(start[r * (n + 5) + j]);
                let mut magnitude = sum.abs();
                for t in 0..if j < n { n_tokens } else { 0 } {
                    let term = f64::from(u[t * (rank + 2) + r]) * f64::from(x[t * (n + 1) + j]);
                    sum += term;
                    magnitude += term.abs();
                }
                assert!((f64::from(first[r * (n + 5) + j]) - sum).abs() <= TOLERANCE * magnitude);
            }
        }
        for tier in tiers {
            for count in 1..4 {
                assert_eq!(bits(&run(tier, count)), bits(&first), "{tier:?} {count}");
            }
        }
    }
}

#[test]
fn mismatched_shapes_are_reported() {
    let bytes = [0u8; 24];
    let w = Weights::new(WeightType::F32, 2, 3, &bytes).unwrap();
    let (x, mut out) = ([0.0f32; 12], [0.0f32; 12]);
    let y = RowsMut::new(&mut out, 4, 2, 2).unwrap();
    assert!(super::check_linear(&w, &Rows::new(&x, 4, 3, 3).unwrap(), &y).is_ok());
    let error = super::check_linear(&w, &Rows::new(&x, 4, 2, 2).unwrap(), &y).unwrap_err();
    assert_eq!(error.to_string(), "linear: columns of x is 2, expected 3");
    assert!(super::check_linear(&w, &Rows::new(&x, 3, 3, 3).unwrap(), &y).is_err());
    assert!(super::check_linear_transposed(&w, &Rows::new(&x, 4, 2, 2).unwrap(), &y).is_err());
    let x = Rows::new(&x, 4, 3, 3).unwrap();
    assert!(super::check_accumulate_outer(&x, &x, &y).is_err());
}

/// Two products in one pass, from the elements of another matrix, are the same bits as one after the other; also where
/// rows are cut into parts and columns do not fill a panel.
#[test]
fn a_sum_of_products_is_its_products_one_after_the_other() {
    let mut random = Random::new(5);
    let (n_tokens, n_in, n_out, rank) = (37, 600, 70, 5);
    let w = random_bytes(WeightType::F16, n_out, n_in, &mut random);
    let b = random_bytes(WeightType::F32, rank, n_out, &mut random);
    let w = Weights::new(WeightType::F16, n_out, n_in, &w).unwrap();
    let b = Weights::new(WeightType::F32, rank, n_out, &b).unwrap();
    let (x, z) = (random.floats(n_tokens * n_in), random.floats(n_tokens * rank));
    let (x, z) = (Rows::new(&x, n_tokens, n_in, n_in).unwrap(), Rows::new(&z, n_tokens, rank, rank).unwrap());
    let start = random.floats(n_tokens * n_out);
    let accumulator = Accumulator::Matrix(Rows::new(&start, n_tokens, n_out, n_out).unwrap());
    let products = [F32Product::Linear { w, x, scale: 0.5 }, F32Product::Transposed { w: b, dy: z }];
    for tier in Tier::available() {
        let kernels = Kernels::of(tier).unwrap();
        let mut separate = start.clone();
        let y = RowsMut::new(&mut separate, n_tokens, n_out, n_out).unwrap();
        for product in &products {
            // SAFETY: the tier is available, the only part is run once, and nothing else touches the result.
            unsafe {
                sum_of_products_on(
                    kernels,
                    None,
                    std::slice::from_ref(product),
                    Accumulator::Existing,
                    y,
                    Part::WHOLE,
                )
            }
            .unwrap();
        }
        for count in [1, 2, 7] {
            let mut together = vec![f32::NAN; start.len()];
            let y = RowsMut::new(&mut together, n_tokens, n_out, n_out).unwrap();
            for index in 0..count {
                // SAFETY: as above, with each part run once.
                unsafe {
                    sum_of_products_on(kernels, None, &products, accumulator, y, Part { index, count })
                }
                .unwrap();
            }
            assert_eq!(separate, together, "{tier:?} {count}");
        }
        // A factor of two in the matrix is one in the product: nothing is rounded.
        let scaled = |scale| {
            let mut out = vec![f32::NAN; start.len()];
            let y = RowsMut::new(&mut out, n_tokens, n_out, n_out).unwrap();
            // SAFETY: as above.
            unsafe {
                let product = F32Product::Linear { w, x, scale };
                sum_of_products_on(kernels, None, &[product], Accumulator::Zero, y, Part::WHOLE).unwrap();
            }
            out
        };
        assert!(scaled(1.0).iter().zip(scaled(0.5)).all(|(one, half)| *one == 2.0 * half), "{tier:?}");
    }
}

/// Products of rows and weights quantized to 16 bits are close to the exact ones, and the same bits on every tier, for every
/// number of parts and every accumulator.
#[test]
fn int16_products_are_close_and_the_same_everywhere() {
    for (kind, direction) in
        all_formats().flat_map(|kind| [(kind, Direction::Linear), (kind, Direction::Transposed)])
    {
        let block = kind.block_len().max(32);
        for (n_tokens, shape) in [(1, (32, block)), (7, (64, 3 * block)), (40, (96, 9 * block))] {
            let mut random = Random::new((n_tokens + shape.0) as u64 + u64::from(kind.ggml_id()));
            let bytes = random_bytes(kind, shape.0, shape.1, &mut random);
            let w = Weights::new(kind, shape.0, shape.1, &bytes).unwrap();
            let (n_in, n_out) = match direction {
                Direction::Linear => (shape.1, shape.0),
                Direction::Transposed => shape,
            };
            let mut values = random.floats(n_tokens * n_in);
            values[..16].fill(0.0);
            let x = Rows::new(&values, n_tokens, n_in, n_in).unwrap();
            let start = random.floats(n_tokens * n_out);
            let mut results: [Vec<Vec<f32>>; 2] = Default::default();
            for tier in Tier::available() {
                let kernels = Kernels::of(tier).unwrap();
                let memory = quantized(kernels, x);
                let width = Int16Rows::columns(n_in).unwrap();
                let x = Int16Rows::new(Rows::new(&memory, n_tokens, width, width).unwrap(), n_in).unwrap();
                let product = Some(Int16Product { w, x, direction });
                for count in [1, 2, 5] {
                    let from = Rows::new(&start, n_tokens, n_out, n_out).unwrap();
                    for accumulator in [Accumulator::Zero, Accumulator::Existing, Accumulator::Matrix(from)] {
                        let mut out = start.clone();
                        let y = RowsMut::new(&mut out, n_tokens, n_out, n_out).unwrap();
                        for index in 0..count {
                            let part = Part { index, count };
                            // SAFETY: the tier is available, each part is run once, nothing else touches the result.
                            unsafe { sum_of_products_on(kernels, product, &[], accumulator, y, part) }
                                .unwrap();
                        }
                        results[usize::from(!matches!(accumulator, Accumulator::Zero))].push(out);
                    }
                }
            }
            for (is_started, results) in results.iter().enumerate() {
                assert!(results.iter().all(|other| *other == results[0]), "{kind:?} {direction:?}");
                let weights = crate::weights::reference::values(kind, &bytes);
                let (mut error, mut length) = (0.0, 0.0);
                for (t, o) in (0..n_tokens).flat_map(|t| (0..n_out).map(move |o| (t, o))) {
                    let weight = |i| match direction {
                        Direction::Linear => weights[o * shape.1 + i],
                        Direction::Transposed => weights[i * shape.1 + o],
                    };
                    let exact: f64 = (0..n_in).map(|i| f64::from(values[t * n_in + i]) * weight(i)).sum();
                    let got = f64::from(results[0][t * n_out + o]);
                    let start = is_started as f64 * f64::from(start[t * n_out + o]);
                    error += (got - start - exact).powi(2);
                    length += exact.powi(2);
                }
                // Half a step of either side, spread evenly: 1 / (√12 · 2047) of the largest value, which is a few
                // times the typical one.
                assert!(error.sqrt() < 2e-3 * length.sqrt(), "{kind:?} {direction:?}: {error} of {length}");
            }
        }
    }
}

fn quantized(kernels: &Kernels, x: Rows) -> Vec<f32> {
    let width = Int16Rows::columns(x.n_cols()).unwrap();
    let mut memory = vec![0.0; x.n_rows() * width];
    let rows = RowsMut::new(&mut memory, x.n_rows(), width, width).unwrap();
    for index in 0..3 {
        // SAFETY: the callers' tiers are available, each part is run once, and nothing else touches the memory.
        unsafe { quantize_rows_int16_on(kernels, x, rows, Part { index, count: 3 }) }.unwrap();
    }
    memory
}

/// The sum of the largest products there can be does not overflow.
#[test]
fn the_largest_int16_sums_are_exact() {
    let (n_in, n_out) = (512, 40);
    let bytes: Vec<u8> = std::iter::repeat_n(3.0f32.to_le_bytes(), n_in * n_out).flatten().collect();
    let w = Weights::new(WeightType::F32, n_out, n_in, &bytes).unwrap();
    for (tier, sign) in Tier::available().into_iter().flat_map(|tier| [(tier, 1.0), (tier, -1.0)]) {
        let kernels = Kernels::of(tier).unwrap();
        let values = vec![2.0 * sign; n_in];
        let memory = quantized(kernels, Rows::new(&values, 1, n_in, n_in).unwrap());
        let x = Int16Rows::new(Rows::new(&memory, 1, memory.len(), memory.len()).unwrap(), n_in).unwrap();
        let mut out = vec![0.0; n_out];
        let y = RowsMut::new(&mut out, 1, n_out, n_out).unwrap();
        let product = Some(Int16Product { w, x, direction: Direction::Linear });
        // SAFETY: the tier is available, the only part is run once, and nothing else touches the result.
        unsafe { sum_of_products_on(kernels, product, &[], Accumulator::Zero, y, Part::WHOLE) }.unwrap();
        assert!(out.iter().all(|v| (v - sign * 3072.0).abs() < 1e-2), "{tier:?}: {}", out[0]);
    }
}

#[test]
fn a_quantized_row_with_a_value_that_is_not_finite_gives_none_that_is() {
    let (n_in, n_out) = (64, 8);
    let bytes = random_bytes(WeightType::Q4_1, n_out, n_in, &mut Random::new(1));
    let w = Weights::new(WeightType::Q4_1, n_out, n_in, &bytes).unwrap();
    for (bad, tier) in [f32::NAN, f32::INFINITY]
        .into_iter()
        .flat_map(|bad| Tier::available().into_iter().map(move |t| (bad, t)))
    {
        let kernels = Kernels::of(tier).unwrap();
        let mut values = Random::new(2).floats(2 * n_in);
        values[40] = bad;
        let memory = quantized(kernels, Rows::new(&values, 2, n_in, n_in).unwrap());
        let width = Int16Rows::columns(n_in).unwrap();
        let x = Int16Rows::new(Rows::new(&memory, 2, width, width).unwrap(), n_in).unwrap();
        let mut out = [0.0f32; 16];
        let y = RowsMut::new(&mut out, 2, n_out, n_out).unwrap();
        let product = Some(Int16Product { w, x, direction: Direction::Linear });
        // SAFETY: the tier is available, the only part is run once, and nothing else touches the result.
        unsafe { sum_of_products_on(kernels, product, &[], Accumulator::Zero, y, Part::WHOLE) }.unwrap();
        assert!(
            out[..8].iter().all(|v| !v.is_finite()) && out[8..].iter().all(|v| v.is_finite()),
            "{tier:?}"
        );
    }
}

#[test]
fn an_accumulator_of_one_row_is_that_row_for_all() {
    let [n_tokens, n_out, n_in] = [7, 70, 96];
    let mut random = Random::new(5);
    let (values, row) = (random.floats(n_tokens * n_in), random.floats(n_out));
    let repeated = row.repeat(n_tokens);
    let x = Rows::new(&values, n_tokens, n_in, n_in).unwrap();
    for (kind, tier) in [WeightType::F32, WeightType::Q8_0]
        .into_iter()
        .flat_map(|kind| Tier::available().into_iter().map(move |tier| (kind, tier)))
    {
        let kernels = Kernels::of(tier).unwrap();
        let memory = quantized(kernels, x);
        let width = Int16Rows::columns(n_in).unwrap();
        let int16_x = Int16Rows::new(Rows::new(&memory, n_tokens, width, width).unwrap(), n_in).unwrap();
        // A matrix of few rows, as a factor of an adapter, and one of many.
        for n_out in [6, n_out] {
            let bytes = random_bytes(kind, n_out, n_in, &mut random);
            let w = Weights::new(kind, n_out, n_in, &bytes).unwrap();
            let int16 = Int16Product { w, x: int16_x, direction: Direction::Linear };
            let plain = [F32Product::Linear { w, x, scale: 0.5 }];
            for (int16, products) in [(None, &plain[..]), (Some(int16), &[]), (Some(int16), &plain)] {
                let [one, all] = [
                    Accumulator::Row(&row[..n_out]),
                    Accumulator::Matrix(Rows::new(&repeated, n_tokens, n_out, row.len()).unwrap()),
                ]
                .map(|accumulator| {
                    let mut out = vec![f32::NAN; n_tokens * n_out];
                    let y = RowsMut::new(&mut out, n_tokens, n_out, n_out).unwrap();
                    // SAFETY: the tier is available, the only part is run once, nothing else touches the result.
                    unsafe { sum_of_products_on(kernels, int16, products, accumulator, y, Part::WHOLE) }
                        .unwrap();
                    out
                });
                assert_eq!(one, all, "{kind:?} {tier:?}");
            }
            let short = Accumulator::Row(&row[..n_out - 1]);
            let mut out = vec![7.0; n_tokens * n_out];
            let y = RowsMut::new(&mut out, n_tokens, n_out, n_out).unwrap();
            // SAFETY: as above.
            let refused = unsafe { sum_of_products_on(kernels, None, &plain, short, y, Part::WHOLE) };
            assert!(matches!(refused, Err(crate::KernelError::Shape(_))), "{refused:?}");
            assert!(out.iter().all(|value| *value == 7.0));
        }
    }
}
