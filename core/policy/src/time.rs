//! The device's clock, times of day and the window between two of them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub(super) const DAY: u64 = 24 * 60 * 60;

/// What the device's clock shows. Any value is allowed, clocks jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalTime {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix: i64,
    /// Seconds that the local clock is ahead of UTC, now: daylight saving is in it.
    pub utc_offset: i32,
}

impl LocalTime {
    /// Seconds since local midnight, below 86,400.
    pub fn second_of_day(self) -> u32 {
        let second = self.local().rem_euclid(DAY as i64);
        u32::try_from(second).expect("a day has fewer seconds than u32 numbers")
    }

    /// The number of the local day, 0 for 1970-01-01, if days begin at `begins`: with 12:00, noon belongs to
    /// the day and the following morning still does.
    pub fn day(self, begins: TimeOfDay) -> i64 {
        self.local().saturating_sub(i64::from(begins.second_of_day())).div_euclid(DAY as i64)
    }

    /// The local time of day, to the minute.
    pub fn time_of_day(self) -> TimeOfDay {
        TimeOfDay::from_seconds(self.second_of_day())
    }

    /// Seconds from `earlier` to here; none when the clock went back in between.
    pub(super) fn since(self, earlier: i64) -> Option<u64> {
        u64::try_from(i128::from(self.unix) - i128::from(earlier)).ok()
    }

    fn local(self) -> i64 {
        self.unix.saturating_add(i64::from(self.utc_offset))
    }
}

/// A time of day to the minute, written `HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    /// 00:00.
    pub const MIDNIGHT: Self = Self { minutes: 0 };
    /// 12:00.
    pub const NOON: Self = Self { minutes: 12 * 60 };

    /// None unless `hour` is below 24 and `minute` below 60.
    pub fn new(hour: u16, minute: u16) -> Option<Self> {
        (hour < 24 && minute < 60).then(|| Self { minutes: hour * 60 + minute })
    }

    /// The time of day that many seconds after midnight, whole days left out.
    pub fn from_seconds(seconds: u32) -> Self {
        Self { minutes: (seconds / 60 % (24 * 60)) as u16 }
    }

    /// Seconds since midnight.
    pub fn second_of_day(self) -> u32 {
        u32::from(self.minutes) * 60
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("a time of day is written HH:MM, such as 22:30, not {text:?}");
        let (hour, minute) = text.split_once(':').ok_or_else(problem)?;
        let number = |digits: &str| {
            let well_formed = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| well_formed)
        };
        number(hour)
            .zip(number(minute).filter(|_| minute.len() == 2))
            .and_then(|(hour, minute)| Self::new(hour, minute))
            .ok_or_else(problem)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

/// The part of each day between two times, written `22:00-07:00`; it may pass midnight. The end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    from: TimeOfDay,
    to: TimeOfDay,
}

impl Window {
    /// None when the two are the same: that could mean never or always.
    pub fn new(from: TimeOfDay, to: TimeOfDay) -> Option<Self> {
        (from != to).then_some(Self { from, to })
    }

    /// When it opens.
    pub fn from(self) -> TimeOfDay {
        self.from
    }

    /// When it closes.
    pub fn to(self) -> TimeOfDay {
        self.to
    }

