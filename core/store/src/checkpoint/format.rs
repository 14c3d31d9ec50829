//! The content of a checkpoint, little endian, inside a sealed file ([`crate::vault`]), which has the checksums:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | version |
//! | 8 | length of the header |
//! | … | header: JSON of [`CheckpointHeader`], floats as bits |
//! | … | for each set, for each pair: `A` and `B` transposed, f32 |

use std::io::{self, Read, Write};

use nightgraft_adapter::{AdapterTensors, LoraPairs};
use nightgraft_gguf::Fingerprint;
use serde::{Deserialize, Serialize};

use super::adapter::{PairShape, SpecBits, read_header, read_pairs, write_header, write_numbers};
use super::{FormatProblem, Progress, Snapshot, State};
use crate::NumberSet;

/// Raised with every change of the format. Version 1 was a file with a magic and a checksum of its own; version 2 did not have
/// [`Progress::first_steps`], nor version 3 [`Progress::devices`].
pub(super) const VERSION: u32 = 4;
/// The oldest version that is read.
pub(super) const OLDEST: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointHeader {
    config: String,
    base: Fingerprint,
    data: String,
    progress: Progress,
    spec: SpecBits,
    /// The shapes of the adapter's pairs.
    pairs: Vec<PairShape>,
    /// Which of [`NumberSet`]'s follow.
    sets: Vec<String>,
}

/// Why a state was not written.
#[derive(Debug)]
pub(super) enum EncodeError {
    /// A set does not have the shapes of the adapter.
    Shapes(NumberSet),
    /// It cannot be written to.
    Io(io::Error),
}

impl From<io::Error> for EncodeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes a state.
///
/// # Errors
/// [`EncodeError::Shapes`] with a set that does not have the shapes of the adapter; those of `out`.
pub(super) fn encode(state: Snapshot<'_>, out: &mut dyn Write) -> Result<(), EncodeError> {
    let sets = NumberSet::ALL.into_iter().zip(state.sets).filter_map(|(set, numbers)| Some((set, numbers?)));
    let sets: Vec<_> = sets.collect();
    let header = CheckpointHeader {
        config: state.config.to_owned(),
        base: state.base,
        data: state.data.to_owned(),
        progress: state.progress.clone(),
        spec: SpecBits::of(state.spec),
        pairs: state.shapes,
        sets: sets.iter().map(|(set, _)| set.name().to_owned()).collect(),
    };
    out.write_all(&VERSION.to_le_bytes())?;
    write_header(&header, out)?;
    let sizes: Vec<_> = header.pairs.iter().flat_map(PairShape::sizes).collect();
    for (set, numbers) in sets {
        let mut expected = sizes.iter();
        let mut fits = true;
        let matrices = numbers.inspect(|values| fits &= expected.next() == Some(&Some(values.len())));
        write_numbers(matrices, out)?;
        if !fits || expected.next().is_some() {
            return Err(EncodeError::Shapes(set));
        }
    }
    Ok(())
}

/// Reads the version, with which a checkpoint begins.
///
/// # Errors
/// Those of `from`.
pub(super) fn decode_version(from: &mut dyn Read) -> io::Result<u32> {
    let mut version = [0; 4];
    from.read_exact(&mut version)?;
    Ok(u32::from_le_bytes(version))
}

/// Reads what follows the version. A checksum that holds is no reason to trust the header: memory grows with the
/// bytes that there are.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] and [`io::ErrorKind::UnexpectedEof`] for what no program of ours wrote; those of
/// `from`.
pub(super) fn decode(from: &mut dyn Read) -> io::Result<State> {
    let header: CheckpointHeader = read_header(from)?;
    let mut remaining = header.sets.as_slice();
    let mut sets: [LoraPairs; 5] = Default::default();
    for (set, pairs) in NumberSet::ALL.into_iter().zip(&mut sets) {
        if let Some((first, rest)) = remaining.split_first()
            && first == set.name()
        {
            remaining = rest;
            *pairs = read_pairs(&header.pairs, from)?;
        } else if set == NumberSet::Adapter {
            return Err(FormatProblem::NoAdapter.into());
        }
    }
    if !remaining.is_empty() {
        return Err(FormatProblem::UnknownSets.into());
    }
    let [adapter, first_moment, second_moment, gradient, best] = sets;
    Ok(State {
        config: header.config,
        base: header.base,
        data: header.data,
        progress: header.progress,
        adapter: AdapterTensors { spec: header.spec.into(), pairs: adapter },
        first_moment,
        second_moment,
        gradient,
        best,
    })
}
