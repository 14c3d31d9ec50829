//! The record of a night: when it ran, why it waited, what came of it.

use std::{fmt, time::Duration};

use nightgraft_core::session::NothingToDo;
use nightgraft_core::session::night::{NightEvent, NightOutcome};
use nightgraft_policy::{LocalTime, Reason, ReasonKind, TimeOfDay, length, percent};

/// Two periods of the same kind with less than this between them are one; seconds.
const SAME: f64 = 1.0;

/// Collects the events of a night. `Display` is a table of its periods with a summary below, for a terminal.
#[derive(Clone, Debug)]
pub struct Timeline {
    begins: LocalTime,
    /// Seconds from the beginning to the latest event.
    ends: f64,
    periods: Vec<Period>,
    /// The last period goes on until the next event that says otherwise.
    open: bool,
    steps: Vec<(f64, f64)>,
    evaluations: Vec<(f64, f64)>,
    states: Vec<DeviceReading>,
    kills: Vec<f64>,
    highest_step: u64,
    steps_again: u64,
    slices: u64,
    saves: u64,
    speed: Mean,
    gate: Option<(bool, String)>,
    estimate: Option<String>,
    nothing_to_do: Option<NothingToDo>,
    outcome: Option<NightOutcome>,
}

/// A stretch of time in which it ran, or waited for one kind of reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Period {
    /// Seconds from the night's beginning.
    pub from: f64,
    /// See `from`.
    pub to: f64,
    /// Whether it ran.
    pub ran: bool,
    /// Why: for a wait the first reason, for a run the one with the least duty.
    pub reason: Reason,
    /// Seconds that it worked: the time that it ran, by its duty.
    pub worked: f64,
    /// Optimizer steps made; those that a kill undid count again when they are made again.
    pub steps: u64,
    /// Loss of the first and of the last of them.
    pub loss: Option<(f64, f64)>,
    /// The system killed the process at its end.
    pub killed: bool,
    /// The least duty, and the one at present.
    duty: (f64, f64),
}

