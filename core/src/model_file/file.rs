//! A mapped GGUF file, or the several of a split model.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use nightgraft_gguf::{Fingerprint, Metadata, TensorInfo};

use super::parts::{self, Part};
use crate::error::{GgufProblem, SplitProblem};
use crate::{Error, Result};

/// A model's file whose header was parsed and checked; its tensors stay in the mapping. Cloning is cheap
/// in everything but the metadata, which is shared too.
///
/// A model can be split into several files. Places in it count through all of them, as if one stood behind the other.
#[derive(Clone, Debug)]
pub struct ModelFile {
    parts: Arc<[Part]>,
    metadata: Arc<Metadata>,
    tensors: Arc<[TensorInfo]>,
    by_name: Arc<HashMap<String, usize>>,
}

impl ModelFile {
    /// Maps and validates the file at `path`, and the others of its model if it is a part of one.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be mapped, [`Error::Gguf`] if one is not well formed, or is missing or of another model,
    /// [`Error::ModelChanged`] if one changes meanwhile.
    pub fn open(path: &Path) -> Result<Self> {
        let (parts, headers) = parts::open(path)?;
        let mut headers = headers.into_iter();
        let first = headers.next().expect("a model has a file");
        let mut tensors = first.tensors;
        for (part, header) in parts.iter().skip(1).zip(headers) {
            tensors.extend(header.tensors.into_iter().map(|tensor| TensorInfo {
                offset: tensor.offset.saturating_add(part.start as u64),
                ..tensor
            }));
        }
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (index, tensor) in tensors.iter().enumerate() {
            if by_name.insert(tensor.name.clone(), index).is_some() {
                let problem = SplitProblem::RepeatedTensor { tensor: tensor.name.clone() };
                return Err(Error::Gguf { path: path.to_owned(), problem: GgufProblem::Split(problem) });
            }
        }
        Ok(Self {
            parts: parts.into(),
            metadata: Arc::new(first.metadata),
            tensors: tensors.into(),
            by_name: Arc::new(by_name),
        })
    }

    /// Drops the arrays of the metadata. The vocabulary, which is among them, is most of what a header takes in memory.
    pub fn drop_arrays(mut self) -> Self {
        let mut metadata = Arc::unwrap_or_clone(self.metadata);
        metadata.remove_arrays();
        self.metadata = Arc::new(metadata);
        self
    }

    /// Where the file is, or the first of several.
    pub fn path(&self) -> &Path {
        self.parts[0].mapping.path()
    }

    /// The mapped files, in their order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Bytes of all files.
    pub fn n_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.mapping.len() as u64).sum()
    }

    /// The keys and values of the model.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).and_then(|&index| self.tensors.get(index))
    }

    /// The bytes of one of this file's tensors; empty for one that lies outside of this file.
    pub fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        let (start, len) = (usize::try_from(tensor.offset), usize::try_from(tensor.n_bytes));
        let end = start.ok().zip(len.ok()).and_then(|(start, len)| Some((start, start.checked_add(len)?)));
        end.and_then(|(start, end)| self.bytes_at(start..end)).unwrap_or_default()
    }

    /// The bytes at a place; none if they are not all in one file.
    pub fn bytes_at(&self, place: Range<usize>) -> Option<&[u8]> {
        let (part, place) = self.in_part(place)?;
        part.mapping.get(place)
    }

    /// Gives back the memory of the pages under some bytes, as [`MappedFile::release`](nightgraft_ggml::MappedFile::release) does.
    pub fn release(&self, place: Range<usize>) {
        if let Some((part, place)) = self.in_part(place) {
            part.mapping.release(place);
        }
    }

    /// Whether all are still the files that were opened. What was computed from them counts only if they are, afterwards.
    ///
    /// # Errors
    /// [`Error::ModelChanged`].
    pub fn check(&self) -> Result<()> {
        for part in self.parts.iter() {
            part.mapping.check()?;
        }
        Ok(())
    }

    /// Which model this is; reads the header and 256 KiB of the tensors of each file.
    ///
    /// # Errors
    /// None at present.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        let of_parts = self.parts.iter().map(|part| Fingerprint::of(&part.mapping, part.data_offset));
        Ok(Fingerprint::of_parts(&of_parts.collect::<Vec<_>>()))
    }

    /// The file that a place begins in, and the place in that.
    fn in_part(&self, place: Range<usize>) -> Option<(&Part, Range<usize>)> {
        let index = self.parts.partition_point(|part| part.start <= place.start).checked_sub(1)?;
        let part = self.parts.get(index)?;
        Some((part, place.start - part.start..place.end.checked_sub(part.start)?))
    }
}
