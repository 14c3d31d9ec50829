//! Why a well-formed model cannot be run.

use nightgraft_ggml::weight_types;
use nightgraft_gguf::TensorType;
use nightgraft_kernels::{MAX_HEAD_DIM, ShapeError, WeightType};

/// What of a model's metadata or tensors is not supported, and what is.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelProblem {
    /// The file holds something else.
    #[error("the file is of type {:?}, not a model", cut(kind))]
    Type {
        /// What it says that it is.
        kind: String,
    },
    /// The file does not say its architecture.
    #[error("the file does not say its architecture (general.architecture)")]
    NoArchitecture,
    /// An architecture that is not known here.
    #[error(
        "architecture {:?}{}; supported: {}",
        cut(name),
        kind.map_or(String::new(), |kind| format!(", {kind}, cannot be trained")),
        supported.join(", ")
    )]
    Architecture {
        /// The architecture.
        name: String,
        /// What it is, if that is why.
        kind: Option<ArchitectureKind>,
        /// Those that are known.
        supported: Vec<&'static str>,
    },
    /// A key of the architecture's.
    #[error("{key} {problem}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// Heads that are too wide together.
    #[error("{n_head} heads of {head_dim} values")]
    Heads {
        /// How many heads there are.
        n_head: usize,
        /// The values of each.
        head_dim: usize,
    },
    /// Heads that are wider than the kernels compute.
    #[error("heads of {head_dim} values; up to {MAX_HEAD_DIM}")]
    WideHead {
        /// The values of each.
        head_dim: usize,
    },
    /// Heads whose values are no pairs.
    #[error("heads of {head_dim} values; the number must be even")]
    OddHead {
        /// The values of each.
        head_dim: usize,
    },
    /// Heads that the attention refuses.
    #[error(transparent)]
    Attention(#[from] ShapeError),
    /// A tensor that is needed.
    #[error("tensor {tensor} is missing")]
    Missing {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of another shape.
    #[error(
        "tensor {tensor} has dimensions {found:?}{}",
        expected.as_ref().map_or(String::new(), |dims| format!(", the metadata implies {dims:?}"))
    )]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// Its dimensions, the contiguous one first.
        found: Vec<u64>,
        /// Those that it should have, where the metadata say them.
        expected: Option<Vec<u64>>,
    },
    /// More tokens than there are ids.
    #[error("a vocabulary of {rows} tokens")]
    Vocabulary {
        /// Rows of the embedding.
        rows: u64,
    },
    /// A vocabulary and an embedding that do not go together.
    #[error("{tokens} tokens in the metadata and {embeddings} embeddings")]
    Tokens {
        /// Tokens of the metadata.
        tokens: usize,
        /// Rows of the embedding.
        embeddings: usize,
    },
    /// A tensor that nobody asks for.
    #[error(
        "tensor {:?} is not part of the layers that can be trained (no experts, nor projections, norms and biases that \
         the architecture does not have)",
        cut(tensor)
    )]
    Extra {
        /// The tensor.
        tensor: String,
    },
    /// A matrix in a format that is not read.
    #[error(
        "tensor {tensor} is {}; the formats that can be trained on are {}",
        found.name(),
        weight_types().map(WeightType::name).collect::<Vec<_>>().join(", ")
    )]
    Format {
        /// The tensor.
        tensor: String,
        /// Its format.
        found: TensorType,
    },
    /// A vector in another format than all converters give it.
    #[error("tensor {tensor} is {}; it must be F32", found.name())]
    NotF32 {
        /// The tensor.
        tensor: String,
        /// Its format.
        found: TensorType,
    },
    /// A tensor for which there are not enough addresses.
    #[error("tensor {tensor} does not fit in memory addresses")]
    TooLarge {
        /// The tensor.
        tensor: String,
    },
    /// Factors of rope in another form.
    #[error("tensor {tensor} must be {n} numbers of type F32")]
    RopeFactors {
        /// The tensor.
        tensor: &'static str,
        /// How many there must be.
        n: usize,
    },
    /// A factor of rope by which nothing can be divided.
    #[error("tensor {tensor} holds {found}")]
    RopeFactor {
        /// The tensor.
        tensor: &'static str,
        /// What it holds.
        found: f32,
    },
    /// Rows that cannot be quantized again.
    #[error("tensor {tensor} cannot be packed as {}", format.name())]
    Packing {
        /// The tensor.
        tensor: String,
        /// Its format.
        format: WeightType,
    },
}

