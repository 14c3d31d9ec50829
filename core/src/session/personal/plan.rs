//! What a session learns from: the examples that are new, and some of the old ones, so that those are not forgotten.

use nightgraft_gguf::Fingerprint;
use nightgraft_policy::gate::GateRules;
use nightgraft_random::Random;
use nightgraft_store::Error as StoreError;
use nightgraft_store::{
    FileProblem, GraftEntry, GraftId, GraftMeta, GraftStatus, IdSet, Store, StoreProblem,
};
use nightgraft_text::Date;
use serde::{Deserialize, Serialize};

use super::NothingToDo;
use super::held_out::{HoldOut, Split, TooFew};
use crate::Result;
use crate::config::{OrAuto, Precision, TrainConfig};
use crate::error::SessionChange;
use crate::session::{DiscardReason, Event, Leftover};

/// The store's document that holds the plan of the session under way.
pub(super) const PLAN: &str = "session";
/// The document that remembers the last session that diverged.
const DIVERGED: &str = "diverged";
/// The document that remembers which examples were drawn to be held out.
const HELD_OUT: &str = "held-out";
/// Held-out examples that a session measures on, at most, unless the gate needs more.
const MAX_HELD_OUT: usize = 100;

/// A session's work, fixed when it begins: what is added to the store later waits for the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionPlan {
    pub(super) base: Fingerprint,
    /// Everything that decides the result, as TOML.
    pub(super) settings: String,
    /// The graft it starts from; none for the base.
    pub(super) parent: Option<GraftId>,
    /// What is trained on.
    pub(super) train: IdSet,
    /// The examples among `train` that the parent was trained on already.
    pub(super) replayed: IdSet,
    /// What is measured on.
    pub(super) held_out: IdSet,
    /// Tokens of a micro-batch: those of the settings, or fewer where memory is short. None until that is known.
    pub(super) batch_tokens: Option<usize>,
    /// Passes over the examples, which are decided at the same time. Plans did not always have them.
    #[serde(default)]
    pub(super) epochs: Option<u64>,
    /// The highest learning rate, likewise.
    #[serde(default)]
    pub(super) lr: Option<f64>,
    /// How products are computed, likewise.
    #[serde(default)]
    pub(super) precision: Option<Precision>,
    /// What the chat template takes for now until the session is over. Plans did not always have it.
    #[serde(default)]
    pub(super) date: Option<Date>,
}

/// The settings that may be left open, by their names in the file.
const LEFT_OPEN: [&str; 3] = ["batch_tokens", "epochs", "lr"];

/// How examples are chosen.
pub(super) struct Choice {
    /// Old examples for each new one.
    pub(super) replay: f64,
    /// The share of all examples that is never trained on.
    pub(super) held_out: f64,
}

/// What there is to do.
pub(super) enum Work {
    /// A session, and which examples were drawn to be held out for it or for an earlier one.
    Train(Box<SessionPlan>, IdSet),
    /// Only to use this graft again: it has seen everything but what was deleted.
    Return(GraftId),
    /// Nothing, for this reason.
    Nothing(NothingToDo),
}

