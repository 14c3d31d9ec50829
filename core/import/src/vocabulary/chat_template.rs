//! Chat templates: in a file of their own, else in `tokenizer_config.json`.

use std::path::Path;

use nightgraft_gguf::{Array, Metadata, Value};
use serde::Deserialize;

use super::TOKENIZER;
use crate::json::{MAX_CONFIG, read, read_bytes};
use crate::{Error, Result};

const JINJA: &str = "chat_template.jinja";
const JSON: &str = "chat_template.json";
/// The files that hold nothing else.
pub(crate) const FILES: [&str; 2] = [JINJA, JSON];
/// The key of the one that is used unless another is named.
const KEY: &str = "tokenizer.chat_template";
const DEFAULT: &str = "default";

#[derive(Deserialize)]
struct WithTemplate {
    chat_template: Option<Templates>,
}

/// One template, or several with names.
#[derive(Deserialize)]
#[serde(untagged, expecting = "chat_template is neither a text nor a list of named ones")]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

/// Adds the template, and those with other names below it, as llama.cpp looks for them.
pub(super) fn describe(folder: &Path, metadata: &mut Metadata) -> Result<()> {
    let path = folder.join(JINJA);
    let templates = match read_bytes(&path, MAX_CONFIG)? {
        Some(bytes) => {
            let template = String::from_utf8(bytes).map_err(|_| Error::NotText { path })?;
            Some(Templates::One(template))
        }
        None => match of_json(folder, JSON)? {
            Some(templates) => Some(templates),
            None => of_json(folder, TOKENIZER)?,
        },
    };
    match templates {
        None => {}
        Some(Templates::One(template)) => drop(metadata.insert(KEY, Value::String(template))),
        Some(Templates::Named(all)) => {
            let mut names = Vec::new();
            for Named { name, template } in all {
                if name == DEFAULT {
                    metadata.insert(KEY, Value::String(template));
                } else {
                    metadata.insert(format!("{KEY}.{name}"), Value::String(template));
                    names.push(name);
                }
            }
            if !names.is_empty() {
                metadata.insert("tokenizer.chat_templates", Value::Array(Array::String(names)));
            }
        }
    }
    Ok(())
}

fn of_json(folder: &Path, name: &str) -> Result<Option<Templates>> {
    let file: Option<WithTemplate> = read(&folder.join(name), MAX_CONFIG)?;
    Ok(file.and_then(|file| file.chat_template))
}
