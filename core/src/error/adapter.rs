//! What can be wrong with an adapter's file or folder.

use std::path::PathBuf;

use nightgraft_adapter::{Factor, Mismatch, Module, PairProblem};
use nightgraft_ggml::weight_types;
use nightgraft_gguf::TensorType;
use nightgraft_kernels::WeightType;

use super::{ForeignAdapter, PeftProblem};

/// Why an adapter cannot be read, written or used with a model, and what to try.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterProblem {
    /// Its file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// Its file was written to.
    #[error("it changed while it was read")]
    ChangedMeanwhile,
    /// Another trainer left it.
    #[error(transparent)]
    Foreign(#[from] ForeignAdapter),
    /// A file of no form that is known.
    #[error(
        "it is neither a GGUF file nor a PEFT folder (adapter_config.json and adapter_model.safetensors)"
    )]
    UnknownForm,
    /// A folder that is no adapter.
    #[error("the folder has no adapter_config.json")]
    NoAdapter,
    /// A folder with an adapter in it.
    #[error("the folder has no adapter_config.json; did you mean {}?", .0.display())]
    Inside(PathBuf),
    /// A PEFT folder without its configuration.
    #[error("the file is missing; without it the adapter's alpha is not known")]
    NoConfiguration,
    /// A configuration that is larger than any.
    #[error("{bytes} bytes are no configuration")]
    ConfigurationTooLarge {
        /// Its size.
        bytes: u64,
    },
    /// A PEFT folder without its tensors.
    #[error("adapter_model.safetensors is missing")]
    NoTensorFile,
    /// A configuration of PEFT that cannot be followed.
    #[error(transparent)]
    Peft(#[from] PeftProblem),
    /// The metadata of a GGUF file are not those of an adapter for this model.
    #[error(transparent)]
    Metadata(#[from] AdapterMetadataProblem),
    /// A file of safetensors that cannot be read or written; the words are the library's.
    #[error("{0}")]
    Safetensors(String),
    /// A GGUF file that cannot be written.
    #[error(transparent)]
    Gguf(#[from] nightgraft_gguf::Problem),
    /// It holds no tensors.
    #[error("it holds no tensors")]
    NoTensors,
    /// A tensor of more than plain LoRA on matrices of the blocks.
    #[error("tensor {tensor:?} is {part}, which cannot be read")]
    ForeignPart {
        /// The tensor.
        tensor: String,
        /// What it is.
        part: &'static str,
    },
    /// A tensor of PEFT's that is none of an adapter.
    #[error("tensor {tensor:?} is no LoRA factor of a module that can be adapted")]
    NoFactorOfModule {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of a GGUF file that is none of an adapter.
    #[error("tensor {tensor:?} is no LoRA factor of a matrix that can be adapted")]
    NoFactorOfMatrix {
        /// The tensor.
        tensor: String,
    },
    /// A tensor for a layer that the model does not have.
    #[error("tensor {tensor:?}: the model has {n_layer} layers")]
    NoSuchLayer {
        /// The tensor.
        tensor: String,
        /// How many layers there are.
        n_layer: usize,
    },
    /// A tensor for a matrix that the model does not have.
    #[error("tensor {tensor:?}: the model has no matrix {module} by itself")]
    NoSuchMatrix {
        /// The tensor.
        tensor: String,
        /// The matrix.
        module: Module,
    },
    /// Two names of one tensor.
    #[error("tensor {tensor:?} occurs twice under different names")]
    Repeated {
        /// One of the names.
        tensor: String,
    },
    /// One of the two matrices of a pair.
    #[error("{tensor} is missing, its partner is there")]
    NoPartner {
        /// The one that is missing.
        tensor: String,
    },
    /// A tensor of PEFT's that does not have the shape that the model and its partner ask for.
    #[error("{tensor}: expected {}, got {found:?}", match factor {
        Factor::A => format!("[rank, {width}]"),
        Factor::B => format!("[{width}, {rank}]"),
    })]
    Shape {
        /// The tensor.
        tensor: String,
        /// Which of the two it is.
        factor: Factor,
        /// Inputs of the module for A, outputs for B.
        width: usize,
        /// The rank that A has, if it has one.
        rank: usize,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor of a GGUF file that does not have the dimensions that the model and its partner ask for.
    #[error("{tensor}: expected dimensions {}, got {found:?}", match factor {
        Factor::A => format!("[{width}, rank]"),
        Factor::B => format!("[{rank}, {width}]"),
    })]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// Which of the two it is.
        factor: Factor,
        /// Inputs of the matrix for A, outputs for B.
        width: usize,
        /// The rank that A has, if it has one.
        rank: u64,
        /// Its dimensions, the contiguous one first.
        found: Vec<u64>,
    },
    /// A tensor of more ranks than memory has addresses.
    #[error("{tensor}: rank {rank}")]
    Rank {
        /// The tensor.
        tensor: String,
        /// The rank.
        rank: u64,
    },
    /// Numbers of safetensors of a type that is not read.
    #[error("{tensor}: numbers of type {found:?}; F32, F16 and BF16 can be read")]
    Numbers {
        /// The tensor.
        tensor: String,
        /// Their type.
        found: safetensors::Dtype,
    },
    /// Numbers of GGUF of a type that is not read.
    #[error(
        "{tensor} is {}; can be read: {}",
        found.name(),
        weight_types().map(WeightType::name).collect::<Vec<_>>().join(", ")
    )]
    Format {
        /// The tensor.
        tensor: String,
        /// Their type.
        found: TensorType,
    },
    /// A pair that cannot be computed with.
    #[error("{name}: {problem}")]
    Pair {
        /// The module or the matrix.
        name: String,
        /// What is wrong.
        problem: PairProblem,
    },
    /// It does not fit the model.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// Numbers beside a matrix, such as its gradient, that do not have its shape.
    #[error("{tensor} does not have the model's shape")]
    NotOfTheModelsShape {
        /// The matrix.
        tensor: String,
    },
    /// A merged model in the place of its base.
    #[error("this is the base model itself; choose another file")]
    IsBase,
    /// It says that it is for another model.
    #[error(transparent)]
    OtherBase(#[from] OtherBase),
    /// The model of its run is another one by now.
    #[error("{} is not the model any more that this run was for", model.display())]
    OtherThanInRun {
        /// The model's file.
        model: PathBuf,
    },
    /// A graft that is for another model.
    #[error("it was trained on another model than {}", model.display())]
    GraftOfOther {
        /// The file of the model at hand.
        model: PathBuf,
    },
}

