//! Whether an adapter fits a model.

use nightgraft_adapter::{AdapterTensors, Mismatch};

use crate::base::Base;

/// What of `adapter` does not fit `base`; `None` if everything fits.
pub fn mismatch(adapter: &AdapterTensors, base: &Base) -> Option<Mismatch> {
    let n_layer = base.spec.n_layer();
    adapter.pairs.iter().find_map(|(&(layer, module), pair)| {
        if layer >= n_layer {
            return Some(Mismatch::Layer { layer, module, n_layer });
        }
        let Some(expected) = base.spec.module_shape(layer, module) else {
            return Some(Mismatch::Module { layer, module });
        };
        let found = (pair.n_out, pair.n_in);
        if found != expected {
            return Some(Mismatch::Shape { layer, module, expected, found });
        }
        pair.problem().map(|problem| Mismatch::Pair { layer, module, problem })
    })
}
