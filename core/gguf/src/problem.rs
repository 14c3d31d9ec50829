//! What is wrong with a GGUF, or with what was to become one.

use std::fmt;

use super::{ALIGNMENT_KEY, MAX_DIMS, MAX_TENSOR_NAME, RemovedType, TensorType};

/// Why bytes are not a usable GGUF, or keys and tensors cannot become one.
///
/// Names are as they stand in the file; `Display` shows them short and printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file does not start with the format's magic.
    #[error("it starts with {:?} instead of \"GGUF\"", found.escape_ascii().to_string())]
    Magic {
        /// What it starts with.
        found: [u8; 4],
    },
    /// The format's first version.
    #[error("version 1 is no longer in use; convert the model again with current tools")]
    OutdatedVersion,
    /// A version that is known, with its bytes the other way round.
    #[error("it was written for a big-endian machine; get the little-endian file")]
    BigEndian,
    /// A version that is not known.
    #[error("version {0} is unknown; versions 2 and 3 can be read")]
    UnknownVersion(u32),
    /// The file ends before its header does.
    #[error("the file ends at byte {len}, inside the header")]
    Truncated {
        /// Bytes of the file.
        len: usize,
    },
    /// More of something than the rest of the file can hold, or than any model has.
    #[error("{count} {what} cannot be: {left} bytes are left and {limit} is the limit")]
    Count {
        /// What there is too much of.
        what: Counted,
        /// The number that the file gives.
        count: u64,
        /// Bytes of the file that are left.
        left: usize,
        /// The largest number that is believed.
        limit: u64,
    },
    /// A header that is too large in memory.
    #[error("the header takes more than {} MiB of memory", limit >> 20)]
    Memory {
        /// Bytes that it may take.
        limit: usize,
    },
    /// A text that is not UTF-8.
    #[error("the text at byte {offset} is not UTF-8")]
    NotUtf8 {
        /// Where it starts in the file.
        offset: usize,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("{0} is not a truth value")]
    NotBool(u8),
    /// A value of a type that is not known.
    #[error("value type {0} is unknown")]
    ValueType(u32),
    /// An array of a type that is not known.
    #[error("value type {0} of an array is unknown")]
    ArrayType(u32),
    /// Arrays within arrays, more than any writer makes.
    #[error("arrays are nested more than {limit} levels deep")]
    Nesting {
        /// Levels that are read.
        limit: usize,
    },
    /// A key without a name.
    #[error("key {index} is empty")]
    EmptyKey {
        /// Its place among the keys, from 0.
        index: u64,
    },
    /// A key that is there already.
    #[error("the key {} occurs twice", quoted(key))]
    RepeatedKey {
        /// The key.
        key: String,
    },
    /// An alignment that none can be.
    #[error("{ALIGNMENT_KEY} is {0}, not a power of two from 8 up")]
    Alignment(u64),
    /// An alignment that is no number.
    #[error("{ALIGNMENT_KEY} is of type {0}, not an integer")]
    AlignmentType(&'static str),
    /// An alignment beyond the end of any file.
    #[error("the alignment {0} is too large")]
    AlignmentTooLarge(u64),
    /// An alignment that llama.cpp does not read.
    #[error("{ALIGNMENT_KEY} must be a u32 power of two from 8 to 2^20")]
    UnwritableAlignment,
    /// More dimensions than a tensor can have.
    #[error("{0} dimensions; at most {MAX_DIMS} are possible")]
    TooManyDimensions(usize),
    /// Dimensions whose product is none.
    #[error("impossible dimensions {0:?}")]
    Dimensions(Vec<u64>),
    /// An element type that is not known.
    #[error("element type {0} is unknown")]
    ElementType(u32),
    /// An element type that there is no more.
    #[error(
        "element type {} was removed from the format; get the model in {}, or convert it again",
        .0.name,
        .0.instead.name()
    )]
    RemovedType(RemovedType),
    /// Rows that are not whole blocks, or a size beyond 64 bits.
    #[error("dimensions {dims:?} do not fit {} with its blocks of {} values", kind.name(), kind.block_len())]
    Blocks {
        /// The dimensions, the contiguous one first.
        dims: Vec<u64>,
        /// The type of the elements.
        kind: TensorType,
    },
    /// A tensor was to be written whose rows are not whole blocks, or whose size is beyond 64 bits.
    #[error("dimensions {dims:?} do not fit {}", kind.name())]
    UnwritableBlocks {
        /// The dimensions, the contiguous one first.
        dims: Vec<u64>,
        /// The type of the elements.
        kind: TensorType,
    },
    /// A tensor that does not start at a multiple of the alignment.
    #[error("offset {offset} is not a multiple of {alignment}")]
    Misaligned {
        /// Where it starts, from the start of the data.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor that is not, or not wholly, in the file.
    #[error(
        "tensor {} ({n_bytes} bytes at offset {offset}) reaches past the end of the file: the file is truncated (it has \
         {file_len} bytes) or damaged",
        quoted(tensor)
    )]
    PastEnd {
        /// The tensor.
        tensor: String,
        /// Its size.
        n_bytes: u64,
        /// Where it starts, from the start of the data.
        offset: u64,
        /// Bytes of the file.
        file_len: u64,
    },
    /// Two tensors that share bytes.
    #[error("tensors {} and {} overlap", quoted(first), quoted(second))]
    Overlap {
        /// The one that starts first.
        first: String,
        /// The other one.
        second: String,
    },
    /// Two tensors of one name.
    #[error("two tensors are named {}", quoted(name))]
    RepeatedTensor {
        /// The name.
        name: String,
    },
    /// A name that no tensor can have.
    #[error("a name has 1 to {MAX_TENSOR_NAME} bytes")]
    Name,
    /// A name that another tensor has.
    #[error("the name is taken")]
    NameTaken,
    /// A shape that no tensor can have.
    #[error("a tensor has 1 to {MAX_DIMS} dimensions, none of them 0")]
    Shape,
    /// Bytes that are not as many as the shape says.
    #[error("{given} bytes given, {expected} expected")]
    Size {
        /// How many were given.
        given: u64,
        /// How many the shape says.
        expected: u64,
    },
    /// More bytes than a tensor has came from what produces them.
    #[error("a tensor got more bytes than it has room for")]
    TooManyBytes,
    /// Fewer bytes than a tensor has came from what produces them.
    #[error("tensor {} got {missing} bytes too few", quoted(tensor))]
    TooFewBytes {
        /// The tensor.
        tensor: String,
        /// How many are missing.
        missing: u64,
    },
    /// Tensors that are larger together than 64 bits can say.
    #[error("the tensors are larger than any file")]
    TooLarge,
    /// A problem with one key or tensor.
    #[error("{place}: {source}")]
    At {
        /// Which one.
        place: Place,
        /// What is wrong with it.
        source: Box<Self>,
    },
}

