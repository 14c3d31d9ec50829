//! A simulated night: the part of the system, which grants time and takes it back.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};
use nightgraft_charts::draw_night;
use nightgraft_core::session::StopFlag;
use nightgraft_core::session::night::{self, NightEvent, NightOutcome};
use nightgraft_policy::Reason;
use nightgraft_simulation::{GrantEnd, Timeline, Trace};
use rustix::process::{Pid, Signal, kill_process};

use super::Args;
use super::describe::describe;
use crate::{Verbosity, failure, interrupt, output};

/// How a grant's process ended.
enum GrantExit {
    /// The night is over, one way or another.
    Done(NightOutcome),
    /// It was killed, as the trace or the command line wanted.
    Killed,
}

pub fn run(args: &Args, path: &Path, verbosity: Verbosity) -> Result<ExitCode> {
    let trace = Trace::read(path)?;
    args.request()?;
    let day = {
        let store = args.open_store_and_add(verbosity)?;
        trace.next_free_day(&night::usage(&store)?)
    }; // closed again: the store belongs to one process at a time
    let trace = trace.on_day(day);
    let stop = interrupt::stop_flag("ending the night, and saving ...")?;
    draw_night(&Timeline::new(trace.begins()), &args.timeline)?; // a path that cannot be written is found now
    let mut replay = NightReplay { args, verbosity, timeline: Timeline::new(trace.begins()), stop };
    let outcome = replay.run(&trace, day)?;
    let at =
        replay.timeline.seconds().max(if outcome == NightOutcome::GoesOn { trace.seconds() } else { 0.0 });
    replay.tell(&NightEvent::Done { at, outcome })?;
    draw_night(&replay.timeline, &args.timeline)?;
    if verbosity.json {
        output::json(
            &serde_json::json!({ "event": "night", "outcome": outcome, "timeline": args.timeline }),
        )?;
    } else {
        output::write(format_args!("{}\ndrawn in {}\n", replay.timeline, args.timeline.display()))?;
    }
    Ok(if outcome == NightOutcome::Stopped { failure::interrupted() } else { ExitCode::SUCCESS })
}

struct NightReplay<'a> {
    args: &'a Args,
    verbosity: Verbosity,
    timeline: Timeline,
    stop: StopFlag,
}

impl NightReplay<'_> {
    fn run(&mut self, trace: &Trace, day: i64) -> Result<NightOutcome> {
        let kill_every = self.args.kill_every.map(|minutes| minutes * 60.0);
        let grants = trace.grants();
        let mut has_told_warnings = false;
        if grants.first().is_none_or(|first| first.from > 0.0) {
            self.tell(&NightEvent::Waiting { at: 0.0, reason: Reason::NotGranted })?;
        }
        for (index, grant) in grants.iter().enumerate() {
            let mut from = grant.from;
            while from < grant.to {
                let by_trace = (grant.how == GrantEnd::Kill).then_some(grant.to);
                let by_clock = kill_every.map(|every| from + every).filter(|&at| at < grant.to);
                let kill = by_clock.or(by_trace);
                self.tell(&NightEvent::Slice { at: from })?;
                let child =
                    self.spawn([from, grant.to], kill, day, index + 1 == grants.len(), has_told_warnings)?;
                has_told_warnings = true;
                match (self.follow(child)?, kill) {
                    (GrantExit::Killed, Some(at)) => {
                        // While it waited, its time may have jumped beyond that.
                        let at = at.max(self.timeline.seconds());
                        self.tell(&NightEvent::Killed { at })?;
                        from = at;
                    }
                    (GrantExit::Killed, None) => bail!("the training process was killed from outside"),
                    (GrantExit::Done(NightOutcome::GoesOn), _) => from = grant.to,
                    (GrantExit::Done(outcome), _) => return Ok(outcome),
                }
                if from >= grant.to && grant.to < trace.seconds() {
                    self.tell(&NightEvent::Waiting { at: grant.to, reason: Reason::NotGranted })?;
                }
                if self.stop.is_raised() {
                    return Ok(NightOutcome::Stopped);
                }
            }
        }
        Ok(NightOutcome::GoesOn)
    }

    /// This command again, for one grant.
    fn spawn(
        &self,
        [from, to]: [f64; 2],
        kill: Option<f64>,
        day: i64,
        is_last: bool,
        has_told_warnings: bool,
    ) -> Result<Child> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1));
        command.arg(format!("--grant-from={from}")).arg(format!("--grant-to={to}"));
        command.arg(format!("--grant-day={day}"));
        command.args(kill.map(|at| format!("--grant-kill={at}")));
        command.args(is_last.then_some("--grant-last"));
        command.args(has_told_warnings.then_some("--grant-told"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().context("cannot start the training process")
    }

    /// Passes its events on until it ends.
    fn follow(&mut self, mut child: Child) -> Result<GrantExit> {
        let lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let pid = Pid::from_child(&child);
        let forward = self.stop.when_raised(move || {
            let _ = kill_process(pid, Signal::TERM); // it may just have ended
        });
        let mut outcome = None;
        for line in lines.map_while(Result::ok) {
            // A process that is killed may leave half a line.
            let Ok(event) = serde_json::from_str::<NightEvent>(&line) else { continue };
            match event {
                NightEvent::Done { outcome: how, .. } => outcome = Some(how), // the grant is over, not the night
                event => self.tell(&event)?,
            }
        }
        drop(forward); // its number may be another's as soon as it was waited for
        let status = child.wait().context("cannot wait for the training process")?;
        match (outcome, was_killed(status)) {
            (Some(outcome), _) => Ok(GrantExit::Done(outcome)),
            (None, true) => Ok(GrantExit::Killed),
            (None, false) if self.stop.is_raised() => Ok(GrantExit::Done(NightOutcome::Stopped)),
            // It has said why on standard error, which is ours too.
            (None, false) => bail!("the training process failed ({status})"),
        }
    }

    fn tell(&mut self, event: &NightEvent) -> Result<()> {
        self.timeline.record(event);
        if self.verbosity.json {
            output::json(event)?;
        } else if self.verbosity.progress
            && let Some(line) = describe(event, self.timeline.begins())
        {
            output::note(line);
        }
        Ok(())
    }
}

fn was_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(Signal::KILL.as_raw())
}
