//! What a person sees of a run on standard error: a live bar on a terminal, plain lines elsewhere.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use nightgraft_core::session::{DataReport, DeviceEvent, Event, ModelInfo, StepMetrics};

use crate::{data_warnings, format, output};

/// How often plain lines appear where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The progress of work whose size is known, in bytes or in tokens.
pub struct Progress {
    bar: ProgressBar,
    style: Style,
    last_line: Instant,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Hidden,
    Bar,
    Lines,
}

impl Style {
    fn new(wanted: bool) -> Self {
        match (wanted, io::stderr().is_terminal()) {
            (false, _) => Self::Hidden,
            (true, true) => Self::Bar,
            (true, false) => Self::Lines,
        }
    }
}

impl Progress {
    /// Bytes moved, with the speed and the time left.
    pub fn bytes(wanted: bool, label: &str, total: u64) -> Self {
        Self::new(
            wanted,
            label,
            total,
            "{prefix} {bar:30} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left",
        )
    }

    /// Tokens worked through.
    pub fn tokens(wanted: bool, label: &str) -> Self {
        Self::new(wanted, label, 0, "{prefix} {bar:30} {pos} of {len} tokens  {eta} left")
    }

    /// Tensors worked through.
    pub fn tensors(wanted: bool, label: &str) -> Self {
        Self::new(wanted, label, 0, "{prefix} {bar:30} {pos} of {len} tensors")
    }

    fn new(wanted: bool, label: &str, total: u64, template: &str) -> Self {
        let style = Style::new(wanted);
        let bar = if style == Style::Bar { ProgressBar::new(total) } else { ProgressBar::hidden() };
        bar.set_length(total);
        bar.set_style(bar_style(template));
        bar.set_prefix(label.to_owned());
        Self { bar, style, last_line: Instant::now() }
    }

    /// Work that an earlier call had done: it does not count for the speed.
    pub fn start_at(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// So much is done.
    pub fn set(&mut self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if self.style == Style::Lines && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            output::note(format_args!(
                "{}: {} %",
                self.bar.prefix(),
                (done * 100).checked_div(total).unwrap_or(0)
            ));
        }
    }

    /// Takes the bar away.
    pub fn close(&self) {
        self.bar.finish_and_clear();
    }
}

/// The events of a training run.
pub struct TrainProgress {
    bar: ProgressBar,
    style: Style,
    steps: u64,
    started: Option<(Instant, u64)>,
    last_line: Option<Instant>,
}

impl TrainProgress {
    pub fn new(wanted: bool) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            style: Style::new(wanted),
            steps: 0,
            started: None,
            last_line: None,
        }
    }

    /// Shows what happened.
    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Model(info) => self.say(&model_line(info)),
            Event::Data { train, held_out } => {
                self.say(&data_line(train, held_out.as_ref()));
                data_warnings::sentences(train).iter().for_each(|sentence| self.warn(sentence));
                for sentence in held_out.iter().flat_map(data_warnings::sentences) {
                    self.warn(&format!("held-out examples: {sentence}"));
                }
            }
            &Event::Planned { steps, trainable_parameters, adapted_layers, lr, threads } => {
                self.say(&format!(
                    "plan: {steps} steps, rate up to {lr:.1e}, {} trainable parameters, backward through \
                    {adapted_layers} layers, {threads} threads",
                    format::count(trainable_parameters as u64)
                ));
                self.start(steps);
            }
            Event::Memory(plan) => self
                .say(&format!("memory: {} planned, the mapped model not counted", format::bytes(plan.total))),
            Event::Device(DeviceEvent::Probing { device }) => {
                self.say(&format!("device: comparing {} with the processor", device.escape_debug()));
            }
            Event::Device(DeviceEvent::Chosen { device }) => {
                self.say(&format!("device: {}", device.escape_debug()));
            }
            Event::Resumed { step, .. } => self.resume(*step),
            Event::Step(metrics) => self.step(metrics),
            Event::Evaluated { step, perplexity, best, .. } => {
                let mark = if *best { "  (best so far)" } else { "" };
                self.say(&format!("step {step}: held-out perplexity {perplexity:.2}{mark}"));
            }
            event => {
                if let Some(text) = event.warning() {
                    self.warn(&text);
                }
            }
        }
    }

    /// Takes the bar away.
    pub fn close(&self) {
        self.bar.finish_and_clear();
    }

    fn start(&mut self, steps: u64) {
        self.steps = steps;
        if self.style == Style::Bar {
            self.bar = ProgressBar::new(steps);
            self.bar.set_style(bar_style("{bar:30} step {pos} of {len}  {msg}"));
            self.bar.enable_steady_tick(Duration::from_millis(250));
        }
    }

    fn resume(&mut self, step: u64) {
        self.say(&format!("going on after step {step}"));
        self.bar.set_position(step);
    }

    fn step(&mut self, metrics: &StepMetrics) {
        let (start, done_before) = *self.started.get_or_insert_with(|| {
            let this = Duration::try_from_secs_f64(metrics.seconds).unwrap_or_default();
            (Instant::now().checked_sub(this).unwrap_or_else(Instant::now), metrics.step.saturating_sub(1))
        });
        let done = metrics.step.saturating_sub(done_before).max(1);
        let left = self.steps.saturating_sub(metrics.step);
        let left = start.elapsed().as_secs_f64() / done as f64 * left as f64;
        let message = format!(
            "loss {:.4}  {:.0} tokens/s  {} left",
            metrics.loss,
            metrics.tokens_per_second,
            format::duration(left)
        );
        if self.style == Style::Bar {
            self.bar.set_message(message);
            self.bar.set_position(metrics.step);
        } else if self.style == Style::Lines && self.is_line_due(metrics.step) {
            output::note(format_args!("step {} of {}: {message}", metrics.step, self.steps));
        }
    }

    fn is_line_due(&mut self, step: u64) -> bool {
        let is_due = step >= self.steps || self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if is_due {
            self.last_line = Some(Instant::now());
        }
        is_due
    }

    fn say(&self, line: &str) {
        if self.style != Style::Hidden {
            self.bar.suspend(|| output::note(line));
        }
    }

    fn warn(&self, text: &str) {
        self.bar.suspend(|| output::note(format_args!("warning: {text}")));
    }
}

fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

fn model_line(info: &ModelInfo) -> String {
    let name = info.name.as_deref().unwrap_or(&info.architecture);
    format!("model: {name}, {} parameters, {}", format::count(info.parameters), format::bytes(info.bytes))
}

/// What the data is, and how it became examples.
fn data_line(train: &DataReport, held_out: Option<&DataReport>) -> String {
    let DataReport { examples, tokens, supervised_tokens, .. } = train;
    let mut line = format!("data: {examples} examples, {tokens} tokens, {supervised_tokens} with a loss");
    if let Some(held_out) = held_out {
        line.push_str(&format!("; {} examples held out", held_out.examples));
    }
    let split = train.split_lines + held_out.map_or(0, |held_out| held_out.split_lines);
    if split > 0 {
        line.push_str(&format!("; {split} lines longer than --context split"));
    }
    line
}
