//! Sessions that are stopped, whose files are damaged, whose disk fails, whose store changes: one tiny model.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nightgraft_files::file_system::{self, FileSystem};
use nightgraft_ggml::WeightType;
use nightgraft_policy::gate::{ModelRole, Refusal};
use nightgraft_store::Error as StoreError;
use nightgraft_store::{ExampleId, FileProblem, GraftStatus, IdSet, StoreOptions};
use nightgraft_testing::{Failure, Fault, FaultyDisk};
use nightgraft_tiny_model::{CHATML, TinyModel};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::error::SessionChange;
use crate::session::{DiscardReason, Event, Leftover};
use crate::{Error, Result};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tiny = TinyModel { chat_template: Some(CHATML.to_owned()), ..TinyModel::new(WeightType::Q4_0) };
        tiny.write(&folder.path().join("tiny.gguf")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn request(&self) -> SessionRequest {
        let mut request = SessionRequest::new(self.path("tiny.gguf"));
        let training = &mut request.training;
        training.data.batch_tokens = 64.into();
        training.data.context = 64;
        training.data.accumulate = 2;
        training.data.held_out = 0.2;
        training.lora.dropout = 0.1;
        training.optimizer.lr = 1e-3.into();
        training.run.steps = Some(8);
        training.run.threads = Some(1);
        training.run.checkpoint_every = 2;
        training.run.eval_every = 3.into();
        request.probe = Some(self.path("probe.jsonl"));
        fs::write(self.path("probe.jsonl"), lines(100..103).join("\n")).unwrap();
        request
    }

    fn store(&self, name: &str) -> Result<Store> {
        self.store_on(name, file_system::system())
    }

    fn store_on(&self, name: &str, disk: Arc<dyn FileSystem>) -> Result<Store> {
        let options = StoreOptions { create: true, seed: Some(3), ..StoreOptions::default() };
        let mut store = Store::open_with(&self.path(name), options, disk)?;
        if store.examples().is_empty() {
            store.add(&lines(0..24))?;
        }
        Ok(store)
    }

    fn session(&self, name: &str) -> Result<Session> {
        Session::open(self.store(name)?, self.request(), &mut |_| ())
    }

    /// Works on the store's session until it is over; gives its graft's numbers.
    fn finish(&self, name: &str) -> AdapterTensors {
        let mut session = self.session(name).unwrap();
        let outcome = session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).unwrap();
        assert!(!matches!(outcome, SliceOutcome::Paused { .. }), "{outcome:?}");
        let store = session.into_store();
        let last = store.grafts().unwrap().last().unwrap().id;
        store.graft(last).unwrap().adapter
    }

    /// A store whose session was stopped after `steps` optimizer steps.
    fn stopped(&self, name: &str, steps: u64) {
        let mut session = self.session(name).unwrap();
        let stop = StopFlag::new();
        let outcome = session.run_slice(Slice::default(), &stop, &mut |event| {
            if matches!(event, Event::Step(metrics) if metrics.step == steps) {
                stop.raise();
            }
        });
        assert_eq!(outcome.unwrap(), SliceOutcome::Paused { reason: Pause::Stopped });
    }
}

fn lines(range: std::ops::Range<usize>) -> Vec<String> {
    let line = |i| {
        format!("{{\"text\": \"note {i}: boat {} has {} sails and {} oars\"}}", i * 7 % 11, i * 3 % 5, i % 3)
    };
    range.map(line).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn slices_of_any_length_come_to_the_same_graft() {
    let place = Place::new();
    let straight = place.finish("straight");
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut slices, mut steps) = (0, Vec::new());
    let mut session = place.session("slices").unwrap();
    loop {
        // As long as it takes the other thread to look so often, one look right after the other.
        let mut looks_left = random.random_range(0..100_000);
        let mut watch = || {
            looks_left -= 1;
            if looks_left < 0 { Watch::Pause(Pause::Deadline) } else { Watch::Continue { duty: 1.0 } }
        };
        let slice = Slice { watch: Some(&mut watch), watch_every: Duration::ZERO, ..Slice::default() };
        let outcome = session.run_slice(slice, &StopFlag::new(), &mut |event| {
            if let Event::Step(metrics) = event {
                steps.push(metrics.step);
            }
        });
        slices += 1;
        match outcome.unwrap() {
            SliceOutcome::Paused { reason } => assert_eq!(reason, Pause::Deadline),
            SliceOutcome::Finished { report } => {
                assert_eq!(report.learned.unwrap().steps, 8);
                break;
            }
            other => panic!("{other:?}"),
        }
        // Every other slice is in a new process, as far as the session can tell.
        if slices % 2 == 0 {
            drop(session);
            session = place.session("slices").unwrap();
        }
        assert!(slices < 10_000, "it does not get on");
    }
    assert!(slices > 5, "only {slices} slices");
    assert_eq!(steps, (1..=8).collect::<Vec<_>>(), "no step is made twice when nothing is killed");
    drop(session);
    assert_eq!(place.finish("slices"), straight);
}

