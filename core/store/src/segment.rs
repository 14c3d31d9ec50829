//! One file of the journal: `journal/FROM-TO.ngs`.
//!
//! Inside the sealing it is text: a line of JSON ([`Head`]), then one line for each example, `ID SECONDS LINE`, where
//! `LINE` is the example's own JSON. Every call of `add` makes one segment; a rewritten segment covers all numbers
//! from `FROM` to `TO`, so that numbers follow each other without gaps and a missing file is noticed.

use std::io::{BufRead, BufReader, Read, Write};

use nightgraft_text::data::MAX_LINE_BYTES;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

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
    /// Reads a segment up to its end, or up to what is wrong: then with the problem, and what came before it. Only after the end was reached is the `Result` an `Ok`.
    pub(super) fn read(input: &mut dyn Read) -> (Self, Result<(), Problem>) {
        let mut segment = Self::default();
        let result = segment.fill(&mut BufReader::with_capacity(1 << 16, input));
        (segment, result)
    }

    fn fill(&mut self, input: &mut impl BufRead) -> Result<(), Problem> {
        let mut line = String::new();
        if !read_line(input, &mut line, MAX_HEAD_BYTES)? {
            return Err(SegmentProblem::Empty.into());
        }
        let head: Head = serde_json::from_str(&line)
            .map_err(|error| SegmentProblem::Head { category: error.classify(), column: error.column() })?;
        if head.next_id == 0 || head.deleted.contains(0) || head.deleted.last() >= Some(head.next_id) {
            return Err(SegmentProblem::HeadIds.into());
        }
        self.next_id = head.next_id;
        self.deleted = head.deleted;
        while read_line(input, &mut line, MAX_ROW_BYTES)? {
            let number = self.examples.len() + 1;
            let example = parse(&line).ok_or(SegmentProblem::Example { number })?;
            let after = self.examples.last().map_or(0, |last| last.id.0);
            if example.id.0 <= after || example.id.0 >= self.next_id || self.deleted.contains(example.id.0) {
                return Err(SegmentProblem::Id { number }.into());
            }
            self.examples.push(example);
        }
        let (found, expected) = (self.examples.len() as u64, head.examples);
        if found != expected {
            return Err(SegmentProblem::Count { found, expected }.into());
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
    Content(SegmentProblem),
}

/// Why a segment of the journal makes no sense. None holds the text of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentProblem {
    /// It has no line at all.
    #[error("it is empty")]
    Empty,
    /// Its first line is not what that is.
    #[error("its first line: {category:?} error at column {column}")]
    Head {
        /// The kind of error.
        category: Category,
        /// Where.
        column: usize,
    },
    /// Its first line says that examples were deleted which never were.
    #[error("its first line names ids that were never given")]
    HeadIds,
    /// A line that is no example.
    #[error("example {number} is malformed")]
    Example {
        /// Its place in the segment, from 1.
        number: usize,
    },
    /// An example out of order, of a number that was never given, or that was deleted.
    #[error("example {number} has an id that it cannot have")]
    Id {
        /// Its place in the segment, from 1.
        number: usize,
    },
    /// Fewer or more examples than it says.
    #[error("it has {found} of {expected} examples")]
    Count {
        /// How many there are.
        found: u64,
        /// How many it says.
        expected: u64,
    },
    /// A line that is too long, or cut off.
    #[error("a line has no end")]
    NoEnd,
    /// Bytes that are no text.
    #[error("it is not valid UTF-8")]
    NotUtf8,
}

impl From<SegmentProblem> for Problem {
    fn from(problem: SegmentProblem) -> Self {
        Self::Content(problem)
    }
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
        return Err(SegmentProblem::NoEnd.into());
    }
    *line = String::from_utf8(bytes).map_err(|_| SegmentProblem::NotUtf8)?;
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

    fn read(mut bytes: &[u8]) -> Result<Segment, SegmentProblem> {
        let (segment, result) = Segment::read(&mut bytes);
        match result {
            Ok(()) => Ok(segment),
            Err(Problem::Content(problem)) => Err(problem),
            Err(Problem::Read(error)) => unreachable!("bytes in memory: {error}"),
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
    fn what_makes_no_sense_is_named() {
        let good = String::from_utf8(bytes(&sample())).unwrap();
        let head = |column| SegmentProblem::Head { category: Category::Data, column };
        for (from, to, expected) in [
            ("\"next_id\":9", "\"next\":9", head(7)),
            ("\"next_id\":9", "\"next_id\":8", SegmentProblem::Id { number: 2 }),
            ("\"next_id\":9", "\"next_id\":5", SegmentProblem::HeadIds),
            ("\"next_id\":9", "\"next_id\":0", SegmentProblem::HeadIds),
            ("[5,5]", "[5,8]", SegmentProblem::Id { number: 2 }),
            ("[5,5]", "[5,4]", head(36)),
            ("8 1790000008", "3 1790000008", SegmentProblem::Id { number: 2 }),
            ("8 1790000008", "eight", SegmentProblem::Example { number: 2 }),
            ("\"examples\":2", "\"examples\":3", SegmentProblem::Count { found: 2, expected: 3 }),
            ("{}\n", "{}", SegmentProblem::NoEnd),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(read(bad.as_bytes()), Err(expected), "{from} {to}");
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
