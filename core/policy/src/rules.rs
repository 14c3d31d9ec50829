//! The rules that decide when training may run, with their defaults, checks and TOML form.

use serde::{Deserialize, Serialize};

use super::{Thermal, TimeOfDay, Window};
use crate::error::{Allowed, InvalidRule, Result, RuleProblem, RuleValue};

const MIB: u64 = 1 << 20;

/// When training may run. The defaults suit a phone on its charger at night.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Only while a charger gives power. Default: true.
    pub charging_only: bool,
    /// Below this charge (0 to 1) training waits, on the charger too: the owner's morning comes first. Default: 0.3.
    pub battery_floor: f64,
    /// Once it waited for the battery, it goes on at this charge. Default: 0.4.
    pub battery_resume: f64,
    /// Wait while the device's low power mode is on. Default: true.
    pub respect_low_power: bool,
    /// From this temperature (°C) on it works a part of the time only, less the warmer it is. Default: 37.
    pub slow_from_celsius: f64,
    /// At this temperature (°C) it pauses. Default: 41.
    pub pause_at_celsius: f64,
    /// Once it paused, it goes on at this temperature (°C). Default: 38.
    pub resume_at_celsius: f64,
    /// At this level of the system it pauses. Default: serious.
    pub pause_at_thermal: Thermal,
    /// Once it paused, it goes on at this level. Default: fair.
    pub resume_at_thermal: Thermal,
    /// The share of the time that it works at level fair, and just below the temperature at which it pauses.
    /// Default: 0.5.
    pub warm_duty: f64,
    /// A pause for heat lasts at least this long. Default: 300 s.
    pub cool_down_seconds: u64,
    /// Only while nobody uses the device. Default: true.
    pub idle_only: bool,
    /// After use, the device must be left alone for this long. Default: 60 s.
    pub idle_grace_seconds: u64,
    /// Only between these times of day, such as `22:00-07:00`. Default: none, any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// When the budgets of a day begin anew. Noon, the default, gives a night one budget instead of two halves.
    pub day_begins: TimeOfDay,
    /// Minutes of work in a day, 1 to 1440. Default: 360, what Android grants a foreground service.
    pub minutes_per_day: u32,
    /// What work is assumed to draw, in W: phones do not tell. Default: 4.
    pub watts: f64,
    /// Energy in a day, in Wh at `watts`. Default: 30.
    pub energy_wh_per_day: f64,
    /// Bytes written in a day: flash memory wears. Default: 4 GiB.
    pub flash_bytes_per_day: u64,
    /// Bytes of memory that are left to others. Default: 256 MiB.
    pub memory_reserve: u64,
    /// Bytes of storage that are left free. Default: 1 GiB.
    pub storage_reserve: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            charging_only: true,
            battery_floor: 0.3,
            battery_resume: 0.4,
            respect_low_power: true,
            slow_from_celsius: 37.0,
            pause_at_celsius: 41.0,
            resume_at_celsius: 38.0,
            pause_at_thermal: Thermal::Serious,
            resume_at_thermal: Thermal::Fair,
            warm_duty: 0.5,
            cool_down_seconds: 300,
            idle_only: true,
            idle_grace_seconds: 60,
            window: None,
            day_begins: TimeOfDay::NOON,
            minutes_per_day: 360,
            watts: 4.0,
            energy_wh_per_day: 30.0,
            flash_bytes_per_day: 4096 * MIB,
            memory_reserve: 256 * MIB,
            storage_reserve: 1024 * MIB,
        }
    }
}

impl Rules {
    /// The rules for training that the owner asks for with the device in hand: as the defaults, but also while somebody uses it.
    pub fn while_used() -> Self {
        Self { idle_only: false, ..Self::default() }
    }

    /// Reads rules from TOML and checks them; what the text does not name keeps its default.
    ///
    /// # Errors
    /// [`InvalidRule`] with the line or the rule that is wrong.
    pub fn from_toml(text: &str) -> Result<Self> {
        let rules: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let line = before.matches('\n').count() + 1;
            bad_text(RuleProblem::Syntax { line, message: error.message().replace('\n', " ") })
        })?;
        rules.validate()?;
        Ok(rules)
    }

    /// The rules as TOML, each on a line of its own.
    ///
    /// # Errors
    /// [`InvalidRule`] when a value cannot be written as TOML, which no valid rules hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| bad_text(RuleProblem::Unwritable(error.to_string())))
    }

    /// Checks each rule, alone and with the others.
    ///
    /// # Errors
    /// [`InvalidRule`] naming the first rule that makes no sense and the values that do.
    pub fn validate(&self) -> Result<()> {
        let Self { battery_floor, battery_resume, slow_from_celsius, pause_at_celsius, .. } = *self;
        let Self { resume_at_celsius, warm_duty, watts, energy_wh_per_day, .. } = *self;
        let between = |rule, value: f64, least, most| {
            check(rule, (least..=most).contains(&value), value, Allowed::Between(least, most))
        };
        between("battery_floor", battery_floor, 0.0, 1.0)?;
        let resumes = (battery_floor..=1.0).contains(&battery_resume);
        check("battery_resume", resumes, battery_resume, Allowed::FromBatteryFloor)?;
        between("pause_at_celsius", pause_at_celsius, 20.0, 60.0)?;
        let slows = (0.0..=pause_at_celsius).contains(&slow_from_celsius);
        check("slow_from_celsius", slows, slow_from_celsius, Allowed::UpToPause)?;
        let resumes = (0.0..pause_at_celsius).contains(&resume_at_celsius);
        check("resume_at_celsius", resumes, resume_at_celsius, Allowed::BelowPause)?;
        let (pause, resume) = (self.pause_at_thermal, self.resume_at_thermal);
        check("pause_at_thermal", pause > Thermal::Nominal, pause, Allowed::WarmLevel)?;
        check("resume_at_thermal", resume < pause, resume, Allowed::LevelBelowPause)?;
        between("warm_duty", warm_duty, 0.05, 1.0)?;
        seconds("cool_down_seconds", self.cool_down_seconds)?;
        seconds("idle_grace_seconds", self.idle_grace_seconds)?;
        let minutes = u64::from(self.minutes_per_day);
        check("minutes_per_day", (1..=1440).contains(&minutes), minutes, Allowed::Minutes)?;
        between("watts", watts, 0.01, 1000.0)?;
        between("energy_wh_per_day", energy_wh_per_day, 0.01, 1e6)?;
        size("flash_bytes_per_day", self.flash_bytes_per_day, MIB)?;
        size("memory_reserve", self.memory_reserve, 0)?;
        size("storage_reserve", self.storage_reserve, 0)
    }
}