#[test]
fn a_watch_that_says_no_ends_the_slice_with_its_reason() {
    let place = Place::new();
    let mut session = place.session("watched").unwrap();
    let mut looks = 0;
    let mut watch = || {
        looks += 1;
        let reason = nightgraft_policy::Reason::NotCharging;
        if looks > 1 { Watch::Pause(Pause::Policy { reason }) } else { Watch::Continue { duty: 0.02 } }
    };
    let slice = Slice { watch: Some(&mut watch), watch_every: Duration::ZERO, ..Slice::default() };
    let outcome = session.run_slice(slice, &StopFlag::new(), &mut |_| ()).unwrap();
    let reason = Pause::Policy { reason: nightgraft_policy::Reason::NotCharging };
    assert_eq!((outcome, looks), (SliceOutcome::Paused { reason }, 2));
}

#[test]
fn damaged_files_of_a_session_cost_steps_and_nothing_else() {
    let place = Place::new();
    let straight = place.finish("straight");
    place.stopped("stopped", 6);
    let mut files: Vec<_> =
        fs::read_dir(place.path("stopped/session")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 3, "two checkpoints and the plan: {files:?}");
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let mut resumed_at = std::collections::BTreeSet::new();
    for case in 0..45 {
        let name = format!("damaged-{case}");
        copy(&place.path("stopped"), &place.path(&name));
        let file = place.path(&name).join("session").join(files[case % 3].file_name().unwrap());
        let mut bytes = fs::read(&file).unwrap();
        match case / 3 % 3 {
            0 => {
                let at = random.random_range(0..bytes.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            1 => bytes.truncate(random.random_range(0..bytes.len())),
            _ => bytes.extend_from_within(..random.random_range(1..40)),
        }
        fs::write(&file, bytes).unwrap();
        let mut session = Session::open(place.store(&name).unwrap(), place.request(), &mut |event| {
            if let Event::Resumed { step, .. } = event {
                resumed_at.insert(*step);
            }
        })
        .unwrap();
        session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).unwrap();
        drop(session);
        assert_eq!(place.finish(&name), straight, "case {case}");
    }
    assert_eq!(resumed_at.into_iter().collect::<Vec<_>>(), [4, 6], "the newest, or the one before it");
}

#[test]
fn a_disk_that_fails_at_any_moment_loses_nothing_that_was_saved() {
    let place = Place::new();
    let straight = place.finish("straight");
    let mut failed = 0;
    for (case, failure) in [Failure::NoSpace, Failure::Device, Failure::Short, Failure::PowerCut]
        .into_iter()
        .cycle()
        .take(60)
        .enumerate()
    {
        let name = format!("failing-{case}");
        drop(place.store(&name).unwrap());
        let fault = Fault { only: None, at: 3 * case as u64, failure, for_good: true };
        let disk = FaultyDisk::new(fault);
        let run = || -> Result<()> {
            let store = place.store_on(&name, disk.clone())?;
            let mut session = Session::open(store, place.request(), &mut |_| ())?;
            session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).map(drop)
        };
        match run() {
            Ok(()) => assert!(!disk.has_struck(), "case {case}: a failure went unnoticed"),
            Err(error) => {
                assert!(matches!(error, Error::Io(_)), "case {case}: {error}");
                failed += 1;
            }
        }
        assert_eq!(place.finish(&name), straight, "case {case}");
    }
    assert!(failed > 20, "only {failed} failures");
}

