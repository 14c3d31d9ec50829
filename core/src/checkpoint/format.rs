//! The bytes of a checkpoint, little endian:
//!
//! | bytes | content |
//! |---|---|
//! | 8 | magic `NGCKPT\r\n` |
//! | 4 | version |
//! | 8 | length of the header |
//! | … | header: JSON of [`Header`], floats as bits |
//! | … | for each set, for each pair: `A` and `B` transposed, f32 |
//! | 32 | SHA-256 of everything before |

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Pairs, Progress, State};
use crate::Result;
use crate::atomic::AtomicFile;
use crate::base::Module;
use crate::gguf::Fingerprint;
use crate::lora::{AdapterTensors, LoraPair, LoraSpec};

/// Ends like PNG's, so that a transfer that rewrites line ends shows at once.
const MAGIC: [u8; 8] = *b"NGCKPT\r\n";
/// Raised with every change of the format.
pub(super) const VERSION: u32 = 1;
/// Magic, version and the header's length.
const FIXED_BYTES: usize = 8 + 4 + 8;
const CHECKSUM_BYTES: usize = 32;

/// Why the bytes of a checkpoint cannot be used.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is not what was once written.
    Damaged(String),
    /// It is sound, as far as can be seen, but of another version of this program.
    Version(u32),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "damaged: {what}"),
            Self::Version(version) => write!(
                f,
                "written in version {version} of the format, this program reads version {VERSION}; \
                 continue with the program that wrote it, or start anew with --resume never"
            ),
        }
    }
}

/// The sets of numbers, in the order of the file.
const SETS: [&str; 5] = ["adapter", "first_moment", "second_moment", "gradient", "best"];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    config: String,
    base: Fingerprint,
    data: String,
    progress: Progress,
    spec: Spec,
    /// The shapes of the adapter's pairs.
    pairs: Vec<Shape>,
    /// Which of [`SETS`] follow. Each is a value for each number of the adapter.
    sets: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    rank: usize,
    alpha_bits: u32,
    modules: Vec<Module>,
    first_layer: usize,
    end_layer: usize,
    dropout_bits: u32,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    layer: usize,
    module: Module,
    rank: usize,
    n_in: usize,
    n_out: usize,
}

/// Writes `state` to `file`.
///
/// # Errors
/// A text if the sets of numbers do not have the adapter's shapes; [`Io`](crate::Error::Io) inside.
pub(super) fn encode(state: &State, file: &mut AtomicFile) -> Result<Result<(), String>> {
    let spec = &state.adapter.spec;
    let shapes = shapes(&state.adapter.pairs);
    let sets = sets(state);
    for (name, set) in &sets {
        let whole = set
            .values()
            .all(|pair| pair.a.len() == pair.rank * pair.n_in && pair.b_t.len() == pair.rank * pair.n_out);
        if !whole || shapes != self::shapes(set) {
            return Ok(Err(format!("the shapes of {name} are not those of the adapter")));
        }
    }
    let header = Header {
        config: state.config.clone(),
        base: state.base,
        data: state.data.clone(),
        progress: state.progress.clone(),
        spec: Spec {
            rank: spec.rank,
            alpha_bits: spec.alpha.to_bits(),
            modules: spec.modules.clone(),
            first_layer: spec.layers.start,
            end_layer: spec.layers.end,
            dropout_bits: spec.dropout.to_bits(),
        },
        pairs: shapes,
        sets: sets.iter().map(|(name, _)| (*name).to_owned()).collect(),
    };
    let header = match serde_json::to_vec(&header) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut sink = Sink { file, hasher: Sha256::new() };
    sink.put(&MAGIC)?;
    sink.put(&VERSION.to_le_bytes())?;
    sink.put(&(header.len() as u64).to_le_bytes())?;
    sink.put(&header)?;
    for (_, set) in &sets {
        for pair in set.values() {
            sink.numbers(&pair.a)?;
            sink.numbers(&pair.b_t)?;
        }
    }
    let checksum = sink.hasher.finalize();
    file.write(&checksum)?;
    Ok(Ok(()))
}

/// The sets that hold anything; the adapter always.
fn sets(state: &State) -> Vec<(&'static str, &Pairs)> {
    let all = [&state.adapter.pairs, &state.first_moment, &state.second_moment, &state.gradient, &state.best];
    SETS.into_iter().zip(all).filter(|(name, set)| *name == SETS[0] || !set.is_empty()).collect()
}

