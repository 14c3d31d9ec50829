//! Which tiles are fastest on a device, for a matrix of the model that is trained.

use std::time::{Duration, Instant};

use nightgraft_kernels::Direction;
use serde::Serialize;

use super::speed::time;
use crate::product::Method;
use crate::{Arithmetic, Buffer, BufferRows, Device, Dispatch, Error, Matrix, Product, SLOWEST, Tile, Tiles};

/// What a measurement takes at least: starting it counts little against that.
const SHORTEST: Duration = Duration::from_millis(10);
/// The most times that a small product is run in a submission.
const MOST_RUNS: usize = 256;
/// Work of the first dispatch, in multiply-adds: what the slowest device does in some tens of milliseconds.
const PIECE: u64 = (SLOWEST / 25.0) as u64;

/// Tiles for both directions, and how fast they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// The tile of each direction.
    pub tiles: Tiles,
    /// Multiply-adds a second, of the slower direction.
    pub multiply_adds_per_second: f64,
    /// What a product in each direction takes together.
    seconds: f64,
}

/// One tile in one direction.
struct Timed {
    tile: Tile,
    direction: Direction,
    /// What the whole product takes.
    seconds: f64,
    /// Multiply-adds a second, those of edges that lie outside of the product among them: a dispatch counts them, too.
    rate: f64,
}

/// Times products of `n_tokens` rows with a matrix in each of these tiles, or in as many as there is time for: one of each arithmetic in
/// each direction at least. Gives the fastest choice first. Others follow, with another arithmetic or with operands that are had in
/// another way, for a device on which the first turns out to compute wrong. All tiles of one arithmetic are to give the same bits.
///
/// A tile that a driver cannot compile, or refuses to run, is left out.
///
/// # Errors
/// Whatever the device answers: [`Error::Failed`] if no arithmetic has a tile for both directions, [`Error::OutOfMemory`],
/// [`Error::Lost`], [`Error::Unfinished`].
pub fn tune(
    device: &Device,
    matrix: &Matrix,
    n_tokens: u32,
    tiles: &[Tile],
    time: Duration,
) -> Result<Vec<Tuning>, Error> {
    let started = Instant::now();
    let bench = Bench::new(device, matrix, n_tokens)?;
    let mut timed: Vec<Timed> = Vec::new();
    let mut failure = Error::Failed { what: "tuning", reason: "there is no tile for this device".to_owned() };
    for &tile in tiles {
        for direction in [Direction::Linear, Direction::Transposed] {
            let is_like =
                |timed: &Timed| (timed.direction, timed.tile.arithmetic()) == (direction, tile.arithmetic());
            if started.elapsed() >= time && timed.iter().any(is_like) {
                continue;
            }
            match bench.time(direction, tile) {
                Ok(time) => timed.push(time),
                Err(error @ Error::Failed { .. }) => failure = error,
                Err(error) => return Err(error),
            }
        }
    }
    let tunings = choices(&timed);
    if tunings.is_empty() { Err(failure) } else { Ok(tunings) }
}

/// The fastest tiles of each arithmetic and of each method, and the one of last resort, without repetition, the fastest first.
fn choices(timed: &[Timed]) -> Vec<Tuning> {
    let fastest = |is_allowed: &dyn Fn(Tile) -> bool| -> Option<Tuning> {
        let of = |direction| {
            let allowed = timed.iter().filter(|timed| timed.direction == direction && is_allowed(timed.tile));
            allowed.min_by(|a, b| a.seconds.total_cmp(&b.seconds))
        };
        let (linear, transposed) = (of(Direction::Linear)?, of(Direction::Transposed)?);
        Some(Tuning {
            tiles: Tiles { linear: linear.tile, transposed: transposed.tile },
            multiply_adds_per_second: linear.rate.min(transposed.rate),
            seconds: linear.seconds + transposed.seconds,
        })
    };
    let of_arithmetic = |arithmetic| fastest(&|tile| tile.arithmetic() == arithmetic);
    let of_method = |method| fastest(&|tile| tile.method() == method);
    let mut all: Vec<_> = Arithmetic::ALL.into_iter().filter_map(of_arithmetic).collect();
    all.extend(Method::ALL.into_iter().filter_map(of_method));
    all.extend(fastest(&|tile| tile == Tile::unmeasured(u32::MAX)));
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let mut seen = Vec::new();
    all.retain(|tuning| {
        let is_new = !seen.contains(&tuning.tiles);
        seen.push(tuning.tiles);
        is_new
    });
    all
}

/// Memory for products with a matrix, in both directions.
struct Bench<'a> {
    device: &'a Device,
    matrix: &'a Matrix,
    n_tokens: u32,
    /// Rows as wide as the matrix has columns.
    narrow: Buffer,
    /// Rows as wide as the matrix has rows.
    wide: Buffer,
    scales: Buffer,
}

