//! What is learned with the templates of the families that train, in the style of their own: `tests/golden/templates`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::error::TemplateFault;

/// Families by their name in the table, with a template of each.
const FAMILIES: [(&str, &str); 13] = [
    ("Llama 3.1, 3.2", "llama31_tools"),
    ("Qwen 2.5", "qwen25"),
    ("Qwen 3", "qwen3_tools"),
    ("Qwen 3, thinking only", "qwen3_thinking_only"),
    ("Gemma 3", "gemma3"),
    ("SmolLM3", "smollm3"),
    ("Granite 3", "granite3"),
    ("Granite 4", "granite4"),
    ("Mistral (v3 tokenizer)", "mistral_v3_tools"),
    ("Ministral 3", "ministral3"),
    ("Phi-3", "phi3"),
    ("Phi-4", "phi4"),
    ("Phi-4-mini", "phi4_mini"),
];

/// Columns of the table: what a conversation has, and the key that must not be passed over.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("system message", "system", "messages[].content of system"),
    ("thought", "thought", ""),
    ("`enable_thinking` false", "not_thinking", "enable_thinking"),
    ("tools offered", "tools", ""),
    ("call and result", "calls", ""),
    ("begins with an answer", "opening", ""),
    ("two questions in a row", "two_questions", ""),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn source(template: &str) -> String {
    std::fs::read_to_string(folder().join(format!("tests/golden/templates/{template}.jinja"))).unwrap()
}

/// A vocabulary with the markers of all families.
fn tokenizer() -> Tokenizer {
    tokenizer_with(&[
        "<|end|>",
        "<|end_of_text|>",
        "<|start_of_role|>",
        "<|end_of_role|>",
        "[INST]",
        "[/INST]",
    ])
}

fn conversation(name: &str) -> Conversation {
    let user = |content: &str| json!({ "role": "user", "content": content });
    let answer = |content: &str| json!({ "role": "assistant", "content": content });
    let call = json!({
        "role": "assistant",
        "content": "",
        "tool_calls": [{ "id": "abcdefghi", "type": "function", "function": { "name": "tide", "arguments": { "day": 3 } } }],
    });
    let result =
        json!({ "role": "tool", "content": "2.5 metres", "tool_call_id": "abcdefghi", "name": "tide" });
    let messages = match name {
        "system" => {
            json!([{ "role": "system", "content": "Answer in one word." }, user("Where?"), answer("Here.")])
        }
        "thought" => json!([
            user("Where?"),
            { "role": "assistant", "content": "Here.", "reasoning_content": "It has not moved." }
        ]),
        "turns" => json!([user("Where?"), answer("Here."), user("When?"), answer("Now.")]),
        "calls" => json!([user("High tide?"), call, result, answer("At 2.5 metres.")]),
        "opening" => json!([answer("Welcome!"), user("Where?"), answer("Here.")]),
        "two_questions" => json!([user("Hello?"), user("Where?"), answer("Here.")]),
        _ => json!([user("Where?"), answer("Here.")]),
    };
    let mut conversation = given(&messages);
    if matches!(name, "tools" | "calls") {
        let tide = json!([{ "type": "function", "function": {
            "name": "tide",
            "description": "The tide's height.",
            "parameters": { "type": "object", "properties": { "day": { "type": "integer" } }, "required": ["day"] },
        } }]);
        conversation.variables.insert("tools".into(), tide);
    }
    if name == "not_thinking" {
        conversation.variables.insert("enable_thinking".into(), Json::Bool(false));
    }
    conversation
}

/// What is learned, after what the engine checks of a line of a training file.
fn learned_of(template: &str, name: &str) -> Result<Vec<String>> {
    let (source, conversation) = (source(template), conversation(name));
    unused(&source, &conversation)?;
    learned_by(&tokenizer(), &source, &conversation)
}

/// A cell of the table.
fn outcome(template: &str, name: &str, key: &str) -> &'static str {
    let passed_over =
        || unused(&source(template), &conversation(name)).unwrap().iter().any(|unused| unused == key);
    match learned_of(template, name) {
        Ok(_) if passed_over() => "not shown, with a warning",
        Ok(_) => "yes",
        Err(Error::Template { problem: TemplateProblem::NotShown(_) }) => "refused: not shown",
        Err(Error::Template { problem: TemplateProblem::Unclear(Unclear::Unprompted { .. }) }) => {
            "refused: no prompt"
        }
        Err(Error::Rendering { fault: TemplateFault::Refusal, .. }) => "refused by the template",
        Err(other) => unreachable!("{template} for {name}: {other}"),
    }
}

/// The table in the documentation says what happens; `NIGHTGRAFT_WRITE_TABLES=1` renews it.
#[test]
fn the_table_in_the_documentation_is_what_happens() {
    let mut table = String::from("| family |");
    COLUMNS.iter().for_each(|(title, ..)| write!(table, " {title} |").unwrap());
    table += "\n|---|";
    table += &"---|".repeat(COLUMNS.len());
    table.push('\n');
    for (family, template) in FAMILIES {
        write!(table, "| {family} |").unwrap();
        for (_, name, key) in COLUMNS {
            write!(table, " {} |", outcome(template, name, key)).unwrap();
        }
        table.push('\n');
    }
    let path = folder().join("docs/CHAT-TEMPLATES.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let start = document.find("| family |").unwrap();
    let end = start + document[start..].find("\n\n").map_or(document.len() - start, |end| end + 1);
    if std::env::var_os("NIGHTGRAFT_WRITE_TABLES").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &document[..start], &document[end..])).unwrap();
    } else {
        assert_eq!(&document[start..end], table);
    }
}

