//! A fresh adapter.

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraSpec, Module};
use nightgraft_random::Random;

use crate::base::Base;

/// An adapter that changes nothing yet: `A` uniform in ±1/√n_in (Kaiming with a = √5, what PEFT does), `B`
/// zero. Each tensor has a random stream of its own, so that adapting one layer more or less does not change
/// how the others start. A layer without one of the modules gets no pair for it.
pub fn initialize(spec: &LoraSpec, base: &Base, seed: u64) -> AdapterTensors {
    let mut pairs = std::collections::BTreeMap::new();
    for layer in spec.layers.clone() {
        for &module in &spec.modules {
            let Some(weight) = base.layers[layer].module(module) else { continue };
            let mut random = Random::stream(seed, stream(layer, module));
            let bound = 1.0 / (weight.n_cols as f32).sqrt();
            let a = (0..spec.rank * weight.n_cols).map(|_| random.between(-bound, bound)).collect();
            let b_t = vec![0.0; spec.rank * weight.n_rows];
            let pair = LoraPair { rank: spec.rank, n_in: weight.n_cols, n_out: weight.n_rows, a, b_t };
            pairs.insert((layer, module), pair);
        }
    }
    AdapterTensors { spec: spec.clone(), pairs }
}

/// The number of a module's random stream. A matrix in which others are fused takes the first one's.
fn stream(layer: usize, module: Module) -> u64 {
    let place = Module::APART.iter().position(|&apart| apart == module).unwrap_or(0);
    (layer * Module::APART.len() + place) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_kernels::WeightType;
    use nightgraft_tiny_model::TinyModel;

    use super::*;
    use crate::model_file::ModelFile;

    /// The hash of the start is part of a run's identity: runs that were begun before must find it again.
    #[test]
    fn the_start_is_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        TinyModel::new(WeightType::Q4_0).write(&path).unwrap();
        let base = Base::open(ModelFile::open(&path).unwrap()).unwrap();
        let modules = vec![Module::AttnQ, Module::AttnV];
        let spec = LoraSpec { rank: 2, alpha: 4.0, modules, layers: 1..2, dropout: 0.0 };
        let start = initialize(&spec, &base, 42);
        let first = |module| start.pairs[&(1, module)].a[..3].to_vec();
        assert_eq!(first(Module::AttnQ), [-0.036_258_414, -0.046_436_697, -0.008_919_701]);
        assert_eq!(first(Module::AttnV), [-0.000_516_310_33, 0.035_638_735, -0.021_109_983]);
        assert!(start.pairs[&(1, Module::AttnQ)].b_t.iter().all(|&value| value == 0.0));
    }
}
