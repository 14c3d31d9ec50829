#![allow(clippy::unwrap_used)]

use nightgraft_kernels::{Direction, ForeignFormat, WeightType, Weights};
use nightgraft_random::Random;

use super::*;
use crate::sample::{random_bytes, random_floats};
use crate::testing::{software, software_within, translate};
use crate::{AdapterInfo, Constant, Features, Limits};

/// A product and a sum are rounded once or twice, relative to the largest of both.
const VALUE_TOLERANCE: f32 = 2.5e-7;
/// Rounding of sums of some hundred terms in single precision, relative to the sum of the terms' magnitudes.
const SUM_TOLERANCE: f64 = 1e-6;

/// Both operands are rounded to eleven digits.
const HALF_TOLERANCE: f64 = 1.1e-3;

/// Those of single precision that a device can run.
fn all_tiles(device: &Device) -> Vec<Tile> {
    let AdapterInfo { limits, features, .. } = device.info();
    Tile::all_with(Arithmetic::F32, limits, features)
}

const DIRECTIONS: [Direction; 2] = [Direction::Linear, Direction::Transposed];

/// Writes every value of a matrix, four an invocation.
const DEQUANTIZE: &str = "
struct Parameters { n_rows: u32, n_cols: u32, row_bytes: u32 }
@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let quads = (p.n_cols + 3u) / 4u;
    if (id.x >= p.n_rows * quads) { return; }
    let row = id.x / quads;
    let column = id.x % quads * 4u;
    let values = weights4(row * p.row_bytes, column, p.n_cols);
    for (var i = 0u; i < 4u; i++) {
        if (column + i < p.n_cols) { y[row * p.n_cols + column + i] = values[i]; }
    }
}";

fn dequantized_on_device(kind: WeightType, [n_rows, n_cols]: [u32; 2], bytes: &[u8]) -> Vec<f32> {
    let device = software();
    let mut sources = weight_sources(kind).unwrap();
    sources.push(DEQUANTIZE);
    let pipeline = device.pipeline(&Program::new("dequantize", sources, [])).unwrap();
    let floats = u64::from(n_rows * n_cols);
    let (w, y) = (device.upload("w", bytes).unwrap(), device.zeros("y", floats).unwrap());
    let bindings = [&w, &y].map(|buffer| Binding::whole(device, buffer).unwrap());
    let row_bytes = kind.row_bytes(n_cols as usize).unwrap() as u32;
    let groups = [(n_rows * n_cols.div_ceil(4)).div_ceil(32), 1, 1];
    let run = device.dispatch(&pipeline, &bindings, &[n_rows, n_cols, row_bytes], groups).unwrap();
    device.submit(&[run]).unwrap();
    device.read_floats(&y, 0, floats).unwrap()
}

fn dequantized_on_cpu(kind: WeightType, [n_rows, n_cols]: [usize; 2], bytes: &[u8]) -> Vec<f32> {
    let weights = Weights::new(kind, n_rows, n_cols, bytes).unwrap();
    let mut values = vec![0.0; n_rows * n_cols];
    for (row, values) in values.chunks_mut(n_cols).enumerate() {
        weights.dequantize_row(row, values);
    }
    values
}

#[test]
fn every_format_is_read_as_the_kernels_read_it() {
    for kind in WeightType::ALL {
        // Floats may have rows of any length.
        let n_cols = if kind.block_len() == 1 { 37 } else { 768 };
        let bytes = random_bytes(kind, [7, n_cols], &mut Random::new(kind.ggml_id().into()));
        let expected = dequantized_on_cpu(kind, [7, n_cols], &bytes);
        let values = dequantized_on_device(kind, [7, n_cols as u32], &bytes);
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (place, (value, expected)) in values.iter().zip(&expected).enumerate() {
            let difference = (value - expected).abs();
            assert!(difference <= VALUE_TOLERANCE * largest, "{kind:?} {place}: {value} {expected}");
        }
        // A single multiplication is exact in the same way everywhere.
        let has_minimum = matches!(
            kind,
            WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q2_K | WeightType::Q4_K | WeightType::Q5_K
        );
        assert!(has_minimum || values == expected, "{kind:?}");
    }
}