#[test]
fn a_session_notices_what_has_changed() {
    let place = Place::new();
    place.stopped("changed", 3);

    let mut other = place.request();
    other.training.optimizer.lr = 2e-3.into();
    let refused =
        |request| Session::open(place.store("changed").unwrap(), request, &mut |_| ()).err().unwrap();
    let changed = SessionChange::Settings { then: vec!["lr = 0.001".into()], now: vec!["lr = 0.002".into()] };
    let error = refused(other.clone());
    assert!(matches!(&error, Error::Changed { what } if *what == changed), "{error}");

    // Another number of threads or checkpoints is no change.
    let mut same = place.request();
    same.training.run.threads = Some(2);
    same.training.run.checkpoint_every = 5;
    let mut resumed = None;
    Session::open(place.store("changed").unwrap(), same, &mut |event| {
        if let Event::Resumed { step, .. } = event {
            resumed = Some(*step);
        }
    })
    .unwrap();
    assert_eq!(resumed, Some(3));

    // Anew, if that is what is wanted.
    other.on_change = OnChange::StartAnew;
    let session = Session::open(place.store("changed").unwrap(), other.clone(), &mut |_| ()).unwrap();
    assert_eq!(session.steps(), Some(0));
    drop(session);

    // New examples wait for the next session; a deleted one ends this one.
    let mut store = place.store("changed").unwrap();
    store.add(&lines(50..52)).unwrap();
    let session = Session::open(store, other.clone(), &mut |_| ()).unwrap();
    let mut store = session.into_store();
    let plan: SessionPlan = store.read_document(plan::PLAN).unwrap().unwrap();
    let learned = ExampleId(plan.train.iter().next().unwrap());
    assert!(store.delete(&[learned]).unwrap().session_dropped);
    assert_eq!(store.read_document::<SessionPlan>(plan::PLAN).unwrap(), None);
}

#[test]
fn a_base_that_changed_is_refused() {
    let place = Place::new();
    place.stopped("rebased", 3);
    let tiny =
        TinyModel { chat_template: Some(CHATML.to_owned()), seed: 9, ..TinyModel::new(WeightType::Q4_0) };
    tiny.write(&place.path("tiny.gguf")).unwrap();
    let error = place.session("rebased").err().unwrap();
    assert!(matches!(&error, Error::Changed { what: SessionChange::Base }), "{error}");
}

#[test]
fn what_was_learned_is_not_learned_again() {
    let place = Place::new();
    place.finish("again");
    // Made in use by hand: what a tiny model of random weights learns does not pass the gate.
    let mut store = place.store("again").unwrap();
    let first = store.grafts().unwrap()[0].id;
    store.promote_anyway(first).unwrap();
    let session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    assert_eq!(session.nothing_to_do(), Some(NothingToDo::EverythingLearned));

    // What came since is learned with as many of the old ones, from the graft in use.
    let mut store = session.into_store();
    store.add(&lines(60..70)).unwrap();
    let mut session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    let plan: SessionPlan = session.store().read_document(plan::PLAN).unwrap().unwrap();
    assert_eq!(plan.parent, Some(first));
    assert_eq!(plan.train.len(), 2 * plan.replayed.len());
    assert!(plan.train.difference(&plan.replayed).iter().all(|id| id > 24), "the others are new");
    session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).unwrap();
    let store = session.into_store();
    let second = store.grafts().unwrap().last().unwrap().clone();
    let meta = second.meta.unwrap();
    assert_eq!((meta.parent, second.status), (Some(first), GraftStatus::Refused));
    let first_trained_on = store.graft(first).unwrap().meta.trained_on;
    assert_eq!(meta.trained_on, first_trained_on.union(&plan.train));

    // Refused once, the same is not tried every night.
    let session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    assert_eq!(session.nothing_to_do(), Some(NothingToDo::RefusedBefore { graft: second.id }));
}

