//! Reading a data file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use super::conversation::{self, Fitted};
use super::dataset::Dataset;
use super::format::{Format, Named};
use super::line::{Line, MAX_LINE_BYTES, Parsed};
use super::line_problem::LineProblem;
use super::problem::DataProblem;
use super::report::DataReport;
use super::truncate;
use crate::{ChatTemplate, Conversation, Example, Message, Tokenizer, unused_keys};
use crate::{Error, Result, SettingProblem};

/// A token to learn, and one before it.
const MIN_CONTEXT: usize = 2;

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

/// Reads `path`, a `.txt` or `.jsonl` file, or one of another name in the `format` that is given, see [the
/// module](super) for what may be in it. A pipe is read once, as JSON lines if no format is given.
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
    format: Option<Format>,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    options: &DataOptions,
) -> Result<Dataset> {
    if options.context < MIN_CONTEXT {
        let problem = SettingProblem::ContextTooShort { least: MIN_CONTEXT };
        return Err(Error::Config { option: "--context", problem });
    }
    let mut loader =
        Loader { path, tokenizer, template, options, examples: vec![], report: DataReport::default() };
    let named = format.map_or_else(|| Named::of(path), |format| Ok(Named::Certain(format)))?;
    match named {
        Named::Certain(Format::Text) | Named::Assumed(Format::Text) => loader.read_text()?,
        Named::Certain(Format::JsonLines) => loader.read_lines()?,
        Named::Assumed(Format::JsonLines) => loader.read_lines().map_err(assumed)?,
    }
    if loader.examples.is_empty() {
        let problem = match loader.report.skipped_lines {
            0 => DataProblem::Empty,
            lines => DataProblem::AllSkipped { lines },
        };
        return Err(loader.problem(None, problem));
    }
    Ok(Dataset::counted(loader.examples, loader.report))
}

/// Tells that the format was a guess, which may be what is wrong.
fn assumed(error: Error) -> Error {
    match error {
        Error::Data { path, line, problem } => {
            Error::Data { path, line, problem: DataProblem::Assumed(Box::new(problem)) }
        }
        error => error,
    }
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

/// The examples of one line, and what is to be said of it.
#[derive(Default)]
struct LineExamples {
    fitted: Fitted,
    is_completion: bool,
    unused_keys: BTreeSet<String>,
}

impl Loader<'_> {
    fn read_text(&mut self) -> Result<()> {
        let file = File::open(self.path).map_err(Error::io("open", self.path))?;
        let mut bytes = Vec::new();
        file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", self.path))?;
        if bytes.len() as u64 > MAX_TEXT_BYTES {
            return Err(self.problem(None, DataProblem::FileTooLarge { limit: MAX_TEXT_BYTES }));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|&&b| b == b'\n')
                .count();
            self.problem(Some(line), DataProblem::NotUtf8)
        })?;
        let mut text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        if text.contains("\r\n") {
            text = text.replace("\r\n", "\n");
        }
        if text.trim().is_empty() {
            return Ok(());
        }
        let ids = self.tokenizer.encode(&text, false)?;
        self.examples = truncate::windows(&ids, self.bos(), self.options.context);
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
                (true, _) => Err(self.problem(None, LineProblem::TooLong)),
                (_, Err(_)) => Err(self.problem(None, DataProblem::NotUtf8)),
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
        let Parsed { line, mut unused_keys } =
            Line::parse(line, self.tokenizer.n_vocab()).map_err(|problem| self.problem(None, problem))?;
        let is_completion = matches!(line, Line::Completion { .. });
        let fitted = match line {
            Line::Text(text) => {
                let mut ids = self.tokenizer.encode(&text, true)?;
                let bos = self.bos();
                if bos.is_some() && ids.first() == bos.as_ref() {
                    ids.remove(0);
                }
                self.end(&mut ids);
                Fitted::of(truncate::windows(&ids, bos, context), 0)
            }
            Line::Completion { prompt, completion } if self.options.chat => {
                let turns = vec![Message::new("user", prompt), Message::new("assistant", completion)];
                self.conversation(&turns.into(), &mut unused_keys)?
            }
            Line::Completion { prompt, completion } => {
                let mut ids = self.tokenizer.encode_with_bos(&prompt, true)?;
                let n_prompt = ids.len();
                ids.extend(self.tokenizer.encode_behind(&ids, &completion, true)?);
                self.end(&mut ids);
                let is_supervised = (0..ids.len()).map(|t| t > 0 && t >= n_prompt).collect();
                let protected = usize::from(self.bos().is_some() && ids.first() == self.bos().as_ref());
                let (example, lost) = truncate::answer(ids, is_supervised, protected, context);
                Fitted::of(vec![example], lost)
            }
            Line::Conversation(conversation) => self.conversation(&conversation, &mut unused_keys)?,
            Line::Tokens { ids, labels } => {
                let mut targets: Vec<i32> = labels
                    .into_iter()
                    .skip(1)
                    .map(|label| {
                        label.map_or(Example::NO_LOSS, |id| i32::try_from(id).unwrap_or(Example::NO_LOSS))
                    })
                    .collect();
                targets.push(Example::NO_LOSS);
                let (examples, lost) = truncate::pieces(Example { ids, targets }, context);
                Fitted::of(examples, lost)
            }
        };
        if fitted.examples.iter().all(|example| example.n_supervised() == 0) {
            return Err(self.problem(None, DataProblem::TooShort));
        }
        Ok(LineExamples { fitted, is_completion, unused_keys })
    }

    fn conversation(&self, conversation: &Conversation, unused: &mut BTreeSet<String>) -> Result<Fitted> {
        let template = self.template.ok_or_else(|| self.problem(None, DataProblem::NoTemplate))?;
        let fitted = conversation::examples(template, self.tokenizer, conversation, self.options.context)?;
        unused.extend(unused_keys(template, conversation)?);
        Ok(fitted)
    }

    /// Ends a text with EOS, unless it ends already.
    fn end(&self, ids: &mut Vec<u32>) {
        if !ids.last().is_some_and(|&last| self.tokenizer.is_end_of_generation(last)) {
            ids.extend(self.tokenizer.eos());
        }
    }

    fn add(&mut self, line: LineExamples) {
        let LineExamples { fitted, is_completion, unused_keys } = line;
        let Fitted { examples, lost_tokens, is_split, is_separated, is_unclosed } = fitted;
        self.report.split_lines += usize::from(is_split);
        self.report.truncated_lines += usize::from(lost_tokens > 0);
        self.report.truncated_tokens += lost_tokens;
        self.report.separated_lines += usize::from(is_separated);
        self.report.unclosed_lines += usize::from(is_unclosed);
        self.report.completion_lines += usize::from(is_completion);
        self.report.is_dated = self.template.is_some_and(ChatTemplate::has_asked_for_the_date);
        for key in unused_keys {
            self.report.add_unused_key(&key, 1);
        }
        self.examples.extend(examples.into_iter().filter(|example| example.n_supervised() > 0));
    }

    fn bos(&self) -> Option<u32> {
        self.tokenizer.bos().filter(|_| self.tokenizer.add_bos())
    }

    /// What went wrong with a line.
    fn at(&self, line: Option<usize>, error: Error) -> Error {
        Error::Line { path: self.path.to_owned(), line, source: Box::new(error) }
    }

    fn problem(&self, line: Option<usize>, problem: impl Into<DataProblem>) -> Error {
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
pub(super) mod tests;