#[test]
fn halves_are_read_exactly_whatever_their_bits() {
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for kind in [WeightType::F16, WeightType::BF16] {
        let expected = dequantized_on_cpu(kind, [64, 1024], &bytes);
        let values = dequantized_on_device(kind, [64, 1024], &bytes);
        for (value, expected) in values.iter().zip(&expected) {
            let same = value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan());
            // Subnormal singles, which only BF16 has, may be taken for zero.
            let is_flushed = expected.is_subnormal() && *value == 0.0;
            assert!(same || is_flushed, "{kind:?}: {value} {expected}");
        }
    }
}

/// A product, its operands in one buffer with gaps between rows, and what it has to be.
struct Case {
    kind: WeightType,
    direction: Direction,
    /// Rows and columns of the weights.
    shape: [usize; 2],
    n_tokens: usize,
    scale: f32,
    accumulate: bool,
    tile: Tile,
}

impl Case {
    fn widths(&self) -> [usize; 2] {
        let [n_rows, n_cols] = self.shape;
        match self.direction {
            Direction::Linear => [n_cols, n_rows],
            Direction::Transposed => [n_rows, n_cols],
        }
    }

    /// Runs it and gives the result, `[n_tokens, width]`, after comparing it.
    fn check(&self, device: &Device) -> Vec<f32> {
        let mut random = Random::new(self.n_tokens as u64);
        let bytes = random_bytes(self.kind, self.shape, &mut random);
        let weights = Weights::new(self.kind, self.shape[0], self.shape[1], &bytes).unwrap();
        let matrix = device.upload_matrix(weights).unwrap();
        let [depth, width] = self.widths();
        // Nothing is aligned: the input begins at float 3, and both have gaps.
        let (x_stride, y_stride) = (depth + 1, width + 3);
        let y_first = 3 + self.n_tokens * x_stride;
        let scales_first = y_first + self.n_tokens * y_stride;
        let memory = random_floats(scales_first + 2 * self.n_tokens, &mut random);
        let buffer = device.upload_floats("operands", &memory).unwrap();
        let n_tokens = self.n_tokens as u32;
        let rows = |first: usize, width: usize, stride: usize| {
            BufferRows::new(&buffer, first as u64, [n_tokens, width as u32], stride as u32).unwrap()
        };
        let product = Product {
            matrix: &matrix,
            direction: self.direction,
            input: rows(3, depth, x_stride),
            output: rows(y_first, width, y_stride),
            scale: self.scale,
            accumulate: self.accumulate,
            scales: Some(rows(scales_first, 2, 2)),
        };
        let dispatches = device.product(&product, self.tile).unwrap();
        let pieces = |part: &MatrixPart| match self.direction {
            Direction::Linear => matrix.n_cols().div_ceil(MOST_TERMS),
            Direction::Transposed => part.n_rows.div_ceil(MOST_TERMS),
        };
        let of_scales = u32::from(self.tile.arithmetic() == Arithmetic::F16);
        assert_eq!(dispatches.len() as u32, of_scales + matrix.parts().iter().map(pieces).sum::<u32>());
        let bytes_at_once = device.limits().binding_bytes;
        assert_eq!(matrix.n_parts() > 1, weights.bytes().len() as u64 > bytes_at_once);
        device.submit(&dispatches).unwrap();
        let after = device.read_floats(&buffer, 0, memory.len() as u64).unwrap();

        let values = dequantized_on_cpu(self.kind, self.shape, &bytes);
        let mut result = Vec::new();
        let mut expected_memory = memory.clone();
        let tolerance = match self.tile.arithmetic() {
            Arithmetic::F32 | Arithmetic::Cooperative => SUM_TOLERANCE,
            Arithmetic::F16 => {
                expected_memory[scales_first..].copy_from_slice(&after[scales_first..]);
                HALF_TOLERANCE
            }
        };
        for token in 0..self.n_tokens {
            for output in 0..width {
                let (mut sum, mut magnitude) = (0.0, 0.0);
                for term in 0..depth {
                    let place = match self.direction {
                        Direction::Linear => output * depth + term,
                        Direction::Transposed => term * width + output,
                    };
                    let product = f64::from(memory[3 + token * x_stride + term]) * f64::from(values[place]);
                    sum += product;
                    magnitude += product.abs();
                }
                let at = y_first + token * y_stride + output;
                let before = if self.accumulate { f64::from(memory[at]) } else { 0.0 };
                let expected = before + f64::from(self.scale) * sum;
                let bound = before.abs() + f64::from(self.scale.abs()) * magnitude;
                let got = after[at];
                let difference = (f64::from(got) - expected).abs();
                assert!(
                    difference <= tolerance * bound,
                    "{:?} {:?} {} token {token} output {output}: {got} {expected}",
                    self.kind,
                    self.direction,
                    self.tile
                );
                result.push(got);
                expected_memory[at] = got;
            }
        }
        assert_eq!(after, expected_memory, "something else was written");
        result
    }
}

