//! The executor of ggml's graphs: it walks through the nodes as the CPU does, and makes a dispatch of each.

mod encode;
mod indices;
mod storage;
#[cfg(test)]
mod tests;

use nightgraft_ggml::{self as ggml, DropoutKey, Graph, PlannedGraph};

use crate::operations::dropout;
use crate::{Buffer, Device, Dispatch, Error, Tile};
use encode::Encoder;
use indices::IndexCheck;
use storage::{Placed, Storage};

/// Computes graphs on a device, in f32. The device has its own copies of all buffers that graphs read or write:
///
/// - Weights of mapped files are copied when a graph is [loaded](Executor::load); they never change.
/// - Rows of integers are the host's: each computation checks and copies them.
/// - All other buffers begin as zeros on the device. [`write`](Executor::write) copies the host's values there, and
///   [`read`](Executor::read) the device's back; what only graphs read and write stays there.
pub struct Executor<'d> {
    device: &'d Device,
    tile: Tile,
    storage: Storage,
    arena: Option<Buffer>,
}

/// A graph whose every operation is ready to run.
pub struct LoadedGraph {
    steps: Vec<Step>,
    checks: Vec<IndexCheck>,
}

/// What is submitted for a node, or for a part of it.
enum Step {
    /// A dispatch of which nothing has to be set before it is submitted.
    Run(Dispatch),
    /// With the mask of the key's value at the time.
    Dropout { x: Placed, y: Placed, keep: f32, key: DropoutKey, salt: u64 },
}

impl LoadedGraph {
    /// Runs of shaders that a computation takes: all of its work.
    pub fn n_dispatches(&self) -> usize {
        self.steps.len()
    }
}

impl<'d> Executor<'d> {
    /// An executor without graphs, whose products are cut into these tiles.
    pub fn new(device: &'d Device, tile: Tile) -> Self {
        Self { device, tile, storage: Storage::default(), arena: None }
    }

    /// Makes graphs ready to be computed: copies their weights, makes room for their buffers and their intermediate results, and
    /// compiles their shaders. Graphs that are loaded together share one arena.
    ///
    /// # Errors
    /// [`Error::Operation`] for an operation that only the CPU computes, such as products of 16-bit integers, and for weights in a
    /// format of which that is true [`Error::WeightType`]; [`Error::OverLimit`] for a matrix or an arena that is more than a
    /// binding; [`Error::OutOfMemory`], [`Error::Lost`], [`Error::Failed`].
    pub fn load<'g>(
        &mut self,
        graphs: impl IntoIterator<Item = &'g mut Graph>,
    ) -> Result<Vec<LoadedGraph>, Error> {
        let plans = graphs.into_iter().map(Graph::planned).collect::<Result<Vec<_>, _>>()?;
        let values = plans.iter().flat_map(|plan| &plan.buffers);
        self.storage.place(self.device, values)?;
        plans.iter().try_for_each(|plan| self.storage.upload(self.device, plan))?;
        let floats = plans.iter().map(encode::arena_floats).max().unwrap_or(0);
        let arena = self.arena(floats)?;
        plans.iter().map(|plan| self.encode(plan, &arena)).collect()
    }

    /// Copies the host's values of a buffer to the device, before all that is computed afterwards.
    ///
    /// # Errors
    /// [`Error::Host`] if no loaded graph has the buffer, or the host's copy is no matrix of floats that can be read;
    /// [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn write(&self, buffer: &ggml::Buffer) -> Result<(), Error> {
        let place = self.storage.of(buffer)?;
        self.device.write(&place.buffer, 4 * place.first, bytemuck::cast_slice(&buffer.to_vec()?))
    }

    /// Waits for all that was computed, and copies the device's values of a buffer to the host.
    ///
    /// # Errors
    /// [`Error::Host`] if no loaded graph has the buffer, or the host's copy is no matrix of floats that can be written to;
    /// [`Error::OutOfMemory`], [`Error::Lost`], [`Error::Unfinished`].
    pub fn read(&self, buffer: &ggml::Buffer) -> Result<(), Error> {
        let place = self.storage.of(buffer)?;
        Ok(buffer.write(0, &self.device.read_floats(&place.buffer, place.first, place.floats())?)?)
    }

    /// Starts a computation, behind all that was started before. It does not wait for it.
    ///
    /// # Errors
    /// [`Error::Index`] for an integer that points nowhere; nothing is computed then. [`Error::OutOfMemory`], [`Error::Lost`],
    /// [`Error::Failed`].
    pub fn compute(&self, graph: &LoadedGraph) -> Result<(), Error> {
        for check in &graph.checks {
            check.upload(self.device)?;
        }
        let run = |step: &Step| match step {
            Step::Run(dispatch) => Ok(dispatch.clone()),
            Step::Dropout { x, y, keep, key, salt } => {
                dropout(self.device, x.rows()?, *keep, key.salted(*salt), y.rows()?)
            }
        };
        self.device.submit(&graph.steps.iter().map(run).collect::<Result<Vec<_>, _>>()?)
    }

    fn encode(&self, plan: &PlannedGraph, arena: &Buffer) -> Result<LoadedGraph, Error> {
        let Self { device, tile, storage, .. } = self;
        let mut encoder = Encoder::new(device, *tile, storage, plan, arena);
        plan.nodes.iter().try_for_each(|node| encoder.node(node))?;
        let (steps, checks) = encoder.finish();
        Ok(LoadedGraph { steps, checks })
    }

    /// Memory of at least so many floats for intermediate results.
    fn arena(&mut self, floats: u64) -> Result<Buffer, Error> {
        if let Some(arena) = self.arena.as_ref().filter(|arena| arena.bytes() >= 4 * floats) {
            return Ok(arena.clone());
        }
        let limit = self.device.limits().binding_bytes;
        if 4 * floats > limit {
            let what = "the arena of a graph";
            return Err(Error::OverLimit { what, unit: "bytes", limit, got: 4 * floats });
        }
        let arena = self.device.zeros("the arena of a graph", floats)?;
        self.arena = Some(arena.clone());
        Ok(arena)
    }
}
