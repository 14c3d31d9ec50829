//! The rate of a device's products, in every tile, beside the most that it computes with anything.

use std::sync::Arc;
use std::time::Duration;

use nightgraft_kernels::{Direction, WeightType, Weights};
use nightgraft_random::Random;
use serde::Serialize;

use super::check::ProductCheck;
use super::product_bench::{ProductBench, time};
use crate::product::MATRIX_UNITS;
use crate::sample::random_bytes;
use crate::{AdapterInfo, Arithmetic, Binding, Buffer, Device, Dispatch, Error, Program, Tile};

/// What a product is measured with: the format of most files.
const FORMAT: WeightType = WeightType::Q4_K;
/// Tokens, and the rows and columns of a square matrix, from a size that a slow device can do in one go to one that fills a fast one.
const SIZES: [[u32; 2]; 3] = [[64, 256], [256, 1024], [512, 2048]];
/// A size of which one product takes longer is not tried.
const LONGEST: Duration = Duration::from_millis(100);
/// A peak is timed for at least so long, against which starting it counts little.
const SHORTEST: Duration = Duration::from_millis(20);
/// The most times that one thing is run in a submission.
const MOST_RUNS: usize = 512;

/// How fast a device is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Billions of additions and multiplications a second in multiply-adds of single precision, with no memory in between: what
    /// products are measured against.
    pub peak_gflops: f64,
    /// Billions of additions and multiplications a second with matrix units, if the device has some that its driver can compile for.
    pub matrix_units_gflops: Option<f64>,
    /// ggml's name of the format of the weights.
    pub format: &'static str,
    /// Tokens of a product.
    pub n_tokens: u32,
    /// Rows and columns of its weights.
    pub n_embd: u32,
    /// Each direction in each tile that the device can run, and with which it computes right.
    pub products: Vec<ProductSpeed>,
}

/// The rate of one product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProductSpeed {
    /// Whether it is the transposed product.
    pub transposed: bool,
    /// How it was cut.
    pub tile: Tile,
    /// Billions of additions and multiplications a second.
    pub gflops: f64,
}

impl Speed {
    /// The most of what a tile computes with.
    pub fn peak_of(&self, tile: Tile) -> f64 {
        match (tile.arithmetic(), self.matrix_units_gflops) {
            (Arithmetic::Cooperative, Some(peak)) => peak,
            _ => self.peak_gflops,
        }
    }

    /// The fastest of a direction.
    pub fn fastest(&self, transposed: bool) -> Option<&ProductSpeed> {
        let products = self.products.iter().filter(|product| product.transposed == transposed);
        products.max_by(|a, b| a.gflops.total_cmp(&b.gflops))
    }
}

/// Times products with weights of four bits, on a size that suits the device, in every tile with which it has computed right, as these
/// checks show. It takes a few seconds.
///
/// # Errors
/// Whatever the device answers: [`Error::Failed`], [`Error::OutOfMemory`], [`Error::Lost`], [`Error::Unfinished`].
pub fn measure_products(device: &Arc<Device>, checks: &[ProductCheck]) -> Result<Speed, Error> {
    let AdapterInfo { limits, features, .. } = device.info();
    let peak_gflops = measure_peak(device, Arithmetic::F32)?;
    let mut size = SIZES[0];
    let mut bench = square(device, size)?;
    for next in &SIZES[1..] {
        let seconds = bench.time(Direction::Linear, Tile::LAST_RESORT)?.seconds;
        if seconds * flops(*next) / flops(size) > LONGEST.as_secs_f64() {
            break;
        }
        size = *next;
        bench = square(device, size)?;
    }
    let mut products = Vec::new();
    for direction in [Direction::Linear, Direction::Transposed] {
        let transposed = direction == Direction::Transposed;
        for tile in Tile::all(limits, features) {
            let mut of_tile =
                checks.iter().filter(|check| (check.tile, check.transposed) == (tile, transposed));
            if of_tile.all(ProductCheck::has_passed) {
                let gflops = flops(size) / bench.time(direction, tile)?.seconds / 1e9;
                products.push(ProductSpeed { transposed, tile, gflops });
            }
        }
    }
    // This comes last, because a driver that cannot compile it may lose the device.
    let matrix_units_gflops = match features.cooperative_matrices {
        true => match measure_peak(device, Arithmetic::Cooperative) {
            Err(Error::Failed { .. } | Error::Lost { .. }) => None,
            peak => Some(peak?),
        },
        false => None,
    };
    let [n_tokens, n_embd] = size;
    Ok(Speed { peak_gflops, matrix_units_gflops, format: FORMAT.name(), n_tokens, n_embd, products })
}

