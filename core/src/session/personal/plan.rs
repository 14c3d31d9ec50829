//! What a session learns from: the examples that are new, and some of the old ones, so that those are not forgotten.

use serde::{Deserialize, Serialize};

use crate::gate::GateRules;
use crate::gguf::Fingerprint;
use crate::random::Random;
use crate::store::{GraftId, GraftStatus, IdSet, Store};
use crate::text::Date;
use crate::{Error, Result};

/// The store's document that holds the plan of the session under way.
pub(super) const PLAN: &str = "session";
/// The document that remembers the last session that diverged.
const DIVERGED: &str = "diverged";
/// Held-out examples that a session measures on, at most.
const MAX_HELD_OUT: usize = 100;
/// With fewer examples than this, none is forced out of training to be measured on.
const MIN_TO_HOLD_OUT: usize = 4;

/// A session's work, fixed when it begins: what is added to the store later waits for the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) base: Fingerprint,
    /// Everything that decides the result, as TOML.
    pub(super) settings: String,
    /// The graft it starts from; none for the base.
    pub(super) parent: Option<GraftId>,
    /// What is trained on.
    pub(super) train: IdSet,
    /// Those among `train` that the parent has seen already.
    pub(super) replayed: IdSet,
    /// What is measured on.
    pub(super) held_out: IdSet,
    /// Tokens of a micro-batch: those of the settings, or fewer where memory is short. None until that is known.
    pub(super) batch_tokens: Option<usize>,
    /// What the chat template takes for now until the session is over. Plans did not always have it.
    #[serde(default)]
    pub(super) date: Option<Date>,
}

/// How examples are chosen.
pub(super) struct Choice {
    /// Old examples for each new one.
    pub(super) replay: f64,
    /// The share of all examples that is never trained on.
    pub(super) held_out: f64,
}

/// What there is to do.
pub(super) enum Work {
    /// A session.
    Train(Plan),
    /// Only to use this graft again: it has seen everything but what was deleted.
    Return(GraftId),
    /// Nothing, for this reason.
    Nothing(String),
}

/// Looks for work.
///
/// # Errors
/// [`Error::Store`] if the graft in use belongs to another base; those of reading the store.
pub(super) fn plan(
    store: &Store,
    base: &Fingerprint,
    settings: &str,
    choice: &Choice,
    rules: &GateRules,
) -> Result<Work> {
    let live: Vec<u64> = store.examples().iter().map(|example| example.id.0).collect();
    if live.is_empty() {
        return Ok(Work::Nothing("there are no examples to learn from".into()));
    }
    let current = store.current()?;
    let parent = clean_ancestor(store, current, base)?;
    let (parent, seen) = parent.map_or((None, IdSet::new()), |(id, saw)| (Some(id), saw));

    let mut held_out: Vec<_> =
        live.iter().copied().filter(|id| is_held_out(*id, choice.held_out, store.seed())).collect();
    held_out.retain(|id| !seen.contains(*id));
    let mut new: Vec<_> =
        live.iter().copied().filter(|id| !seen.contains(*id) && !held_out.contains(id)).collect();
    if held_out.is_empty() && new.len() >= MIN_TO_HOLD_OUT {
        held_out.extend(new.pop());
    }
    if new.is_empty() {
        return Ok(match parent {
            Some(parent) if Some(parent) != current => Work::Return(parent),
            _ => Work::Nothing("the graft in use has learned from every example".into()),
        });
    }
    let last_graft = store.grafts()?.last().map_or(0, |entry| entry.id.0);
    let mut random = Random::new(store.seed() ^ last_graft);
    let mut old: Vec<_> = live.iter().copied().filter(|id| seen.contains(*id)).collect();
    random.shuffle_upward(&mut old);
    old.truncate((choice.replay * new.len() as f64).round() as usize);
    random.shuffle_upward(&mut held_out);
    held_out.truncate(MAX_HELD_OUT);
    let replayed: IdSet = old.iter().copied().collect();
    let plan = Plan {
        base: *base,
        settings: settings.to_owned(),
        parent,
        train: new.into_iter().chain(old).collect(),
        replayed,
        held_out: held_out.into_iter().collect(),
        batch_tokens: None,
        date: None,
    };
    let diverged: Option<Plan> = match store.read_document(DIVERGED) {
        // Then it is tried once more.
        Err(Error::Corrupted { .. } | Error::OtherBuild { .. }) => None,
        read => read?,
    };
    if diverged.is_some_and(|diverged| plan.repeats(&diverged)) {
        let why = "the same examples with the same settings were tried before, and the training diverged";
        return Ok(Work::Nothing(why.into()));
    }
    Ok(match tried(store, &plan, &seen, rules)? {
        Some(why) => Work::Nothing(why),
        None => Work::Train(plan),
    })
}

