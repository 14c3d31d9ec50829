//! A file with the logits of a data file's supervised tokens, for comparing with other programs.
//!
//! It holds all that another program needs to compute the same: the `ids` i32 `[n_tokens]` of all examples one after
//! the other and the `lengths` i32 `[n_examples]` of these examples in tokens; and of each supervised token, in the
//! order of the data, its id (`targets` i32 `[n]`), the place in `ids` of the token before it (`places` i32 `[n]`) and
//! what the model predicts there (`logits` f32 `[n, n_vocab]`). An example sees nothing of the others.

use std::path::Path;

use nightgraft_files::atomic::AtomicFile;
use nightgraft_text::{Example, data};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::ConfigProblem;
use crate::export::tensor_names;
use crate::transformer::Model;
use crate::{Error, Result};

/// The most bytes of all tensors: some ten thousand rows of a usual vocabulary.
const MAX_BYTES: u64 = 2 << 30;
/// The tensors, in the order of the file.
const NAMES: [&str; 5] = ["ids", "lengths", "places", "targets", "logits"];
/// The bytes of an i32 and of an f32.
const NUMBER_BYTES: usize = 4;
/// The header's length is a multiple of this, as safetensors' own writer has it.
const ALIGNMENT: usize = 8;

/// A file of logits that is not complete yet.
pub(super) struct LogitsFile {
    file: AtomicFile,
}

impl LogitsFile {
    /// Starts the file with everything but the logits.
    ///
    /// # Errors
    /// [`Error::Config`] if it would be larger than 2 GiB; [`Error::Io`].
    pub(super) fn create(path: &Path, examples: &[Example], n_vocab: usize) -> Result<Self> {
        let header = header(examples, n_vocab)?;
        let mut file = AtomicFile::create(path)?;
        file.write(&(header.len() as u64).to_le_bytes())?;
        file.write(&header)?;
        // Everything fits in an i32: ids are rows of an embedding, and there is less than 2 GiB of everything.
        let ids = examples.iter().flat_map(|example| &example.ids);
        append(&mut file, ids.map(|id| id.to_le_bytes()))?;
        append(&mut file, examples.iter().map(|example| (example.len() as i32).to_le_bytes()))?;
        append(&mut file, supervised(examples).map(|(place, _)| (place as i32).to_le_bytes()))?;
        append(&mut file, supervised(examples).map(|(_, target)| target.to_le_bytes()))?;
        Ok(Self { file })
    }

    /// Whether a file is one of logits.
    pub(super) fn is_own(path: &Path) -> bool {
        let names = tensor_names(path);
        names.is_some_and(|names| {
            names.len() == NAMES.len() && NAMES.iter().all(|own| names.iter().any(|name| name == own))
        })
    }

    /// Computes the logits, one example after the other, and completes the file. Calls `on_tokens` with the tokens
    /// of each.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the model's stop flag was raised; [`Error::Io`]; and as [`Model::evaluate`].
    pub(super) fn fill(
        mut self,
        model: &mut Model,
        examples: &[Example],
        mut on_tokens: impl FnMut(u64),
    ) -> Result<()> {
        for (index, example) in examples.iter().enumerate() {
            let batch = data::assemble(examples, &[index]);
            model.supervised_logits(&batch, |rows| {
                append(&mut self.file, rows.iter().map(|value| value.to_le_bytes()))
            })?;
            on_tokens(example.len() as u64);
        }
        Ok(self.file.commit()?)
    }
}

fn append(file: &mut AtomicFile, numbers: impl Iterator<Item = [u8; NUMBER_BYTES]>) -> Result<()> {
    for bytes in numbers {
        file.write(&bytes)?;
    }
    Ok(())
}

/// Each supervised token as a target: the place among all tokens of the one before it, and its id.
fn supervised(examples: &[Example]) -> impl Iterator<Item = (usize, i32)> {
    let targets = examples.iter().flat_map(|example| &example.targets);
    targets.copied().enumerate().filter(|&(_, target)| target != Example::NO_LOSS)
}

