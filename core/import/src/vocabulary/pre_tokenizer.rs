//! Which kind of vocabulary a file has, and what llama.cpp calls its cut into words.
//!
//! A GGUF cannot hold the expressions of a cut; llama.cpp has them under names (`llama-vocab.cpp`). They are recognized here by
//! the expressions that `tokenizer.json` has.

use serde_json::Value;

use super::Kind;
use super::tokenizer_json::TokenizerJson;
use crate::TokenizerProblem;

/// Llama 3's cut, SmolLM3's and Granite 4's: at most three digits together.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's and 3's: every digit alone.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's since Nemo: words end where their case changes.
pub(super) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o's, which Phi-4-mini has: so do words with contractions, and at most three digits together.
pub(super) const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A step of a cut.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    /// By an expression.
    Split(&'a str),
    /// Every digit alone.
    Digits,
    /// Bytes become characters; before that, `cuts` says, by GPT-2's expression.
    ByteLevel { cuts: bool },
    /// Spaces become `▁`; whether one is put before a text.
    Metaspace { space_before: bool },
    /// At spaces, which the normalizer has replaced.
    Spaces,
}

/// The kind of the vocabulary.
pub(super) fn classify(json: &TokenizerJson) -> Result<Kind, TokenizerProblem> {
    let mut steps = Vec::new();
    collect(json.pre_tokenizer.as_ref(), &mut steps)?;
    if steps.iter().any(|step| matches!(step, Step::ByteLevel { .. })) {
        let normalizers = all(json.normalizer.as_ref(), "normalizers");
        if let Some(other) = normalizers.into_iter().find(|step| kind_of(step) != "NFC") {
            return Err(TokenizerProblem::Normalizer { found: other.to_string() });
        }
        return Ok(Kind::ByteLevel { cut: cut(&steps, json.model.ignore_merges)? });
    }
    let metaspace = steps.iter().find_map(|step| match step {
        Step::Metaspace { space_before } => Some(*space_before),
        _ => None,
    });
    if let Some(other) = steps.iter().find(|step| !matches!(step, Step::Metaspace { .. } | Step::Spaces)) {
        return Err(TokenizerProblem::PreTokenizer { found: format!("{other:?} without ByteLevel") });
    }
    if !json.model.byte_fallback {
        let kind = "BPE that is neither byte-level nor falls back to bytes".to_owned();
        return Err(TokenizerProblem::Model { kind });
    }
    let normalizers = Normalizers::read(json.normalizer.as_ref())?;
    if metaspace.is_none() && !normalizers.replaces {
        let found = "without Metaspace or Replace, which make spaces ▁,".to_owned();
        return Err(TokenizerProblem::Normalizer { found });
    }
    Ok(Kind::SentencePiece { space_before: metaspace.unwrap_or(false) || normalizers.prepends })
}

/// What SentencePiece's vocabularies do with a text before it is cut.
#[derive(Default)]
struct Normalizers {
    /// Spaces become `▁`.
    replaces: bool,
    /// One `▁` is put before a text.
    prepends: bool,
}

impl Normalizers {
    /// Refuses everything else.
    fn read(value: Option<&Value>) -> Result<Self, TokenizerProblem> {
        let mut found = Self::default();
        for step in all(value, "normalizers") {
            let text = |key: &str| step.get(key).and_then(Value::as_str);
            let replaced =
                step.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Value::as_str);
            match kind_of(step) {
                "Replace" if replaced == Some(" ") && text("content") == Some("▁") => found.replaces = true,
                "Prepend" if text("prepend") == Some("▁") => found.prepends = true,
                _ => return Err(TokenizerProblem::Normalizer { found: step.to_string() }),
            }
        }
        Ok(found)
    }
}

/// llama.cpp's name of a byte-level cut. With `ignore_merges` a word that is a token is one whatever the merges say; in llama.cpp
/// the name decides that, too.
fn cut(steps: &[Step], ignore_merges: bool) -> Result<&'static str, TokenizerProblem> {
    match (steps, ignore_merges) {
        ([Step::ByteLevel { cuts: true }], false) => Ok("gpt-2"),
        ([Step::Digits, Step::ByteLevel { cuts: true }], false) => Ok("smollm"),
        ([Step::Split(LLAMA3), Step::ByteLevel { cuts: false }], true) => Ok("llama-bpe"),
        ([Step::Split(LLAMA3), Step::ByteLevel { cuts: false }], false) => Ok("dbrx"),
        ([Step::Split(QWEN2), Step::ByteLevel { cuts: false }], false) => Ok("qwen2"),
        ([Step::Split(TEKKEN), Step::ByteLevel { cuts: false }], true) => Ok("tekken"),
        ([Step::Split(GPT4O), Step::ByteLevel { cuts: false }], false) => Ok("gpt-4o"),
        _ => {
            let found = format!("{steps:?} with ignore_merges {ignore_merges}");
            Err(TokenizerProblem::PreTokenizer { found })
        }
    }
}

/// The steps of a pre-tokenizer, those of a sequence one after the other.
fn collect<'a>(value: Option<&'a Value>, steps: &mut Vec<Step<'a>>) -> Result<(), TokenizerProblem> {
    for step in all(value, "pretokenizers") {
        let flag = |key: &str| step.get(key).and_then(Value::as_bool);
        let unknown = || TokenizerProblem::PreTokenizer { found: step.to_string() };
        steps.push(match kind_of(step) {
            "Split" => split(step).ok_or_else(unknown)?,
            "Digits" if flag("individual_digits") == Some(true) => Step::Digits,
            "ByteLevel" if flag("add_prefix_space") != Some(true) => {
                Step::ByteLevel { cuts: flag("use_regex") != Some(false) }
            }
            "Metaspace" if step.get("replacement").and_then(Value::as_str) == Some("▁") => {
                Step::Metaspace {
                    space_before: match step.get("prepend_scheme").and_then(Value::as_str) {
                        Some(scheme) => scheme != "never",
                        None => flag("add_prefix_space") != Some(false),
                    },
                }
            }
            _ => return Err(unknown()),
        });
    }
    Ok(())
}

/// A cut that leaves what matches as pieces of their own, or all that lies between what does not.
fn split(step: &Value) -> Option<Step<'_>> {
    let pattern = step.get("pattern")?;
    if pattern.get("String").and_then(Value::as_str) == Some(" ") {
        return Some(Step::Spaces);
    }
    let expression = pattern.get("Regex")?.as_str()?;
    let behavior = step.get("behavior")?.as_str()?;
    let is_inverted = step.get("invert").and_then(Value::as_bool) == Some(true);
    // These expressions match any text from end to end, so that both mean the same.
    matches!((behavior, is_inverted), ("Isolated", false) | ("Removed", true))
        .then_some(Step::Split(expression))
}

/// The members of a sequence, or the one that there is.
fn all<'a>(value: Option<&'a Value>, list: &str) -> Vec<&'a Value> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Vec::new() };
    match value.get(list).and_then(Value::as_array) {
        Some(members) if kind_of(value) == "Sequence" => {
            members.iter().flat_map(|member| all(Some(member), list)).collect()
        }
        _ => vec![value],
    }
}

fn kind_of(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("of no type")
}
