//! Filters that give in jinja2 something else than in minijinja, or are not there at all.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::arguments::Arguments;
use super::methods::pad;
use super::{json, python, source};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    minijinja_contrib::add_to_environment(environment);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", |value: &Value| python::str(value));
    environment.add_filter("upper", |value: &Value| python::str(value).to_uppercase());
    environment.add_filter("lower", |value: &Value| python::str(value).to_lowercase());
    environment.add_filter("title", title);
    environment.add_filter("trim", trim);
    environment.add_filter("center", center);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("dictsort", dictsort);
    environment.add_filter("batch", batch);
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("indent", indent);
    environment.add_filter("list", list);
    environment.add_filter("items", items);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("round", round);
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter(source::LOOPED, looped_over);
    environment.add_filter("forceescape", escape);
    environment.add_filter("pprint", |value: &Value| python::repr(value));
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordcount", |value: &Value| python::str(value).split_whitespace().count());
}

fn refused(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// Words begin behind white space, hyphens and opening brackets.
fn title(value: &Value) -> String {
    let mut begins = true;
    let mut text = String::new();
    for char in python::str(value).chars() {
        if begins {
            text.extend(char.to_uppercase())
        } else {
            text.extend(char.to_lowercase())
        }
        begins = char.is_whitespace() || "-({[<".contains(char);
    }
    text
}

fn trim(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [characters] = Arguments::new(&arguments, named).take(["chars"])?;
    let text = python::str(value);
    Ok(match characters.filter(|characters| !characters.is_none()) {
        Some(characters) => {
            let characters = python::str(&characters);
            text.trim_matches(|char| characters.contains(char)).to_owned()
        }
        None => text.trim().to_owned(),
    })
}

fn center(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [width] = Arguments::new(&arguments, named).take(["width"])?;
    Ok(pad(&python::str(value), "center", width.map_or(Ok(80), usize::try_from)?, ' '))
}

fn default(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [other, for_all_false] = Arguments::new(&arguments, named).take(["default_value", "boolean"])?;
    let is_for_all_false = for_all_false.is_some_and(|all| all.is_true());
    let is_replaced = value.is_undefined() || (is_for_all_false && !value.is_true());
    Ok(if is_replaced { other.unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

fn dictsort(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let names = ["case_sensitive", "by", "reverse"];
    let taken = Arguments::new(&arguments, named).take(names)?;
    if taken[1].as_ref().is_some_and(|by| !matches!(by.as_str(), Some("key" | "value"))) {
        return Err(refused("there are key and value to sort by"));
    }
    let named = names.into_iter().zip(taken).filter_map(|(name, taken)| Some((name, taken?)));
    minijinja::filters::dictsort(value, named.collect())
}

fn batch(state: &State, value: Value, arguments: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [count, filler] = Arguments::new(&arguments, named).take(["linecount", "fill_with"])?;
    let count = count.ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
    let filler = filler.filter(|filler| !filler.is_none());
    minijinja::filters::batch(state, value, usize::try_from(count)?, filler)
}

fn replace(
    value: &Value,
    old: &Value,
    new: &Value,
    arguments: Rest<Value>,
    named: Kwargs,
) -> Result<String, Error> {
    let [count] = Arguments::new(&arguments, named).take(["count"])?;
    let (text, old, new) = (python::str(value), python::str(old), python::str(new));
    Ok(match count.filter(|count| !count.is_none()).map(usize::try_from).transpose()? {
        Some(count) => text.replacen(&old, &new, count),
        None => text.replace(&old, &new),
    })
}

fn join(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [between, attribute] = Arguments::new(&arguments, named).take(["d", "attribute"])?;
    if value.is_none() {
        return Err(refused("none has nothing to join"));
    }
    let between = between.map_or_else(String::new, |between| python::str(&between));
    let text = |item: Value| match &attribute {
        Some(name) => item.get_item(name).map(|item| python::str(&item)),
        None => Ok(python::str(&item)),
    };
    Ok(value.try_iter()?.map(text).collect::<Result<Vec<_>, _>>()?.join(&between))
}

fn indent(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [width, first, blank] = Arguments::new(&arguments, named).take(["width", "first", "blank"])?;
    let margin = match width {
        Some(width) if width.kind() == ValueKind::String => python::str(&width),
        Some(width) => " ".repeat(usize::try_from(width)?.min(1024)),
        None => " ".repeat(4),
    };
    let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let (first, blank) = (is_true(first), is_true(blank));
    let text = python::str(value);
    let line = |(index, line): (usize, &str)| {
        let moved = if index == 0 { first } else { blank || !line.is_empty() };
        if moved { format!("{margin}{line}") } else { line.to_owned() }
    };
    Ok(text.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n"))
}

/// What a loop goes over.
fn looped_over(value: Value) -> Result<Value, Error> {
    if value.is_none() { Err(refused("none has no items")) } else { Ok(value) }
}

fn list(state: &State, value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(refused("none is no list"));
    }
    minijinja::filters::list(state, value)
}

fn items(value: &Value) -> Result<Value, Error> {
    if value.is_undefined() { Ok(Value::from(Vec::<Value>::new())) } else { minijinja::filters::items(value) }
}

fn int(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [default, base] = Arguments::new(&arguments, named).take(["default", "base"])?;
    let base = base.map_or(Ok(10), u32::try_from)?;
    let number = match value.as_str() {
        Some(text) => {
            let text = text.trim().replace('_', "");
            whole(&text, base).or_else(|| text.parse::<f64>().ok().map(|float| float as i64))
        }
        None if value.is_integer() => return Ok(value.clone()),
        None if value.kind() == ValueKind::Bool => Some(i64::from(value.is_true())),
        None => f64::try_from(value.clone()).ok().filter(|float| float.is_finite()).map(|float| float as i64),
    };
    Ok(number.map_or_else(|| default.unwrap_or_else(|| Value::from(0)), Value::from))
}

/// Reads digits of a base, behind the prefix that may say it. With the base 0 the prefix decides.
fn whole(text: &str, base: u32) -> Option<i64> {
    let digits = text.trim_start_matches(['+', '-']);
    let sign = &text[..text.len() - digits.len()];
    let small = digits.to_ascii_lowercase();
    let said = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find(|(prefix, _)| small.starts_with(prefix));
    let (digits, base) = match said {
        Some((prefix, said)) if base == said || base == 0 => (&digits[prefix.len()..], said),
        _ if base == 0 => (digits, 10),
        _ => (digits, base),
    };
    let is_signed_twice = sign.len() > 1 || digits.starts_with(['+', '-']);
    if is_signed_twice || !(2..=36).contains(&base) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

fn float(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [default] = Arguments::new(&arguments, named).take(["default"])?;
    let number = match value.as_str() {
        Some(text) => text.trim().replace('_', "").parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or_else(|| default.unwrap_or_else(|| Value::from(0.0)), Value::from))
}

/// Rounds halves to the even neighbour. A whole number stays one.
fn round(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [precision, method] = Arguments::new(&arguments, named).take(["precision", "method"])?;
    let number = f64::try_from(value.clone())?;
    let precision = precision.map_or(Ok(0), i32::try_from)?.clamp(-300, 300);
    if value.is_integer() && precision >= 0 {
        return Ok(value.clone());
    }
    let scale = 10f64.powi(precision);
    Ok(Value::from(match method.as_ref().and_then(Value::as_str).unwrap_or("common") {
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        "common" if precision > 0 => {
            format!("{number:.*}", precision.unsigned_abs() as usize).parse().unwrap_or(number)
        }
        "common" => (number * scale).round_ties_even() / scale,
        _ => return Err(refused("there are common, ceil and floor to round by")),
    }))
}

/// Cuts at a word unless it is to kill words, and only what is longer by more than the leeway.
fn truncate(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [length, kill_words, end, leeway] =
        Arguments::new(&arguments, named).take(["length", "killwords", "end", "leeway"])?;
    let (length, leeway) = (length.map_or(Ok(255), usize::try_from)?, leeway.map_or(Ok(5), usize::try_from)?);
    let end = end.map_or_else(|| "...".to_owned(), |end| python::str(&end));
    let text = python::str(value);
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept: String = text.chars().take(length.saturating_sub(end.chars().count())).collect();
    let word = kept.rsplit_once(' ').map_or(kept.as_str(), |(words, _)| words);
    Ok(if kill_words.is_some_and(|kill| kill.is_true()) { kept + &end } else { format!("{word}{end}") })
}

/// As MarkupSafe does.
fn escape(value: &Value) -> String {
    let text = python::str(value).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('\'', "&#39;").replace('"', "&#34;")
}
