//! The bytes of one adapter, little endian, for those who keep adapters in files of their own:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | version |
//! | 8 | length of the header |
//! | … | header: JSON of [`AdapterHeader`], floats as bits |
//! | … | for each pair: `A` and `B` transposed, f32 |
//!
//! Numbers are stored as exact bits. There is no checksum: these bytes are part of a sealed file ([`crate::vault`]).

use std::borrow::Cow;
use std::io::{self, Read, Write};

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraPairs, LoraSpec, Module};
use serde::{Deserialize, Serialize};

use super::FormatProblem;

/// Raised with every change of the format.
const VERSION: u32 = 1;
/// Bytes that are converted at a time.
const BUFFER_BYTES: usize = 1 << 16;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdapterHeader {
    spec: SpecBits,
    pairs: Vec<PairShape>,
}

/// [`LoraSpec`] with exact numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecBits {
    rank: usize,
    alpha_bits: u32,
    modules: Vec<Module>,
    first_layer: usize,
    end_layer: usize,
    dropout_bits: u32,
}

/// Place and shape of a pair.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairShape {
    layer: usize,
    module: Module,
    rank: usize,
    n_in: usize,
    n_out: usize,
}

/// Writes an adapter.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if a pair does not have as many numbers as its shape says; those of `out`.
pub fn encode_adapter(adapter: &AdapterTensors, out: &mut dyn Write) -> io::Result<()> {
    if !is_whole(&adapter.pairs) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the numbers do not have the pairs' shapes"));
    }
    out.write_all(&VERSION.to_le_bytes())?;
    write_header(&AdapterHeader { spec: SpecBits::of(&adapter.spec), pairs: shapes(&adapter.pairs) }, out)?;
    write_pairs(&adapter.pairs, out)
}

/// Reads what [`encode_adapter`] wrote, and nothing behind it. Memory grows with the bytes that there are, not with
/// what they say; the numbers may be anything.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is no adapter, [`io::ErrorKind::UnexpectedEof`] if it ends too early; those
/// of `from`.
pub fn decode_adapter(from: &mut dyn Read) -> io::Result<AdapterTensors> {
    let mut version = [0; 4];
    from.read_exact(&mut version)?;
    let version = u32::from_le_bytes(version);
    if version != VERSION {
        return Err(FormatProblem::AdapterVersion { found: version, known: VERSION }.into());
    }
    let AdapterHeader { spec, pairs } = read_header(from)?;
    Ok(AdapterTensors { spec: spec.into(), pairs: read_pairs(&pairs, from)? })
}

impl SpecBits {
    pub(super) fn of(spec: &LoraSpec) -> Self {
        Self {
            rank: spec.rank,
            alpha_bits: spec.alpha.to_bits(),
            modules: spec.modules.clone(),
            first_layer: spec.layers.start,
            end_layer: spec.layers.end,
            dropout_bits: spec.dropout.to_bits(),
        }
    }
}

impl From<SpecBits> for LoraSpec {
    fn from(spec: SpecBits) -> Self {
        Self {
            rank: spec.rank,
            alpha: f32::from_bits(spec.alpha_bits),
            modules: spec.modules,
            layers: spec.first_layer..spec.end_layer,
            dropout: f32::from_bits(spec.dropout_bits),
        }
    }
}

/// Whether each pair has the numbers that its shape says.
pub(super) fn is_whole(pairs: &LoraPairs) -> bool {
    let has = |values: &[f32], rank: usize, width: usize| rank.checked_mul(width) == Some(values.len());
    pairs.values().all(|pair| has(&pair.a, pair.rank, pair.n_in) && has(&pair.b_t, pair.rank, pair.n_out))
}

/// The shape of each pair.
pub fn shapes(pairs: &LoraPairs) -> Vec<PairShape> {
    pairs.iter().map(|(&place, pair)| PairShape::new(place, pair.rank, [pair.n_in, pair.n_out])).collect()
}

impl PairShape {
    /// The shape of the pair of a layer's module.
    pub fn new((layer, module): (usize, Module), rank: usize, [n_in, n_out]: [usize; 2]) -> Self {
        Self { layer, module, rank, n_in, n_out }
    }

    /// Numbers of `A` and of `B`.
    pub(super) fn sizes(&self) -> [Option<usize>; 2] {
        [self.rank.checked_mul(self.n_in), self.rank.checked_mul(self.n_out)]
    }
}

/// Writes a JSON header after its length.
pub(super) fn write_header(header: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)
}

/// Reads what [`write_header`] wrote.
pub(super) fn read_header<T: for<'de> Deserialize<'de>>(from: &mut dyn Read) -> io::Result<T> {
    let mut len = [0; 8];
    from.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    let mut header = Vec::new();
    from.take(len).read_to_end(&mut header)?;
    if header.len() as u64 != len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // The parser's own message may quote what stands there.
    serde_json::from_slice(&header).map_err(|error| FormatProblem::Header { column: error.column() }.into())
}

/// Writes the numbers of pairs that are whole.
pub(super) fn write_pairs(pairs: &LoraPairs, out: &mut dyn Write) -> io::Result<()> {
    write_numbers(matrices(pairs), out)
}

/// Both matrices of each pair.
pub fn matrices(pairs: &LoraPairs) -> impl Iterator<Item = Cow<'_, [f32]>> {
    pairs.values().flat_map(|pair| [&pair.a, &pair.b_t]).map(Cow::from)
}

/// Writes the numbers of matrices.
pub(super) fn write_numbers<'a>(
    matrices: impl Iterator<Item = Cow<'a, [f32]>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut buffer = vec![[0; 4]; BUFFER_BYTES / 4];
    for values in matrices {
        for values in values.chunks(buffer.len()) {
            let bytes = &mut buffer[..values.len()];
            for (bytes, value) in bytes.iter_mut().zip(values) {
                *bytes = value.to_le_bytes();
            }
            out.write_all(bytes.as_flattened())?;
        }
    }
    Ok(())
}

/// Reads the numbers of pairs with these shapes.
pub(super) fn read_pairs(shapes: &[PairShape], from: &mut dyn Read) -> io::Result<LoraPairs> {
    let mut buffer = vec![[0; 4]; BUFFER_BYTES / 4];
    let mut pairs = LoraPairs::new();
    for &PairShape { layer, module, rank, n_in, n_out } in shapes {
        let mut numbers = |width: usize| {
            let n = rank.checked_mul(width).ok_or(FormatProblem::ShapeTooLarge)?;
            read_numbers(n, from, &mut buffer)
        };
        let (a, b_t) = (numbers(n_in)?, numbers(n_out)?);
        if pairs.insert((layer, module), LoraPair { rank, n_in, n_out, a, b_t }).is_some() {
            return Err(FormatProblem::RepeatedPair.into());
        }
    }
    Ok(pairs)
}

fn read_numbers(n: usize, from: &mut dyn Read, buffer: &mut [[u8; 4]]) -> io::Result<Vec<f32>> {
    let mut values = Vec::new();
    while values.len() < n {
        let bytes = &mut buffer[..(n - values.len()).min(BUFFER_BYTES / 4)];
        from.read_exact(bytes.as_flattened_mut())?;
        values.extend(bytes.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    Ok(values)
}
