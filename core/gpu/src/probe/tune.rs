//! Which tiles are fastest on a device, for a matrix of the model that is trained.

use std::time::{Duration, Instant};

use nightgraft_kernels::Direction;
use serde::Serialize;

use super::speed::time;
use crate::{
    AdapterInfo, Arithmetic, Buffer, BufferRows, Device, Dispatch, Error, Matrix, Product, SLOWEST, Tile,
    Tiles,
};

/// What a measurement takes at least: starting it counts little against that.
const SHORTEST: Duration = Duration::from_millis(10);
/// Work of a dispatch, in multiply-adds: what the slowest device does in some tens of milliseconds.
const PIECE: u64 = (SLOWEST / 25.0) as u64;

/// The fastest tiles of an arithmetic, of those that were tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// The tile of each direction.
    pub tiles: Tiles,
    /// Multiply-adds a second, of the slower direction with its fastest tile.
    pub multiply_adds_per_second: f64,
    /// What a multiply-add takes on average, in seconds.
    seconds: f64,
}

/// Times products of `n_tokens` rows with a matrix in every tile of these arithmetics, or in as many as there is time for: one of each
/// arithmetic in each direction at least. Gives the fastest tiles of each, the fastest arithmetic first. All tiles of one give the
/// same bits.
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
    arithmetics: &[Arithmetic],
    time: Duration,
) -> Result<Vec<Tuning>, Error> {
    let started = Instant::now();
    let bench = Bench::new(device, matrix, n_tokens)?;
    let AdapterInfo { limits, features, .. } = device.info();
    let all = arithmetics.iter().map(|&arithmetic| Tile::all_with(arithmetic, limits, features));
    let mut tried: Vec<(Vec<Tile>, [Fastest; 2])> = all.map(|tiles| (tiles, [None; 2])).collect();
    let mut failure = Error::Failed { what: "tuning", reason: "there is no tile for this device".to_owned() };
    // The first tile of each arithmetic, then the second of each.
    for i in 0..tried.iter().map(|(tiles, _)| tiles.len()).max().unwrap_or(0) {
        for (tiles, fastest) in &mut tried {
            let Some(&tile) = tiles.get(i) else { continue };
            for (direction, fastest) in [Direction::Linear, Direction::Transposed].into_iter().zip(fastest) {
                if i > 0 && started.elapsed() >= time {
                    break;
                }
                match bench.rate(direction, tile) {
                    Ok(rate) if fastest.is_none_or(|(_, best)| rate > best) => *fastest = Some((tile, rate)),
                    Ok(_) => {}
                    Err(error @ Error::Failed { .. }) => failure = error,
                    Err(error) => return Err(error),
                }
            }
        }
    }
    let mut tunings: Vec<Tuning> = tried.into_iter().filter_map(|(_, fastest)| Tuning::of(fastest)).collect();
    tunings.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    if tunings.is_empty() { Err(failure) } else { Ok(tunings) }
}

/// The fastest tile of those that were tried, and its multiply-adds a second.
type Fastest = Option<(Tile, f64)>;

impl Tuning {
    /// Of the fastest tile of each direction and its rate, if both have one.
    fn of(fastest: [Fastest; 2]) -> Option<Self> {
        let [Some((linear, forward)), Some((transposed, back))] = fastest else { return None };
        Some(Self {
            tiles: Tiles { linear, transposed },
            multiply_adds_per_second: forward.min(back),
            seconds: (1.0 / forward + 1.0 / back) / 2.0,
        })
    }
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
        let floats = |columns: u32| u64::from(n_tokens) * u64::from(columns);
        let narrow = device.zeros("input of a probe", floats(matrix.n_cols()))?;
        let wide = device.zeros("output of a probe", floats(matrix.n_rows()))?;
        let scales = device.zeros("factors of a probe", floats(2))?;
        Ok(Self { device, matrix, n_tokens, narrow, wide, scales })
    }

    /// Multiply-adds a second.
    fn rate(&self, direction: Direction, tile: Tile) -> Result<f64, Error> {
        let Self { device, matrix, n_tokens, narrow, wide, scales } = self;
        let rows = |buffer, n_cols| BufferRows::whole(buffer, [*n_tokens, n_cols]);
        let (narrow, wide) = (rows(narrow, matrix.n_cols())?, rows(wide, matrix.n_rows())?);
        let (input, output) = match direction {
            Direction::Linear => (narrow, wide),
            Direction::Transposed => (wide, narrow),
        };
        let (scale, accumulate, scales) = (1.0, false, Some(rows(scales, 2)?));
        let product = Product { matrix, direction, input, output, scale, accumulate, scales };
        rate(device, &device.product_in_pieces(&product, tile, PIECE)?)
    }
}

/// Multiply-adds a second of as many of these pieces as it takes to tell.
fn rate(device: &Device, pieces: &[Dispatch]) -> Result<f64, Error> {
    // The driver may compile it now; in half precision the factors of rows come first.
    time(device, &pieces[..pieces.len().min(2)])?;
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
    use crate::testing::{software, software_within};

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
                let tunings = tune(device, &matrix, 40, arithmetics, time).unwrap();
                assert_eq!(tunings.len(), arithmetics.len());
                assert!(tunings.is_sorted_by(|a, b| a.seconds <= b.seconds));
                for Tuning { tiles, multiply_adds_per_second, .. } in tunings {
                    let AdapterInfo { limits, features, .. } = device.info();
                    let arithmetic = tiles.linear.arithmetic();
                    assert!(tiles.linear.fits(limits, features) && tiles.transposed.fits(limits, features));
                    assert!(arithmetics.contains(&arithmetic) && tiles.transposed.arithmetic() == arithmetic);
                    assert!(multiply_adds_per_second > 0.0);
                }
            }
        }
        let (matrix, none) = (least.zeros("a matrix", 4).unwrap(), Duration::ZERO);
        let matrix = Matrix::of_floats(&least, BufferRows::whole(&matrix, [2, 2]).unwrap()).unwrap();
        let refused = tune(&least, &matrix, 1, &[Arithmetic::F16], none).unwrap_err();
        assert!(matches!(refused, Error::Failed { what: "tuning", .. }), "{refused}");
    }
}
