//! The executor of ggml's graphs: it walks through the nodes as the CPU does, and makes a dispatch of each.

mod encode;
mod indices;
mod pace;
mod profile;
mod storage;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nightgraft_ggml::{self as ggml, DropoutKey, Graph, PlannedGraph};

use crate::operations::{copy_rows, dropout};
use crate::{Buffer, BufferRows, Device, Dispatch, Error, Tiles};
use encode::Encoder;
use indices::IndexCheck;
use pace::Pace;
pub use pace::SLOWEST;
use profile::Profile;
pub use profile::ShaderTime;
use storage::{Placed, Storage};

/// Computes graphs on a device, in f32. The device has its own copies of all buffers that graphs read or write:
///
/// - Weights of mapped files are copied when a graph is [loaded](Executor::load); they never change.
/// - Rows of integers are the host's: each computation checks and copies them.
/// - All other buffers begin as zeros on the device, also such as have no memory on the host. [`write`](Executor::write) and
///   [`read`](Executor::read) go to the device's values; what only graphs read and write stays there.
///
/// Work is submitted in pieces of some tens of milliseconds, between which a flag can stop it.
pub struct Executor {
    device: Arc<Device>,
    tiles: Tiles,
    storage: Storage,
    arena: Option<Buffer>,
    /// The rows that are copied, as integers.
    row_pairs: Option<Buffer>,
    pace: Pace,
    profile: Option<Profile>,
    transfers: Transfers,
    stop: Arc<AtomicBool>,
}

/// A graph whose every operation is ready to run.
pub struct LoadedGraph {
    plan: PlannedGraph,
    arena: Buffer,
    /// The work of a dispatch at most, when it was loaded and as it is cut now.
    loaded_for: u64,
    cut_for: u64,
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

/// What went between host and device, in bytes, weights included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Transfers {
    up: u64,
    down: u64,
}

/// What is read from a device at a time: the host has it twice meanwhile.
const DOWNLOAD_BYTES: u64 = 16 << 20;

/// What an executor has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// Pieces of work that were submitted.
    pub submissions: u64,
    /// The longest that one was seen to take.
    pub longest_submission: Duration,
    /// Bytes that were copied to the device.
    pub bytes_up: u64,
    /// Bytes that were copied to the host.
    pub bytes_down: u64,
}

impl LoadedGraph {
    /// Runs of shaders that a computation takes: all of its work.
    pub fn n_dispatches(&self) -> usize {
        self.steps.len()
    }

    /// Operations of the graph; views are none.
    pub fn n_operations(&self) -> usize {
        self.plan.nodes.len()
    }
}

impl Executor {
    /// An executor without graphs, whose products are cut into these tiles. `rate` is about how many multiply-adds the device does in
    /// a second ([`SLOWEST`] where nothing was measured): work is cut by it. Raising `stop` ends a computation between two pieces.
    pub fn new(device: Arc<Device>, tiles: Tiles, rate: f64, stop: Arc<AtomicBool>) -> Self {
        Self {
            device,
            tiles,
            storage: Storage::default(),
            arena: None,
            row_pairs: None,
            pace: Pace::new(rate),
            profile: None,
            transfers: Transfers::default(),
            stop,
        }
    }

    /// The device that computes.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// What was done so far.
    pub fn activity(&self) -> Activity {
        let (submissions, longest_submission) = self.pace.submitted();
        let Transfers { up, down } = self.transfers;
        Activity { submissions, longest_submission, bytes_up: up, bytes_down: down }
    }

