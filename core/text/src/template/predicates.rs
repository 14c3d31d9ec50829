//! Tests (`is …`) that answer in jinja2 otherwise than in minijinja, or are not there at all.

use minijinja::value::ValueKind;
use minijinja::{Environment, Value};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment
        .add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_test("lower", |text: &str| is_cased(text, char::is_uppercase));
    environment.add_test("upper", |text: &str| is_cased(text, char::is_lowercase));
}

/// Whether `iter` takes it. It takes what is undefined, as nothing, but not `none`.
fn is_iterable(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Undefined | String | Seq | Map | Iterable)
}

/// Whether it has a length and items: texts and dictionaries, too.
fn is_sequence(value: &Value) -> bool {
    is_iterable(value)
}

/// Whether there are letters in the text, and none of the `other` case.
pub(super) fn is_cased(text: &str, other: fn(char) -> bool) -> bool {
    text.chars().any(|char| char.is_uppercase() || char.is_lowercase()) && !text.chars().any(other)
}
