//! Versions of the adapter.

use super::*;

fn statuses(store: &Store) -> Vec<(u64, GraftStatus)> {
    store.grafts().unwrap().into_iter().map(|entry| (entry.id.0, entry.status)).collect()
}

#[test]
fn a_graft_comes_back_bit_for_bit() {
    let folder = folder();
    let mut store = open(folder.path());
    let mut odd = adapter(0.1);
    odd.pairs.values_mut().next().unwrap().a[0] = f32::MIN_POSITIVE / 2.0;
    let id = store.add_graft(new_graft(&[1, 2, 9], true), &odd).unwrap();
    drop(store);
    let store = open(folder.path());
    let graft = store.graft(id).unwrap();
    assert_eq!(graft.adapter, odd);
    let NewGraft { base, parent, trained_on, steps, best_step, tokens, settings, gate } =
        new_graft(&[1, 2, 9], true);
    let created = graft.meta.created;
    assert!(created > 1_700_000_000);
    let meta = GraftMeta { id, base, created, parent, trained_on, steps, best_step, tokens, settings, gate };
    assert_eq!(graft.meta, meta);
    assert_eq!(statuses(&store), [(1, GraftStatus::Candidate)]);
    assert_eq!(why_not(store.graft(GraftId(2))), StoreProblem::NoGraft(GraftId(2)));
}

#[test]
fn switching_goes_forth_and_back() {
    use GraftStatus::{Candidate, Current, Former, Refused};
    let folder = folder();
    let mut store = open(folder.path());
    assert_eq!(store.current().unwrap(), None);
    assert_eq!(why_not(store.rollback()), StoreProblem::NothingInUse);
    for promote in [true, true, false, true] {
        store.add_graft(new_graft(&[], promote), &adapter(1.0)).unwrap();
    }
    assert_eq!(why_not(store.promote(GraftId(3))), StoreProblem::RefusedByGate(GraftId(3)));
    assert_eq!(why_not(store.promote(GraftId(9))), StoreProblem::NoGraft(GraftId(9)));
    store.promote(GraftId(1)).unwrap();
    store.promote(GraftId(2)).unwrap();
    drop(store);
    let mut store = open(folder.path());
    assert_eq!(statuses(&store), [(1, Former), (2, Current), (3, Refused), (4, Candidate)]);
    store.promote_anyway(GraftId(3)).unwrap();
    assert_eq!(store.rollback().unwrap(), Some(GraftId(2)));
    // It was in use, so it needs no second thought.
    store.promote(GraftId(3)).unwrap();
    assert_eq!(store.rollback().unwrap(), Some(GraftId(2)));
    assert_eq!(why_not(store.delete_graft(GraftId(2))), StoreProblem::InUse(GraftId(2)));
    store.delete_graft(GraftId(1)).unwrap();
    assert_eq!(store.rollback().unwrap(), None);
    assert_eq!(statuses(&store), [(2, Former), (3, Former), (4, Candidate)]);
    store.delete_graft(GraftId(4)).unwrap();
    drop(store);
    // The number of the last one is not given again.
    assert_eq!(open(folder.path()).add_graft(new_graft(&[], true), &adapter(1.0)).unwrap(), GraftId(5));
}

#[test]
fn two_bases_never_mix() {
    let folder = folder();
    let mut store = open(folder.path());
    let first = store.add_graft(new_graft(&[1], true), &adapter(1.0)).unwrap();
    let other = NewGraft { base: base('b'), ..new_graft(&[1], true) };
    let second = store.add_graft(other.clone(), &adapter(2.0)).unwrap();
    assert_eq!(store.base().unwrap(), None);
    store.promote(first).unwrap();
    assert_eq!(store.base().unwrap(), Some(base('a')));
    for promote in [Store::promote, Store::promote_anyway] {
        let problem = StoreProblem::OtherBaseThanCurrent { graft: second, current: first };
        assert_eq!(why_not(promote(&mut store, second)), problem);
    }
    assert_eq!(store.current().unwrap(), Some(first));
    let child = NewGraft { parent: Some(first), ..other };
    let problem = StoreProblem::OtherBaseThanParent { parent: first };
    assert_eq!(why_not(store.add_graft(child, &adapter(2.0))), problem);
    store.rollback().unwrap();
    store.promote(second).unwrap();
    assert_eq!(store.base().unwrap(), Some(base('b')));
    assert_eq!(store.rollback().unwrap(), None);
}

#[test]
fn what_ancestors_saw_counts() {
    let folder = folder();
    let mut store = open(folder.path());
    store.add(&lines(&["a", "b", "c"])).unwrap();
    let first = store.add_graft(new_graft(&[1], true), &adapter(1.0)).unwrap();
    let second =
        store.add_graft(NewGraft { parent: Some(first), ..new_graft(&[2], true) }, &adapter(1.0)).unwrap();
    store.delete_graft(first).unwrap();
    let third =
        store.add_graft(NewGraft { parent: Some(second), ..new_graft(&[3], true) }, &adapter(1.0)).unwrap();
    assert_eq!(store.graft(third).unwrap().meta.trained_on, set(&[1, 2, 3]));
    let fourth = store.add_graft(new_graft(&[2], true), &adapter(1.0)).unwrap();
    let report = store.delete(&[ExampleId(1)]).unwrap();
    assert_eq!(report.marked_grafts, [second, third]);
    let marks: Vec<_> =
        store.grafts().unwrap().into_iter().map(|entry| (entry.id, entry.trained_on_deleted)).collect();
    assert_eq!(marks, [(second, vec![ExampleId(1)]), (third, vec![ExampleId(1)]), (fourth, vec![])]);
    let orphan = NewGraft { parent: Some(first), ..new_graft(&[], true) };
    assert_eq!(why_not(store.add_graft(orphan, &adapter(1.0))), StoreProblem::NoGraft(first));
}