    /// Makes graphs ready to be computed: copies their weights, makes room for their buffers and their intermediate results, and
    /// compiles their shaders. Graphs that are loaded together share one arena. Buffers that nobody else has any more lose theirs.
    ///
    /// # Errors
    /// [`Error::Operation`] for an operation that only the CPU computes, such as products of 16-bit integers, and for weights in a
    /// format of which that is true [`Error::WeightType`]; [`Error::OverLimit`] for a matrix that is more than a binding or an arena
    /// that is more than a buffer; [`Error::OutOfMemory`], [`Error::Lost`], [`Error::Failed`], [`Error::Unfinished`].
    pub fn load<'g>(
        &mut self,
        graphs: impl IntoIterator<Item = &'g mut Graph>,
    ) -> Result<Vec<LoadedGraph>, Error> {
        let plans = graphs.into_iter().map(Graph::planned).collect::<Result<Vec<_>, _>>()?;
        let values = plans.iter().flat_map(|plan| &plan.buffers);
        self.storage.forget_unshared();
        self.transfers.up += self.storage.place(&self.device, values)?;
        for plan in &plans {
            self.transfers.up += self.storage.upload(&self.device, plan, &self.stop)?;
        }
        let floats = plans.iter().map(encode::arena_floats).max().unwrap_or(0);
        let arena = self.arena(floats)?;
        let most_work = self.pace.most_work();
        let loaded = plans.into_iter().map(|plan| {
            let (steps, checks) = self.encode(&plan, &arena, most_work)?;
            let (arena, loaded_for, cut_for) = (arena.clone(), most_work, most_work);
            Ok(LoadedGraph { plan, arena, loaded_for, cut_for, steps, checks })
        });
        loaded.collect()
    }

    /// Makes room for buffers apart from all others, also such as no graph has.
    ///
    /// # Errors
    /// [`Error::OverLimit`], [`Error::OutOfMemory`], [`Error::Lost`].
    pub fn hold<'a>(&mut self, buffers: impl IntoIterator<Item = &'a ggml::Buffer>) -> Result<(), Error> {
        self.transfers.up += self.storage.place(&self.device, buffers)?;
        Ok(())
    }

    /// Frees the memory of intermediate results. Graphs that were loaded before keep it until they go.
    pub fn release_arena(&mut self) {
        self.arena = None;
    }

    /// Copies values to the device's rows from `first_row` on, before all that is computed afterwards.
    ///
    /// # Errors
    /// [`Error::Host`] if no loaded graph has the buffer; [`Error::OutOfRange`] if it has not so many rows; [`Error::OutOfMemory`],
    /// [`Error::Lost`], [`Error::Unfinished`].
    pub fn write(&mut self, buffer: &ggml::Buffer, first_row: usize, values: &[f32]) -> Result<(), Error> {
        let place = self.storage.of(buffer)?;
        let first = place.range(first_row, values.len())?;
        self.device.write(&place.buffer, 4 * first, bytemuck::cast_slice(values))?;
        self.transfers.up += 4 * values.len() as u64;
        Ok(())
    }

    /// Waits for all that was computed, and copies the device's rows from `first_row` on.
    ///
    /// # Errors
    /// They are those of [`write`](Self::write).
    pub fn read(&mut self, buffer: &ggml::Buffer, first_row: usize, out: &mut [f32]) -> Result<(), Error> {
        let place = self.storage.of(buffer)?;
        let first = place.range(first_row, out.len())?;
        out.copy_from_slice(&self.device.read_floats(&place.buffer, first, out.len() as u64)?);
        self.pace.all_done();
        self.transfers.down += 4 * out.len() as u64;
        Ok(())
    }

    /// Copies the host's values to the device, unless those that it has are the same: the host has not changed them since they were
    /// copied, in either direction.
    ///
    /// # Errors
    /// They are those of [`write`](Self::write), and [`Error::Host`] for a matrix without memory on the host.
    pub fn upload(&mut self, buffer: &ggml::Buffer) -> Result<(), Error> {
        if self.storage.version(buffer) != Some(buffer.version()) {
            self.write(buffer, 0, &buffer.to_vec()?)?;
            self.storage.set_version(buffer);
        }
        Ok(())
    }

    /// Waits for all that was computed, and copies the device's values of these buffers to the host. Nothing is written to the host
    /// before all of it was read.
    ///
    /// # Errors
    /// They are those of [`upload`](Self::upload), and [`Error::NotFinite`] if numbers are required and there is something else.
    pub fn download(&mut self, buffers: &[&ggml::Buffer], requires_numbers: bool) -> Result<(), Error> {
        let limit = self.device.limits().buffer_bytes.min(DOWNLOAD_BYTES);
        let places = buffers.iter().map(|buffer| self.storage.of(buffer)).collect::<Result<Vec<_>, _>>()?;
        let (mut values, mut pieces) = (Vec::new(), Vec::new());
        let mut size = 0;
        let read = |pieces: &mut Vec<(&Buffer, u64, u64)>, values: &mut Vec<f32>| -> Result<(), Error> {
            values.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&self.device.read_ranges(pieces)?));
            pieces.clear();
            Ok(())
        };
        for place in places {
            let bytes = 4 * place.floats();
            if size > 0 && size + bytes > limit {
                read(&mut pieces, &mut values)?;
                size = 0;
            }
            pieces.push((&place.buffer, 4 * place.first, bytes));
            size += bytes;
        }
        read(&mut pieces, &mut values)?;
        self.pace.all_done();
        if requires_numbers && !values.iter().all(|value| value.is_finite()) {
            return Err(Error::NotFinite { what: "a gradient" });
        }
        self.transfers.down += 4 * values.len() as u64;
        let mut values = values.as_slice();
        for buffer in buffers {
            let (n_rows, n_cols) = buffer.shape();
            let (own, others) = values.split_at(n_rows * n_cols);
            buffer.write(0, own)?;
            self.storage.set_version(buffer);
            values = others;
        }
        Ok(())
    }

    /// Sets all of the device's values of a buffer to zero, behind all that was computed.
    ///
    /// # Errors
    /// They are those of [`write`](Self::write).
    pub fn clear(&mut self, buffer: &ggml::Buffer) -> Result<(), Error> {
        let place = self.storage.of(buffer)?;
        self.device.clear(&place.buffer, 4 * place.first, 4 * place.floats())
    }

    /// Copies rows of one buffer to rows of another on the device, behind all that was computed: pairs of a row of `from` and one
    /// of `to`.
    ///
    /// # Errors
    /// [`Error::Host`] if no loaded graph has the buffers; [`Error::Shape`] for rows of another length, [`Error::OutOfRange`] for
    /// those that do not exist; those of [`compute`](Self::compute).
    pub fn copy_rows(&mut self, [from, to]: [&ggml::Buffer; 2], pairs: &[[usize; 2]]) -> Result<(), Error> {
        let (from, to) = (self.storage.of(from)?.clone(), self.storage.of(to)?.clone());
        if from.n_cols != to.n_cols {
            let (expected, got) = (to.n_cols.into(), from.n_cols.into());
            return Err(Error::Shape { op: "copy_rows", what: "columns", expected, got });
        }
        let mut integers = Vec::new();
        for &[source, target] in pairs {
            from.range(source, from.n_cols as usize)?;
            to.range(target, to.n_cols as usize)?;
            integers.extend([source as i32, target as i32]);
        }
        if pairs.is_empty() {
            return Ok(());
        }
        let bytes = 4 * integers.len() as u64;
        let place = match self.row_pairs.take().filter(|place| place.bytes() >= bytes) {
            Some(place) => place,
            None => self.device.zeros("rows that are copied", integers.len() as u64)?,
        };
        self.device.write(&place, 0, bytemuck::cast_slice(&integers))?;
        let list = BufferRows::whole(&place, [1, integers.len() as u32])?;
        let dispatch = copy_rows(&self.device, from.rows()?, to.rows()?, list)?;
        self.row_pairs = Some(place);
        self.run(vec![dispatch])
    }

    /// Starts a computation, behind all that was started before. It waits for most of it, so that little is under way.
    ///
    /// # Errors
    /// [`Error::Index`] for an integer that points nowhere; nothing is computed then. [`Error::Stopped`] if the flag was raised: what
    /// the graph stores into is undefined. [`Error::OutOfMemory`], [`Error::Lost`], [`Error::Failed`], [`Error::Unfinished`]; those of
    /// [`load`](Self::load) where the graph is cut again, because the device has become slower.
    pub fn compute(&mut self, graph: &mut LoadedGraph) -> Result<(), Error> {
        // A device that is hot is slow, and what was cut for its speed before takes too long then.
        let most_work = self.pace.most_work().min(graph.loaded_for);
        if most_work < graph.cut_for / 2 || most_work / 4 > graph.cut_for {
            (graph.steps, graph.checks) = self.encode(&graph.plan, &graph.arena, most_work)?;
            graph.cut_for = most_work;
        }
        for check in &graph.checks {
            self.transfers.up += check.upload(&self.device)?;
        }
        let run = |step: &Step| match step {
            Step::Run(dispatch) => Ok(dispatch.clone()),
            Step::Dropout { x, y, keep, key, salt } => {
                dropout(&self.device, x.rows()?, *keep, key.salted(*salt), y.rows()?)
            }
        };
        let dispatches = graph.steps.iter().map(run).collect::<Result<Vec<_>, _>>()?;
        self.run(dispatches)
    }

    /// Times each kind of shader from now on, which makes everything slower: each run is waited for.
    pub fn set_profiling(&mut self, on: bool) {
        self.profile = on.then(Profile::default);
    }

    /// The time that each kind of shader took since profiling began, the slowest first.
    pub fn shader_times(&self) -> Vec<ShaderTime> {
        self.profile.as_ref().map(Profile::times).unwrap_or_default()
    }

    fn run(&mut self, dispatches: Vec<Dispatch>) -> Result<(), Error> {
        match &mut self.profile {
            Some(profile) => profile.run(&self.device, &dispatches, &self.stop),
            None => self.pace.run(&self.device, dispatches, &self.stop),
        }
    }

    fn encode(
        &self,
        plan: &PlannedGraph,
        arena: &Buffer,
        most_work: u64,
    ) -> Result<(Vec<Step>, Vec<IndexCheck>), Error> {
        let Self { device, tiles, storage, .. } = self;
        let mut encoder = Encoder::new(device, *tiles, storage, plan, arena, most_work);
        plan.nodes.iter().try_for_each(|node| encoder.node(node))?;
        Ok(encoder.finish())
    }

    /// Memory of at least so many floats for intermediate results.
    fn arena(&mut self, floats: u64) -> Result<Buffer, Error> {
        if let Some(arena) = self.arena.as_ref().filter(|arena| arena.bytes() >= 4 * floats) {
            return Ok(arena.clone());
        }
        self.arena = None; // freed before the larger one is made
        let arena = self.device.zeros("the arena of a graph", floats)?;
        self.arena = Some(arena.clone());
        Ok(arena)
    }
}
