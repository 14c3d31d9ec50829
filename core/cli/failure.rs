//! What the user sees when something went wrong, and the exit code that scripts see.

use std::{error::Error as StdError, process::ExitCode};

use nightgraft_core::Error;
use nightgraft_policy::InvalidRule;
use nightgraft_simulation::InvalidSpeed;
use nightgraft_text::Unlogged;

use crate::output::{self, StdoutClosed};

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
/// 128 + SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;

/// A command line that was parsed, and asks for what cannot be: exit code 2.
#[derive(Debug)]
pub struct UsageError(pub String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for UsageError {}

/// The exit code of a run that Ctrl-C ended.
pub fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}

/// Prints the error, and here alone what a template said of a conversation, and gives its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<StdoutClosed>() {
        return ExitCode::SUCCESS; // the reader has what it wanted, as `head` does
    }
    output::note(format_args!("error: {}{}", one_line(error), unlogged(error)));
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(Error::Config { .. }) => USAGE,
        Some(Error::Cancelled) => INTERRUPTED,
        _ if error.is::<UsageError>() || error.is::<InvalidRule>() || error.is::<InvalidSpeed>() => USAGE,
        _ => FAILURE,
    }
}

/// What a template said, on the same line.
fn unlogged(error: &anyhow::Error) -> String {
    let words = error.downcast_ref::<Error>().and_then(Error::unlogged).map_or("", Unlogged::reveal);
    let printable: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { words } else { format!(": {words}") }
}

/// The error and its causes, each said once, on one line.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{io, path::Path};

    use anyhow::Context;
    use nightgraft_core::error::ConfigProblem;

    use super::*;

    fn missing() -> Error {
        Error::io("open", Path::new("a.gguf"))(io::Error::other("gone"))
    }

    #[test]
    fn causes_are_said_once_on_one_line() {
        let error = Err::<(), _>(missing()).context("first\n  line").unwrap_err();
        assert_eq!(one_line(&error), "first line: cannot open a.gguf: gone");
    }

    #[test]
    fn codes_tell_usage_from_failure() {
        let config = Error::config("--rank", ConfigProblem::NotWithin { value: 0, least: 1, most: 256 });
        assert_eq!(code(&config.into()), 2);
        assert_eq!(code(&UsageError("either or".to_owned()).into()), 2);
        assert_eq!(code(&InvalidSpeed(0.0).into()), 2);
        assert_eq!(code(&missing().into()), 1);
        assert_eq!(code(&Error::Cancelled.into()), 130);
    }
}
