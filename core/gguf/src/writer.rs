//! Writing a GGUF file (version 3), whole or not at all.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::Path;

use nightgraft_files::atomic::AtomicFile;

use super::value::id;
use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, Error, MAGIC, MAX_DIMS, MAX_TENSOR_NAME, Metadata, Place,
    Problem, Produced, TensorType, Value,
};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Keys and tensors that will become a file.
///
/// The tensors' data follow each other without gaps other than the alignment's, as llama.cpp demands.
/// A tensor is given as bytes, or as a function that produces them when its turn comes, so that a file
/// larger than memory can be written.
pub struct Writer<'a> {
    metadata: Metadata,
    tensors: Vec<Pending<'a>>,
    names: HashSet<String>,
}

struct Pending<'a> {
    name: String,
    dims: Vec<u64>,
    kind: TensorType,
    n_bytes: u64,
    data: Data<'a>,
}

enum Data<'a> {
    Bytes(Cow<'a, [u8]>),
    Produced(Producer<'a>),
}

type Producer<'a> = Box<dyn FnOnce(&mut TensorSink<'_>) -> Produced + 'a>;

/// Where the bytes of a file go.
trait Output {
    fn put(&mut self, bytes: &[u8]) -> Result<()>;
    fn name(&self) -> &Path;
}

impl Output for AtomicFile {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.write(bytes)?)
    }

    fn name(&self) -> &Path {
        self.target()
    }
}

/// A file that is open already.
struct OpenFile<'f> {
    file: &'f mut dyn io::Write,
    name: &'f Path,
}

impl Output for OpenFile<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(nightgraft_files::Error::io("write", self.name))?;
        Ok(())
    }

    fn name(&self) -> &Path {
        self.name
    }
}

/// Takes the bytes of one tensor, in order.
pub struct TensorSink<'f> {
    output: &'f mut dyn Output,
    left: u64,
}

impl TensorSink<'_> {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unwritable`] if these are more bytes than the tensor has.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| wrong(self.output.name(), Problem::TooManyBytes))?;
        self.output.put(bytes)
    }
}

impl<'a> Writer<'a> {
    /// A file with these keys and no tensors yet.
    pub fn new(metadata: Metadata) -> Self {
        Self { metadata, tensors: Vec::new(), names: HashSet::new() }
    }

