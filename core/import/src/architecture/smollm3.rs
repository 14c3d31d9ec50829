//! `smollm3`: a llama of whose layers every fourth has no rope.

use super::llama;
use crate::Result;
use crate::config::{Config, Defaults};
use crate::plan::Plan;

const NAME: &str = "smollm3";
/// llama.cpp has this fixed.
const NO_ROPE_EVERY: u64 = 4;

pub(super) fn describe(config: &Config) -> Result<Plan> {
    let keys = config.keys();
    keys.must_be_off("use_sliding_window", NAME)?;
    let plan = llama::describe_as(config, NAME, &Defaults { tied: true, ..Defaults::USUAL }, 2_000_000.0)?;
    if let Some(with_rope) = keys.flags("no_rope_layers")? {
        // The list says which layers do have it, and may be longer than the model.
        let expected: Vec<bool> =
            (1..=plan.n_layer).map(|layer| !layer.is_multiple_of(NO_ROPE_EVERY)).collect();
        if with_rope.get(..expected.len()) != Some(expected.as_slice()) {
            let found = "another pattern";
            return Err(keys.unsupported("no_rope_layers", found, NAME, "0 for every fourth layer"));
        }
    } else if let Some(found) = keys.count("no_rope_layer_interval", 1, u64::MAX)?
        && found != NO_ROPE_EVERY
    {
        return Err(keys.unsupported("no_rope_layer_interval", found, NAME, NO_ROPE_EVERY));
    }
    Ok(plan)
}
