//! A night written down: what a device said, and when its system granted time.
//!
//! CSV with this header, in this order; lines that begin with `#` are comments:
//!
//! ```text
//! time,charging,battery,temperature,thermal,low_power,idle,memory_mib,storage_mib,slice
//! 23:40,yes,0.80,31.5,nominal,no,yes,3000,20000,grant
//! 23:50,yes,0.82,33.0,nominal,no,yes,3000,20000,end
//! ```
//!
//! A row holds until the next one; the last one ends the night. Times ascend and may pass midnight once.
//! `battery` is the charge from 0 to 1, `temperature` is in °C or empty, and either may be `nan` for a sensor
//! that talks nonsense. `slice` is `grant` when the system starts to grant time, `end` when it takes it back,
//! `kill` when it kills the process, else empty. Without any `grant`, the whole night is granted.

use std::{
    collections::VecDeque,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use nightgraft_core::{Error, Result};
use nightgraft_policy::{DeviceState, LocalTime, Thermal, Usage};
use nightgraft_text::Error as TextError;
use nightgraft_text::data::DataProblem;

const COLUMNS: [&str; 10] = [
    "time",
    "charging",
    "battery",
    "temperature",
    "thermal",
    "low_power",
    "idle",
    "memory_mib",
    "storage_mib",
    "slice",
];
const DAY: u32 = 24 * 60 * 60;
const MIB: u64 = 1 << 20;

/// A night touches two days.
const NIGHT_APART: i64 = 2;

/// More than any night has; keeps a wrong path from filling the memory.
const MAX_BYTES: u64 = 16 << 20;
/// A longer step is a slip: a row that is not in order seems to be on the next day.
const LONGEST_ROW: u32 = 12 * 60 * 60;
/// A thousand terabytes; far from overflow.
const MAX_MIB: u64 = 1 << 30;

/// A night to replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// At least two, the first at 0; times ascend.
    rows: Vec<Row>,
    grants: Vec<Grant>,
    /// Second of the day at which it begins.
    begins: u32,
    /// The number of the day on which it begins.
    day: i64,
    description: String,
}

/// Time that the system granted, in seconds from the night's beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// When it begins.
    pub from: f64,
    /// When it is over.
    pub to: f64,
    /// What happens then.
    pub how: GrantEnd,
}

