//! Which graft is in use, and which ones were before it.

use serde::{Deserialize, Serialize};

use super::IdSet;
use super::ids::GraftId;
use crate::FileProblem;

/// What `current.ngs` holds. It is the one place that says which graft is in use, so that switching is one rename.
///
/// Grafts may disappear without this being written again: whoever reads it asks which ones exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    /// The graft in use; `None` is the base itself.
    pub(super) current: Option<GraftId>,
    /// What was in use before, oldest first, each once and without the current one.
    former: Vec<GraftId>,
    /// Every graft that ever was in use.
    promoted: IdSet,
    /// The largest number that a removed graft had, so that none is given twice.
    highest: u64,
}

impl History {
    /// Why this cannot have been written.
    pub(super) fn problem(&self) -> Option<FileProblem> {
        let mut former = self.former.clone();
        former.sort_unstable();
        former.dedup();
        let twice = former.len() < self.former.len()
            || self.current.is_some_and(|current| self.former.contains(&current));
        twice.then_some(FileProblem::RepeatedGraft)
    }

    /// Takes `id` into use.
    pub(super) fn promote(&mut self, id: GraftId) {
        if self.current == Some(id) {
            return;
        }
        self.former.extend(self.current);
        self.former.retain(|&former| former != id);
        self.current = Some(id);
        self.promoted.insert(id.0);
    }

    /// Goes back to the newest former graft that `exists`, or to the base.
    pub(super) fn roll_back(&mut self, exists: impl Fn(GraftId) -> bool) {
        self.current = loop {
            match self.former.pop() {
                Some(id) if !exists(id) => {}
                other => break other,
            }
        };
    }

    /// Where [`roll_back`](Self::roll_back) would go; `None` is the base.
    pub(super) fn before(&self, exists: impl Fn(GraftId) -> bool) -> Option<GraftId> {
        self.former.iter().rev().copied().find(|&id| exists(id))
    }

    /// Whether `id` ever was in use.
    pub(super) fn was_promoted(&self, id: GraftId) -> bool {
        self.promoted.contains(id.0)
    }

    /// The number of the next graft, if `largest` is the largest of those that exist.
    pub(super) fn next_id(&self, largest: u64) -> Option<GraftId> {
        let promoted = self.promoted.last().unwrap_or(0);
        self.highest.max(promoted).max(largest).checked_add(1).map(GraftId)
    }

    /// Remembers that `id` was given, before it is removed; false if that is known already.
    pub(super) fn note_given(&mut self, id: GraftId) -> bool {
        let is_news = id.0 > self.highest.max(self.promoted.last().unwrap_or(0));
        if is_news {
            self.highest = id.0;
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn going_back_goes_the_way_that_was_come() {
        let mut history = History::default();
        for id in [1, 2, 5] {
            history.promote(GraftId(id));
        }
        history.promote(GraftId(5));
        assert_eq!(history.before(|_| true), Some(GraftId(2)));
        assert_eq!(history.before(|id| id.0 != 2), Some(GraftId(1)));
        history.roll_back(|_| true);
        assert_eq!(history.current, Some(GraftId(2)));
        // An older one taken into use again: the way back is to what was in use before that.
        history.promote(GraftId(1));
        assert_eq!((history.current, history.before(|_| true)), (Some(GraftId(1)), Some(GraftId(2))));
        history.roll_back(|id| id.0 != 2);
        assert_eq!(history.current, None);
        history.roll_back(|_| true);
        assert_eq!((history.current, history.before(|_| true)), (None, None));
        assert!(history.was_promoted(GraftId(5)) && !history.was_promoted(GraftId(3)));
    }

    #[test]
    fn no_number_is_given_twice() {
        let mut history = History::default();
        assert_eq!(history.next_id(0), Some(GraftId(1)));
        assert_eq!(history.next_id(3), Some(GraftId(4)));
        assert!(history.note_given(GraftId(3)));
        assert!(!history.note_given(GraftId(2)));
        assert_eq!(history.next_id(0), Some(GraftId(4)));
        history.promote(GraftId(7));
        assert_eq!(history.next_id(0), Some(GraftId(8)));
        assert_eq!(history.next_id(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn any_sequence_of_steps_keeps_it_sound(steps in proptest::collection::vec(0u64..6, 0..60)) {
            let mut history = History::default();
            for step in steps {
                let before = history.current;
                if step == 0 {
                    let target = history.before(|_| true);
                    history.roll_back(|_| true);
                    prop_assert_eq!(history.current, target);
                } else {
                    history.promote(GraftId(step));
                    prop_assert_eq!(history.current, Some(GraftId(step)));
                    if before != history.current {
                        prop_assert_eq!(history.before(|_| true), before);
                    }
                }
                prop_assert_eq!(history.problem(), None);
                let json = serde_json::to_string(&history).unwrap();
                prop_assert_eq!(&serde_json::from_str::<History>(&json).unwrap(), &history);
            }
        }
    }
}
