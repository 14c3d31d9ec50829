//! All of a run in a checkpoint, and back.
//!
//! The run counts in a [`Progress`], which writes itself; the numbers that are trained are written from where they are.

use std::borrow::Cow;
use std::path::Path;

use nightgraft_adapter::{AdapterTensors, LoraPairs};
use nightgraft_ggml::Buffer;
use nightgraft_store::checkpoint::{Matrices, PairShape, Progress, Snapshot, State, matrices, shapes};
use nightgraft_store::{CheckpointProblem, Error as StoreError, Impossibility};

use super::TrainLoop;
use crate::Result;

impl TrainLoop {
    /// The run as it is, with the settings and the fingerprint of the data by which it is known again.
    pub fn snapshot<'a>(&'a self, config: &'a str, data: &'a str) -> Snapshot<'a> {
        let trainer = &self.trainer;
        let adapter = trainer.adapter();
        let in_mid_step = trainer.progress.micro_step > 0;
        // Straight from where they are: copies of all of this would be the largest part of a small run's memory.
        Snapshot {
            config,
            base: *trainer.base().fingerprint(),
            data,
            progress: &trainer.progress,
            spec: adapter.spec(),
            shapes: self.shapes(),
            sets: [
                Some(read(adapter.parameters().map(|parameter| parameter.value))),
                Some(Box::new(trainer.optimizer.mean.iter().map(Cow::from))),
                Some(Box::new(trainer.optimizer.square.iter().map(Cow::from))),
                in_mid_step.then(|| read(adapter.parameters().map(|parameter| parameter.grad))),
                self.best.as_ref().map(|best| -> Matrices<'a> { Box::new(matrices(&best.pairs)) }),
            ],
        }
    }

    /// The shapes of the adapter's pairs, and so of all sets of numbers.
    fn shapes(&self) -> Vec<PairShape> {
        let pairs = self.trainer.adapter().pairs();
        let shapes = pairs.map(|(place, pair)| {
            let ((rank, n_in), (_, n_out)) = (pair.a.shape(), pair.b_t.shape());
            PairShape::new(place, rank, [n_in, n_out])
        });
        shapes.collect()
    }

    /// Bytes that a checkpoint of the run takes, a little more rather than less.
    pub fn checkpoint_bytes(&self) -> u64 {
        let sets = self.snapshot("", "").sets.iter().flatten().count();
        // 16 bytes of tag to every chunk of 64 KiB, and the header.
        (sets * 4 * self.trainer.adapter().n_parameters()) as u64 * 1001 / 1000 + (64 << 10)
    }

    /// Sets a fresh run back to the moment at which it was saved, in the file at `path`.
    ///
    /// # Errors
    /// [`StoreError::Checkpoint`] if the numbers are not of such a run, whatever the checksum says.
    pub fn restore(&mut self, path: &Path, state: State) -> Result<()> {
        if let Some(problem) = self.impossible(&state) {
            let problem = CheckpointProblem::Impossible(problem);
            return Err(StoreError::Checkpoint { path: path.to_owned(), problem }.into());
        }
        let State { progress, adapter, first_moment, second_moment, gradient, best, .. } = state;
        let trainer = &mut self.trainer;
        trainer.set_values(&adapter)?;
        if !gradient.is_empty() {
            trainer.set_gradients(&to_values(gradient))?;
        }
        trainer.optimizer.mean = to_values(first_moment);
        trainer.optimizer.square = to_values(second_moment);
        trainer.restore_progress(progress);
        self.best = (!best.is_empty()).then_some(AdapterTensors { spec: adapter.spec, pairs: best });
        Ok(())
    }

    /// What cannot be in a checkpoint of this run.
    fn impossible(&self, state: &State) -> Option<Impossibility> {
        let State { progress, adapter, first_moment, second_moment, gradient, best, .. } = state;
        let trainer = &self.trainer;
        let expected = self.shapes();
        let same_shape = |pairs: &LoraPairs| shapes(pairs) == expected;
        let Progress { step, total_steps, micro_step, epoch, next_batch, evaluating, .. } = progress;
        let in_mid_step = *micro_step > 0;
        if ![&adapter.pairs, first_moment, second_moment].into_iter().all(same_shape) {
            Some(Impossibility::AdapterShapes)
        } else if in_mid_step == gradient.is_empty() || in_mid_step && !same_shape(gradient) {
            Some(Impossibility::Gradients)
        } else if !best.is_empty() && !same_shape(best) {
            Some(Impossibility::BestShapes)
        } else if *total_steps != trainer.progress.total_steps || step > total_steps {
            Some(Impossibility::Steps)
        } else if *next_batch >= trainer.batches_of_epoch(*epoch) {
            Some(Impossibility::DataPosition)
        } else if evaluating.is_some_and(|at| at.next_batch >= self.held_out_batches()) {
            Some(Impossibility::Evaluation)
        } else {
            None
        }
    }
}

/// The numbers in buffers. One that cannot be read has no numbers, which is refused when they are written.
fn read<'a>(buffers: impl Iterator<Item = &'a Buffer> + 'a) -> Matrices<'a> {
    Box::new(buffers.map(|buffer| Cow::Owned(buffer.to_vec().unwrap_or_default())))
}

/// Turns pairs into values in the order of [`Adapter::parameters`](crate::lora::Adapter::parameters): A, then B of each.
fn to_values(pairs: LoraPairs) -> Vec<Vec<f32>> {
    pairs.into_values().flat_map(|pair| [pair.a, pair.b_t]).collect()
}
