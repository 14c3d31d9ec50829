//! Parsing and validating the header of a GGUF.
//!
//! The bytes may come from anywhere: no count is believed before it is compared with the bytes that
//! are left, all arithmetic is checked, and the decoded size is bounded.

use std::collections::HashMap;

use super::value::id;
use super::{ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, MAX_TENSOR_NAME};
use super::{Counted, Metadata, Place, Problem, RemovedType, TensorType, Value};

/// More keys than any model has.
const MAX_KEYS: u64 = 1 << 16;
/// More tensors than any model has.
const MAX_TENSORS: u64 = 1 << 18;
/// Longest key; the format itself says 65,535 bytes.
const MAX_KEY: usize = u16::MAX as usize;
/// Longest single string; chat templates reach some 100 kB.
const MAX_STRING: usize = 16 << 20;
/// Arrays inside arrays: more levels than any writer makes.
const MAX_NESTING: usize = 4;
/// Memory that the decoded header may take; a vocabulary of 262,144 pieces with merges needs 50 MB.
const MAX_DECODED: usize = 512 << 20;

/// What a file says about itself, checked against its real size.
#[derive(Clone, Debug)]
pub struct GgufHeader {
    /// The format's version, 2 or 3.
    pub version: u32,
    /// The keys and values.
    pub metadata: Metadata,
    /// The tensors in the order of the file.
    pub tensors: Vec<TensorInfo>,
    /// Tensors start at multiples of this.
    pub alignment: u64,
    /// Where the tensors' bytes start, from the start of the file.
    pub data_offset: u64,
}

/// Name, shape and place of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, as in `blk.0.attn_q.weight`.
    pub name: String,
    /// Lengths of the dimensions, the contiguous one first (`ne` in ggml).
    pub dims: Vec<u64>,
    /// Type of the elements.
    pub kind: TensorType,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Size in bytes.
    pub n_bytes: u64,
}

impl TensorInfo {
    /// Its bytes in the whole `file`; none if it lies outside of that.
    pub fn bytes<'file>(&self, file: &'file [u8]) -> &'file [u8] {
        let range = usize::try_from(self.offset).ok().zip(usize::try_from(self.n_bytes).ok());
        range.and_then(|(start, len)| file.get(start..start.checked_add(len)?)).unwrap_or_default()
    }
}

/// Reads a whole file's header and checks that every tensor lies inside `bytes`.
///
/// # Errors
/// [`Problem`] names what is wrong and where.
pub fn parse(bytes: &[u8]) -> Result<GgufHeader, Problem> {
    read(bytes, bytes.len() as u64)
}

/// Reads the header of a file of `file_len` bytes from the first of them, and checks that every tensor lies inside the file;
/// `None` if the header goes on after `start`.
///
/// # Errors
/// As [`parse`].
pub fn parse_start(start: &[u8], file_len: u64) -> Result<Option<GgufHeader>, Problem> {
    let is_part = (start.len() as u64) < file_len;
    match read(start, file_len) {
        Err(problem) if is_part && problem.is_truncated() => Ok(None),
        other => other.map(Some),
    }
}

fn read(bytes: &[u8], file_len: u64) -> Result<GgufHeader, Problem> {
    let mut cursor = Cursor { bytes, at: 0, file_len, budget: MAX_DECODED };
    let version = version(&mut cursor)?;
    let n_tensors = cursor.u64()?;
    let n_keys = cursor.u64()?;
    // The shortest key takes 14 bytes (a name, a type, a value), the shortest tensor 25.
    cursor.check_count(Counted::Tensors, n_tensors, MAX_TENSORS, 25)?;
    cursor.check_count(Counted::Keys, n_keys, MAX_KEYS, 14)?;

    let metadata = metadata(&mut cursor, n_keys)?;
    let alignment = alignment(&metadata)?;
    let mut tensors = Vec::with_capacity(usize::try_from(n_tensors).unwrap_or(0));
    for index in 0..n_tensors {
        tensors.push(tensor(&mut cursor, index)?);
    }
    let data_offset = (cursor.at as u64)
        .checked_next_multiple_of(alignment)
        .ok_or(Problem::AlignmentTooLarge(alignment))?;
    place(&mut tensors, data_offset, alignment, file_len)?;
    Ok(GgufHeader { version, metadata, tensors, alignment, data_offset })
}

fn version(cursor: &mut Cursor) -> Result<u32, Problem> {
    let found: [u8; 4] = cursor.array()?;
    if found != MAGIC {
        return Err(Problem::Magic { found });
    }
    match cursor.u32()? {
        version @ 2..=3 => Ok(version),
        1 => Err(Problem::OutdatedVersion),
        other if (1..=3).contains(&other.swap_bytes()) => Err(Problem::BigEndian),
        other => Err(Problem::UnknownVersion(other)),
    }
}