fn seconds(rule: &'static str, value: u64) -> Result<()> {
    check(rule, value <= 86_400, value, Allowed::Seconds)
}

fn size(rule: &'static str, value: u64, least: u64) -> Result<()> {
    // TOML integers are signed.
    check(rule, (least..=i64::MAX as u64).contains(&value), value, Allowed::Bytes { least })
}

fn check(option: &'static str, holds: bool, value: impl Into<RuleValue>, allowed: Allowed) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(InvalidRule { option, problem: RuleProblem::NotAllowed { value: value.into(), allowed } })
}

fn bad_text(problem: RuleProblem) -> InvalidRule {
    InvalidRule { option: "rules", problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_defaults_are_valid_and_written_like_this() {
        let rules = Rules::default();
        rules.validate().unwrap();
        let text = rules.to_toml().unwrap();
        insta::assert_snapshot!(text, @r#"
        charging_only = true
        battery_floor = 0.3
        battery_resume = 0.4
        respect_low_power = true
        slow_from_celsius = 37.0
        pause_at_celsius = 41.0
        resume_at_celsius = 38.0
        pause_at_thermal = "serious"
        resume_at_thermal = "fair"
        warm_duty = 0.5
        cool_down_seconds = 300
        idle_only = true
        idle_grace_seconds = 60
        day_begins = "12:00"
        minutes_per_day = 360
        watts = 4.0
        energy_wh_per_day = 30.0
        flash_bytes_per_day = 4294967296
        memory_reserve = 268435456
        storage_reserve = 1073741824
        "#);
        assert_eq!(Rules::from_toml(&text).unwrap(), rules);
        assert_eq!(Rules::from_toml("").unwrap(), rules);
    }

    #[test]
    fn what_a_file_names_replaces_the_default() {
        let text = "window = \"22:30-06:15\"\nbattery_floor = 0.5\nbattery_resume = 0.5\npause_at_thermal = \"critical\"\n";
        let rules = Rules::from_toml(text).unwrap();
        assert_eq!(rules.window.unwrap().to_string(), "22:30-06:15");
        assert_eq!((rules.battery_floor, rules.pause_at_thermal), (0.5, Thermal::Critical));
        assert_eq!(Rules::from_toml(&rules.to_toml().unwrap()).unwrap(), rules);
    }

    #[test]
    fn a_bad_file_says_where() {
        let cases = [
            ("idle_only = true\nminutes = 3\n", "rules: line 2: unknown field `minutes`, expected one of "),
            (
                "\n\nwindow = \"22-7\"",
                "rules: line 3: a time of day is written HH:MM, such as 22:30, not \"22\"",
            ),
            ("battery_floor = \"half\"", "rules: line 1: invalid type: string \"half\", expected f64"),
            ("watts = ", "rules: line 1: "),
            ("flash_bytes_per_day = -1", "rules: line 1: invalid value: integer `-1`, expected u64"),
            ("battery_floor = nan", "battery_floor: NaN is not allowed; it must be 0 to 1"),
            ("battery_floor = 0.5", "battery_resume: 0.4 is not allowed; it must be battery_floor to 1"),
            (
                "resume_at_celsius = 41.0",
                "resume_at_celsius: 41 is not allowed; it must be 0 to below pause_at_celsius",
            ),
            ("pause_at_celsius = 400.0", "pause_at_celsius: 400 is not allowed; it must be 20 to 60"),
            (
                "slow_from_celsius = 45.0",
                "slow_from_celsius: 45 is not allowed; it must be 0 to pause_at_celsius",
            ),
            (
                "pause_at_thermal = \"nominal\"",
                "pause_at_thermal: nominal is not allowed; it must be fair, serious or critical",
            ),
            (
                "resume_at_thermal = \"serious\"",
                "resume_at_thermal: serious is not allowed; it must be a level below pause_at_thermal",
            ),
            ("warm_duty = 0.0", "warm_duty: 0 is not allowed; it must be 0.05 to 1"),
            ("cool_down_seconds = 86401", "cool_down_seconds: 86401 is not allowed"),
            ("idle_grace_seconds = 1000000", "idle_grace_seconds: 1000000 is not allowed"),
            ("minutes_per_day = 0", "minutes_per_day: 0 is not allowed; it must be 1 to 1440"),
            ("watts = inf", "watts: inf is not allowed"),
            ("energy_wh_per_day = 0.0", "energy_wh_per_day: 0 is not allowed"),
            (
                "flash_bytes_per_day = 1000",
                "flash_bytes_per_day: 1000 is not allowed; it must be at least 1048576",
            ),
        ];
        for (text, expected) in cases {
            let error = Rules::from_toml(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
