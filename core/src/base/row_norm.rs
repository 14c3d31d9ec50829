//! How large a model's weights are.

use std::ops::Range;

use nightgraft_adapter::Module;

use super::Base;
use crate::Result;

/// Rows of a matrix that are looked at, spread over it.
const ROWS: usize = 8;

impl Base {
    /// The typical Euclidean norm of a row of the matrices of these modules in these layers: the median over the matrices of the
    /// root mean square over some of their rows. 0 where there are none.
    ///
    /// # Errors
    /// [`ModelChanged`](crate::Error::ModelChanged) if the rows are not those of the file that was opened.
    pub fn row_norm(&self, modules: &[Module], layers: Range<usize>) -> Result<f64> {
        let mut norms = Vec::new();
        for layer in self.layers.get(layers).unwrap_or_default() {
            for weight in modules.iter().filter_map(|&module| layer.module(module)) {
                let weights = self.weights(weight)?;
                let mut row = vec![0.0; weight.n_cols];
                let rows = weight.n_rows.min(ROWS);
                let mut squares = 0.0;
                for i in 0..rows {
                    weights.dequantize_row(i * weight.n_rows / rows, &mut row);
                    squares += row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
                }
                norms.push((squares / rows.max(1) as f64).sqrt());
            }
        }
        self.file().check()?;
        norms.sort_by(f64::total_cmp);
        Ok(norms.get(norms.len() / 2).copied().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use nightgraft_kernels::WeightType;
    use nightgraft_tiny_model::TinyModel;

    use super::*;
    use crate::model_file::ModelFile;

    /// A tiny model, and the folder of its file.
    fn base(kind: WeightType) -> (tempfile::TempDir, Base) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        TinyModel::new(kind).write(&path).unwrap();
        (folder, Base::open(ModelFile::open(&path).unwrap()).unwrap())
    }

    /// Against the rows themselves, which the reference in the tests of the formats has read right.
    #[test]
    fn it_is_the_median_over_the_matrices() {
        let (_folder, base) = base(WeightType::F32);
        let norm = |layer: usize, module| {
            let weight = base.layers[layer].module(module).unwrap();
            let values = base.weight_bytes(weight).chunks_exact(4);
            let values: Vec<f64> =
                values.map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect();
            let squares = (0..ROWS).map(|i| i * weight.n_rows / ROWS * weight.n_cols);
            let squares = squares.map(|at| values[at..at + weight.n_cols].iter().map(|v| v * v).sum::<f64>());
            (squares.sum::<f64>() / ROWS as f64).sqrt()
        };
        let three = [Module::AttnQ, Module::AttnOutput, Module::FfnDown];
        let mut norms = three.map(|module| norm(1, module));
        norms.sort_by(f64::total_cmp);
        assert!((base.row_norm(&three, 1..2).unwrap() - norms[1]).abs() < 1e-9 * norms[1]);
        assert_eq!(base.row_norm(&three, 5..9).unwrap(), 0.0, "no such layers");
        assert_eq!(base.row_norm(&[], 0..2).unwrap(), 0.0);
    }

    #[test]
    fn rows_that_are_gone_have_no_norm() {
        let (_folder, base) = base(WeightType::Q8_0);
        let file = std::fs::OpenOptions::new().write(true).open(base.file().path()).unwrap();
        file.set_len(file.metadata().unwrap().len() / 3).unwrap();
        let error = base.row_norm(&Module::ALL, 0..2).unwrap_err();
        assert!(matches!(error, crate::Error::ModelChanged { .. }), "{error}");
    }

    #[test]
    fn a_format_of_few_bits_has_nearly_the_same() {
        let norms = [WeightType::F32, WeightType::Q8_0, WeightType::Q4_K]
            .map(base)
            .map(|(_folder, base)| base.row_norm(&Module::ALL, 0..2).unwrap());
        assert!(norms.iter().all(|norm| (0.5..2.0).contains(&(norm / norms[0]))), "{norms:?}");
    }
}