#[test]
fn the_last_few_are_kept_and_those_that_are_needed() {
    let folder = folder();
    let mut store = Store::open(folder.path(), StoreOptions { keep: 3, ..with_key(None) }).unwrap();
    let add = |store: &mut Store| store.add_graft(new_graft(&[], true), &adapter(1.0)).unwrap().0;
    add(&mut store);
    add(&mut store);
    store.promote(GraftId(1)).unwrap();
    store.promote(GraftId(2)).unwrap();
    for _ in 0..4 {
        add(&mut store);
    }
    let ids = |store: &Store| statuses(store).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    // 2 is in use, 1 is where a rollback goes.
    assert_eq!(ids(&store), [1, 2, 6]);
    store.rollback().unwrap();
    add(&mut store);
    assert_eq!(ids(&store), [1, 6, 7]);
    drop(store);
    let mut store = Store::open(folder.path(), StoreOptions { keep: 0, ..with_key(None) }).unwrap();
    add(&mut store);
    assert_eq!(ids(&store), [1, 8]);
}

#[test]
fn a_quota_is_met_by_what_is_missed_least() {
    let folder = folder();
    furnish(folder.path(), None);
    let mut store = open(folder.path());
    store.keep = 100;
    // 1 former, 2 current, 3 refused, 4 passed, 5 refused, 6 former, 7 current, and 2 is where a rollback goes.
    for promote in [true, false, true, true] {
        store.add_graft(new_graft(&[], promote), &adapter(1.0)).unwrap();
    }
    store.promote(GraftId(6)).unwrap();
    store.rollback().unwrap();
    store.promote(GraftId(7)).unwrap();
    drop(store);
    let kept = |store: &Store| statuses(store).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let used = open(folder.path()).bytes_used().unwrap();
    let store = Store::open(folder.path(), StoreOptions { quota: Some(used), ..with_key(None) }).unwrap();
    let before = kept(&store);
    assert!(matches!(store.make_room(used), Err(Error::Quota { .. })));
    assert_eq!(kept(&store), before, "what does not help is not done");
    let mut gone = Vec::new();
    let mut left = before;
    while store.make_room(used - store.bytes_used().unwrap() + 1).is_ok() {
        let now = kept(&store);
        gone.extend(left.iter().copied().filter(|id| !now.contains(id)));
        left = now;
    }
    assert_eq!((gone.as_slice(), left.as_slice()), ([3, 5, 4, 1, 6, 2].as_slice(), [7].as_slice()));
    assert_eq!(store.current().unwrap(), Some(GraftId(7)));
    assert!(store.verify().unwrap().is_valid());
}

#[test]
fn numbers_without_their_shapes_are_refused() {
    let folder = folder();
    let mut store = open(folder.path());
    let mut wrong = adapter(1.0);
    wrong.pairs.values_mut().next().unwrap().a.pop();
    let problem = why_not(store.add_graft(new_graft(&[], true), &wrong));
    assert!(matches!(problem, StoreProblem::UnwritableGraft(_)), "{problem}");
    assert!(store.grafts().unwrap().is_empty());
    assert_eq!(fs::read_dir(folder.path().join("grafts")).unwrap().count(), 0);
}

#[test]
fn a_folder_of_others_is_left_alone() {
    let folder = folder();
    let nowhere = folder.path().join("none");
    let no = StoreOptions { create: false, ..with_key(None) };
    assert_eq!(why_not(Store::open(&nowhere, no)), StoreProblem::NoStore);
    assert!(!nowhere.exists());
    fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    assert_eq!(why_not(Store::open(folder.path(), with_key(None))), StoreProblem::ForeignFolder);
    assert!(folder.path().join("thesis.tex").exists());
    let inner = folder.path().join("store");
    let mut store = open(&inner);
    assert_eq!(store.seed(), 7);
    fs::write(inner.join("grafts/notes.txt"), "mine").unwrap();
    fs::create_dir(inner.join("elsewhere")).unwrap();
    fs::write(inner.join("elsewhere/x.ngs"), "mine").unwrap();
    assert_eq!(store.verify().unwrap().unknown.len(), 2);
    assert_eq!(store.repair().unwrap().repaired, []);
    assert_eq!(store.verify().unwrap().unknown.len(), 2);
    for name in ["", "../evil", "Upper", "a.b", "a/b", &"x".repeat(33)] {
        assert_eq!(why_not(store.write_document(name, &1)), StoreProblem::DocumentName, "{name}");
    }
    let second = Store::open(&inner, with_key(None)).unwrap_err();
    assert!(matches!(second, Error::Locked { .. }), "{second}");
    drop(store);
    open(&inner);
    let random: Vec<_> = ["r", "s"].map(|name| folder.path().join(name)).into();
    let seeds: Vec<_> =
        random.iter().map(|root| Store::open(root, StoreOptions::default()).unwrap().seed()).collect();
    assert_ne!(seeds[0], seeds[1]);
}
