//! How long a checkpoint takes: `cargo run --release -p nightgraft-store --example checkpoint_speed [FOLDER]`.
//!
//! The state is that of a SmolLM2-135M run with rank 8 on all modules of all layers, between two steps: adapter, both
//! moments and the best adapter so far, 2.4 million numbers each. Saving is everything up to the flushed folder; the
//! operating system's share of it, writing and flushing as many bytes, is shown for comparison. In a store each save is
//! entered in the manifest too, which is two more flushes and some kilobytes.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraPairs, LoraSpec, Module};
use nightgraft_files::atomic::write_file;
use nightgraft_files::file_system::system;
use nightgraft_gguf::Fingerprint;
use nightgraft_store::checkpoint::{self, Progress, State};
use nightgraft_store::vault::{Key, KeyRing, Vault};
use nightgraft_store::{Store, StoreOptions};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROUNDS: usize = 15;
const LAYERS: usize = 30;
const RANK: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let made;
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => {
            made = tempfile::tempdir()?;
            made.path().to_owned()
        }
    };
    let state = state().ok_or("no fingerprint")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} x 4 numbers; fastest and median of {ROUNDS}, ms", state.adapter.n_parameters())?;
    let keys = KeyRing::new(1, Key::generate()?);
    let store = Store::open(&folder.join("store"), StoreOptions { keep: 1, ..StoreOptions::default() })?;
    for (name, vault, folder) in [
        ("plain", &Vault::plain(system()), folder.clone()),
        ("encrypted", &Vault::encrypted(system(), keys), folder.clone()),
        ("in a store", store.vault(), store.session_folder()),
    ] {
        let path = checkpoint::save(vault, &folder, state.snapshot(), 1)?;
        let save = times(|| checkpoint::save(vault, &folder, state.snapshot(), 1).map(drop))?;
        let load = times(|| checkpoint::load(vault, &path).map(drop))?;
        writeln!(out, "{name:10} save {save}   load {load}")?;
        checkpoint::clear(vault, &folder)?;
    }
    let bytes = vec![1; 16 * state.adapter.n_parameters()];
    let target = folder.join("bytes");
    writeln!(out, "bytes alone     {}", times(|| Ok(write_file(&target, &bytes)?))?)?;
    remove(&target)
}

fn times(mut job: impl FnMut() -> nightgraft_store::Result<()>) -> nightgraft_store::Result<String> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        job()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(format!("{:6.1} {:6.1}", times[0], times[ROUNDS / 2]))
}

fn remove(path: &Path) -> Result<(), Box<dyn Error>> {
    Ok(std::fs::remove_file(path)?)
}

fn state() -> Option<State> {
    let adapter = AdapterTensors {
        spec: LoraSpec {
            rank: RANK,
            alpha: 16.0,
            modules: Module::ALL.to_vec(),
            layers: 0..LAYERS,
            dropout: 0.0,
        },
        pairs: pairs(1),
    };
    Some(State {
        config: "rank = 8\n".into(),
        base: Fingerprint::from_hex(&"3f".repeat(32))?,
        data: "none".into(),
        progress: Progress { step: 100, total_steps: 1000, ..Progress::default() },
        adapter,
        first_moment: pairs(2),
        second_moment: pairs(3),
        gradient: LoraPairs::new(),
        best: pairs(4),
    })
}

/// With the shapes of SmolLM2-135M's blocks.
fn pairs(seed: u64) -> LoraPairs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut numbers = |width: usize| (0..RANK * width).map(|_| rng.random_range(-1.0..1.0)).collect();
    let mut pairs = LoraPairs::new();
    for layer in 0..LAYERS {
        for (module, n_in, n_out) in [
            (Module::AttnQ, 576, 576),
            (Module::AttnK, 576, 192),
            (Module::AttnV, 576, 192),
            (Module::AttnOutput, 576, 576),
            (Module::FfnGate, 576, 1536),
            (Module::FfnUp, 576, 1536),
            (Module::FfnDown, 1536, 576),
        ] {
            let pair = LoraPair { rank: RANK, n_in, n_out, a: numbers(n_in), b_t: numbers(n_out) };
            pairs.insert((layer, module), pair);
        }
    }
    pairs
}