/// What a model is that cannot be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureKind {
    /// Tokens go through some of many feed-forward networks.
    #[error("a mixture of experts")]
    Experts,
    /// Tokens see each other through a state that is carried along.
    #[error("a recurrent model")]
    Recurrent,
    /// It encodes texts, and does not go on with them.
    #[error("an encoder")]
    Encoder,
}

/// What is wrong with a key of an architecture. Its words go on from the name of the key.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// A count that cannot be.
    #[error("is {found}; it must be from 1 to {most}")]
    Count {
        /// What it is.
        found: u64,
        /// The most that it may be.
        most: usize,
    },
    /// A value of another type than the one in which llama.cpp reads it.
    #[error("is of type {found}; it must be {expected}")]
    Type {
        /// The type of its value.
        found: &'static str,
        /// The type that it must have.
        expected: &'static str,
    },
    /// A list with different counts for different layers.
    #[error("differs between layers; only models whose layers are all of the same size can be trained")]
    DiffersBetweenLayers,
    /// A number that cannot be.
    #[error("is {found}; it must be finite and positive")]
    NotPositive {
        /// What it is.
        found: f32,
    },
    /// It asks for something that is not built.
    #[error("is set; {meaning} cannot be trained")]
    Set {
        /// What it asks for.
        meaning: &'static str,
    },
    /// Heads of keys that do not share those of queries evenly.
    #[error("is {found}, which does not divide the {n_head} query heads")]
    Indivisible {
        /// Heads of keys.
        found: usize,
        /// Heads of queries.
        n_head: usize,
    },
    /// A model that looks ahead.
    #[error("is false; only models that predict the next token can be trained")]
    NotCausal,
    /// Values of another width than keys.
    #[error("is {found}, and keys have {head_dim}; they must be equal")]
    ValueWidth {
        /// The width of values.
        found: usize,
        /// The width of keys.
        head_dim: usize,
    },
    /// Heads of another width than llama.cpp takes.
    #[error("is {found}; llama.cpp takes no other than embedding_length / head_count")]
    HeadWidth {
        /// What it is.
        found: usize,
    },
    /// Rope over a part of a head.
    #[error("is {found}; heads have {head_dim} values and must be turned whole")]
    PartialRope {
        /// The values that are turned.
        found: usize,
        /// The values of a head.
        head_dim: usize,
    },
    /// More values of a head to turn than there are, or half a pair.
    #[error("is {found}; it must be even and at most {head_dim}")]
    RopeDims {
        /// The values that are turned.
        found: usize,
        /// The values of a head.
        head_dim: usize,
    },
    /// A list that has not one entry a layer.
    #[error("has {found} entries for {n_layer} layers")]
    Entries {
        /// Its entries.
        found: usize,
        /// Layers of the model.
        n_layer: usize,
    },
    /// A pattern by which no layer has the window that the model has.
    #[error(
        "gives no layer the window of attention.sliding_window, and llama.cpp cannot run such a file; without that key all \
         layers see everything"
    )]
    NoLayerMarked,
    /// A way to scale rope that the architecture does not have.
    #[error(
        "is {:?}; supported: none, linear, and yarn and longrope where llama.cpp computes them",
        cut(found)
    )]
    RopeScaling {
        /// The way.
        found: String,
    },
    /// A number whose inverse is none.
    #[error("is out of range")]
    OutOfRange,
}

