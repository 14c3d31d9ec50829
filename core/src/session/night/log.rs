//! What became of each night, as the store remembers it.

use std::time::Duration;

use nightgraft_policy::gate::Refusal;
use nightgraft_policy::{LocalTime, Reason, ReasonKind};
use nightgraft_store::{GraftId, Store, StoreReader};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::session::{NothingToDo, Pause, SliceOutcome};

/// The document of the store that has the log.
pub(super) const NIGHTS: &str = "nights";
/// Nights that are kept, the latest ones.
const KEPT: usize = 100;
/// Clocks are set and rounded: a night that seems to have begun so many seconds earlier or later is the same.
const SAME_BEGINNING: u64 = 2;

/// What became of one night: of one grant, or of all that a platform counts as one night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightRecord {
    /// When it began, in seconds since 1970, by the device's clock.
    pub began: i64,
    /// Seconds from then until the record was last written.
    pub seconds: f64,
    /// Seconds of them in which it worked, rests of a warm device included.
    pub running: f64,
    /// What it waited for, each kind once, in the order in which it came up.
    pub waits: Vec<NightWait>,
    /// Optimizer steps that were made.
    pub steps: u64,
    /// How it ended; none while it goes on, and of one whose process was killed.
    pub end: Option<NightEnd>,
}

/// For how long a night waited for something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NightWait {
    /// For what.
    pub kind: ReasonKind,
    /// How long, all such waits together.
    pub seconds: f64,
}

/// How a night ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NightEnd {
    /// Its time was up, and the training goes on with the next.
    GoesOn,
    /// It was stopped: by its owner or the app, unless the system did it.
    Stopped {
        /// Why the system did, as far as it was noted ([`note_interruption`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Interruption>,
    },
    /// There was nothing to train.
    NothingToDo {
        /// Why.
        #[serde(flatten)]
        reason: NothingToDo,
    },
    /// The session is over, and its result was judged.
    Finished {
        /// The new graft; none if training diverged.
        graft: Option<GraftId>,
        /// Whether it came into use.
        promoted: bool,
        /// What the gate has against it.
        refusals: Vec<Refusal>,
    },
    /// An error ended it.
    Failed,
}

/// Why a device's system stopped a night before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Interruption {
    /// The time that it gives was over.
    #[strum(to_string = "its time was over")]
    TimeUp,
    /// The charger was taken away.
    #[strum(to_string = "the charger was taken away")]
    NotCharging,
    /// Somebody began to use the device.
    #[strum(to_string = "the device came into use")]
    InUse,
    /// The battery ran low.
    #[strum(to_string = "the battery ran low")]
    BatteryLow,
    /// Storage ran low.
    #[strum(to_string = "storage ran low")]
    StorageLow,
    /// Something else was more important.
    #[strum(to_string = "something was more important")]
    Preempted,
    /// The app may work in the background no longer, or no more for now.
    #[strum(to_string = "the app may not work now")]
    Restricted,
    /// The user ended it, in the system's own screens.
    #[strum(to_string = "the user ended it")]
    User,
    /// It does not say.
    #[strum(to_string = "the system does not say why")]
    Unknown,
}

/// The nights of a store, oldest first; the latest hundred.
///
/// # Errors
/// Those of [`StoreReader::read_document`].
pub fn nights(store: &StoreReader) -> Result<Vec<NightRecord>> {
    Ok(store.read_document(NIGHTS)?.unwrap_or_default())
}

/// Enters why the system stopped the last night: who is stopped hears that from somebody else than who works. Nothing is
/// changed if that night has ended otherwise, or not yet.
///
/// # Errors
/// Those of [`StoreReader::read_document`] and [`Store::write_document`].
pub fn note_interruption(store: &Store, reason: Interruption) -> Result<()> {
    let mut nights = nights(&store.reader())?;
    if let Some(NightRecord { end: Some(NightEnd::Stopped { by }), .. }) = nights.last_mut() {
        *by = Some(reason);
        store.write_document(NIGHTS, &nights)?;
    }
    Ok(())
}