/// One look at the device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceReading {
    /// Seconds from the night's beginning.
    pub at: f64,
    /// In °C, where the device tells it.
    pub temperature: Option<f64>,
    /// The charge, from 0 to 1.
    pub battery: f64,
    /// Whether it hangs on the charger.
    pub charging: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Timeline {
    /// An empty record of a night that begins when the device's clock shows this.
    pub fn new(begins: LocalTime) -> Self {
        Self {
            begins,
            ends: 0.0,
            periods: Vec::new(),
            open: false,
            steps: Vec::new(),
            evaluations: Vec::new(),
            states: Vec::new(),
            kills: Vec::new(),
            highest_step: 0,
            steps_again: 0,
            slices: 0,
            saves: 0,
            speed: Mean::default(),
            gate: None,
            estimate: None,
            nothing_to_do: None,
            outcome: None,
        }
    }

    /// The loss of each optimizer step, at so many seconds from the night's beginning.
    pub fn steps(&self) -> &[(f64, f64)] {
        &self.steps
    }

    /// The loss of each evaluation on held-out examples, likewise.
    pub fn evaluations(&self) -> &[(f64, f64)] {
        &self.evaluations
    }

    /// Every look at the device.
    pub fn readings(&self) -> &[DeviceReading] {
        &self.states
    }

    /// When the system killed the process.
    pub fn kills(&self) -> &[f64] {
        &self.kills
    }

    /// Takes an event into the record. Events come in order; one that claims to be earlier than its predecessor
    /// counts as simultaneous.
    pub fn record(&mut self, event: &NightEvent) {
        let at = self.advance(event.at());
        match event {
            NightEvent::State { temperature, battery, charging, .. } => {
                let (temperature, battery, charging) = (*temperature, *battery, *charging);
                self.states.push(DeviceReading { at, temperature, battery, charging });
            }
            NightEvent::Slice { .. } => self.slices += 1,
            NightEvent::Running { duty, reason, .. } => self.begin(at, true, *duty, reason),
            NightEvent::Waiting { reason, .. } => self.begin(at, false, 0.0, reason),
            NightEvent::Step { step, loss, tokens_per_second, .. } => {
                self.step(at, *step, *loss);
                self.speed.add(*tokens_per_second);
            }
            NightEvent::Evaluated { loss, .. } => self.evaluations.push((at, *loss)),
            NightEvent::Saved { .. } => self.saves += 1,
            NightEvent::Killed { .. } => {
                self.kills.push(at);
                if let Some(period) = self.periods.last_mut().filter(|period| period.ran) {
                    period.killed = true;
                    self.open = false;
                }
            }
            NightEvent::SliceEnded { .. } => {
                self.open &= self.periods.last().is_some_and(|period| !period.ran);
            }
            NightEvent::Gate { promoted, report, .. } => self.gate = Some((*promoted, report.clone())),
            NightEvent::NothingToDo { reason, .. } => self.nothing_to_do = Some(*reason),
            NightEvent::Estimate { text, .. } => self.estimate = Some(text.clone()),
            NightEvent::Done { outcome, .. } => {
                self.outcome = Some(*outcome);
                self.open = false;
            }
            _ => (), // nothing that a table shows
        }
    }

    /// All periods so far, in order. Where nothing is recorded between two of them, nothing was going on.
    pub fn periods(&self) -> &[Period] {
        &self.periods
    }

    /// Seconds from the night's beginning to the latest event.
    pub fn seconds(&self) -> f64 {
        self.ends
    }

    /// The device's clock when the night began.
    pub fn begins(&self) -> LocalTime {
        self.begins
    }

    /// Seconds that it ran, pauses between pieces of work included.
    pub fn ran_seconds(&self) -> f64 {
        self.periods.iter().filter(|period| period.ran).map(Period::seconds).sum()
    }

    /// The clock that many seconds after the beginning.
    pub fn clock(&self, seconds: f64) -> TimeOfDay {
        let second = (f64::from(self.begins.second_of_day()) + seconds.round()).rem_euclid(86_400.0);
        TimeOfDay::from_seconds(second as u32)
    }

    /// One line: how long it ran, what it did.
    pub fn headline(&self) -> String {
        let mut text = format!("ran {}", span(self.ran_seconds()));
        text.push_str(&format!(", {}", count(self.periods.iter().map(|period| period.steps).sum(), "step")));
        if let (Some(&(_, first)), Some(&(_, last))) = (self.steps.first(), self.steps.last()) {
            text.push_str(&format!(", loss {}", change(first, last)));
        }
        text
    }

    fn advance(&mut self, at: f64) -> f64 {
        if at.is_finite() && at > self.ends {
            self.ends = at;
        }
        if let Some(period) = self.periods.last_mut().filter(|_| self.open) {
            period.worked += (self.ends - period.to) * period.duty.1;
            period.to = self.ends;
        }
        self.ends
    }

    fn begin(&mut self, at: f64, ran: bool, duty: f64, reason: &Reason) {
        let duty = if duty.is_finite() { duty.clamp(0.0, 1.0) } else { 0.0 };
        if let Some(last) = self.periods.last_mut() {
            let same = last.ran == ran && last.reason.kind() == reason.kind() && !last.killed;
            if same && at - last.to < SAME {
                if duty < last.duty.0 {
                    last.reason = reason.clone();
                }
                last.duty = (last.duty.0.min(duty), duty);
                self.open = true;
                return;
            }
        }
        self.periods.push(Period {
            from: at,
            to: at,
            ran,
            reason: reason.clone(),
            worked: 0.0,
            steps: 0,
            loss: None,
            killed: false,
            duty: (duty, duty),
        });
        self.open = true;
    }

    fn step(&mut self, at: f64, step: u64, loss: f64) {
        self.steps.push((at, loss));
        if step > self.highest_step {
            self.highest_step = step;
        } else {
            self.steps_again += 1;
        }
        // A step that is told when its slice is over already still belongs to the run.
        if let Some(period) = self.periods.iter_mut().rev().find(|period| period.ran) {
            period.steps += 1;
            period.loss = Some((period.loss.map_or(loss, |(first, _)| first), loss));
        }
    }

    fn waits(&self) -> Vec<(ReasonKind, f64)> {
        let mut waits: Vec<(ReasonKind, f64)> = Vec::new();
        for period in self.periods.iter().filter(|period| !period.ran) {
            let kind = period.reason.kind();
            match waits.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, seconds)) => *seconds += period.seconds(),
                None => waits.push((kind, period.seconds())),
            }
        }
        waits.sort_by(|a, b| b.1.total_cmp(&a.1));
        waits
    }
}

