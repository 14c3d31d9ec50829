//! A night on a device: what the policy allows, the session does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nightgraft_policy::{
    self, Decision, DeviceState, Estimate, LocalTime, MemoryMode, Needs, Pace, PolicyMemory, Reason, Rules,
    Usage,
};
use nightgraft_store::Error as StoreError;
use nightgraft_store::Store;
use serde::{Deserialize, Serialize};

use super::log::{NIGHTS, NightLog};
use super::work::Work;
use super::{NightEvent, NightOutcome, Platform, SliceEnd};
use crate::Result;
use crate::session::{Event, Pause, Session, Slice, SliceOutcome, StopFlag, Watch};

/// Documents in the store: what was spent on each day, what the policy remembers, what each night got done.
const USAGE: &str = "usage";
const POLICY: &str = "policy";
const PACES: &str = "paces";
/// The longest slice (device time): then the policy is asked anew, and what was spent is entered exactly.
const LONGEST_SLICE: Duration = Duration::from_secs(15 * 60);
/// How far ahead (device time) the ledger is during a slice.
const AHEAD: Duration = Duration::from_secs(60);
/// The device is looked at this often (device time), within bounds of real time.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const LOOKS_APART: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_millis(500);
/// Duties that differ by less are told as one.
const SAME_DUTY: f64 = 0.05;

/// What the device's system has granted.
#[derive(Debug, Clone, Copy)]
pub struct GrantedTime {
    /// Device time until the process has to be quiet; none for no limit.
    pub time: Option<Duration>,
    /// Whether no other grant follows tonight, as far as is known: then the estimate may count a whole night.
    pub last: bool,
}

/// Runs `session` in one grant: looks at the device, waits or runs as `rules` say, until the session is over, the
/// grant ends or `stop` is raised. Everything is saved at the end.
///
/// # Errors
/// Those of [`Session::run_slice`] and of the platform.
pub fn run_night(
    session: &mut Session,
    platform: &mut (dyn Platform + Send),
    rules: &Rules,
    grant: GrantedTime,
    stop: &StopFlag,
    on_event: &mut dyn FnMut(&NightEvent),
) -> Result<SliceOutcome> {
    run(session, platform, rules, grant, stop, on_event)
}

fn run(
    session: &mut impl Work,
    platform: &mut (dyn Platform + Send),
    rules: &Rules,
    grant: GrantedTime,
    stop: &StopFlag,
    on_event: &mut dyn FnMut(&NightEvent),
) -> Result<SliceOutcome> {
    rules.validate()?;
    let on_event: &mut dyn FnMut(&NightEvent) = &mut |event| {
        event.log();
        on_event(event);
    };
    if let Some(reason) = session.nothing_to_do() {
        // Nobody waits for the charger to hear that, or needs a device that can be asked.
        let outcome = Ok(SliceOutcome::NothingToDo { reason });
        let (state, now) = (platform.state(), platform.elapsed());
        if let Ok(state) = state {
            let mut log = log(session.store(), state.time, now)?;
            log.ended(&outcome);
            log.write(session.store(), now);
        }
        let at = now.as_secs_f64();
        on_event(&NightEvent::NothingToDo { at, reason });
        on_event(&NightEvent::Done { at, outcome: NightOutcome::NothingToDo });
        return outcome;
    }
    let (state, now) = (platform.state()?, platform.elapsed());
    let mut night = Night {
        rules,
        ends: grant.time.map(|time| now + time),
        usage: usage(session.store())?,
        memory: document(session.store(), POLICY)?,
        nights: document(session.store(), PACES)?,
        log: log(session.store(), state.time, now)?,
        waiting_for: None,
        pace: Pace::default(),
        total_steps: session.total_steps(),
    };
    // A night that is killed before anything else is written has been one, too.
    night.log.write(session.store(), now);
    let ended = night.run(session, platform, stop, on_event);
    night.log.ended(&ended);
    night.log.write(session.store(), platform.elapsed());
    let at = platform.elapsed().as_secs_f64();
    if let Some(estimate) = night.estimate(session, platform.state()?, grant.last)? {
        let Estimate { remaining, running, nights, text } = estimate;
        let seconds = running.map(|running| running.as_secs_f64());
        on_event(&NightEvent::Estimate { at, remaining, seconds, nights, text });
    }
    let outcome = ended?;
    let told = match &outcome {
        SliceOutcome::Finished { .. } => NightOutcome::Finished,
        SliceOutcome::NothingToDo { .. } => NightOutcome::NothingToDo,
        SliceOutcome::Paused { reason: Pause::Stopped } => NightOutcome::Stopped,
        SliceOutcome::Paused { .. } => NightOutcome::GoesOn,
    };
    on_event(&NightEvent::Done { at, outcome: told });
    Ok(outcome)
}

