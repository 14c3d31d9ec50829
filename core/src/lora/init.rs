//! A fresh adapter.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{AdapterTensors, LoraPair, LoraSpec};
use crate::base::{Base, Module};

/// An adapter that changes nothing yet: `A` uniform in ±1/√n_in (Kaiming with a = √5, what PEFT does), `B`
/// zero. Each tensor has a random stream of its own, so that adapting one layer more or less does not change
/// how the others start.
pub fn initialize(spec: &LoraSpec, base: &Base, seed: u64) -> AdapterTensors {
    let mut pairs = std::collections::BTreeMap::new();
    for layer in spec.layers.clone() {
        for &module in &spec.modules {
            let weight = base.layers[layer].module(module);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream((layer * Module::ALL.len() + module as usize) as u64);
            let bound = 1.0 / (weight.n_cols as f32).sqrt();
            let a = (0..spec.rank * weight.n_cols).map(|_| rng.random_range(-bound..bound)).collect();
            let b_t = vec![0.0; spec.rank * weight.n_rows];
            let pair = LoraPair { rank: spec.rank, n_in: weight.n_cols, n_out: weight.n_rows, a, b_t };
            pairs.insert((layer, module), pair);
        }
    }
    AdapterTensors { spec: spec.clone(), pairs }
}
