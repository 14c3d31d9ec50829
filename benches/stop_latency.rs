//! How soon a session is quiet after a stop request, everything saved: 100 stops at random moments.
//!
//! `cargo bench -p nightgraft-benches --bench stop_latency -- MODEL.gguf [STOPS [DEVICE]]` prints the distribution. The micro-batches have
//! 256 tokens. The device is a name that `--device` takes; with `NIGHTGRAFT_GPU=software` it may be a program on the processor.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nightgraft_core::config::{Device, TrainConfig};
use nightgraft_core::session::{Pause, Session, SessionRequest, Slice, SliceOutcome, StopFlag};
use nightgraft_store::{Store, StoreOptions};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let Some(model) = args.next().map(PathBuf::from) else {
        println!(
            "give a model: cargo bench -p nightgraft-benches --bench stop_latency -- MODEL.gguf [STOPS [DEVICE]]"
        );
        return Ok(());
    };
    let stops: usize = args.next().map_or(Ok(100), |text| text.parse())?;
    let device: Device = args.next().map_or(Ok(Device::Cpu), |text| text.parse())?;

    let folder = tempfile::tempdir()?;
    let mut store = Store::open(folder.path(), StoreOptions { create: true, ..StoreOptions::default() })?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let words = ["boat", "harbour", "rope", "sail", "north", "wind", "tide", "lantern", "deck", "anchor"];
    let note = |i: usize| {
        let text: Vec<_> = (0..240).map(|_| words[random.random_range(0..words.len())]).collect();
        format!("{{\"text\": \"note {i}: {}\"}}", text.join(" "))
    };
    store.add(&(0..60).map(note).collect::<Vec<_>>())?;

    let mut request = SessionRequest::new(model);
    let mut training = TrainConfig::default();
    training.run.epochs = 1000.into();
    training.data.batch_tokens = 256.into();
    training.data.accumulate = 2;
    training.run.device = device;
    request.training = training;
    let mut session = Session::open(store, request, &mut |_| ())?;

    let mut latencies = Vec::new();
    for _ in 0..stops {
        let stop = StopFlag::new();
        let (flag, wait) = (stop.clone(), Duration::from_millis(random.random_range(50..4000)));
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(wait);
            let asked = Instant::now();
            flag.raise();
            asked
        });
        let outcome = session.run_slice(Slice::default(), &stop, &mut |_| ())?;
        let quiet = Instant::now();
        assert_eq!(outcome, SliceOutcome::Paused { reason: Pause::Stopped });
        latencies.push(quiet - stopper.join().map_err(|_| "the stopping thread failed")?);
    }
    latencies.sort_unstable();
    let at =
        |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let threads = std::thread::available_parallelism()?;
    println!("{stops} stops on {device}, {threads} threads, 256 tokens, state saved:");
    println!(
        "  median {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
    Ok(())
}
