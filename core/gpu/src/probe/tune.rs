//! Which tiles are fastest on a device, for a matrix of the model that is trained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nightgraft_kernels::{Direction, Weights};
use serde::Serialize;

use super::product_bench::{ProductBench, TimedProduct};
use super::{LostBy, Opener};
use crate::product::Method;
use crate::{Arithmetic, Device, Error, Tile, Tiles};

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

/// Times products of `n_tokens` rows with weights in each of these tiles, or in as many as there is time for: one of each arithmetic in
/// each direction at least. Gives the fastest choice first. Others follow, with another arithmetic or with operands that are had in
/// another way, for a device on which the first turns out to compute wrong. All tiles of one arithmetic are to give the same bits.
///
/// A tile that a driver cannot compile, or refuses to run, is left out, also if the device is lost by it: `open` opens it anew. The
/// device that was opened last is given as well, which has compiled the tiles.
///
/// # Errors
/// Whatever the device answers: [`Error::Failed`] or [`Error::Lost`] if no arithmetic has a tile for both directions,
/// [`Error::OutOfMemory`], [`Error::Unfinished`]. [`Error::Stopped`] if `stop` is raised. Those of `open`.
pub fn tune(
    open: Opener,
    weights: Weights,
    n_tokens: u32,
    tiles: &[Tile],
    time: Duration,
    stop: &AtomicBool,
) -> Result<(Vec<Tuning>, Arc<Device>), Error> {
    let started = Instant::now();
    let mut device = open()?;
    let mut bench = ProductBench::new(device.clone(), weights, n_tokens)?;
    let (mut timed, mut lost_by) = (Vec::<TimedProduct>::new(), LostBy::default());
    let mut failure = Error::Failed { what: "tuning", reason: "there is no tile for this device".to_owned() };
    for &tile in tiles {
        for direction in [Direction::Linear, Direction::Transposed] {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let is_like = |timed: &TimedProduct| {
                (timed.direction, timed.tile.arithmetic()) == (direction, tile.arithmetic())
            };
            if lost_by.suggests(tile) || started.elapsed() >= time && timed.iter().any(is_like) {
                continue;
            }
            match bench.time(direction, tile) {
                Ok(time) => timed.push(time),
                Err(error @ Error::Failed { .. }) => failure = error,
                Err(error @ Error::Lost { .. }) if !lost_by.is_full() => {
                    failure = error;
                    lost_by.0.push(tile);
                    drop((bench, device)); // with their memory
                    device = open()?;
                    bench = ProductBench::new(device.clone(), weights, n_tokens)?;
                    break; // the other direction would do the same
                }
                Err(error) => return Err(error),
            }
        }
    }
    let tunings = choices(&timed);
    if tunings.is_empty() { Err(failure) } else { Ok((tunings, device)) }
}

/// The fastest tiles of each arithmetic and of each method, and the one of last resort, without repetition, the fastest first.
fn choices(timed: &[TimedProduct]) -> Vec<Tuning> {
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
    all.extend(fastest(&|tile| tile == Tile::LAST_RESORT));
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let mut seen = Vec::new();
    all.retain(|tuning| {
        let is_new = !seen.contains(&tuning.tiles);
        seen.push(tuning.tiles);
        is_new
    });
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_kernels::WeightType;
    use nightgraft_random::Random;

    use super::*;
    use crate::sample::random_bytes;
    use crate::testing::{software, software_adapter, software_within};
    use crate::{AdapterInfo, Limits, SimulatedFault};

    #[test]
    fn tiles_are_found_for_each_direction_however_little_time_there_is() {
        let least = software_within(Limits::LEAST);
        for (device, arithmetics) in
            [(&least, &[Arithmetic::F32][..]), (software(), &[Arithmetic::F32, Arithmetic::F16])]
        {
            let bytes = random_bytes(WeightType::Q4_1, [96, 64], &mut Random::new(1));
            let weights = Weights::new(WeightType::Q4_1, 96, 64, &bytes).unwrap();
            for time in [Duration::ZERO, Duration::from_secs(60)] {
                let AdapterInfo { limits, features, .. } = device.info();
                let all = Tile::all_of(arithmetics, limits, features);
                let open = &mut || Ok(device.clone());
                let (tunings, _) = tune(open, weights, 40, &all, time, &AtomicBool::new(false)).unwrap();
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
    }

    #[test]
    fn without_a_tile_or_when_stopped_nothing_is_found() {
        let bytes = [0; 16];
        let weights = Weights::new(WeightType::F32, 2, 2, &bytes).unwrap();
        let tune = |tiles: &[Tile], is_stopped| {
            let stop = AtomicBool::new(is_stopped);
            tune(&mut || Ok(software().clone()), weights, 1, tiles, Duration::ZERO, &stop).err()
        };
        assert!(matches!(tune(&[], false), Some(Error::Failed { what: "tuning", .. })));
        assert_eq!(tune(&Tile::ALL, true), Some(Error::Stopped));
    }

    #[test]
    fn a_tile_by_which_the_device_is_lost_is_left_out() {
        let bytes = random_bytes(WeightType::Q4_1, [96, 64], &mut Random::new(1));
        let weights = Weights::new(WeightType::Q4_1, 96, 64, &bytes).unwrap();
        let mut n_opened = 0;
        let mut open = || {
            n_opened += 1;
            let device = software_adapter().open(true)?;
            device.simulate(SimulatedFault::LostByHalves);
            Ok(Arc::new(device))
        };
        let AdapterInfo { limits, features, .. } = software().info();
        let mut tune = |arithmetics: &[Arithmetic]| {
            let tiles = Tile::all_of(arithmetics, limits, features);
            tune(&mut open, weights, 40, &tiles, Duration::ZERO, &AtomicBool::new(false))
        };
        let (tunings, device) = tune(&[Arithmetic::F16, Arithmetic::F32]).unwrap();
        assert!(tunings.iter().all(|tuning| tuning.tiles.linear.arithmetic() == Arithmetic::F32));
        device.wait().unwrap();
        assert!(matches!(tune(&[Arithmetic::F16]), Err(Error::Lost { .. })));
        assert_eq!(n_opened, 4, "once to begin with, and once after the loss");
    }
}
