//! What keeps a session from going on.

use nightgraft_text::Date;

/// What is not as it was when the session under way was begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionChange {
    /// The base model is another one.
    #[error("it was begun with another base model")]
    Base,
    /// Some of its examples were deleted.
    #[error("examples that it learns from are gone")]
    Examples,
    /// Another date is given.
    #[error("it was begun with the date {then}, now {now}")]
    Date {
        /// The date that it was begun with.
        then: Date,
        /// The one that is given.
        now: Date,
    },
    /// The settings are others.
    #[error("it was begun with {}, now {}", then.join(", "), now.join(", "))]
    Settings {
        /// Those that differ, as they were: lines of TOML.
        then: Vec<String>,
        /// Those that differ, as they are now.
        now: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_says_what_changed() {
        let date = |text: &str| text.parse().unwrap();
        let lines = |text: &str| text.split('+').map(str::to_owned).collect();
        for (change, words) in [
            (SessionChange::Base, "it was begun with another base model"),
            (SessionChange::Examples, "examples that it learns from are gone"),
            (
                SessionChange::Date { then: date("2026-11-29"), now: date("2026-11-30") },
                "it was begun with the date 2026-11-29T00:00:00, now 2026-11-30T00:00:00",
            ),
            (
                SessionChange::Settings {
                    then: lines("lr = 0.001+rank = 8"),
                    now: lines("lr = 0.002+rank = 4"),
                },
                "it was begun with lr = 0.001, rank = 8, now lr = 0.002, rank = 4",
            ),
        ] {
            assert_eq!(change.to_string(), words);
        }
    }
}