#[test]
fn too_few_examples_are_told_in_numbers_before_anything_is_trained() {
    let place = Place::new();
    let options = || StoreOptions { create: true, seed: Some(3), ..StoreOptions::default() };
    for n in [1, 8, 15] {
        let mut store = Store::open(&place.path(&format!("few-{n}")), options()).unwrap();
        store.add(&lines(0..n)).unwrap();
        let mut session = Session::open(store, place.request(), &mut |_| ()).unwrap();
        let reason = NothingToDo::TooFew { have: n as u64, need: 16 };
        let outcome = session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).unwrap();
        assert_eq!(outcome, SliceOutcome::NothingToDo { reason });
        let json = serde_json::to_value(&outcome).unwrap();
        let expected =
            serde_json::json!({ "outcome": "nothing_to_do", "reason": "too_few", "have": n, "need": 16 });
        assert_eq!(json, expected);
        assert!(reason.to_string().contains(&format!("{n} of the 16")), "{reason}");
        assert_eq!(session.into_store().grafts().unwrap(), []);
    }
    // With as many as were said, it begins; and what was drawn to be held out is so in the next session too.
    for (n, share) in [(16, 0.1), (20, 0.1), (24, 0.1), (30, 0.1), (48, 0.1), (16, 0.2)] {
        let name = format!("enough-{n}-{share}");
        let mut store = Store::open(&place.path(&name), options()).unwrap();
        store.add(&lines(0..n)).unwrap();
        let mut request = place.request();
        request.training.data.held_out = share;
        let session = Session::open(store, request.clone(), &mut |_| ()).unwrap();
        let plan = |store: &Store| store.read_document::<SessionPlan>(plan::PLAN).unwrap().unwrap();
        let first = plan(session.store());
        assert!(first.held_out.len() >= 4 && first.train.len() >= 12.min(n as u64 - 6), "{n}: {first:?}");
        let mut store = session.into_store();
        store.drop_session().unwrap();
        store.add(&lines(200..240)).unwrap();
        let second = Session::open(store, request, &mut |_| ()).unwrap();
        assert_eq!(plan(second.store()).train.intersection(&first.held_out), nightgraft_store::IdSet::new());
    }
}

/// Earlier builds held out too few of a small store, and refused what they had trained.
#[test]
fn what_was_refused_for_want_of_held_out_examples_alone_is_tried_again_with_more() {
    let place = Place::new();
    place.finish("want");
    let store = place.store("want").unwrap();
    let entry = store.grafts().unwrap().remove(0);
    let graft = store.graft(entry.id).unwrap();
    let meta = entry.meta.unwrap();
    let refused = |gate: nightgraft_policy::gate::GateReport| {
        let mut store = place.store("want").unwrap();
        let old: Vec<_> = store.grafts().unwrap().iter().map(|entry| entry.id).collect();
        let meta = meta.clone();
        let new = nightgraft_store::NewGraft {
            base: meta.base,
            parent: meta.parent,
            trained_on: meta.trained_on,
            steps: meta.steps,
            best_step: meta.best_step,
            tokens: meta.tokens,
            settings: meta.settings,
            gate,
        };
        store.add_graft(new, &graft.adapter).unwrap();
        old.into_iter().for_each(|id| store.delete_graft(id).unwrap());
        let session = Session::open(store, place.request(), &mut |_| ()).unwrap();
        let nothing = session.nothing_to_do();
        session.into_store().drop_session().unwrap();
        nothing
    };
    drop(store);
    let measured = |examples: u64, refusals: &[Refusal]| {
        let mut gate = meta.gate.clone();
        gate.comparisons[0].examples = examples;
        gate.refusals = refusals.to_vec();
        gate
    };
    let too_few = Refusal::TooFewHeldOut { examples: 2, needed: 4 };
    let better = |gain| Refusal::NotBetter { against: ModelRole::Base, gain, low: Some(-0.4), needed: 0.01 };
    assert_eq!(refused(measured(2, std::slice::from_ref(&too_few))), None);
    assert_eq!(refused(measured(2, &[too_few.clone(), better(0.2)])), None, "two are too few to be certain");
    let before = |nothing| matches!(nothing, Some(NothingToDo::RefusedBefore { .. }));
    assert!(before(refused(measured(2, &[too_few.clone(), better(-0.2)]))), "it was worse");
    let worse = Refusal::Forgets { increase: 0.5, limit: 0.2 };
    assert!(before(refused(measured(2, &[too_few, worse]))), "it had another fault");
    assert!(before(refused(measured(40, &[better(0.2)]))), "there are no more than then");
}

