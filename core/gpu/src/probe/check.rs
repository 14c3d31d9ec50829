//! Products of random matrices, compared with sums of what the kernels read from the same bytes.

use nightgraft_kernels::{Direction, WeightType, Weights};
use nightgraft_random::Random;
use serde::Serialize;

use super::{LostBy, Opener};
use crate::sample::{random_bytes, random_floats};
use crate::{AdapterInfo, BufferRows, Device, Error, Product, Tile};

/// The least cosine between a right result and a device's. Rounding in single precision leaves it at 1 to six digits; devices that
/// compute wrong were seen at 0.7.
pub const LEAST_COSINE: f64 = 0.999;

/// The most that their difference may be, relative to the right one: what a cosine does not see is a wrong factor. Rounding to half
/// precision stays below a hundredth.
pub const MOST_RELATIVE_ERROR: f64 = 0.05;

/// One product of a device, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProductCheck {
    /// ggml's name of the weights' format.
    pub format: &'static str,
    /// Whether it is the transposed product.
    pub transposed: bool,
    /// How it was cut.
    pub tile: Tile,
    /// The cosine between the device's result and the right one; none if a number is not finite, or the device refused
    /// to compute it.
    pub cosine: Option<f64>,
    /// The length of their difference, relative to that of the right one; likewise.
    pub relative_error: Option<f64>,
}

impl ProductCheck {
    /// One that gave no numbers at all.
    fn failed(kind: WeightType, direction: Direction, tile: Tile) -> Self {
        let transposed = direction == Direction::Transposed;
        Self { format: kind.name(), transposed, tile, cosine: None, relative_error: None }
    }

    /// Whether training could rest on it.
    pub fn has_passed(&self) -> bool {
        self.cosine.is_some_and(|cosine| cosine >= LEAST_COSINE)
            && self.relative_error.is_some_and(|error| error <= MOST_RELATIVE_ERROR)
    }
}

/// Compares products with every format that the device reads, and with every tile that it can run, in both directions. It takes some
/// seconds on a device that compiles slowly. A product by which the device is lost has failed: `open` opens it anew.
///
/// # Errors
/// Whatever the device answers to a product: [`Error::OutOfMemory`], [`Error::Unfinished`], [`Error::Lost`] if it is again and again.
/// Those of `open`.
pub fn check_products(open: Opener) -> Result<Vec<ProductCheck>, Error> {
    let mut device = open()?;
    let mut lost_by = LostBy::default();
    let AdapterInfo { limits, features, .. } = device.info().clone();
    let formats = WeightType::ALL.into_iter().map(|kind| (kind, Tile::LAST_RESORT));
    let tiles = Tile::all(&limits, &features).into_iter().map(|tile| (WeightType::Q4_K, tile));
    let mut checks: Vec<ProductCheck> = Vec::new();
    for (kind, tile) in formats.chain(tiles) {
        for direction in [Direction::Linear, Direction::Transposed] {
            let is_done = checks.iter().any(|check| {
                (check.format, check.tile) == (kind.name(), tile)
                    && check.transposed == (direction == Direction::Transposed)
            });
            if !is_done {
                if lost_by.suggests(tile) {
                    checks.push(ProductCheck::failed(kind, direction, tile));
                    continue;
                }
                let check = match check_product(&device, kind, direction, tile) {
                    // Another tile may do.
                    Err(Error::Failed { .. }) => ProductCheck::failed(kind, direction, tile),
                    Err(Error::Lost { .. }) if !lost_by.is_full() => {
                        lost_by.0.push(tile);
                        device = open()?;
                        ProductCheck::failed(kind, direction, tile)
                    }
                    check => check?,
                };
                checks.push(check);
            }
        }
    }
    Ok(checks)
}

fn check_product(
    device: &Device,
    kind: WeightType,
    direction: Direction,
    tile: Tile,
) -> Result<ProductCheck, Error> {
    // More than a tile of the usual shape in every direction, and no multiples of one.
    let (n_tokens, n_rows, n_cols) = (37, 75, if kind.block_len() == 1 { 90 } else { 256 });
    let mut random = Random::new(kind.ggml_id().into());
    let bytes = random_bytes(kind, [n_rows, n_cols], &mut random);
    let weights = Weights::new(kind, n_rows, n_cols, &bytes)
        .expect("the bytes are those of whole blocks of this shape");
    let (depth, width) = match direction {
        Direction::Linear => (n_cols, n_rows),
        Direction::Transposed => (n_rows, n_cols),
    };
    let x = random_floats(n_tokens * depth, &mut random);
    let matrix = device.upload_matrix(weights)?;
    let input = device.upload_floats("input of a probe", &x)?;
    let output = device.zeros("output of a probe", (n_tokens * width) as u64)?;
    let scales = device.zeros("factors of a probe", 2 * n_tokens as u64)?;
    let shape = |width: usize| [n_tokens as u32, width as u32];
    let product = Product {
        matrix: &matrix,
        direction,
        input: BufferRows::whole(&input, shape(depth))?,
        output: BufferRows::whole(&output, shape(width))?,
        scale: 1.0,
        accumulate: false,
        scales: Some(BufferRows::whole(&scales, shape(2))?),
    };
    device.submit(&device.product(&product, tile)?)?;
    let got = device.read_floats(&output, 0, (n_tokens * width) as u64)?;
    let expected = right_result(weights, direction, &x, n_tokens);
    let (cosine, relative_error) = compare(&got, &expected).unzip();
    let transposed = direction == Direction::Transposed;
    Ok(ProductCheck { format: kind.name(), transposed, tile, cosine, relative_error })
}

