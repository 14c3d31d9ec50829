//! One file of the journal: `journal/FROM-TO.ngs`.
//!
//! Inside the sealing it is text: a line of JSON ([`Head`]), then one line for each example, `ID SECONDS LINE`, where
//! `LINE` is the example's own JSON. Every call of `add` makes one segment; a rewritten segment covers all numbers
//! from `FROM` to `TO`, so that numbers follow each other without gaps and a missing file is noticed.

use std::io::{BufRead, BufReader, Read, Write};

use nightgraft_text::data::MAX_LINE_BYTES;
use serde::{Deserialize, Serialize};

use super::IdSet;
use super::ids::ExampleId;

/// What a segment's file is sealed as.
pub(super) const ROLE: &str = "journal";
/// The head may have this many bytes: a million ranges of deleted examples.
const MAX_HEAD_BYTES: u64 = 32 << 20;
/// An example's line may have its text, two numbers of at most 20 characters, and what stands between.
const MAX_ROW_BYTES: u64 = MAX_LINE_BYTES + 64;

/// A training example as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredExample {
    /// Its number.
    pub id: ExampleId,
    /// When it was added, in seconds since 1970.
    pub added: i64,
    /// One line of JSON in one of the shapes that [`nightgraft_text::data`] reads.
    pub line: String,
}

/// The numbers that a segment covers, first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn file_name(self) -> String {
        format!("{:08}-{:08}.ngs", self.from, self.to)
    }

    /// The span in a file's name; `None` for a name that is not a segment's.
    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        let (from, to) = name.strip_suffix(".ngs")?.split_once('-')?;
        let span = Self { from: from.parse().ok()?, to: to.parse().ok()? };
        (span.file_name() == name && 1 <= span.from && span.from <= span.to && span.to < u64::MAX)
            .then_some(span)
    }

    pub(super) fn covers(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }
}

/// What a segment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    /// One more than the largest id ever given when this was written.
    pub(super) next_id: u64,
    /// Examples that were here once.
    pub(super) deleted: IdSet,
    /// The examples, by id.
    pub(super) examples: Vec<StoredExample>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    next_id: u64,
    deleted: IdSet,
    examples: u64,
}

/// Bytes that an example takes in a segment, at most.
pub(super) fn size(line: &str) -> u64 {
    line.len() as u64 + 43
}

/// Writes a segment; `examples` by id.
pub(super) fn write(
    out: &mut dyn Write,
    next_id: u64,
    deleted: &IdSet,
    examples: &[&StoredExample],
) -> std::io::Result<()> {
    let head = Head { next_id, deleted: deleted.clone(), examples: examples.len() as u64 };
    serde_json::to_writer(&mut *out, &head)?;
    out.write_all(b"\n")?;
    for StoredExample { id, added, line } in examples {
        writeln!(out, "{id} {added} {line}")?;
    }
    Ok(())
}

impl Segment {
    /// Reads a segment up to its end, or up to what is wrong: then with the problem in words, and what came before it.
    /// The text of an example is never in the words. Only after the end was reached is the `Result` an `Ok`.
    pub(super) fn read(input: &mut dyn Read) -> (Self, Result<(), Problem>) {
        let mut segment = Self::default();
        let result = segment.fill(&mut BufReader::with_capacity(1 << 16, input));
        (segment, result)
    }

    fn fill(&mut self, input: &mut impl BufRead) -> Result<(), Problem> {
        let malformed = |what: String| Problem::Content(what);
        let mut line = String::new();
        if !read_line(input, &mut line, MAX_HEAD_BYTES)? {
            return Err(malformed("it is empty".into()));
        }
        let head: Head = serde_json::from_str(&line).map_err(|error| {
            malformed(format!("its first line: {:?} error at column {}", error.classify(), error.column()))
        })?;
        if head.next_id == 0 || head.deleted.contains(0) || head.deleted.last() >= Some(head.next_id) {
            return Err(malformed("its first line names ids that were never given".into()));
        }
        self.next_id = head.next_id;
        self.deleted = head.deleted;
        while read_line(input, &mut line, MAX_ROW_BYTES)? {
            let number = self.examples.len() + 1;
            let example = parse(&line).ok_or_else(|| malformed(format!("example {number} is malformed")))?;
            let after = self.examples.last().map_or(0, |last| last.id.0);
            if example.id.0 <= after || example.id.0 >= self.next_id || self.deleted.contains(example.id.0) {
                return Err(malformed(format!("example {number} has an id that it cannot have")));
            }
            self.examples.push(example);
        }
        if self.examples.len() as u64 != head.examples {
            return Err(malformed(format!("it has {} of {} examples", self.examples.len(), head.examples)));
        }
        Ok(())
    }
}