/// The beginning of a name from a file, which may be of any length; ggml's own names fit.
fn cut(name: &str) -> String {
    const LONGEST: usize = 64;
    let mut shown: String = name.chars().take(LONGEST).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_not_supported() {
        let tensor = || "t.weight".to_owned();
        for (problem, words) in [
            (ModelProblem::Type { kind: "adapter".into() }, "the file is of type \"adapter\", not a model"),
            (ModelProblem::NoArchitecture, "the file does not say its architecture (general.architecture)"),
            (
                ModelProblem::Architecture {
                    name: "gpt2".into(),
                    kind: None,
                    supported: vec!["llama", "qwen2"],
                },
                "architecture \"gpt2\"; supported: llama, qwen2",
            ),
            (
                ModelProblem::Architecture {
                    name: "mamba".into(),
                    kind: Some(ArchitectureKind::Recurrent),
                    supported: vec!["llama", "qwen2"],
                },
                "architecture \"mamba\", a recurrent model, cannot be trained; supported: llama, qwen2",
            ),
            (ModelProblem::Heads { n_head: 9, head_dim: 8 }, "9 heads of 8 values"),
            (ModelProblem::WideHead { head_dim: 999 }, "heads of 999 values; up to 512"),
            (ModelProblem::OddHead { head_dim: 7 }, "heads of 7 values; the number must be even"),
            (ModelProblem::Missing { tensor: tensor() }, "tensor t.weight is missing"),
            (
                ModelProblem::Dimensions { tensor: tensor(), found: vec![3, 4], expected: Some(vec![4, 4]) },
                "tensor t.weight has dimensions [3, 4], the metadata implies [4, 4]",
            ),
            (
                ModelProblem::Dimensions { tensor: tensor(), found: vec![3], expected: None },
                "tensor t.weight has dimensions [3]",
            ),
            (ModelProblem::Vocabulary { rows: 1 << 40 }, "a vocabulary of 1099511627776 tokens"),
            (
                ModelProblem::Tokens { tokens: 5, embeddings: 279 },
                "5 tokens in the metadata and 279 embeddings",
            ),
            (
                ModelProblem::Extra { tensor: tensor() },
                "tensor \"t.weight\" is not part of the layers that can be trained (no experts, nor projections, norms and biases \
                 that the architecture does not have)",
            ),
            (
                ModelProblem::Format { tensor: tensor(), found: TensorType::Q8_K },
                "tensor t.weight is Q8_K; the formats that can be trained on are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, \
                 Q4_K, Q5_K, Q6_K, IQ4_NL, Q2_K, Q3_K, IQ4_XS, MXFP4, TQ1_0, TQ2_0, IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, \
                 IQ3_XXS, IQ3_S, NVFP4, Q1_0, Q2_0",
            ),
            (
                ModelProblem::NotF32 { tensor: tensor(), found: TensorType::F16 },
                "tensor t.weight is F16; it must be F32",
            ),
            (ModelProblem::TooLarge { tensor: tensor() }, "tensor t.weight does not fit in memory addresses"),
            (
                ModelProblem::RopeFactors { tensor: "t.weight", n: 32 },
                "tensor t.weight must be 32 numbers of type F32",
            ),
            (ModelProblem::RopeFactor { tensor: "t.weight", found: 0.0 }, "tensor t.weight holds 0"),
            (
                ModelProblem::Packing { tensor: tensor(), format: WeightType::Q4_0 },
                "tensor t.weight cannot be packed as Q4_0",
            ),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }

    #[test]
    fn names_of_any_length_are_cut_and_escaped() {
        let kind = format!("\u{1b}[31m{}", "é".repeat(10_000));
        let shown = format!("\\u{{1b}}[31m{}…", "é".repeat(59));
        let words = format!("the file is of type \"{shown}\", not a model");
        assert_eq!(ModelProblem::Type { kind }.to_string(), words);
        assert_eq!(cut(&"a".repeat(64)), "a".repeat(64));
    }

    #[test]
    fn each_says_what_is_wrong_with_a_key() {
        for (problem, words) in [
            (KeyProblem::Missing, "is missing"),
            (KeyProblem::Count { found: 8, most: 4 }, "is 8; it must be from 1 to 4"),
            (KeyProblem::Type { found: "i32", expected: "u32" }, "is of type i32; it must be u32"),
            (
                KeyProblem::DiffersBetweenLayers,
                "differs between layers; only models whose layers are all of the same size can be trained",
            ),
            (
                KeyProblem::NoLayerMarked,
                "gives no layer the window of attention.sliding_window, and llama.cpp cannot run such a file; without that \
                 key all layers see everything",
            ),
            (KeyProblem::NotPositive { found: f32::NAN }, "is NaN; it must be finite and positive"),
            (
                KeyProblem::Set { meaning: "a mixture of experts" },
                "is set; a mixture of experts cannot be trained",
            ),
            (
                KeyProblem::Indivisible { found: 3, n_head: 4 },
                "is 3, which does not divide the 4 query heads",
            ),
            (KeyProblem::NotCausal, "is false; only models that predict the next token can be trained"),
            (
                KeyProblem::ValueWidth { found: 64, head_dim: 32 },
                "is 64, and keys have 32; they must be equal",
            ),
            (
                KeyProblem::HeadWidth { found: 32 },
                "is 32; llama.cpp takes no other than embedding_length / head_count",
            ),
            (
                KeyProblem::PartialRope { found: 32, head_dim: 64 },
                "is 32; heads have 64 values and must be turned whole",
            ),
            (
                KeyProblem::RopeScaling { found: "yarn".into() },
                "is \"yarn\"; supported: none, linear, and yarn and longrope where llama.cpp computes them",
            ),
            (KeyProblem::OutOfRange, "is out of range"),
            (KeyProblem::RopeDims { found: 7, head_dim: 8 }, "is 7; it must be even and at most 8"),
            (KeyProblem::Entries { found: 2, n_layer: 3 }, "has 2 entries for 3 layers"),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
