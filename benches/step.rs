//! A whole training step (gradients of one example and AdamW) by context, threads and precision.
//!
//! `NIGHTGRAFT_MODEL=MODEL.gguf cargo bench -p nightgraft-benches --bench step [-- FILTER]`, such as `-- 'context 256/'`. Rank 8, all
//! modules, memory not limited, random tokens; throughput is in tokens. The instructions are those of this machine, or what
//! `NIGHTGRAFT_ISA` names. Each sample opens the model anew and is the median of its steps but the first.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use nightgraft_core::config::{Precision, TrainConfig};
use nightgraft_core::session::{BenchRequest, DeviceOptions, StopFlag, bench};

const CONTEXTS: [usize; 7] = [64, 128, 256, 512, 1024, 2048, 4096];

fn main() -> Result<(), Box<dyn Error>> {
    let Some(model) = std::env::var_os("NIGHTGRAFT_MODEL").map(PathBuf::from) else {
        println!("set NIGHTGRAFT_MODEL to a GGUF model to time its training step");
        return Ok(());
    };
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("step");
    group.sampling_mode(SamplingMode::Flat);
    for context in CONTEXTS {
        group.throughput(Throughput::Elements(context as u64));
        for n_threads in [1, 2] {
            for precision in [Precision::F32, Precision::Mixed] {
                let name = format!("context {context}/{precision}/{n_threads} threads");
                group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                    bencher.iter_custom(|n| {
                        // A criterion routine cannot return an error.
                        let step =
                            step(&model, context, n_threads, precision).expect("the model can be trained");
                        step.mul_f64(n as f64)
                    });
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// The time of a step.
fn step(
    model: &Path,
    context: usize,
    n_threads: usize,
    precision: Precision,
) -> nightgraft_core::Result<Duration> {
    let mut config = TrainConfig::default();
    config.data.context = context;
    config.data.batch_tokens = context.into();
    config.run.threads = Some(n_threads);
    config.run.precision = precision;
    let request = BenchRequest {
        model: model.to_owned(),
        config,
        duration: Duration::ZERO,
        profile: false,
        memory_limit: None,
        devices: DeviceOptions::default(),
    };
    let report = bench(&request, &StopFlag::new(), &mut |_| ())?;
    Ok(Duration::from_secs_f64(report.step_tokens as f64 / report.tokens_per_second))
}