/// Why a segment could not be read to its end.
#[derive(Debug)]
pub(super) enum Problem {
    /// What the reader below said.
    Read(std::io::Error),
    /// The bytes are those that were written, and make no sense.
    Content(String),
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Read(error)
    }
}

fn parse(row: &str) -> Option<StoredExample> {
    let (id, rest) = row.split_once(' ')?;
    let (added, line) = rest.split_once(' ')?;
    Some(StoredExample { id: id.parse().ok()?, added: added.parse().ok()?, line: line.to_owned() })
}

/// Reads one line, without its end, over what `line` held; false at the end of the input.
fn read_line(input: &mut impl BufRead, line: &mut String, at_most: u64) -> Result<bool, Problem> {
    let mut bytes = std::mem::take(line).into_bytes();
    bytes.clear();
    if input.take(at_most + 1).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(false);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(Problem::Content("a line has no end".into()));
    }
    *line = String::from_utf8(bytes).map_err(|_| Problem::Content("it is not valid UTF-8".into()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn example(id: u64, line: &str) -> StoredExample {
        StoredExample { id: ExampleId(id), added: 1_790_000_000 + id as i64, line: line.into() }
    }

    fn bytes(segment: &Segment) -> Vec<u8> {
        let mut bytes = Vec::new();
        let examples: Vec<_> = segment.examples.iter().collect();
        write(&mut bytes, segment.next_id, &segment.deleted, &examples).unwrap();
        bytes
    }

    fn read(mut bytes: &[u8]) -> Result<Segment, String> {
        let (segment, result) = Segment::read(&mut bytes);
        match result {
            Ok(()) => Ok(segment),
            Err(Problem::Content(problem)) => Err(problem),
            Err(Problem::Read(error)) => Err(error.to_string()),
        }
    }

    fn sample() -> Segment {
        Segment {
            next_id: 9,
            deleted: [1, 2, 5].into_iter().collect(),
            examples: vec![example(3, r#"{"text": "é one"}"#), example(8, "{}")],
        }
    }

    #[test]
    fn it_comes_back() {
        let written = bytes(&sample());
        assert_eq!(read(&written).unwrap(), sample());
        let text = String::from_utf8(written.clone()).unwrap();
        let expected = "{\"next_id\":9,\"deleted\":[[1,2],[5,5]],\"examples\":2}\n\
                        3 1790000003 {\"text\": \"é one\"}\n\
                        8 1790000008 {}\n";
        assert_eq!(text, expected, "the format: raise the header's version when it changes");
        let empty = Segment { next_id: 1, ..Segment::default() };
        assert_eq!(read(&bytes(&empty)).unwrap(), empty);
    }

    #[test]
    fn names_say_what_is_covered() {
        let span = Span { from: 3, to: 123_456_789 };
        assert_eq!(span.file_name(), "00000003-123456789.ngs");
        assert_eq!(Span::from_file_name(&span.file_name()), Some(span));
        for name in ["3-4.ngs", "00000000-00000001.ngs", "00000004-00000003.ngs", "00000001.ngs", "a-b.ngs"] {
            assert_eq!(Span::from_file_name(name), None, "{name}");
        }
        assert!(span.covers(Span { from: 3, to: 4 }) && !span.covers(Span { from: 2, to: 4 }));
    }

    #[test]
    fn what_makes_no_sense_is_said_without_the_text() {
        let good = String::from_utf8(bytes(&sample())).unwrap();
        for (from, to, part) in [
            ("\"next_id\":9", "\"next\":9", "first line"),
            ("\"next_id\":9", "\"next_id\":8", "cannot have"),
            ("\"next_id\":9", "\"next_id\":5", "never given"),
            ("\"next_id\":9", "\"next_id\":0", "never given"),
            ("[5,5]", "[5,8]", "cannot have"),
            ("[5,5]", "[5,4]", "first line"),
            ("8 1790000008", "3 1790000008", "example 2"),
            ("8 1790000008", "eight", "example 2 is malformed"),
            ("\"examples\":2", "\"examples\":3", "2 of 3"),
            ("{}\n", "{}", "no end"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let problem = read(bad.as_bytes()).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("one"), "{problem}");
        }
        // What came before is there.
        let (kept, result) = Segment::read(&mut good.replacen("8 17", "x", 1).as_bytes());
        assert!(result.is_err());
        assert_eq!(kept.examples, sample().examples[..1]);
        assert_eq!((kept.next_id, kept.deleted), (9, sample().deleted));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(noise in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..80) {
            let mut mutated = bytes(&sample());
            let at = at.min(mutated.len());
            let end = (at + noise.len()).min(mutated.len());
            mutated.splice(at..end, noise.iter().copied());
            if let Ok(segment) = read(&mutated) {
                prop_assert_eq!(read(&bytes(&segment)).unwrap(), segment);
            }
            let _ = read(&noise);
        }
    }
}