#[test]
fn after_a_deletion_the_next_session_starts_from_a_graft_that_did_not_see_it() {
    let place = Place::new();
    place.finish("deletion");
    let mut store = place.store("deletion").unwrap();
    let first = store.grafts().unwrap()[0].clone();
    store.promote_anyway(first.id).unwrap();
    let old = ExampleId(first.meta.as_ref().unwrap().trained_on.iter().next().unwrap());
    let added = store.add(&lines(60..70)).unwrap();
    let mut session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).unwrap();
    let mut store = session.into_store();
    let second = store.grafts().unwrap().last().unwrap().clone();
    store.promote_anyway(second.id).unwrap();

    // One that only the second saw: back to the first.
    let learned =
        added.into_iter().find(|id| second.meta.as_ref().unwrap().trained_on.contains(id.0)).unwrap();
    assert_eq!(store.delete(&[learned]).unwrap().marked_grafts, [second.id]);
    let session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    let plan: SessionPlan = session.store().read_document(plan::PLAN).unwrap().unwrap();
    assert_eq!(plan.parent, Some(first.id));
    assert!(!plan.train.contains(learned.0));

    // One that both saw: back to the base, with all that is left.
    let mut store = session.into_store();
    assert_eq!(store.delete(&[old]).unwrap().marked_grafts, [first.id, second.id]);
    let session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    let plan: SessionPlan = session.store().read_document(plan::PLAN).unwrap().unwrap();
    assert_eq!(plan.parent, None);
    assert!(plan.train.len() > 20 && !plan.train.contains(old.0) && plan.replayed.is_empty());
}

#[test]
fn too_little_memory_is_refused_with_the_least_that_would_do() {
    let place = Place::new();
    let open = |limit| {
        let request = SessionRequest { memory_limit: Some(limit), ..place.request() };
        Session::open(place.store("memory").unwrap(), request, &mut |_| ())
    };
    let Some(Error::OutOfMemoryBudget { needed, available }) = open(1 << 20).err() else {
        panic!("accepted")
    };
    assert_eq!(available, 1 << 20);
    assert_eq!(place.store("memory").unwrap().read_document::<SessionPlan>(plan::PLAN).unwrap(), None);
    let session = open(needed).unwrap();
    assert!(session.memory_needs().unwrap().small <= needed);
}

#[test]
fn a_diverging_session_ends_with_a_refusal() {
    let place = Place::new();
    let mut request = place.request();
    request.training.lora.alpha = 1e30;
    let open = |request| Session::open(place.store("diverged").unwrap(), request, &mut |_| ()).unwrap();
    let mut session = open(request.clone());
    let outcome = session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).unwrap();
    let SliceOutcome::Finished { report } = outcome else { panic!("{outcome:?}") };
    assert!(!report.gate.promote && !report.promoted && report.graft.is_none() && report.learned.is_none());
    drop(session);
    assert_eq!(open(request).nothing_to_do(), Some(NothingToDo::DivergedBefore));
}

#[test]
fn losses_are_of_the_texts_that_they_were_measured_on() {
    let place = Place::new();
    place.stopped("probe", 6);
    let judged = |probe: std::ops::Range<usize>, until_saved: bool| {
        let request = SessionRequest { probe: Some(place.path("other.jsonl")), ..place.request() };
        fs::write(place.path("other.jsonl"), lines(probe).join("\n")).unwrap();
        let mut session = Session::open(place.store("probe").unwrap(), request, &mut |_| ()).unwrap();
        let document = place.path("probe/session/gate.ngs");
        let mut watch = || {
            let pause = Watch::Pause(Pause::Stopped);
            if until_saved && document.exists() { pause } else { Watch::Continue { duty: 1.0 } }
        };
        let slice = Slice { watch: Some(&mut watch), watch_every: Duration::ZERO, ..Slice::default() };
        session.run_slice(slice, &StopFlag::new(), &mut |_| ()).unwrap()
    };
    // Interrupted with 150 texts, judged with three others.
    assert_eq!(judged(300..450, true), SliceOutcome::Paused { reason: Pause::Stopped });
    let SliceOutcome::Finished { report } = judged(200..203, false) else { panic!("not finished") };
    let retention = report
        .gate
        .comparisons
        .iter()
        .find(|comparison| comparison.set == nightgraft_policy::gate::EvalSet::Retention);
    assert_eq!(retention.unwrap().examples, 3);
}

