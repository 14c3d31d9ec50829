//! Filters of `jq` that write the lines of other programs as ours.
//!
//! A filter takes away the keys that it understands and puts ours there. Every other key stays, of the line and of its
//! turns, so that neither `tools` nor `weight` gets lost. It goes over a whole file, of which only one line was looked at,
//! so it asks for what other lines may have besides. All pieces are streams of turns.

use std::fmt;

use super::turns::{ALIASES, Exchange, Named, Turns};

/// The system text beside the turns.
const SYSTEM: &str = r#"(.system, .system_prompt | select((. // "") != "") | {role: "system", content: .})"#;
pub(super) const SYSTEM_KEYS: [&str; 2] = ["system", "system_prompt"];
/// Gemini's system text.
const INSTRUCTION: &str =
    r#"(.systemInstruction, .system_instruction | select(.) | {role: "system", content: (.parts? // .)})"#;
/// Earlier questions with their answers.
const HISTORY: &str = r#"(.history[]? | {role: "user", content: .[0]}, {role: "assistant", content: .[1]})"#;
/// A dialogue in one text: what follows a name is said, and what stands before all of them is the system text.
const DIALOGUE: &str = concat!(
    r#"(.chosen | split("\n\nHuman:") | to_entries[]"#,
    r#" | (if .key == 0 then "system" else "user" end) as $first"#,
    r#" | .value | split("\n\nAssistant:")"#,
    r#" | ({role: $first, content: (.[0] // "")}, (.[1:][] | {role: "assistant", content: .}))"#,
    r#" | .content |= ltrimstr(" ") | select(.content != ""))"#
);

/// What may stand beside a question and belongs to it.
pub(super) const ABOUT: [&str; 2] = ["input", "context"];

/// A filter of `jq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(String);

impl Filter {
    /// Turns under `key` become `messages`.
    pub(super) fn turns(key: &str, turns: &Turns) -> Self {
        Self::messages(&with_system(&[key]), &[SYSTEM, &stream(key, turns)])
    }

    pub(super) fn gemini(turns: &Turns) -> Self {
        let used = ["contents", "systemInstruction", "system_instruction"];
        Self::messages(&used, &[INSTRUCTION, &stream("contents", turns)])
    }

    /// A question and its answer become `messages`.
    pub(super) fn asked(exchange: Exchange) -> Self {
        let used = [&with_system(&["history"])[..], &exchange.used()].concat();
        Self::messages(&used, &[SYSTEM, HISTORY, &exchange.turns()])
    }

    /// Two texts stay texts where a line has nothing that belongs to the question.
    pub(super) fn chosen_text(question: &'static str) -> Self {
        let besides = [&abouts(question)[..], &SYSTEM_KEYS].concat();
        let more: Vec<_> = besides.iter().map(|key| format!(".{key}")).collect();
        let (more, turns) = (more.join(", "), Self::answered(&self::question(question)));
        Self::replacing(
            &[&[question, "chosen", "rejected"][..], &besides].concat(),
            &format!(
                "if any({more}; (. // \"\") != \"\") then {turns} else {{prompt: .{question}, completion: .chosen}} end"
            ),
        )
    }

    /// A text that has the whole dialogue becomes `messages`.
    pub(super) fn chosen_dialogue() -> Self {
        Self::messages(&with_system(&["chosen", "rejected"]), &[SYSTEM, DIALOGUE])
    }

    /// Turns that were chosen are learned behind those that were asked, unless they have these among them.
    pub(super) fn chosen(asked: Option<&Asked>, chosen: &Chosen) -> Self {
        let mut used = with_system(&["chosen", "rejected"]);
        used.extend(asked.iter().flat_map(|asked| asked.used()));
        let asked = asked.map_or_else(|| "empty".to_owned(), Asked::stream);
        let put = match chosen {
            Chosen::Text => Self::answered(&asked),
            Chosen::Turn(named) => {
                format!(
                    "{{prompt: {}, completion: [.chosen | {}]}}",
                    turns_of(&[SYSTEM, &asked]),
                    named.turn()
                )
            }
            Chosen::Turns(named) => format!(
                "([.chosen[] | {}] as $chosen | if any($chosen[]; .role == \"user\") then {{messages: {}}} else {{prompt: {}, \
                 completion: $chosen}} end)",
                named.turn(),
                turns_of(&[SYSTEM, "$chosen[]"]),
                turns_of(&[SYSTEM, &asked])
            ),
        };
        Self::replacing(&used, &put)
    }

