//! Ctrl-C: the first asks the engine to stop where it can go on later, a later one ends the process.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nightgraft_core::session::StopFlag;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::output;

/// Signals closer together than this are one wish.
const SAME_WISH: Duration = Duration::from_secs(1);

/// A flag that Ctrl-C (and SIGTERM) raises; `note` tells the user what happens now.
pub fn stop_flag(note: &'static str) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let raised = flag.clone();
    let mut first: Option<Instant> = None;
    on_interrupt(move || {
        match first {
            None => first = Some(Instant::now()),
            // One wish to stop often comes as several signals: from the terminal, a wrapper and a supervisor.
            Some(first) if first.elapsed() < SAME_WISH => return,
            Some(_) => std::process::exit(130),
        }
        raised.raise();
        output::note(format_args!("\n{note} (Ctrl-C again ends at once)"));
    })?;
    Ok(flag)
}

/// Prints `note` and ends with code 130 when Ctrl-C is pressed; for work whose files survive that as they are.
pub fn leave_with(note: &'static str) -> Result<()> {
    on_interrupt(move || {
        output::note(format_args!("\n{note}"));
        std::process::exit(130);
    })
}

/// SIGHUP is left alone: a run under `nohup` must outlive its terminal.
fn on_interrupt(mut handler: impl FnMut() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for Ctrl-C")?;
    let watch = move || signals.forever().for_each(|_| handler());
    thread::Builder::new().name("signals".to_owned()).spawn(watch).context("cannot watch for Ctrl-C")?;
    Ok(())
}