#[test]
fn what_was_rolled_back_is_not_learned_again() {
    let place = Place::new();
    place.finish("back");
    let mut store = place.store("back").unwrap();
    let first = store.grafts().unwrap()[0].id;
    store.promote_anyway(first).unwrap();
    assert_eq!(store.rollback().unwrap(), None);
    let session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    assert_eq!(session.nothing_to_do(), Some(NothingToDo::NotInUse { graft: first }));
    // What was refused is tried again once the gate asks for something else.
    place.finish("refused");
    let mut request = place.request();
    request.gate.min_gain = 0.5;
    let session = Session::open(place.store("refused").unwrap(), request, &mut |_| ()).unwrap();
    assert_eq!(session.steps(), Some(0));
}

#[test]
fn examples_that_are_lost_are_noticed() {
    let place = Place::new();
    place.finish("lost");
    let mut store = place.store("lost").unwrap();
    let first = store.grafts().unwrap()[0].id;
    store.promote_anyway(first).unwrap();
    drop(store);
    for entry in fs::read_dir(place.path("lost/journal")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let error = Store::open(&place.path("lost"), StoreOptions::default()).err().unwrap();
    assert!(matches!(&error, StoreError::Corrupted { problem: FileProblem::LostEnd { .. }, .. }), "{error}");
    let options = StoreOptions { damaged: true, ..StoreOptions::default() };
    let mut store = Store::open(&place.path("lost"), options).unwrap();
    assert!(!store.verify().unwrap().damaged.is_empty());
    store.repair().unwrap();
    drop(store);
    let mut store = Store::open(&place.path("lost"), StoreOptions::default()).unwrap();
    let ids = store.add(&lines(0..1)).unwrap();
    assert!(ids[0].0 > 20, "no number is given twice: {}", ids[0]);
}

/// What opening the store's session says is of no use.
fn discarded(
    place: &Place,
    name: &str,
    request: SessionRequest,
) -> (Result<()>, Vec<(Leftover, DiscardReason)>) {
    let mut told = Vec::new();
    let opened = Session::open(place.store(name).unwrap(), request, &mut |event| {
        if let Event::Discarded { what, why } = event {
            told.push((what.clone(), why.clone()));
        }
    });
    (opened.map(drop), told)
}

#[test]
fn nothing_of_a_session_goes_without_a_word() {
    let place = Place::new();
    place.stopped("anew", 3);
    let mut other = place.request();
    other.training.optimizer.lr = 2e-3.into();
    other.on_change = OnChange::StartAnew;
    let (opened, told) = discarded(&place, "anew", other);
    opened.unwrap();
    assert!(matches!(&told[..], [(Leftover::Session, DiscardReason::Changed { what })]
            if *what == SessionChange::Settings { then: vec!["lr = 0.001".into()], now: vec!["lr = 0.002".into()] }));

    // The plan is gone, and its checkpoints are of no session.
    place.stopped("planless", 3);
    fs::remove_file(place.path("planless/session/session.ngs")).unwrap();
    let (opened, told) = discarded(&place, "planless", place.request());
    opened.unwrap();
    assert_eq!(told, [(Leftover::Session, DiscardReason::Over)]);

    // A damaged plan is made again; what came since makes it another one.
    place.stopped("damaged", 3);
    fs::write(place.path("damaged/session/session.ngs"), "nonsense").unwrap();
    place.store("damaged").unwrap().add(&lines(60..70)).unwrap();
    let (opened, told) = discarded(&place, "damaged", place.request());
    opened.unwrap();
    assert!(matches!(&told[0], (Leftover::Plan, DiscardReason::Damaged { .. })), "{told:?}");
    assert!(matches!(&told[1], (Leftover::Checkpoints, DiscardReason::OtherRun(_))), "{told:?}");

    // Checkpoints that are damaged are named, each.
    place.stopped("worn", 5);
    let checkpoints: Vec<_> = fs::read_dir(place.path("worn/session"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "ngck"))
        .collect();
    for path in &checkpoints {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let (opened, told) = discarded(&place, "worn", place.request());
    opened.unwrap();
    for path in checkpoints {
        let is_it = |(what, _): &(Leftover, DiscardReason)| *what == Leftover::Checkpoint(path.clone());
        assert!(told.iter().any(is_it), "{} in {told:?}", path.display());
    }
}

/// Most of the model's file is a hole, which nobody hashes to its end in a test's time.
#[test]
fn a_stop_does_not_wait_until_all_of_the_model_was_read() {
    let place = Place::new();
    fs::OpenOptions::new().write(true).open(place.path("tiny.gguf")).unwrap().set_len(1 << 40).unwrap();
    let stop = StopFlag::new();
    let mut is_measured = false;
    let mut session = place.session("hole").unwrap();
    let outcome = session.run_slice(Slice::default(), &stop, &mut |event| {
        is_measured |= matches!(event, Event::Evaluated { step: 8, .. });
        if is_measured && matches!(event, Event::Saved { step: 8 }) {
            // All is done, and the session is about to wait for the hash.
            stop.raise();
        }
    });
    assert_eq!(outcome.unwrap(), SliceOutcome::Paused { reason: Pause::Stopped });
    assert!(session.store().read_document::<serde_json::Value>(nightgraft_store::MODELS).unwrap().is_none());
}

/// Nothing that comes from a model is kept before that is known to be the one of an earlier time.
#[test]
fn a_stop_does_not_wait_until_the_model_is_known_again() {
    let place = Place::new();
    fs::OpenOptions::new().write(true).open(place.path("tiny.gguf")).unwrap().set_len(1 << 40).unwrap();
    let store = place.store("known").unwrap();
    let fingerprint =
        crate::model_file::ModelFile::open(&place.path("tiny.gguf")).unwrap().fingerprint().unwrap();
    let known = serde_json::json!([{
        "fingerprint": fingerprint, "sha256": "9e".repeat(32), "len": 1, "modified_ns": 1, "inode": 1, "device": 1,
    }]);
    store.write_document(nightgraft_store::MODELS, &known).unwrap();
    let stop = StopFlag::new();
    let mut session = Session::open(store, place.request(), &mut |_| ()).unwrap();
    let outcome = session.run_slice(Slice::default(), &stop, &mut |event| {
        assert!(!matches!(event, Event::Saved { .. }));
        if matches!(event, Event::Step(metrics) if metrics.step == 2) {
            stop.raise(); // it is about to wait, since a checkpoint is due
        }
    });
    assert_eq!(outcome.unwrap(), SliceOutcome::Paused { reason: Pause::Stopped });
    let is_checkpoint = |entry: fs::DirEntry| entry.path().extension().is_some_and(|kind| kind == "ngck");
    let session = fs::read_dir(place.path("known/session")).unwrap();
    assert!(!session.map(Result::unwrap).any(is_checkpoint));
}

#[test]
fn a_damaged_graft_to_start_from_is_told() {
    let place = Place::new();
    place.finish("start");
    let mut store = place.store("start").unwrap();
    let first = store.grafts().unwrap()[0].id;
    store.promote_anyway(first).unwrap();
    store.add(&lines(60..70)).unwrap();
    drop(store);
    let [graft] = fs::read_dir(place.path("start/grafts")).unwrap().collect::<Vec<_>>().try_into().unwrap();
    let graft = graft.unwrap().path();
    let mut bytes = fs::read(&graft).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(graft, bytes).unwrap();
    let (opened, told) = discarded(&place, "start", place.request());
    opened.unwrap();
    let [(what, why @ DiscardReason::DamagedStart { .. })] = &told[..] else { panic!("{told:?}") };
    assert_eq!(*what, Leftover::Start(first));
    assert!(why.to_string().contains("starts from the base model"), "{why}");
}

/// A plan that another build wrote is valid, and may be gone on with by that build.
#[test]
fn the_plan_of_another_build_is_kept_and_refused_by_name() {
    let place = Place::new();
    place.stopped("newer", 3);
    let store = place.store("newer").unwrap();
    let mut plan: serde_json::Value = store.read_document(plan::PLAN).unwrap().unwrap();
    plan["colour"] = "green".into();
    store.write_document(plan::PLAN, &plan).unwrap();
    drop(store);
    let before = fs::read(place.path("newer/session/session.ngs")).unwrap();
    let (opened, told) = discarded(&place, "newer", place.request());
    let error = opened.unwrap_err();
    assert!(
        matches!(&error, Error::Store(StoreError::OtherBuild { path, .. }) if path.ends_with("session.ngs")),
        "{error}"
    );
    assert!(error.to_string().contains("another build") && told.is_empty(), "{error} {told:?}");
    assert_eq!(fs::read(place.path("newer/session/session.ngs")).unwrap(), before);
    assert!(fs::read_dir(place.path("newer/session")).unwrap().count() > 1, "the checkpoints are there");
}

/// The file as a later version of this program would seal it.
fn sealed_later(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[8..12].copy_from_slice(&900u32.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_another_build_remembers_is_kept_and_refused_by_name() {
    let place = Place::new();
    place.finish("whole");
    for name in ["held-out", "diverged", "models"] {
        for is_sealed_later in [true, false] {
            let folder = format!("{name}-{is_sealed_later}");
            copy(&place.path("whole"), &place.path(&folder));
            let mut store = place.store(&folder).unwrap();
            store.write_document(name, &"green").unwrap();
            store.add(&lines(60..70)).unwrap();
            drop(store);
            let path = place.path(&folder).join(name).with_extension("ngs");
            if is_sealed_later {
                sealed_later(&path);
            }
            let before = fs::read(&path).unwrap();
            let (opened, told) = discarded(&place, &folder, place.request());
            let error = opened.unwrap_err();
            assert!(
                matches!(&error, Error::Store(StoreError::OtherBuild { path: named, .. }) if *named == path),
                "{error}"
            );
            assert!(told.is_empty() && !error.to_string().contains("green"), "{error} {told:?}");
            assert_eq!(fs::read(&path).unwrap(), before);
        }
    }
}

#[test]
fn what_was_drawn_to_be_held_out_is_not_learned_when_its_list_is_lost() {
    let place = Place::new();
    let mut request = place.request();
    request.training.data.held_out = 0.05; // so few that some have to be drawn
    let mut session = Session::open(place.store("whole").unwrap(), request.clone(), &mut |_| ()).unwrap();
    let first: SessionPlan = session.store().read_document(plan::PLAN).unwrap().unwrap();
    session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ()).unwrap();
    let mut store = session.into_store();
    store.promote_anyway(store.grafts().unwrap()[0].id).unwrap();
    store.add(&lines(60..70)).unwrap();
    drop(store);
    let measured = first.held_out;
    assert!(measured.len() >= 4);

    for is_missing in [false, true] {
        let folder = format!("lost-{is_missing}");
        copy(&place.path("whole"), &place.path(&folder));
        let list = place.path(&folder).join("held-out.ngs");
        if is_missing {
            fs::remove_file(&list).unwrap();
        } else {
            fs::write(&list, "nonsense").unwrap();
        }
        let (opened, told) = discarded(&place, &folder, request.clone());
        opened.unwrap();
        let is_list = |(what, why): &(Leftover, DiscardReason)| {
            *what == Leftover::HeldOut && matches!(why, DiscardReason::Damaged { .. })
        };
        assert_eq!(told.iter().filter(|told| is_list(told)).count(), usize::from(!is_missing), "{told:?}");
        let store = place.store(&folder).unwrap();
        let plan: SessionPlan = store.read_document(plan::PLAN).unwrap().unwrap();
        assert!(plan.train.iter().any(|id| id > 24));
        assert_eq!(plan.train.intersection(&measured), IdSet::new());
        assert_eq!(plan.held_out.intersection(&measured), measured);
        assert!(store.read_document::<IdSet>("held-out").unwrap().is_some(), "it is written anew");
    }
}
