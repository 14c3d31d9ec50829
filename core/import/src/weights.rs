//! The safetensors files of a folder: where each tensor is, and its rows as single-precision numbers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::json::open;
use crate::plan::{Content, Plan};
use crate::{Error, Result, WeightsProblem};

/// The longest header that the safetensors crate writes.
const MAX_HEADER: u64 = 100_000_000;
/// Prefixes of what models of text and images hold besides their text part.
const OTHER_PARTS: [&str; 4] =
    ["vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."];

/// Tensors by the names that a model of text alone would give them.
#[derive(Debug)]
pub(crate) struct Weights {
    folder: PathBuf,
    tensors: HashMap<String, StoredTensor>,
}

/// Where a tensor is.
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor {
    path: PathBuf,
    /// As it stands in the file.
    name: String,
    element: Element,
    shape: Vec<u64>,
    /// Of its first byte in the file.
    offset: u64,
}

/// The types that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    F32,
    F16,
    BF16,
    F64,
}

impl Weights {
    /// Reads the headers of `files`. With `is_part` only the text part of them counts.
    pub fn open(folder: &Path, files: &[String], is_part: bool) -> Result<Self> {
        let mut weights = Self { folder: folder.to_owned(), tensors: HashMap::new() };
        for name in files {
            weights.add(folder, name, is_part)?;
        }
        Ok(weights)
    }

    /// Makes sure that all tensors of a plan are there in their shapes, and no others. The head may be there twice.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        let wrong = |path: &Path, problem| Err(Error::Weights { path: path.to_owned(), problem });
        let mut extra: Vec<&String> = self.tensors.keys().filter(|name| !is_buffer(name)).collect();
        for planned in &plan.tensors {
            let Content::Stored { tensor, shape, .. } = &planned.content else { continue };
            extra.retain(|name| *name != tensor);
            let Some(stored) = self.tensors.get(tensor) else {
                return wrong(&self.folder, WeightsProblem::MissingTensor { tensor: tensor.clone() });
            };
            if stored.shape != *shape {
                let (tensor, found) = (stored.name.clone(), stored.shape.clone());
                return wrong(&stored.path, WeightsProblem::Shape { tensor, found, expected: shape.clone() });
            }
        }
        let is_tied = !plan.tensors.iter().any(|tensor| tensor.name == "output.weight");
        extra.retain(|name| !(is_tied && *name == "lm_head.weight"));
        if extra.is_empty() {
            return Ok(());
        }
        let mut tensors: Vec<String> =
            extra.into_iter().map(|name| self.tensors[name].name.clone()).collect();
        tensors.sort();
        wrong(&self.folder, WeightsProblem::ExtraTensors { architecture: plan.architecture, tensors })
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`WeightsProblem::MissingTensor`], which [`check`](Self::check) rules out.
    pub fn tensor(&self, name: &str) -> Result<&StoredTensor> {
        self.tensors.get(name).ok_or_else(|| Error::Weights {
            path: self.folder.clone(),
            problem: WeightsProblem::MissingTensor { tensor: name.to_owned() },
        })
    }

    fn add(&mut self, folder: &Path, file_name: &str, is_part: bool) -> Result<()> {
        let path = folder.join(file_name);
        let wrong = |problem| Error::Weights { path: path.clone(), problem };
        let (start, header) = read_header(folder, file_name, &path)?;
        for name in header.offset_keys() {
            let Some(info) = header.info(&name) else { continue };
            let Some(key) = text_name(&name, is_part) else { continue };
            let element = match info.dtype {
                Dtype::F32 => Element::F32,
                Dtype::F16 => Element::F16,
                Dtype::BF16 => Element::BF16,
                Dtype::F64 => Element::F64,
                _ if is_buffer(&key) => continue,
                other => {
                    return Err(wrong(WeightsProblem::Dtype { tensor: name, dtype: other.to_string() }));
                }
            };
            let tensor = StoredTensor {
                path: path.clone(),
                name: name.clone(),
                element,
                shape: info.shape.iter().map(|&dim| dim as u64).collect(),
                offset: start + info.data_offsets.0 as u64,
            };
            if self.tensors.insert(key, tensor).is_some() {
                return Err(wrong(WeightsProblem::RepeatedTensor { tensor: name }));
            }
        }
        Ok(())
    }
}

