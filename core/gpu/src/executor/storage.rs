//! The device's copies of the host's matrices.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use nightgraft_ggml::{self as ggml, BufferId, Memory, Operation, PlannedGraph, PlannedProduct};
use nightgraft_kernels::Weights;

use crate::{Buffer, BufferRows, Device, Error, Matrix};

/// Where matrices lie in a device's memory. Many share one piece of it, so that the operands of a shader are in few pieces.
#[derive(Default)]
pub(super) struct Storage {
    places: HashMap<BufferId, Placed>,
    /// By the matrix of the host, the first of its bytes that is meant, and the rows from there on.
    weights: HashMap<(BufferId, usize, usize), Matrix>,
    /// All that have a place or weights here, kept because an id is another matrix's when its own is gone.
    buffers: Vec<ggml::Buffer>,
    /// The host's values that were copied, by their version.
    versions: HashMap<BufferId, u64>,
}

/// A matrix of floats, or a row of integers, in a piece of memory.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub buffer: Buffer,
    /// Values in front of it.
    pub first: u64,
    pub n_rows: u32,
    pub n_cols: u32,
    pub stride: u32,
}

/// What places of matrices are multiples of, in floats: a cache line.
const ALIGNMENT: u64 = 16;

impl Storage {
    /// Makes room for those of the buffers that are no matrices of weights and have none: whatever is in the host's own memory, and
    /// of mapped files the rows of floats, which are norms' weights and biases. Gives the bytes of those, which are copied.
    pub fn place<'a>(
        &mut self,
        device: &Device,
        buffers: impl IntoIterator<Item = &'a ggml::Buffer>,
    ) -> Result<u64, Error> {
        let mut copied = 0;
        let limit = device.limits().binding_bytes.min(device.limits().buffer_bytes) / 4;
        let mut pieces: Vec<(Vec<&ggml::Buffer>, u64)> = Vec::new();
        let mut seen = HashSet::new();
        for buffer in buffers {
            let is_known = self.places.contains_key(&buffer.id());
            let is_new = !is_known && is_values(buffer) && seen.insert(buffer.id());
            if !is_new {
                continue;
            }
            let floats = floats_of(buffer);
            if floats > limit {
                let (limit, got) = (4 * limit, 4 * floats);
                return Err(Error::OverLimit { what: "a matrix", unit: "bytes", limit, got });
            }
            match pieces.last_mut().filter(|(_, used)| used + floats <= limit) {
                Some((piece, used)) => {
                    piece.push(buffer);
                    *used += floats;
                }
                None => pieces.push((vec![buffer], floats)),
            }
        }
        for (piece, floats) in pieces {
            let memory = device.zeros("matrices", floats)?;
            let mut first = 0;
            for buffer in piece {
                let [n_rows, n_cols] = shape(buffer);
                if let Some(bytes) = buffer.mapped_bytes() {
                    device.write(&memory, 4 * first, bytes)?;
                    copied += bytes.len() as u64;
                }
                let placed = Placed { buffer: memory.clone(), first, n_rows, n_cols, stride: n_cols };
                self.places.insert(buffer.id(), placed);
                self.buffers.push(buffer.clone());
                first += floats_of(buffer);
            }
        }
        Ok(copied)
    }

    /// Forgets matrices that nobody else has a handle to.
    pub fn forget_unshared(&mut self) {
        let Self { places, weights, buffers, versions } = self;
        buffers.retain(|buffer| {
            // A matrix may be here once with a place and once with weights, but not twice with either.
            let is_needed = !buffer.is_last_handle();
            if !is_needed {
                places.remove(&buffer.id());
                versions.remove(&buffer.id());
                weights.retain(|(id, ..), _| *id != buffer.id());
            }
            is_needed
        });
    }

    /// The version of the host's values that the device has; none if it never got them.
    pub fn version(&self, buffer: &ggml::Buffer) -> Option<u64> {
        self.versions.get(&buffer.id()).copied()
    }

    /// Notes that the device has the host's values.
    pub fn set_version(&mut self, buffer: &ggml::Buffer) {
        self.versions.insert(buffer.id(), buffer.version());
    }

    /// Where a buffer lies.
    ///
    /// # Errors
    /// [`Error::Host`] if it does not.
    pub fn of(&self, buffer: &ggml::Buffer) -> Result<&Placed, Error> {
        let missing = || Error::Host { reason: format!("no loaded graph has the values of {buffer:?}") };
        self.places.get(&buffer.id()).ok_or_else(missing)
    }

    /// Copies the matrices of weights that a graph multiplies with from their files to the device, unless they are there. Gives
    /// the bytes that were copied.
    ///
    /// # Errors
    /// Those of [`Device::upload_matrix`], and [`Error::Stopped`] if the flag is raised.
    pub fn upload(&mut self, device: &Device, plan: &PlannedGraph, stop: &AtomicBool) -> Result<u64, Error> {
        let mut copied = 0;
        let products = plan.nodes.iter().filter_map(|node| match &node.operation {
            Operation::SumOfProducts { products, .. } => Some(products),
            _ => None,
        });
        for product in products.flatten() {
            let (PlannedProduct::Linear { w, .. }
            | PlannedProduct::Transposed { w, .. }
            | PlannedProduct::Int16 { w, .. }) = product;
            let Memory::Buffer(number) = w.memory else { continue };
            let buffer = &plan.buffers[number];
            let Some(bytes) = buffer.mapped_bytes() else { continue };
            let Entry::Vacant(entry) = self.weights.entry((buffer.id(), w.first_byte, w.n_rows)) else {
                continue;
            };
            let weights = || {
                let length = w.kind.row_bytes(w.n_cols)?.checked_mul(w.n_rows)?;
                Weights::new(w.kind, w.n_rows, w.n_cols, bytes.get(w.first_byte..)?.get(..length)?)
            };
            let missing =
                || Error::Host { reason: format!("{buffer:?} has other weights than a graph says") };
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let weights = weights().ok_or_else(missing)?;
            copied += weights.bytes().len() as u64;
            entry.insert(device.upload_matrix(weights)?);
            self.buffers.push(buffer.clone());
        }
        Ok(copied)
    }

    /// All that have a place.
    #[cfg(test)]
    pub fn buffers(&self) -> impl Iterator<Item = &ggml::Buffer> {
        self.buffers.iter().filter(|buffer| self.places.contains_key(&buffer.id()))
    }

    /// A matrix that was uploaded.
    pub fn weights(&self, w: &ggml::WeightMatrix, buffer: &ggml::Buffer) -> Option<&Matrix> {
        self.weights.get(&(buffer.id(), w.first_byte, w.n_rows))
    }
}

