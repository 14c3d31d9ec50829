//! Rotary embeddings as configurations describe them, in the forms of several versions of `transformers`, and the keys and
//! tensors that say the same in a GGUF.

use std::f64::consts::TAU;

use nightgraft_gguf::Value;
use serde_json::{Map, Value as Json};

use crate::Result;
use crate::config::{Config, Decoder, MAX_CONTEXT};
use crate::json::Keys;
use crate::plan::Plan;

/// The base, and how positions beyond those of the first training are reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rope {
    pub theta: f64,
    /// The rotated part of a head.
    pub partial: f64,
    pub scaling: Scaling,
}

/// The forms of scaling that a GGUF can say (`modeling_rope_utils.py` of `transformers`).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scaling {
    None,
    /// All positions are divided.
    Linear {
        factor: f64,
    },
    /// Frequencies are interpolated between `beta_slow` and `beta_fast` rotations (arXiv 2309.00071).
    Yarn(Yarn),
    /// Frequencies are divided by wave length, as Llama 3.1 does it.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        n_ctx_original: u64,
    },
    /// Each frequency has its divisor, one for short texts and one for long ones (arXiv 2402.13753).
    LongRope {
        short: Vec<f64>,
        long: Vec<f64>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Yarn {
    pub factor: f64,
    pub n_ctx_original: u64,
    pub beta_fast: f64,
    pub beta_slow: f64,
    /// What cosine and sine are multiplied by, where it is said.
    pub attention_factor: Option<f64>,
    pub mscale: Option<f64>,
    pub mscale_all_dim: Option<f64>,
}

/// Which forms an architecture's graph in llama.cpp reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// None, and linear.
    Linear,
    /// Yarn besides.
    Yarn,
    /// Llama 3's besides.
    Llama3,
    /// None, and LongRoPE.
    LongRope,
}

impl Allowed {
    /// What errors name.
    fn names(self) -> &'static str {
        match self {
            Self::Linear => "default or linear",
            Self::Yarn => "default, linear or yarn",
            Self::Llama3 => "default, linear, yarn or llama3",
            Self::LongRope => "default or longrope",
        }
    }
}

impl Rope {
    /// Reads `rope_parameters`, else `rope_scaling` and `rope_theta`. Where layers with a window have parameters of their own,
    /// these are the ones of the others.
    pub fn read(config: &Config, architecture: &'static str, theta: f64, allowed: Allowed) -> Result<Self> {
        let top = config.keys();
        let empty = Map::new();
        let (prefix, map) = parameters(&top, "full_attention")?.unwrap_or(("", &empty));
        let own = top.within(prefix, map);
        let theta = own.positive("rope_theta")?.or(top.positive("rope_theta")?).unwrap_or(theta);
        let partial = own.positive("partial_rotary_factor")?.or(top.positive("partial_rotary_factor")?);
        let (key, name) = form(&own)?;
        let is_allowed = |forms: &[Allowed]| forms.contains(&allowed);
        let unread = || own.unsupported(key, name, architecture, allowed.names());
        let scaling = match name {
            "default" => Scaling::None,
            "linear" if allowed != Allowed::LongRope => Scaling::Linear { factor: needed(&own, "factor")? },
            "yarn" if is_allowed(&[Allowed::Yarn, Allowed::Llama3]) => Scaling::Yarn(Yarn::read(&top, &own)?),
            "llama3" if is_allowed(&[Allowed::Llama3]) => Scaling::Llama3 {
                factor: needed(&own, "factor")?,
                low: needed(&own, "low_freq_factor")?,
                high: needed(&own, "high_freq_factor")?,
                n_ctx_original: n_ctx_original(&top, &own)?,
            },
            "longrope" | "su" | "yarn" if allowed == Allowed::LongRope => Scaling::LongRope {
                short: own.needed("short_factor", own.positives("short_factor")?)?,
                long: own.needed("long_factor", own.positives("long_factor")?)?,
            },
            _ => return Err(unread()),
        };
        Ok(Self { theta, partial: partial.unwrap_or(1.0), scaling })
    }

    /// Refuses a rope of a part of the head.
    pub fn must_be_whole(&self, config: &Config, architecture: &'static str) -> Result<()> {
        if self.partial == 1.0 {
            return Ok(());
        }
        Err(config.keys().unsupported("partial_rotary_factor", self.partial, architecture, 1))
    }

    /// Sets the keys, and adds the tensors.
    pub fn write(&self, plan: &mut Plan, decoder: &Decoder) {
        plan.set_f32("rope.freq_base", self.theta);
        match &self.scaling {
            Scaling::None | Scaling::LongRope { .. } => {}
            Scaling::Linear { factor } => {
                plan.set("rope.scaling.type", Value::String("linear".to_owned()));
                plan.set_f32("rope.scaling.factor", *factor);
            }
            Scaling::Yarn(yarn) => yarn.write(plan),
            Scaling::Llama3 { .. } => plan.values("rope_freqs.weight", self.llama3_factors(decoder.head_dim)),
        }
    }

