//! Ctrl-C: the first asks the engine to stop where it can go on later, the second ends the process.

use std::thread;

use anyhow::{Context, Result};
use nightgraft_core::session::StopFlag;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::output;

/// A flag that Ctrl-C (and SIGTERM) raises; `note` tells the user what happens now.
pub fn stop_flag(note: &'static str) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let raised = flag.clone();
    on_interrupt(move || {
        if raised.is_raised() {
            std::process::exit(130);
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