    /// Turns that ask, and the text that was chosen.
    fn answered(asked: &str) -> String {
        let asked = turns_of(&[SYSTEM, asked]);
        format!("{{prompt: {asked}, completion: [{{role: \"assistant\", content: .chosen}}]}}")
    }

    fn messages(used: &[&str], streams: &[&str]) -> Self {
        Self::replacing(used, &format!("{{messages: {}}}", turns_of(streams)))
    }

    fn replacing(used: &[&str], put: &str) -> Self {
        let used: Vec<_> =
            used.iter().filter(|key| **key != "messages").map(|key| format!(".{key}")).collect();
        Self(format!("del({}) + {put}", used.join(", ")))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where a preference has what was asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// A text under this key.
    Text(&'static str),
    /// Turns under this key.
    Turns(&'static str, Named),
}

/// What was chosen.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen {
    /// The text of the answer.
    Text,
    /// The turn of the answer.
    Turn(Named),
    /// Several turns.
    Turns(Named),
}

impl Asked {
    pub(super) fn key(&self) -> &'static str {
        match *self {
            Self::Text(key) | Self::Turns(key, _) => key,
        }
    }

    fn used(&self) -> Vec<&'static str> {
        match *self {
            Self::Text(key) => [&[key][..], &abouts(key)].concat(),
            Self::Turns(key, _) => vec![key],
        }
    }

    fn stream(&self) -> String {
        match self {
            Self::Text(key) => question(key),
            Self::Turns(key, named) => stream(key, &Turns::Named(*named)),
        }
    }
}

impl Exchange {
    fn used(self) -> Vec<&'static str> {
        [&[self.question, self.answer][..], &abouts(self.question)].concat()
    }

    fn turns(self) -> String {
        format!("{}, {{role: \"assistant\", content: .{}}}", question(self.question), self.answer)
    }
}

impl Named {
    /// The filter for one turn.
    fn turn(self) -> String {
        let Self { who, what, is_ours } = self;
        if is_ours {
            return ".".to_owned();
        }
        let names: Vec<_> = ALIASES.iter().map(|(name, role)| format!("{name}: {role:?}")).collect();
        // Gemini's turns are the user's unless they say otherwise.
        let speaker = if what == "parts" { format!(".{who} // \"user\"") } else { format!(".{who}") };
        let role = format!("({speaker} | ascii_downcase | {{{}}}[.] // .)", names.join(", "));
        let said = format!("{{role: {role}, content: .{what}}}");
        let said = match who {
            "from" => format!(
                "if .from == \"function_call\" then {{role: \"assistant\", content: \"\", tool_calls: [.{what} | fromjson | if type \
                 == \"array\" then .[] else . end | {{type: \"function\", function: .}}]}} else {said} end"
            ),
            _ => said,
        };
        format!("({said}) + del(.{who}, .{what})")
    }
}

/// The list of all turns of these streams. Where the system text stands beside the turns and before them, it is there once.
fn turns_of(streams: &[&str]) -> String {
    let again = ".[1].role? == \"system\" and .[0].content == .[1].content";
    format!("([{}] | if {again} then .[1:] else . end)", streams.join(", "))
}

fn stream(key: &str, turns: &Turns) -> String {
    match turns {
        Turns::Named(named) if named.is_ours => format!(".{key}[]"),
        Turns::Named(named) => format!("(.{key}[] | {})", named.turn()),
        Turns::Exchanges(exchange) => format!("(.{key}[] | {SYSTEM}, {})", exchange.turns()),
    }
}

/// The user's turn: the question with what it is about.
fn question(key: &str) -> String {
    let keys: Vec<_> = [key].into_iter().chain(abouts(key)).map(|key| format!(".{key}")).collect();
    let joined = format!("[{} | select((. // \"\") != \"\")] | join(\"\\n\\n\")", keys.join(", "));
    format!("{{role: \"user\", content: ({joined})}}")
}

fn abouts(question: &str) -> Vec<&'static str> {
    ABOUT.into_iter().filter(|about| *about != question).collect()
}

fn with_system<'a>(keys: &[&'a str]) -> Vec<&'a str> {
    [keys, &SYSTEM_KEYS].concat()
}
