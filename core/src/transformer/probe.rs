//! A model's own layers on a GPU against the CPU: whether it computes right, and which of the two is faster.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nightgraft_adapter::LoraSpec;
use nightgraft_ggml::{Buffer, ComputeType};
use nightgraft_gpu::{LEAST_COSINE, MOST_RELATIVE_ERROR, Opener, Tile, Tiles, Tuning, tune};
use nightgraft_kernels::Weights;
use nightgraft_random::Random;
use serde::{Deserialize, Serialize};

use super::gpu::OpenGpu;
use super::head_graph::head_graph;
use super::layers::{LayerGraphs, ResidualBuffers, TokenShape};
use super::precision::compute_type;
use super::processor::{OperationCount, Prepared, Processor};
use super::weights::{self, MappedWeights};
use crate::base::{Base, LayerWeights};
use crate::config::Precision;
use crate::error::GpuError;
use crate::lora::{Adapter, initialize};
use crate::ops::rope::Angles;
use crate::ops::temperature;
use crate::{Error, Result};

/// How long the choice of tiles may take.
const TUNING: Duration = Duration::from_secs(2);
/// Tokens of a layer that is compared: more than most tiles have, and no multiple of one.
const TOKENS: usize = 78;
/// The part of them that are a segment by themselves: so many are left that attention takes them in two blocks.
const FIRST_SEGMENT: usize = 8;
/// Tokens of a layer that is timed on a device that is fast enough for it.
const MANY_TOKENS: usize = 256;
/// A device for which a layer takes longer is timed with what was compared.
const LONG: Duration = Duration::from_millis(100);
/// Rows of the head that are compared.
const HEAD_ROWS: usize = 5;
const RANK: usize = 4;

/// What a device made of a model's layers.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    /// How it is used best.
    pub gpu: OpenGpu,
    /// The tensor that is furthest from the CPU's.
    pub worst: TensorCheck,
    /// Tokens a second that the CPU and the device bring forward and backward through one layer.
    pub tokens_per_second: [f64; 2],
}

/// How a device may compute products.
#[derive(Debug, Clone, Copy)]
pub enum TileChoice<'a> {
    /// With the fastest of these tiles that give right results.
    Fastest(&'a [Tile]),
    /// With those that were found to be that before, at so many multiply-adds a second.
    Known(Tiles, f64),
}

/// A result of a device beside the CPU's.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorCheck {
    /// What it is.
    pub tensor: String,
    /// How both agree; none if a number is not finite.
    pub agreement: Option<Agreement>,
}

/// How much the results of a device are like the CPU's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The cosine between both.
    pub cosine: f64,
    /// The length of their difference, relative to the CPU's.
    pub relative_error: f64,
}

impl TensorCheck {
    /// Whether training could rest on it.
    pub fn has_passed(&self) -> bool {
        self.agreement.is_some_and(|Agreement { cosine, relative_error }| {
            cosine >= LEAST_COSINE && relative_error <= MOST_RELATIVE_ERROR
        })
    }
}

