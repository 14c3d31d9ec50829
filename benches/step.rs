//! A whole training step (gradients of one example and AdamW) by context, threads and precision.
//!
//! `NIGHTGRAFT_MODEL=MODEL.gguf cargo bench -p nightgraft-benches --bench step [-- FILTER]`, such as `-- 'context 256/'`. Rank 8, all
//! modules, memory not limited, random tokens; throughput is in tokens. The instructions are those of this machine, or what
//! `NIGHTGRAFT_ISA` names.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use nightgraft_adapter::{LoraSpec, Module};
use nightgraft_core::base::Base;
use nightgraft_core::config::{OptimizerConfig, Precision};
use nightgraft_core::lora::{Adapter, initialize};
use nightgraft_core::model_file::ModelFile;
use nightgraft_core::train::AdamW;
use nightgraft_core::transformer::{MemoryEstimate, Model, ModelOptions, speed};
use nightgraft_text::data::Batch;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONTEXTS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];
/// Bytes of values that may be kept for the backward.
const SPARE: u64 = 4 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(model) = std::env::var_os("NIGHTGRAFT_MODEL") else {
        println!("set NIGHTGRAFT_MODEL to a GGUF model to time its training step");
        return Ok(());
    };
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group(format!("step on {}", speed::device()));
    group.sampling_mode(SamplingMode::Flat);
    for context in CONTEXTS {
        group.throughput(Throughput::Elements(context as u64));
        for n_threads in [1, 2] {
            for precision in [Precision::F32, Precision::Mixed] {
                let name = format!("context {context}/{precision}/{n_threads} threads");
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    // Only what the filter asks for is opened. A criterion routine cannot return an error.
                    let mut step = Step::open(Path::new(&model), context, n_threads, precision)
                        .expect("the model opens");
                    bencher.iter(|| step.run().expect("a step of an open model succeeds"));
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

struct Step {
    model: Model,
    adapter: Adapter,
    optimizer: AdamW,
    batch: Batch,
}

impl Step {
    fn open(
        path: &Path,
        context: usize,
        n_threads: usize,
        precision: Precision,
    ) -> nightgraft_core::Result<Self> {
        let base = Base::open(ModelFile::open(path)?)?;
        let spec = LoraSpec {
            rank: 8,
            alpha: 16.0,
            modules: Module::ALL.to_vec(),
            layers: 0..base.spec.n_layer,
            dropout: 0.0,
        };
        let tensors = initialize(&spec, &base, 1);
        let recompute = MemoryEstimate::new(&base, &tensors, context, precision)?.fastest_with_spare(SPARE);
        let adapter = Adapter::new(&tensors)?;
        let batch = batch(context, base.spec.n_vocab);
        let options = ModelOptions { trains: true, capacity: context, n_threads, precision, recompute };
        let model = Model::new(base, Some(&adapter), options, Arc::default())?;
        let optimizer = AdamW::new(&OptimizerConfig::default(), &adapter);
        Ok(Self { model, adapter, optimizer, batch })
    }

    fn run(&mut self) -> nightgraft_core::Result<()> {
        self.adapter.clear_gradients()?;
        let sum = self.model.accumulate_gradients(&self.batch)?;
        self.optimizer.update(&self.adapter, 1, sum.supervised, 1e-4)?;
        Ok(())
    }
}

/// One example of random tokens, each but the last with the next one as its target.
fn batch(context: usize, n_vocab: usize) -> Batch {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let ids: Vec<u32> = (0..context).map(|_| random.random_range(0..n_vocab as u32)).collect();
    let targets = ids[1..].iter().map(|id| *id as i32).chain([-1]).collect();
    Batch { ids, positions: (0..context as i32).collect(), starts: vec![0; context], targets }
}