impl StoredTensor {
    /// As it stands in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that it is in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file, for [`Rows::read`].
    pub fn rows(&self) -> Result<Rows> {
        let file = File::open(&self.path).map_err(nightgraft_files::Error::io("open", &self.path))?;
        let n_cols = match self.shape.as_slice() {
            [_, n_cols] => *n_cols,
            // A vector's values are rows of one.
            _ => 1,
        };
        Ok(Rows { tensor: self.clone(), file, n_cols, bytes: Vec::new() })
    }
}

/// An open tensor.
#[derive(Debug)]
pub(crate) struct Rows {
    tensor: StoredTensor,
    file: File,
    n_cols: u64,
    bytes: Vec<u8>,
}

impl Rows {
    /// Reads the rows `first ..` into `values`, which they fill.
    pub fn read(&mut self, first: u64, values: &mut [f32]) -> Result<()> {
        let width = self.tensor.element.bytes();
        let io = |action: &'static str| nightgraft_files::Error::io(action, &self.tensor.path);
        let offset = self.tensor.offset + first * self.n_cols * width as u64;
        self.file.seek(SeekFrom::Start(offset)).map_err(io("read"))?;
        self.bytes.resize(values.len() * width, 0);
        self.file.read_exact(&mut self.bytes).map_err(io("read"))?;
        self.tensor.element.convert(&self.bytes, values);
        Ok(())
    }
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn convert(self, bytes: &[u8], values: &mut [f32]) {
        fn each<const N: usize>(bytes: &[u8], values: &mut [f32], number: impl Fn([u8; N]) -> f32) {
            let (chunks, _) = bytes.as_chunks::<N>();
            values.iter_mut().zip(chunks).for_each(|(value, chunk)| *value = number(*chunk));
        }
        match self {
            Self::F32 => each(bytes, values, f32::from_le_bytes),
            Self::F16 => each(bytes, values, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Self::BF16 => each(bytes, values, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Self::F64 => each(bytes, values, |bytes| f64::from_le_bytes(bytes) as f32),
        }
    }
}

/// The header of a file, and where the values begin.
fn read_header(folder: &Path, name: &str, path: &Path) -> Result<(u64, Metadata)> {
    let wrong = |problem| Error::Weights { path: path.to_owned(), problem };
    let io = |action| nightgraft_files::Error::io(action, path);
    let missing = || Error::Missing { folder: folder.to_owned(), name: name.to_owned() };
    let mut file = open(path)?.ok_or_else(missing)?;
    let found = file.metadata().map_err(io("open"))?.len();
    let mut length = [0; 8];
    if found < 8 {
        return Err(wrong(WeightsProblem::Truncated { found, expected: 8 }));
    }
    file.read_exact(&mut length).map_err(io("read"))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(wrong(WeightsProblem::Header(format!("its header would have {length} bytes"))));
    }
    let start = 8 + length;
    if found < start {
        return Err(wrong(WeightsProblem::Truncated { found, expected: start }));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(io("read"))?;
    // Shapes, sizes and places are checked there: all of the file is tensors, one after the other.
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| {
        let error = error.to_string();
        // Where in the header means nothing to a reader: it is one line.
        let words = error.split(" at line ").next().unwrap_or(&error);
        wrong(WeightsProblem::Header(words.to_owned()))
    })?;
    let expected = start.saturating_add(header.data_len() as u64);
    match found {
        _ if found < expected => Err(wrong(WeightsProblem::Truncated { found, expected })),
        _ if found > expected => Err(wrong(WeightsProblem::TooLong { found, expected })),
        _ => Ok((start, header)),
    }
}

/// The name that a model of text alone has for a tensor; none for one of another part.
fn text_name(name: &str, is_part: bool) -> Option<String> {
    if !is_part {
        return Some(name.to_owned());
    }
    if OTHER_PARTS.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    for (prefix, text) in
        [("language_model.model.", "model."), ("model.language_model.", "model."), ("language_model.", "")]
    {
        if let Some(rest) = name.strip_prefix(prefix) {
            return Some(format!("{text}{rest}"));
        }
    }
    Some(name.to_owned())
}

/// What early versions saved and no version reads: it follows from the configuration.
fn is_buffer(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".self_attn.bias")
}
