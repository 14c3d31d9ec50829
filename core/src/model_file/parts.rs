//! Finding and opening the files of a split model.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightgraft_ggml::MappedFile;
use nightgraft_gguf::{GgufHeader, SplitName, SplitPart, parse};

use crate::error::{GgufProblem, SplitProblem};
use crate::{Error, Result};

/// One of the files of a model.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file, mapped.
    pub mapping: Arc<MappedFile>,
    /// The bytes of the files before it.
    pub start: usize,
    /// Where its tensors' bytes start, from its own start.
    pub data_offset: u64,
}

/// Opens a model's files, given any of them. Returns them and their headers in order; keys about the split are taken out of the
/// first header.
///
/// # Errors
/// They are those of [`ModelFile::open`](super::ModelFile::open).
pub(super) fn open(path: &Path) -> Result<(Vec<Part>, Vec<GgufHeader>)> {
    let given = open_one(path)?;
    let mut files = match SplitPart::of(&given.1.metadata) {
        None => vec![given],
        Some(part) => open_all(path, part, given)?,
    };
    if let Some((_, header)) = files.first_mut() {
        SplitPart::remove_keys(&mut header.metadata);
    }
    let mut start = 0;
    let (mut parts, mut headers) = (Vec::with_capacity(files.len()), Vec::with_capacity(files.len()));
    for (mapping, header) in files {
        let len = mapping.len();
        parts.push(Part { mapping: Arc::new(mapping), start, data_offset: header.data_offset });
        headers.push(header);
        // So many bytes are mapped at once: they can be counted.
        start += len;
    }
    Ok((parts, headers))
}

/// The paths of a model's `count` files, given that of any of them; one path where there is one file, or no such name.
pub(super) fn paths(path: &Path, count: usize) -> Vec<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(SplitName::parse);
    match name.filter(|name| name.count == count as u64) {
        None => vec![path.to_owned()],
        Some(name) => (1..=name.count).map(|number| path.with_file_name(name.with_number(number))).collect(),
    }
}

fn open_one(path: &Path) -> Result<(MappedFile, GgufHeader)> {
    let mapping = MappedFile::open(path)?;
    let header = parse(&mapping);
    mapping.check()?;
    match header {
        Ok(header) => Ok((mapping, header)),
        Err(problem) => Err(Error::Gguf { path: path.to_owned(), problem: problem.into() }),
    }
}

/// Opens the other parts of a model, of which one is open.
fn open_all(
    path: &Path,
    SplitPart { number, count, .. }: SplitPart,
    given: (MappedFile, GgufHeader),
) -> Result<Vec<(MappedFile, GgufHeader)>> {
    let fail = |path: &Path, problem| {
        let problem = GgufProblem::Split(problem);
        Err(Error::Gguf { path: path.to_owned(), problem })
    };
    let Some(given_number) = number else { return fail(path, SplitProblem::NoNumber { count }) };
    let name = path.file_name().and_then(|name| name.to_str()).and_then(SplitName::parse);
    let Some(name) = name.filter(|name| (name.number, name.count) == (given_number, count)) else {
        return fail(path, SplitProblem::Name { number: given_number, count });
    };
    let mut given = Some(given);
    let mut files: Vec<(MappedFile, GgufHeader)> = Vec::new();
    for number in 1..=count {
        let file = name.with_number(number);
        let path_of_part = path.with_file_name(&file);
        let opened = match given.take_if(|_| number == given_number) {
            Some(given) => given,
            None => match open_one(&path_of_part) {
                Err(Error::Io(error)) if error.source.kind() == ErrorKind::NotFound => {
                    return fail(path, SplitProblem::Missing { number, count, file });
                }
                opened => opened?,
            },
        };
        let said = SplitPart::of(&opened.1.metadata);
        if said.map(|said| (said.number, said.count)) != Some((Some(number), count)) {
            return fail(&path_of_part, SplitProblem::OtherPart { number, count, said });
        }
        files.push(opened);
    }
    let n_tensors = files.iter().map(|(_, header)| header.tensors.len() as u64).sum::<u64>();
    for (number, (file, header)) in (1..).zip(&files) {
        let expected = SplitPart::of(&header.metadata).and_then(|part| part.n_tensors);
        if let Some(expected) = expected.filter(|&expected| expected != n_tensors) {
            return fail(file.path(), SplitProblem::TensorCount { number, expected, found: n_tensors });
        }
    }
    Ok(files)
}