/// What the nights so far have spent, as the store remembers it.
///
/// # Errors
/// Those of reading the store.
pub fn usage(store: &Store) -> Result<Usage> {
    document(store, USAGE)
}

/// The log of the nights in the store, for one that began so much device time ago.
fn log(store: &Store, now: LocalTime, elapsed: Duration) -> Result<NightLog> {
    Ok(NightLog::new(document(store, NIGHTS)?, now, elapsed))
}

struct Night<'a> {
    rules: &'a Rules,
    /// When the grant ends, in device time; none for no limit.
    ends: Option<Duration>,
    usage: Usage,
    memory: PolicyMemory,
    /// What each night before got done.
    nights: Vec<NightPace>,
    log: NightLog,
    /// What was told last.
    waiting_for: Option<Reason>,
    pace: Pace,
    total_steps: Option<u64>,
}

/// What a slice was decided to run with.
struct SliceTerms {
    needs: Needs,
    duty: f64,
    memory_mode: MemoryMode,
    time: Duration,
}

/// What one night got done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct NightPace {
    /// The day's number, as the ledger counts.
    day: i64,
    pace: Pace,
}

impl Night<'_> {
    fn run(
        &mut self,
        session: &mut impl Work,
        platform: &mut (dyn Platform + Send),
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&NightEvent),
    ) -> Result<SliceOutcome> {
        loop {
            let now = platform.elapsed();
            let left = self.ends.map_or(Duration::MAX, |ends| ends.saturating_sub(now));
            if stop.is_raised() {
                return Ok(SliceOutcome::Paused { reason: Pause::Stopped });
            }
            if left.is_zero() {
                return Ok(SliceOutcome::Paused { reason: Pause::Deadline });
            }
            let state = platform.state()?;
            on_event(&state_event(&state, now));
            let needs = session.needs();
            match nightgraft_policy::decide(self.rules, &state, &needs, &self.usage, &mut self.memory) {
                Decision::Wait { reason, look_again } => {
                    if self.waiting_for.as_ref() != Some(&reason) {
                        on_event(&NightEvent::Waiting { at: now.as_secs_f64(), reason: reason.clone() });
                        self.waiting_for = Some(reason.clone());
                    }
                    platform.wait(look_again.min(left), stop);
                    let waited = platform.elapsed().saturating_sub(now);
                    if self.log.waited(&reason, waited) {
                        self.log.write(session.store(), platform.elapsed());
                    }
                }
                Decision::Run { duty, memory_mode, at_most, reason } => {
                    self.waiting_for = None;
                    on_event(&NightEvent::Running { at: now.as_secs_f64(), duty, reason });
                    session.set_small(memory_mode == MemoryMode::Small);
                    let time = at_most.min(left).min(LONGEST_SLICE);
                    let terms = SliceTerms { needs, duty, memory_mode, time };
                    let outcome = self.slice(session, platform, terms, stop, on_event)?;
                    if !matches!(
                        outcome,
                        SliceOutcome::Paused { reason: Pause::Deadline | Pause::Policy { .. } }
                    ) {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// One slice, watched, and entered in the ledger.
    fn slice(
        &mut self,
        session: &mut impl Work,
        platform: &mut (dyn Platform + Send),
        SliceTerms { needs, duty, memory_mode: running_mode, time }: SliceTerms,
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&NightEvent),
    ) -> Result<SliceOutcome> {
        let rules = self.rules;
        let began = platform.elapsed();
        let time = platform.real_time(time);
        let watch_every = platform.real_time(LOOK_EVERY).clamp(*LOOKS_APART.start(), *LOOKS_APART.end());
        // However fast a simulation is, the ledger is not written more often than the longest time between two looks.
        let enter_every = AHEAD.max(platform.device_time(*LOOKS_APART.end()));
        let vault = session.store().vault().clone();
        let written_before = vault.bytes_written();
        // The thread that watches and the one that computes both look at the clock, and both have something to tell.
        let platform = Mutex::new(platform);
        let from_watch = Mutex::new(Vec::new());
        let (memory, usage) = (&mut self.memory, &self.usage);
        let mut told_duty = duty;
        // What is about to be spent is entered before it is: a process that is killed has spent it all the same.
        let ledger = session.store().document_writer(USAGE)?;
        let mut entered: Option<Duration> = None;
        let mut watch = || {
            let (now, state) = {
                let mut platform = lock(&platform);
                (platform.elapsed(), platform.state())
            };
            let Ok(state) = state else {
                // Nobody knows how the device is: the next look, between two slices, will say what is wrong.
                return Watch::Pause(Pause::Deadline);
            };
            lock(&from_watch).push(state_event(&state, now));
            let mut spent = usage.clone();
            let written = vault.bytes_written().saturating_sub(written_before);
            spent.add(rules, state.time, now.saturating_sub(began).mul_f64(told_duty), written);
            if entered.is_none_or(|at| now.saturating_sub(at) >= enter_every) {
                entered = Some(now);
                let mut ahead = spent.clone();
                ahead.add(rules, state.time, AHEAD.mul_f64(told_duty), 0);
                if let Err(error) = ledger.write(&ahead) {
                    tracing::warn!(%error, "the ledger cannot be written");
                }
            }
            match nightgraft_policy::decide(rules, &state, &needs, &spent, memory) {
                // Another mode begins with another slice.
                Decision::Run { memory_mode, .. } if memory_mode != running_mode => {
                    Watch::Pause(Pause::Deadline)
                }
                Decision::Run { duty, reason, .. } => {
                    if (duty - told_duty).abs() > SAME_DUTY {
                        told_duty = duty;
                        lock(&from_watch).push(NightEvent::Running { at: now.as_secs_f64(), duty, reason });
                    }
                    Watch::Continue { duty }
                }
                Decision::Wait { reason, .. } => Watch::Pause(Pause::Policy { reason }),
            }
        };
        let mut steps = 0;
        let busy_before = session.busy();
        let slice = Slice { time: Some(time), watch: Some(&mut watch), watch_every };
        let outcome = session.run_slice(slice, stop, &mut |event| {
            // Told without the lock: whoever listens may be slow.
            let told = std::mem::take(&mut *lock(&from_watch));
            told.iter().for_each(&mut *on_event);
            steps += u64::from(matches!(event, Event::Step(_)));
            let at = lock(&platform).elapsed().as_secs_f64();
            if let Some(event) = night_event(event, at) {
                on_event(&event);
            }
        });
        let platform = platform.into_inner().unwrap_or_else(PoisonError::into_inner);
        for event in from_watch.into_inner().unwrap_or_else(PoisonError::into_inner) {
            on_event(&event);
        }

        let now = platform.elapsed();
        let running = now.saturating_sub(began);
        self.log.worked(steps, running);
        let busy = platform.device_time(session.busy().saturating_sub(busy_before)).min(running);
        let written = vault.bytes_written().saturating_sub(written_before);
        self.usage.add(rules, platform.state()?.time, busy, written);
        session.store().write_document(USAGE, &self.usage)?;
        session.store().write_document(POLICY, &self.memory)?;
        self.pace.steps += steps;
        self.pace.running += running;
        self.log.write(session.store(), now);
        let outcome = outcome?;
        // A deadline before the grant's end is only for the ledger, or asks for a new decision.
        let goes_on = matches!(outcome, SliceOutcome::Paused { reason: Pause::Deadline })
            && self.ends.is_none_or(|ends| now < ends);
        if !goes_on {
            on_event(&NightEvent::SliceEnded { at: now.as_secs_f64(), outcome: end_of(&outcome) });
        }
        if let SliceOutcome::Paused { reason: Pause::Policy { reason } } = &outcome {
            on_event(&NightEvent::Waiting { at: now.as_secs_f64(), reason: reason.clone() });
            self.waiting_for = Some(reason.clone());
        }
        Ok(outcome)
    }

    /// Enters what was done and says how much longer it takes; nothing for a session without steps.
    fn estimate(&self, session: &impl Work, state: DeviceState, over: bool) -> Result<Option<Estimate>> {
        let Some(total) = self.total_steps else { return Ok(None) };
        let mut nights = self.nights.clone();
        let day = state.time.day(self.rules.day_begins);
        let earlier = nights.iter().find(|night| night.day == day).map_or_else(Pace::default, |n| n.pace);
        nights.retain(|night| night.day != day);
        let before: Vec<Pace> = nights.iter().map(|night| night.pace).collect();
        let tonight =
            Pace { steps: earlier.steps + self.pace.steps, running: earlier.running + self.pace.running };
        nights.push(NightPace { day, pace: tonight });
        let forgotten = nights.len().saturating_sub(MAX_NIGHTS);
        nights.drain(..forgotten);
        session.store().write_document(PACES, &nights)?;
        let remaining = total.saturating_sub(session.steps().unwrap_or(total));
        Ok(Some(nightgraft_policy::estimate(remaining, tonight, over, &before)))
    }
}

/// Nights that the store remembers.
const MAX_NIGHTS: usize = 32;

/// A document, or an empty one in place of one that is missing or damaged: none of them is worth a night.
///
/// # Errors
/// [`StoreError::OtherBuild`] for one of another build, which is not overwritten; [`Error::Io`](crate::Error::Io).
fn document<T: serde::de::DeserializeOwned + Default>(store: &Store, name: &'static str) -> Result<T> {
    match store.read_document(name) {
        Ok(found) => Ok(found.unwrap_or_default()),
        Err(error @ StoreError::Corrupted { .. }) => {
            tracing::warn!(%error, "begun anew");
            Ok(T::default())
        }
        Err(error) => Err(error.into()),
    }
}

fn state_event(state: &DeviceState, at: Duration) -> NightEvent {
    NightEvent::State {
        at: at.as_secs_f64(),
        temperature: state.temperature,
        battery: state.battery,
        charging: state.charging,
    }
}

/// The training's events as the night's.
fn night_event(event: &Event, at: f64) -> Option<NightEvent> {
    Some(match event {
        Event::Step(step) => NightEvent::Step {
            at,
            step: step.step,
            loss: step.loss,
            tokens_per_second: step.tokens_per_second,
            seconds: step.seconds,
            rss_bytes: step.rss_bytes,
        },
        Event::Judging => NightEvent::Judging { at },
        Event::Evaluated { step, loss, .. } => NightEvent::Evaluated { at, step: *step, loss: *loss },
        Event::Saved { step } => NightEvent::Saved { at, step: *step },
        Event::Judged(report) => {
            NightEvent::Gate { at, promoted: report.promote, report: report.to_string() }
        }
        event => NightEvent::Warning { at, text: event.warning()? },
    })
}

fn end_of(outcome: &SliceOutcome) -> SliceEnd {
    match outcome {
        SliceOutcome::Paused { reason: Pause::Stopped } => SliceEnd::Stopped,
        SliceOutcome::Paused { reason: Pause::Deadline } => SliceEnd::TimeUp,
        SliceOutcome::Paused { reason: Pause::Policy { .. } } => SliceEnd::Paused,
        SliceOutcome::Finished { .. } | SliceOutcome::NothingToDo { .. } => SliceEnd::Finished,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
