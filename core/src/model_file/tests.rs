//! Models in several files.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use nightgraft_gguf::{Metadata, Problem, SplitPart, Writer, parse};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::{TinyModel, split};

use super::ModelFile;
use crate::Error;
use crate::base::Base;
use crate::error::{GgufProblem, SplitProblem};

/// A model, whole and in three parts.
struct Split {
    _folder: tempfile::TempDir,
    whole: PathBuf,
    parts: Vec<PathBuf>,
}

impl Split {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join(name);
        let model = TinyModel {
            mixed: vec![WeightType::Q4_K, WeightType::MXFP4],
            ..TinyModel::new(WeightType::Q8_0)
        };
        model.write(&whole).unwrap();
        let parts = split(&whole, 3);
        Self { _folder: folder, whole, parts }
    }
}

/// Why a file cannot be opened: its path, and what is wrong.
fn problem(path: &Path) -> (PathBuf, GgufProblem) {
    match ModelFile::open(path).unwrap_err() {
        Error::Gguf { path, problem } => (path, problem),
        other => panic!("{other}"),
    }
}

#[test]
fn any_part_opens_all_of_the_model() {
    let Split { whole, parts, .. } = &Split::new("m-q8_0.gguf");
    let expected = Base::open(ModelFile::open(whole).unwrap()).unwrap();
    let mut fingerprints = Vec::new();
    for path in parts {
        let file = ModelFile::open(path).unwrap();
        assert_eq!(file.path(), parts[0]);
        assert_eq!(file.metadata(), expected.file().metadata(), "keys about the split are gone");
        assert_eq!(file.n_bytes(), parts.iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>());
        assert_eq!(file.tensors().len(), expected.file().tensors().len());
        for (tensor, other) in file.tensors().iter().zip(expected.file().tensors()) {
            assert_eq!((&tensor.name, &tensor.dims, tensor.kind), (&other.name, &other.dims, other.kind));
            assert!(!file.bytes(tensor).is_empty());
            assert!(file.bytes(tensor) == expected.file().bytes(other), "{}", tensor.name);
        }
        // A place that begins in one file and ends in another is none.
        let last =
            file.tensors().iter().rev().find(|tensor| tensor.offset < file.parts()[1].start as u64).unwrap();
        let start = last.offset as usize;
        assert_eq!(file.bytes_at(start..file.parts()[1].start + 1), None);
        file.release(start..file.parts()[1].start + 1);
        fingerprints.push(file.fingerprint().unwrap());
        let base = Base::open(file).unwrap();
        assert_eq!(base.spec, expected.spec);
    }
    assert!(fingerprints.iter().all(|fingerprint| *fingerprint == fingerprints[0]));
    assert_ne!(fingerprints[0], *expected.fingerprint(), "their headers are not that of the whole file");
}

#[test]
fn a_missing_part_is_named() {
    let Split { parts, .. } = &Split::new("m.gguf");
    fs::remove_file(&parts[1]).unwrap();
    for path in [&parts[0], &parts[2]] {
        let missing = SplitProblem::Missing { number: 2, count: 3, file: "m-00002-of-00003.gguf".into() };
        assert_eq!(problem(path), (path.clone(), missing.into()));
    }
}

#[test]
fn a_part_of_another_name_says_how_it_must_be_named() {
    let Split { whole, parts, .. } = &Split::new("m.gguf");
    let other = whole.with_file_name("other.gguf");
    for (path, number) in [(&parts[0], 1), (&parts[2], 3)] {
        fs::copy(path, &other).unwrap();
        assert_eq!(problem(&other), (other.clone(), SplitProblem::Name { number, count: 3 }.into()));
    }
}

#[test]
fn a_file_that_is_no_part_of_the_model_is_told() {
    let Split { whole, parts, .. } = &Split::new("m.gguf");
    let other = |said| SplitProblem::OtherPart { number: 2, count: 3, said };
    let kept = fs::read(&parts[1]).unwrap();
    fs::copy(whole, &parts[1]).unwrap();
    assert_eq!(problem(&parts[0]), (parts[1].clone(), other(None).into()));
    fs::copy(&parts[2], &parts[1]).unwrap();
    let (path, found) = problem(&parts[0]);
    assert_eq!(path, parts[1]);
    let said = SplitPart { number: Some(3), count: 3, n_tensors: Some(21) };
    assert!(
        matches!(&found, GgufProblem::Split(SplitProblem::OtherPart { said: Some(part), .. })
        if (part.number, part.count) == (said.number, said.count)),
        "{found}"
    );

    // A part of a model with more layers: its share is another.
    let larger = TinyModel { n_layer: 3, ..TinyModel::new(WeightType::Q8_0) };
    let path = whole.with_file_name("larger.gguf");
    larger.write(&path).unwrap();
    fs::copy(&split(&path, 3)[1], &parts[1]).unwrap();
    let (_, found) = problem(&parts[0]);
    let is_told = matches!(
        found,
        GgufProblem::Split(SplitProblem::TensorCount { .. } | SplitProblem::RepeatedTensor { .. })
    );
    assert!(is_told, "{found}");

    // A part that has a tensor of another one in place of its own.
    fs::write(&parts[1], kept).unwrap();
    repeat_a_tensor(&parts[0], &parts[1]);
    let (path, found) = problem(&parts[2]);
    assert_eq!(path, parts[2]);
    assert!(matches!(found, GgufProblem::Split(SplitProblem::RepeatedTensor { .. })), "{found}");
}

/// Writes the second part anew, with the name of a tensor of the first.
fn repeat_a_tensor(first: &Path, second: &Path) {
    let (first, bytes) = (fs::read(first).unwrap(), fs::read(second).unwrap());
    let (first, header) = (parse(&first).unwrap(), parse(&bytes).unwrap());
    let mut writer = Writer::new(header.metadata.clone());
    for (index, tensor) in header.tensors.iter().enumerate() {
        let name = if index == 0 { &first.tensors[0].name } else { &tensor.name };
        writer.tensor(name, &tensor.dims, tensor.kind, tensor.bytes(&bytes)).unwrap();
    }
    writer.write(second).unwrap();
}

#[test]
fn a_damaged_part_is_named() {
    let Split { parts, .. } = &Split::new("m.gguf");
    let bytes = fs::read(&parts[1]).unwrap();
    fs::write(&parts[1], &bytes[..bytes.len() / 2]).unwrap();
    for path in [&parts[0], &parts[1]] {
        let (path, found) = problem(path);
        assert_eq!(path, parts[1]);
        assert!(matches!(found, GgufProblem::Format(Problem::PastEnd { .. })), "{found}");
    }
    fs::write(&parts[1], b"").unwrap();
    let error = ModelFile::open(&parts[0]).unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.path == parts[1]), "{error}");
}

#[test]
fn a_part_without_a_number_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m-00001-of-00002.gguf");
    let mut metadata = Metadata::new();
    metadata.insert("split.count", nightgraft_gguf::Value::U16(2));
    Writer::new(metadata).write(&path).unwrap();
    assert_eq!(problem(&path), (path.clone(), SplitProblem::NoNumber { count: 2 }.into()));
}