/// The log with tonight's record, its last one.
pub(super) struct NightLog {
    nights: Vec<NightRecord>,
    tonight: NightRecord,
}

impl NightLog {
    /// The log after these `nights`, at so much device time after tonight began. Goes on with the last record if that is of
    /// tonight.
    pub(super) fn new(mut nights: Vec<NightRecord>, now: LocalTime, elapsed: Duration) -> Self {
        let began = now.unix.saturating_sub_unsigned(elapsed.as_secs());
        let is_tonight = |last: &mut NightRecord| last.began.abs_diff(began) <= SAME_BEGINNING;
        let tonight = nights.pop_if(is_tonight).unwrap_or_else(|| NightRecord::beginning(began));
        let forgotten = (nights.len() + 1).saturating_sub(KEPT);
        nights.drain(..forgotten);
        Self { nights, tonight: NightRecord { end: None, ..tonight } }
    }

    /// Enters that it waited; returns whether for something new.
    pub(super) fn waited(&mut self, reason: &Reason, time: Duration) -> bool {
        let (kind, seconds) = (reason.kind(), time.as_secs_f64());
        match self.tonight.waits.iter_mut().find(|wait| wait.kind == kind) {
            Some(wait) => {
                wait.seconds += seconds;
                false
            }
            None => {
                self.tonight.waits.push(NightWait { kind, seconds });
                true
            }
        }
    }

    /// Enters that it worked.
    pub(super) fn worked(&mut self, steps: u64, time: Duration) {
        self.tonight.steps += steps;
        self.tonight.running += time.as_secs_f64();
    }

    /// Enters how it ended.
    pub(super) fn ended(&mut self, outcome: &Result<SliceOutcome>) {
        self.tonight.end = Some(match outcome {
            Ok(SliceOutcome::Finished { report }) => NightEnd::Finished {
                graft: report.graft,
                promoted: report.promoted,
                refusals: report.gate.refusals.clone(),
            },
            Ok(SliceOutcome::NothingToDo { reason }) => NightEnd::NothingToDo { reason: *reason },
            Ok(SliceOutcome::Paused { reason: Pause::Stopped }) => NightEnd::Stopped { by: None },
            Ok(SliceOutcome::Paused { .. }) => NightEnd::GoesOn,
            Err(_) => NightEnd::Failed,
        });
    }

    /// Puts it into the store, at so much device time after tonight began. Where there is no room for that, the night goes on.
    pub(super) fn write(&mut self, store: &Store, elapsed: Duration) {
        self.tonight.seconds = elapsed.as_secs_f64();
        let all: Vec<_> = self.nights.iter().chain([&self.tonight]).collect();
        if let Err(error) = store.write_document(NIGHTS, &all) {
            tracing::warn!(%error, "the log of nights cannot be written");
        }
    }
}