/// What became of a graft that learned the same from the same start, if there is one: refused by the same rules, or
/// taken out of use. Neither is done again each night.
fn tried(store: &Store, plan: &Plan, seen: &IdSet, rules: &GateRules) -> Result<Option<String>> {
    let saw = seen.union(&plan.train);
    let grafts = store.grafts()?;
    let same = grafts.iter().filter_map(|entry| Some((entry, entry.meta.as_ref()?))).find(|(_, meta)| {
        (meta.base, meta.parent, &meta.settings, &meta.saw) == (plan.base, plan.parent, &plan.settings, &saw)
    });
    Ok(same.and_then(|(entry, meta)| {
        let id = entry.id;
        match entry.status {
            GraftStatus::Refused if meta.gate.rules.as_ref() != Some(rules) => None,
            GraftStatus::Refused => Some(format!(
                "graft {id} learned the same examples with the same settings, and was refused"
            )),
            _ => Some(format!(
                "graft {id} learned the same examples with the same settings, and is not in use; promote it, or \
                 change something"
            )),
        }
    }))
}

impl Plan {
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
            Ok(parent) => Ok(!parent.meta.saw.intersection(store.deleted()).is_empty()),
            Err(Error::Store { .. } | Error::Corrupted { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Why the session cannot go on, if so.
    pub(super) fn difference(
        &self,
        store: &Store,
        base: &Fingerprint,
        settings: &str,
        date: Option<Date>,
    ) -> Option<String> {
        if self.base != *base {
            return Some("it was begun with another base model".into());
        }
        let missing = |ids: &IdSet| {
            ids.iter().any(|id| store.examples().binary_search_by_key(&id, |example| example.id.0).is_err())
        };
        if missing(&self.train) || missing(&self.held_out) {
            return Some("examples that it learns from are gone".into());
        }
        if let (Some(then), Some(now)) = (self.date, date)
            && then != now
        {
            return Some(format!("it was begun with the date {then}, now {now}"));
        }
        (self.settings != settings).then(|| {
            let lines = |from: &str, other: &str| -> Vec<String> {
                let differs = |line: &&str| !other.lines().any(|there| there == *line);
                from.lines().filter(differs).map(str::to_owned).collect()
            };
            let (then, now) = (lines(&self.settings, settings), lines(settings, &self.settings));
            format!("it was begun with {}, now {}", then.join(", "), now.join(", "))
        })
    }

    /// Remembers that this work came to nothing, so that it is not done again each night.
    pub(super) fn remember_diverged(&self, store: &mut Store) -> Result<()> {
        store.write_document(DIVERGED, self)
    }
}

/// The nearest ancestor of `graft`, itself included, that saw none of the deleted examples, and what it saw.
fn clean_ancestor(
    store: &Store,
    graft: Option<GraftId>,
    base: &Fingerprint,
) -> Result<Option<(GraftId, IdSet)>> {
    let entries = store.grafts()?;
    let mut next = graft;
    while let Some(id) = next {
        let entry = entries.iter().find(|entry| entry.id == id && entry.status != GraftStatus::Damaged);
        let Some(meta) = entry.and_then(|entry| entry.meta.as_ref()) else { return Ok(None) };
        if meta.base != *base {
            let problem = format!(
                "the graft in use, {id}, was made for another base model; use that one, or a store of its own for \
                 each model"
            );
            return Err(Error::Store { path: store.root().to_owned(), problem });
        }
        if meta.saw.intersection(store.deleted()).is_empty() {
            return Ok(Some((id, meta.saw.clone())));
        }
        next = meta.parent;
    }
    Ok(None)
}

/// One of each `1 / share` neighbours, by lot: always the same ones, whatever is added or deleted.
fn is_held_out(id: u64, share: f64, seed: u64) -> bool {
    if share.is_nan() || share <= 0.0 {
        return false;
    }
    let every = (1.0 / share).round().max(2.0) as u64;
    let (group, place) = (id / every, id % every);
    Random::new(seed ^ group.rotate_left(32)).bits() % every == place
}
