//! The moment that a chat template takes for now.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::civil::{Date as Day, DateTime};
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, SettingProblem};

/// A day and a time of day, to the second, as a clock on the wall shows them: without a time zone, like the
/// `datetime.now()` that templates ask in Python.
///
/// A template that writes today's date renders another text each day, so a run keeps the date that it began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(DateTime);

impl Date {
    /// What the device's clock shows, in the time zone that it is set to.
    pub fn now() -> Self {
        Self::of(Zoned::now().datetime())
    }

    /// What a clock set to UTC showed at `time`.
    pub fn utc(time: SystemTime) -> Self {
        let timestamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::of(timestamp.to_zoned(TimeZone::UTC).datetime())
    }

    /// To the second.
    fn of(date: DateTime) -> Self {
        Self(date.with().subsec_nanosecond(0).build().unwrap_or(date))
    }

    /// The date in the format of Python's `strftime`. What is no directive stays as it is.
    pub fn strftime(&self, format: &str) -> String {
        let config = Config::new().custom(PosixCustom::new()).lenient(true);
        let formatted = BrokenDownTime::from(self.0).to_string_with_config(&config, naive(format));
        formatted.unwrap_or_else(|_| format.to_owned())
    }
}

/// `format` for a date without a time zone and with whole seconds: Python writes zones as nothing, and microseconds in
/// six digits.
fn naive(format: &str) -> String {
    let mut text = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let directives = [("%f", "000000"), ("%z", ""), ("%:z", ""), ("%Z", ""), ("%%", "%%")];
        let known = directives
            .into_iter()
            .find_map(|(directive, written)| rest.strip_prefix(directive).map(|rest| (written, rest)));
        let (written, after) = known.unwrap_or(("%", &rest[1..]));
        text.push_str(written);
        rest = after;
    }
    text + rest
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Date {
    type Err = Error;

    /// `2026-11-29`, which is its midnight, or `2026-11-29T23:59:30`.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.parse::<DateTime>().or_else(|_| text.parse::<Day>().map(DateTime::from));
        parsed.map(Self::of).map_err(|_| Error::Config {
            option: "--date",
            problem: SettingProblem::NotADate { text: text.to_owned() },
        })
    }
}

impl TryFrom<String> for Date {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dates_are_written_as_they_are_read() {
        for (text, written) in [
            ("2026-11-29T23:59:30", "2026-11-29T23:59:30"),
            ("2026-11-29", "2026-11-29T00:00:00"),
            ("2026-11-29 08:05:00", "2026-11-29T08:05:00"),
            ("2026-11-29T08:05:00.75", "2026-11-29T08:05:00"),
        ] {
            let date: Date = text.parse().unwrap();
            assert_eq!(date.to_string(), written);
            assert_eq!(serde_json::to_string(&date).unwrap(), format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<Date>(&format!("\"{text}\"")).unwrap(), date);
        }
        for text in ["", "today", "2026-02-30", "2026-11-29T25:00:00", "29.11.2026"] {
            let error = text.parse::<Date>().unwrap_err();
            let is_named =
                |problem: &SettingProblem| *problem == SettingProblem::NotADate { text: text.into() };
            assert!(
                matches!(&error, Error::Config { option: "--date", problem } if is_named(problem)),
                "{error}"
            );
        }
        assert_eq!(Date::utc(SystemTime::UNIX_EPOCH).to_string(), "1970-01-01T00:00:00");
        assert_eq!(Date::now().to_string().len(), "1970-01-01T00:00:00".len());
    }

    /// The expected texts are those of `datetime.strftime` of Python 3.11 in the C locale.
    #[test]
    fn directives_are_those_of_python() {
        let date: Date = "2024-02-29T15:04:09".parse().unwrap();
        for (format, expected) in [
            ("%d %b %Y", "29 Feb 2024"),
            ("%A, %-d %B %y %H:%M:%S %%", "Thursday, 29 February 24 15:04:09 %"),
            ("%F %T %a %D %R", "2024-02-29 15:04:09 Thu 02/29/24 15:04"),
            ("%I:%M %p|%l|%k|%e|%j|%w|%u", "03:04 PM| 3|15|29|060|4|4"),
            ("%U %W %V %G %C %h", "08 09 09 2024 20 Feb"),
            ("%c|%x|%X|%r", "Thu Feb 29 15:04:09 2024|02/29/24|15:04:09|03:04:09 PM"),
            ("%f|%z|%Z|%n|%t", "000000|||\n|\t"),
            ("%^a %-m %_d %-I", "THU 2 29 3"),
            ("%", "%"),
            ("%é %%z", "%é %z"),
        ] {
            assert_eq!(date.strftime(format), expected, "{format}");
        }
    }
}