#[test]
fn every_format_multiplies_in_both_directions() {
    for kind in WeightType::ALL {
        let n_cols = if kind.block_len() == 1 { 45 } else { kind.block_len().max(64) };
        for (direction, n_tokens, accumulate) in
            [(Direction::Linear, 1, false), (Direction::Linear, 19, true), (Direction::Transposed, 19, false)]
        {
            let (shape, tile) = ([37, n_cols], Tile::unmeasured(n_tokens as u32));
            let scale = if accumulate { -0.5 } else { 1.0 };
            Case { kind, direction, shape, n_tokens, scale, accumulate, tile }.check(software());
        }
    }
}

#[test]
fn every_tile_gives_the_same_bits() {
    for direction in DIRECTIONS {
        let results: Vec<_> = all_tiles(software())
            .into_iter()
            .map(|tile| {
                let (kind, shape) = (WeightType::Q5_0, [70, 160]);
                let case = Case { kind, direction, shape, n_tokens: 35, scale: 2.0, accumulate: true, tile };
                case.check(software())
            })
            .collect();
        assert_eq!(results.len(), Tile::ALL.len() + 4, "lavapipe has subgroups");
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{direction:?}");
    }
}

/// In half precision as well: with inputs that it could not hold, and the same bits from all tiles.
#[test]
fn operands_in_half_precision_are_near() {
    assert!(software().info().features.f16, "lavapipe has half precision");
    let check = |kind, direction, tile: Tile| {
        let (shape, n_tokens) = ([70, 256], 21);
        Case { kind, direction, shape, n_tokens, scale: 2.0, accumulate: true, tile }.check(software())
    };
    for direction in DIRECTIONS {
        let AdapterInfo { limits, features, .. } = software().info();
        let tiles = Tile::all_with(Arithmetic::F16, limits, features);
        let results: Vec<_> =
            tiles.into_iter().map(|tile| check(WeightType::Q4_0, direction, tile)).collect();
        assert_eq!(results.len(), Tile::ALL.len());
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{direction:?}");
        for kind in [WeightType::Q6_K, WeightType::BF16] {
            check(kind, direction, Tile::unmeasured(64).with(Method::StagedF16));
        }
    }
}

/// All but the units themselves, which are replaced: what is brought to them, how their parts make up a tile, and what is written.
#[test]
fn matrix_units_multiply_in_both_directions() {
    let device = software_within(Limits { workgroup_bytes: 32 << 10, ..Limits::LEAST });
    let tile = Tile::COOPERATIVE;
    for kind in [WeightType::Q4_1, WeightType::Q6_K, WeightType::F32] {
        plain_matrix_units::emulate(&device, kind);
        let n_cols = if kind.block_len() == 1 { 45 } else { kind.block_len().max(96) };
        for direction in DIRECTIONS {
            for (n_rows, n_tokens, accumulate) in [(70, 35, true), (32, 32, false), (5, 3, false)] {
                let shape = [n_rows, n_cols];
                Case { kind, direction, shape, n_tokens, scale: 0.5, accumulate, tile }.check(&device);
            }
        }
    }
}