/// How the system takes time back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantEnd {
    /// It asks to stop.
    End,
    /// It kills the process without a word.
    Kill,
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    /// Seconds from the night's beginning.
    at: u32,
    charging: bool,
    battery: f64,
    temperature: Option<f64>,
    thermal: Thermal,
    low_power: bool,
    idle: bool,
    memory: u64,
    storage: u64,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`TextError::Data`] with the line when it is not a trace.
    pub fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(Error::io("open", path))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(bad(path, None, format!("a trace has at most {MAX_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| bad(path, None, "not a text in UTF-8"))?;
        Self::parse(&text, path)
    }

    /// As [`Trace::read`], from the text; `path` is only named in errors.
    ///
    /// # Errors
    /// [`TextError::Data`] with the line.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader =
            csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| csv_problem(text, path, &error))?;
        if header.iter().ne(COLUMNS) {
            let line = header.position().map(|position| line_of(text, position));
            return Err(bad(path, line, format!("a trace begins with the line {}", COLUMNS.join(","))));
        }
        let mut clock = Clock::default();
        let mut grants = Grants::default();
        let mut rows: Vec<Row> = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| csv_problem(text, path, &error))?;
            let row = clock
                .advance(field(&record, 0))
                .and_then(|at| read_row(at, &record))
                .and_then(|row| grants.read(row.at, field(&record, 9)).map(|()| row))
                .map_err(|problem| {
                    let line = record.position().map(|position| line_of(text, position));
                    bad(path, line, problem)
                })?;
            rows.push(row);
        }
        let end = match rows.as_slice() {
            [] | [_] => {
                return Err(bad(path, None, "a trace has at least two rows: the last one is its end"));
            }
            [.., last] => last.at,
        };
        let grants = grants.finish(end).map_err(|problem| bad(path, None, problem))?;
        Ok(Self { rows, grants, begins: clock.begins, day: 0, description: description(text) })
    }

    /// Moves the night to another day; `day` counts from 1970-01-01, where traces are otherwise. Several nights
    /// in a row need different days, for the daily budgets.
    pub fn on_day(self, day: i64) -> Self {
        // Far from the ends of what seconds in an i64 can say.
        Self { day: day.clamp(-100_000_000, 100_000_000), ..self }
    }

    /// The number of the first day on which this night has budgets of its own: the trace's, or the one after all days that have
    /// spent something.
    pub fn next_free_day(&self, usage: &Usage) -> i64 {
        let last = usage.days().iter().map(|spent| spent.day).max();
        last.map_or(self.day, |last| self.day.max(last + NIGHT_APART))
    }

    /// What its comments say before the first row, without the `#`.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The time that is granted, in order.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Seconds from the beginning to the end of the night.
    pub fn seconds(&self) -> f64 {
        self.rows.last().map_or(0.0, |row| f64::from(row.at))
    }

    /// The device's clock at the beginning.
    pub fn begins(&self) -> LocalTime {
        self.time_at(0.0)
    }

    /// What the device says that many seconds after the beginning; before it as at the beginning, after the end
    /// as at the end.
    pub fn state_at(&self, seconds: f64) -> DeviceState {
        let next = self.rows.partition_point(|row| f64::from(row.at) <= seconds);
        let row = &self.rows[next.saturating_sub(1)];
        DeviceState {
            charging: row.charging,
            battery: row.battery,
            thermal: row.thermal,
            temperature: row.temperature,
            low_power_mode: row.low_power,
            idle: row.idle,
            memory_available: row.memory,
            storage_free: row.storage,
            time: self.time_at(seconds),
        }
    }

    /// The next time after `seconds` at which a row begins, if there is one: what the device says is the same
    /// until then.
    pub fn next_change(&self, seconds: f64) -> Option<f64> {
        let next = self.rows.partition_point(|row| f64::from(row.at) <= seconds);
        self.rows.get(next).map(|row| f64::from(row.at))
    }

    fn time_at(&self, seconds: f64) -> LocalTime {
        // A cast of a float saturates, and makes NaN 0.
        let unix = (self.day * i64::from(DAY) + i64::from(self.begins)).saturating_add(seconds as i64);
        LocalTime { unix, utc_offset: 0 }
    }
}

/// Turns times of day into seconds since the first.
#[derive(Default)]
struct Clock {
    begins: u32,
    last: Option<(u32, u32)>,
    passed_midnight: bool,
}

impl Clock {
    fn advance(&mut self, text: &str) -> Result<u32, String> {
        let second = second_of_day(text)
            .ok_or_else(|| format!("time is written HH:MM or HH:MM:SS, such as 22:30, not {text:?}"))?;
        let Some((last, at)) = self.last else {
            self.begins = second;
            self.last = Some((second, 0));
            return Ok(0);
        };
        let forward = if second >= last { second - last } else { second + DAY - last };
        if forward == 0 {
            return Err(format!("{text} is the time of the row before too; times ascend"));
        }
        if second < last && std::mem::replace(&mut self.passed_midnight, true) {
            return Err(format!("{text} is earlier than the row before, and midnight has passed already"));
        }
        if forward > LONGEST_ROW {
            return Err(format!(
                "{text} is more than 12 hours after the row before; times ascend and may pass midnight once"
            ));
        }
        self.last = Some((second, at + forward));
        Ok(at + forward)
    }
}

fn second_of_day(text: &str) -> Option<u32> {
    let mut parts: VecDeque<_> = text.split(':').collect();
    let mut part = |below: u32, optional: bool| match parts.pop_front() {
        None => optional.then_some(0),
        Some(digits) if digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|number| *number < below)
        }
        Some(_) => None,
    };
    let (hour, minute, second) = (part(24, false)?, part(60, false)?, part(60, true)?);
    parts.is_empty().then_some(hour * 3600 + minute * 60 + second)
}

/// Puts the column `slice` together.
#[derive(Default)]
struct Grants {
    done: Vec<Grant>,
    open: Option<u32>,
}