/// Runs a layer of each kind that the model has forward and backward, and some rows of its head, on a device and on the CPU, with
/// adapters beside all matrices; then times both with the first of these layers, the CPU in the precision of a run. `open` opens the
/// device, again if it is lost by what is tried.
///
/// # Errors
/// [`Error::Gpu`] for whatever goes wrong on the device; [`Error::Cancelled`] if the flag is raised; those of the CPU.
pub fn probe(
    base: &Base,
    open: Opener,
    choice: TileChoice,
    n_threads: usize,
    precision: Precision,
    stop: &Arc<AtomicBool>,
) -> Result<ProbeReport> {
    let (tunings, mut device) = match choice {
        TileChoice::Known(tiles, rate) => (vec![(tiles, rate)], open()?),
        TileChoice::Fastest(tiles) => {
            let (tunings, device) = tune(open, largest(base)?, MANY_TOKENS as u32, tiles, TUNING, stop)?;
            let pair = |tuning: Tuning| (tuning.tiles, tuning.multiply_adds_per_second);
            (tunings.into_iter().map(pair).collect(), device)
        }
    };
    let mapped = MappedWeights::new(base)?;
    let mut cpu = Processor::cpu(n_threads, stop.clone())?;
    let expected = all_results(base, &mapped, &mut cpu)?;
    let mut outcome = None;
    for (tiles, rate) in tunings {
        let gpu = OpenGpu { device: device.clone(), tiles, rate, pipelines: None, fault: None };
        let got = all_results(base, &mapped, &mut Processor::gpu(&gpu, stop.clone()));
        match got.map(|got| compare(&got, &expected)) {
            Ok(worst) if worst.has_passed() => {
                outcome = Some(Ok((gpu, worst)));
                break;
            }
            // Others may do; if none does, the fastest says why.
            Ok(worst) => {
                outcome.get_or_insert(Ok((gpu, worst)));
            }
            Err(Error::Gpu(error @ (GpuError::Failed { .. } | GpuError::Lost { .. }))) => {
                if error.is_fatal() {
                    device = open()?;
                }
                outcome.get_or_insert(Err(error));
            }
            Err(error) => return Err(error),
        }
    }
    let (gpu, worst) = outcome.expect("there is something to try, or an error")?;
    let gpu = OpenGpu { device, ..gpu };

    let mut n_tokens = TOKENS;
    let mut bench = LayerBench::new(base, &mapped, 0, n_tokens)?;
    let f32 = ComputeType::F32;
    let mut on_gpu = bench.time(&mut Processor::gpu(&gpu, stop.clone()), f32)?;
    if on_gpu < LONG {
        n_tokens = MANY_TOKENS;
        bench = LayerBench::new(base, &mapped, 0, n_tokens)?;
        on_gpu = bench.time(&mut Processor::gpu(&gpu, stop.clone()), f32)?;
    }
    let on_cpu = bench.time(&mut cpu, compute_type(precision))?;
    let tokens_per_second = [on_cpu, on_gpu].map(|time| n_tokens as f64 / time.as_secs_f64().max(1e-9));
    Ok(ProbeReport { gpu, worst, tokens_per_second })
}

/// What a layer of each kind and the head give, in single precision, with their places.
fn all_results(base: &Base, mapped: &MappedWeights, processor: &mut Processor) -> Result<Vec<Named>> {
    let mut all = Vec::new();
    let placed = |results: Vec<Named>, place: &str| -> Vec<Named> {
        results.into_iter().map(|(name, values)| (format!("{name} of {place}"), values)).collect()
    };
    for layer in distinct_layers(base) {
        let results = LayerBench::new(base, mapped, layer, TOKENS)?.results(processor, ComputeType::F32)?;
        all.extend(placed(results, &format!("layer {layer}")));
    }
    all.extend(placed(head_results(base, mapped, processor)?, "the head"));
    Ok(all)
}

/// The largest matrix of the first layer.
fn largest(base: &Base) -> Result<Weights<'_>> {
    let weights = base.layers[0].iter().max_by_key(|weight| weight.n_bytes);
    base.weights(weights.unwrap_or(&base.output))
}

/// A layer of each kind: those that differ in what is computed or in the formats of their matrices.
fn distinct_layers(base: &Base) -> Vec<usize> {
    let kinds = |layer: usize| -> Vec<_> {
        let weights: &LayerWeights = &base.layers[layer];
        weights.iter().map(|weight| (weight.kind, weight.n_rows, weight.n_cols)).collect()
    };
    let mut distinct: Vec<usize> = Vec::new();
    for layer in 0..base.spec.n_layer() {
        let is_known = |known: &usize| {
            base.spec.layers[*known] == base.spec.layers[layer] && kinds(*known) == kinds(layer)
        };
        if !distinct.iter().any(is_known) {
            distinct.push(layer);
        }
    }
    distinct
}

/// One layer by itself, with an adapter and random values.
struct LayerBench<'a> {
    base: &'a Base,
    mapped: &'a MappedWeights,
    layer: usize,
    adapter: Adapter,
    positions: Vec<i32>,
    starts: Vec<i32>,
    /// The residual stream and its gradient.
    stream: [Vec<f32>; 2],
}

/// Its graphs on a processor.
struct LayerRun {
    residual: ResidualBuffers,
    forward: Prepared,
    backward: Prepared,
}

