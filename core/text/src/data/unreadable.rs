//! What is said of a line that is no JSON, without any of its text.

use serde_json::error::Category;

/// What is said of a list where an object should be.
pub(super) const ARRAY: &str = "a JSON array: each line must hold one whole object; jq -c '.[]' FILE > NEW.jsonl takes \
                                an array apart";

/// Why a line is no JSON. Columns are those of the first byte that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is the first line of an array that goes on.
    #[error("the beginning of {ARRAY}")]
    BeginningOfArray,
    /// It ends before its value does.
    #[error(
        "the line ends before its JSON does: each line must hold one whole object; jq -c . FILE > NEW.jsonl writes \
         pretty-printed ones so"
    )]
    Beginning,
    /// It has more brackets within each other than the reader follows.
    #[error(
        "more than 127 lists and objects within each other; write what is deeper as a text, or leave the line out"
    )]
    TooDeep,
    /// It goes on behind a whole value.
    #[error(
        "more than one JSON value: each line must hold one whole object; jq -c . FILE > NEW.jsonl takes them apart"
    )]
    SeveralValues,
    /// It has `,]` or `,}`, or a comma at its end.
    #[error("not valid JSON: a comma with nothing behind it, before column {column}; take it out")]
    LooseComma {
        /// The first byte that does not fit, from 1.
        column: usize,
    },
    /// It has `NaN`, `Infinity` or a number beyond all floats.
    #[error(
        "not valid JSON: NaN, Infinity or too large a number at column {column}; write null there, or leave the key out"
    )]
    NotFinite {
        /// The first byte that does not fit, from 1.
        column: usize,
    },
    /// It has `'a'`, `True`, `False` or `None`.
    #[error(
        "not valid JSON, but as Python prints an object: single quotes, True, False or None at column {column}; write the \
         lines with json.dumps"
    )]
    Python {
        /// The first byte that does not fit, from 1.
        column: usize,
    },
    /// It has a tab or the like within a text.
    #[error(
        "not valid JSON: a control character within a text at column {column}; a tab is written \\t, a line's end \\n, any \
         other \\u and four digits"
    )]
    ControlCharacter {
        /// The first byte that does not fit, from 1.
        column: usize,
    },
    /// It is wrong in another way.
    #[error("not valid JSON: {category:?} error at column {column}")]
    Other {
        /// What the reader calls it.
        category: Category,
        /// The first byte that does not fit, from 1.
        column: usize,
    },
}

impl Unreadable {
    /// What the error says of the line. Only the beginning of the reader's words tells most of its errors apart.
    pub(super) fn of(line: &str, error: &serde_json::Error) -> Self {
        let column = error.column();
        let rest = line.lines().nth(error.line().saturating_sub(1));
        let rest = rest.and_then(|line| line.get(column.saturating_sub(1)..)).unwrap_or_default();
        let begins = |words: &[&str]| words.iter().any(|word| rest.starts_with(word));
        let said = error.to_string();
        match &said {
            _ if error.is_eof() && line.trim_start().starts_with('[') => Self::BeginningOfArray,
            _ if error.is_eof() => Self::Beginning,
            said if said.starts_with("recursion limit exceeded") => Self::TooDeep,
            said if said.starts_with("trailing characters") && !begins(&[","]) => Self::SeveralValues,
            said if said.starts_with("trailing c") => Self::LooseComma { column },
            said if said.starts_with("control character") => Self::ControlCharacter { column },
            said if said.starts_with("number out of range") => Self::NotFinite { column },
            _ if begins(&["NaN", "Infinity"]) => Self::NotFinite { column },
            _ if begins(&["'", "True", "False", "None"]) => Self::Python { column },
            _ => Self::Other { category: error.classify(), column },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_way_of_being_no_json_is_told_apart() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (line, kind) in [
            ("[", Unreadable::BeginningOfArray),
            (r#"{"secret": "#, Unreadable::Beginning),
            (&deep, Unreadable::TooDeep),
            (r#"{"secret": 1} {"b": 2}"#, Unreadable::SeveralValues),
            (r#"{"secret": 1,}"#, Unreadable::LooseComma { column: 14 }),
            (r#"{"secret": [1,]}"#, Unreadable::LooseComma { column: 15 }),
            (r#"{"secret": 1},"#, Unreadable::LooseComma { column: 14 }),
            (r#"{"secret": NaN}"#, Unreadable::NotFinite { column: 12 }),
            (r#"{"secret": -Infinity}"#, Unreadable::NotFinite { column: 13 }),
            (r#"{"secret": 1e999}"#, Unreadable::NotFinite { column: 16 }),
            ("{'secret': 1}", Unreadable::Python { column: 2 }),
            (r#"{"secret": 'b'}"#, Unreadable::Python { column: 12 }),
            (r#"{"secret": True}"#, Unreadable::Python { column: 12 }),
            (r#"{"secret": None}"#, Unreadable::Python { column: 12 }),
            ("{\"é\": \"secret\t\"}", Unreadable::ControlCharacter { column: 15 }),
            (r#"{secret"#, Unreadable::Other { category: Category::Syntax, column: 2 }),
            ("{\"é\": é}", Unreadable::Other { category: Category::Syntax, column: 8 }),
        ] {
            let error = serde_json::from_str::<Value>(line).unwrap_err();
            assert_eq!(Unreadable::of(line, &error), kind, "{line}");
        }
    }

    #[test]
    fn each_says_what_is_wrong() {
        let column = 7;
        for (problem, words) in [
            (
                Unreadable::BeginningOfArray,
                "the beginning of a JSON array: each line must hold one whole object; jq -c '.[]' FILE > NEW.jsonl takes an \
                 array apart",
            ),
            (
                Unreadable::Beginning,
                "the line ends before its JSON does: each line must hold one whole object; jq -c . FILE > NEW.jsonl writes \
                 pretty-printed ones so",
            ),
            (
                Unreadable::TooDeep,
                "more than 127 lists and objects within each other; write what is deeper as a text, or leave the line out",
            ),
            (
                Unreadable::SeveralValues,
                "more than one JSON value: each line must hold one whole object; jq -c . FILE > NEW.jsonl takes them apart",
            ),
            (
                Unreadable::LooseComma { column },
                "not valid JSON: a comma with nothing behind it, before column 7; take it out",
            ),
            (
                Unreadable::NotFinite { column },
                "not valid JSON: NaN, Infinity or too large a number at column 7; write null there, or leave the key out",
            ),
            (
                Unreadable::Python { column },
                "not valid JSON, but as Python prints an object: single quotes, True, False or None at column 7; write the \
                 lines with json.dumps",
            ),
            (
                Unreadable::ControlCharacter { column },
                "not valid JSON: a control character within a text at column 7; a tab is written \\t, a line's end \\n, any \
                 other \\u and four digits",
            ),
            (
                Unreadable::Other { category: Category::Syntax, column },
                "not valid JSON: Syntax error at column 7",
            ),
        ] {
            assert_eq!(problem.to_string(), words);
        }
    }
}
