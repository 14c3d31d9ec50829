//! Our renderings against jinja2's: see `tests/golden/templates.py`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    date: Date,
    conversations: BTreeMap<String, serde_json::Map<String, Json>>,
    /// By template and conversation; none where jinja2 fails.
    expected: BTreeMap<String, BTreeMap<String, Option<String>>>,
}

/// What we do where Python refuses to compare: see the list in `jinja`.
const KNOWN: [&str; 1] = ["error_compare_none"];

#[test]
fn templates_render_as_in_jinja2() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/templates");
    let golden = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let golden: Golden = serde_json::from_str(&golden).unwrap();
    assert!(golden.expected.len() >= 60);
    let mut wrong = Vec::new();
    for (name, outcomes) in golden.expected.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())) {
        let source = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let template = ChatTemplate::new(&source, "", "").map(|mut template| {
            template.set_date(golden.date);
            template
        });
        for (conversation, expected) in outcomes {
            let mut variables = serde_json::json!({
                "tools": null, "documents": null, "bos_token": "<s>", "eos_token": "</s>",
            });
            variables.as_object_mut().unwrap().extend(golden.conversations[conversation].clone());
            let written = template.as_ref().map(|template| template.write(Value::from(Serde(&variables))));
            let written = written.ok().and_then(Result::ok);
            if written != *expected {
                wrong.push(format!("{name} for {conversation}:\n{expected:?}\n{written:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}
