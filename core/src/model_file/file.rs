//! A mapped GGUF file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use nightgraft_ggml::MappedFile;
use nightgraft_gguf::{Fingerprint, GgufHeader, Metadata, TensorInfo, parse};

use crate::error::GgufProblem;
use crate::{Error, Result};

/// A GGUF file whose header was parsed and checked; its tensors stay in the mapping. Cloning is cheap
/// in everything but the metadata, which is shared too.
#[derive(Clone, Debug)]
pub struct ModelFile {
    mapping: Arc<MappedFile>,
    header: Arc<GgufHeader>,
    by_name: Arc<HashMap<String, usize>>,
}

impl ModelFile {
    /// Maps and validates the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be mapped, [`Error::Gguf`] if it is not well formed, or a part of a split model,
    /// [`Error::ModelChanged`] if it changes meanwhile.
    pub fn open(path: &Path) -> Result<Self> {
        let mapping = MappedFile::open(path)?;
        let unusable = |problem: GgufProblem| Error::Gguf { path: path.to_owned(), problem };
        let header = parse(&mapping);
        mapping.check()?;
        let header = header.map_err(|problem| unusable(problem.into()))?;
        if let Some(part) = part(&header.metadata) {
            return Err(unusable(part));
        }
        let by_name = header.tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i)).collect();
        Ok(Self { mapping: Arc::new(mapping), header: Arc::new(header), by_name: Arc::new(by_name) })
    }

    /// Drops the arrays of the metadata. The vocabulary, which is among them, is most of what a header takes in memory.
    pub fn drop_arrays(mut self) -> Self {
        let mut header = Arc::unwrap_or_clone(self.header);
        header.metadata.remove_arrays();
        self.header = Arc::new(header);
        self
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.mapping.path()
    }

    /// The keys and values.
    pub fn metadata(&self) -> &Metadata {
        &self.header.metadata
    }

    /// The tensors in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).and_then(|&index| self.header.tensors.get(index))
    }

    /// The bytes of one of this file's tensors; empty for one that lies outside of this file.
    pub fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        tensor.bytes(&self.mapping)
    }

    /// Whether it is still the file that was opened. What was computed from it counts only if it is, afterwards.
    ///
    /// # Errors
    /// [`Error::ModelChanged`].
    pub fn check(&self) -> Result<()> {
        Ok(self.mapping.check()?)
    }

    /// The mapping under the tensors.
    pub fn mapping(&self) -> &Arc<MappedFile> {
        &self.mapping
    }

    /// Which file this is; reads the header and 256 KiB of the tensors.
    ///
    /// # Errors
    /// None at present.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        Ok(Fingerprint::of(&self.mapping, self.header.data_offset))
    }
}

/// Which part of a split model a file is; none for a whole model. The keys are those that
/// `llama-gguf-split` of llama.cpp writes: `split.no` counts from 0.
fn part(metadata: &Metadata) -> Option<GgufProblem> {
    let count = metadata.u64("split.count").filter(|&count| count > 1)?;
    let number = metadata.u64("split.no").filter(|&number| number < count).map(|number| number + 1);
    Some(GgufProblem::Part { number, count })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use nightgraft_gguf::Value;

    use super::*;

    #[test]
    fn a_part_of_a_split_model_is_told_with_the_remedy() {
        let of = |entries: &[(&str, Value)]| {
            let mut metadata = Metadata::new();
            for (key, value) in entries {
                metadata.insert(*key, value.clone());
            }
            part(&metadata)
        };
        let remedy = "of a split model; join the parts with llama-gguf-split --merge";
        let (no, count) = ("split.no", "split.count");
        for (entries, number, of_count, words) in [
            (&[(no, Value::U16(0)), (count, Value::U16(2))][..], Some(1), 2, "part 1 of 2"),
            (&[(no, Value::U16(9)), (count, Value::U16(2))], None, 2, "a part of 2"),
            (&[(count, Value::I32(3))], None, 3, "a part of 3"),
        ] {
            let part = of(entries).unwrap();
            assert_eq!(part, GgufProblem::Part { number, count: of_count });
            assert_eq!(part.to_string(), format!("{words} {remedy}"));
        }
        // What is split into one file is whole.
        for whole in
            [of(&[]), of(&[(count, Value::U16(0))]), of(&[(no, Value::U16(0)), (count, Value::U16(1))])]
        {
            assert_eq!(whole, None);
        }
    }
}
