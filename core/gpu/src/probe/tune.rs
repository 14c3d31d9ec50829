//! Which tiles are fastest on a device, for a matrix of the model that is trained.

use std::time::{Duration, Instant};

use nightgraft_kernels::Direction;
use serde::Serialize;

use super::speed::time;
use crate::{Arithmetic, BufferRows, Device, Dispatch, Error, Matrix, Product, SLOWEST, Tile, Tiles};

/// What a measurement takes at least: starting it counts little against that.
const SHORTEST: Duration = Duration::from_millis(10);
/// Work of a dispatch, in multiply-adds: what the slowest device does in some tens of milliseconds.
const PIECE: u64 = (SLOWEST / 25.0) as u64;

/// The fastest tiles of those that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// The tile of each direction.
    pub tiles: Tiles,
    /// Multiply-adds a second, of the slower direction with its fastest tile.
    pub multiply_adds_per_second: f64,
}

/// Times products of `n_tokens` rows with a matrix in every tile of this arithmetic, or in as many as there is time for: one in each
/// direction at least. All give the same bits, so that the choice changes nothing but the speed.
///
/// # Errors
/// Whatever the device answers: [`Error::Failed`], [`Error::OutOfMemory`], [`Error::Lost`], [`Error::Unfinished`].
pub fn tune(
    device: &Device,
    matrix: &Matrix,
    n_tokens: u32,
    arithmetic: Arithmetic,
    time: Duration,
) -> Result<Tuning, Error> {
    let started = Instant::now();
    let (n_rows, n_cols) = (matrix.n_rows(), matrix.n_cols());
    let floats = |columns: u32| u64::from(n_tokens) * u64::from(columns);
    let narrow = device.zeros("input of a probe", floats(n_cols))?;
    let wide = device.zeros("output of a probe", floats(n_rows))?;
    let (narrow, wide) =
        (BufferRows::whole(&narrow, [n_tokens, n_cols])?, BufferRows::whole(&wide, [n_tokens, n_rows])?);
    let scales = device.zeros("factors of a probe", floats(2))?;
    let scales = Some(BufferRows::whole(&scales, [n_tokens, 2])?);
    let mut fastest: [Option<(Tile, f64)>; 2] = [None; 2];
    for (i, tile) in Tile::all_with(arithmetic, &device.limits()).into_iter().enumerate() {
        for (direction, fastest) in [Direction::Linear, Direction::Transposed].into_iter().zip(&mut fastest) {
            if i > 0 && started.elapsed() >= time {
                break;
            }
            let (input, output) = match direction {
                Direction::Linear => (narrow, wide),
                Direction::Transposed => (wide, narrow),
            };
            let (scale, accumulate) = (1.0, false);
            let product = Product { matrix, direction, input, output, scale, accumulate, scales };
            let rate = rate(device, &device.product_in_pieces(&product, tile, PIECE)?)?;
            if fastest.is_none_or(|(_, best)| rate > best) {
                *fastest = Some((tile, rate));
            }
        }
    }
    let unmeasured = (Tile::unmeasured(n_tokens).with_arithmetic(arithmetic), SLOWEST);
    let [(linear, forward), (transposed, back)] = fastest.map(|found| found.unwrap_or(unmeasured));
    Ok(Tuning { tiles: Tiles { linear, transposed }, multiply_adds_per_second: forward.min(back) })
}

/// Multiply-adds a second of as many of these pieces as it takes to tell.
fn rate(device: &Device, pieces: &[Dispatch]) -> Result<f64, Error> {
    // The driver may compile it now.
    time(device, &pieces[..1])?;
    let mut n = 1;
    loop {
        let run = &pieces[..n];
        let took = time(device, run)?.max(Duration::from_micros(1));
        if took >= SHORTEST || n == pieces.len() {
            let work: u64 = run.iter().map(Dispatch::multiply_adds).sum();
            return Ok(work as f64 / took.as_secs_f64());
        }
        n = (4 * n).min(pieces.len());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_kernels::{WeightType, Weights};
    use nightgraft_random::Random;

    use super::*;
    use crate::Limits;
    use crate::sample::random_bytes;
    use crate::testing::software_within;

    #[test]
    fn a_tile_is_found_for_each_direction_however_little_time_there_is() {
        let device = software_within(Limits::LEAST);
        let bytes = random_bytes(WeightType::Q4_1, [96, 64], &mut Random::new(1));
        let matrix = device.upload_matrix(Weights::new(WeightType::Q4_1, 96, 64, &bytes).unwrap()).unwrap();
        for time in [Duration::ZERO, Duration::from_secs(60)] {
            let Tuning { tiles, multiply_adds_per_second } =
                tune(&device, &matrix, 40, Arithmetic::F32, time).unwrap();
            assert!(tiles.linear.fits(&Limits::LEAST) && tiles.transposed.fits(&Limits::LEAST));
            assert!(multiply_adds_per_second > 0.0);
        }
    }
}
