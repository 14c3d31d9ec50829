//! How much is submitted at once: so little that the screen, the driver's watchdog and a request to stop do not wait for long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::device::Submission;
use crate::{Device, Dispatch, Error};

/// What a submission is meant to take. Two are under way at a time, so that the device does not wait for the host.
const AIM: Duration = Duration::from_millis(30);
const AT_ONCE: usize = 2;
/// What starting a dispatch costs, in multiply-adds of a modest device.
const START: u64 = 20_000;
/// Dispatches of a submission, at most: they are kept by the driver meanwhile.
const MOST_DISPATCHES: usize = 256;
/// Multiply-adds a second of a device of which nothing was measured: fewer than any GPU does.
pub const SLOWEST: f64 = 1e8;

/// What is submitted, and how fast the device was with it so far.
pub(super) struct Pace {
    /// Multiply-adds a second.
    rate: f64,
    under_way: VecDeque<Submitted>,
    /// When the device was last seen to have finished something.
    done: Instant,
    longest: Duration,
    submissions: u64,
}

struct Submitted {
    submission: Submission,
    work: u64,
    at: Instant,
}

impl Pace {
    /// For a device that does so many multiply-adds a second.
    pub fn new(rate: f64) -> Self {
        Self {
            rate: rate.max(1.0),
            under_way: VecDeque::new(),
            done: Instant::now(),
            longest: Duration::ZERO,
            submissions: 0,
        }
    }

    /// Multiply-adds of a submission, and so of a dispatch at most.
    pub fn most_work(&self) -> u64 {
        (self.rate * AIM.as_secs_f64()) as u64
    }

    /// Submissions so far, and the longest that one took.
    pub fn submitted(&self) -> (u64, Duration) {
        (self.submissions, self.longest)
    }

    /// Submits these in pieces, and waits until at most two pieces are under way.
    ///
    /// # Errors
    /// [`Error::Stopped`] if `stop` is raised: what was submitted before runs to its end. Those of [`Device::submit`] and
    /// [`Device::wait`].
    pub fn run(
        &mut self,
        device: &Device,
        dispatches: impl IntoIterator<Item = Dispatch>,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        let (mut piece, mut work) = (Vec::new(), 0);
        for dispatch in dispatches {
            let more = dispatch.multiply_adds() + START;
            if !piece.is_empty() && (work + more > self.most_work() || piece.len() == MOST_DISPATCHES) {
                self.submit(device, &piece, std::mem::take(&mut work), stop)?;
                piece.clear();
            }
            work += more;
            piece.push(dispatch);
        }
        if piece.is_empty() { Ok(()) } else { self.submit(device, &piece, work, stop) }
    }

    /// Forgets what is under way, because all of it was waited for.
    pub fn all_done(&mut self) {
        self.under_way.clear();
        self.done = Instant::now();
    }

    fn submit(
        &mut self,
        device: &Device,
        piece: &[Dispatch],
        work: u64,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        while self.under_way.len() >= AT_ONCE {
            self.wait_for_oldest(device)?;
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let at = Instant::now();
        let submission = device.submit(piece)?;
        self.submissions += 1;
        self.under_way.push_back(Submitted { submission, work, at });
        Ok(())
    }

    fn wait_for_oldest(&mut self, device: &Device) -> Result<(), Error> {
        let Some(Submitted { submission, work, at }) = self.under_way.pop_front() else { return Ok(()) };
        device.wait_for(&submission)?;
        let now = Instant::now();
        let took = now.duration_since(at.max(self.done));
        self.done = now;
        self.longest = self.longest.max(took);
        self.rate = adapted(self.rate, work, took);
        Ok(())
    }
}

/// The rate after a submission of so much work took so long. One that was short, of which starting it was a large part, can show that
/// the device is faster, and not that it is slower.
fn adapted(rate: f64, work: u64, took: Duration) -> f64 {
    let measured = work as f64 / took.as_secs_f64().max(1e-6);
    let least = if took < AIM / 2 { rate } else { rate / 2.0 };
    measured.clamp(least, rate * 1.25).max(SLOWEST / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_device() {
        let ms = Duration::from_millis;
        // The device is as fast as was thought, slower, and much slower.
        assert_eq!(adapted(1e9, 30_000_000, ms(30)), 1e9);
        assert_eq!(adapted(1e9, 30_000_000, ms(40)), 7.5e8);
        assert_eq!(adapted(1e9, 30_000_000, ms(3000)), 5e8);
        assert_eq!(adapted(1e9, 20_000_000, ms(1)), 1.25e9);
        assert_eq!(adapted(1e9, 30_000, ms(1)), 1e9, "little work in a short time shows nothing");
        assert_eq!(adapted(1e7, 1, ms(3000)), 1e7, "a device that hangs has a least piece");
    }
}
