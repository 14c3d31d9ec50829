//! How byte-level BPE models cut a text into words before they merge bytes.
//!
//! A GGUF file names the cut in `tokenizer.ggml.pre`. Each name stands for a list of expressions that are
//! applied one after the other; what an expression does not match stays a piece of its own. Expressions
//! are those of llama.cpp, written for the `fancy-regex` engine of the `tokenizers` crate: contractions
//! spelled out (case folding would add the long s), and an explicit `|\s+` where llama.cpp's splitter
//! takes the rest of a run of white space.

use std::ops::Range;

use tokenizers::utils::SysRegex;

use crate::{Result, TokenizerProblem};

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CONTRACTIONS: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";

/// A pre-tokenizer, ready to use.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    steps: Vec<Step>,
    /// A word that is a token of its own is not split further, whatever the merges say.
    pub(crate) ignore_merges: bool,
    /// Whether models of this family begin a text with BOS unless the file says otherwise.
    pub(crate) add_bos: bool,
}

#[derive(Debug)]
struct Step {
    regex: SysRegex,
    /// Whether the expression matches any text from end to end.
    covers: bool,
}

/// Names that share their expressions.
struct Family {
    names: &'static [&'static str],
    expressions: fn() -> Vec<Expression>,
    ignore_merges: bool,
    add_bos: bool,
}

