//! How fast this device trains a model: real steps on made-up tokens.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nightgraft_random::Random;
use nightgraft_text::Example;
use nightgraft_text::data::{self, BatchOptions};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::inputs::threads;
use super::memory_plan::{self, AdapterCopies, MemoryPlan, MemoryPlanner};
use super::notice::Notice;
use super::{DeviceOptions, StopFlag, devices, run_setup};
use crate::Result;
use crate::base::Base;
use crate::config::{Precision, TrainConfig};
use crate::lora::Adapter;
use crate::model_file::ModelFile;
use crate::process_memory::anonymous_bytes;
use crate::train::AdamW;
use crate::transformer::speed::{self, OpTime};
use crate::transformer::{GpuActivity, Model, ModelGpu, ModelOptions, RecomputePolicy, resolve_precision};

/// Any rate takes the same time.
const RATE: f64 = 1e-4;

/// What to measure.
#[derive(Debug, Clone)]
pub struct BenchRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// The settings: the adapter, the tokens of an example (`data.context`) and of a micro-batch, precision, threads.
    pub config: TrainConfig,
    /// How long to go on; at least three steps are made.
    pub duration: Duration,
    /// Whether to time each kind of operation.
    pub profile: bool,
    /// Bytes of anonymous memory that it may take; none for any.
    pub memory_limit: Option<u64>,
    /// How GPUs may be used, if the settings ask for one.
    pub devices: DeviceOptions,
}

/// What was measured; times are of whole optimizer steps, the first not counted.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// Where: `cpu` and the instructions used, or the name of a GPU.
    pub device: String,
    /// What went to the GPU and came from it in a step; none where the processor computes.
    pub gpu: Option<GpuBench>,
    /// Threads that computed.
    pub threads: usize,
    /// How products were computed.
    pub precision: Precision,
    /// Tokens of an example.
    pub context: usize,
    /// Tokens of a step.
    pub step_tokens: usize,
    /// Steps timed.
    pub steps: usize,
    /// The median step's tokens for each second of wall-clock time.
    pub tokens_per_second: f64,
    /// The median step's tokens for each second of processor time, divided by the threads: what other programs take does not
    /// count.
    pub tokens_per_cpu_second: f64,
    /// Billions of multiplications and additions a second that training these tokens needs, by processor time; on a GPU by
    /// wall-clock time. What is computed again to save memory does not count.
    pub gflops: f64,
    /// Billions of multiplications and additions a second of a plain product of f32 matrices, the best of several, by processor
    /// time as well; of a GPU, of multiply-adds, or of its matrix units if products are computed with them, with no memory in between.
    pub gemm_gflops: f64,
    /// Largest anonymous memory after any step, in bytes; the mapped model does not count.
    pub anonymous_bytes: u64,
    /// What was planned.
    pub plan: MemoryPlan,
    /// Kinds of operations, the slowest first; none unless asked for.
    pub operations: Vec<Operation>,
    /// What a person should know of the settings, in words.
    pub warnings: Vec<String>,
}

/// What a GPU does in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GpuBench {
    /// Pieces of work that are submitted.
    pub submissions: f64,
    /// Milliseconds of the longest of all.
    pub longest_submission: f64,
    /// Bytes that are copied to it, the model's matrices not among them.
    pub bytes_up: f64,
    /// Bytes that are copied from it.
    pub bytes_down: f64,
}

/// All operations of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    /// What they compute.
    pub name: String,
    /// How often in a step.
    pub calls: f64,
    /// Milliseconds in a step.
    pub milliseconds: f64,
    /// Billions of operations a second, for matrix products.
    pub gflops: Option<f64>,
}

