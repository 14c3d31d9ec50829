//! Methods of Python's texts, lists and dictionaries that templates call, where `minijinja_contrib` has none, or another.

use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use super::arguments::Arguments;
use super::predicates::is_cased;
use super::python;

/// Calls a method that the value itself does not have.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let ours = match value.kind() {
        ValueKind::String => of_text(value.as_str().unwrap_or_default(), method, arguments),
        ValueKind::Seq | ValueKind::Iterable => of_list(value, method, arguments),
        ValueKind::Map if method == "copy" => Ok(Some(value.clone())),
        _ => Ok(None),
    };
    match ours? {
        Some(result) => Ok(result),
        None => pycompat::unknown_method_callback(state, value, method, arguments),
    }
}

fn of_text(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let all = |holds: fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(holds));
    let place = |found: Option<usize>| found.map(|at| text[..at].chars().count() as i64);
    let affix = || -> Result<&str, Error> {
        let (affix,) = from_args(arguments)?;
        Ok(affix)
    };
    Ok(Some(match method {
        "split" | "rsplit" => return split(text, method == "rsplit", arguments).map(Some),
        "partition" | "rpartition" => {
            let separator = affix()?;
            let (before, after, found) = match method {
                "partition" => text.split_once(separator).map_or((text, "", false), |(a, b)| (a, b, true)),
                _ => text.rsplit_once(separator).map_or(("", text, false), |(a, b)| (a, b, true)),
            };
            texts([before, if found { separator } else { "" }, after])
        }
        "removeprefix" => Value::from(text.strip_prefix(affix()?).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(affix()?).unwrap_or(text)),
        "find" if arguments.len() == 1 => Value::from(place(text.find(affix()?)).unwrap_or(-1)),
        "rfind" if arguments.len() == 1 => Value::from(place(text.rfind(affix()?)).unwrap_or(-1)),
        "index" => Value::from(place(text.find(affix()?)).ok_or_else(not_found)?),
        "rindex" => Value::from(place(text.rfind(affix()?)).ok_or_else(not_found)?),
        "isdigit" | "isnumeric" | "isdecimal" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(char::is_whitespace),
        "islower" => Value::from(is_cased(text, char::is_uppercase)),
        "isupper" => Value::from(is_cased(text, char::is_lowercase)),
        "casefold" => Value::from(text.to_lowercase()),
        "swapcase" => Value::from(swap_case(text)),
        "title" => Value::from(title(text)),
        "zfill" => Value::from(zero_fill(text, from_args::<(usize,)>(arguments)?.0)),
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<char>) = from_args(arguments)?;
            Value::from(pad(text, method, width, fill.unwrap_or(' ')))
        }
        "join" => {
            let (items,): (&Value,) = from_args(arguments)?;
            let items: Vec<_> = items.try_iter()?.map(|item| python::str(&item)).collect();
            Value::from(items.join(text))
        }
        _ => return Ok(None),
    }))
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    texts.into_iter().map(Value::from).collect()
}

fn not_found() -> Error {
    Error::new(ErrorKind::InvalidOperation, "it is not there")
}

/// `split` and `rsplit`, which take `sep` and `maxsplit` by name, too.
fn split(text: &str, from_the_end: bool, arguments: &[Value]) -> Result<Value, Error> {
    let [separator, most] = Arguments::of_call(arguments)?.take(["sep", "maxsplit"])?;
    let most = most.map_or(Ok(-1), i64::try_from)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
    let separator = separator.filter(|separator| !separator.is_none());
    let Some(separator) = separator else { return Ok(texts(words(text, from_the_end, most))) };
    let separator = separator.as_str().filter(|separator| !separator.is_empty());
    let separator =
        separator.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "this separates nothing"))?;
    Ok(texts(if from_the_end {
        let mut parts: Vec<_> = text.rsplitn(most + 1, separator).collect();
        parts.reverse();
        parts
    } else {
        text.splitn(most + 1, separator).collect()
    }))
}

/// What white space divides, at most `most` times.
fn words(text: &str, from_the_end: bool, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let border =
            if from_the_end { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
        let (word, others) = match border {
            Some(at) if words.len() < most && from_the_end => {
                (rest[at..].trim_start(), rest[..at].trim_end())
            }
            Some(at) if words.len() < most => (&rest[..at], rest[at..].trim_start()),
            _ => (rest, ""),
        };
        words.push(word);
        rest = others;
    }
    if from_the_end {
        words.reverse();
    }
    words
}

fn swap_case(text: &str) -> String {
    let swap = |char: char| -> String {
        if char.is_uppercase() { char.to_lowercase().collect() } else { char.to_uppercase().collect() }
    };
    text.chars().map(swap).collect()
}

/// Letters behind letters are small, all others capital.
fn title(text: &str) -> String {
    let mut within = false;
    let mut titled = String::new();
    for char in text.chars() {
        if within {
            titled.extend(char.to_lowercase())
        } else {
            titled.extend(char.to_uppercase())
        }
        within = char.is_alphabetic();
    }
    titled
}

fn zero_fill(text: &str, width: usize) -> String {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => text.split_at(text.len() - digits.len()),
        None => ("", text),
    };
    let missing = width.min(MAX_WIDTH).saturating_sub(text.chars().count());
    format!("{sign}{}{digits}", "0".repeat(missing))
}

/// More than anybody fills up to.
const MAX_WIDTH: usize = 1 << 16;

/// `ljust`, `rjust` or `center`.
pub(super) fn pad(text: &str, method: &str, width: usize, fill: char) -> String {
    let width = width.min(MAX_WIDTH);
    let missing = width.saturating_sub(text.chars().count());
    let before = match method {
        "ljust" => 0,
        "rjust" => missing,
        // The odd one goes to the left if the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let filled = |n: usize| fill.to_string().repeat(n);
    format!("{}{text}{}", filled(before), filled(missing - before))
}

fn of_list(value: &Value, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "index" => {
            let (wanted,): (&Value,) = from_args(arguments)?;
            Value::from(value.try_iter()?.position(|item| item == *wanted).ok_or_else(not_found)?)
        }
        "count" => {
            let (wanted,): (&Value,) = from_args(arguments)?;
            Value::from(value.try_iter()?.filter(|item| item == wanted).count())
        }
        "copy" => value.try_iter()?.collect(),
        _ => return Ok(None),
    }))
}
