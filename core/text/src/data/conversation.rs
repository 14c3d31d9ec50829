//! Conversations that are longer than the context.

use std::ops::Range;

use super::truncate;
use crate::Result;
use crate::{ChatTemplate, Conversation, Example, Message, Supervised, Tokenizer, supervised};

/// The examples of one line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fitted {
    pub(super) examples: Vec<Example>,
    /// Tokens that did not fit anywhere.
    pub(super) lost_tokens: usize,
    /// Whether it was longer than the context and became several examples.
    pub(super) is_split: bool,
    /// Whether it is several examples because the template shows earlier turns otherwise later.
    pub(super) is_separated: bool,
    /// Whether the end-of-text token stands where the template ends an answer without one.
    pub(super) is_unclosed: bool,
}

impl Fitted {
    /// Examples that a text was cut into.
    pub(super) fn of(examples: Vec<Example>, lost_tokens: usize) -> Self {
        Self { is_split: examples.len() > 1, examples, lost_tokens, ..Self::default() }
    }
}

/// The examples of a conversation, none longer than `context`.
///
/// One that is too long is split between turns: each part has as many exchanges as fit, behind the system
/// messages at the start of the conversation. An exchange that is too long by itself keeps its answer as
/// far as it fits, and of what stands before it the part that is nearest.
pub(super) fn examples(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    context: usize,
) -> Result<Fitted> {
    let whole = supervised(template, tokenizer, conversation)?;
    let mut fitted = Fitted {
        is_separated: whole.examples.len() > 1,
        is_unclosed: whole.unclosed > 0,
        ..Fitted::default()
    };
    let cutter = Cutter { tokenizer, context };
    if cutter.fit(&whole) {
        fitted.examples.extend(whole.examples.into_iter().map(|example| cutter.shorten(example)));
        return Ok(fitted);
    }
    let parts = match whole.examples.as_slice() {
        [_] => parts(template, &cutter, conversation),
        // Each answer has its own prompt already.
        _ => None,
    };
    let parts = parts.unwrap_or_else(|| vec![whole]);
    fitted.is_split = parts.len() > 1;
    for example in parts.into_iter().flat_map(|part| part.examples) {
        let (examples, lost) = cutter.cut(example);
        fitted.is_split |= examples.len() > 1;
        fitted.examples.extend(examples);
        fitted.lost_tokens += lost;
    }
    Ok(fitted)
}

/// The parts of a conversation with as many exchanges as fit, or a single one. None if the template does not take
/// them by themselves.
fn parts(template: &ChatTemplate, cutter: &Cutter, conversation: &Conversation) -> Option<Vec<Supervised>> {
    let Conversation { messages, variables } = conversation;
    let n_system = messages.iter().take_while(|message| message.is_system()).count();
    let (system, turns) = messages.split_at(n_system);
    let part = |turns: &[Message]| {
        let part = Conversation { messages: [system, turns].concat(), variables: variables.clone() };
        supervised(template, cutter.tokenizer, &part).ok()
    };
    let mut parts = Vec::new();
    let mut start = 0;
    // The exchanges since `start`, if they fit, and where they end.
    let mut pending: Option<(Supervised, usize)> = None;
    for end in exchange_ends(turns) {
        let mut next = part(&turns[start..end])?;
        if !cutter.fit(&next)
            && let Some((full, full_end)) = pending.take()
        {
            parts.push(full);
            start = full_end;
            next = part(&turns[start..end])?;
        }
        if cutter.fit(&next) {
            pending = Some((next, end));
        } else {
            parts.push(next);
            start = end;
        }
    }
    parts.extend(pending.map(|(part, _)| part));
    parts.retain(|part| !part.examples.is_empty());
    Some(parts)
}

/// Behind the last answer of each run of them, the calls of tools between them included.
fn exchange_ends(turns: &[Message]) -> impl Iterator<Item = usize> {
    let goes_on = |turn: &Message| turn.is_answer() || turn.is_tool_result();
    (1..=turns.len()).filter(move |&end| turns[end - 1].is_answer() && !turns.get(end).is_some_and(goes_on))
}

/// Makes examples of a conversation fit in a context.
struct Cutter<'a> {
    tokenizer: &'a Tokenizer,
    context: usize,
}

impl Cutter<'_> {
    /// The last token may be a mere target.
    fn fit(&self, part: &Supervised) -> bool {
        part.examples.iter().all(|example| example.len() <= self.context + 1)
    }

    fn shorten(&self, mut example: Example) -> Example {
        example.ids.truncate(self.context);
        example.targets.truncate(self.context);
        example
    }

    /// An example of several answers that does not fit becomes one for each, all cut to fit; gives the lost tokens, too.
    fn cut(&self, example: Example) -> (Vec<Example>, usize) {
        if example.len() <= self.context + 1 {
            return (vec![self.shorten(example)], 0);
        }
        let Self { tokenizer, context } = *self;
        let protected = usize::from(tokenizer.add_bos() && example.ids.first() == tokenizer.bos().as_ref());
        let cut = answers(&example).map(|answer| {
            let is_supervised = (0..answer.end).map(|t| t >= answer.start).collect();
            truncate::answer(example.ids[..answer.end].to_vec(), is_supervised, protected, context)
        });
        let (examples, lost): (Vec<_>, Vec<_>) = cut.unzip();
        (examples, lost.into_iter().sum())
    }
}

/// The answers in an example, each as the range of its tokens.
fn answers(example: &Example) -> impl Iterator<Item = Range<usize>> {
    let is_learned = |t: usize| t > 0 && example.targets[t - 1] != Example::NO_LOSS;
    let starts = (1..example.len()).filter(move |&t| is_learned(t) && !is_learned(t - 1));
    starts.map(move |start| {
        let len = (start..example.len()).take_while(|&t| is_learned(t)).count();
        start..start + len
    })
}