impl<'a> Bench<'a> {
    fn new(device: &'a Device, matrix: &'a Matrix, n_tokens: u32) -> Result<Self, Error> {
        // What it computes with zeros may be faster than anything else.
        let ones = |columns: u32| vec![1.0; n_tokens as usize * columns as usize];
        let narrow = device.upload_floats("input of a probe", &ones(matrix.n_cols()))?;
        let wide = device.upload_floats("output of a probe", &ones(matrix.n_rows()))?;
        let scales = device.zeros("factors of a probe", 2 * u64::from(n_tokens))?;
        Ok(Self { device, matrix, n_tokens, narrow, wide, scales })
    }

    /// Times so much of a product as it takes to tell, from little on, so that a slow device is not kept busy for long.
    fn time(&self, direction: Direction, tile: Tile) -> Result<Timed, Error> {
        let Self { device, matrix, n_tokens, narrow, wide, scales } = self;
        let rows = |buffer, n_cols| BufferRows::whole(buffer, [*n_tokens, n_cols]);
        let (narrow, wide) = (rows(narrow, matrix.n_cols())?, rows(wide, matrix.n_rows())?);
        let (input, output) = match direction {
            Direction::Linear => (narrow, wide),
            Direction::Transposed => (wide, narrow),
        };
        let (scale, accumulate, scales) = (1.0, false, Some(rows(scales, 2)?));
        let product = Product { matrix, direction, input, output, scale, accumulate, scales };
        let (mut piece, mut n_runs) = (PIECE, 1);
        let mut is_compiled = false;
        loop {
            let pieces = device.product_in_pieces(&product, tile, piece)?;
            let work = |pieces: &[Dispatch]| pieces.iter().map(Dispatch::multiply_adds).sum::<u64>();
            let total = work(&pieces);
            let is_whole = piece >= total;
            // In half precision the factors of rows come first.
            let first = usize::from(tile.arithmetic() == Arithmetic::F16);
            let run = if is_whole { &pieces[..] } else { &pieces[first..=first] };
            if !is_compiled {
                time(device, if is_whole { &pieces[..] } else { &pieces[..=first] })?;
                is_compiled = true;
            }
            let runs = std::iter::repeat_n(run, n_runs).flatten();
            let took = time(device, runs)?.max(Duration::from_micros(1)).as_secs_f64();
            if took >= SHORTEST.as_secs_f64() || n_runs >= MOST_RUNS {
                let rate = (n_runs as u64 * work(run)) as f64 / took;
                return Ok(Timed { tile, direction, seconds: total as f64 / rate, rate });
            }
            match is_whole {
                true => n_runs *= 4,
                false => piece = piece.saturating_mul(4),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_kernels::{WeightType, Weights};
    use nightgraft_random::Random;

    use super::*;
    use crate::sample::random_bytes;
    use crate::testing::{software, software_within};
    use crate::{AdapterInfo, Limits};

    #[test]
    fn tiles_are_found_for_each_direction_however_little_time_there_is() {
        let least = software_within(Limits::LEAST);
        for (device, arithmetics) in
            [(&least, &[Arithmetic::F32][..]), (software(), &[Arithmetic::F32, Arithmetic::F16])]
        {
            let bytes = random_bytes(WeightType::Q4_1, [96, 64], &mut Random::new(1));
            let weights = Weights::new(WeightType::Q4_1, 96, 64, &bytes).unwrap();
            let matrix = device.upload_matrix(weights).unwrap();
            for time in [Duration::ZERO, Duration::from_secs(60)] {
                let AdapterInfo { limits, features, .. } = device.info();
                let all = Tile::all_of(arithmetics, limits, features);
                let tunings = tune(device, &matrix, 40, &all, time).unwrap();
                assert!(tunings.is_sorted_by(|a, b| a.seconds <= b.seconds));
                for (i, tuning) in tunings.iter().enumerate() {
                    assert!(tunings[i + 1..].iter().all(|other| other.tiles != tuning.tiles));
                }
                for arithmetic in arithmetics {
                    let has = |tuning: &Tuning| tuning.tiles.linear.arithmetic() == *arithmetic;
                    assert!(tunings.iter().any(has), "{arithmetic:?}");
                }
                for Tuning { tiles, multiply_adds_per_second, .. } in tunings {
                    let arithmetic = tiles.linear.arithmetic();
                    assert!(tiles.linear.fits(limits, features) && tiles.transposed.fits(limits, features));
                    assert!(arithmetics.contains(&arithmetic) && tiles.transposed.arithmetic() == arithmetic);
                    assert!(multiply_adds_per_second > 0.0);
                }
            }
        }
        let (matrix, none) = (least.zeros("a matrix", 4).unwrap(), Duration::ZERO);
        let matrix = Matrix::of_floats(&least, BufferRows::whole(&matrix, [2, 2]).unwrap()).unwrap();
        let refused = tune(&least, &matrix, 1, &[], none).unwrap_err();
        assert!(matches!(refused, Error::Failed { what: "tuning", .. }), "{refused}");
    }
}