fn metadata(cursor: &mut Cursor, n_keys: u64) -> Result<Metadata, Problem> {
    let mut metadata = Metadata::new();
    for index in 0..n_keys {
        let key = cursor.string(MAX_KEY).map_err(|p| p.at(Place::KeyName(index)))?;
        if key.is_empty() {
            return Err(Problem::EmptyKey { index });
        }
        let value =
            cursor.u32().and_then(|kind| cursor.value(kind)).map_err(|p| p.at(Place::Key(key.clone())))?;
        // The key is kept twice: in the list and in the index.
        cursor.charge(2 * key.len() + 128)?;
        if metadata.get(&key).is_some() {
            return Err(Problem::RepeatedKey { key });
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &Metadata) -> Result<u64, Problem> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else { return Ok(DEFAULT_ALIGNMENT) };
    match value.as_u64() {
        Some(n) if n >= 8 && n.is_power_of_two() => Ok(n),
        Some(n) => Err(Problem::Alignment(n)),
        None => Err(Problem::AlignmentType(value.type_name())),
    }
}

/// Reads a tensor's entry; `offset` is still relative to the start of the data.
fn tensor(cursor: &mut Cursor, index: u64) -> Result<TensorInfo, Problem> {
    let name = cursor.string(MAX_TENSOR_NAME).map_err(|p| p.at(Place::TensorName(index)))?;
    let inside = |p: Problem| p.at(Place::Tensor(name.clone()));
    let n_dims = cursor.u32().map_err(inside)? as usize;
    if n_dims > MAX_DIMS {
        return Err(inside(Problem::TooManyDimensions(n_dims)));
    }
    cursor.charge(256)?;
    let mut dims = Vec::with_capacity(n_dims);
    for _ in 0..n_dims {
        dims.push(cursor.u64().map_err(inside)?);
    }
    if dims.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim)).is_none_or(|n| n == 0 || n > i64::MAX as u64)
    {
        return Err(inside(Problem::Dimensions(dims)));
    }
    let id = cursor.u32().map_err(inside)?;
    let kind = TensorType::from_ggml_id(id).ok_or_else(|| {
        let removed = RemovedType::from_ggml_id(id).map(Problem::RemovedType);
        inside(removed.unwrap_or(Problem::ElementType(id)))
    })?;
    let unfit = || inside(Problem::Blocks { dims: dims.clone(), kind });
    let n_bytes = kind.tensor_bytes(&dims).ok_or_else(unfit)?;
    let offset = cursor.u64().map_err(inside)?;
    Ok(TensorInfo { name, dims, kind, offset, n_bytes })
}

/// Makes the offsets absolute; refuses what is outside of the file, misaligned, overlapping or named twice.
fn place(tensors: &mut [TensorInfo], data_offset: u64, alignment: u64, file_len: u64) -> Result<(), Problem> {
    for tensor in tensors.iter_mut() {
        let TensorInfo { name, offset, n_bytes, .. } = &*tensor;
        if offset % alignment != 0 {
            let problem = Problem::Misaligned { offset: *offset, alignment };
            return Err(problem.at(Place::Tensor(name.clone())));
        }
        let end = data_offset.checked_add(*offset).and_then(|start| start.checked_add(*n_bytes));
        if end.is_none_or(|end| end > file_len) {
            let (tensor, n_bytes, offset) = (name.clone(), *n_bytes, *offset);
            return Err(Problem::PastEnd { tensor, n_bytes, offset, file_len });
        }
        tensor.offset += data_offset;
    }
    let mut by_offset: Vec<&TensorInfo> = tensors.iter().collect();
    by_offset.sort_unstable_by_key(|tensor| tensor.offset);
    for pair in by_offset.windows(2) {
        if let [first, second] = pair
            && first.offset + first.n_bytes > second.offset
        {
            return Err(Problem::Overlap { first: first.name.clone(), second: second.name.clone() });
        }
    }
    let mut names = HashMap::with_capacity(tensors.len());
    for tensor in tensors.iter() {
        if names.insert(tensor.name.as_str(), ()).is_some() {
            return Err(Problem::RepeatedTensor { name: tensor.name.clone() });
        }
    }
    Ok(())
}

/// A place in the bytes, and how much may still be allocated.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Of which `bytes` may be only the first.
    file_len: u64,
    budget: usize,
}

