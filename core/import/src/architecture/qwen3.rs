//! `qwen3`: the queries and keys of each head are normalized before rope; no biases.

use super::decoder::{self, Biases};
use super::rope::{Allowed, Rope};
use crate::Result;
use crate::config::{Config, Decoder, Defaults, MAX_CONTEXT};
use crate::plan::{Change, Plan};

const NAME: &str = "qwen3";

pub(super) fn describe(config: &Config) -> Result<Plan> {
    let keys = config.keys();
    keys.must_be_off("attention_bias", NAME)?;
    let defaults = Defaults { head_dim: Some(128), ..Defaults::USUAL };
    let decoder = Decoder::read(config, NAME, &defaults)?;
    let rope = Rope::read(config, NAME, 10_000.0, Allowed::Yarn)?;
    rope.must_be_whole(config, NAME)?;

    let mut plan = decoder::start(NAME, &decoder);
    if keys.bool("use_sliding_window")? == Some(true) {
        decoder::notice_window(&mut plan, &decoder, keys.count("sliding_window", 0, MAX_CONTEXT)?);
    }
    rope.write(&mut plan, &decoder);
    decoder::ends(&mut plan, &decoder, Change::None);
    for layer in 0..decoder.n_layer {
        decoder::two_norms(&mut plan, &decoder, layer);
        decoder::attention(&mut plan, &decoder, layer, Change::None, Biases::default());
        decoder::head_norms(&mut plan, &decoder, layer, Change::None);
        decoder::mlp(&mut plan, &decoder, layer, Biases::default());
    }
    Ok(plan)
}