    /// Llama 3's divisors of the frequencies, `[head_dim / 2]`: those of long waves get all of the factor, those of short
    /// ones nothing, and between them the two are mixed (`_compute_llama3_parameters`).
    fn llama3_factors(&self, head_dim: u64) -> Vec<f32> {
        let &Scaling::Llama3 { factor, low, high, n_ctx_original } = &self.scaling else { return Vec::new() };
        let n_ctx = n_ctx_original as f64;
        let divisor = |pair: u64| {
            let wave_length = TAU * self.theta.powf(2.0 * pair as f64 / head_dim as f64);
            if wave_length < n_ctx / high {
                1.0
            } else if wave_length > n_ctx / low {
                factor
            } else {
                let smooth = (n_ctx / wave_length - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        (0..head_dim / 2).map(|pair| divisor(pair) as f32).collect()
    }
}

impl Yarn {
    fn read(top: &Keys, own: &Keys) -> Result<Self> {
        Ok(Self {
            factor: needed(own, "factor")?,
            n_ctx_original: n_ctx_original(top, own)?,
            beta_fast: own.positive("beta_fast")?.unwrap_or(32.0),
            beta_slow: own.positive("beta_slow")?.unwrap_or(1.0),
            attention_factor: own.positive("attention_factor")?,
            mscale: own.positive("mscale")?,
            mscale_all_dim: own.positive("mscale_all_dim")?,
        })
    }

    fn write(&self, plan: &mut Plan) {
        plan.set("rope.scaling.type", Value::String("yarn".to_owned()));
        plan.set_f32("rope.scaling.factor", self.factor);
        plan.set_u32("rope.scaling.original_context_length", self.n_ctx_original);
        plan.set_f32("rope.scaling.yarn_beta_fast", self.beta_fast);
        plan.set_f32("rope.scaling.yarn_beta_slow", self.beta_slow);
        // llama.cpp's `mistral3` computes the magnitude of these two with an `mscale` of 1, in all other architectures with
        // neither; what differs from that is a factor of its own.
        let magnitude =
            |mscale: f64| if self.factor > 1.0 { 0.1 * mscale * self.factor.ln() + 1.0 } else { 1.0 };
        let computed = match self.mscale_all_dim.filter(|_| plan.architecture == "mistral3") {
            Some(mscale_all_dim) => {
                plan.set_f32("rope.scaling.yarn_log_multiplier", mscale_all_dim);
                magnitude(1.0) / magnitude(mscale_all_dim)
            }
            None => magnitude(1.0),
        };
        let wanted = self.attention_factor.unwrap_or(match (self.mscale, self.mscale_all_dim) {
            (Some(mscale), Some(all_dim)) => magnitude(mscale) / magnitude(all_dim),
            _ => magnitude(1.0),
        });
        if (wanted / computed) as f32 != 1.0 {
            plan.set_f32("rope.scaling.attn_factor", wanted / computed);
        }
    }
}

/// The object with the parameters of one kind of layer and what errors call it.
pub(super) fn parameters<'a>(
    top: &Keys<'a>,
    kind: &str,
) -> Result<Option<(&'static str, &'a Map<String, Json>)>> {
    if let Some(all) = top.object("rope_parameters")? {
        let of_kind = top.within("rope_parameters.", all).object(kind)?;
        return Ok(Some(("rope_parameters.", of_kind.unwrap_or(all))));
    }
    Ok(top.object("rope_scaling")?.map(|scaling| ("rope_scaling.", scaling)))
}

/// The form of scaling, and the key that names it.
pub(super) fn form<'a>(own: &Keys<'a>) -> Result<(&'static str, &'a str)> {
    for key in ["rope_type", "type"] {
        if let Some(form) = own.text(key)? {
            return Ok((key, form));
        }
    }
    Ok(("rope_type", "default"))
}

/// Positions of the first training.
pub(super) fn n_ctx_original(top: &Keys, own: &Keys) -> Result<u64> {
    const KEY: &str = "original_max_position_embeddings";
    let count = own.count(KEY, 1, MAX_CONTEXT)?.or(top.count(KEY, 1, MAX_CONTEXT)?);
    let count = count.or(top.count("max_position_embeddings", 1, MAX_CONTEXT)?);
    own.needed(KEY, count)
}

fn needed(keys: &Keys, key: &str) -> Result<f64> {
    keys.needed(key, keys.positive(key)?)
}
