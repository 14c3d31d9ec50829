//! A GPU as a model's processor.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nightgraft_files::atomic;
use nightgraft_ggml::{Buffer, Graph, OpTime};
pub(super) use nightgraft_gpu::LoadedGraph;
use nightgraft_gpu::{Activity, AdapterKind, Arithmetic, Device, Executor, ShaderTime, Tiles};

use super::gpu_fault::GpuFault;
use super::processor::GpuActivity;
use super::recompute::HEAD_ROWS;
use crate::error::GpuError;

/// A GPU that may compute, and what was found out about it.
#[derive(Clone)]
pub struct OpenGpu {
    pub(crate) device: Arc<Device>,
    /// How products are cut.
    pub(crate) tiles: Tiles,
    /// Multiply-adds that it does in a second, about.
    pub(crate) rate: f64,
    /// Where the shaders are kept that its driver has compiled, if they are.
    pub(crate) pipelines: Option<PathBuf>,
    /// A fault that it is to imitate.
    pub(crate) fault: Option<GpuFault>,
}

impl fmt::Debug for OpenGpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenGpu").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl OpenGpu {
    /// What its driver calls it.
    pub fn name(&self) -> String {
        self.device.info().name.clone()
    }

    /// Its name and its products' arithmetic: two that are described alike compute alike, but for another driver.
    pub fn description(&self) -> String {
        let arithmetic = match self.tiles.linear.arithmetic() {
            Arithmetic::F32 => "f32",
            Arithmetic::F16 => "f16",
            Arithmetic::Cooperative => "matrix units",
        };
        format!("{}, {arithmetic}", self.name())
    }

    /// Whether products have operands in single precision.
    pub fn is_exact(&self) -> bool {
        let Tiles { linear, transposed } = self.tiles;
        [linear, transposed].iter().all(|tile| tile.arithmetic() != Arithmetic::F16)
    }

    /// The most rows of a head with so many tokens in its vocabulary whose logits are in one binding and in one buffer.
    pub fn most_head_rows(&self, n_vocab: usize) -> usize {
        let limits = self.device.limits();
        let bytes = limits.binding_bytes.min(limits.buffer_bytes);
        // What the head has there besides is much less than a sixteenth.
        let most = (bytes - bytes / 16) / (4 * n_vocab.max(1) as u64);
        HEAD_ROWS.into_iter().find(|rows| *rows as u64 <= most).unwrap_or(most.max(1) as usize)
    }

    /// Whether what it takes comes out of the host's memory.
    pub fn shares_memory(&self) -> bool {
        matches!(self.device.info().kind, AdapterKind::Integrated | AdapterKind::Software)
    }

    /// Waits for what is under way, after which the driver has back what nobody holds any more. If it fails, the next call says so.
    pub fn free_memory(&self) {
        if let Err(error) = self.device.wait() {
            tracing::warn!(%error, "the GPU was not waited for");
        }
    }
}

/// Writes what a device's driver has compiled. What cannot be kept is compiled again.
pub fn keep_pipelines(device: &Device, path: &Path) {
    if let Some(data) = device.pipeline_data()
        && let Err(error) = atomic::write_file(path, &data.to_bytes())
    {
        tracing::warn!(%error, "the compiled shaders are not kept");
    }
}

/// An open GPU with a model's matrices.
pub(super) struct GpuProcessor {
    executor: Executor,
    pipelines: Option<PathBuf>,
    fault: Option<GpuFault>,
    arithmetic: Arithmetic,
    /// Micro-batches that were trained.
    n_trained: u64,
}

type Result<T, E = GpuError> = std::result::Result<T, E>;

impl GpuProcessor {
    pub fn new(gpu: &OpenGpu, stop: Arc<AtomicBool>) -> Self {
        let executor = Executor::new(gpu.device.clone(), gpu.tiles, gpu.rate, stop);
        Self {
            executor,
            pipelines: gpu.pipelines.clone(),
            fault: gpu.fault,
            arithmetic: gpu.tiles.linear.arithmetic(),
            n_trained: 0,
        }
    }

    pub fn load(&mut self, mut graphs: Vec<Graph>) -> Result<Vec<LoadedGraph>> {
        self.executor.load(&mut graphs)
    }

    pub fn hold<'a>(&mut self, buffers: impl IntoIterator<Item = &'a Buffer>) -> Result<()> {
        self.executor.hold(buffers)
    }

    pub fn trust_loss(&self, loss: f64) -> Result<()> {
        if loss.is_finite() { Ok(()) } else { Err(GpuError::NotFinite { what: "a loss" }) }
    }

    pub fn compute(&mut self, graph: &mut LoadedGraph) -> Result<()> {
        self.executor.compute(graph)
    }

    /// A micro-batch is being trained.
    pub fn count_trained(&mut self) {
        self.n_trained += 1;
        if let Some(fault) = self.fault {
            fault.apply_to_training(self.executor.device(), self.n_trained);
        }
    }

    pub fn n_operations(graph: &LoadedGraph) -> u64 {
        graph.n_operations() as u64
    }

    pub fn write(&mut self, buffer: &Buffer, first_row: usize, values: &[f32]) -> Result<()> {
        self.executor.write(buffer, first_row, values)
    }

    pub fn read(&mut self, buffer: &Buffer, first_row: usize, out: &mut [f32]) -> Result<()> {
        self.executor.read(buffer, first_row, out)
    }

    pub fn clear(&mut self, buffer: &Buffer) -> Result<()> {
        self.executor.clear(buffer)
    }

    pub fn copy_rows(&mut self, buffers: [&Buffer; 2], pairs: &[[usize; 2]]) -> Result<()> {
        self.executor.copy_rows(buffers, pairs)
    }

    pub fn upload(&mut self, buffer: &Buffer) -> Result<()> {
        self.executor.upload(buffer)
    }

    pub fn download(&mut self, buffers: &[&Buffer]) -> Result<()> {
        self.executor.download(buffers, true)
    }

    pub fn release_arena(&mut self) {
        self.executor.release_arena();
    }

    /// Keeps what the driver has compiled so far for the next process.
    pub fn keep_pipelines(&self) {
        if let Some(path) = &self.pipelines {
            keep_pipelines(self.executor.device(), path);
        }
    }

    pub fn activity(&self) -> GpuActivity {
        let Activity { submissions, longest_submission, bytes_up, bytes_down } = self.executor.activity();
        GpuActivity { submissions, longest_submission, bytes_up, bytes_down }
    }

    pub fn set_profiling(&mut self, on: bool) {
        self.executor.set_profiling(on);
    }

    /// The time of each kind of shader; operations of those that are products with the model's matrices.
    pub fn shader_times(&self) -> Vec<(&'static str, OpTime)> {
        let time = |shader: ShaderTime| {
            let is_product = shader.name.starts_with("linear");
            let flops = if is_product { 2.0 * shader.multiply_adds as f64 } else { 0.0 };
            (shader.name, OpTime { calls: shader.runs, seconds: shader.seconds, flops })
        };
        self.executor.shader_times().into_iter().map(time).collect()
    }

    /// Billions of operations a second that the device does where no memory is in between.
    pub fn peak_gflops(&self) -> Result<f64> {
        nightgraft_gpu::measure_peak(self.executor.device(), self.arithmetic)
    }
}