enum Expression {
    /// Matches any text from end to end.
    Covers(String),
    /// Matches some places.
    Isolates(&'static str),
}

const FAMILIES: [Family; 16] = [
    Family {
        names: &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
        expressions: || vec![Expression::Covers(GPT2.into())],
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        expressions: || vec![Expression::Isolates(r"\p{N}"), Expression::Covers(GPT2.into())],
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        expressions: || vec![Expression::Covers(word_expression(r"\p{L}+", r"\p{N}{1,3}", ""))],
        ignore_merges: true,
        add_bos: true,
    },
    Family {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe"],
        expressions: || vec![Expression::Covers(word_expression(r"\p{L}+", r"\p{N}{1,3}", ""))],
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["glm4", "glm5"],
        expressions: || vec![Expression::Covers(word_expression(r"\p{L}+", r"\p{N}{1,3}", ""))],
        ignore_merges: true,
        add_bos: false,
    },
    Family {
        names: &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "stablelm2",
            "megrez",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        expressions: || vec![Expression::Covers(word_expression(r"\p{L}+", r"\p{N}", ""))],
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["qwen35"],
        expressions: || vec![Expression::Covers(word_expression(r"[\p{L}\p{M}]+", r"\p{N}", r"\p{M}"))],
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["minicpm5"],
        expressions: || {
            vec![
                Expression::Isolates(r"\p{N}{1,3}"),
                Expression::Covers(word_expression(r"\p{L}+", r"\p{N}+", "")),
            ]
        },
        ignore_merges: true,
        add_bos: false,
    },
    Family {
        names: &["seed-coder"],
        expressions: || {
            vec![Expression::Covers(format!(
                r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
            ))]
        },
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["bailingmoe", "bailingmoe2", "llada-moe"],
        expressions: || {
            vec![Expression::Covers(
                r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
                    .into(),
            )]
        },
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["tekken"],
        expressions: || vec![Expression::Covers(cased_expression("", r"\p{N}"))],
        ignore_merges: true,
        add_bos: true,
    },
    Family {
        names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        expressions: || {
            vec![Expression::Covers(cased_expression(&format!("{CONTRACTIONS}?"), r"\p{N}{1,3}"))]
        },
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        expressions: || {
            vec![
                Expression::Isolates(r"\p{N}{1,3}"),
                Expression::Isolates("[一-龥぀-ゟ゠-ヿ]+"),
                // Control characters and the like match nowhere here: they stay pieces of their own.
                Expression::Isolates(
                    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
                ),
            ]
        },
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["deepseek-coder"],
        expressions: || {
            ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[[一-龥ࠀ-一가-퟿]&&\\S]+", r"\p{N}"]
                .map(Expression::Isolates)
                .into()
        },
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["falcon"],
        expressions: || {
            vec![
                Expression::Isolates(r"[\p{P}$+<=>^~|`]+"),
                Expression::Covers(GPT2.into()),
                Expression::Isolates("[0-9][0-9][0-9]"),
            ]
        },
        ignore_merges: false,
        add_bos: false,
    },
    Family {
        names: &["default", ""],
        expressions: || {
            vec![
                Expression::Isolates(r"[\p{P}$+<=>^~|]+"),
                Expression::Covers(GPT2.into()),
                Expression::Isolates(r"\p{N}+"),
                Expression::Isolates("[0-9][0-9][0-9]"),
            ]
        },
        ignore_merges: false,
        add_bos: false,
    },
];

/// Contractions, words with one character before them, numbers, punctuation with the line ends behind it,
/// line ends, white space: Llama 3's expression and those made after it.
fn word_expression(word: &str, number: &str, not_punctuation: &str) -> String {
    format!(
        r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?{word}|{number}| ?[^\s\p{{L}}{not_punctuation}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

/// As [`word_expression`], but a word ends where its case changes. Only A to Z and a to z count as having
/// a case, as in llama.cpp.
fn cased_expression(ending: &str, number: &str) -> String {
    let (not_lower, not_upper) = (r"[\p{L}&&[^a-z]]", r"[\p{L}&&[^A-Z]]");
    format!(
        r"[^\r\n\p{{L}}\p{{N}}]?{not_lower}*{not_upper}+{ending}|[^\r\n\p{{L}}\p{{N}}]?{not_lower}+{not_upper}*{ending}|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
}

impl PreTokenizer {
    /// The pre-tokenizer that a file calls `name`; no name is the default one.
    ///
    /// # Errors
    /// [`TokenizerProblem`] with the names that are known, if this one is not.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let family = FAMILIES.iter().find(|family| family.names.contains(&name));
        let family = family.ok_or_else(|| TokenizerProblem::PreTokenizer { name: name.to_owned() })?;
        let steps = (family.expressions)().into_iter().map(Step::new).collect::<Result<_>>()?;
        Ok(Self { steps, ignore_merges: family.ignore_merges, add_bos: family.add_bos })
    }

    /// All names that are known.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        FAMILIES.iter().flat_map(|family| family.names).copied().filter(|name| !name.is_empty())
    }

    /// Cuts `text` into words, which together are the text.
    ///
    /// # Errors
    /// [`TokenizerProblem`] if a run of characters is too long for the engine.
    pub(crate) fn words(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let mut words = Vec::with_capacity(text.len() / 4 + 1);
        words.push(0..text.len());
        for step in &self.steps {
            let mut finer = Vec::with_capacity(words.len());
            for word in words {
                step.cut(text, word, &mut finer)?;
            }
            words = finer;
        }
        Ok(words)
    }
}

impl Step {
    fn new(expression: Expression) -> Result<Self> {
        let (expression, covers) = match &expression {
            Expression::Covers(expression) => (expression.as_str(), true),
            Expression::Isolates(expression) => (*expression, false),
        };
        let regex =
            SysRegex::new(expression).map_err(|error| TokenizerProblem::Expression(error.to_string()))?;
        Ok(Self { regex, covers })
    }

    fn cut(&self, text: &str, word: Range<usize>, into: &mut Vec<Range<usize>>) -> Result<()> {
        let mut rest = word.start;
        for (from, to) in self.regex.find_iter(&text[word.clone()]) {
            let (from, to) = (word.start + from, word.start + to);
            if rest < from {
                into.push(rest..from);
            }
            if from < to {
                into.push(from..to);
            }
            rest = to;
        }
        if rest < word.end {
            // The engine gives up silently on runs of about a million characters.
            if self.covers {
                return Err(TokenizerProblem::WordTooLong { bytes: word.end - rest }.into());
            }
            into.push(rest..word.end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Error;

    fn words<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let pre_tokenizer = PreTokenizer::named(name).unwrap();
        pre_tokenizer.words(text).unwrap().into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn every_named_pre_tokenizer_compiles_and_keeps_the_text() {
        let text = "It's 12345 o'clock.\r\n\n  Ünï\u{301}çødé 日本語 \u{1F469}\u{200D}\u{1F680}\tx = {\"a\": [1, 2]};   \n\u{0}\u{a0}end ";
        for name in PreTokenizer::names() {
            assert_eq!(words(name, text).concat(), text, "{name}");
            assert!(words(name, "").is_empty(), "{name}");
        }
    }

    #[test]
    fn families_cut_as_they_are_known_to() {
        assert_eq!(words("gpt-2", "I'm 123  here.\n"), ["I", "'m", " 123", " ", " here", ".", "\n"]);
        assert_eq!(words("smollm", "a 123"), ["a", " ", "1", "2", "3"]);
        assert_eq!(
            words("llama-bpe", "I'LL go 12345!\n\n x"),
            ["I", "'LL", " go", " ", "123", "45", "!\n\n", " x"]
        );
        assert_eq!(words("qwen2", "12 a\n  b"), ["1", "2", " a", "\n", " ", " b"]);
        assert_eq!(words("tekken", "camelCase HTTPServer"), ["camel", "Case", " HTTPServer"]);
        // The long s folds to s, but is no contraction.
        assert_eq!(words("llama-bpe", "a'\u{17f}"), ["a", "'\u{17f}"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_known_ones() {
        let error = PreTokenizer::named("from-the-future").unwrap_err();
        let expected = TokenizerProblem::PreTokenizer { name: "from-the-future".into() };
        assert!(matches!(&error, Error::Tokenizer { problem } if *problem == expected), "{error}");
        assert!(error.to_string().contains("llama-bpe"), "{error}");
        assert_eq!(PreTokenizer::named("").unwrap().steps.len(), 4);
    }
}