/// Products of so many tokens with a square matrix.
fn square(device: &Arc<Device>, [n_tokens, n_embd]: [u32; 2]) -> Result<ProductBench, Error> {
    let n = n_embd as usize;
    let bytes = random_bytes(FORMAT, [n, n], &mut Random::new(0));
    let weights =
        Weights::new(FORMAT, n, n, &bytes).expect("the bytes are those of whole blocks of this shape");
    ProductBench::new(device.clone(), weights, n_tokens)
}

/// A multiplication and an addition for each token and each weight.
fn flops([n_tokens, n_embd]: [u32; 2]) -> f64 {
    2.0 * f64::from(n_tokens) * f64::from(n_embd).powi(2)
}

/// Billions of additions and multiplications a second with no memory in between: in multiply-adds of single precision, or with matrix
/// units, for products that are computed with them.
///
/// # Errors
/// Whatever the device answers: [`Error::Failed`], [`Error::OutOfMemory`], [`Error::Lost`], [`Error::Unfinished`].
pub fn measure_peak(device: &Device, arithmetic: Arithmetic) -> Result<f64, Error> {
    const WORKGROUPS: u32 = 256;
    let (program, invocations, flops) = peak(arithmetic);
    let pipeline = device.pipeline(&program)?;
    let output = device.zeros("output of a probe", u64::from(WORKGROUPS) * u64::from(invocations))?;
    let bindings = [Binding::whole(device, &output)?];
    let factor = 0.999_f32.to_bits();
    let run = device.dispatch(&pipeline, &bindings, &[factor], [WORKGROUPS, 1, 1])?;
    rate(device, &[run], &output, f64::from(WORKGROUPS) * flops)
}

/// A shader that computes all the time, the invocations of its workgroup, and what that computes.
fn peak(arithmetic: Arithmetic) -> (Program, u32, f64) {
    // Both have a loop of so many turns, and in each of them eight independent sums.
    const SUMS: f64 = 256.0 * 8.0;
    match arithmetic {
        Arithmetic::F32 | Arithmetic::F16 => {
            // Multiply-adds of four numbers in each invocation.
            (Program::new("peak", [include_str!("peak.wgsl")], []), 64, 64.0 * SUMS * 2.0 * 4.0)
        }
        Arithmetic::Cooperative => {
            // Products of matrices of 8 by 8 in each of four subgroups.
            let program = Program::new("peak", [include_str!("peak_cooperative.wgsl")], []);
            let program = program.with_extension(Some(MATRIX_UNITS));
            (program, 128, 4.0 * SUMS * 2.0 * 8.0 * 8.0 * 8.0)
        }
    }
}

/// Billions of operations a second of a run with so many.
fn rate(device: &Device, run: &[Dispatch], output: &Buffer, flops: f64) -> Result<f64, Error> {
    // The first one may be compiled by it, or wake the device up.
    time(device, run)?;
    let mut n_runs = 1;
    loop {
        let runs = std::iter::repeat_n(run, n_runs).flatten();
        let took = time(device, runs)?.max(Duration::from_nanos(1));
        if took >= SHORTEST || n_runs >= MOST_RUNS {
            device.read(output, 0, 4)?; // which tells whether all of it was run
            return Ok(flops * n_runs as f64 / took.as_secs_f64() / 1e9);
        }
        let factor = SHORTEST.as_secs_f64() * 1.5 / took.as_secs_f64();
        n_runs = (n_runs * factor.clamp(2.0, 8.0) as usize).min(MOST_RUNS);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{software_within, translate};
    use crate::{Limits, check_products};

    #[test]
    fn the_peak_of_matrix_units_translates_to_vulkan_and_metal() {
        let (program, invocations, _) = peak(Arithmetic::Cooperative);
        translate(&program.text(), Limits::LEAST.workgroup_bytes, invocations);
    }

    #[test]
    fn every_tile_is_timed_in_both_directions() {
        let device = software_within(Limits::LEAST);
        let checks = check_products(&mut || Ok(device.clone())).unwrap();
        let speed = measure_products(&device, &checks).unwrap();
        assert!(speed.peak_gflops > 0.0 && speed.products.iter().all(|product| product.gflops > 0.0));
        assert_eq!(speed.products.len(), 2 * Tile::all(&Limits::LEAST, &device.info().features).len());
        // A tile that computes wrong in a direction has no speed there.
        let wrong = ProductCheck { cosine: Some(0.7), ..checks[0].clone() };
        let speed_without = measure_products(&device, std::slice::from_ref(&wrong)).unwrap();
        let is_it =
            |product: &ProductSpeed| (product.tile, product.transposed) == (wrong.tile, wrong.transposed);
        assert_eq!(speed_without.products.len() + 1, speed.products.len());
        assert!(!speed_without.products.iter().any(is_it));
        for transposed in [false, true] {
            assert_eq!(speed.fastest(transposed).unwrap().transposed, transposed);
        }
    }
}