impl NightRecord {
    fn beginning(began: i64) -> Self {
        Self { began, seconds: 0.0, running: 0.0, waits: Vec::new(), steps: 0, end: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_latest_hundred_nights_are_kept_and_one_that_goes_on_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), nightgraft_store::StoreOptions::default()).unwrap();
        let reader = store.reader();
        assert_eq!(nights(&reader).unwrap(), []);
        let at = |seconds: u64| {
            let now = LocalTime { unix: 1_790_000_000 + seconds as i64, utc_offset: 3600 };
            NightLog::new(nights(&reader).unwrap(), now, Duration::from_secs(seconds % 1000))
        };
        for night in 0..150 {
            let mut log = at(1000 * night + 10);
            log.worked(night, Duration::from_secs(3));
            log.write(&store, Duration::from_secs(13));
            // Another process goes on.
            let mut log = at(1000 * night + 401);
            assert!(log.waited(&Reason::InUse, Duration::from_secs(4)));
            assert!(!log.waited(&Reason::JustUsed { seconds: 9 }, Duration::from_secs(2)));
            log.ended(&Ok(SliceOutcome::Paused { reason: Pause::Deadline }));
            log.write(&store, Duration::from_secs(410));
        }
        let kept = nights(&reader).unwrap();
        assert_eq!((kept.len(), kept[0].began, kept[99].began), (100, 1_790_050_000, 1_790_149_000));
        let last = NightRecord {
            began: 1_790_149_000,
            seconds: 410.0,
            running: 3.0,
            waits: vec![NightWait { kind: ReasonKind::InUse, seconds: 6.0 }],
            steps: 149,
            end: Some(NightEnd::GoesOn),
        };
        assert_eq!(kept[99], last);
    }

    #[test]
    fn an_interruption_is_entered_into_a_night_that_was_stopped_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), nightgraft_store::StoreOptions::default()).unwrap();
        note_interruption(&store, Interruption::InUse).unwrap();
        assert_eq!(nights(&store.reader()).unwrap(), [], "there is none");
        let end_after = |outcome: SliceOutcome| {
            let now = LocalTime { unix: 1_790_000_000, utc_offset: 3600 };
            let mut log = NightLog::new(Vec::new(), now, Duration::ZERO);
            log.ended(&Ok(outcome));
            log.write(&store, Duration::ZERO);
            note_interruption(&store, Interruption::InUse).unwrap();
            nights(&store.reader()).unwrap().remove(0).end.unwrap()
        };
        let stopped = SliceOutcome::Paused { reason: Pause::Stopped };
        assert_eq!(end_after(stopped), NightEnd::Stopped { by: Some(Interruption::InUse) });
        assert_eq!(end_after(SliceOutcome::Paused { reason: Pause::Deadline }), NightEnd::GoesOn);
    }

    #[test]
    fn the_format_stays_what_it_is() {
        let record = |end| NightRecord {
            began: 1_790_000_000,
            seconds: 3600.5,
            running: 1200.25,
            waits: vec![NightWait { kind: ReasonKind::NotCharging, seconds: 600.0 }],
            steps: 40,
            end,
        };
        let refusals = vec![Refusal::TooFewHeldOut { examples: 2, needed: 4 }];
        let nights = [
            record(None),
            record(Some(NightEnd::NothingToDo { reason: NothingToDo::TooFew { have: 3, need: 16 } })),
            record(Some(NightEnd::Finished { graft: Some(GraftId(7)), promoted: false, refusals })),
            record(Some(NightEnd::Failed)),
            record(Some(NightEnd::Stopped { by: None })),
            record(Some(NightEnd::Stopped { by: Some(Interruption::TimeUp) })),
        ];
        let lines = nights.each_ref().map(|night| serde_json::to_string(night).unwrap());
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"began":1790000000,"seconds":3600.5,"running":1200.25,"waits":[{"kind":"not_charging","seconds":600.0}],"steps":40,"end":null}
        {"began":1790000000,"seconds":3600.5,"running":1200.25,"waits":[{"kind":"not_charging","seconds":600.0}],"steps":40,"end":{"end":"nothing_to_do","reason":"too_few","have":3,"need":16}}
        {"began":1790000000,"seconds":3600.5,"running":1200.25,"waits":[{"kind":"not_charging","seconds":600.0}],"steps":40,"end":{"end":"finished","graft":7,"promoted":false,"refusals":[{"reason":"too_few_held_out","examples":2,"needed":4}]}}
        {"began":1790000000,"seconds":3600.5,"running":1200.25,"waits":[{"kind":"not_charging","seconds":600.0}],"steps":40,"end":{"end":"failed"}}
        {"began":1790000000,"seconds":3600.5,"running":1200.25,"waits":[{"kind":"not_charging","seconds":600.0}],"steps":40,"end":{"end":"stopped"}}
        {"began":1790000000,"seconds":3600.5,"running":1200.25,"waits":[{"kind":"not_charging","seconds":600.0}],"steps":40,"end":{"end":"stopped","by":"time_up"}}
        "#);
        for (line, night) in lines.iter().zip(nights) {
            assert_eq!(serde_json::from_str::<NightRecord>(line).unwrap(), night);
        }
    }
}
