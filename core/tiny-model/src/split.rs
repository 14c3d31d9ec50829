//! Splitting a file into several, as `llama-gguf-split` does.

use std::fs;
use std::path::{Path, PathBuf};

use nightgraft_gguf::{Metadata, SplitPart, Writer, parse};

/// Writes the parts of the model at `path` beside it, each with its share of the tensors; the keys of the model are in the first
/// alone. Returns their paths, `NAME-00001-of-0000N.gguf` and so on.
///
/// # Panics
/// If it is no GGUF with at least so many tensors, or the parts cannot be written: a test has nothing else to do then.
pub fn split(path: &Path, n_parts: usize) -> Vec<PathBuf> {
    let bytes = fs::read(path).expect("the model is there");
    let header = parse(&bytes).expect("it is a GGUF");
    let per_part = header.tensors.len().div_ceil(n_parts);
    let name = path.file_stem().and_then(|stem| stem.to_str()).expect("it has a name");
    let parts = header.tensors.chunks(per_part).enumerate().map(|(index, tensors)| {
        let mut metadata = if index == 0 { header.metadata.clone() } else { Metadata::new() };
        let (number, count) = (index as u64 + 1, n_parts as u64);
        let n_tensors = Some(header.tensors.len() as u64);
        SplitPart { number: Some(number), count, n_tensors }.describe(&mut metadata);
        let mut part = Writer::new(metadata);
        for tensor in tensors {
            part.tensor(&tensor.name, &tensor.dims, tensor.kind, tensor.bytes(&bytes))
                .expect("what was read can be written");
        }
        let path = path.with_file_name(format!("{name}-{number:05}-of-{count:05}.gguf"));
        part.write(&path).expect("there is room for the part");
        path
    });
    let paths: Vec<PathBuf> = parts.collect();
    assert_eq!(paths.len(), n_parts, "each part has a tensor");
    paths
}