/// Trains a throw-away adapter on random tokens for a while; `on_step` gets the tokens a second so far.
///
/// # Errors
/// Any of [`Error`](crate::Error)'s for an unusable model or settings; [`Error::Cancelled`](crate::Error::Cancelled) if stopped.
pub fn bench(request: &BenchRequest, stop: &StopFlag, on_step: &mut dyn FnMut(f64)) -> Result<BenchReport> {
    request.config.validate()?;
    let mut config = request.config.clone();
    let base = Base::open(ModelFile::open(&request.model)?)?.without_vocabulary();
    let notices: Vec<_> = Notice::of_model(&config.data, &base).collect();
    let spec = base.spec.clone();
    let mut warnings = Notice::words(&notices);
    let gpu = devices::choose_with_warnings(&config.run, &request.devices, &base, stop, &mut warnings)?;
    let (gpu, first_step) = gpu.map(|chosen| (chosen.gpu, chosen.first_step)).unzip();
    let mut first_step = first_step.flatten();
    let process = memory_plan::process_bytes();
    let tensors = run_setup::initial_adapter(&mut config, None, &base)?;
    let n_threads = threads(config.run.threads);
    let (context, capacity) = (config.data.context, config.data.batch_tokens().max(config.data.context));
    let counts = [capacity as u64, process];
    let planner = MemoryPlanner::new(&base, &tensors, &config, AdapterCopies::NONE, counts, gpu.as_ref())?;
    let recompute = planner.choose_policy(request.memory_limit)?;
    let precision = match &gpu {
        Some(gpu) if gpu.is_exact() => Precision::F32,
        Some(_) => Precision::Mixed,
        None => resolve_precision(config.run.precision),
    };
    let options = ModelOptions {
        trains: true,
        capacity,
        n_threads,
        precision: config.run.precision,
        recompute: if gpu.is_some() { RecomputePolicy::MIN_MEMORY } else { recompute },
        gpu: gpu.map(|device| ModelGpu { device, recompute }),
    };
    let adapter = Adapter::new(&tensors)?;
    let lora = tensors.spec.clone();
    drop(tensors);
    let mut model = Model::new(base, Some(&adapter), options, stop.raw())?;
    let mut optimizer = AdamW::new(&config.optimizer, &adapter);
    let examples = examples(spec.n_vocab, context, capacity / context);
    let thread_time = || processor_time() / n_threads as u32;
    let gemm_gflops = match model.gpu_peak()? {
        Some(peak) => peak,
        None => speed::gemm_gflops(n_threads, thread_time)?,
    };

    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    let mut anonymous = 0;
    let step_tokens = context * examples.len();
    let options = BatchOptions { batch_tokens: capacity, packing: true, shuffle: false, seed: 0 };
    let plan = data::plan_epoch(&examples, 0, &options);
    let mut step = |model: &mut Model, n: usize| -> Result<()> {
        adapter.clear_gradients()?;
        let mut supervised = 0;
        for members in &plan {
            supervised += model.accumulate_gradients(&data::assemble(&examples, members))?.supervised;
        }
        optimizer.update(&adapter, n as u64, supervised, RATE)?;
        Ok(())
    };
    let mut before = None;
    let began = Instant::now();
    while wall.len() < 3 || began.elapsed() < request.duration {
        let (wall_before, cpu_before) = (Instant::now(), thread_time());
        devices::marked(first_step.take(), &mut model, |model| step(model, wall.len() + 1))?;
        anonymous = anonymous.max(anonymous_bytes());
        if wall.is_empty() {
            // The first step makes the graphs and reads the model's pages.
            speed::set_profiling(request.profile);
            before = model.gpu_activity();
        }
        wall.push(wall_before.elapsed().as_secs_f64());
        cpu.push((thread_time() - cpu_before).as_secs_f64());
        on_step(step_tokens as f64 / wall[wall.len() - 1]);
    }
    let steps = wall.len() - 1;
    let gpu = before.zip(model.gpu_activity()).map(|(before, after)| GpuBench::new(before, after, steps));
    let wall = median(&mut wall[1..]);
    let operations = if gpu.is_some() && request.profile {
        // Timing them makes them slower, so that it is done in a step of its own.
        model.set_gpu_profiling(true);
        let started = Instant::now();
        step(&mut model, steps + 2)?;
        operations(model.gpu_times(), 1, started.elapsed().as_secs_f64())
    } else {
        operations(speed::op_times(), steps, wall)
    };
    speed::set_profiling(false);
    warnings.extend(devices::failure_of(&mut model, steps as u64).and_then(|event| event.warning()));
    let cpu = median(&mut cpu[1..]);
    let seconds = if gpu.is_some() { wall } else { cpu };
    Ok(BenchReport {
        device: devices::name_of(&model),
        gpu,
        threads: n_threads,
        precision,
        context,
        step_tokens,
        steps,
        tokens_per_second: step_tokens as f64 / wall,
        tokens_per_cpu_second: step_tokens as f64 / cpu,
        gflops: useful_flops(&spec, &lora, context) * step_tokens as f64 / seconds * 1e-9,
        gemm_gflops,
        anonymous_bytes: anonymous,
        plan: planner.plan(recompute),
        operations,
        warnings,
    })
}

