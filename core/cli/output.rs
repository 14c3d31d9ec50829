//! Results on standard output: a failed write is an error like any other, a reader that left is not one. Notes on
//! standard error.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use anyhow::{Context, Result};
use serde::Serialize;

/// Nobody reads standard output any more.
#[derive(Debug)]
pub struct StdoutClosed;

impl Display for StdoutClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl std::error::Error for StdoutClosed {}

/// Writes one line.
pub fn line(text: impl Display) -> Result<()> {
    write(format_args!("{text}\n"))
}

/// Writes a value as one line of JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(value).context("cannot write the result as JSON")?)
}

/// Writes one line to standard error. There is no other place to say that this failed, so nothing does.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Notes what a person should know and what stops nothing.
pub fn warnings(texts: impl IntoIterator<Item = impl Display>) {
    for text in texts {
        note(format_args!("warning: {text}"));
    }
}

/// Writes a piece of text and makes it visible at once.
pub fn write(text: impl Display) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(StdoutClosed.into()),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}
