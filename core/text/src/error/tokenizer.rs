//! What is wrong with a vocabulary, or with a text for it.

use crate::pre_tokenizer::families;

/// Why a vocabulary cannot be turned into a tokenizer, or a text cannot be encoded. None holds the text itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerProblem {
    /// A key that a vocabulary cannot do without.
    #[error("the file has no {key}")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A kind of vocabulary that cannot be read.
    #[error("vocabulary {name:?} is not supported; supported are gpt2 and llama")]
    Vocabulary {
        /// What the file calls it.
        name: String,
    },
    /// A way to cut texts into words that is not known.
    #[error(
        "pre-tokenizer {name:?} is not supported; supported are {}",
        families::names().collect::<Vec<_>>().join(", ")
    )]
    PreTokenizer {
        /// What the file calls it.
        name: String,
    },
    /// No tokens, or more than ids can count.
    #[error("tokenizer.ggml.tokens has {tokens} entries")]
    Size {
        /// How many there are.
        tokens: usize,
    },
    /// An array that does not have one entry for each token.
    #[error("{key} has {entries} entries for {tokens} tokens")]
    Lengths {
        /// The array's key.
        key: &'static str,
        /// Its entries.
        entries: usize,
        /// The vocabulary's tokens.
        tokens: usize,
    },
    /// More tokens than the model has embeddings for.
    #[error("the vocabulary has {tokens} tokens but the embedding only {rows} rows")]
    Embedding {
        /// The vocabulary's tokens.
        tokens: usize,
        /// The embedding's rows.
        rows: usize,
    },
    /// A token with the text of an earlier one.
    #[error("token {id} is in the vocabulary twice")]
    RepeatedToken {
        /// Its id.
        id: usize,
    },
    /// A merge that is not two tokens with a space between them.
    #[error("merge {rank} is not a pair of tokens")]
    Merge {
        /// Its place among the merges, from 0.
        rank: usize,
    },
    /// Merges that do not go with the vocabulary.
    #[error("merges: {0}")]
    Merges(String),
    /// An expression of ours that the engine does not compile.
    #[error("pre-tokenizer expression: {0}")]
    Expression(String),
    /// A run of characters that is too long for the engine.
    #[error("a run of {bytes} bytes without a word end is too long")]
    WordTooLong {
        /// Bytes that are left of it.
        bytes: usize,
    },
    /// A word that the engine does not encode.
    #[error("{0}")]
    Word(String),
    /// A character that the vocabulary has no piece for.
    #[error("the vocabulary has neither byte pieces nor an unknown piece for a character of the text")]
    Inexpressible,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let key = "tokenizer.ggml.scores";
        for (problem, words) in [
            (TokenizerProblem::Missing { key }, "the file has no tokenizer.ggml.scores"),
            (
                TokenizerProblem::Vocabulary { name: "t5".into() },
                "vocabulary \"t5\" is not supported; supported are gpt2 and llama",
            ),
            (TokenizerProblem::Size { tokens: 0 }, "tokenizer.ggml.tokens has 0 entries"),
            (
                TokenizerProblem::Lengths { key, entries: 3, tokens: 256 },
                "tokenizer.ggml.scores has 3 entries for 256 tokens",
            ),
            (
                TokenizerProblem::Embedding { tokens: 9, rows: 8 },
                "the vocabulary has 9 tokens but the embedding only 8 rows",
            ),
            (TokenizerProblem::RepeatedToken { id: 7 }, "token 7 is in the vocabulary twice"),
            (TokenizerProblem::Merge { rank: 0 }, "merge 0 is not a pair of tokens"),
            (TokenizerProblem::Merges("odd".into()), "merges: odd"),
            (TokenizerProblem::Expression("odd".into()), "pre-tokenizer expression: odd"),
            (
                TokenizerProblem::WordTooLong { bytes: 1_000_000 },
                "a run of 1000000 bytes without a word end is too long",
            ),
            (TokenizerProblem::Word("odd".into()), "odd"),
            (
                TokenizerProblem::Inexpressible,
                "the vocabulary has neither byte pieces nor an unknown piece for a character of the text",
            ),
        ] {
            assert_eq!(problem.to_string(), words);
        }
        let unknown = TokenizerProblem::PreTokenizer { name: "odd".into() }.to_string();
        let (start, end) = (
            "pre-tokenizer \"odd\" is not supported; supported are gpt-2, phi-2, jina-es, ",
            families::names().last().unwrap_or_default(),
        );
        assert!(unknown.starts_with(start) && unknown.ends_with(end), "{unknown}");
    }
}