/// What a file gives the number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counted {
    /// Its tensors.
    Tensors,
    /// Its keys.
    Keys,
    /// The bytes of a text.
    TextBytes,
    /// The elements of an array.
    ArrayElements,
}

/// A key or a tensor, by its name or, before that is read, by its place among its kind, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The name of a key.
    KeyName(u64),
    /// The value of a key.
    Key(String),
    /// The name of a tensor.
    TensorName(u64),
    /// A tensor.
    Tensor(String),
}

impl Problem {
    pub(super) fn at(self, place: Place) -> Self {
        Self::At { place, source: Box::new(self) }
    }

    /// Whether there are too few bytes, and nothing else is known to be wrong.
    pub(super) fn is_truncated(&self) -> bool {
        match self {
            Self::Truncated { .. } => true,
            Self::At { source, .. } => source.is_truncated(),
            _ => false,
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tensors => "tensors",
            Self::Keys => "keys",
            Self::TextBytes => "bytes of text",
            Self::ArrayElements => "array elements",
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyName(index) => write!(f, "key {index}"),
            Self::Key(name) => write!(f, "key {}", quoted(name)),
            Self::TensorName(index) => write!(f, "name of tensor {index}"),
            Self::Tensor(name) => write!(f, "tensor {}", quoted(name)),
        }
    }
}

