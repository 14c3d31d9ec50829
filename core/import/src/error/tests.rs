//! The words of all errors.

use super::*;

#[test]
fn words_name_what_is_wrong_and_where() {
    let path = || PathBuf::from("hf/config.json");
    let config = |problem| Error::Config { path: path(), problem }.to_string();
    let tokenizer = |problem| Error::Tokenizer { path: path(), problem }.to_string();
    let weights = |problem| Error::Weights { path: path(), problem }.to_string();
    let tensor = |problem| Error::Tensor { path: path(), tensor: "a.weight".into(), problem }.to_string();
    let (key, name) = (|| "head_dim".to_owned(), || "X".to_owned());
    let tensors = || ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let names = importable_architectures().collect::<Vec<_>>().join(", ");
    for (found, words) in [
        (
            Error::Missing { folder: "hf".into(), name: "tokenizer.json".into() }.to_string(),
            "hf has no tokenizer.json",
        ),
        (Error::NotFile { path: path() }.to_string(), "hf/config.json is not a regular file"),
        (Error::NotText { path: path() }.to_string(), "hf/config.json is not UTF-8 text"),
        (
            Error::Json { path: path(), problem: JsonProblem::Malformed("why".into()) }.to_string(),
            "hf/config.json: it is not the JSON that it should be: why",
        ),
        (
            Error::Json { path: path(), problem: JsonProblem::TooLarge { limit: 16 << 20 } }.to_string(),
            "hf/config.json: it is larger than 16 MiB",
        ),
        (config(ConfigProblem::MissingKey { key: key() }), "hf/config.json: head_dim is missing"),
        (
            config(ConfigProblem::WrongValue { key: key(), expected: Expected::Count { least: 1, most: 9 } }),
            "hf/config.json: head_dim is not a whole number from 1 to 9",
        ),
        (
            config(ConfigProblem::Architecture { name: name() }),
            &format!("hf/config.json: the architecture X does not import; those that do are {names}"),
        ),
        (
            config(ConfigProblem::MixtureOfExperts { name: name(), key: "num_experts".into() }),
            "hf/config.json: X with num_experts is a mixture of experts, which does not import; dense models do",
        ),
        (
            config(ConfigProblem::Unsupported {
                key: key(),
                found: "7".into(),
                architecture: "qwen2",
                expected: "8".into(),
            }),
            "hf/config.json: head_dim is 7, which qwen2 files cannot hold: 8 is expected",
        ),
        (
            config(ConfigProblem::Quantized { method: "fp8".into() }),
            "hf/config.json: the weights are quantized already (fp8); import the folder that was saved before that",
        ),
        (
            config(ConfigProblem::Indivisible { key: key(), found: 7, of: "n".into(), divisor: 2 }),
            "hf/config.json: head_dim is 7, which is no multiple of n, 2",
        ),
        (
            config(ConfigProblem::Length { key: key(), found: 7, expected: 8 }),
            "hf/config.json: head_dim has 7 entries; 8 are expected",
        ),
        (
            tokenizer(TokenizerProblem::Model { kind: "Unigram".into() }),
            "hf/config.json: its model is Unigram; byte-level and SentencePiece-style BPE can be imported",
        ),
        (
            tokenizer(TokenizerProblem::Vocabulary { id: 8, rows: 8 }),
            "hf/config.json: its vocabulary does not fit: token 8 has no row among the 8 of the embedding",
        ),
        (
            tokenizer(TokenizerProblem::RepeatedToken { first: 1, second: 2 }),
            "hf/config.json: the tokens 1 and 2 have the same text",
        ),
        (
            tokenizer(TokenizerProblem::RepeatedId { id: 7, first: "a".into(), second: "b".into() }),
            "hf/config.json: the tokens \"a\" and \"b\" have the same id, 7",
        ),
        (
            tokenizer(TokenizerProblem::NoByte { byte: 10 }),
            "hf/config.json: it has no token for the byte 0x0A",
        ),
        (
            tokenizer(TokenizerProblem::Merge { rank: 3 }),
            "hf/config.json: merge 3 does not make a token of two tokens",
        ),
        (
            tokenizer(TokenizerProblem::PreTokenizer { found: "Whitespace".into() }),
            "hf/config.json: llama.cpp has no name for its pre-tokenizer, Whitespace",
        ),
        (
            tokenizer(TokenizerProblem::Normalizer { found: "Lowercase".into() }),
            "hf/config.json: its normalizer Lowercase cannot be written into a GGUF",
        ),
        (
            tokenizer(TokenizerProblem::NoToken { key: "eos_token".into(), text: "</s>".into() }),
            "hf/config.json: eos_token is \"</s>\", which is no token",
        ),
        (
            tokenizer(TokenizerProblem::NoEnd),
            "hf/config.json: neither it nor config.json nor generation_config.json names the token that ends a text \
             (eos_token)",
        ),
        (
            weights(WeightsProblem::Truncated { found: 7, expected: 8 }),
            "hf/config.json: the file is truncated: it has 7 bytes of 8",
        ),
        (
            weights(WeightsProblem::TooLong { found: 9, expected: 8 }),
            "hf/config.json: the file has 9 bytes, its tensors end after 8",
        ),
        (weights(WeightsProblem::Header("why".into())), "hf/config.json: it is not a safetensors file: why"),
        (
            weights(WeightsProblem::MissingTensor { tensor: "a".into() }),
            "hf/config.json: the tensor a is missing",
        ),
        (
            weights(WeightsProblem::RepeatedTensor { tensor: "a".into() }),
            "hf/config.json: the tensor a is in another file, too",
        ),
        (
            weights(WeightsProblem::Shape { tensor: "a".into(), found: vec![1], expected: vec![1, 2] }),
            "hf/config.json: the tensor a has the shape [1]; config.json asks for [1, 2]",
        ),
        (
            weights(WeightsProblem::Dtype { tensor: "a".into(), dtype: "F8_E4M3".into() }),
            "hf/config.json: the tensor a is stored as F8_E4M3; F32, F16, BF16 and F64 can be imported",
        ),
        (
            weights(WeightsProblem::ExtraTensors { architecture: "llama", tensors: tensors() }),
            "hf/config.json: llama has no a, b, c and 2 more",
        ),
        (
            Error::OutIsSource { out: "a/config.json".into(), name: "config.json".into() }.to_string(),
            "a/config.json is config.json of the model itself; give another file",
        ),
        (
            tensor(TensorProblem::NotFinite),
            "hf/config.json: tensor a.weight holds a value that is no finite number",
        ),
        (
            tensor(TensorProblem::Beyond { kind: TensorType::Q8_0, value: 1e7 }),
            "hf/config.json: tensor a.weight holds 10000000, beyond what Q8_0 can hold; use bf16",
        ),
        (
            tensor(TensorProblem::Beyond { kind: TensorType::BF16, value: 3.5 }),
            "hf/config.json: tensor a.weight holds 3.5, beyond what BF16 can hold; use f32",
        ),
        (
            tensor(TensorProblem::Quantizer("why".into())),
            "hf/config.json: tensor a.weight cannot be quantized: why",
        ),
        (Error::Cancelled.to_string(), "stopped before the model was imported"),
        (
            Notice::Window { tokens: 128 }.to_string(),
            "the model was trained with a window of 128 tokens, which llama.cpp does not have for it: longer texts are \
             computed with attention to all of them",
        ),
    ] {
        assert_eq!(found, words);
    }
}