#[test]
fn every_family_learns_its_answers_up_to_the_token_that_ends_them() {
    let expected = [
        "#<|eot_id|>",
        "#<|im_end|>",
        "<think>\n\n</think>\n\n#<|im_end|>",
        "\n</think>\n\n#<|im_end|>",
        "#<end_of_turn>",
        "#<|im_end|>",
        "#<|end_of_text|>",
        "#<|end_of_text|>",
        " #</s>",
        "#</s>",
        "#<|end|>",
        "#<|im_end|>",
        "#<|end|>",
    ];
    for ((family, template), said) in FAMILIES.into_iter().zip(expected) {
        let expected = ["Here.", "Now."].map(|answer| said.replace('#', answer));
        assert_eq!(learned_of(template, "turns").unwrap(), expected, "{family}");
    }
}

#[test]
fn calls_are_learned_as_each_family_writes_them() {
    let tide = r#"{"name": "tide", "arguments": {"day": 3}"#;
    for (template, call, end) in [
        ("llama31_tools", r#"{"name": "tide", "parameters": {"day": 3}}"#.to_owned(), "<|eot_id|>"),
        ("qwen25", format!("<tool_call>\n{tide}}}\n</tool_call>"), "<|im_end|>"),
        ("granite4", format!("<tool_call>\n{tide}}}\n</tool_call>"), "<|end_of_text|>"),
        ("mistral_v3_tools", format!(r#"[TOOL_CALLS] [{tide}, "id": "abcdefghi"}}]"#), "</s>"),
        ("ministral3", r#"[TOOL_CALLS]tide[ARGS]{"day": 3}"#.to_owned(), "</s>"),
    ] {
        let space = if template == "mistral_v3_tools" { " " } else { "" };
        let expected = [format!("{call}{end}"), format!("{space}At 2.5 metres.{end}")];
        assert_eq!(learned_of(template, "calls").unwrap(), expected, "{template}");
    }
    let thought = "<think>\n\n</think>\n\n";
    let expected = [
        format!("{thought}<tool_call>\n{tide}}}\n</tool_call><|im_end|>"),
        format!("{thought}At 2.5 metres.<|im_end|>"),
    ];
    assert_eq!(learned_of("qwen3_tools", "calls").unwrap(), expected);
}

#[test]
fn thoughts_and_the_switches_that_end_them() {
    let written = "It has not moved.\n</think>\n\nHere.<|im_end|>";
    assert_eq!(learned_of("qwen3_tools", "thought").unwrap(), [format!("<think>\n{written}")]);
    assert_eq!(learned_of("qwen3_thinking_only", "thought").unwrap(), [written]);

    let answered = |template: &str, system: &str, content: &str, switch: Option<bool>| {
        let mut conversation = chat(Some(system), &["Where?", content]);
        conversation.variables.extend(switch.map(|on| ("enable_thinking".to_owned(), Json::Bool(on))));
        learned_by(&tokenizer(), &source(template), &conversation)
    };
    let thinking = "<think>\nIt has not moved.\n</think>\n\nHere.";
    let is_over = |result| assert_eq!(problem(result), Unclear::ThoughtIsOver { message: 2 + 1 }.into());
    for template in ["qwen3_tools", "smollm3"] {
        let learned = answered(template, "Be brief.", thinking, Some(true)).unwrap();
        assert_eq!(learned, [format!("{thinking}<|im_end|>")], "{template}");
        // Switched off, the prompt ends an empty thought: an answer has no other.
        let learned = answered(template, "Be brief.", "Here.", Some(false)).unwrap();
        assert_eq!(learned, ["Here.<|im_end|>"], "{template}");
        is_over(answered(template, "Be brief.", thinking, Some(false)));
    }
    // SmolLM3 takes the switch from the system message, too; Qwen 3 leaves `/no_think` to the model.
    assert_eq!(answered("smollm3", "Be brief. /no_think", "Here.", None).unwrap(), ["Here.<|im_end|>"]);
    is_over(answered("smollm3", "Be brief. /no_think", thinking, None));
    let learned = answered("qwen3_tools", "Be brief. /no_think", "Here.", None).unwrap();
    assert_eq!(learned, ["<think>\n\n</think>\n\nHere.<|im_end|>"]);
}

#[test]
fn without_a_system_role_the_first_question_begins_with_the_system_message() {
    let conversation = conversation("system");
    let supervised = supervised(&template(&source("gemma3")), &tokenizer(), &conversation).unwrap();
    let [example] = supervised.examples.as_slice() else { unreachable!("one example") };
    assert_eq!(
        text(&tokenizer(), &example.ids),
        "<s><start_of_turn>user\nAnswer in one word.\n\nWhere?<end_of_turn>\n<start_of_turn>model\nHere.<end_of_turn>"
    );
    // This one puts it into the last question, so that each answer has a prompt of its own.
    let conversation = chat(Some("Be brief."), &["Where?", "Here.", "When?", "Now."]);
    let supervised =
        super::supervised(&template(&source("mistral_v3_tools")), &tokenizer(), &conversation).unwrap();
    let texts: Vec<String> =
        supervised.examples.iter().map(|example| text(&tokenizer(), &example.ids)).collect();
    assert_eq!(
        texts,
        [
            "<s>[INST] Be brief.\n\nWhere?[/INST] Here.</s>",
            "<s>[INST] Where?[/INST] Here.</s>[INST] Be brief.\n\nWhen?[/INST] Now.</s>"
        ]
    );
}
