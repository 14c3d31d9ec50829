//! Which tokens of a conversation are learned.
//!
//! For each of the assistant's turns the prompt is tokenized as it is at use, and so, apart from it, is what the model
//! must say then, up to and including the token that ends a generation; the two are joined. A text that is tokenized as a
//! whole can have tokens that are half prompt and half answer, which no model is ever given or asked for.
//!
//! A later prompt that begins with the tokens so far goes on in the same example, so that a conversation is usually one
//! example with several answers. Where the template shows earlier turns otherwise once later ones are there (it may
//! leave out their thoughts), or the tokens differ, an answer begins an example of its own.

use super::answer::{Answer, answer};
use super::conversation::Conversation;
use super::example::Example;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use super::unused::check_answer;
use crate::Result;

/// What is learned from a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Supervised {
    /// The examples. In each, what stands before an answer is the prompt of that answer at use.
    pub examples: Vec<Example>,
    /// Answers that the template ends without a token that ends a generation: the end-of-text token was added.
    pub unclosed: usize,
}

/// The examples of a conversation, with a loss on all that the model must say in it, and on nothing else: on each of the
/// assistant's turns that is not masked. There are none if all of them are.
///
/// # Errors
/// [`Error::Rendering`](crate::Error::Rendering) if the template refuses the turns;
/// [`Error::Template`](crate::Error::Template) if it does not tell what the model must say;
/// [`Error::Tokenizer`](crate::Error::Tokenizer) if the text cannot be encoded.
pub fn supervised(
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
) -> Result<Supervised> {
    let mut joined: Vec<Joined> = Vec::new();
    let mut unclosed = 0;
    for (index, message) in conversation.messages.iter().enumerate() {
        if !message.is_learned() {
            continue;
        }
        let answer = answer(template, conversation, index)?;
        check_answer(template, conversation, index, &answer)?;
        let Answer { prompt, completion } = answer;
        let prompt = tokenizer.encode_with_bos(&prompt, true)?;
        let completion = said(tokenizer, &prompt, &completion)?;
        unclosed += usize::from(!completion.is_closed_by_template);
        match joined.last_mut() {
            Some(last) if prompt.starts_with(&last.ids) => last.push(&prompt[last.ids.len()..], false),
            _ => joined.push(Joined::of(prompt)),
        }
        if let Some(last) = joined.last_mut() {
            last.push(&completion.ids, true);
        }
    }
    let examples = joined.into_iter().map(Joined::into_example).collect();
    Ok(Supervised { examples, unclosed })
}

/// Tokens of prompts and answers in turn.
struct Joined {
    ids: Vec<u32>,
    is_supervised: Vec<bool>,
}

impl Joined {
    fn of(prompt: Vec<u32>) -> Self {
        let is_supervised = vec![false; prompt.len()];
        Self { ids: prompt, is_supervised }
    }

    fn push(&mut self, ids: &[u32], is_supervised: bool) {
        self.ids.extend(ids);
        self.is_supervised.resize(self.ids.len(), is_supervised);
    }

    fn into_example(self) -> Example {
        Example::from_supervision(self.ids, &self.is_supervised)
    }
}

/// The tokens of an answer.
struct Said {
    ids: Vec<u32>,
    is_closed_by_template: bool,
}

/// The tokens that the model must say behind `prompt`, up to the one that ends the generation.
fn said(tokenizer: &Tokenizer, prompt: &[u32], completion: &str) -> Result<Said> {
    let mut ids = tokenizer.encode_behind(prompt, completion, true)?;
    if let Some(len) = closed_len(tokenizer, &ids) {
        ids.truncate(len);
        return Ok(Said { ids, is_closed_by_template: true });
    }
    // White space at the end belongs to the next turn.
    let mut ids = tokenizer.encode_behind(prompt, completion.trim_end(), true)?;
    ids.extend(tokenizer.eos().or(tokenizer.eot()));
    Ok(Said { ids, is_closed_by_template: false })
}

/// How many tokens the model says: up to the last one that ends a generation, or to the first where several of them
/// follow each other, since the others are never reached. None if there is no such token.
fn closed_len(tokenizer: &Tokenizer, ids: &[u32]) -> Option<usize> {
    let ends = |t: &usize| tokenizer.is_end_of_generation(ids[*t]);
    let is_blank = |t: &usize| tokenizer.piece(ids[*t]).iter().all(u8::is_ascii_whitespace);
    let last = (0..ids.len()).rev().find(ends)?;
    let run = (0..=last).rev().take_while(|t| ends(t) || is_blank(t));
    run.filter(ends).last().map(|first| first + 1)
}

#[cfg(test)]
mod tests;