#[test]
fn rows_in_half_precision_may_be_of_any_magnitude() {
    let device = software();
    let bytes: Vec<u8> = (0..64 * 32).flat_map(|i| ((i % 7) as f32 - 3.0).to_le_bytes()).collect();
    let matrix = device.upload_matrix(Weights::new(WeightType::F32, 32, 64, &bytes).unwrap()).unwrap();
    let magnitudes = [1.0, 1e-20, 1e20, 0.0, 70_000.0, 1e-7];
    let x: Vec<f32> = magnitudes.iter().flat_map(|m| (0..64).map(move |i| m * (i % 5) as f32)).collect();
    let memory = device.upload_floats("x", &x).unwrap();
    let (y, scales) = (device.zeros("y", 6 * 32).unwrap(), device.zeros("scales", 12).unwrap());
    let product = Product {
        matrix: &matrix,
        direction: Direction::Linear,
        input: BufferRows::whole(&memory, [6, 64]).unwrap(),
        output: BufferRows::whole(&y, [6, 32]).unwrap(),
        scale: 1.0,
        accumulate: false,
        scales: Some(BufferRows::whole(&scales, [6, 2]).unwrap()),
    };
    let tile = Tile::unmeasured(6).with(Method::StagedF16);
    device.submit(&device.product(&product, tile).unwrap()).unwrap();
    let y = device.read_floats(&y, 0, 6 * 32).unwrap();
    for (row, magnitude) in y.chunks_exact(32).zip(magnitudes) {
        for (got, expected) in row.iter().zip(&y[..32]) {
            assert!(
                (got - magnitude * expected).abs() <= 2e-3 * magnitude * 300.0,
                "{magnitude}: {got} {expected}"
            );
        }
    }
    let without = Product { scales: None, ..product };
    assert!(matches!(device.product(&without, tile), Err(Error::Shape { what: "factors of the rows", .. })));
}

/// More terms than a dispatch sums up, and than lavapipe's loops have turns in the smallest slices.
#[test]
fn sums_of_many_terms_are_whole() {
    let kind = WeightType::Q8_0;
    for (direction, shape) in [(Direction::Linear, [40, 9024]), (Direction::Transposed, [20_000, 64])] {
        for tile in all_tiles(software()) {
            Case { kind, direction, shape, n_tokens: 3, scale: 0.5, accumulate: true, tile }
                .check(software());
        }
    }
}

/// The least that any device has, and bindings that hold a fifth of this matrix.
#[test]
fn a_matrix_that_is_larger_than_a_binding_is_bound_by_rows() {
    let (kind, shape, n_tokens) = (WeightType::Q4_K, [203, 512], 5);
    let rows = software_within(Limits { binding_bytes: 12 << 10, ..Limits::LEAST });
    let whole = software_within(Limits::LEAST);
    for direction in DIRECTIONS {
        for tile in all_tiles(&whole) {
            let case = Case { kind, direction, shape, n_tokens, scale: 1.0, accumulate: false, tile };
            let in_one = case.check(&whole);
            let in_parts = case.check(&rows);
            // Each output of the first is in one piece; sums of the other are cut.
            assert!(direction == Direction::Transposed || in_one == in_parts);
        }
    }
}

