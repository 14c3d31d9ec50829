//! What is wrong with a file of a store.

use std::io;

use serde::{Serialize, Serializer};
use serde_json::error::Category;

use super::ids::GraftId;
use super::inconsistency::Inconsistency;
use super::segment::SegmentProblem;
use crate::checkpoint::FormatProblem;

/// Why a file of a store is not what was once written, or cannot be read by this build. None holds anything of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// It cannot be read; reading it once more says why.
    #[error("it cannot be read")]
    Unreadable,
    /// It is shorter than the header of a sealed file.
    #[error("it is too short")]
    TooShort,
    /// It is none of ours.
    #[error("it is not a sealed file")]
    NotSealed,
    /// It is sealed in another version of the format.
    #[error("it is in version {found} of the format, this program reads {oldest} to {newest}")]
    SealVersion {
        /// The version of the format.
        found: u32,
        /// The oldest version that is read.
        oldest: u32,
        /// The newest version that is read.
        newest: u32,
    },
    /// The header of the sealed file is none that was ever written.
    #[error("its header makes no sense")]
    SealHeader,
    /// A part of it has not the tag that it was written with.
    #[error("a part of it is not what was written")]
    Altered,
    /// It was read on behind a part that is damaged.
    #[error("an earlier part of it could not be read")]
    BehindDamage,
    /// It ends before its content does.
    #[error("it ends too early")]
    Truncated,
    /// It goes on behind its content.
    #[error("more follows than belongs there")]
    TooLong,
    /// It is the header of a store and encrypted.
    #[error("it says that it is encrypted, which it never is")]
    Encrypted,
    /// It is of an encrypted store and not encrypted.
    #[error("it is not encrypted, and it should be")]
    NotEncrypted,
    /// It is under a key that opens nothing of the store.
    #[error("it is encrypted with a key that this store does not have")]
    UnknownKey,
    /// It was replaced while the store was open.
    #[error("it is not the one that the store was opened with")]
    Replaced,
    /// It is valid, and not the one that the store wrote last.
    #[error("{0}")]
    Inconsistent(Inconsistency),
    /// Its content is not what a header, a manifest or a history is.
    #[error("its content: {category:?} error{}", column.map_or(String::new(), |column| format!(" at column {column}")))]
    Content {
        /// The kind of error.
        category: Category,
        /// Where, if that is known.
        column: Option<usize>,
    },
    /// Its content is not what a document of that name is for this build.
    #[error("{category:?} error at column {column}")]
    Document {
        /// The kind of error.
        category: Category,
        /// Where.
        column: usize,
    },
    /// What is known of a graft is not what that is for this build.
    #[error("metadata: {category:?} error at column {column}")]
    GraftMeta {
        /// The kind of error.
        category: Category,
        /// Where.
        column: usize,
    },
    /// Its content is not even JSON.
    #[error("its content is not JSON")]
    NotJson,
    /// The keys in a store's header are none that were ever written.
    #[error("its list of keys makes no sense")]
    Keys,
    /// The history has a graft in two places.
    #[error("it names a graft twice")]
    RepeatedGraft,
    /// The history has a graft in use that there is not.
    #[error("graft {0}, which is in use, is missing")]
    MissingGraft(GraftId),
    /// It is the file of another graft.
    #[error("it says that it is graft {0}")]
    OtherGraft(GraftId),
    /// What is known of a graft is longer than that can be.
    #[error("its metadata is too long")]
    MetaTooLong,
    /// A segment, or one that covers it, is not there.
    #[error("it is missing, or what it was a part of")]
    MissingSegment,
    /// A segment begins before the one before it ends.
    #[error("it overlaps with the segment before it")]
    OverlappingSegment,
    /// A segment has examples of the one before it.
    #[error("its examples are in another segment too")]
    RepeatedExamples,
    /// The journal has examples that it says were deleted.
    #[error("it holds examples that were deleted")]
    DeletedExamples,
    /// The journal has fewer examples than it has given numbers.
    #[error("{0} examples are missing from it")]
    MissingExamples(u64),
    /// The journal ends before an example that others know of.
    #[error("examples up to number {last} were there, its newest files are missing")]
    LostEnd {
        /// The number of the last one.
        last: u64,
    },
    /// A segment that was written as it is, and makes no sense.
    #[error(transparent)]
    Segment(#[from] SegmentProblem),
    /// Numbers of a checkpoint or an adapter that make no sense.
    #[error(transparent)]
    Format(#[from] FormatProblem),
    /// What else the system says of content that it cannot read.
    #[error("{0}")]
    Other(String),
}

impl FileProblem {
    /// What a reader of the content found, for which it has returned [`io::ErrorKind::InvalidData`].
    pub(crate) fn of_content(error: io::Error) -> Self {
        match error.downcast::<FormatProblem>() {
            Ok(problem) => problem.into(),
            Err(error) => Self::Other(error.to_string()),
        }
    }
}

impl From<Inconsistency> for FileProblem {
    fn from(why: Inconsistency) -> Self {
        Self::Inconsistent(why)
    }
}

impl Serialize for FileProblem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let (category, column) = (Category::Data, 7);
        for (problem, words) in [
            (FileProblem::Missing, "it is missing"),
            (FileProblem::Unreadable, "it cannot be read"),
            (FileProblem::TooShort, "it is too short"),
            (FileProblem::NotSealed, "it is not a sealed file"),
            (
                FileProblem::SealVersion { found: 900, oldest: 1, newest: 2 },
                "it is in version 900 of the format, this program reads 1 to 2",
            ),
            (FileProblem::SealHeader, "its header makes no sense"),
            (FileProblem::Altered, "a part of it is not what was written"),
            (FileProblem::BehindDamage, "an earlier part of it could not be read"),
            (FileProblem::Truncated, "it ends too early"),
            (FileProblem::TooLong, "more follows than belongs there"),
            (FileProblem::Encrypted, "it says that it is encrypted, which it never is"),
            (FileProblem::NotEncrypted, "it is not encrypted, and it should be"),
            (FileProblem::UnknownKey, "it is encrypted with a key that this store does not have"),
            (FileProblem::Replaced, "it is not the one that the store was opened with"),
            (Inconsistency::Missing.into(), "it is missing"),
            (FileProblem::Content { category, column: Some(column) }, "its content: Data error at column 7"),
            (FileProblem::Content { category, column: None }, "its content: Data error"),
            (FileProblem::Document { category, column }, "Data error at column 7"),
            (FileProblem::GraftMeta { category, column }, "metadata: Data error at column 7"),
            (FileProblem::NotJson, "its content is not JSON"),
            (FileProblem::Keys, "its list of keys makes no sense"),
            (FileProblem::RepeatedGraft, "it names a graft twice"),
            (FileProblem::MissingGraft(GraftId(2)), "graft 2, which is in use, is missing"),
            (FileProblem::OtherGraft(GraftId(2)), "it says that it is graft 2"),
            (FileProblem::MetaTooLong, "its metadata is too long"),
            (FileProblem::MissingSegment, "it is missing, or what it was a part of"),
            (FileProblem::OverlappingSegment, "it overlaps with the segment before it"),
            (FileProblem::RepeatedExamples, "its examples are in another segment too"),
            (FileProblem::DeletedExamples, "it holds examples that were deleted"),
            (FileProblem::MissingExamples(3), "3 examples are missing from it"),
            (
                FileProblem::LostEnd { last: 20 },
                "examples up to number 20 were there, its newest files are missing",
            ),
            (SegmentProblem::Empty.into(), "it is empty"),
            (SegmentProblem::Head { category, column }.into(), "its first line: Data error at column 7"),
            (SegmentProblem::HeadIds.into(), "its first line names ids that were never given"),
            (SegmentProblem::Example { number: 2 }.into(), "example 2 is malformed"),
            (SegmentProblem::Id { number: 2 }.into(), "example 2 has an id that it cannot have"),
            (SegmentProblem::Count { found: 2, expected: 3 }.into(), "it has 2 of 3 examples"),
            (SegmentProblem::NoEnd.into(), "a line has no end"),
            (SegmentProblem::NotUtf8.into(), "it is not valid UTF-8"),
            (
                FormatProblem::AdapterVersion { found: 2, known: 1 }.into(),
                "its adapter is in version 2 of the format, this program reads version 1",
            ),
            (FormatProblem::Header { column }.into(), "its header makes no sense at byte 7"),
            (FormatProblem::NoAdapter.into(), "it has no adapter"),
            (FormatProblem::UnknownSets.into(), "its header names sets that there are not"),
            (FormatProblem::ShapeTooLarge.into(), "a shape in its header is too large"),
            (FormatProblem::RepeatedPair.into(), "a pair is there twice"),
            (FileProblem::Other("odd".into()), "odd"),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }

    #[test]
    fn what_a_reader_finds_comes_through_the_errors_of_the_system() {
        let invalid = |why: Box<dyn std::error::Error + Send + Sync>| {
            FileProblem::of_content(io::Error::new(io::ErrorKind::InvalidData, why))
        };
        assert_eq!(invalid(Box::new(FormatProblem::NoAdapter)), FormatProblem::NoAdapter.into());
        assert_eq!(invalid("odd".into()), FileProblem::Other("odd".into()));
    }
}
