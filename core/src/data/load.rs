//! Reading a data file.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use super::conversation;
use super::dataset::Dataset;
use super::fit;
use super::line::{Line, MAX_LINE_BYTES, TOO_LONG};
use super::report::DataReport;
use crate::text::{ChatTemplate, Example, Message, Tokenizer};
use crate::{Error, Result};

/// A `.txt` file may have this many bytes.
const MAX_TEXT_BYTES: u64 = 128 << 20;

/// How a data file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataOptions {
    /// Tokens that an example may have, at least 2.
    pub context: usize,
    /// Render `{"prompt", "completion"}` as a user and an assistant turn.
    pub chat: bool,
    /// Leave bad lines out and count them, instead of stopping at the first.
    pub skip_bad: bool,
}

/// Reads `path`, a `.txt` or `.jsonl` file, see [the module](super) for what may be in it.
///
/// - A UTF-8 byte order mark and blank lines are passed over; in `.txt` files, CR LF is read as LF.
/// - `.txt` is plain text: what looks like a special token is text. In `.jsonl`, special tokens are
///   recognized, since prompts are often written out in a model's own format.
/// - BOS begins an example where the model wants it, and is not added to a text that begins with it. EOS
///   ends `{"text"}` and `{"completion"}`, so that the model learns to stop; it is not added to one that
///   ends a generation already.
/// - Examples are never longer than the context: texts and `{"input_ids"}` are cut into windows,
///   conversations are split between turns, and what does not fit then loses tokens, which the report
///   counts.
///
/// # Errors [`Error::Data`] with the line for content that cannot be used (unless `skip_bad`), and for a
/// file without a usable example or with another extension; [`Error::Io`] if it cannot be read;
/// [`Error::Config`] for a context below 2.
pub fn load(
    path: &Path,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    options: &DataOptions,
) -> Result<Dataset> {
    if options.context < 2 {
        return Err(Error::Config { option: "--context", problem: "must be at least 2".into() });
    }
    let mut loader =
        Loader { path, tokenizer, template, options, examples: vec![], report: DataReport::default() };
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("txt") => loader.read_text()?,
        Some("jsonl") => loader.read_lines()?,
        _ => {
            return Err(loader.problem(
                None,
                "not a known kind of data file; use .txt (plain text) or .jsonl (one JSON object a line: {\"text\"}, \
                 {\"prompt\", \"completion\"}, {\"messages\"} or {\"input_ids\", \"labels\"})",
            ));
        }
    }
    if loader.examples.is_empty() {
        let skipped = match loader.report.skipped_lines {
            0 => String::new(),
            skipped => format!("; all of its {skipped} lines are bad, see the first one without --skip-bad"),
        };
        return Err(loader.problem(None, format!("holds nothing to learn from{skipped}")));
    }
    Ok(Dataset::counted(loader.examples, loader.report))
}

/// The examples of one line of the `.jsonl` kind that stands in no file; `name` stands for it in errors.
///
/// # Errors
/// [`Error::Data`] for a line that cannot be used, whatever `skip_bad` says.
pub fn load_line(
    name: &Path,
    line: &str,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    options: &DataOptions,
) -> Result<Dataset> {
    let mut loader =
        Loader { path: name, tokenizer, template, options, examples: vec![], report: DataReport::default() };
    let examples = loader.read_line(line).map_err(|error| match error {
        error @ Error::Data { .. } => error,
        other => loader.at(None, other),
    })?;
    loader.report.lines = 1;
    loader.add(examples);
    Ok(Dataset::counted(loader.examples, loader.report))
}

struct Loader<'a> {
    path: &'a Path,
    tokenizer: &'a Tokenizer,
    template: Option<&'a ChatTemplate>,
    options: &'a DataOptions,
    examples: Vec<Example>,
    report: DataReport,
}

/// The examples of one line, and the tokens that did not fit in them.
struct LineExamples {
    examples: Vec<Example>,
    lost_tokens: usize,
}

