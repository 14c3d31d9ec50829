//! How positions turn queries and keys: bases, factors and scaling, as llama.cpp reads them (`llama-model.cpp`,
//! `llama-context.cpp`, `ggml_rope_yarn_corr_dims`).

use nightgraft_gguf::TensorType;

use super::super::spec::{Rope, RopeFactors, RopeScaling};
use super::super::weight::unsupported;
use super::{Keys, MAX_COUNT, MAX_WIDTH, ROPE_FACTORS, ROPE_FACTORS_BY_LENGTH};
use crate::Result;
use crate::error::{KeyProblem, ModelProblem};
use crate::model_file::ModelFile;

/// Which kinds of rope llama.cpp computes for an architecture.
#[derive(Clone, Copy)]
pub(super) struct RopeRules {
    /// A part of a head may be turned.
    pub(super) partial: bool,
    /// Which tensors with factors are looked for.
    pub(super) factors: FactorTensors,
    /// Whether frequencies may be scaled by YaRN, and what its constants depend on.
    pub(super) yarn: YarnKeys,
}

/// Which tensors with factors an architecture has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FactorTensors {
    /// None.
    None,
    /// One for all lengths; with the scaling `longrope` those by length.
    ByScaling,
    /// Those by length, if there are some.
    ByLength,
}

/// What becomes of the scaling `yarn`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum YarnKeys {
    /// It is refused.
    Refused,
    /// Its constants are the usual ones.
    Usual,
    /// Its constants are in the file.
    InFile,
}

impl RopeRules {
    /// Whole heads, no factors, the usual YaRN.
    pub(super) const PLAIN: Self =
        Self { partial: false, factors: FactorTensors::None, yarn: YarnKeys::Usual };
    /// As `llama`, with factors.
    pub(super) const LLAMA: Self = Self { factors: FactorTensors::ByScaling, ..Self::PLAIN };
}

/// Rope for heads of `head_dim` values of a model that was trained on `n_ctx_train` tokens.
pub(super) fn read(
    file: &ModelFile,
    keys: &Keys,
    head_dim: usize,
    n_ctx_train: usize,
    rules: &RopeRules,
) -> Result<Rope> {
    let dims = dims(keys, head_dim, rules)?;
    let base = keys.optional_positive("rope.freq_base")?.unwrap_or(10_000.0);
    let factor = match keys.optional_factor("rope.scaling.factor") {
        Ok(None) => keys.optional_factor("rope.scale_linear"),
        other => other,
    }?;
    let scale = factor.map_or(1.0, |factor| 1.0 / factor);
    if !scale.is_finite() || scale <= 0.0 {
        return Err(keys.wrong("rope.scaling.factor", KeyProblem::OutOfRange));
    }
    let original_context =
        keys.optional_count("rope.scaling.original_context_length", MAX_COUNT)?.unwrap_or(n_ctx_train);
    let mut magnitude = keys.optional_positive("rope.scaling.attn_factor")?.unwrap_or(1.0);
    let kind = keys.optional_string("rope.scaling.type")?;
    let scaling = match kind {
        Some("none") => RopeScaling::Linear(1.0),
        // Without a type llama.cpp assumes linear scaling too.
        None | Some("linear") => RopeScaling::Linear(scale),
        Some("longrope") if rules.factors != FactorTensors::None => RopeScaling::Linear(scale),
        Some("yarn") if rules.yarn != YarnKeys::Refused => {
            let yarn = Yarn::read(keys, rules.yarn)?;
            magnitude *= yarn.magnitude(scale);
            yarn.scaling(scale, dims, base, original_context)
        }
        Some(other) => {
            return Err(keys.wrong("rope.scaling.type", KeyProblem::RopeScaling { found: other.to_owned() }));
        }
    };
    let by_length = match rules.factors {
        FactorTensors::None => {
            return Ok(Rope { base, dims, factors: RopeFactors::None, scaling, magnitude });
        }
        FactorTensors::ByScaling => kind == Some("longrope"),
        FactorTensors::ByLength => true,
    };
    let factors = if by_length {
        let [long, short] = ROPE_FACTORS_BY_LENGTH.map(|tensor| factors(file, tensor, dims));
        match (short?, long?) {
            (None, None) => RopeFactors::None,
            (Some(short), Some(long)) => RopeFactors::ByLength { short, long, original_context },
            (short, _) => {
                let [long_name, short_name] = ROPE_FACTORS_BY_LENGTH;
                let tensor = if short.is_some() { long_name } else { short_name }.to_owned();
                return Err(unsupported(ModelProblem::Missing { tensor }));
            }
        }
    } else {
        factors(file, ROPE_FACTORS, dims)?.map_or(RopeFactors::None, RopeFactors::All)
    };
    Ok(Rope { base, dims, factors, scaling, magnitude })
}