    /// Inside: `Ok` with the seconds until it closes, at least 1. Outside: `Err` with the seconds until it
    /// opens, at least 1.
    pub fn left(self, now: LocalTime) -> Result<u64, u64> {
        let day = DAY as i64;
        let from = i64::from(self.from.second_of_day());
        let length = (i64::from(self.to.second_of_day()) - from).rem_euclid(day);
        let into = (i64::from(now.second_of_day()) - from).rem_euclid(day);
        if into < length { Ok((length - into) as u64) } else { Err((day - into) as u64) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once('-')
            .ok_or_else(|| format!("a time window is written 22:00-07:00, not {text:?}"))?;
        Self::new(from.trim().parse()?, to.trim().parse()?)
            .ok_or_else(|| "the time window ends when it begins; leave it out to allow every time".to_owned())
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn at(text: &str, utc_offset: i32) -> LocalTime {
        let time: TimeOfDay = text.parse().unwrap();
        LocalTime { unix: i64::from(time.second_of_day()) - i64::from(utc_offset), utc_offset }
    }

    #[test]
    fn local_days_and_seconds() {
        let time = LocalTime { unix: 86_400 + 3_600, utc_offset: -7_200 };
        assert_eq!((time.second_of_day(), time.day(TimeOfDay::MIDNIGHT)), (23 * 3600, 0));
        assert_eq!(time.time_of_day().to_string(), "23:00");
        assert_eq!(LocalTime { unix: -1, utc_offset: 0 }.day(TimeOfDay::MIDNIGHT), -1);
        // With days from noon to noon, the evening and the next morning are one day.
        let evening = LocalTime { unix: 5 * 86_400 + 22 * 3600, utc_offset: 0 };
        let morning = LocalTime { unix: 6 * 86_400 + 6 * 3600, utc_offset: 0 };
        assert_eq!((evening.day(TimeOfDay::NOON), morning.day(TimeOfDay::NOON)), (5, 5));
    }

    #[test]
    fn times_are_read_strictly() {
        for (text, minutes) in [("00:00", 0), ("7:05", 425), ("23:59", 1439)] {
            assert_eq!(text.parse(), Ok(TimeOfDay { minutes }), "{text}");
        }
        for text in ["", ":", "24:00", "12:60", "12", "1:2", "+1:00", "12:00:00", "١٢:٠٠", "-1:00", "123:00"]
        {
            let problem = text.parse::<TimeOfDay>().unwrap_err();
            assert!(problem.starts_with("a time of day is written HH:MM"), "{problem}");
        }
        assert!("22:00-22:00".parse::<Window>().unwrap_err().contains("ends when it begins"));
        assert!("22:00".parse::<Window>().unwrap_err().contains("22:00-07:00"));
        assert_eq!("22:00-7:00".parse::<Window>().unwrap().to_string(), "22:00-07:00");
    }

    #[test]
    fn a_window_may_pass_midnight() {
        let night: Window = "22:00-07:00".parse().unwrap();
        assert_eq!(night.left(at("21:59", 0)), Err(60));
        assert_eq!(night.left(at("22:00", 0)), Ok(9 * 3600));
        assert_eq!(night.left(at("00:00", 3600)), Ok(7 * 3600));
        assert_eq!(night.left(at("06:59", -18_000)), Ok(60));
        assert_eq!(night.left(at("07:00", 0)), Err(15 * 3600));
        let day: Window = "09:30-17:00".parse().unwrap();
        assert_eq!(day.left(at("09:29", 0)), Err(60));
        assert_eq!(day.left(at("16:00", 0)), Ok(3600));
        assert_eq!(day.left(at("23:00", 0)), Err(10 * 3600 + 1800));
    }

    proptest! {
        #[test]
        fn no_clock_is_out_of_bounds(unix: i64, utc_offset: i32, from in 0..1440u16, to in 0..1440u16) {
            let now = LocalTime { unix, utc_offset };
            prop_assert!(now.second_of_day() < 86_400);
            let begins = TimeOfDay { minutes: from };
            prop_assert!(now.day(begins) <= now.day(TimeOfDay::MIDNIGHT));
            if let Some(window) = Window::new(begins, TimeOfDay { minutes: to }) {
                let (Ok(left) | Err(left)) = window.left(now);
                prop_assert!((1..=86_400).contains(&left));
                prop_assert_eq!(window.to_string().parse::<Window>().unwrap(), window);
            }
        }

        #[test]
        fn elapsed_time_is_exact_or_none(now: i64, earlier: i64) {
            let since = LocalTime { unix: now, utc_offset: 0 }.since(earlier);
            prop_assert_eq!(since.is_some(), now >= earlier);
            prop_assert!(since.is_none_or(|s| i128::from(s) == i128::from(now) - i128::from(earlier)));
        }
    }
}
