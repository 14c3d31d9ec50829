//! The work of a slice: training, then judging, one piece after the other.

use std::path::PathBuf;
use std::time::Instant;

use nightgraft_policy::gate::{self, GateReport, ModelRole};
use nightgraft_store::Error as StoreError;
use nightgraft_store::vault::Vault;
use nightgraft_store::{GraftMeta, IdSet, NewGraft, Store};

use super::measure::{Losses, Measurer};
use super::plan::PLAN;
use super::watch::Watcher;
use super::{
    Judging, Pause, Session, SessionReport, SessionRequest, Slice, SliceOutcome, Stage, Training,
    TrainingSummary, model_hash,
};
use crate::base::Base;
use crate::model_file::FileHash;
use crate::session::train_run::RunHome;
use crate::session::{DiscardReason, Event, Leftover, StopFlag, devices, inputs};
use crate::train::StopReason;
use crate::{Error, Result};

/// The document that holds what the gate has measured so far.
const MEASURED: &str = "gate";
/// Measured examples between two savings, which are short.
const SAVE_LOSSES_EVERY: usize = 8;

impl Session {
    /// Works until the session is over, its time, a stop request or the watch ends the slice; saves; says which. Nothing is
    /// saved before a model's file that is another one than at the session's beginning was read to its end: a slice waits for
    /// that, and a stop request, which does not, is told of with a warning.
    ///
    /// # Errors
    /// Those of reading and writing the store; what was saved last is then still there. [`Error::ModelChanged`] if the
    /// model's file is changed, replaced or removed meanwhile; all that was done before is saved. A run that diverges is no
    /// error: it ends the session with a report that says so.
    pub fn run_slice(
        &mut self,
        mut slice: Slice<'_>,
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<SliceOutcome> {
        let watcher = Watcher::new(self.halt.clone());
        let outcome = std::thread::scope(|scope| {
            let _watching = watcher.start(scope, &mut slice, stop);
            self.work(&watcher, on_event)
        });
        // Whatever ended the slice: what was done is not to be lost.
        let saved = self.save(stop, on_event);
        let outcome = outcome?;
        match saved {
            Err(Error::Cancelled) => {
                let text = "nothing of this slice is saved: it was stopped before all of the model's file was read, which has \
                            to show first that it is the one of the session's beginning";
                on_event(&Event::Warning { text: text.to_owned() });
            }
            saved => saved?,
        }
        Ok(outcome)
    }

    fn work(&mut self, watcher: &Watcher, on_event: &mut dyn FnMut(&Event)) -> Result<SliceOutcome> {
        loop {
            if let Some(reason) = watcher.pause().filter(|_| !matches!(self.stage, Stage::Over(_))) {
                return Ok(SliceOutcome::Paused { reason });
            }
            let started = Instant::now();
            let next = match &mut self.stage {
                Stage::Over(outcome) => return Ok(outcome.clone()),
                Stage::Training(training) => training.work(&mut self.store, &self.halt, on_event),
                Stage::Judging(judging) => judging.work(&mut self.store, &self.request, &self.halt, on_event),
            };
            let next = match next {
                Err(Error::NotFinite { .. }) if matches!(self.stage, Stage::Training(_)) => {
                    self.give_up(on_event).map(|()| None)
                }
                next => next,
            };
            match next {
                Ok(None) => {}
                Ok(Some(stage)) => {
                    if matches!(stage, Stage::Judging(_)) {
                        on_event(&Event::Judging);
                    }
                    self.stage = stage;
                }
                Err(Error::Cancelled) => {
                    let reason = watcher.pause().unwrap_or(Pause::Stopped);
                    return Ok(SliceOutcome::Paused { reason });
                }
                Err(error) => return Err(error),
            }
            let worked = started.elapsed();
            self.busy += worked;
            watcher.rest_after(worked);
        }
    }

    /// Ends a session that has diverged.
    fn give_up(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        let plan = match &mut self.stage {
            Stage::Training(training) => {
                // Damaged weights diverge, too, and it is not the examples' fault.
                training.run.model_hash(&mut self.store, &self.halt)?;
                training.plan.clone()
            }
            _ => return Ok(()),
        };
        let report = SessionReport {
            trained: plan.train.len(),
            replayed: plan.replayed.len(),
            held_out: plan.held_out.len(),
            learned: None,
            gate: GateReport::diverged(),
            graft: None,
            promoted: false,
        };
        plan.remember_diverged(&mut self.store)?;
        clear(&mut self.store)?;
        on_event(&Event::Judged(report.gate.clone()));
        self.stage = Stage::Over(SliceOutcome::Finished { report: Box::new(report) });
        Ok(())
    }

    fn save(&mut self, stop: &StopFlag, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        match &mut self.stage {
            Stage::Training(training) => training.run.save(&mut self.store, stop, on_event),
            Stage::Judging(judging) => judging.save(&mut self.store),
            Stage::Over(_) => Ok(()),
        }
    }
}

impl Training {
    fn work(
        &mut self,
        store: &mut Store,
        halt: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Option<Stage>> {
        let Some(reason) = self.run.advance(store, halt, on_event)? else { return Ok(None) };
        self.run.save(store, halt, on_event)?;
        let model = self.run.model_hash(store, halt)?;
        self.judging(reason, model, store, on_event).map(Some)
    }

    /// What is judged is the run's result.
    fn judging(
        &mut self,
        reason: StopReason,
        model: FileHash,
        store: &Store,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Stage> {
        let has_failed = self.run.train_loop.model().gpu().is_none();
        let gpu = self.gpu.take().filter(|_| !has_failed);
        let train_loop = &self.run.train_loop;
        let (candidate, best_step) = train_loop.result()?;
        let candidate = candidate.into_owned();
        let learned = TrainingSummary {
            steps: train_loop.progress().step,
            best_step,
            tokens: train_loop.trainer().tokens(),
            stopped_early: reason == StopReason::OutOfPatience,
            devices: train_loop.progress().devices.clone(),
        };
        let mut discard = |why| on_event(&Event::Discarded { what: Leftover::Measurements, why });
        let losses = match store.read_document(MEASURED) {
            Err(error @ StoreError::Corrupted { .. }) => {
                discard((&error).into());
                None
            }
            read => read?,
        };
        let (losses, others) = Losses::resume(losses, &self.sets, &candidate);
        if others {
            discard(DiscardReason::OtherSubject);
        }
        Ok(Stage::Judging(Box::new(Judging {
            plan: self.plan.clone(),
            sets: self.sets.clone(),
            candidate,
            learned,
            losses,
            measurer: None,
            gpu,
            model,
            is_saved: true,
        })))
    }
}

impl Judging {
    /// Measures one more example; when all are measured, judges and ends the session.
    fn work(
        &mut self,
        store: &mut Store,
        request: &SessionRequest,
        halt: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Option<Stage>> {
        // A graft in use that saw what was deleted since has to be replaced in any case.
        let current = store.current()?.filter(|current| Some(*current) == self.plan.parent);
        let subjects =
            [(ModelRole::Base, true), (ModelRole::Current, current.is_some()), (ModelRole::Candidate, true)];
        let asked = subjects.into_iter().filter(|(_, is_there)| *is_there).map(|(role, _)| role);
        let missing = asked.into_iter().find(|role| {
            let losses = self.losses.of_model(*role);
            self.sets.model_losses(*role, losses).is_none()
        });
        let Some(role) = missing else {
            let [base, current, candidate] = [ModelRole::Base, ModelRole::Current, ModelRole::Candidate]
                .map(|role| self.sets.model_losses(role, self.losses.of_model(role)));
            let (base, candidate) = (base.unwrap_or_default(), candidate.unwrap_or_default());
            let gate = gate::judge(&request.gate, &base, current.as_ref(), &candidate, store.seed());
            return self.end(store, gate, on_event).map(Some);
        };
        if self.measurer.as_ref().is_none_or(|measurer| measurer.role != role) {
            self.measurer = None; // its memory is free before the next one takes some
            let adapter = match (role, current) {
                (ModelRole::Current, Some(id)) => Some(store.graft(id)?.adapter),
                (ModelRole::Candidate, _) => Some(self.candidate.clone()),
                _ => None,
            };
            let base = Base::reopen(&request.model, &self.model)?;
            let n_threads = inputs::threads(request.training.run.threads);
            let gpu = self.gpu.as_ref();
            let measurer = Measurer::new(role, base, adapter.as_ref(), &self.sets, n_threads, gpu, halt)?;
            self.measurer = Some(measurer);
        }
        if let Some(measurer) = &mut self.measurer {
            let measured = measurer.next(&self.sets, self.losses.of_model(role));
            if let Some(failed) = devices::failure_of(&mut measurer.model, self.learned.steps) {
                self.gpu = None;
                on_event(&failed);
            }
            measured?;
            self.is_saved = false;
            if self.losses.of_model(role).last().is_some_and(|last| !last.loss.is_finite()) {
                return self.end(store, GateReport::diverged(), on_event).map(Some);
            }
        }
        if self.losses.of_model(role).len().is_multiple_of(SAVE_LOSSES_EVERY) {
            self.save(store)?;
        }
        Ok(None)
    }

    fn save(&mut self, store: &mut Store) -> Result<()> {
        if !self.is_saved {
            store.write_document(MEASURED, &self.losses)?;
            self.is_saved = true;
        }
        Ok(())
    }

    fn end(&self, store: &mut Store, gate: GateReport, on_event: &mut dyn FnMut(&Event)) -> Result<Stage> {
        on_event(&Event::Judged(gate.clone()));
        let plan = &self.plan;
        let parent_trained_on = match plan.parent {
            Some(parent) => store.graft(parent)?.meta.trained_on,
            None => IdSet::new(),
        };
        let new = NewGraft {
            base: plan.base,
            parent: plan.parent,
            trained_on: parent_trained_on.union(&plan.train),
            steps: self.learned.steps,
            best_step: self.learned.best_step,
            tokens: self.learned.tokens,
            settings: plan.settings.clone(),
            gate: gate.clone(),
        };
        // Killed below and opened again, a session comes by a second time.
        let last = store.grafts()?.into_iter().next_back();
        let is_this = |meta: &GraftMeta| {
            (meta.base, meta.parent, &meta.trained_on, meta.steps, &meta.settings)
                == (new.base, new.parent, &new.trained_on, new.steps, &new.settings)
        };
        let graft = match last.filter(|entry| entry.meta.as_ref().is_some_and(is_this)) {
            Some(entry) if store.graft(entry.id)?.adapter == self.candidate => entry.id,
            _ => store.add_graft(new, &self.candidate)?,
        };
        let promoted = gate.promote;
        if promoted {
            store.promote(graft)?;
        }
        clear(store)?;
        on_event(&Event::Grafted { graft, promoted });
        let report = SessionReport {
            trained: plan.train.len(),
            replayed: plan.replayed.len(),
            held_out: plan.held_out.len(),
            learned: Some(self.learned.clone()),
            gate,
            graft: Some(graft),
            promoted,
        };
        Ok(Stage::Over(SliceOutcome::Finished { report: Box::new(report) }))
    }
}

impl RunHome for Store {
    fn checkpoints(&self) -> (PathBuf, &Vault) {
        (self.session_folder(), self.vault())
    }

    fn reserve(&mut self, bytes: u64) -> Result<()> {
        Ok(self.make_room(bytes)?)
    }

    fn keep_model_hash(&mut self, hash: FileHash) -> Result<()> {
        model_hash::remember(self, hash)
    }
}

/// Removes what belongs to the session under way. The plan goes first: killed in between, the rest is of no session, and the
/// next one clears it away.
fn clear(store: &mut Store) -> Result<()> {
    store.remove_document(PLAN)?;
    Ok(store.drop_session().map(drop)?)
}