/// How it shows that an adapter was trained on another model than the one at hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherBase {
    /// The fingerprints differ.
    #[error("it was trained on another model file; use the model that it was trained on")]
    Fingerprint,
    /// The names do.
    #[error(
        "it was trained on {recorded:?}, and this model is {model:?}; use the model that it was trained on"
    )]
    Name {
        /// The adapter's base.
        recorded: String,
        /// What the model calls itself.
        model: String,
    },
}

/// Why the metadata of a GGUF file are not those of an adapter for the model at hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterMetadataProblem {
    /// A control vector.
    #[error("it is a control vector, which is added to the residual stream and is no adapter")]
    ControlVector,
    /// A checkpoint of llama.cpp's.
    #[error("it is a checkpoint of llama.cpp's former training programs, which are not read")]
    Checkpoint,
    /// A model, or a file that may be one.
    #[error(
        "general.type is {found:?}, not \"adapter\": this is no adapter file; a model is given with --model"
    )]
    Model {
        /// What it says that it is.
        found: String,
    },
    /// Neither an adapter nor a model.
    #[error("general.type is {found:?}, not \"adapter\": this is no adapter file")]
    Type {
        /// What it says that it is.
        found: String,
    },
    /// An adapter of another method.
    #[error("adapter.type is {found:?}; only \"lora\" can be read")]
    Method {
        /// The method.
        found: String,
    },
    /// An adapter that is not there from the first token on.
    #[error("it starts at an invocation (aLoRA); such adapters cannot be read")]
    Invocation,
    /// An adapter for another architecture.
    #[error("it was made for the architecture {theirs:?}, the model is {ours:?}")]
    Architecture {
        /// The adapter's.
        theirs: String,
        /// The model's.
        ours: String,
    },
    /// Different ranks without an alpha to scale them by.
    #[error("adapter.lora.alpha is missing, and the ranks differ")]
    NoAlpha,
    /// An alpha that is no number.
    #[error("adapter.lora.alpha must be a finite float")]
    Alpha,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let tensor = || "t".to_owned();
        let shape =
            |factor, found| AdapterProblem::Shape { tensor: tensor(), factor, width: 4, rank: 2, found };
        let dimensions =
            |factor, found| AdapterProblem::Dimensions { tensor: tensor(), factor, width: 4, rank: 2, found };
        for (problem, words) in [
            (AdapterProblem::Empty, "the file is empty"),
            (AdapterProblem::ChangedMeanwhile, "it changed while it was read"),
            (
                AdapterProblem::UnknownForm,
                "it is neither a GGUF file nor a PEFT folder (adapter_config.json and adapter_model.safetensors)",
            ),
            (AdapterProblem::NoAdapter, "the folder has no adapter_config.json"),
            (
                AdapterProblem::Inside("a/b".into()),
                "the folder has no adapter_config.json; did you mean a/b?",
            ),
            (
                AdapterProblem::NoConfiguration,
                "the file is missing; without it the adapter's alpha is not known",
            ),
            (AdapterProblem::ConfigurationTooLarge { bytes: 9 }, "9 bytes are no configuration"),
            (AdapterProblem::NoTensorFile, "adapter_model.safetensors is missing"),
            (AdapterProblem::NoTensors, "it holds no tensors"),
            (
                AdapterProblem::ForeignPart { tensor: tensor(), part: "an adapter on the head" },
                "tensor \"t\" is an adapter on the head, which cannot be read",
            ),
            (
                AdapterProblem::NoFactorOfModule { tensor: tensor() },
                "tensor \"t\" is no LoRA factor of a module that can be adapted",
            ),
            (
                AdapterProblem::NoFactorOfMatrix { tensor: tensor() },
                "tensor \"t\" is no LoRA factor of a matrix that can be adapted",
            ),
            (
                AdapterProblem::NoSuchLayer { tensor: tensor(), n_layer: 3 },
                "tensor \"t\": the model has 3 layers",
            ),
            (
                AdapterProblem::NoSuchMatrix { tensor: tensor(), module: Module::AttnQ },
                "tensor \"t\": the model has no matrix attn_q by itself",
            ),
            (
                AdapterProblem::Repeated { tensor: tensor() },
                "tensor \"t\" occurs twice under different names",
            ),
            (AdapterProblem::NoPartner { tensor: tensor() }, "t is missing, its partner is there"),
            (shape(Factor::A, vec![4, 9]), "t: expected [rank, 4], got [4, 9]"),
            (shape(Factor::B, vec![9]), "t: expected [4, 2], got [9]"),
            (dimensions(Factor::A, vec![4, 9]), "t: expected dimensions [4, rank], got [4, 9]"),
            (dimensions(Factor::B, vec![9]), "t: expected dimensions [2, 4], got [9]"),
            (AdapterProblem::Rank { tensor: tensor(), rank: 7 }, "t: rank 7"),
            (
                AdapterProblem::Numbers { tensor: tensor(), found: safetensors::Dtype::I32 },
                "t: numbers of type I32; F32, F16 and BF16 can be read",
            ),
            (
                AdapterProblem::Format { tensor: tensor(), found: TensorType::I32 },
                "t is I32; can be read: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, IQ4_NL, Q2_K, Q3_K, \
                 IQ4_XS, MXFP4, TQ1_0, TQ2_0, IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, NVFP4, Q1_0, Q2_0",
            ),
            (AdapterProblem::Pair { name: "m".into(), problem: PairProblem::NoRank }, "m: rank 0"),
            (AdapterProblem::NotOfTheModelsShape { tensor: tensor() }, "t does not have the model's shape"),
            (AdapterProblem::IsBase, "this is the base model itself; choose another file"),
            (
                AdapterProblem::OtherThanInRun { model: "a/b".into() },
                "a/b is not the model any more that this run was for",
            ),
            (
                AdapterProblem::GraftOfOther { model: "a/b".into() },
                "it was trained on another model than a/b",
            ),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }

    #[test]
    fn other_bases_and_metadata_are_told() {
        let found = || "odd".to_owned();
        let name = OtherBase::Name { recorded: "a".into(), model: "b".into() };
        assert_eq!(
            name.to_string(),
            "it was trained on \"a\", and this model is \"b\"; use the model that it was trained on"
        );
        assert_eq!(
            OtherBase::Fingerprint.to_string(),
            "it was trained on another model file; use the model that it was trained on"
        );
        for (problem, words) in [
            (
                AdapterMetadataProblem::ControlVector,
                "it is a control vector, which is added to the residual stream and is no adapter",
            ),
            (
                AdapterMetadataProblem::Checkpoint,
                "it is a checkpoint of llama.cpp's former training programs, which are not read",
            ),
            (
                AdapterMetadataProblem::Model { found: found() },
                "general.type is \"odd\", not \"adapter\": this is no adapter file; a model is given with --model",
            ),
            (
                AdapterMetadataProblem::Type { found: found() },
                "general.type is \"odd\", not \"adapter\": this is no adapter file",
            ),
            (
                AdapterMetadataProblem::Method { found: found() },
                "adapter.type is \"odd\"; only \"lora\" can be read",
            ),
            (
                AdapterMetadataProblem::Invocation,
                "it starts at an invocation (aLoRA); such adapters cannot be read",
            ),
            (
                AdapterMetadataProblem::Architecture { theirs: "qwen2".into(), ours: "llama".into() },
                "it was made for the architecture \"qwen2\", the model is \"llama\"",
            ),
            (AdapterMetadataProblem::NoAlpha, "adapter.lora.alpha is missing, and the ranks differ"),
            (AdapterMetadataProblem::Alpha, "adapter.lora.alpha must be a finite float"),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