/// The product in double precision.
fn right_result(weights: Weights, direction: Direction, x: &[f32], n_tokens: usize) -> Vec<f64> {
    let (n_rows, n_cols) = (weights.n_rows(), weights.n_cols());
    let (depth, width) = match direction {
        Direction::Linear => (n_cols, n_rows),
        Direction::Transposed => (n_rows, n_cols),
    };
    let mut result = vec![0.0; n_tokens * width];
    let mut row = vec![0.0; n_cols];
    for r in 0..n_rows {
        weights.dequantize_row(r, &mut row);
        for (x, result) in x.chunks_exact(depth).zip(result.chunks_exact_mut(width)) {
            match direction {
                Direction::Linear => {
                    result[r] = x.iter().zip(&row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                }
                Direction::Transposed => {
                    for (result, weight) in result.iter_mut().zip(&row) {
                        *result += f64::from(x[r]) * f64::from(*weight);
                    }
                }
            }
        }
    }
    result
}

/// The cosine, and the relative length of the difference; none if a number is not finite.
fn compare(got: &[f32], expected: &[f64]) -> Option<(f64, f64)> {
    if got.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let (mut dot, mut got_square, mut square, mut difference) = (0.0, 0.0, 0.0, 0.0);
    for (got, expected) in got.iter().map(|value| f64::from(*value)).zip(expected) {
        dot += got * expected;
        got_square += got * got;
        square += expected * expected;
        difference += (got - expected).powi(2);
    }
    // A result of nothing but zeros has no direction, and is wrong.
    let cosine = if got_square > 0.0 { dot / (got_square * square).sqrt() } else { 0.0 };
    Some((cosine, (difference / square).sqrt()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::testing::{software_adapter, software_within};
    use crate::{Arithmetic, Limits, SimulatedFault};

    /// Rounding of sums of at most 256 terms in single precision.
    const RELATIVE_TOLERANCE: f64 = 1e-6;

    #[test]
    fn a_device_that_computes_right_passes_with_every_format_and_tile() {
        let device = software_within(Limits::LEAST);
        let checks = check_products(&mut || Ok(device.clone())).unwrap();
        for check in &checks {
            assert!(check.has_passed() && check.relative_error.unwrap() <= RELATIVE_TOLERANCE, "{check:?}");
        }
        let tiles = Tile::all(&Limits::LEAST, &device.info().features).len();
        // One tile is checked with every format, the others with one.
        assert_eq!(checks.len(), 2 * (WeightType::ALL.len() + tiles - 1));
    }

    #[test]
    fn a_product_by_which_the_device_is_lost_does_not_pass() {
        let mut n_opened = 0;
        let mut open = || {
            let device = software_adapter().open(true)?;
            // The second time it is lost by more than can be the products' fault.
            n_opened += 1;
            device.simulate(match n_opened {
                1 => SimulatedFault::LostAfter { submissions: 1 },
                _ => SimulatedFault::LostAfter { submissions: 0 },
            });
            Ok(Arc::new(device))
        };
        assert!(matches!(check_products(&mut open), Err(Error::Lost { .. })));
        assert_eq!(n_opened, 1 + LostBy::MOST);
    }

    #[test]
    fn what_a_driver_cannot_compile_does_not_pass_and_the_others_do() {
        let mut open = || {
            let device = software_adapter().open(true)?;
            device.simulate(SimulatedFault::LostByHalves);
            Ok(Arc::new(device))
        };
        for check in check_products(&mut open).unwrap() {
            assert_eq!(check.has_passed(), check.tile.arithmetic() != Arithmetic::F16, "{check:?}");
        }
    }

    #[test]
    fn wrong_numbers_do_not_pass() {
        let check = |got: &[f32]| {
            let (cosine, relative_error) = compare(got, &[1.0, 2.0, -2.0]).unzip();
            let tile = Tile::unmeasured(1);
            ProductCheck { format: "F32", transposed: false, tile, cosine, relative_error }
        };
        let right = check(&[1.0, 2.0, -2.0]);
        assert_eq!((right.cosine, right.relative_error), (Some(1.0), Some(0.0)));
        assert!(right.has_passed() && check(&[1.0, 2.02, -2.0]).has_passed());
        let wrong = [[1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [1.0, f32::NAN, -2.0], [1.0, f32::INFINITY, -2.0]];
        let twice = [2.0, 4.0, -4.0];
        for wrong in wrong.into_iter().chain([twice]) {
            assert!(!check(&wrong).has_passed(), "{wrong:?}");
        }
    }
}
