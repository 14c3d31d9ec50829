//! Thoughts: what a reasoning model writes between two tags before it answers.

use super::conversation::Message;

/// Tags whose end is not the beginning with a slash in it.
const IRREGULAR: [(&str, &str); 3] = [
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"),
];
/// A tag with one of these in its name opens a thought.
const WORDS: [&str; 6] = ["think", "thought", "reason", "analysis", "scratchpad", "reflect"];
/// Keys of a message that hold its thought.
pub(super) const KEYS: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];

/// What a prompt for an answer ends with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// White space.
    Blank,
    /// A whole thought, empty or not, behind which the answer begins.
    Over(Tag),
    /// The beginning of a thought, and perhaps a line end.
    Thought(Tag, Line),
}

/// The tags around a thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    open: String,
    close: String,
}

/// Whether a thought begins on a line of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    New,
    Same,
}

/// The prompt without the thought and the white space at its end, and what those are.
pub(super) fn opened_by(prompt: &str) -> (&str, Opened) {
    let text = prompt.trim_end();
    if let Some(tag) = Tag::open_at_end(text) {
        let line = if prompt[text.len()..].contains('\n') { Line::New } else { Line::Same };
        return (&text[..text.len() - tag.open.len()], Opened::Thought(tag, line));
    }
    if let Some(tag) = Tag::closed_at_end(text)
        && let Some(start) = text.rfind(&tag.open)
    {
        return (&text[..start], Opened::Over(tag));
    }
    (text, Opened::Blank)
}

/// What the model must say behind a prompt that ends in `opened`, where the template writes `shown` for `message`. None
/// if a thought is to be learned behind a prompt that has ended it.
pub(super) fn complete(opened: Opened, shown: &str, message: &Message) -> Option<String> {
    match opened {
        Opened::Blank => Some(shown.trim_start().to_owned()),
        Opened::Over(tag) => {
            if let Some(answer) = tag.after_empty(shown) {
                return Some(answer.to_owned());
            }
            let has_thought = shown.trim_start().starts_with(&tag.open) || tag.thought_of(message).is_some();
            (!has_thought).then(|| shown.to_owned())
        }
        Opened::Thought(tag, line) => Some(tag.complete(line, shown, message)),
    }
}

/// A thought as it comes with an answer, and the white space behind it.
struct Thought<'a> {
    text: &'a str,
    gap: &'a str,
}

impl Tag {
    /// The tag with which `text` ends, if that opens a thought.
    fn open_at_end(text: &str) -> Option<Self> {
        if let Some((open, close)) = IRREGULAR.into_iter().find(|(open, _)| text.ends_with(open)) {
            return Some(Self { open: open.into(), close: close.into() });
        }
        let name = |start: char, end: char| Some(text.strip_suffix(end)?.rsplit_once(start)?.1);
        let pair = |start: char, end: char| {
            let name = name(start, end).filter(|name| names_a_thought(name))?;
            Some(Self { open: format!("{start}{name}{end}"), close: format!("{start}/{name}{end}") })
        };
        pair('<', '>').or_else(|| pair('[', ']'))
    }

    /// The tag with which `text` ends, if that closes a thought.
    fn closed_at_end(text: &str) -> Option<Self> {
        if let Some((open, close)) = IRREGULAR.into_iter().find(|(_, close)| text.ends_with(close)) {
            return Some(Self { open: open.into(), close: close.into() });
        }
        let start = text.rfind(['<', '['])?;
        let tag = &text[start..];
        let open = tag.replacen('/', "", 1);
        Self::open_at_end(&open).filter(|found| found.open == open && found.close == tag)
    }

    /// What ends the thought that a prompt has opened and answers, where the template shows the answer as `shown`.
    fn complete(&self, line: Line, shown: &str, message: &Message) -> String {
        let Self { open, close } = self;
        let own = shown.trim_start().strip_prefix(open.as_str());
        if let Some(own) = own.or_else(|| shown.contains(close).then_some(shown)) {
            return if line == Line::New { own.trim_start() } else { own }.to_owned();
        }
        let breaks = line == Line::New || close == "</think>";
        let (line_end, gap) = if breaks { ("\n", "\n\n") } else { ("", "") };
        let (thought, gap) = match self.thought_of(message) {
            Some(Thought { text, gap }) => {
                let text = if line == Line::New { text.trim_start() } else { text };
                (text.to_owned(), gap)
            }
            None => match message.reasoning() {
                Some(reasoning) => (format!("{}{line_end}", reasoning.trim()), gap),
                None if line == Line::New => (line_end.to_owned(), gap),
                None => (format!("{line_end}{line_end}"), gap),
            },
        };
        let gap = if shown.starts_with(char::is_whitespace) { "" } else { gap };
        format!("{thought}{close}{gap}{shown}")
    }

    /// What stands behind an empty thought.
    fn after_empty<'a>(&self, shown: &'a str) -> Option<&'a str> {
        let thought = shown.trim_start().strip_prefix(&self.open)?;
        Some(thought.trim_start().strip_prefix(&self.close)?.trim_start())
    }

    /// The thought in a message's own content.
    fn thought_of<'a>(&self, message: &'a Message) -> Option<Thought<'a>> {
        let (thought, rest) = message.text("content")?.split_once(&self.close)?;
        let text = thought.trim_start().strip_prefix(&self.open).unwrap_or(thought);
        Some(Thought { text, gap: &rest[..rest.len() - rest.trim_start().len()] })
    }
}

impl Message {
    /// The thought that stands beside the content.
    fn reasoning(&self) -> Option<&str> {
        KEYS.iter().find_map(|key| self.text(key)).filter(|text| !text.trim().is_empty())
    }
}

fn names_a_thought(name: &str) -> bool {
    let is_name =
        !name.is_empty() && name.chars().all(|char| char.is_alphanumeric() || "_-:|".contains(char));
    is_name && WORDS.iter().any(|word| name.to_lowercase().contains(word))
}