impl Placed {
    /// A shader's view of it.
    ///
    /// # Errors
    /// Those of [`BufferRows::new`].
    pub fn rows(&self) -> Result<BufferRows<'_>, Error> {
        BufferRows::new(&self.buffer, self.first, [self.n_rows, self.n_cols], self.stride)
    }

    /// The place of the first of `n` values from a row on, which lie without gaps.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if there are not so many.
    pub fn range(&self, first_row: usize, n: usize) -> Result<u64, Error> {
        let skipped = (first_row as u64).saturating_mul(self.n_cols.into());
        let end = skipped.saturating_add(n as u64);
        if end > self.floats() {
            let (end, bytes) = (end.saturating_mul(4), 4 * self.floats());
            return Err(Error::OutOfRange { what: "rows of a matrix", end, bytes });
        }
        Ok(self.first + skipped)
    }

    /// Its values, which lie without gaps.
    pub fn floats(&self) -> u64 {
        u64::from(self.n_rows) * u64::from(self.n_cols)
    }
}

fn is_values(buffer: &ggml::Buffer) -> bool {
    let is_row_of_floats = buffer.shape().0 == 1 && buffer.weight_type() == Some(ggml::WeightType::F32);
    buffer.mapped_bytes().is_none() || is_row_of_floats
}

fn shape(buffer: &ggml::Buffer) -> [u32; 2] {
    let (n_rows, n_cols) = buffer.shape();
    [n_rows, n_cols].map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn floats_of(buffer: &ggml::Buffer) -> u64 {
    let [n_rows, n_cols] = shape(buffer).map(u64::from);
    n_rows.saturating_mul(n_cols).next_multiple_of(ALIGNMENT)
}
