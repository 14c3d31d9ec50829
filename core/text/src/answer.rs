//! What the model is given before an answer, and what it must say then: the one rule of supervision, in text.
//!
//! The prompt is what the template renders for the turns before the answer, with its generation prompt: what the
//! model is given at use. What the template writes behind that once the answer is there is what the model must say.
//! Two kinds of templates do not write the answer right behind their own prompt:
//!
//! - Their prompt opens a thought (`<think>`) that they leave out when they show an answer. At use the model has to end
//!   that thought before it answers, so it learns to: the thought that comes with the answer or an empty one, the
//!   closing tag, the answer.
//! - They show the question otherwise once it is answered, for instance with the system text only in the last one. The
//!   prompt is then that of the moment of the answer, and the answer is what follows the question, or at least what
//!   follows the generation prompt.

use serde_json::Value;

use super::conversation::{Conversation, Message};
use super::template::ChatTemplate;
use super::thought::{self, Opened};
use crate::{Result, Unclear};

/// An answer as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// What the model is given.
    pub(super) prompt: String,
    /// What it must say then, and perhaps what the template writes before the next turn.
    pub(super) completion: String,
}

/// The answer that is the message with this index.
///
/// # Errors
/// [`Error::Rendering`] if the template refuses the turns; [`Error::Template`] if it does not tell what the model must say.
pub(super) fn answer(template: &ChatTemplate, conversation: &Conversation, index: usize) -> Result<Answer> {
    let shown = Shown::new(template, conversation, index)?;
    match &shown.prompt {
        Some(prompt) => shown.behind(prompt),
        None => shown.opening(),
    }
}

/// A conversation up to an answer, as the template shows it.
struct Shown<'a> {
    template: &'a ChatTemplate,
    conversation: &'a Conversation,
    index: usize,
    /// What the model is given at use; none if no turn stands before the answer.
    prompt: Option<String>,
    /// The conversation up to the answer, with the answer.
    answered: String,
}

impl<'a> Shown<'a> {
    fn new(template: &'a ChatTemplate, conversation: &'a Conversation, index: usize) -> Result<Self> {
        let Conversation { messages, variables } = conversation;
        let answered = template.render(&messages[..=index], variables, false)?;
        let prompt = match index {
            0 => None,
            _ => Some(template.render(&messages[..index], variables, true)?),
        };
        Ok(Self { template, conversation, index, prompt, answered })
    }

    /// The answer behind `prompt`.
    fn behind(&self, prompt: &str) -> Result<Answer> {
        let answer = |completion: String| Answer { prompt: prompt.to_owned(), completion };
        let (without, opened) = thought::opened_by(prompt);
        if let Some(completion) = self.answered.strip_prefix(prompt) {
            // Some write the empty thought of the prompt, and then whatever the answer has.
            let completion = match opened {
                Opened::Over(_) => self.complete(opened, completion)?,
                Opened::Blank | Opened::Thought(..) => completion.to_owned(),
            };
            return Ok(answer(completion));
        }
        if let Some(rest) = self.answered.strip_prefix(without) {
            return self.complete(opened, rest).map(answer);
        }
        if let Some(completion) = self.after_question(prompt)? {
            return Ok(answer(completion.to_owned()));
        }
        if without.len() < prompt.len()
            && let Some(rest) = self.after_question(without)?
        {
            return self.complete(opened, rest).map(answer);
        }
        Err(Unclear::OffPrompt { message: self.index + 1 }.into())
    }

    /// What the model must say behind a prompt that ends in `opened`, where the template itself writes `rest`.
    fn complete(&self, opened: Opened, rest: &str) -> Result<String> {
        let completion = thought::complete(opened, rest, self.message());
        completion.ok_or_else(|| Unclear::ThoughtIsOver { message: self.index + 1 }.into())
    }

    /// What is written behind the end of `prompt`, wherever the template has put other things: behind the question and
    /// the generation prompt, or at least behind the generation prompt.
    fn after_question(&self, prompt: &str) -> Result<Option<&str>> {
        let Conversation { messages, variables } = self.conversation;
        let history = &messages[..self.index];
        let asked = self.template.render(history, variables, false).ok();
        let asked = asked.filter(|asked| prompt.starts_with(asked)).map_or(prompt.len(), |asked| asked.len());
        let (history_text, generation_prompt) = prompt.split_at(asked);
        let question = history.last().and_then(|message| message.text("content")).unwrap_or_default().trim();
        let from_question = history_text.rfind(question).filter(|_| !question.is_empty());
        if let Some(start) = from_question
            && let Some(completion) = self.behind_last(&prompt[start..], Some(question))?
        {
            return Ok(Some(completion));
        }
        if generation_prompt.trim().is_empty() { Ok(None) } else { self.behind_last(generation_prompt, None) }
    }

    /// A conversation's first turn: no prompt leads to it, so the one of later turns marks where it begins.
    fn opening(&self) -> Result<Answer> {
        let question = [Message::new("user", "?")];
        let variables = &self.conversation.variables;
        let render = |generation_prompt| self.template.render(&question, variables, generation_prompt);
        let prompts = render(true).and_then(|with| Ok((with, render(false)?)));
        if let Ok((with, without)) = prompts
            && let Some(generation_prompt) = with.strip_prefix(&without)
            && !generation_prompt.is_empty()
            && let Some(completion) = self.behind_last(generation_prompt, None)?
        {
            let prompt = &self.answered[..self.answered.len() - completion.len()];
            return Ok(Answer { prompt: prompt.to_owned(), completion: completion.to_owned() });
        }
        Err(Unclear::Unprompted { message: self.index + 1 }.into())
    }

    /// What stands behind the last `text` that the template writes before the answer's content; none if `question` comes
    /// between the two: an earlier turn asked the same, and the last one is shown otherwise.
    fn behind_last(&self, text: &str, question: Option<&str>) -> Result<Option<&str>> {
        let mark = unused_word(&self.answered);
        let Conversation { messages, variables } = self.conversation;
        let mut marked = messages[..=self.index].to_vec();
        marked[self.index] = marked[self.index].with("content", Value::from(mark.as_str()));
        let marked = self.template.render(&marked, variables, false)?;
        let before = marked.split(&mark).next().unwrap_or_default();
        let asks_again = |end: &usize| question.is_some_and(|question| before[*end..].contains(question));
        let end = before.rfind(text).map(|start| start + text.len()).filter(|end| !asks_again(end));
        Ok(end.and_then(|end| self.answered.strip_prefix(&before[..end])))
    }

    fn message(&self) -> &Message {
        &self.conversation.messages[self.index]
    }
}

/// A word that does not occur in `text`.
fn unused_word(text: &str) -> String {
    let mut word = "nGraft".to_owned();
    while text.contains(&word) {
        word.push('Z');
    }
    word
}
