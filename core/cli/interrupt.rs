//! Ctrl-C: the first asks the engine to stop where it can go on later, the second ends the process.

use anyhow::{Context, Result};
use nightgraft_core::session::StopFlag;

/// A flag that Ctrl-C (and SIGTERM) raises; `note` tells the user what happens now.
pub fn stop_flag(note: &'static str) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let raised = flag.clone();
    on_interrupt(move || {
        if raised.is_raised() {
            std::process::exit(130);
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
