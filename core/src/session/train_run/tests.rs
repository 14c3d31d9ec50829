//! Runs of a tiny model that are saved, set back and ended.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use nightgraft_files::file_system::system;
use nightgraft_kernels::WeightType;
use nightgraft_store::checkpoint::State;
use nightgraft_store::{CheckpointProblem, Error as StoreError};
use nightgraft_text::Example;
use nightgraft_text::data::Dataset;
use nightgraft_tiny_model::TinyModel;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Error;
use crate::base::Base;
use crate::config::{OrAuto, Schedule, TrainConfig};
use crate::model_file::ModelFile;
use crate::session::resume;
use crate::session::run_setup::RunParts;

/// A folder with a tiny model, and folders of checkpoints beside it.
struct Place {
    folder: tempfile::TempDir,
}

/// A folder of checkpoints, and the steps that were made.
struct Home {
    folder: PathBuf,
    vault: Vault,
    steps: Vec<(u64, f64)>,
}

impl RunHome for Home {
    fn checkpoints(&self) -> (PathBuf, &Vault) {
        (self.folder.clone(), &self.vault)
    }

    fn keep_model_hash(&mut self, _hash: FileHash) -> Result<()> {
        Ok(())
    }

    fn keep_metrics(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.steps.push((metrics.step, metrics.loss));
        Ok(())
    }
}

impl Home {
    /// The bytes of its only checkpoint.
    fn checkpoint(&self) -> Vec<u8> {
        let [file] = fs::read_dir(&self.folder).unwrap().collect::<Vec<_>>().try_into().unwrap();
        fs::read(file.unwrap().path()).unwrap()
    }
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        TinyModel::new(WeightType::Q4_0).write(&folder.path().join("tiny.gguf")).unwrap();
        Self { folder }
    }

    fn home(&self, name: &str) -> Home {
        Home { folder: self.folder.path().join(name), vault: Vault::plain(system()), steps: Vec::new() }
    }

    /// A run that goes on from the checkpoint at home, if there is one.
    fn run(&self, home: &Home, config: &TrainConfig) -> TrainRun {
        let base = Base::open(ModelFile::open(&self.folder.path().join("tiny.gguf")).unwrap()).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut dataset = |lengths: &[usize]| {
            let example = |&n: &usize| {
                let ids = (0..n).map(|_| random.random_range(0..base.spec.n_vocab as u32)).collect();
                Example::from_supervision(ids, &vec![true; n])
            };
            Dataset { examples: lengths.iter().map(example).collect(), ..Dataset::default() }
        };
        let (train, held_out) = (dataset(&[40, 55, 33, 60, 21, 44]), dataset(&[30, 50, 40]));
        let parts = RunParts::new(config.clone(), None, base, train, Some(held_out)).unwrap();
        let setup = parts.fit(|data| vec![data.batch_tokens()], 0, None).unwrap();
        let saved = resume::load(&home.vault, &home.folder, &setup.identity, &mut |_| ()).unwrap();
        let hash_check = HashCheck::start(setup.base.file(), None).unwrap();
        let mut run = TrainRun::new(setup, hash_check, Duration::MAX, &StopFlag::new()).unwrap();
        if let Some(saved) = saved {
            run.restore(saved).unwrap();
        }
        run
    }
}

/// Dropout, accumulation and evaluations of several micro-batches, so that all state matters.
fn config() -> TrainConfig {
    let mut config = TrainConfig::default();
    config.data.batch_tokens = 64.into();
    config.data.accumulate = 2;
    config.lora.dropout = 0.1;
    config.optimizer.lr = 1e-2.into();
    config.run.steps = Some(7);
    config.run.threads = Some(1);
    config.run.eval_every = OrAuto::Given(3);
    config.run.checkpoint_every = 0;
    config.run.keep_checkpoints = 1;
    config
}

/// A rate so high that the first steps show it.
fn config_of_too_high_a_rate() -> TrainConfig {
    let mut config = config();
    config.data.accumulate = 1;
    config.optimizer.lr = 1.0.into();
    config.optimizer.warmup = 0.0;
    config.optimizer.schedule = Schedule::Constant;
    config.run.steps = Some(48);
    config.run.eval_every = OrAuto::Given(16);
    config.run.patience = 0;
    config
}

fn advance(run: &mut TrainRun, home: &mut Home) -> Option<StopReason> {
    run.advance(home, &StopFlag::new(), &mut |_| ()).unwrap()
}

fn save(run: &mut TrainRun, home: &mut Home) {
    run.save(home, &StopFlag::new(), &mut |_| ()).unwrap();
}

/// Works to the end without a pause.
fn finish(run: &mut TrainRun, home: &mut Home) -> StopReason {
    loop {
        if let Some(reason) = advance(run, home) {
            return reason;
        }
    }
}

