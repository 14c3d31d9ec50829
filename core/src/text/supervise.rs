//! Which tokens of a rendered conversation are the assistant's, for any template.
//!
//! A template is a program, so its text cannot be taken apart by rules. It is rendered twice: as it is, and
//! with each answer replaced by a marker. What stands around the markers is the template's own text, and
//! the first rendering must be exactly that text with the answers in between. The whole conversation is
//! then tokenized once; the tokens of an answer are those of its bytes, and the end-of-turn token behind
//! it. Whatever does not fit (an answer that is rewritten or shown twice, earlier turns that change when
//! later ones are there, a token that is half template and half answer) is refused, never guessed.

use std::ops::Range;

use super::example::Example;
use super::template::{ChatTemplate, Message};
use super::token_kind::TokenKind;
use super::tokenizer::{Encoding, Tokenizer};
use crate::{Error, Result};

const ASSISTANT: &str = "assistant";

/// White space that a template may take from the two ends of an answer.
type Trim = fn(&str) -> &str;
const TRIMS: [Trim; 7] = [
    |content| content,
    str::trim,
    str::trim_end,
    str::trim_start,
    |content| content.trim_matches('\n'),
    |content| content.trim_end_matches('\n'),
    |content| content.trim_start_matches('\n'),
];

/// An answer: the place of its message in the conversation, and of its content in the rendered text.
#[derive(Debug, PartialEq)]
struct Answer {
    message: usize,
    place: Range<usize>,
}

/// The tokens of a conversation with a loss on every assistant turn: its content and the end-of-turn
/// token behind it. Tokens after the last of them are left out, nothing is learned there.
///
/// # Errors [`Error::Template`] if there is no assistant turn, or if the template's text and the answers
/// cannot be told apart; [`Error::Tokenizer`] if the text cannot be encoded.
pub fn supervised(template: &ChatTemplate, tokenizer: &Tokenizer, messages: &[Message]) -> Result<Example> {
    if !messages.iter().any(|message| message.role == ASSISTANT) {
        return Err(refusal("the conversation has no assistant turn"));
    }
    let text = template.render(messages, false)?;
    let answers = locate(template, messages, &text)?;
    let mut encoding = tokenizer.encode_with_ranges(&text, true)?;
    let mut is_supervised = vec![false; encoding.ids.len()];
    for answer in &answers {
        let tokens = answer_tokens(tokenizer, &text, &encoding, answer)?;
        check_prompt(template, tokenizer, &messages[..answer.message], &text, &encoding.ids[..tokens.start])?;
        is_supervised[tokens].fill(true);
    }
    let len = is_supervised.iter().rposition(|&is_supervised| is_supervised).map_or(0, |last| last + 1);
    if len < 2 {
        return Err(refusal("the assistant's turns are empty: there is nothing to learn"));
    }
    encoding.ids.truncate(len);
    Ok(Example::from_supervision(encoding.ids, &is_supervised))
}

/// Finds the contents of all answers in `text`, the rendering of `messages`.
fn locate(template: &ChatTemplate, messages: &[Message], text: &str) -> Result<Vec<Answer>> {
    let stem = unused_word(text);
    let marker = |message: usize| format!("{stem}{message}Q");
    let mut marked = messages.to_vec();
    let turns = (0..messages.len()).filter(|&index| messages[index].role == ASSISTANT);
    let turns: Vec<usize> = turns.collect();
    for &turn in &turns {
        marked[turn].content = marker(turn);
    }
    let marked = template.render(&marked, false)?;

    let mut between = Vec::with_capacity(turns.len() + 1);
    let mut rest = marked.as_str();
    for &turn in &turns {
        let marker = marker(turn);
        if marked.matches(&marker).count() > 1 {
            return Err(refusal(format!("it shows the content of message {} more than once", turn + 1)));
        }
        let Some((before, after)) = rest.split_once(&marker) else {
            return Err(refusal(format!(
                "it does not show the content of message {} as it stands",
                turn + 1
            )));
        };
        between.push(before);
        rest = after;
    }
    between.push(rest);
    TRIMS.iter().find_map(|&trim| fit(text, messages, &turns, &between, trim)).ok_or_else(|| {
        refusal(
            "what it writes around the answers depends on what they say, or it changes them, so the tokens \
             to learn cannot be told from its own",
        )
    })
}