/// A name from the file, short and printable.
fn quoted(name: &str) -> String {
    const LONGEST: usize = 80;
    if name.chars().count() <= LONGEST {
        format!("{name:?}")
    } else {
        format!("{:?}…", name.chars().take(LONGEST).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let name = || "blk.0\n".to_owned();
        let at = |place| Problem::NotBool(2).at(place);
        for (problem, words) in [
            (
                Problem::Magic { found: *b"\x00\xff\n\x1b" },
                r#"it starts with "\\x00\\xff\\n\\x1b" instead of "GGUF""#,
            ),
            (
                Problem::OutdatedVersion,
                "version 1 is no longer in use; convert the model again with current tools",
            ),
            (Problem::BigEndian, "it was written for a big-endian machine; get the little-endian file"),
            (Problem::UnknownVersion(4), "version 4 is unknown; versions 2 and 3 can be read"),
            (Problem::Truncated { len: 7 }, "the file ends at byte 7, inside the header"),
            (
                Problem::Count { what: Counted::Tensors, count: 9, left: 8, limit: 7 },
                "9 tensors cannot be: 8 bytes are left and 7 is the limit",
            ),
            (
                Problem::Count { what: Counted::Keys, count: 9, left: 8, limit: 7 },
                "9 keys cannot be: 8 bytes are left and 7 is the limit",
            ),
            (
                Problem::Count { what: Counted::TextBytes, count: 9, left: 8, limit: 7 },
                "9 bytes of text cannot be: 8 bytes are left and 7 is the limit",
            ),
            (
                Problem::Count { what: Counted::ArrayElements, count: 9, left: 8, limit: u64::MAX },
                "9 array elements cannot be: 8 bytes are left and 18446744073709551615 is the limit",
            ),
            (Problem::Memory { limit: 512 << 20 }, "the header takes more than 512 MiB of memory"),
            (Problem::NotUtf8 { offset: 32 }, "the text at byte 32 is not UTF-8"),
            (Problem::NotBool(2), "2 is not a truth value"),
            (Problem::ValueType(13), "value type 13 is unknown"),
            (Problem::ArrayType(99), "value type 99 of an array is unknown"),
            (Problem::Nesting { limit: 4 }, "arrays are nested more than 4 levels deep"),
            (Problem::EmptyKey { index: 3 }, "key 3 is empty"),
            (Problem::RepeatedKey { key: name() }, r#"the key "blk.0\n" occurs twice"#),
            (Problem::Alignment(24), "general.alignment is 24, not a power of two from 8 up"),
            (Problem::AlignmentType("string"), "general.alignment is of type string, not an integer"),
            (Problem::AlignmentTooLarge(1 << 63), "the alignment 9223372036854775808 is too large"),
            (Problem::UnwritableAlignment, "general.alignment must be a u32 power of two from 8 to 2^20"),
            (Problem::TooManyDimensions(5), "5 dimensions; at most 4 are possible"),
            (Problem::Dimensions(vec![4, 0]), "impossible dimensions [4, 0]"),
            (Problem::ElementType(43), "element type 43 is unknown"),
            (
                Problem::RemovedType(RemovedType { name: "Q4_0_8_8", instead: TensorType::Q4_0 }),
                "element type Q4_0_8_8 was removed from the format; get the model in Q4_0, or convert it again",
            ),
            (
                Problem::Blocks { dims: vec![31, 2], kind: TensorType::Q4_0 },
                "dimensions [31, 2] do not fit Q4_0 with its blocks of 32 values",
            ),
            (
                Problem::UnwritableBlocks { dims: vec![31, 2], kind: TensorType::Q4_0 },
                "dimensions [31, 2] do not fit Q4_0",
            ),
            (Problem::Misaligned { offset: 8, alignment: 32 }, "offset 8 is not a multiple of 32"),
            (
                Problem::PastEnd { tensor: name(), n_bytes: 16, offset: 4096, file_len: 4153 },
                "tensor \"blk.0\\n\" (16 bytes at offset 4096) reaches past the end of the file: the file is truncated (it has \
                 4153 bytes) or damaged",
            ),
            (Problem::Overlap { first: name(), second: "b".into() }, r#"tensors "blk.0\n" and "b" overlap"#),
            (Problem::RepeatedTensor { name: name() }, r#"two tensors are named "blk.0\n""#),
            (Problem::Name, "a name has 1 to 63 bytes"),
            (Problem::NameTaken, "the name is taken"),
            (Problem::Shape, "a tensor has 1 to 4 dimensions, none of them 0"),
            (Problem::Size { given: 15, expected: 16 }, "15 bytes given, 16 expected"),
            (Problem::TooManyBytes, "a tensor got more bytes than it has room for"),
            (Problem::TooFewBytes { tensor: name(), missing: 1 }, r#"tensor "blk.0\n" got 1 bytes too few"#),
            (Problem::TooLarge, "the tensors are larger than any file"),
            (at(Place::KeyName(3)), "key 3: 2 is not a truth value"),
            (at(Place::Key(name())), r#"key "blk.0\n": 2 is not a truth value"#),
            (at(Place::TensorName(3)), "name of tensor 3: 2 is not a truth value"),
            (at(Place::Tensor(name())), r#"tensor "blk.0\n": 2 is not a truth value"#),
        ] {
            assert_eq!(problem.to_string(), words);
        }
        let long = Place::Key("k".repeat(70_000)).to_string();
        assert_eq!(long, format!("key \"{}\"…", "k".repeat(80)));
    }
}