#[test]
fn set_back_to_its_checkpoint_after_every_piece_of_work_it_ends_in_the_same_bytes() {
    let place = Place::new();
    for (name, config, is_lowered) in
        [("usual", config(), false), ("too-high", config_of_too_high_a_rate(), true)]
    {
        let mut straight = place.home(&format!("{name}-straight"));
        let mut run = place.run(&straight, &config);
        assert_eq!(finish(&mut run, &mut straight), StopReason::Finished);
        save(&mut run, &mut straight);
        let expected = run.train_loop.result().unwrap();
        assert_eq!(run.train_loop.progress().first_steps.lowered_after.is_some(), is_lowered, "{name}");

        let mut cut = place.home(&format!("{name}-cut"));
        let mut pieces = 0;
        loop {
            let mut run = place.run(&cut, &config);
            let ended = advance(&mut run, &mut cut);
            save(&mut run, &mut cut);
            pieces += 1;
            if ended.is_some() {
                assert_eq!(run.train_loop.result().unwrap(), expected, "{name}");
                break;
            }
        }
        assert!(pieces > config.run.steps.unwrap(), "{name}: {pieces}");
        assert_eq!(cut.steps, straight.steps, "{name}");
        assert!(cut.checkpoint() == straight.checkpoint(), "{name}: other bytes");
    }
}

#[test]
fn the_result_is_the_best_adapter_and_without_evaluations_the_last() {
    let place = Place::new();
    let mut config = config();
    config.optimizer.lr = 0.3.into();
    let mut home = place.home("best");
    let mut run = place.run(&home, &config);
    let mut best = None;
    loop {
        let mut found = false;
        let ended = run.advance(&mut home, &StopFlag::new(), &mut |event| {
            found |= matches!(event, Event::Evaluated { best: true, .. });
        });
        if found {
            best =
                Some((run.train_loop.trainer().adapter().tensors().unwrap(), run.train_loop.progress().step));
        }
        if ended.unwrap().is_some() {
            break;
        }
    }
    let (best, step) = best.unwrap();
    let last = run.train_loop.trainer().adapter().tensors().unwrap();
    assert!(step < 7 && best != last, "step {step} is the last one");
    let (adapter, of) = run.train_loop.result().unwrap();
    assert_eq!((adapter.as_ref(), of), (&best, step));
    assert_eq!(run.train_loop.last_good(), Some(&best));

    config.run.eval_every = OrAuto::Given(0);
    let mut home = place.home("last");
    let mut run = place.run(&home, &config);
    finish(&mut run, &mut home);
    let last = run.train_loop.trainer().adapter().tensors().unwrap();
    let (adapter, of) = run.train_loop.result().unwrap();
    assert_eq!((adapter.as_ref(), of), (&last, 7));
}

#[test]
fn it_is_saved_after_its_steps_and_its_time_and_only_if_it_moved() {
    let place = Place::new();
    let saved_steps = |name: &str, checkpoint_every, save_every| {
        let mut config = config();
        config.run.checkpoint_every = checkpoint_every;
        let mut home = place.home(name);
        let mut run = place.run(&home, &config);
        run.save_every = save_every;
        let mut saved = Vec::new();
        let mut on_event = |event: &Event| {
            if let Event::Saved { step } = event {
                saved.push(*step);
            }
        };
        while run.advance(&mut home, &StopFlag::new(), &mut on_event).unwrap().is_none() {}
        for _ in 0..2 {
            run.save(&mut home, &StopFlag::new(), &mut on_event).unwrap();
        }
        assert_eq!(run.saved_step(), Some(7));
        // What was restored is as it was saved.
        place.run(&home, &config).save(&mut home, &StopFlag::new(), &mut on_event).unwrap();
        saved
    };
    // The last time with the evaluation after the last step.
    assert_eq!(saved_steps("steps", 3, Duration::MAX), [3, 6, 7]);
    assert_eq!(saved_steps("end", 0, Duration::MAX), [7]);
    let by_time = saved_steps("time", 0, Duration::ZERO);
    assert!(by_time.len() > 7 && by_time.is_sorted(), "{by_time:?}");
}

#[test]
fn a_checkpoint_that_cannot_be_of_the_run_is_refused() {
    let place = Place::new();
    let mut home = place.home("impossible");
    let mut run = place.run(&home, &config());
    advance(&mut run, &mut home); // within the first evaluation
    save(&mut run, &mut home);
    type Change = fn(&mut State);
    let impossible: [(&str, Change); 7] = [
        ("shapes", |state| drop(state.first_moment.pop_first())),
        ("gradients", |state| state.gradient = state.adapter.pairs.clone()),
        ("best adapter", |state| {
            state.best = state.adapter.pairs.clone();
            state.best.pop_last();
        }),
        ("steps", |state| state.progress.total_steps += 1),
        ("steps", |state| state.progress.step = 8),
        ("place in the data", |state| state.progress.next_batch = 1 << 40),
        ("evaluation", |state| state.progress.evaluating.as_mut().unwrap().next_batch = 1 << 40),
    ];
    for (words, change) in impossible {
        let (path, mut state) = checkpoint::load_latest(&home.vault, &home.folder).unwrap().unwrap();
        change(&mut state);
        let before = run.train_loop.progress().clone();
        let error = run.restore((path, state)).unwrap_err();
        let is_impossible = matches!(
            &error,
            Error::Store(StoreError::Checkpoint { problem: CheckpointProblem::Impossible(_), .. })
        );
        assert!(is_impossible && error.to_string().contains(words), "{words}: {error}");
        assert_eq!(run.train_loop.progress(), &before);
    }
}