    /// Adds a tensor whose bytes are there. `dims` has the contiguous dimension first.
    ///
    /// # Errors
    /// [`Problem`] if the name is taken or too long, or the bytes are not as many as the shape says.
    pub fn tensor(
        &mut self,
        name: &str,
        dims: &[u64],
        kind: TensorType,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<(), Problem> {
        let bytes = bytes.into();
        let n_bytes = self.check(name, dims, kind)?;
        if bytes.len() as u64 != n_bytes {
            let problem = Problem::Size { given: bytes.len() as u64, expected: n_bytes };
            return Err(problem.at(Place::Tensor(name.to_owned())));
        }
        self.push(name, dims, kind, n_bytes, Data::Bytes(bytes));
        Ok(())
    }

    /// Adds a tensor whose bytes `produce` writes while the file is being made.
    ///
    /// # Errors
    /// [`Problem`] if the name is taken or too long, or the shape does not fit the type.
    pub fn tensor_produced(
        &mut self,
        name: &str,
        dims: &[u64],
        kind: TensorType,
        produce: impl FnOnce(&mut TensorSink<'_>) -> Produced + 'a,
    ) -> Result<(), Problem> {
        let n_bytes = self.check(name, dims, kind)?;
        self.push(name, dims, kind, n_bytes, Data::Produced(Box::new(produce)));
        Ok(())
    }

    /// Makes the file at `path`, replacing one that is there only when everything is written.
    /// Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unwritable`] if a producer gave too few or too many bytes, or the metadata cannot
    /// be written; [`Error::Producer`].
    pub fn write(self, path: &Path) -> Result<u64> {
        self.write_if(path, || Ok(()))
    }

    /// Does what [`write`](Self::write) does, if `is_good` has no objection when everything is written and the file has not its
    /// name yet.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), and that of `is_good` as [`Error::Producer`]: what was at `path` is then still there.
    pub fn write_if(self, path: &Path, is_good: impl FnOnce() -> Produced) -> Result<u64> {
        // Before the scratch file: metadata that cannot be written leaves no trace.
        let header = self.header().map_err(|p| wrong(path, p))?;
        let mut file = AtomicFile::create(path)?;
        let written = self.put(header, &mut file);
        is_good().map_err(Error::of_producer)?;
        let written = written?;
        file.commit()?;
        Ok(written)
    }

    /// Writes into a file that is open already and called `name` in errors. Returns its size in bytes.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_into(self, file: &mut dyn io::Write, name: &Path) -> Result<u64> {
        let header = self.header().map_err(|p| wrong(name, p))?;
        self.put(header, &mut OpenFile { file, name })
    }

    fn put(self, (header, alignment): (Vec<u8>, u64), output: &mut dyn Output) -> Result<u64> {
        output.put(&header)?;
        let mut written = header.len() as u64;
        for tensor in self.tensors {
            let mut sink = TensorSink { output: &mut *output, left: tensor.n_bytes };
            match tensor.data {
                Data::Bytes(bytes) => sink.write(&bytes)?,
                Data::Produced(produce) => produce(&mut sink).map_err(Error::of_producer)?,
            }
            if sink.left != 0 {
                let problem = Problem::TooFewBytes { tensor: tensor.name, missing: sink.left };
                return Err(wrong(output.name(), problem));
            }
            let padding = tensor.n_bytes.next_multiple_of(alignment) - tensor.n_bytes;
            pad(output, padding)?;
            written += tensor.n_bytes + padding;
        }
        Ok(written)
    }

    fn check(&self, name: &str, dims: &[u64], kind: TensorType) -> Result<u64, Problem> {
        let wrong = |problem: Problem| Err(problem.at(Place::Tensor(name.to_owned())));
        if name.is_empty() || name.len() > MAX_TENSOR_NAME {
            return wrong(Problem::Name);
        }
        if self.names.contains(name) {
            return wrong(Problem::NameTaken);
        }
        if dims.is_empty() || dims.len() > MAX_DIMS || dims.contains(&0) {
            return wrong(Problem::Shape);
        }
        match kind.tensor_bytes(dims) {
            Some(n_bytes) if n_bytes <= i64::MAX as u64 => Ok(n_bytes),
            _ => wrong(Problem::UnwritableBlocks { dims: dims.to_owned(), kind }),
        }
    }

    fn push(&mut self, name: &str, dims: &[u64], kind: TensorType, n_bytes: u64, data: Data<'a>) {
        self.names.insert(name.to_owned());
        self.tensors.push(Pending { name: name.to_owned(), dims: dims.to_owned(), kind, n_bytes, data });
    }

    /// Everything before the tensors' bytes, padded, and the alignment.
    fn header(&self) -> Result<(Vec<u8>, u64), Problem> {
        let alignment = match self.metadata.get(ALIGNMENT_KEY) {
            None => DEFAULT_ALIGNMENT,
            // llama.cpp wants exactly this type.
            Some(&Value::U32(n)) if n >= 8 && n.is_power_of_two() && n <= 1 << 20 => n.into(),
            Some(_) => return Err(Problem::UnwritableAlignment),
        };
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in self.metadata.iter() {
            put_string(&mut out, key);
            put_value(&mut out, value);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            put_string(&mut out, &tensor.name);
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.kind.ggml_id().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset = tensor
                .n_bytes
                .checked_next_multiple_of(alignment)
                .and_then(|n| offset.checked_add(n))
                .ok_or(Problem::TooLarge)?;
        }
        out.resize(out.len().next_multiple_of(alignment as usize), 0);
        Ok((out, alignment))
    }
}

fn wrong(path: &Path, problem: Problem) -> Error {
    Error::Unwritable { path: path.to_owned(), problem }
}

fn pad(output: &mut dyn Output, n: u64) -> Result<()> {
    const ZEROS: [u8; 256] = [0; 256];
    let mut left = n as usize;
    while left > 0 {
        let now = left.min(ZEROS.len());
        output.put(&ZEROS[..now])?;
        left -= now;
    }
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

macro_rules! put {
    ($out:ident, $id:expr, $value:expr) => {{
        $out.extend($id.to_le_bytes());
        $out.extend($value.to_le_bytes());
    }};
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => put!(out, id::U8, v),
        Value::I8(v) => put!(out, id::I8, v),
        Value::U16(v) => put!(out, id::U16, v),
        Value::I16(v) => put!(out, id::I16, v),
        Value::U32(v) => put!(out, id::U32, v),
        Value::I32(v) => put!(out, id::I32, v),
        Value::F32(v) => put!(out, id::F32, v),
        Value::Bool(v) => put!(out, id::BOOL, u8::from(*v)),
        Value::U64(v) => put!(out, id::U64, v),
        Value::I64(v) => put!(out, id::I64, v),
        Value::F64(v) => put!(out, id::F64, v),
        Value::String(text) => {
            out.extend(id::STRING.to_le_bytes());
            put_string(out, text);
        }
        Value::Array(array) => {
            out.extend(id::ARRAY.to_le_bytes());
            put_array(out, array);
        }
    }
}

macro_rules! put_all {
    ($out:ident, $list:ident) => {
        $list.iter().for_each(|v| $out.extend(v.to_le_bytes()))
    };
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    let kind = match array {
        Array::U8(_) => id::U8,
        Array::I8(_) => id::I8,
        Array::U16(_) => id::U16,
        Array::I16(_) => id::I16,
        Array::U32(_) => id::U32,
        Array::I32(_) => id::I32,
        Array::F32(_) => id::F32,
        Array::Bool(_) => id::BOOL,
        Array::String(_) => id::STRING,
        Array::Array(_) => id::ARRAY,
        Array::U64(_) => id::U64,
        Array::I64(_) => id::I64,
        Array::F64(_) => id::F64,
    };
    put!(out, kind, array.len() as u64);
    match array {
        Array::U8(list) => out.extend(list),
        Array::I8(list) => put_all!(out, list),
        Array::U16(list) => put_all!(out, list),
        Array::I16(list) => put_all!(out, list),
        Array::U32(list) => put_all!(out, list),
        Array::I32(list) => put_all!(out, list),
        Array::F32(list) => put_all!(out, list),
        Array::Bool(list) => out.extend(list.iter().map(|&v| u8::from(v))),
        Array::String(list) => list.iter().for_each(|text| put_string(out, text)),
        Array::Array(list) => list.iter().for_each(|inner| put_array(out, inner)),
        Array::U64(list) => put_all!(out, list),
        Array::I64(list) => put_all!(out, list),
        Array::F64(list) => put_all!(out, list),
    }
}
