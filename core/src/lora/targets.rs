//! The matrices of a model that settings mean.

use nightgraft_adapter::Module;

use crate::base::{Base, ModelSpec};
use crate::config::Targets;
use crate::error::ConfigProblem;
use crate::{Error, Result};

/// The modules of `base` that get a pair. Queries, keys and values mean the one matrix in which they are fused, and a gate and
/// what it multiplies likewise, if all of it is meant.
///
/// # Errors
/// [`Error::Config`] with a module that the model does not have by itself.
pub fn target_modules(targets: &Targets, base: &Base) -> Result<Vec<Module>> {
    modules_of(&base.spec, &targets.modules())
}

/// What settings call these modules of `base`: `all`, `attn` or `mlp`, if that is what they are.
pub fn targets_of(modules: &[Module], base: &Base) -> Targets {
    let known = [Targets::all(), Targets::attention(), Targets::mlp()];
    let is_meant =
        |targets: &Targets| modules_of(&base.spec, &targets.modules()).is_ok_and(|meant| meant == modules);
    known.into_iter().find(is_meant).unwrap_or_else(|| Targets::of(modules))
}

fn modules_of(spec: &ModelSpec, meant: &[Module]) -> Result<Vec<Module>> {
    let available = spec.all_modules();
    for &module in meant {
        // What a missing module is a part of, and all parts of that.
        let whole: Option<&[Module]> = match module {
            _ if available.contains(&module) => continue,
            Module::AttnQ | Module::AttnK | Module::AttnV if available.contains(&Module::AttnQkv) => {
                Some(&Module::QKV)
            }
            Module::FfnGate => Some(&[Module::FfnGate, Module::FfnUp]),
            _ => None,
        };
        if !whole.is_some_and(|whole| whole.iter().all(|part| meant.contains(part))) {
            return Err(Error::config("--targets", ConfigProblem::NotOfModel { module, available }));
        }
    }
    let has_qkv = Module::QKV.iter().all(|module| meant.contains(module));
    let is_meant = |module: &Module| meant.contains(module) || (*module == Module::AttnQkv && has_qkv);
    Ok(available.into_iter().filter(is_meant).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_kernels::WeightType;
    use nightgraft_tiny_model::TinyModel;

    use super::*;
    use crate::base::Base;
    use crate::model_file::ModelFile;

    fn base(architecture: &'static str) -> (tempfile::TempDir, Base) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        TinyModel { architecture, ..TinyModel::new(WeightType::Q8_0) }.write(&path).unwrap();
        let base = Base::open(ModelFile::open(&path).unwrap()).unwrap();
        (folder, base)
    }

    #[test]
    fn words_mean_the_matrices_that_a_model_has() {
        let (_llama, llama) = base("llama");
        let (_phi3, phi3) = base("phi3");
        let modules = |words: &str, base: &Base| target_modules(&words.parse().unwrap(), base);
        assert_eq!(modules("all", &llama).unwrap(), Module::APART);
        let [q, k, v, output] = [Module::AttnQ, Module::AttnK, Module::AttnV, Module::AttnOutput];
        assert_eq!(modules("attn", &llama).unwrap(), [q, k, v, output]);
        let (up, down, qkv) = (Module::FfnUp, Module::FfnDown, Module::AttnQkv);
        for (words, expected) in [
            ("all", &[output, up, down, qkv][..]),
            ("attn", &[output, qkv]),
            ("mlp", &[up, down]),
            ("attn_qkv,ffn_down", &[down, qkv]),
            ("ffn_up", &[up]),
        ] {
            let found = modules(words, &phi3).unwrap();
            assert_eq!(found, expected, "{words}");
            // What is said of them is understood in the same way.
            assert_eq!(target_modules(&targets_of(&found, &phi3), &phi3).unwrap(), expected, "{words}");
        }
        assert_eq!(targets_of(&[output, up, down, qkv], &phi3), Targets::all());
        assert_eq!(targets_of(&[q, v], &llama), Targets::of(&[q, v]));
        for (words, base, missing) in [
            ("attn_q", &phi3, q),
            ("attn_q,attn_v", &phi3, q),
            ("ffn_gate", &phi3, Module::FfnGate),
            ("attn_qkv", &llama, qkv),
        ] {
            match modules(words, base).unwrap_err() {
                Error::Config { problem: ConfigProblem::NotOfModel { module, available }, .. } => {
                    assert_eq!((module, available), (missing, base.spec.all_modules()), "{words}");
                }
                other => unreachable!("{other}"),
            }
        }
    }
}
