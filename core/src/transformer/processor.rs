//! What computes a model's graphs: the CPU, or a GPU that has copies of all matrices of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nightgraft_ggml::{Buffer, Cpu, Error as GgmlError, Graph};
use serde::Serialize;

use super::gpu::{GpuProcessor, LoadedGraph, OpenGpu};
use crate::Result;

/// What computes.
pub(super) enum Processor {
    Cpu(Cpu),
    Gpu(Box<GpuProcessor>),
}

/// A graph that one of them can compute.
pub(super) enum Prepared {
    Cpu(Graph),
    Gpu(LoadedGraph),
}

/// Operations that were computed so far, views and the choice of rows not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OperationCount {
    /// By the CPU.
    pub cpu: u64,
    /// By a GPU.
    pub gpu: u64,
}

/// What was submitted to a GPU and copied so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuActivity {
    /// Pieces of work.
    pub submissions: u64,
    /// The longest that one was seen to take.
    pub longest_submission: Duration,
    /// Bytes that were copied to the GPU.
    pub bytes_up: u64,
    /// Bytes that were copied from it.
    pub bytes_down: u64,
}

impl Processor {
    pub fn cpu(n_threads: usize, stop: Arc<AtomicBool>) -> Result<Self> {
        Ok(Self::Cpu(Cpu::new(n_threads, stop)?))
    }

    #[cfg_attr(not(feature = "gpu"), expect(unreachable_code, reason = "there are no values of `OpenGpu`"))]
    pub fn gpu(gpu: &OpenGpu, stop: Arc<AtomicBool>) -> Self {
        Self::Gpu(Box::new(GpuProcessor::new(gpu, stop)))
    }

    pub fn is_gpu(&self) -> bool {
        matches!(self, Self::Gpu(_))
    }

    /// A matrix of zeros that graphs read and write: in the host's memory for the CPU alone.
    pub fn matrix(&self, n_rows: usize, n_cols: usize) -> Result<Buffer, GgmlError> {
        match self {
            Self::Cpu(_) => Buffer::f32(n_rows, n_cols),
            Self::Gpu(_) => Buffer::unallocated(n_rows, n_cols),
        }
    }

    /// Makes room for matrices apart from all others, also such as no graph has.
    pub fn hold<'a>(&mut self, buffers: impl IntoIterator<Item = &'a Buffer>) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => Ok(gpu.hold(buffers)?),
        }
    }

    /// Refuses a GPU's loss that is no number: the CPU has to compute it, too, before anybody concludes anything from that.
    pub fn trust_loss(&self, loss: f64) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => Ok(gpu.trust_loss(loss)?),
        }
    }

    /// Makes graphs ready to be computed.
    pub fn prepare(&mut self, graphs: Vec<Graph>) -> Result<Vec<Prepared>> {
        match self {
            Self::Cpu(_) => Ok(graphs.into_iter().map(Prepared::Cpu).collect()),
            Self::Gpu(gpu) => Ok(gpu.load(graphs)?.into_iter().map(Prepared::Gpu).collect()),
        }
    }

    /// Computes a graph that it has prepared.
    pub fn compute(&mut self, graph: &mut Prepared, count: &mut OperationCount) -> Result<()> {
        match (self, graph) {
            (Self::Cpu(cpu), Prepared::Cpu(graph)) => {
                count.cpu += graph.n_operations() as u64;
                Ok(cpu.compute(graph)?)
            }
            (Self::Gpu(gpu), Prepared::Gpu(graph)) => {
                count.gpu += GpuProcessor::n_operations(graph);
                Ok(gpu.compute(graph)?)
            }
            _ => unreachable!("what one processor prepared goes when another one takes its place"),
        }
    }

    /// A micro-batch is being trained.
    pub fn count_trained(&mut self) {
        if let Self::Gpu(gpu) = self {
            gpu.count_trained();
        }
    }

    /// Writes rows of a matrix from `first_row` on.
    pub fn write(&mut self, buffer: &Buffer, first_row: usize, values: &[f32]) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(buffer.write(first_row, values)?),
            Self::Gpu(gpu) => Ok(gpu.write(buffer, first_row, values)?),
        }
    }

    /// Reads rows of a matrix from `first_row` on.
    pub fn read(&mut self, buffer: &Buffer, first_row: usize, out: &mut [f32]) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(buffer.read(first_row, out)?),
            Self::Gpu(gpu) => Ok(gpu.read(buffer, first_row, out)?),
        }
    }

    /// Sets all values of a matrix to zero.
    pub fn clear(&mut self, buffer: &Buffer) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(buffer.clear()?),
            Self::Gpu(gpu) => Ok(gpu.clear(buffer)?),
        }
    }

    /// Copies rows of one matrix to rows of another: pairs of a row of `from` and one of `to`.
    pub fn copy_rows(&mut self, [from, to]: [&Buffer; 2], pairs: &[[usize; 2]]) -> Result<()> {
        match self {
            Self::Cpu(_) => {
                let mut row = vec![0.0; from.shape().1];
                for &[source, target] in pairs {
                    from.read(source, &mut row)?;
                    to.write(target, &row)?;
                }
                Ok(())
            }
            Self::Gpu(gpu) => Ok(gpu.copy_rows([from, to], pairs)?),
        }
    }

    /// Sees to it that graphs read what the host has in these matrices.
    pub fn take_from_host<'a>(&mut self, buffers: impl IntoIterator<Item = &'a Buffer>) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => Ok(buffers.into_iter().try_for_each(|buffer| gpu.upload(buffer))?),
        }
    }

    /// Sees to it that the host has what graphs have written to these matrices. Where it cannot, none of them has changed.
    pub fn give_to_host(&mut self, buffers: &[&Buffer]) -> Result<()> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => Ok(gpu.download(buffers)?),
        }
    }

    /// The GPU, if it is one.
    pub fn as_gpu(&mut self) -> Option<&mut GpuProcessor> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(gpu) => Some(gpu),
        }
    }

    /// Gives back the memory of intermediate results.
    pub fn release_arena(&mut self) {
        match self {
            Self::Cpu(cpu) => cpu.release_arena(),
            Self::Gpu(gpu) => gpu.release_arena(),
        }
    }
}
