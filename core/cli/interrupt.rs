//! Ctrl-C: the first asks the engine to stop where it can go on later, a later one ends the process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nightgraft_core::session::StopFlag;

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
        eprintln!("\n{note} (Ctrl-C again ends at once)");
    })?;
    Ok(flag)
}

/// Prints `note` and ends with code 130 when Ctrl-C is pressed; for work whose files survive that as they are.
pub fn leave_with(note: &'static str) -> Result<()> {
    on_interrupt(move || {
        eprintln!("\n{note}");
        std::process::exit(130);
    })
}

fn on_interrupt(handler: impl FnMut() + Send + 'static) -> Result<()> {
    ctrlc::set_handler(handler).context("cannot watch for Ctrl-C")
}