impl GpuBench {
    fn new(before: GpuActivity, after: GpuActivity, steps: usize) -> Self {
        let of_step = |count: fn(&GpuActivity) -> u64| (count(&after) - count(&before)) as f64 / steps as f64;
        Self {
            submissions: of_step(|activity| activity.submissions),
            longest_submission: 1e3 * after.longest_submission.as_secs_f64(),
            bytes_up: of_step(|activity| activity.bytes_up),
            bytes_down: of_step(|activity| activity.bytes_down),
        }
    }
}

/// Examples of random tokens, every one supervised but the first.
fn examples(n_vocab: usize, context: usize, n: usize) -> Vec<Example> {
    let mut random = Random::new(1);
    let mut example = || {
        let ids = (0..context).map(|_| random.below(n_vocab) as u32).collect();
        Example::from_supervision(ids, &vec![true; context])
    };
    (0..n.max(1)).map(|_| example()).collect()
}

/// Operations that one token needs: twice each weight forward and twice backward, thrice that for an adapter's (they have
/// gradients of their own), and seven products of head vectors with the tokens before it.
fn useful_flops(spec: &crate::base::ModelSpec, lora: &nightgraft_adapter::LoraSpec, context: usize) -> f64 {
    let mut flops = 4.0 * (spec.n_vocab * spec.n_embd) as f64;
    for (index, layer) in spec.layers.iter().enumerate() {
        for module in spec.modules(index) {
            let (n_out, n_in) = spec.module_shape(index, module).unwrap_or_default();
            flops += 4.0 * (n_out * n_in) as f64;
            if lora.layers.contains(&index) && lora.modules.contains(&module) {
                flops += 6.0 * (lora.rank * (n_out + n_in)) as f64;
            }
        }
        let attention = layer.attention();
        let seen = attention.window.map_or(context, |window| window.get().min(context));
        // Half of the tokens before each on average, where the window is no shorter than the context.
        let before = seen as f64 * (1.0 - seen as f64 / (2 * context.max(1)) as f64);
        flops += 2.0 * 7.0 * before * attention.n_embd_q() as f64;
    }
    flops
}

/// Sorted, with what no operation took as the last.
fn operations(times: Vec<(&'static str, OpTime)>, steps: usize, wall: f64) -> Vec<Operation> {
    if times.is_empty() {
        return Vec::new();
    }
    let steps = steps as f64;
    let mut operations: Vec<_> = times
        .into_iter()
        .map(|(name, OpTime { calls, seconds, flops })| Operation {
            name: name.to_owned(),
            calls: calls as f64 / steps,
            milliseconds: 1e3 * seconds / steps,
            gflops: (flops > 0.0).then(|| flops / seconds * 1e-9),
        })
        .collect();
    operations.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
    let timed: f64 = operations.iter().map(|operation| operation.milliseconds).sum();
    operations.push(Operation {
        name: "everything else".to_owned(),
        calls: 1.0,
        milliseconds: (1e3 * wall - timed).max(0.0),
        gflops: None,
    });
    operations
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor time that this process has taken.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