fn dims(keys: &Keys, head_dim: usize, rules: &RopeRules) -> Result<usize> {
    let dims = keys.optional_count("rope.dimension_count", MAX_WIDTH)?.unwrap_or(head_dim);
    let is_fine = if rules.partial { dims <= head_dim && dims % 2 == 0 } else { dims == head_dim };
    if is_fine {
        return Ok(dims);
    }
    let problem = if rules.partial {
        KeyProblem::RopeDims { found: dims, head_dim }
    } else {
        KeyProblem::PartialRope { found: dims, head_dim }
    };
    Err(keys.wrong("rope.dimension_count", problem))
}

/// The constants of YaRN.
struct Yarn {
    beta_fast: f32,
    beta_slow: f32,
    /// What the attention factor of the whole is divided by: `mscale_all_dim`.
    log_multiplier: f32,
}

impl Yarn {
    fn read(keys: &Keys, from: YarnKeys) -> Result<Self> {
        let usual = Self { beta_fast: 32.0, beta_slow: 1.0, log_multiplier: 0.0 };
        if from != YarnKeys::InFile {
            return Ok(usual);
        }
        let number = |key: &str, usual: f32| -> Result<f32> {
            Ok(keys.optional_factor(&format!("rope.scaling.{key}"))?.unwrap_or(usual))
        };
        Ok(Self {
            beta_fast: number("yarn_beta_fast", usual.beta_fast)?,
            beta_slow: number("yarn_beta_slow", usual.beta_slow)?,
            log_multiplier: number("yarn_log_multiplier", usual.log_multiplier)?,
        })
    }

    /// `m(1) / m(log_multiplier)` with `m(k) = 1 + 0.1 k ln(factor)`, or `m(1)` without a multiplier.
    fn magnitude(&self, scale: f32) -> f32 {
        let growth = 0.1 * libm::log(1.0 / f64::from(scale)).max(0.0);
        ((1.0 + growth) / (1.0 + f64::from(self.log_multiplier) * growth)) as f32
    }

    /// Pairs that turn more than `beta_fast` times in the original context are left as they are, those that turn less than
    /// `beta_slow` times are scaled.
    fn scaling(&self, scale: f32, dims: usize, base: f32, original_context: usize) -> RopeScaling {
        let pair = |turns: f32| {
            let wavelength = original_context as f64 / (f64::from(turns) * 2.0 * std::f64::consts::PI);
            dims as f64 * libm::log(wavelength) / (2.0 * libm::log(f64::from(base)))
        };
        let low = pair(self.beta_fast).floor().max(0.0) as f32;
        let high = pair(self.beta_slow).ceil().min(dims as f64 - 1.0) as f32;
        RopeScaling::Yarn { scale, low, high }
    }
}

fn factors(file: &ModelFile, name: &'static str, dims: usize) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = file.tensor(name) else { return Ok(None) };
    let (chunks, rest) = file.bytes(tensor).as_chunks::<4>();
    let n = dims / 2;
    if tensor.kind != TensorType::F32 || tensor.dims.first() != Some(&(n as u64)) || !rest.is_empty() {
        return Err(unsupported(ModelProblem::RopeFactors { tensor: name, n }));
    }
    let factors: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match factors.iter().find(|factor| !factor.is_finite() || **factor <= 0.0) {
        Some(factor) => Err(unsupported(ModelProblem::RopeFactor { tensor: name, found: *factor })),
        None if factors.len() != n => Err(unsupported(ModelProblem::RopeFactors { tensor: name, n })),
        None => Ok(Some(factors)),
    }
}