impl<'a> LayerBench<'a> {
    fn new(base: &'a Base, mapped: &'a MappedWeights, layer: usize, n_tokens: usize) -> Result<Self> {
        let modules = base.spec.all_modules();
        let spec = LoraSpec { rank: RANK, alpha: 8.0, modules, layers: layer..layer + 1, dropout: 0.0 };
        let mut tensors = initialize(&spec, base, 1);
        let mut random = Random::new(layer as u64);
        for pair in tensors.pairs.values_mut() {
            pair.b_t.iter_mut().for_each(|value| *value = random.between(-0.1, 0.1));
        }
        // Two segments, so that there is something that tokens must not see.
        let start = |t: usize| if t < FIRST_SEGMENT { 0 } else { FIRST_SEGMENT };
        let mut values = |most: f32| -> Vec<f32> {
            (0..n_tokens * base.spec.n_embd).map(|_| random.between(-most, most)).collect()
        };
        Ok(Self {
            base,
            mapped,
            layer,
            adapter: Adapter::new(&tensors)?,
            positions: (0..n_tokens).map(|t| (t - start(t)) as i32).collect(),
            starts: (0..n_tokens).map(|t| start(t) as i32).collect(),
            stream: [values(1.0), values(0.01)],
        })
    }

    fn prepare(&self, processor: &mut Processor, compute_type: ComputeType) -> Result<LayerRun> {
        let Self { base, mapped, layer, adapter, positions, starts, .. } = self;
        let block = mapped.block(base, *layer, Some(adapter), compute_type)?;
        let rows = || processor.matrix(positions.len(), base.spec.n_embd);
        // The second of two, because the lowest one gives no gradient to the stream.
        let residual = ResidualBuffers {
            lowest: 0,
            hidden: vec![rows()?, rows()?, rows()?],
            saved: Vec::new(),
            grad: Some(rows()?),
        };
        let angles = weights::angles(base);
        let n_dims: Vec<usize> = angles.iter().map(Angles::n_dims).collect();
        let is_tempered = base.spec.temperature.is_some();
        let shape = TokenShape { n_tokens: positions.len(), n_dims: &n_dims, is_tempered };
        let mut graphs = LayerGraphs::new(&[block.clone(), block], &residual, shape, true)?;
        graphs.forward.remove(0);
        graphs.backward.remove(0);
        let (mut graphs, _) = graphs.prepare(processor, Vec::new())?;
        let tables: Vec<_> = angles.iter().map(|angles| angles.table(positions, starts)).collect();
        let factors = base.spec.temperature.map(|temperature| {
            temperature::factors(positions, temperature.scale, temperature.original_context)
        });
        graphs.set_tokens(&tables, factors.as_deref(), starts)?;
        // A layer by itself has one rope's table, where a model has those of all.
        processor.hold(graphs.token_matrices())?;
        processor.take_from_host(graphs.token_matrices())?;
        let (forward, backward) = (graphs.forward.remove(0), graphs.backward.remove(0));
        Ok(LayerRun { residual, forward, backward })
    }

    /// Forward and backward; gives the output.
    fn run(&self, processor: &mut Processor, run: &mut LayerRun) -> Result<Vec<f32>> {
        let LayerRun { residual, forward, backward } = run;
        let grad = residual.grad.as_ref().expect("it was made");
        self.adapter.clear_gradients()?;
        processor.write(&residual.hidden[1], 0, &self.stream[0])?;
        processor.write(grad, 0, &self.stream[1])?;
        processor.take_from_host(self.adapter.parameters().flat_map(|p| [p.value, p.grad]))?;
        let count = &mut OperationCount::default();
        processor.compute(forward, count)?;
        processor.compute(backward, count)?;
        read(processor, &residual.hidden[2])
    }

    /// What the layer adds to the stream and to its gradient, and the gradients of the adapter, with their names.
    fn results(&mut self, processor: &mut Processor, compute_type: ComputeType) -> Result<Vec<Named>> {
        let mut run = self.prepare(processor, compute_type)?;
        let output = self.run(processor, &mut run)?;
        let grad = run.residual.grad.as_ref().expect("it was made");
        let added = |values: Vec<f32>, to: &[f32]| values.iter().zip(to).map(|(sum, to)| sum - to).collect();
        let [stream, gradient] = &self.stream;
        let mut results = vec![
            ("the output".to_owned(), added(output, stream)),
            ("the input's gradient".to_owned(), added(read(processor, grad)?, gradient)),
        ];
        let gradients: Vec<_> = self.adapter.parameters().map(|parameter| parameter.grad).collect();
        processor.give_to_host(&gradients)?;
        for parameter in self.adapter.parameters() {
            let name = format!("the gradient of {} {}", parameter.module.gguf_name(), parameter.factor);
            results.push((name, parameter.grad.to_vec()?));
        }
        Ok(results)
    }