/// Looks for work. `count` tells how many examples a stored line is to this model; it is asked about few of them in a
/// large store.
///
/// # Errors
/// [`StoreError::Refused`] if the graft in use belongs to another base; those of reading the store, [`StoreError::OtherBuild`] for what a
/// newer build remembers in it.
pub(super) fn plan(
    store: &Store,
    base: &Fingerprint,
    settings: &str,
    choice: &Choice,
    rules: &GateRules,
    count: impl Fn(&str) -> u64,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Work> {
    let live: Vec<u64> = store.examples().iter().map(|example| example.id.0).collect();
    if live.is_empty() {
        return Ok(Work::Nothing(NothingToDo::NoExamples));
    }
    let current = store.current()?;
    let ancestor = clean_ancestor(store, current, base)?;
    let (parent, seen) = match &ancestor {
        Ancestor::Clean(id, trained_on) => (Some(*id), trained_on.clone()),
        Ancestor::Damaged(..) | Ancestor::None => (None, IdSet::new()),
    };

    let hold_out = HoldOut { share: choice.held_out, at_least: rules.min_held_out, seed: store.seed() };
    let grafts = store.grafts()?;
    let drawn_before = match store.read_document(HELD_OUT) {
        Ok(Some(drawn)) => drawn,
        Ok(None) => inferred_held_out(&live, &grafts, &hold_out),
        Err(error @ StoreError::Corrupted { .. }) => {
            on_event(&Event::Discarded { what: Leftover::HeldOut, why: DiscardReason::from(&error) });
            inferred_held_out(&live, &grafts, &hold_out)
        }
        Err(error) => return Err(error.into()),
    };
    let count = |id: u64| {
        let place = store.examples().binary_search_by_key(&id, |example| example.id.0);
        place.map_or(0, |place| count(&store.examples()[place].line))
    };
    let Split { new, mut held_out, drawn } = match hold_out.split(&live, &seen, &drawn_before, count) {
        Ok(split) => split,
        Err(TooFew { have, need }) => return Ok(Work::Nothing(NothingToDo::TooFew { have, need })),
    };
    if new.is_empty() {
        return Ok(match parent {
            Some(parent) if Some(parent) != current => Work::Return(parent),
            _ => Work::Nothing(NothingToDo::EverythingLearned),
        });
    }
    let last_graft = grafts.last().map_or(0, |entry| entry.id.0);
    let mut random = Random::new(store.seed() ^ last_graft);
    let mut old: Vec<_> = live.iter().copied().filter(|id| seen.contains(*id)).collect();
    random.shuffle_upward(&mut old);
    old.truncate((choice.replay * new.len() as f64).round() as usize);
    random.shuffle_upward(&mut held_out);
    held_out.truncate(MAX_HELD_OUT.max(usize::try_from(rules.min_held_out).unwrap_or(usize::MAX)));
    let replayed: IdSet = old.iter().copied().collect();
    let plan = SessionPlan {
        base: *base,
        settings: settings.to_owned(),
        parent,
        train: new.into_iter().chain(old).collect(),
        replayed,
        held_out: held_out.into_iter().collect(),
        batch_tokens: None,
        epochs: None,
        lr: None,
        precision: None,
        date: None,
    };
    let diverged: Option<SessionPlan> = match store.read_document(DIVERGED) {
        Err(StoreError::Corrupted { .. }) => None, // tried once more
        read => read?,
    };
    if diverged.is_some_and(|diverged| plan.repeats(&diverged)) {
        return Ok(Work::Nothing(NothingToDo::DivergedBefore));
    }
    let measured = || plan.held_out.iter().map(count).sum();
    Ok(match earlier_attempt(store, &plan, &seen, rules, measured)? {
        Some(why) => Work::Nothing(why),
        None => {
            if let Ancestor::Damaged(id, problem) = ancestor {
                let why = DiscardReason::DamagedStart { problem };
                on_event(&Event::Discarded { what: Leftover::Start(id), why });
            }
            Work::Train(Box::new(plan), drawn)
        }
    })
}

/// Remembers what was drawn to be held out, so that it is not trained on later.
pub(super) fn remember_drawn(store: &Store, drawn: &IdSet) -> Result<()> {
    match store.read_document::<IdSet>(HELD_OUT) {
        Ok(Some(before)) if before == *drawn => Ok(()),
        Ok(None) if drawn.is_empty() => Ok(()),
        Ok(_) | Err(StoreError::Corrupted { .. }) => Ok(store.write_document(HELD_OUT, drawn)?),
        Err(error) => Err(error.into()),
    }
}

/// The examples that were drawn to be held out, as far as the grafts tell: a session learns all that is not held out, so that an
/// example was drawn if no graft was trained on it although one was trained on a later one. Examples that are always held
/// out are not among them.
fn inferred_held_out(live: &[u64], grafts: &[GraftEntry], hold_out: &HoldOut) -> IdSet {
    let metas: Vec<_> = grafts.iter().filter_map(|entry| entry.meta.as_ref()).collect();
    let seen = metas.iter().fold(IdSet::new(), |seen, meta| seen.union(&meta.trained_on));
    let newest = seen.last();
    // The next ones may be of the same time: what is drawn comes before all that is learned instead in the order of drawing.
    let highest_learned = |meta: &&GraftMeta| {
        let parent = metas.iter().find(|other| Some(other.id) == meta.parent);
        let learned = parent
            .map_or_else(|| meta.trained_on.clone(), |parent| meta.trained_on.difference(&parent.trained_on));
        learned.iter().map(|id| hold_out.draw_order(id)).max()
    };
    let last = metas.iter().copied().filter(|meta| meta.trained_on.last() == newest);
    let bar = last.filter_map(|meta| highest_learned(&meta)).min();
    let may_be_drawn = |id: &&u64| {
        hold_out.is_always_held_out(**id) || bar.is_some_and(|bar| hold_out.draw_order(**id) > bar)
    };
    let (earlier, later) = live.split_at(live.partition_point(|id| Some(*id) <= newest));
    let passed = earlier.iter().chain(later.iter().take_while(may_be_drawn)).copied();
    passed.filter(|id| !seen.contains(*id) && !hold_out.is_always_held_out(*id)).collect()
}

/// What became of a graft that learned the same from the same start, if there is one: refused by the same rules, or
/// taken out of use. Neither is done again each night. One that was only measured on too little is, once there is more.
fn earlier_attempt(
    store: &Store,
    plan: &SessionPlan,
    seen: &IdSet,
    rules: &GateRules,
    measured: impl Fn() -> u64,
) -> Result<Option<NothingToDo>> {
    let trained_on = seen.union(&plan.train);
    let grafts = store.grafts()?;
    let mut same =
        grafts.iter().filter_map(|entry| Some((entry, entry.meta.as_ref()?))).filter(|(_, meta)| {
            (meta.base, meta.parent, &meta.settings, &meta.trained_on)
                == (plan.base, plan.parent, &plan.settings, &trained_on)
        });
    let graft = |(entry, meta): (&GraftEntry, &GraftMeta)| {
        let graft = entry.id;
        match entry.status {
            GraftStatus::Refused if meta.gate.rules.as_ref() != Some(rules) => None,
            GraftStatus::Refused if meta.gate.lacks_held_out(measured()) => None,
            GraftStatus::Refused => Some(NothingToDo::RefusedBefore { graft }),
            _ => Some(NothingToDo::NotInUse { graft }),
        }
    };
    Ok(same.next_back().and_then(graft))
}

impl SessionPlan {
    /// Whether it would do again what `earlier` did. Which old examples are replayed is left to chance each time.
    fn repeats(&self, earlier: &Self) -> bool {
        let new = |plan: &Self| plan.train.difference(&plan.replayed);
        (self.base, &self.settings, self.parent) == (earlier.base, &earlier.settings, earlier.parent)
            && new(self) == new(earlier)
    }

    /// Whether the graft that it starts from is gone, or saw an example that was deleted since.
    pub(super) fn has_lost_its_start(&self, store: &Store) -> Result<bool> {
        let Some(parent) = self.parent else { return Ok(false) };
        match store.graft(parent) {
            Ok(parent) => Ok(!parent.meta.trained_on.intersection(store.deleted()).is_empty()),
            Err(StoreError::Refused { .. } | StoreError::Corrupted { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// What was decided when the session began, or what its settings name.
    pub(super) fn decided(&self) -> TrainConfig {
        let named = self.settings.split_inclusive('\n').filter(|line| LEFT_OPEN.contains(&key(line)));
        let named = TrainConfig::from_toml(&named.collect::<String>()).unwrap_or_default();
        let mut decided = TrainConfig::default();
        decided.data.batch_tokens = OrAuto::from(self.batch_tokens).or(named.data.batch_tokens);
        decided.run.epochs = OrAuto::from(self.epochs).or(named.run.epochs);
        decided.optimizer.lr = OrAuto::from(self.lr).or(named.optimizer.lr);
        decided.run.precision = self.precision.unwrap_or(Precision::Auto);
        decided
    }

    /// The settings, with those left open that `asked` leaves open: a session goes on with what it was begun with, also one that
    /// an earlier build began, whose defaults were numbers.
    fn settings_as_open_as(&self, asked: &str) -> String {
        let open: Vec<_> = asked
            .split_inclusive('\n')
            .filter(|line| LEFT_OPEN.contains(&key(line)) && line.ends_with("\"auto\"\n"))
            .collect();
        let as_open = |line| open.iter().find(|open| key(open) == key(line)).copied().unwrap_or(line);
        self.settings.split_inclusive('\n').map(as_open).collect()
    }

    /// Why the session cannot go on, if so.
    pub(super) fn difference(
        &self,
        store: &Store,
        base: &Fingerprint,
        settings: &str,
        date: Option<Date>,
    ) -> Option<SessionChange> {
        if self.base != *base {
            return Some(SessionChange::Base);
        }
        let missing = |ids: &IdSet| {
            ids.iter().any(|id| store.examples().binary_search_by_key(&id, |example| example.id.0).is_err())
        };
        if missing(&self.train) || missing(&self.held_out) {
            return Some(SessionChange::Examples);
        }
        if let (Some(then), Some(now)) = (self.date, date)
            && then != now
        {
            return Some(SessionChange::Date { then, now });
        }
        let begun = self.settings_as_open_as(settings);
        (begun != settings).then(|| {
            let lines = |from: &str, other: &str| -> Vec<String> {
                let differs = |line: &&str| !other.lines().any(|there| there == *line);
                from.lines().filter(differs).map(str::to_owned).collect()
            };
            SessionChange::Settings { then: lines(&begun, settings), now: lines(settings, &begun) }
        })
    }

    /// Remembers that this work came to nothing, so that it is not done again each night.
    pub(super) fn remember_diverged(&self, store: &mut Store) -> Result<()> {
        Ok(store.write_document(DIVERGED, self)?)
    }
}

/// The name of the setting on a line of TOML.
fn key(line: &str) -> &str {
    line.split_once(" = ").map_or("", |(key, _)| key)
}

/// What a session can start from.
enum Ancestor {
    /// This graft, which saw these examples.
    Clean(GraftId, IdSet),
    /// Not this graft, which is damaged, and so none before it.
    Damaged(GraftId, FileProblem),
    /// The base alone.
    None,
}

/// The nearest ancestor of `graft`, itself included, that saw none of the deleted examples.
fn clean_ancestor(store: &Store, graft: Option<GraftId>, base: &Fingerprint) -> Result<Ancestor> {
    let entries = store.grafts()?;
    let mut next = graft;
    while let Some(id) = next {
        let Some(entry) = entries.iter().find(|entry| entry.id == id) else { return Ok(Ancestor::None) };
        let Some(meta) = &entry.meta else {
            let problem = entry.problem.clone().unwrap_or(FileProblem::Unreadable);
            return Ok(Ancestor::Damaged(id, problem));
        };
        if meta.base != *base {
            let problem = StoreProblem::OtherBaseInUse { graft: id };
            return Err(StoreError::Refused { path: store.root().to_owned(), problem }.into());
        }
        if meta.trained_on.intersection(store.deleted()).is_empty() {
            return Ok(Ancestor::Clean(id, meta.trained_on.clone()));
        }
        next = meta.parent;
    }
    Ok(Ancestor::None)
}
