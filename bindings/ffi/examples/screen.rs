//! What a screen costs that reads the store every second while a slice trains on it.
//!
//! `cargo run --release -p nightgraft-ffi --example screen -- MODEL.gguf [SECONDS [TURNS]]` trains in turns with and without it,
//! so many seconds each, and prints both speeds and how long a reading takes.

use std::error::Error;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nightgraft_ffi::{
    AdapterStore, BaseModel, Example, PersonalizationSession, Result, SessionSettings, StoreSettings,
};
use pollster::block_on;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let model = args.next().ok_or("give a model: --example screen -- MODEL.gguf [SECONDS [TURNS]]")?;
    let seconds: f64 = args.next().map_or(Ok(60.0), |text| text.parse())?;
    let turns: usize = args.next().map_or(Ok(3), |text| text.parse())?;

    let folder = tempfile::tempdir()?;
    let settings = StoreSettings { key: Some(vec![7; 32]), ..StoreSettings::default() };
    let store = block_on(AdapterStore::open(folder.path().join("store").display().to_string(), settings))?;
    let note = |i| Example::Text {
        text: format!("Note {i}: boat {} lies at pier {}, ready to sail.", i * 7, i % 9),
    };
    block_on(store.add((0..400).map(note).collect()))?;
    let settings = SessionSettings { steps: Some(1_000_000), ..SessionSettings::default() };
    let model = block_on(BaseModel::open(model))?;
    let session = block_on(PersonalizationSession::open(model, store.clone(), settings))?;

    let (mut alone, mut watched) = (Speed::default(), Speed::default());
    let mut readings = Vec::new();
    for _ in 0..turns {
        alone.add(&session, seconds)?;
        thread::scope(|scope| {
            let (off, is_off) = mpsc::channel::<()>();
            let (store, readings) = (&store, &mut readings);
            let screen = scope.spawn(move || {
                while is_off.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    let began = Instant::now();
                    show(store)?;
                    readings.push(began.elapsed());
                }
                Ok::<_, nightgraft_ffi::NightgraftError>(())
            });
            let trained = watched.add(&session, seconds);
            drop(off);
            screen.join().expect("the screen does not panic")?;
            trained
        })?;
    }
    let (alone, watched) = (alone.steps_per_second(), watched.steps_per_second());
    println!("{turns} times {seconds} s in turns: {alone:.3} steps/s alone, {watched:.3} beside a screen");
    println!("it costs {:.2} %", (1.0 - watched / alone) * 100.0);
    readings.sort_unstable();
    if let (Some(median), Some(longest)) = (readings.get(readings.len() / 2), readings.last()) {
        println!("{} readings of {median:.1?} (median) to {longest:.1?}", readings.len());
    }
    Ok(())
}

/// Reads what a screen shows.
fn show(store: &AdapterStore) -> Result<()> {
    block_on(async {
        store.current().await?;
        store.examples().await?;
        store.grafts().await?;
        store.bytes_used().await.map(drop)
    })
}

#[derive(Default)]
struct Speed {
    steps: u64,
    seconds: f64,
}

impl Speed {
    /// Trains for so many seconds.
    fn add(&mut self, session: &PersonalizationSession, seconds: f64) -> Result<()> {
        let (before, began) = (session.progress().step, Instant::now());
        block_on(session.run_slice(Some(seconds), None))?;
        self.steps += session.progress().step - before;
        self.seconds += began.elapsed().as_secs_f64();
        Ok(())
    }

    fn steps_per_second(&self) -> f64 {
        self.steps as f64 / self.seconds
    }
}