fn shapes(pairs: &Pairs) -> Vec<Shape> {
    pairs
        .iter()
        .map(|(&(layer, module), pair)| Shape {
            layer,
            module,
            rank: pair.rank,
            n_in: pair.n_in,
            n_out: pair.n_out,
        })
        .collect()
}

/// Reads a checkpoint; nothing in `bytes` is trusted before the checksum holds, and little afterwards.
///
/// # Errors
/// [`Fault`] tells damage from another version.
pub fn decode(bytes: &[u8]) -> std::result::Result<State, Fault> {
    let damaged = |what: &str| Fault::Damaged(what.to_owned());
    let (fixed, rest) = bytes.split_at_checked(FIXED_BYTES).ok_or_else(|| damaged("it is too short"))?;
    if !fixed.starts_with(&MAGIC) {
        return Err(damaged("it is not a checkpoint"));
    }
    let version = u32::from_le_bytes(array(fixed, 8));
    if version != VERSION {
        return Err(Fault::Version(version));
    }
    let body_len = bytes
        .len()
        .checked_sub(CHECKSUM_BYTES)
        .filter(|&len| len >= FIXED_BYTES)
        .ok_or_else(|| damaged("it is too short"))?;
    let (body, checksum) = bytes.split_at(body_len);
    if Sha256::digest(body).as_slice() != checksum {
        return Err(damaged("its checksum is wrong"));
    }
    let header_len = u64::from_le_bytes(array(fixed, 12));
    let rest = &rest[..rest.len() - CHECKSUM_BYTES];
    let (header, data) = usize::try_from(header_len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or_else(|| damaged("the header reaches past the end"))?;
    let header: Header =
        serde_json::from_slice(header).map_err(|error| Fault::Damaged(format!("its header: {error}")))?;
    assemble(header, data).ok_or_else(|| damaged("its numbers are not those that its header describes"))
}

fn assemble(header: Header, mut data: &[u8]) -> Option<State> {
    let mut remaining = header.sets.as_slice();
    let mut sets: [Pairs; 5] = Default::default();
    for (name, set) in SETS.into_iter().zip(&mut sets) {
        if let Some((first, rest)) = remaining.split_first()
            && first == name
        {
            remaining = rest;
            *set = read_set(&header.pairs, &mut data)?;
        }
    }
    let [adapter, first_moment, second_moment, gradient, best] = sets;
    let complete = remaining.is_empty() && data.is_empty() && adapter.len() == header.pairs.len();
    let spec = LoraSpec {
        rank: header.spec.rank,
        alpha: f32::from_bits(header.spec.alpha_bits),
        modules: header.spec.modules,
        layers: header.spec.first_layer..header.spec.end_layer,
        dropout: f32::from_bits(header.spec.dropout_bits),
    };
    complete.then_some(State {
        config: header.config,
        base: header.base,
        data: header.data,
        progress: header.progress,
        adapter: AdapterTensors { spec, pairs: adapter },
        first_moment,
        second_moment,
        gradient,
        best,
    })
}

fn read_set(shapes: &[Shape], data: &mut &[u8]) -> Option<Pairs> {
    let mut pairs = Pairs::new();
    for shape in shapes {
        let &Shape { layer, module, rank, n_in, n_out } = shape;
        let a = numbers(data, rank.checked_mul(n_in)?)?;
        let b_t = numbers(data, rank.checked_mul(n_out)?)?;
        pairs.insert((layer, module), LoraPair { rank, n_in, n_out, a, b_t });
    }
    // A place named twice would have been overwritten.
    (pairs.len() == shapes.len()).then_some(pairs)
}

fn numbers(data: &mut &[u8], n: usize) -> Option<Vec<f32>> {
    let (taken, rest) = data.split_at_checked(n.checked_mul(4)?)?;
    *data = rest;
    Some(taken.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Writes and hashes.
struct Sink<'f> {
    file: &'f mut AtomicFile,
    hasher: Sha256,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file.write(bytes)
    }

    fn numbers(&mut self, values: &[f32]) -> Result<()> {
        let mut buffer = Vec::with_capacity(4 * 4096);
        for chunk in values.chunks(4096) {
            buffer.clear();
            buffer.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
            self.put(&buffer)?;
        }
        Ok(())
    }
}
