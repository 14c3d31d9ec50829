//! What is said of a line that is no JSON, without any of its text.

use std::fmt;

use serde_json::error::Category;

/// What is said of a list where an object should be.
pub(super) const ARRAY: &str = "a JSON array: each line must hold one whole object; jq -c '.[]' FILE > NEW.jsonl takes \
                                an array apart";

/// Why a line is no JSON. Columns are those of the first byte that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is the first line of an array that goes on.
    BeginningOfArray,
    /// It ends before its value does.
    Beginning,
    /// It has more brackets within each other than the reader follows.
    TooDeep,
    /// It goes on behind a whole value.
    SeveralValues,
    /// It has `,]` or `,}`, or a comma at its end.
    LooseComma { column: usize },
    /// It has `NaN`, `Infinity` or a number beyond all floats.
    NotFinite { column: usize },
    /// It has `'a'`, `True`, `False` or `None`.
    Python { column: usize },
    /// It has a tab or the like within a text.
    ControlCharacter { column: usize },
    /// It is wrong in another way.
    Other { category: Category, column: usize },
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

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::BeginningOfArray => write!(formatter, "the beginning of {ARRAY}"),
            Self::Beginning => formatter.write_str(
                "the line ends before its JSON does: each line must hold one whole object; \
                 jq -c . FILE > NEW.jsonl writes pretty-printed ones so",
            ),
            Self::TooDeep => formatter.write_str(
                "more than 127 lists and objects within each other; write what is deeper as a text, or leave the line out",
            ),
            Self::SeveralValues => formatter.write_str(
                "more than one JSON value: each line must hold one whole object; jq -c . FILE > NEW.jsonl takes them apart",
            ),
            Self::LooseComma { column } => {
                write!(formatter, "not valid JSON: a comma with nothing behind it, before column {column}; take it out")
            }
            Self::NotFinite { column } => write!(
                formatter,
                "not valid JSON: NaN, Infinity or too large a number at column {column}; write null there, or leave the \
                 key out"
            ),
            Self::Python { column } => write!(
                formatter,
                "not valid JSON, but as Python prints an object: single quotes, True, False or None at column {column}; \
                 write the lines with json.dumps"
            ),
            Self::ControlCharacter { column } => write!(
                formatter,
                "not valid JSON: a control character within a text at column {column}; a tab is written \\t, a line's end \
                 \\n, any other \\u and four digits"
            ),
            Self::Other { category, column } => {
                write!(formatter, "not valid JSON: {category:?} error at column {column}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_way_of_being_no_json_has_its_remedy_and_none_repeats_the_line() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (line, kind, remedy) in [
            ("[", Unreadable::BeginningOfArray, "jq -c '.[]'"),
            (r#"{"secret": "#, Unreadable::Beginning, "jq -c ."),
            (&deep, Unreadable::TooDeep, "as a text"),
            (r#"{"secret": 1} {"b": 2}"#, Unreadable::SeveralValues, "jq -c ."),
            (r#"{"secret": 1,}"#, Unreadable::LooseComma { column: 14 }, "take it out"),
            (r#"{"secret": [1,]}"#, Unreadable::LooseComma { column: 15 }, "take it out"),
            (r#"{"secret": 1},"#, Unreadable::LooseComma { column: 14 }, "take it out"),
            (r#"{"secret": NaN}"#, Unreadable::NotFinite { column: 12 }, "null"),
            (r#"{"secret": -Infinity}"#, Unreadable::NotFinite { column: 13 }, "null"),
            (r#"{"secret": 1e999}"#, Unreadable::NotFinite { column: 16 }, "null"),
            ("{'secret': 1}", Unreadable::Python { column: 2 }, "json.dumps"),
            (r#"{"secret": 'b'}"#, Unreadable::Python { column: 12 }, "json.dumps"),
            (r#"{"secret": True}"#, Unreadable::Python { column: 12 }, "json.dumps"),
            (r#"{"secret": None}"#, Unreadable::Python { column: 12 }, "json.dumps"),
            ("{\"é\": \"secret\t\"}", Unreadable::ControlCharacter { column: 15 }, "\\t"),
            (r#"{secret"#, Unreadable::Other { category: Category::Syntax, column: 2 }, "not valid JSON"),
            ("{\"é\": é}", Unreadable::Other { category: Category::Syntax, column: 8 }, "column 8"),
        ] {
            let error = serde_json::from_str::<Value>(line).unwrap_err();
            let found = Unreadable::of(line, &error);
            assert_eq!(found, kind, "{line}");
            let said = found.to_string();
            assert!(said.contains(remedy) && !said.contains("secret"), "{line}: {said}");
        }
    }
}