/// What a slow device is given at once does not change a bit.
#[test]
fn a_product_in_pieces_has_the_bits_of_the_whole() {
    let device = software();
    let (kind, tile) = (WeightType::Q8_0, Tile::unmeasured(1));
    let [n_tokens, n_rows, n_cols] = [35, 70, 96];
    let mut random = Random::new(8);
    let bytes = random_bytes(kind, [n_rows, n_cols], &mut random);
    let matrix = device.upload_matrix(Weights::new(kind, n_rows, n_cols, &bytes).unwrap()).unwrap();
    for (direction, depth, width) in
        [(Direction::Linear, n_cols, n_rows), (Direction::Transposed, n_rows, n_cols)]
    {
        let input = device.upload_floats("x", &random_floats(n_tokens * depth, &mut random)).unwrap();
        let lines = n_tokens.div_ceil(16);
        // Everything at once, a line of workgroups, two workgroups, and less than one.
        let of_group = 16 * 32 * depth as u64;
        let results = [(u64::MAX, 1), (3 * of_group, lines), (2 * of_group, 2 * lines), (1, 3 * lines)].map(
            |(most, expected)| {
                let output = device.zeros("y", (n_tokens * width) as u64).unwrap();
                let rows =
                    |buffer, width| BufferRows::whole(buffer, [n_tokens as u32, width as u32]).unwrap();
                let (input, output_rows) = (rows(&input, depth), rows(&output, width));
                let (scale, accumulate) = (1.0, false);
                let product = Product {
                    matrix: &matrix,
                    direction,
                    input,
                    output: output_rows,
                    scale,
                    accumulate,
                    scales: None,
                };
                let dispatches = device.product_in_pieces(&product, tile, most).unwrap();
                assert_eq!(dispatches.len(), expected, "{direction:?} {most}");
                device.submit(&dispatches).unwrap();
                device.read_floats(&output, 0, (n_tokens * width) as u64).unwrap()
            },
        );
        assert!(results[0].iter().all(|value| *value != 0.0));
        assert!(results.iter().all(|result| *result == results[0]), "{direction:?}");
    }
}