    /// The time of a second run: the first one may compile or wake the device up.
    fn time(&mut self, processor: &mut Processor, compute_type: ComputeType) -> Result<Duration> {
        let mut run = self.prepare(processor, compute_type)?;
        self.run(processor, &mut run)?;
        let started = Instant::now();
        self.run(processor, &mut run)?;
        let grad = run.residual.grad.as_ref().expect("it was made");
        read(processor, grad)?;
        Ok(started.elapsed())
    }
}

type Named = (String, Vec<f32>);

/// The losses of some random rows, and their gradients.
fn head_results(base: &Base, mapped: &MappedWeights, processor: &mut Processor) -> Result<Vec<Named>> {
    let mut random = Random::new(7);
    let n_embd = base.spec.n_embd;
    let rows: Vec<f32> = (0..HEAD_ROWS * n_embd).map(|_| random.between(-1.0, 1.0)).collect();
    let targets: Vec<i32> = (0..HEAD_ROWS).map(|_| random.below(base.spec.n_vocab) as i32).collect();
    let matrices = [n_embd, n_embd, 2].map(|n_cols| processor.matrix(HEAD_ROWS, n_cols));
    let [x, dx, loss] = matrices;
    let buffers = [x?, dx?, loss?];
    let target_row = Buffer::i32(HEAD_ROWS)?;
    target_row.write_i32(&targets)?;
    let head = mapped.head(base, ComputeType::F32);
    let graph = head_graph(&head, &buffers, &target_row, HEAD_ROWS, true)?;
    let mut graph = processor.prepare(vec![graph])?.swap_remove(0);
    let [x, dx, loss] = &buffers;
    processor.write(x, 0, &rows)?;
    processor.clear(dx)?;
    processor.compute(&mut graph, &mut OperationCount::default())?;
    Ok(vec![("losses".to_owned(), read(processor, loss)?), ("gradient".to_owned(), read(processor, dx)?)])
}

fn read(processor: &mut Processor, buffer: &Buffer) -> Result<Vec<f32>> {
    let (n_rows, n_cols) = buffer.shape();
    let mut values = vec![0.0; n_rows * n_cols];
    processor.read(buffer, 0, &mut values)?;
    Ok(values)
}

/// The result that is furthest from the CPU's.
fn compare(got: &[Named], expected: &[Named]) -> TensorCheck {
    let check = |((name, got), (_, expected)): (&Named, &Named)| TensorCheck {
        tensor: name.clone(),
        agreement: agreement(got, expected),
    };
    let error = |check: &TensorCheck| check.agreement.map_or(f64::INFINITY, |found| found.relative_error);
    let order = |a: &TensorCheck, b: &TensorCheck| {
        b.has_passed().cmp(&a.has_passed()).then(error(a).total_cmp(&error(b)))
    };
    let worst = got.iter().zip(expected).map(check).max_by(order);
    worst.expect("a model has layers")
}

/// None if a number is not finite. Where both are nothing but zeros they are the same.
fn agreement(got: &[f32], expected: &[f32]) -> Option<Agreement> {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let squared_difference =
        || got.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    let (cosine, relative_error) = match [dot(got, got), dot(expected, expected)] {
        [got, expected] if !got.is_finite() || !expected.is_finite() => return None,
        [0.0, 0.0] => (1.0, 0.0),
        [0.0, _] | [_, 0.0] => (0.0, 1.0),
        [length, own] => {
            (dot(got, expected) / (length * own).sqrt(), (squared_difference().sum::<f64>() / own).sqrt())
        }
    };
    Some(Agreement { cosine, relative_error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_agree_is_found() {
        let named = |name: &str, values: [f32; 2]| (name.to_owned(), values.to_vec());
        let expected = [named("a", [3.0, 4.0]), named("b", [1.0, 0.0]), named("c", [0.0, 0.0])];
        let compare_with = |c: [f32; 2], b: [f32; 2]| {
            compare(&[named("a", [3.0, 4.001]), named("b", b), named("c", c)], &expected)
        };
        let right = compare_with([0.0, 0.0], [1.0, 0.0]);
        assert!(right.tensor == "a" && right.has_passed());
        // A wrong factor has a cosine of 1.
        for b in [[2.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 0.1], [1.0, f32::NAN], [f32::INFINITY, 0.0]] {
            let wrong = compare_with([0.0, 0.0], b);
            assert!(wrong.tensor == "b" && !wrong.has_passed(), "{b:?}");
        }
        assert!(!compare_with([0.0, 1e-9], [1.0, 0.0]).has_passed(), "there should be nothing");
    }
}
