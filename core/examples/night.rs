//! A night on a platform of one's own: a desktop that is always on its charger, and never too warm.
//! `cargo run --release -p nightgraft-core --example night -- MODEL.gguf STORE DATA.jsonl`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nightgraft_core::Result;
use nightgraft_core::session::night::{GrantedTime, Platform, run_night};
use nightgraft_core::session::{Session, SessionRequest, SliceOutcome, StopFlag};
use nightgraft_policy::{DeviceState, LocalTime, Rules, Thermal};
use nightgraft_store::{Store, StoreOptions};

/// What the policy asks a device. A phone's implementation reads its sensors.
struct Desktop {
    began: Instant,
}

impl Platform for Desktop {
    fn state(&mut self) -> Result<DeviceState> {
        Ok(DeviceState {
            charging: true,
            battery: 1.0,
            thermal: Thermal::Nominal,
            temperature: None,
            low_power_mode: false,
            idle: true,
            memory_available: 2 << 30,
            storage_free: 10 << 30,
            // Half past one at night.
            time: LocalTime { unix: 90 * 60, utc_offset: 0 },
        })
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn wait(&mut self, at_most: Duration, stop: &StopFlag) {
        let until = Instant::now() + at_most.min(Duration::from_secs(60));
        while Instant::now() < until && !stop.is_raised() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, folder, data] =
        <[PathBuf; 3]>::try_from(paths).map_err(|_| "usage: night MODEL STORE DATA")?;
    let mut store = Store::open(&folder, StoreOptions::default())?;
    store.import(&data, None, false)?;
    let mut session = Session::open(store, SessionRequest::new(model), &mut |_| {})?;

    // Ten minutes, as a system might grant them. What is not done then goes on with the next call, also in another process.
    let grant = GrantedTime { time: Some(Duration::from_secs(600)), last: false };
    let mut desktop = Desktop { began: Instant::now() };
    let rules = Rules::default();
    let ended = run_night(&mut session, &mut desktop, &rules, grant, &StopFlag::new(), &mut |event| {
        println!("{event:?}")
    })?;
    match ended {
        SliceOutcome::Finished { report } => {
            println!("promoted: {}, refused for {:?}", report.promoted, report.gate.refusals)
        }
        SliceOutcome::Paused { reason } => println!("it goes on with the next grant: {reason:?}"),
        SliceOutcome::NothingToDo { reason } => println!("{reason}"),
        other => println!("{other:?}"),
    }
    Ok(())
}