impl Grants {
    fn read(&mut self, at: u32, text: &str) -> Result<(), String> {
        let how = match text {
            "" => return Ok(()),
            "grant" if self.open.is_some() => {
                return Err("slice: granted twice without an end or kill between".to_owned());
            }
            "grant" => {
                self.open = Some(at);
                return Ok(());
            }
            "end" => GrantEnd::End,
            "kill" => GrantEnd::Kill,
            _ => return Err(format!("slice is grant, end, kill or empty, not {text:?}")),
        };
        let from = self.open.take().ok_or_else(|| format!("slice: {text} without a grant before it"))?;
        self.done.push(Grant { from: from.into(), to: at.into(), how });
        Ok(())
    }

    fn finish(mut self, end: u32) -> Result<Vec<Grant>, String> {
        match self.open {
            Some(from) if from == end => return Err("slice: granted when the trace ends".to_owned()),
            Some(from) => self.done.push(Grant { from: from.into(), to: end.into(), how: GrantEnd::End }),
            None if self.done.is_empty() => {
                self.done.push(Grant { from: 0.0, to: end.into(), how: GrantEnd::End });
            }
            None => {}
        }
        Ok(self.done)
    }
}

fn read_row(at: u32, record: &csv::StringRecord) -> Result<Row, String> {
    let temperature = field(record, 3);
    Ok(Row {
        at,
        charging: yes_or_no("charging", field(record, 1))?,
        battery: reading("battery", field(record, 2), 0.0, 1.0, "the charge from 0 to 1")?,
        temperature: (!temperature.is_empty())
            .then(|| reading("temperature", temperature, -40.0, 120.0, "-40 to 120 °C, or empty"))
            .transpose()?,
        thermal: thermal(field(record, 4))?,
        low_power: yes_or_no("low_power", field(record, 5))?,
        idle: yes_or_no("idle", field(record, 6))?,
        memory: mebibytes("memory_mib", field(record, 7))?,
        storage: mebibytes("storage_mib", field(record, 8))?,
    })
}

fn field(record: &csv::StringRecord, column: usize) -> &str {
    record.get(column).unwrap_or("")
}

fn yes_or_no(column: &str, text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        _ => Err(format!("{column} is yes or no, not {text:?}")),
    }
}

/// A number within the bounds, or NaN where the trace says so.
fn reading(column: &str, text: &str, low: f64, high: f64, allowed: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_nan() || (low..=high).contains(number));
    number.ok_or_else(|| format!("{column} is {allowed}, not {text:?}; nan for a sensor that talks nonsense"))
}

fn thermal(text: &str) -> Result<Thermal, String> {
    match text {
        "nominal" => Ok(Thermal::Nominal),
        "fair" => Ok(Thermal::Fair),
        "serious" => Ok(Thermal::Serious),
        "critical" => Ok(Thermal::Critical),
        _ => Err(format!("thermal is nominal, fair, serious or critical, not {text:?}")),
    }
}

fn mebibytes(column: &str, text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number: &u64| *number <= MAX_MIB);
    number
        .map(|number| number * MIB)
        .ok_or_else(|| format!("{column} is a whole number of MiB, not {text:?}"))
}

fn description(text: &str) -> String {
    let lines: Vec<_> = text.lines().map_while(|line| line.strip_prefix('#')).map(str::trim).collect();
    lines.join("\n")
}

fn csv_problem(text: &str, path: &Path, error: &csv::Error) -> Error {
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns where the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    bad(path, error.position().map(|position| line_of(text, position)), problem)
}

/// The line of a record, from 1. The reader's own count is that of the first comment or empty line before it.
fn line_of(text: &str, position: &csv::Position) -> usize {
    let start = usize::try_from(position.byte()).ok();
    let (before, rest) = start.and_then(|start| text.split_at_checked(start)).unwrap_or((text, ""));
    let skipped = rest.lines().take_while(|line| line.trim().is_empty() || line.starts_with('#')).count();
    before.matches('\n').count() + skipped + 1
}

fn bad(path: &Path, line: Option<usize>, problem: impl Into<String>) -> Error {
    let problem = DataProblem::Trace(problem.into());
    TextError::Data { path: PathBuf::from(path), line, problem }.into()
}

#[cfg(test)]
mod tests;