#[test]
fn blocks_cover_a_grid_once() {
    for (columns, lines) in [(1, 1), (5, 3), (7, 11)] {
        for most in [0, 1, 2, 5, 6, 7, 20, u32::MAX] {
            for longest in [1, 4, 100] {
                let mut covered = vec![0; (columns * lines) as usize];
                for ([x, y], [width, height]) in blocks([columns, lines], most, longest) {
                    assert!(width * height <= most.max(1) && width.max(height) <= longest);
                    for line in y..y + height {
                        for column in x..x + width {
                            covered[(line * columns + column) as usize] += 1;
                        }
                    }
                }
                assert!(covered.iter().all(|count| *count == 1), "{columns} {lines} {most} {longest}");
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let device = software();
    let bytes = random_bytes(WeightType::F32, [3, 2], &mut Random::new(1));
    let matrix = device.upload_matrix(Weights::new(WeightType::F32, 3, 2, &bytes).unwrap()).unwrap();
    let buffer = device.zeros("operands", 64).unwrap();
    let rows = |first, shape: [u32; 2]| BufferRows::new(&buffer, first, shape, shape[1]).unwrap();
    let refused = |direction, input, output| {
        let product = Product {
            matrix: &matrix,
            direction,
            input,
            output,
            scale: 1.0,
            accumulate: false,
            scales: None,
        };
        match device.product(&product, Tile::unmeasured(1)) {
            Err(Error::Shape { what, expected, got, .. }) => Some((what, expected, got)),
            other => other.map(drop).err().map(|_| ("another error", 0, 0)),
        }
    };
    let linear = Direction::Linear;
    assert_eq!(refused(linear, rows(0, [4, 2]), rows(32, [4, 3])), None);
    assert_eq!(refused(Direction::Transposed, rows(0, [4, 3]), rows(32, [4, 2])), None);
    assert_eq!(refused(linear, rows(0, [4, 3]), rows(32, [4, 3])), Some(("columns of the input", 2, 3)));
    assert_eq!(refused(linear, rows(0, [4, 2]), rows(32, [4, 2])), Some(("columns of the output", 3, 2)));
    assert_eq!(refused(linear, rows(0, [4, 2]), rows(32, [5, 3])), Some(("rows of the output", 4, 5)));
    // Without tokens nothing is run.
    let (input, output) = (rows(0, [0, 2]), rows(0, [0, 3]));
    let empty = Product {
        matrix: &matrix,
        direction: linear,
        input,
        output,
        scale: 1.0,
        accumulate: false,
        scales: None,
    };
    assert_eq!(device.product(&empty, Tile::unmeasured(0)).unwrap().len(), 0);

    static FOREIGN: ForeignFormat = ForeignFormat::new("IQ2_S", 22, [256, 82], 2, |_, _| {});
    let kind = WeightType::Foreign(&FOREIGN);
    let weights = Weights::new(kind, 1, 256, &[0; 82]).unwrap();
    assert_eq!(device.upload_matrix(weights).unwrap_err(), Error::WeightType { format: "IQ2_S" });
    let none = Weights::new(WeightType::F32, 0, 2, &[]).unwrap();
    let none = device.upload_matrix(none).unwrap_err();
    assert_eq!(none, Error::Shape { op: "a matrix of weights", what: "rows", expected: 1, got: 0 });
    let tight = software_within(Limits { binding_bytes: 1024, ..Limits::LEAST });
    let bytes = random_bytes(WeightType::F32, [1, 256], &mut Random::new(1));
    let wide = tight.upload_matrix(Weights::new(WeightType::F32, 1, 256, &bytes).unwrap()).unwrap_err();
    assert_eq!(wide, Error::OverLimit { what: "a row of weights", unit: "bytes", limit: 764, got: 1024 });
}

/// The factors of an adapter are floats in a buffer, which change.
#[test]
fn a_matrix_in_a_buffer_is_read_when_the_product_runs() {
    let device = software();
    let memory = device.zeros("a factor", 40).unwrap();
    // [2, 3] from float 5 on, rows 4 apart.
    let matrix = Matrix::of_floats(device, BufferRows::new(&memory, 5, [2, 3], 4).unwrap()).unwrap();
    let operands = device.upload_floats("x", &[1.0, 10.0, 100.0, 0.0, 0.0]).unwrap();
    let product = Product {
        matrix: &matrix,
        direction: Direction::Linear,
        input: BufferRows::new(&operands, 0, [1, 3], 3).unwrap(),
        output: BufferRows::new(&operands, 3, [1, 2], 2).unwrap(),
        scale: 1.0,
        accumulate: false,
        scales: None,
    };
    let run = device.product(&product, Tile::unmeasured(1)).unwrap();
    let values = [1.0, 2.0, 3.0, -1.0, 4.0, 5.0, 6.0f32];
    device.write(&memory, 20, bytemuck::cast_slice(&values)).unwrap();
    device.submit(&run).unwrap();
    assert_eq!(device.read_floats(&operands, 3, 2).unwrap(), [321.0, 654.0]);
}

/// What a driver is given, for every specialization: Metal's families have 32 KiB for a workgroup and 1024 invocations.
#[test]
fn every_program_translates_to_vulkan_and_metal_within_the_limits() {
    let apple = Limits { workgroup_bytes: 32 << 10, workgroup_invocations: 1024, ..Limits::LEAST };
    let everything = Features { f16: true, subgroup_sizes: Some([32, 32]), cooperative_matrices: true };
    for kind in WeightType::ALL {
        for direction in DIRECTIONS {
            for arithmetic in [Arithmetic::F32, Arithmetic::F16, Arithmetic::Cooperative] {
                for tile in Tile::all_with(arithmetic, &apple, &everything) {
                    let text = product_program(kind, direction, tile).unwrap().text();
                    let Limits { workgroup_bytes, workgroup_invocations, .. } =
                        if tile.fits(&Limits::LEAST, &everything) { Limits::LEAST } else { apple };
                    translate(&text, workgroup_bytes, workgroup_invocations);
                }
            }
        }
    }
}

#[test]
fn programs_of_one_text_are_one_program() {
    let program = |tile| product_program(WeightType::Q4_K, Direction::Linear, tile).unwrap();
    let [first, second, ..] = Tile::ALL;
    assert!(program(first) == program(first) && program(first) != program(second));
    assert!(program(second).text().starts_with("const TILE_TOKENS: u32 = 32u;\n"));
    let flag = Program::new("flag", ["fn main() {}"], [("IS_SET", Constant::Flag(true))]);
    assert_eq!(flag.text(), "const IS_SET: bool = true;\nfn main() {}");
}