impl<'a> Cursor<'a> {
    /// Bytes of the file after this place.
    fn left(&self) -> usize {
        usize::try_from(self.file_len.saturating_sub(self.at as u64)).unwrap_or(usize::MAX)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Problem> {
        let taken = self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Problem::Truncated { len: self.bytes.len() })?;
        self.at += n;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32, Problem> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Problem> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Problem> {
        self.budget = self.budget.checked_sub(bytes).ok_or(Problem::Memory { limit: MAX_DECODED })?;
        Ok(())
    }

    /// Refuses a count of things of at least `min_bytes` each that cannot all be in the rest of the file.
    fn check_count(&self, what: Counted, count: u64, limit: u64, min_bytes: usize) -> Result<usize, Problem> {
        let left = self.left();
        match usize::try_from(count) {
            Ok(n) if count <= limit && n <= left / min_bytes => Ok(n),
            _ => Err(Problem::Count { what, count, left, limit }),
        }
    }

    fn string(&mut self, max_len: usize) -> Result<String, Problem> {
        let len = self.u64()?;
        let len = self.check_count(Counted::TextBytes, len, max_len as u64, 1)?;
        let offset = self.at;
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| Problem::NotUtf8 { offset })?;
        self.charge(len)?;
        Ok(text.to_owned())
    }

    fn bool(&mut self) -> Result<bool, Problem> {
        match self.array()? {
            [0u8] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Problem::NotBool(other)),
        }
    }

    fn value(&mut self, kind: u32) -> Result<Value, Problem> {
        Ok(match kind {
            id::U8 => Value::U8(u8::from_le_bytes(self.array()?)),
            id::I8 => Value::I8(i8::from_le_bytes(self.array()?)),
            id::U16 => Value::U16(u16::from_le_bytes(self.array()?)),
            id::I16 => Value::I16(i16::from_le_bytes(self.array()?)),
            id::U32 => Value::U32(self.u32()?),
            id::I32 => Value::I32(i32::from_le_bytes(self.array()?)),
            id::F32 => Value::F32(f32::from_le_bytes(self.array()?)),
            id::BOOL => Value::Bool(self.bool()?),
            id::STRING => Value::String(self.string(MAX_STRING)?),
            id::ARRAY => Value::Array(self.list(1)?),
            id::U64 => Value::U64(self.u64()?),
            id::I64 => Value::I64(i64::from_le_bytes(self.array()?)),
            id::F64 => Value::F64(f64::from_le_bytes(self.array()?)),
            other => return Err(Problem::ValueType(other)),
        })
    }

    /// An array: the type of its elements, their number, the elements.
    fn list(&mut self, depth: usize) -> Result<Array, Problem> {
        if depth > MAX_NESTING {
            return Err(Problem::Nesting { limit: MAX_NESTING });
        }
        let kind = self.u32()?;
        let count = self.u64()?;
        Ok(match kind {
            id::U8 => Array::U8(self.numbers(count, u8::from_le_bytes)?),
            id::I8 => Array::I8(self.numbers(count, i8::from_le_bytes)?),
            id::U16 => Array::U16(self.numbers(count, u16::from_le_bytes)?),
            id::I16 => Array::I16(self.numbers(count, i16::from_le_bytes)?),
            id::U32 => Array::U32(self.numbers(count, u32::from_le_bytes)?),
            id::I32 => Array::I32(self.numbers(count, i32::from_le_bytes)?),
            id::F32 => Array::F32(self.numbers(count, f32::from_le_bytes)?),
            id::BOOL => Array::Bool(self.items(count, 1, size_of::<bool>(), Self::bool)?),
            id::STRING => Array::String(self.items(count, 8, size_of::<String>(), |c| c.string(MAX_STRING))?),
            id::ARRAY => Array::Array(self.items(count, 12, size_of::<Array>(), |c| c.list(depth + 1))?),
            id::U64 => Array::U64(self.numbers(count, u64::from_le_bytes)?),
            id::I64 => Array::I64(self.numbers(count, i64::from_le_bytes)?),
            id::F64 => Array::F64(self.numbers(count, f64::from_le_bytes)?),
            other => return Err(Problem::ArrayType(other)),
        })
    }

    fn numbers<T, const N: usize>(
        &mut self,
        count: u64,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Problem> {
        let n = self.check_count(Counted::ArrayElements, count, u64::MAX, N)?;
        self.charge(n * N)?;
        let (chunks, _) = self.take(n * N)?.as_chunks::<N>();
        Ok(chunks.iter().map(|chunk| decode(*chunk)).collect())
    }

    fn items<T>(
        &mut self,
        count: u64,
        min_bytes: usize,
        memory: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let n = self.check_count(Counted::ArrayElements, count, u64::MAX, min_bytes)?;
        self.charge(n.saturating_mul(memory))?;
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(read(self)?);
        }
        Ok(items)
    }
}
