//! Files of examples into the journal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use nightgraft_text::data::{DataProblem, Format, MAX_LINE_BYTES, check_line};
use serde::Serialize;

use super::Store;
use super::ids::ExampleId;
use crate::{Error, Result};

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Lines that hold anything; 1 for a text file.
    pub lines: u64,
    /// Examples that are new.
    pub added: u64,
    /// Examples that were there already, in the journal or further up in the file.
    pub known: u64,
    /// Bad lines that were left out.
    pub skipped: u64,
    /// The ids of the file's examples, in its order.
    pub ids: Vec<ExampleId>,
}

impl Store {
    /// Adds the examples of a file in one step: each line of a `.jsonl` file, or a `.txt` file as one `{"text"}`; a file of
    /// another name in the `format` that is given, and a pipe as JSON lines if none is. Doing it again adds nothing. With
    /// `skip_bad`, lines without a good shape are left out and counted.
    ///
    /// # Errors
    /// [`Error::Text`] with the first line that has no good shape, for a file with another extension, larger than 2 GiB,
    /// or without any example; else as [`add`](Self::add).
    pub fn import(&mut self, file: &Path, format: Option<Format>, skip_bad: bool) -> Result<ImportReport> {
        let (lines, skipped) = match format.map_or_else(|| Format::of(file), Ok)? {
            Format::JsonLines => read_lines(file, skip_bad)?,
            Format::Text => (vec![read_text(file)?], 0),
        };
        let n_lines = lines.len() as u64 + skipped;
        if lines.is_empty() {
            return Err(bad(file, None, if skipped > 0 { DataProblem::AllBad } else { DataProblem::Empty }));
        }
        let (ids, added) = self.add_checked(lines)?;
        let known = (ids.len() - added) as u64;
        Ok(ImportReport { lines: n_lines, added: added as u64, known, skipped, ids })
    }
}

/// All lines may have this many bytes together: they are in memory at once.
const MAX_FILE_BYTES: u64 = 2 << 30;

fn read_lines(path: &Path, skip_bad: bool) -> Result<(Vec<String>, u64)> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut reader = BufReader::new(file.take(MAX_FILE_BYTES + 1));
    let (mut lines, mut skipped, mut total) = (Vec::new(), 0, 0);
    for number in 1.. {
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes);
        let mut n = read.map_err(Error::io("read", path))?;
        if n == 0 {
            break;
        }
        if bytes.len() as u64 > MAX_LINE_BYTES && !bytes.ends_with(b"\n") {
            n += reader.skip_until(b'\n').map_err(Error::io("read", path))?;
        }
        total += n as u64;
        if total > MAX_FILE_BYTES {
            return Err(bad(path, None, DataProblem::FileTooLarge { limit: MAX_FILE_BYTES }));
        }
        let bytes = if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes };
        match checked(bytes) {
            Ok("") => {}
            // A lone CR is white space in JSON.
            Ok(line) => lines.push(line.replace('\r', " ")),
            Err(_) if skip_bad => skipped += 1,
            Err(problem) => return Err(bad(path, Some(number), problem)),
        }
    }
    Ok((lines, skipped))
}

/// A line that is blank or has a good shape, without the white space around it.
fn checked(bytes: &[u8]) -> Result<&str, DataProblem> {
    let line = std::str::from_utf8(bytes).map_err(|_| DataProblem::NotUtf8)?.trim();
    if !line.is_empty() {
        check_line(line)?;
    }
    Ok(line)
}

fn read_text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.take(MAX_LINE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    let too_large = || bad(path, None, DataProblem::ExampleTooLarge { limit: MAX_LINE_BYTES });
    if bytes.len() as u64 > MAX_LINE_BYTES {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes).map_err(|_| bad(path, None, DataProblem::NotUtf8))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
    if text.trim().is_empty() {
        return Err(bad(path, None, DataProblem::Empty));
    }
    let line = serde_json::json!({ "text": text }).to_string();
    check_line(&line).map_err(|_| too_large())?;
    Ok(line)
}

fn bad(path: &Path, line: Option<usize>, problem: DataProblem) -> Error {
    nightgraft_text::Error::Data { path: path.to_owned(), line, problem }.into()
}