impl Period {
    /// How long it is.
    pub fn seconds(&self) -> f64 {
        self.to - self.from
    }

    fn what(&self) -> String {
        let mut what = if self.ran { "ran" } else { "waited" }.to_owned();
        if self.ran && self.worked < 0.995 * self.seconds() {
            what.push_str(&format!(" {}", percent(self.worked / self.seconds())));
        }
        if self.killed {
            what.push_str(", killed");
        }
        what
    }
}

impl Mean {
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.count += 1;
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let header = ["from", "to", "length", "what", "steps", "loss", "why"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(header).chain(self.periods.iter().map(|p| self.row(p))).collect();
        let mut widths = [0; 7];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let [from, to, length, what, steps, loss, why] = row;
            let [a, b, c, d, e, g, _] = widths;
            writeln!(f, "{from:a$}  {to:b$}  {length:>c$}  {what:d$}  {steps:>e$}  {loss:g$}  {why}")?;
        }
        writeln!(f)?;
        self.summary(f)
    }
}

impl Timeline {
    fn row(&self, period: &Period) -> [String; 7] {
        let loss = period.loss.map_or(String::new(), |(first, last)| change(first, last));
        [
            self.clock(period.from).to_string(),
            self.clock(period.to).to_string(),
            span(period.seconds()),
            period.what(),
            if period.ran { period.steps.to_string() } else { String::new() },
            loss,
            period.reason.to_string(),
        ]
    }

    fn summary(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        if let (Some(&(_, first)), Some(&(_, last))) = (self.evaluations.first(), self.evaluations.last()) {
            writeln!(
                f,
                "held-out loss {} in {}",
                change(first, last),
                count(self.evaluations.len() as u64, "evaluation")
            )?;
        }
        let shown = |(kind, seconds): (ReasonKind, f64)| format!("{} {}", kind.label(), span(seconds));
        let waits: Vec<_> = self.waits().into_iter().map(shown).collect();
        if !waits.is_empty() {
            writeln!(f, "waited: {}", waits.join(", "))?;
        }
        write!(f, "{}, {}", count(self.slices, "slice"), count(self.saves, "save"))?;
        if !self.kills.is_empty() {
            let again = count(self.steps_again, "step");
            write!(f, ", {}, {again} made again", count(self.kills.len() as u64, "kill"))?;
        }
        if self.speed.count > 0 {
            write!(f, ", {:.0} tokens/s while working", self.speed.sum / self.speed.count as f64)?;
        }
        writeln!(f)?;
        if let Some((promoted, report)) = &self.gate {
            writeln!(f, "quality gate: {}", if *promoted { "promoted" } else { "not promoted" })?;
            for line in report.lines() {
                writeln!(f, "  {line}")?;
            }
        }
        if let Some(outcome) = &self.outcome {
            writeln!(f, "{outcome}")?;
        }
        if let Some(reason) = &self.nothing_to_do {
            writeln!(f, "{reason}")?;
        }
        if let Some(estimate) = &self.estimate {
            writeln!(f, "time left: {estimate}")?;
        }
        Ok(())
    }
}

fn span(seconds: f64) -> String {
    length(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn change(first: f64, last: f64) -> String {
    let shown = |loss: f64| if loss.is_finite() { format!("{loss:.3}") } else { "not finite".to_owned() };
    format!("{} → {}", shown(first), shown(last))
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
