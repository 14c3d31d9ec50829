//! What the policy remembers between two looks at the device.

use serde::{Deserialize, Serialize};

use super::{DeviceState, LocalTime, Needs, Rules};

/// What lies behind the last decisions: which marks were crossed and when. Start with the default; keep it with
/// the session, so that a new process does not begin by overheating a phone that was cooling down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyMemory {
    /// The battery fell below its floor and has not come back to the upper mark.
    pub(super) battery_low: bool,
    /// When it became too warm, until it has cooled down.
    pub(super) hot_since: Option<i64>,
    /// When the device was last seen in use, until the grace is over.
    pub(super) used_at: Option<i64>,
    /// There was too little memory for the whole plan, and is not clearly enough yet.
    pub(super) full_plan_refused: bool,
    /// As above, for the small plan.
    pub(super) small_plan_refused: bool,
    /// There was too little storage, and is not clearly enough yet.
    pub(super) storage_low: bool,
}

impl PolicyMemory {
    /// Takes a look into account. The readings must be sane.
    ///
    /// All marks are followed, also those that decide nothing now: a phone that gets hot while it is unplugged
    /// still has to cool down when it is plugged in again.
    pub(super) fn observe(&mut self, rules: &Rules, state: &DeviceState, needs: &Needs) {
        if state.battery < rules.battery_floor {
            self.battery_low = true;
        } else if state.battery >= rules.battery_resume {
            self.battery_low = false;
        }
        self.observe_heat(rules, state);
        self.observe_use(rules, state);
        let memory = |needed: u64| needed.saturating_add(rules.memory_reserve);
        latch(&mut self.full_plan_refused, state.memory_available, memory(needs.memory));
        latch(
            &mut self.small_plan_refused,
            state.memory_available,
            memory(needs.small_memory.unwrap_or(needs.memory)),
        );
        latch(&mut self.storage_low, state.storage_free, needs.storage.saturating_add(rules.storage_reserve));
    }

    fn observe_heat(&mut self, rules: &Rules, state: &DeviceState) {
        let too_hot = state.thermal >= rules.pause_at_thermal
            || state.temperature.is_some_and(|t| t >= rules.pause_at_celsius);
        if too_hot {
            self.hot_since = Some(began(self.hot_since, state.time));
        } else if self.hot_since.is_some() && cool(rules, state) {
            self.hot_since = unless_over(self.hot_since, state.time, rules.cool_down_seconds);
        }
    }

    fn observe_use(&mut self, rules: &Rules, state: &DeviceState) {
        self.used_at = if !state.idle {
            Some(state.time.unix)
        } else {
            unless_over(self.used_at, state.time, rules.idle_grace_seconds)
        };
    }
}

/// Whether both the level and the temperature allow to go on.
pub(super) fn cool(rules: &Rules, state: &DeviceState) -> bool {
    state.thermal <= rules.resume_at_thermal && state.temperature.is_none_or(|t| t <= rules.resume_at_celsius)
}

/// Seconds that are left of `length` since `began`.
pub(super) fn left_of(length: u64, began: i64, now: LocalTime) -> u64 {
    length.saturating_sub(now.since(began).unwrap_or(0))
}

/// The upper mark of a quantity that must be at least `floor`.
pub(super) fn resume_mark(floor: u64) -> u64 {
    floor.saturating_add(floor / 8)
}

/// `refused` from below the floor until an eighth above it.
fn latch(refused: &mut bool, value: u64, floor: u64) {
    if value < floor {
        *refused = true;
    } else if value >= resume_mark(floor) {
        *refused = false;
    }
}

/// The earlier beginning, unless the clock was set back before it.
fn began(since: Option<i64>, now: LocalTime) -> i64 {
    since.filter(|&since| now.since(since).is_some()).unwrap_or(now.unix)
}

/// The beginning of a wait, none once `length` has passed. A clock that was set back starts the wait again, so that it
/// is never longer than its length on the new clock.
fn unless_over(since: Option<i64>, now: LocalTime, length: u64) -> Option<i64> {
    let since = began(Some(since?), now);
    (left_of(length, since, now) > 0).then_some(since)
}