/// The JSON in front of the tensors, which stand in this order without gaps.
fn header(examples: &[Example], n_vocab: usize) -> Result<Vec<u8>> {
    let n_tokens: usize = examples.iter().map(Example::len).sum();
    let n: usize = examples.iter().map(Example::n_supervised).sum();
    let numbers = [n_tokens, examples.len(), n, n, n.saturating_mul(n_vocab)];
    let total = numbers.into_iter().fold(0u64, |sum, count| sum.saturating_add(count as u64));
    let total = total.saturating_mul(NUMBER_BYTES as u64);
    if total > MAX_BYTES {
        let problem =
            ConfigProblem::LogitsTooLarge { n_supervised: n, n_vocab, bytes: total, limit: MAX_BYTES };
        return Err(Error::config("--logits", problem));
    }
    let shapes = [vec![n_tokens], vec![examples.len()], vec![n], vec![n], vec![n, n_vocab]];
    let mut end = 0;
    let tensors = NAMES.into_iter().zip(shapes).map(|(name, shape)| {
        let dtype = if name == "logits" { Dtype::F32 } else { Dtype::I32 };
        let start = end;
        end += shape.iter().product::<usize>() * NUMBER_BYTES;
        (name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    let metadata =
        Metadata::new(None, tensors.collect()).expect("each tensor begins where the last one ended");
    let mut json = serde_json::to_vec(&metadata).expect("a map of names to numbers can be written as JSON");
    json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
    Ok(json)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use nightgraft_kernels::WeightType;
    use nightgraft_tiny_model::TinyModel;
    use safetensors::SafeTensors;

    use super::*;
    use crate::config::{DataConfig, Device};
    use crate::session::{DeviceOptions, EvalRequest, StopFlag, evaluate};

    fn numbers<T>(file: &SafeTensors, name: &str, decode: fn([u8; 4]) -> T) -> Vec<T> {
        let tensor = file.tensor(name).unwrap();
        tensor.data().as_chunks().0.iter().map(|bytes| decode(*bytes)).collect()
    }

    #[test]
    fn the_file_has_what_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = (folder.path().join("model.gguf"), folder.path().join("data.jsonl"));
        TinyModel::new(WeightType::Q4_1).write(&model).unwrap();
        let long: Vec<u32> = (0..150).map(|i| i * 7 % 250).collect();
        let lines = [
            r#"{"input_ids": [5, 6, 7, 8], "labels": [-100, 6, -100, 8]}"#.to_owned(),
            serde_json::json!({"input_ids": long, "labels": long}).to_string(),
        ];
        fs::write(&data, lines.join("\n")).unwrap();
        let mut request = EvalRequest {
            model,
            adapter: None,
            data,
            format: None,
            data_config: DataConfig::default(),
            threads: Some(2),
            logits: None,
            device: Device::Cpu,
            devices: DeviceOptions::default(),
        };
        let mut last = (0, 0);
        let report =
            evaluate(&request, &StopFlag::default(), &mut |done, total| last = (done, total)).unwrap();
        assert_eq!(last, (154, 154));
        let path = folder.path().join("logits.safetensors");
        request.logits = Some(path.clone());
        let again =
            evaluate(&request, &StopFlag::default(), &mut |done, total| last = (done, total)).unwrap();
        assert_eq!((&again, last), (&report, (308, 308)), "writing the logits changes no result");

        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let integers = |name| numbers(&file, name, i32::from_le_bytes);
        let (ids, places, targets) = (integers("ids"), integers("places"), integers("targets"));
        assert_eq!(integers("lengths"), [4, 150]);
        assert_eq!(ids[..4], [5, 6, 7, 8]);
        assert!(ids[4..].iter().map(|id| id.cast_unsigned()).eq(long));
        assert_eq!(places[..3], [0, 2, 4], "before each supervised token, in the order of the file");
        assert_eq!(
            (places.len(), *places.last().unwrap()),
            (151, 152),
            "the last token has nothing after it"
        );
        assert!(places.iter().zip(&targets).all(|(&place, &target)| ids[place as usize + 1] == target));

        let shape = file.tensor("logits").unwrap().shape().to_vec();
        assert_eq!(shape[0], 151);
        let logits = numbers(&file, "logits", f32::from_le_bytes);
        let (mut loss, mut correct) = (0.0, 0);
        for (row, &target) in logits.chunks(shape[1]).zip(&targets) {
            let sum: f64 = row.iter().map(|&logit| libm::exp(f64::from(logit))).sum();
            loss += libm::log(sum) - f64::from(row[target as usize]);
            let top = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            correct += u64::from(top as i32 == target);
        }
        assert!((loss / 151.0 - report.loss).abs() < 1e-5, "{} {}", loss / 151.0, report.loss);
        assert_eq!(correct as f64 / 151.0, report.accuracy);
    }

    #[test]
    fn a_file_of_more_than_two_gibibytes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logits.safetensors");
        let example = Example::from_supervision(vec![1; 1025], &[true; 1025]);
        // 1024 rows of 2¹⁹ numbers alone are the limit; the other tensors come on top.
        let refused = |n_vocab| LogitsFile::create(&path, std::slice::from_ref(&example), n_vocab).err();
        assert!(refused((1 << 19) - 16).is_none());
        for n_vocab in [1 << 19, usize::MAX] {
            let error = refused(n_vocab).unwrap();
            let Error::Config { option: "--logits", problem } = &error else { unreachable!("{error}") };
            let is_named = matches!(*problem, ConfigProblem::LogitsTooLarge { n_supervised: 1024, n_vocab: named, .. } if named == n_vocab);
            assert!(is_named, "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
