//! Ctrl-C: the first asks the engine to stop where it can go on later, a later one ends the process. A terminal that is
//! closed and a supervisor that ends the process ask the same.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nightgraft_core::session::StopFlag;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::output;

/// Signals closer together than this are one wish.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// A flag that Ctrl-C raises (and SIGTERM, and SIGHUP); `note` tells the user what happens now.
pub fn stop_flag(note: &'static str) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let raised = flag.clone();
    let mut first: Option<Instant> = None;
    on_interrupt(move || {
        match first {
            None => first = Some(Instant::now()),
            // One wish to stop often comes as several signals: from the terminal, a wrapper and a supervisor.
            Some(first) if first.elapsed() < DEBOUNCE => return,
            Some(_) => std::process::exit(130),
        }
        raised.raise();
        output::note(format_args!("\n{note} (Ctrl-C again ends at once)"));
    })?;
    Ok(flag)
}

/// Prints `note` and ends with code 130 when Ctrl-C is pressed; for work whose files survive that as they are.
pub fn exit_on_interrupt(note: &'static str) -> Result<()> {
    on_interrupt(move || {
        output::note(format_args!("\n{note}"));
        std::process::exit(130);
    })
}

fn on_interrupt(mut handler: impl FnMut() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for Ctrl-C")?;
    if !is_hang_up_ignored() {
        signals.add_signal(SIGHUP).context("cannot watch for a closed terminal")?;
    }
    let watch = move || signals.forever().for_each(|_| handler());
    thread::Builder::new().name("signals".to_owned()).spawn(watch).context("cannot watch for Ctrl-C")?;
    Ok(())
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does: a run under it must outlive its terminal.
///
/// Only unsafe code can ask the system for it. But what is ignored is inherited: a shell that sends itself the signal
/// survives exactly then. Where no shell can be asked, the signal is left as it is.
fn is_hang_up_ignored() -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", "kill -HUP $$"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().map_or(true, |status| status.signal() != Some(SIGHUP))
}
