//! The time that a product takes on a device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nightgraft_kernels::{Direction, Weights};

use crate::{Arithmetic, Buffer, BufferRows, Device, Dispatch, Error, Matrix, Product, SLOWEST, Tile};

/// What a measurement takes at least: starting it counts little against that.
const SHORTEST: Duration = Duration::from_millis(10);
/// The most times that a small product is run in a submission.
const MOST_RUNS: usize = 256;
/// Work of the first dispatch, in multiply-adds: what the slowest device does in some tens of milliseconds.
const PIECE: u64 = (SLOWEST / 25.0) as u64;

/// Memory for products with a matrix, in both directions.
pub(super) struct ProductBench {
    device: Arc<Device>,
    matrix: Matrix,
    n_tokens: u32,
    /// Rows as wide as the matrix has columns.
    narrow: Buffer,
    /// Rows as wide as the matrix has rows.
    wide: Buffer,
    scales: Buffer,
}

/// One tile in one direction.
pub(super) struct TimedProduct {
    pub tile: Tile,
    pub direction: Direction,
    /// What the whole product takes.
    pub seconds: f64,
    /// Multiply-adds a second, those of edges that lie outside of the product among them: a dispatch counts them, too.
    pub rate: f64,
}

impl ProductBench {
    /// For products of `n_tokens` rows.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::OverLimit`], [`Error::Lost`], [`Error::Unfinished`].
    pub fn new(device: Arc<Device>, weights: Weights, n_tokens: u32) -> Result<Self, Error> {
        let matrix = device.upload_matrix(weights)?;
        // What it computes with zeros may be faster than anything else.
        let ones = |columns: u32| vec![1.0; n_tokens as usize * columns as usize];
        let narrow = device.upload_floats("input of a probe", &ones(matrix.n_cols()))?;
        let wide = device.upload_floats("output of a probe", &ones(matrix.n_rows()))?;
        let scales = device.zeros("factors of a probe", 2 * u64::from(n_tokens))?;
        Ok(Self { device, matrix, n_tokens, narrow, wide, scales })
    }

    /// Times so much of a product as it takes to tell, from little on, so that a slow device is not kept busy for long.
    ///
    /// # Errors
    /// Those of [`Device::product_in_pieces`] and of submitting.
    pub fn time(&self, direction: Direction, tile: Tile) -> Result<TimedProduct, Error> {
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
                // Nothing is as fast as what was not run.
                device.read(output.buffer(), 0, 4)?;
                let rate = (n_runs as u64 * work(run)) as f64 / took;
                return Ok(TimedProduct { tile, direction, seconds: total as f64 / rate, rate });
            }
            match is_whole {
                true => n_runs *= 4,
                false => piece = piece.saturating_mul(4),
            }
        }
    }
}

/// How long a run takes, from its start to the word of its end.
pub(super) fn time<'a>(
    device: &Device,
    run: impl IntoIterator<Item = &'a Dispatch>,
) -> Result<Duration, Error> {
    device.wait()?;
    let started = Instant::now();
    device.submit(run)?;
    device.wait()?;
    Ok(started.elapsed())
}
