//! What was spent on each day, for the daily budgets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LocalTime, Rules};

/// Days that are remembered. One would do if clocks only went forward.
const DAYS: usize = 32;

/// The ledger of the daily budgets; keep it with the store.
///
/// It is a ledger by day, not a counter that is reset: a clock that goes back, or forward and back, finds what that day has already
/// spent, so no day has its budget twice, and none is blocked by a date that never was.
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
