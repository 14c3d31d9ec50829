//! The cuts that there are, by the names that GGUF files give them.
//!
//! Each name stands for a list of expressions that are applied one after the other; what an expression does not match stays a
//! piece of its own. Expressions are those of llama.cpp, written for the `fancy-regex` engine of the `tokenizers` crate:
//! contractions spelled out (case folding would add the long s), and an explicit `|\s+` where llama.cpp's splitter takes the rest
//! of a run of white space.

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CONTRACTIONS: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";

/// Names that share their expressions.
pub(crate) struct Family {
    pub(super) names: &'static [&'static str],
    pub(super) expressions: fn() -> Vec<Expression>,
    pub(super) ignore_merges: bool,
    pub(super) add_bos: bool,
}

pub(crate) enum Expression {
    /// Matches any text from end to end.
    Covers(String),
    /// Matches some places.
    Isolates(&'static str),
}

pub(super) const FAMILIES: [Family; 16] = [
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

/// All names that are known.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.names).copied().filter(|name| !name.is_empty())
}
