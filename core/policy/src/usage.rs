//! What was spent on each day, for the daily budgets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LocalTime, Rules};

/// Days that are remembered. One would do if clocks only went forward.
const DAYS: usize = 32;

/// The ledger of the daily budgets; keep it with the store.
///
/// It is a ledger by day, not a counter that is reset: a clock that goes back, or forward and back, finds what
/// that day has already spent, so no day has its budget twice, and none is blocked by a date that never was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// No day twice; the one that was added to last is last.
    days: Vec<Spent>,
}

/// What was spent on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// The day's number, as [`LocalTime::day`] counts.
    pub day: i64,
    /// Seconds of work; pauses between pieces of work do not count.
    pub seconds: f64,
    /// Energy in Wh, by the rules' assumed power.
    pub energy_wh: f64,
    /// Bytes written to storage.
    pub bytes_written: u64,
}

impl Usage {
    /// Adds `busy` time of work and `bytes_written` to the day that `now` shows.
    pub fn add(&mut self, rules: &Rules, now: LocalTime, busy: Duration, bytes_written: u64) {
        let mut spent = self.on(rules, now);
        spent.seconds += busy.as_secs_f64();
        spent.energy_wh += rules.watts.max(0.0) * busy.as_secs_f64() / 3600.0;
        spent.bytes_written = spent.bytes_written.saturating_add(bytes_written);
        self.days.retain(|day| day.day != spent.day);
        self.days.push(spent);
        let forgotten = self.days.len().saturating_sub(DAYS);
        self.days.drain(..forgotten);
    }

    /// What the day that `now` shows has spent so far.
    pub fn on(&self, rules: &Rules, now: LocalTime) -> Spent {
        let day = now.day(rules.day_begins);
        let found = self.days.iter().rev().find(|spent| spent.day == day);
        found.copied().unwrap_or(Spent { day, ..Spent::default() })
    }

    /// All days that are remembered; the one that was added to last is last.
    pub fn days(&self) -> &[Spent] {
        &self.days
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOUR: i64 = 3600;

    fn at(day: i64, hour: i64) -> LocalTime {
        LocalTime { unix: day * 86_400 + hour * HOUR, utc_offset: 0 }
    }

    #[test]
    fn a_night_is_one_day() {
        let rules = Rules { watts: 6.0, ..Rules::default() };
        let mut usage = Usage::default();
        usage.add(&rules, at(10, 23), Duration::from_secs(1800), 500);
        usage.add(&rules, at(11, 4), Duration::from_secs(600), 70);
        assert_eq!(
            usage.on(&rules, at(11, 11)),
            Spent { day: 10, seconds: 2400.0, energy_wh: 4.0, bytes_written: 570 }
        );
        assert_eq!(usage.on(&rules, at(11, 12)), Spent { day: 11, ..Spent::default() });
        assert_eq!(usage.days().len(), 1);
    }

    #[test]
    fn a_clock_that_goes_back_finds_what_was_spent() {
        let rules = Rules::default();
        let mut usage = Usage::default();
        for (day, seconds) in [(10, 100), (11, 20), (10, 3), (90_000, 50), (10, 1)] {
            usage.add(&rules, at(day, 13), Duration::from_secs(seconds), 0);
        }
        let seconds = [10, 11, 12, 90_000].map(|day| usage.on(&rules, at(day, 13)).seconds);
        assert_eq!(seconds, [104.0, 20.0, 0.0, 50.0]);
    }

    #[test]
    fn the_ledger_stays_small_and_whole() {
        let rules = Rules::default();
        let mut usage = Usage::default();
        for day in 0..500 {
            usage.add(&rules, at(day, 13), Duration::from_secs(60), 1);
        }
        assert_eq!(usage.days().len(), DAYS);
        assert_eq!(usage.days().last().unwrap().day, 499);
        for _ in 0..3 {
            usage.add(&rules, at(499, 13), Duration::MAX, u64::MAX);
        }
        let json = serde_json::to_string(&usage).unwrap();
        assert_eq!(serde_json::from_str::<Usage>(&json).unwrap(), usage);
        assert_eq!(usage.on(&rules, at(499, 13)).bytes_written, u64::MAX);
        assert_eq!(serde_json::from_str::<Usage>("{}").unwrap(), Usage::default());
    }

    #[test]
    fn no_clock_panics() {
        let rules = Rules::default();
        let mut usage = Usage::default();
        for unix in [i64::MIN, -1, 0, i64::MAX] {
            for utc_offset in [i32::MIN, 0, i32::MAX] {
                usage.add(&rules, LocalTime { unix, utc_offset }, Duration::from_secs(1), 1);
            }
        }
        let seconds: f64 = usage.days().iter().map(|day| day.seconds).sum();
        assert_eq!(seconds, 12.0);
    }
}