impl Loader<'_> {
    fn read_text(&mut self) -> Result<()> {
        let file = File::open(self.path).map_err(Error::io("open", self.path))?;
        let mut bytes = Vec::new();
        file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", self.path))?;
        if bytes.len() as u64 > MAX_TEXT_BYTES {
            return Err(self.problem(None, "larger than 128 MiB; split it into several files"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|&&b| b == b'\n')
                .count();
            self.problem(Some(line), "not valid UTF-8")
        })?;
        let mut text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        if text.contains("\r\n") {
            text = text.replace("\r\n", "\n");
        }
        if text.trim().is_empty() {
            return Ok(());
        }
        let ids = self.tokenizer.encode(&text, false)?;
        self.examples = fit::windows(&ids, self.bos(), self.options.context);
        self.report.lines = 1;
        self.report.split_lines = usize::from(self.examples.len() > 1);
        Ok(())
    }

    fn read_lines(&mut self) -> Result<()> {
        let file = File::open(self.path).map_err(Error::io("open", self.path))?;
        let mut reader = BufReader::new(file);
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let limited = reader.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes);
            if limited.map_err(Error::io("read", self.path))? == 0 {
                break;
            }
            let is_too_long = bytes.len() as u64 > MAX_LINE_BYTES && !bytes.ends_with(b"\n");
            if is_too_long {
                skip_line(&mut reader).map_err(Error::io("read", self.path))?;
            }
            let line =
                if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes };
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.report.lines += 1;
            let result = match (is_too_long, std::str::from_utf8(line)) {
                (true, _) => Err(self.problem(None, TOO_LONG)),
                (_, Err(_)) => Err(self.problem(None, "not valid UTF-8")),
                (_, Ok(line)) => self.read_line(line),
            };
            match result {
                Ok(line) => self.add(line),
                Err(_) if self.options.skip_bad => self.report.skipped_lines += 1,
                Err(Error::Data { path, problem, .. }) => {
                    return Err(Error::Data { path, line: Some(number), problem });
                }
                Err(other) => return Err(self.at(Some(number), other)),
            }
        }
        Ok(())
    }

    fn read_line(&self, line: &str) -> Result<LineExamples> {
        let context = self.options.context;
        match Line::parse(line, self.tokenizer.n_vocab()).map_err(|problem| self.problem(None, problem))? {
            Line::Text(text) => {
                let mut ids = self.tokenizer.encode(&text, true)?;
                let bos = self.bos();
                if bos.is_some() && ids.first() == bos.as_ref() {
                    ids.remove(0);
                }
                self.end(&mut ids);
                self.usable(fit::windows(&ids, bos, context), 0)
            }
            Line::Completion { prompt, completion } if self.options.chat => {
                self.conversation(&[Message::new("user", prompt), Message::new("assistant", completion)])
            }
            Line::Completion { prompt, completion } => {
                let border = prompt.len();
                let encoding = self.tokenizer.encode_with_ranges(&(prompt + &completion), true)?;
                // A token over the border counts as completion: the model has to say it.
                let is_answer = |t: usize| t > 0 && encoding.ranges[t].end > border;
                let mut is_supervised: Vec<bool> = (0..encoding.ids.len()).map(is_answer).collect();
                let mut ids = encoding.ids;
                self.end(&mut ids);
                is_supervised.resize(ids.len(), true);
                let protected = usize::from(self.bos().is_some() && ids.first() == self.bos().as_ref());
                let (example, lost) = fit::answer(ids, is_supervised, protected, context);
                self.usable(vec![example], lost)
            }
            Line::Messages(messages) => self.conversation(&messages),
            Line::Tokens { ids, labels } => {
                let mut targets: Vec<i32> = labels
                    .into_iter()
                    .skip(1)
                    .map(|label| {
                        label.map_or(Example::NO_LOSS, |id| i32::try_from(id).unwrap_or(Example::NO_LOSS))
                    })
                    .collect();
                targets.push(Example::NO_LOSS);
                let (examples, lost) = fit::pieces(Example { ids, targets }, context);
                self.usable(examples, lost)
            }
        }
    }

    fn conversation(&self, messages: &[Message]) -> Result<LineExamples> {
        let template = self.template.ok_or_else(|| {
            self.problem(
                None,
                "the model has no chat template; use {\"prompt\", \"completion\"} or {\"text\"}",
            )
        })?;
        let fitted = conversation::examples(template, self.tokenizer, messages, self.options.context)?;
        self.usable(fitted.examples, fitted.lost_tokens)
    }

    /// Ends a text with EOS, unless it ends already.
    fn end(&self, ids: &mut Vec<u32>) {
        if !ids.last().is_some_and(|&last| self.tokenizer.is_end_of_generation(last)) {
            ids.extend(self.tokenizer.eos());
        }
    }

    fn usable(&self, examples: Vec<Example>, lost_tokens: usize) -> Result<LineExamples> {
        if examples.iter().all(|example| example.n_supervised() == 0) {
            return Err(self.problem(None, "too short: no token is left to learn"));
        }
        Ok(LineExamples { examples, lost_tokens })
    }

    fn add(&mut self, line: LineExamples) {
        self.report.split_lines += usize::from(line.examples.len() > 1);
        self.report.truncated_lines += usize::from(line.lost_tokens > 0);
        self.report.truncated_tokens += line.lost_tokens;
        self.examples.extend(line.examples);
    }

    fn bos(&self) -> Option<u32> {
        self.tokenizer.bos().filter(|_| self.tokenizer.add_bos())
    }

    /// What went wrong with a line.
    fn at(&self, line: Option<usize>, error: Error) -> Error {
        Error::Line { path: self.path.to_owned(), line, source: Box::new(error) }
    }

    fn problem(&self, line: Option<usize>, problem: impl Into<String>) -> Error {
        Error::Data { path: self.path.to_owned(), line, problem: problem.into() }
    }
}

/// Reads up to the end of the line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let len = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(len);
        if end.is_some() || len == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
