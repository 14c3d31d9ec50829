//! What a vocabulary says about each of its tokens, and which ones end a generation.

use std::collections::BTreeSet;

/// The kind of a token, as GGUF stores it in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Ordinary text.
    Normal,
    /// Stands for text outside of the vocabulary.
    Unknown,
    /// A marker such as `<|im_end|>`: only found in text when special tokens are asked for.
    Control,
    /// A piece that is found in text before anything else, such as Gemma's runs of spaces.
    UserDefined,
    /// Kept for later use.
    Unused,
    /// One byte, written `<0x0A>`.
    Byte,
}

impl TokenKind {
    /// The kind with GGUF's number; numbers that mean nothing are ordinary text.
    pub(crate) fn from_gguf(number: i32) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }

    /// Whether the token stands apart from ordinary text when a text is split.
    pub(crate) fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::UserDefined | Self::Unknown)
    }
}

/// Texts of tokens that end a turn or a text. GGUF names one such token, models use several.
/// In the order in which the end-of-turn token is looked for.
const END_OF_GENERATION: [&str; 23] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "</s>",
    "<|eom_id|>",
    "[EOS]",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<|plamo:eos|>",
];

/// How many of [`END_OF_GENERATION`] may be the end-of-turn token.
const END_OF_TURN: usize = 11;

/// Fill-in-the-middle markers: control tokens, whatever the file says.
const FILL_IN_THE_MIDDLE: [&str; 24] = [
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];

/// Fill-in-the-middle markers after which a model has nothing more to say.
const FILL_IN_THE_MIDDLE_ENDS: [&str; 11] = [
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Harmony's frame tokens are always shown, hence user-defined.
const ALWAYS_SHOWN: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// The tokens with a meaning of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Ends a turn of a chat.
    pub(crate) eot: Option<u32>,
    /// Every token that ends a generation.
    pub(crate) ids: BTreeSet<u32>,
}

/// Finds the tokens that end a generation and corrects the kinds of tokens that look like markers,
/// by the rules of llama.cpp.
///
/// `id_of` looks a text up; `named_eot` and `named` hold the ids that the file itself names for the end of
/// a turn, and for the end of a text, a message and the like.
pub(crate) fn find_ends(
    kinds: &mut [TokenKind],
    named_eot: Option<u32>,
    named: &[Option<u32>],
    id_of: impl Fn(&str) -> Option<u32>,
) -> Ends {
    let mut ends = Ends {
        eot: named_eot.or_else(|| END_OF_GENERATION[..END_OF_TURN].iter().find_map(|text| id_of(text))),
        ids: BTreeSet::new(),
    };
    let mut mark = |id: u32, kind: TokenKind| {
        if let Some(place) = kinds.get_mut(id as usize) {
            *place = kind;
        }
    };
    for id in FILL_IN_THE_MIDDLE.iter().filter_map(|text| id_of(text)) {
        mark(id, TokenKind::Control);
    }
    for id in END_OF_GENERATION.iter().chain(&FILL_IN_THE_MIDDLE_ENDS).filter_map(|text| id_of(text)) {
        mark(id, TokenKind::Control);
        ends.ids.insert(id);
    }
    for id in ALWAYS_SHOWN.iter().filter_map(|text| id_of(text)) {
        mark(id, TokenKind::UserDefined);
    }
    ends.ids.extend(named.iter().flatten());
    ends.ids.extend(ends.eot);

    // Harmony ends a message, not a generation, with <|end|>; some models have an ordinary </s>.
    let has = |text: &str| id_of(text).is_some_and(|id| ends.ids.contains(&id));
    let calls = has("<|call|>") || has("<|calls|>");
    let not_end = if (has("<|return|>") || has("<|flush|>")) && calls { id_of("<|end|>") } else { None };
    let not_eos = if has("<|tool_response>") || has("<|plamo:eos|>") { id_of("</s>") } else { None };
    if let Some(id) = not_end {
        ends.ids.remove(&id);
        mark(id, TokenKind::UserDefined);
    }
    if let Some(id) = not_eos {
        ends.ids.remove(&id);
        mark(id, TokenKind::Normal);
    }
    ends
}
