//! One grant of a simulated night, in a process of its own that can be killed.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context, Result};
use nightgraft_core::session::{
    Event, Session,
    night::{self, GrantedTime},
};
use nightgraft_simulation::{Clock, SimulatedPlatform, Trace};
use rustix::process::{Signal, getpid, kill_process};

use super::Args;
use crate::{interrupt, output};

/// Which grant; only the simulation itself gives these.
#[derive(clap::Args)]
pub struct GrantArgs {
    /// Seconds from the night's beginning
    #[arg(long, hide = true)]
    grant_from: Option<f64>,
    #[arg(long, hide = true, requires = "grant_from")]
    grant_to: Option<f64>,
    /// When this process kills itself, if it is to
    #[arg(long, hide = true, requires = "grant_from")]
    grant_kill: Option<f64>,
    /// The number of the day on which the night begins
    #[arg(long, hide = true, requires = "grant_from")]
    grant_day: Option<i64>,
    /// Whether no other follows
    #[arg(long, hide = true, requires = "grant_from")]
    grant_last: bool,
    /// Whether an earlier one has told the session's warnings
    #[arg(long, hide = true, requires = "grant_from")]
    grant_told: bool,
}

impl GrantArgs {
    pub fn is_given(&self) -> bool {
        self.grant_from.is_some()
    }
}

/// Events go to standard output as JSON, one on each line.
pub fn run(args: &Args) -> Result<ExitCode> {
    let grant = &args.grant;
    let (from, to) = (grant.grant_from.unwrap_or(0.0), grant.grant_to.context("no end of the grant")?);
    let path = args.trace.as_ref().context("no trace")?;
    let mut trace = Trace::read(path)?;
    if let Some(day) = grant.grant_day {
        trace = trace.on_day(day);
    }
    let mut platform = SimulatedPlatform::new(trace, args.speed)?;
    platform.skip(Duration::try_from_secs_f64(from)?);
    if let Some(at) = grant.grant_kill {
        kill_at(platform.clock(), Duration::try_from_secs_f64(at)?)?;
    }
    let rules = args.session.night_settings()?.policy;
    let store = args.open_store()?;
    let stop = interrupt::stop_flag("saving ...")?;
    let mut session = Session::open(store, args.request()?, &mut |event| {
        // A warning is repeated each time; what is given up happens once.
        let is_known = grant.grant_told && matches!(event, Event::Warning { .. } | Event::Data { .. });
        if !is_known {
            let unused = args.settings.options_unused_in(event);
            output::warnings(std::iter::once(event).chain(&unused).filter_map(Event::warning));
        }
    })?;
    let grant = GrantedTime { time: Some(Duration::try_from_secs_f64(to - from)?), last: grant.grant_last };
    night::run_night(&mut session, &mut platform, &rules, grant, &stop, &mut |event| {
        // Nobody listens any more: end as if the system had asked.
        if output::json(event).is_err() {
            stop.raise();
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// As a system does it: no warning, nothing flushed, at any instruction.
fn kill_at(clock: Clock, at: Duration) -> Result<()> {
    let wait = move || {
        while clock.elapsed() < at {
            thread::sleep(Duration::from_millis(1));
        }
        let _ = kill_process(getpid(), Signal::KILL);
    };
    thread::Builder::new().name("killer".to_owned()).spawn(wait).context("cannot start a thread")?;
    Ok(())
}
