//! Conversations that are longer than the context.

use super::fit;
use crate::Result;
use crate::text::{ChatTemplate, Example, Message, Tokenizer, supervised};

/// The examples of one conversation.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    pub(super) examples: Vec<Example>,
    /// Tokens that did not fit anywhere.
    pub(super) lost_tokens: usize,
}

/// The examples of a conversation, none longer than `context`.
///
/// One that is too long is split between turns: each part has as many exchanges as fit, behind the system
/// messages at the start of the conversation. An exchange that is too long by itself keeps its answer as
/// far as it fits, and of what stands before it the part that is nearest.
pub(super) fn examples(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    messages: &[Message],
    context: usize,
) -> Result<Fitted> {
    let whole = supervised(template, tokenizer, messages)?;
    if fits(&whole, context) {
        return Ok(Fitted { examples: vec![shorten(whole, context)], lost_tokens: 0 });
    }
    let n_system = messages.iter().take_while(|message| message.role == "system").count();
    let (system, turns) = messages.split_at(n_system);
    let with_system = |part: &[Message]| supervised(template, tokenizer, &[system, part].concat());
    let mut fitted = Fitted::default();
    let mut start = 0;
    // The example of the exchanges since `start`, if they fit.
    let mut pending: Option<Example> = None;
    let mut end = 0;
    for exchange_end in exchange_ends(turns) {
        let mut example = with_system(&turns[start..exchange_end])?;
        if !fits(&example, context)
            && let Some(full) = pending.take()
        {
            fitted.examples.push(shorten(full, context));
            start = end;
            example = with_system(&turns[start..exchange_end])?;
        }
        end = exchange_end;
        if fits(&example, context) {
            pending = Some(example);
        } else {
            let (example, lost) = truncate(example, tokenizer, context);
            fitted.examples.push(example);
            fitted.lost_tokens += lost;
            start = end;
        }
    }
    fitted.examples.extend(pending.map(|example| shorten(example, context)));
    Ok(fitted)
}

/// Behind the last assistant turn of each run of them.
fn exchange_ends(turns: &[Message]) -> impl Iterator<Item = usize> {
    let is_answer = |index: usize| turns.get(index).is_some_and(|turn| turn.role == "assistant");
    (1..=turns.len()).filter(move |&end| is_answer(end - 1) && !is_answer(end))
}

/// The last token may be a mere target.
fn fits(example: &Example, context: usize) -> bool {
    example.len() <= context + 1
}

fn shorten(mut example: Example, context: usize) -> Example {
    example.ids.truncate(context);
    example.targets.truncate(context);
    example
}

fn truncate(example: Example, tokenizer: &Tokenizer, context: usize) -> (Example, usize) {
    let protected = usize::from(tokenizer.add_bos() && example.ids.first() == tokenizer.bos().as_ref());
    let mut is_supervised = vec![false];
    is_supervised.extend(example.targets.iter().map(|&target| target != Example::NO_LOSS));
    is_supervised.truncate(example.len());
    fit::answer(example.ids, is_supervised, protected, context)
}