/// The places of the answers if `text` is exactly `between`, with the trimmed answers in its gaps.
fn fit(
    text: &str,
    messages: &[Message],
    turns: &[usize],
    between: &[&str],
    trim: Trim,
) -> Option<Vec<Answer>> {
    let mut answers = Vec::with_capacity(turns.len());
    let mut rest = text;
    for (&turn, before) in turns.iter().zip(between) {
        let content = trim(&messages[turn].content);
        rest = rest.strip_prefix(before)?;
        let start = text.len() - rest.len();
        rest = rest.strip_prefix(content)?;
        answers.push(Answer { message: turn, place: start..start + content.len() });
    }
    (Some(&rest) == between.last()).then_some(answers)
}

/// A word that does not occur in `text`, in mixed case so that a change of case is noticed.
fn unused_word(text: &str) -> String {
    let mut word = "nGraft".to_owned();
    while text.contains(&word) {
        word.push('Z');
    }
    word
}

/// The tokens of an answer with its end-of-turn token.
fn answer_tokens(
    tokenizer: &Tokenizer,
    text: &str,
    encoding: &Encoding,
    answer: &Answer,
) -> Result<Range<usize>> {
    let Range { start, end } = answer.place;
    let ranges = &encoding.ranges;
    let is_marker = |t: usize| {
        tokenizer.kind(encoding.ids[t]) == Some(TokenKind::Control)
            || tokenizer.is_end_of_generation(encoding.ids[t])
    };
    // A token without bytes just before the answer is the space that SentencePiece puts before a text.
    let begins = |t: &usize| {
        let range = &ranges[*t];
        range.end > start || (start < end && range.is_empty() && range.start == start && !is_marker(*t))
    };
    let first = (0..ranges.len()).find(begins).unwrap_or(ranges.len());
    let n_tokens = ranges[first..].iter().take_while(|range| range.start < end).count();
    let mut after = first + n_tokens;
    if n_tokens > 0 {
        let before = text.get(ranges[first].start..start).unwrap_or_default();
        let behind = text.get(end..ranges[after - 1].end).unwrap_or_default();
        if !before.trim().is_empty() || !behind.trim().is_empty() {
            return Err(refusal(format!(
                "a token holds the edge of message {} together with text of the template",
                answer.message + 1
            )));
        }
    }
    let is_blank = |t: &usize| text.get(ranges[*t].clone()).is_some_and(|text| text.trim().is_empty());
    let blanks = (after..ranges.len()).take_while(|t| !is_marker(*t) && is_blank(t)).count();
    if after + blanks < ranges.len() && is_marker(after + blanks) {
        after += blanks + 1;
    }
    Ok(first..after)
}

/// When the model answers, it has been given the conversation before the answer, rendered on its own. Those
/// tokens must be the ones that stand before the answer here.
fn check_prompt(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    history: &[Message],
    text: &str,
    before: &[u32],
) -> Result<()> {
    if history.is_empty() {
        return Ok(()); // an opening line: no prompt leads to it
    }
    let number = history.len() + 1;
    let prompt = template.render(history, true)?;
    if !text.starts_with(&prompt) {
        return Err(refusal(format!(
            "it renders the turns before message {number} differently once that message and later ones are there, so \
             training would not match use; split the conversation so that each ends with one answer"
        )));
    }
    if !before.starts_with(&tokenizer.encode_with_bos(&prompt, true)?) {
        return Err(refusal(format!(
            "the beginning of message {number} merges with the prompt before it into one token; remove the white space \
             at its beginning"
        )));
    }
    Ok(())
}

fn refusal(problem: impl Into<String>) -> Error {
    Error::Template { problem: problem.into() }
}

#[cfg(test)]
mod tests;
