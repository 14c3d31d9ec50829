//! Whether an adapter fits a model.

use nightgraft_adapter::AdapterTensors;

use crate::base::Base;

/// What of `adapter` does not fit `base`, in words; `None` if everything fits.
pub fn mismatch(adapter: &AdapterTensors, base: &Base) -> Option<String> {
    adapter.pairs.iter().find_map(|(&(layer, module), pair)| {
        let name = module.tensor_name(layer);
        if layer >= base.spec.n_layer {
            return Some(format!("it adapts {name}, the model has {} layers", base.spec.n_layer));
        }
        let (n_out, n_in) = base.spec.module_shape(module);
        if (pair.n_out, pair.n_in) != (n_out, n_in) {
            return Some(format!(
                "{name}: expected {n_out} outputs and {n_in} inputs, got {} and {}; \
                 it was trained for another model",
                pair.n_out, pair.n_in
            ));
        }
        pair.problem().map(|problem| format!("{name}: {problem}"))
    })
}
