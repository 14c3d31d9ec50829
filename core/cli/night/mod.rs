//! `night`: personalization as a device does it, with a store, a policy and a quality gate.

mod describe;
mod grant_process;
mod retrain_without;
mod run_now;
mod session_args;
mod simulated;

pub use retrain_without::{Args as RetrainWithoutArgs, run as run_retrain_without};

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use nightgraft_core::session::SessionRequest;
use nightgraft_store::Store;

use self::{grant_process::GrantArgs, session_args::SessionArgs};
use crate::{
    Verbosity, data_warnings, output,
    settings::{FormatArgs, TrainSettings, data_file},
};

/// Learn what is new in a store; now, or in a simulated night
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    /// Examples to add first, as for `train`; those that the store has already are not added again
    #[arg(long, value_name = "FILE", value_parser = data_file())]
    data: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,

    /// Replay this night: a .csv of what the device says and when its system grants time
    #[arg(long, value_name = "CSV", help_heading = "Simulation")]
    trace: Option<PathBuf>,
    /// How much faster than real the night passes while it trains, such as 60x
    #[arg(long, value_name = "TIMES", help_heading = "Simulation", requires = "trace", default_value = "60x", value_parser = parse_speed)]
    speed: f64,
    /// Kill the process (SIGKILL) each time it has run for so many minutes of the night
    #[arg(long, value_name = "MIN", help_heading = "Simulation", requires = "trace", value_parser = parse_minutes)]
    kill_every: Option<f64>,
    /// Where to draw what happened
    #[arg(
        long,
        value_name = "SVG",
        help_heading = "Simulation",
        requires = "trace",
        default_value = "night.svg"
    )]
    timeline: PathBuf,

    #[command(flatten)]
    grant: GrantArgs,
    #[command(flatten)]
    settings: TrainSettings,
}

const EXAMPLES: &str = r#"Examples:
  nightgraft night --model smollm2-135m --store mine --data chats.jsonl
  nightgraft night --model smollm2-135m --store mine --trace tests/data/nights/good-night.csv
  nightgraft night --model m.gguf --store mine --trace t.csv --speed 120x --kill-every 20

Without --trace it runs now, to the end. With one, a night is replayed: the trace says what the
device is like and when its system grants time; within that the engine really trains, each grant in
a process of its own, as on a phone. Waiting passes at once.

The result is measured against the model and against the graft in use, on examples that were held
out and on general texts; only if it passes does it come into use. One example of ten is held out,
and four at least; with fewer than 16 in a new store nothing is trained. `nightgraft store` shows
what is there. Ctrl-C saves; the same command goes on from there."#;

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    if args.grant.is_given() {
        return grant_process::run(args);
    }
    args.settings.warn_of_options_unused_at_night(&args.settings.resolve()?, args.data.is_some());
    if args.format.format.is_some() && args.data.is_none() {
        output::warnings(["--format does nothing: no file is read; --data adds one"]);
    }
    match &args.trace {
        Some(trace) => simulated::run(args, trace, verbosity),
        None => {
            let (store, request) = (args.open_store_and_add(verbosity)?, args.request()?);
            run_now::run(store, request, &args.settings, verbosity)
        }
    }
}

impl Args {
    /// Opens the store.
    fn open_store(&self) -> Result<Store> {
        self.session.open_store(&self.settings)
    }

    /// Opens the store, and adds what is to be added.
    fn open_store_and_add(&self, verbosity: Verbosity) -> Result<Store> {
        let mut store = self.open_store()?;
        if let Some(data) = &self.data {
            let report = store.import(data, self.format.format, self.settings.resolve()?.data.skip_bad)?;
            if report.skipped > 0 {
                let warning = data_warnings::bad_lines(report.skipped as usize, report.lines as usize);
                output::note(format_args!("warning: {warning}"));
            }
            if verbosity.progress {
                output::note(format_args!("{} examples added, {} were there", report.added, report.known));
            }
        }
        Ok(store)
    }

    fn request(&self) -> Result<SessionRequest> {
        self.session.request(&self.settings)
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text);
    let speed: f64 = number.parse().map_err(|_| format!("'{text}' is not a number of times, such as 60x"))?;
    if (0.001..=1e6).contains(&speed) { Ok(speed) } else { Err("must be 0.001 to 1000000 times".to_owned()) }
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("'{text}' is not a number of minutes"))?;
    if (0.01..=1440.0).contains(&minutes) { Ok(minutes) } else { Err("must be 0.01 to 1440".to_owned()) }
}
