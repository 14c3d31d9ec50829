//! minijinja, set up to write what jinja2 writes with the settings that Hugging Face renders chat templates with.
//!
//! `tests/golden/templates.py` compares the two. What it does not have, because it is known to differ:
//!
//! - Values of different kinds can be compared by order (`none < 1`), which Python refuses.
//! - Nothing tells a tuple from a list, and `map`, `select`, `batch` and the like give lists: they are printed so, and have
//!   a length.
//! - `'%s' % text` is refused (`'%s' | format(text)` is not), and so is a sign before a number that is `+`. `format` knows
//!   no `%r`, and no `%d` of a number with a fraction.
//! - `dictionary.items` without a call is what has that key, never the method; nor does `attr` find methods.
//! - In texts, `\/` loses its backslash; keys of dictionaries that are `none` cannot be written as JSON.
//! - A number with an exponent is printed without it where `~` joins it to a text.
//! - The filters `urlencode`, `urlize`, `wordwrap`, `xmlattr` and `random` and the function `lipsum` are not there. A
//!   `cycler` has `next()` alone (no `current`, no `reset()`), and a macro sees neither `varargs` nor `kwargs`: it is refused where it is given more than
//!   it names.
//! - There are filters and functions that jinja2 does not have, such as `split`, `lines`, `zip`, `bool` and `chain`: a
//!   template that uses them renders here and fails there.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Rest;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::{filters, methods, predicates, python, source};

/// Instructions that a template may execute for one rendering: far more than any conversation needs, and
/// an end for a template that loops.
const FUEL: u64 = 50_000_000;
/// The template's name in its environment.
pub(super) const NAME: &str = "chat";

/// An environment with the template of that source.
///
/// # Errors
/// If it does not parse.
pub(super) fn environment(template: &str) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&python::str(value))?));
    filters::add_to(&mut environment);
    environment.add_function("raise_exception", raise_exception);
    // jinja2's takes what it goes through one by one.
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    predicates::add_to(&mut environment);
    environment.add_template_owned(NAME, source::for_minijinja(template))?;
    Ok(environment)
}

/// Marks the errors that a template raises on purpose.
#[derive(Debug, thiserror::Error)]
#[error("raised by the template")]
pub(super) struct Raised;

fn raise_exception(message: &Value) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, python::str(message)).with_source(Raised))
}
