#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::data::load::tests::load_with;
use crate::data::report::DataReport;

fn recognized(line: &str) -> Option<ForeignShape> {
    let value: Value = serde_json::from_str(line).unwrap();
    foreign(value.as_object().unwrap())
}

/// What the command that is printed for a line makes of it.
fn converted(line: &str) -> String {
    converted_as(line, line)
}

/// What the command that is printed for the `first` line of a file makes of this one.
fn converted_as(first: &str, line: &str) -> String {
    let shape = recognized(first).unwrap_or_else(|| unreachable!("not recognized: {first}"));
    let said = shape.to_string();
    let filter = said.split_once("jq -c '").and_then(|(_, rest)| rest.split_once("' FILE > NEW.jsonl"));
    let (filter, _) = filter.unwrap_or_else(|| unreachable!("no command for {first}: {said}"));
    assert!(!filter.contains('\''), "a shell would end the filter: {filter}");
    let mut jq = Command::new("jq");
    jq.args(["-c", filter]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut jq = jq.spawn().expect("jq is installed, see bindings/xtask/setup.sh");
    jq.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let output = jq.wait_with_output().unwrap();
    assert!(output.status.success(), "jq refuses {filter}");
    String::from_utf8(output.stdout).unwrap()
}

/// Shows everything that it is given.
const TEMPLATE: &str = "{{ tools | tojson if tools }}{% for m in messages %}{{ '\n' + m.role + ': ' + (m.content or '') }}\
                        {{ m.tool_calls | tojson if m.tool_calls }}{{ eos_token }}{% endfor %}\
                        {{ '\nassistant: ' if add_generation_prompt }}";

/// What the loader makes of a line: all texts, what is learned of them, and what is told of the line.
fn loaded(line: &str) -> (String, String, DataReport) {
    let (dataset, tokenizer) =
        load_with(TEMPLATE, line, 9999).unwrap_or_else(|error| unreachable!("{error}: {line}"));
    let text = |ids: Vec<u32>| tokenizer.decode(&ids).replace('▁', " ");
    let learned = |targets: &[i32]| targets.iter().filter_map(|target| u32::try_from(*target).ok()).collect();
    (
        dataset.examples.iter().map(|example| text(example.ids.clone())).collect(),
        dataset.examples.iter().map(|example| text(learned(&example.targets))).collect::<Vec<_>>().join("|"),
        dataset.report,
    )
}

#[test]
fn the_printed_commands_write_lines_that_say_all_that_the_others_said() {
    let tools = r#"[{"type": "function", "function": {"name": "tide"}}]"#;
    let call = r#"[{"type": "function", "function": {"name": "tide", "arguments": {"day": 3}}}]"#;
    let mut wrong = Vec::new();
    for (line, text, learned) in [
        // ShareGPT
        (
            r#"{"id": "7", "conversations": [{"from": "system", "value": "Sys"}, {"from": "Human", "value": "Ask"},
                {"from": "gpt", "value": "No", "weight": 0}, {"from": "user", "value": "Again"},
                {"from": "model", "value": "Say", "weight": 1}], "weight": 1}"#
                .to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: No\nuser: Again\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            format!(
                r#"{{"system": "Sys", "tools": {}, "conversations": [{{"from": "human", "value": "Ask"}},
                {{"from": "function_call", "value": "{{\"name\": \"tide\", \"arguments\": {{\"day\": 3}}}}"}},
                {{"from": "observation", "value": "2 m"}}, {{"from": "gpt", "value": "Say"}}]}}"#,
                Value::from(tools)
            ),
            format!("{tools}\nsystem: Sys\nuser: Ask\nassistant: {call}\ntool: 2 m\nassistant: Say"),
            &format!("{call}Say"),
        ),
        (
            r#"{"system": null, "tools": "", "conversation": [{"from": "human", "value": "Ask"}, {"from": "gpt", "value": "Say"}]}"#
                .to_owned(),
            "\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        // our turns under other names
        (
            r#"{"conversation": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Say"}], "system": "Sys"}"#
                .to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"messages": [{"from": "human", "value": "Ask"}, {"from": "gpt", "value": "Say"}]}"#.to_owned(),
            "\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"messages": [{"role": "user", "content": "Ask"}, {"role": "model", "content": "Say"}]}"#.to_owned(),
            "\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"dialogue": [{"speaker": "USER", "text": "Ask"}, {"speaker": "BOT", "text": "Say"}]}"#.to_owned(),
            "\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"conversation": [{"system": "Sys", "input": "Ask", "output": "Say"}, {"input": "Again", "output": "More"}]}"#
                .to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say\nuser: Again\nassistant: More".to_owned(),
            "SayMore",
        ),
        // the system text beside the turns
        (
            format!(
                r#"{{"system": [{{"type": "text", "text": "Sys"}}], "tools": {tools}, "messages": [{{"role": "user",
                "content": "Ask"}}, {{"role": "assistant", "content": [{{"type": "text", "text": "Say"}}]}}]}}"#
            ),
            format!("{tools}\nsystem: Sys\nuser: Ask\nassistant: Say"),
            "Say",
        ),
        // Gemini
        (
            r#"{"systemInstruction": {"parts": [{"text": "S"}, {"text": "ys"}]}, "contents": [{"parts": [{"text": "Ask"}]},
                {"role": "model", "parts": [{"text": "Sa"}, {"text": "y"}]}]}"#
                .to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"system_instruction": "Sys", "contents": [{"role": "user", "parts": [{"text": "Ask"}]},
                {"role": "model", "parts": [{"text": "Say"}], "weight": 1}]}"#
                .to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        // a question and its answer
        (
            r#"{"instruction": "Ask", "input": "About", "output": "Say", "system": "Sys", "history": [["One", "Two"]]}"#
                .to_owned(),
            "\nsystem: Sys\nuser: One\nassistant: Two\nuser: Ask\n\nAbout\nassistant: Say".to_owned(),
            "TwoSay",
        ),
        (
            r#"{"instruction": "Ask", "input": "", "output": "Say", "history": []}"#.to_owned(),
            "\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"instruction": "Ask", "context": "About", "response": "Say", "weight": 1}"#.to_owned(),
            "\nuser: Ask\n\nAbout\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"system_prompt": "Sys", "question": "Ask", "response": "Say"}"#.to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"question": "Ask", "context": "About", "answer": "Say"}"#.to_owned(),
            "\nuser: Ask\n\nAbout\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            format!(r#"{{"input": "Ask", "output": "Say", "tools": {tools}}}"#),
            format!("{tools}\nuser: Ask\nassistant: Say"),
            "Say",
        ),
        (
            r#"{"system": "Sys", "prompt": "Ask", "completion": "Say"}"#.to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            format!(
                r#"{{"system": "Sys", "messages": [{{"role": "user", "content": "Ask"}}, {{"role": "assistant", "content": null,
                "weight": 0, "tool_calls": {call}}}, {{"role": "tool", "content": "2 m"}}, {{"role": "assistant", "content": "Say"}}]}}"#
            ),
            format!("\nsystem: Sys\nuser: Ask\nassistant: {call}\ntool: 2 m\nassistant: Say"),
            "Say",
        ),
        // preferences
        (r#"{"prompt": "Ask", "chosen": "Say", "rejected": "No"}"#.to_owned(), "AskSay".to_owned(), "Say"),
        (
            r#"{"system": "Sys", "question": "Ask", "chosen": "Say", "rejected": "No"}"#.to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"prompt": "Ask", "chosen": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Say"}],
                "rejected": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "No"}]}"#
                .to_owned(),
            "\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"prompt": "Ask", "chosen": [{"role": "assistant", "content": "Say"}], "rejected": []}"#.to_owned(),
            "\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"prompt": [{"role": "system", "content": "Sys"}, {"role": "user", "content": "Ask"}],
                "chosen": [{"role": "assistant", "content": "Say"}], "rejected": [{"role": "assistant", "content": "No"}]}"#
                .to_owned(),
            "\nsystem: Sys\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            r#"{"prompt": [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}, {"role": "user",
                "content": "Ask"}], "chosen": "Say", "rejected": "No"}"#
                .to_owned(),
            "\nuser: One\nassistant: Two\nuser: Ask\nassistant: Say".to_owned(),
            "Say",
        ),
        (
            format!(
                r#"{{"tools": {tools}, "conversations": [{{"from": "human", "value": "Ask"}}], "chosen": {{"from": "gpt",
                "value": "Say"}}, "rejected": {{"from": "gpt", "value": "No"}}}}"#
            ),
            format!("{tools}\nuser: Ask\nassistant: Say"),
            "Say",
        ),
        (
            r#"{"chosen": "\n\nHuman: One\n\nAssistant: Two\n\nHuman: Ask\n\nAssistant: Say", "rejected": "No"}"#.to_owned(),
            "\nuser: One\nassistant: Two\nuser: Ask\nassistant: Say".to_owned(),
            "TwoSay",
        ),
    ] {
        let new = converted(&line.replace('\n', " "));
        let (all, said, report) = loaded(&new);
        let unused: Vec<_> = report.unused_keys.into_keys().filter(|key| key != "id").collect();
        if (&all, said.as_str(), unused.is_empty()) != (&text, learned, true) {
            wrong.push(format!("{line}\n{new}{all:?}, of which {said:?}, without {unused:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_command_loses_nothing_of_lines_that_have_more_than_the_first() {
    for (first, line, text) in [
        (
            r#"{"conversations": [{"from": "human", "value": "Ask"}, {"from": "gpt", "value": "Say"}]}"#,
            r#"{"system": "Sys", "tools": "[{\"name\": \"tide\"}]", "conversations": [{"from": "function_call", "value":
                "{\"name\": \"tide\"}"}, {"from": "observation", "value": "2 m"}, {"from": "gpt", "value": "Say"}]}"#,
            "[{\"name\": \"tide\"}]\nsystem: Sys\nassistant: [{\"type\": \"function\", \"function\": {\"name\": \"tide\"}}]\
             \ntool: 2 m\nassistant: Say",
        ),
        (
            r#"{"instruction": "Ask", "output": "Say"}"#,
            r#"{"instruction": "Ask", "input": "About", "output": "Say", "history": [["One", "Two"]], "system": "Sys"}"#,
            "\nsystem: Sys\nuser: One\nassistant: Two\nuser: Ask\n\nAbout\nassistant: Say",
        ),
        (
            r#"{"chosen": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Say"}]}"#,
            r#"{"system": "Sys", "chosen": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Say"}]}"#,
            "\nsystem: Sys\nuser: Ask\nassistant: Say",
        ),
        (
            r#"{"contents": [{"role": "user", "parts": [{"text": "Ask"}]}, {"role": "model", "parts": [{"text": "Say"}]}]}"#,
            r#"{"systemInstruction": "Sys", "contents": [{"role": "model", "parts": [{"text": "Say"}]}]}"#,
            "\nsystem: Sys\nassistant: Say",
        ),
        (
            r#"{"prompt": "Ask", "chosen": "Say", "rejected": "No"}"#,
            r#"{"prompt": "Ask", "context": "About", "system": "Sys", "chosen": "Say", "rejected": "No"}"#,
            "\nsystem: Sys\nuser: Ask\n\nAbout\nassistant: Say",
        ),
        (
            r#"{"conversations": [{"from": "human", "value": "Ask"}, {"from": "gpt", "value": "Say"}]}"#,
            r#"{"system": "Sys", "conversations": [{"from": "system", "value": "Sys"}, {"from": "gpt", "value": "Say"}]}"#,
            "\nsystem: Sys\nassistant: Say",
        ),
    ] {
        let new = converted_as(first, &line.replace('\n', " "));
        assert_eq!(loaded(&new).0, text, "{new}");
    }
}

const fn named(who: &'static str, what: &'static str, is_ours: bool) -> Option<Turns> {
    Some(Turns::Named(Named { who, what, is_ours }))
}

#[test]
fn shapes_of_other_programs_are_recognized() {
    let exchange = |question, answer| Shape::Exchange(Exchange { question, answer });
    for (line, shape) in [
        (
            r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}"#,
            Shape::Turns { key: "conversations", turns: named("from", "value", false) },
        ),
        (
            r#"{"conversation": [{"role": "assistant", "content": "a"}]}"#,
            Shape::Turns { key: "conversation", turns: named("role", "content", true) },
        ),
        (
            r#"{"dialog": [{"speaker": "bot", "text": "a"}]}"#,
            Shape::Turns { key: "dialog", turns: named("speaker", "text", false) },
        ),
        (r#"{"instruction": "q", "input": "", "output": "a"}"#, exchange("instruction", "output")),
        (r#"{"instruction": "q", "context": "", "response": "a"}"#, exchange("instruction", "response")),
        (r#"{"question": "q", "answer": "a"}"#, exchange("question", "answer")),
        (r#"{"prompt": "q", "chosen": "a", "rejected": "b"}"#, Shape::Preference),
        (r#"{"contents": [{"role": "model", "parts": [{"text": "a"}]}]}"#, Shape::Gemini),
        (r#"{"system": "s", "messages": [{"role": "assistant", "content": "a"}]}"#, Shape::SystemBeside),
    ] {
        let found = recognized(line).unwrap();
        assert!(found.shape == shape && found.remedy.is_ok(), "{line}: {found:?}");
        let said = found.to_string();
        assert!(said.contains("; jq -c 'del(") && said.ends_with(" converts it"), "{line}: {said}");
    }
    for line in [
        r#"{"txt": "a"}"#,
        r#"{"text": "a", "instruction": "q", "output": "a"}"#,
        r#"{"prompt": "q", "completion": "a", "answer": "b"}"#,
        r#"{"prompt": "q", "completion": "a", "system": ""}"#,
        r#"{"prompt": [], "completion": [], "system": "s"}"#,
        r#"{"messages": [], "system": ""}"#,
        r#"{"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": "a"}], "system_prompt": "s"}"#,
        r#"{"messages": [{"role": "user", "content": "q"}]}"#,
        r#"{"messages": [{"role": "assistant", "content": [{"type": "image"}]}], "system": "s"}"#,
        r#"{"conversations": []}"#,
    ] {
        assert_eq!(recognized(line), None, "{line}");
    }
}

#[test]
fn what_no_command_converts_is_told_why() {
    for (line, why) in [
        (r#"{"dialog": ["secret", "b"]}"#, Obstacle::Turns),
        (r#"{"conversations": [["secret", "b"]]}"#, Obstacle::Turns),
        (r#"{"conversations": [{"who": "secret", "words": "b"}]}"#, Obstacle::Turns),
        (r#"{"dialogue": [{"speaker": "secret", "text": "b"}]}"#, Obstacle::Speakers),
        (r#"{"conversations": [{"from": "human", "value": "secret"}]}"#, Obstacle::Speakers),
        (
            r#"{"conversations": [{"from": "function_call", "value": "secret"}, {"from": "gpt", "value": "a"}]}"#,
            Obstacle::Speakers,
        ),
        (r#"{"conversations": [{"from": "gpt", "value": {"secret": 1}}]}"#, Obstacle::NotText("value")),
        (
            r#"{"contents": [{"role": "model", "parts": [{"functionCall": {"name": "secret"}}]}]}"#,
            Obstacle::NotText("parts"),
        ),
        (
            r#"{"tools": [{}], "contents": [{"role": "model", "parts": [{"text": "secret"}]}]}"#,
            Obstacle::Tools,
        ),
        (r#"{"question": "secret", "answer": 3}"#, Obstacle::NotText("answer")),
        (r#"{"question": "q", "context": {"secret": 1}, "answer": "a"}"#, Obstacle::NotText("context")),
        (r#"{"instruction": "q", "output": "a", "history": ["secret"]}"#, Obstacle::History),
        (r#"{"prompt": "secret", "question": "q", "answer": "a"}"#, Obstacle::Besides("prompt")),
        (
            r#"{"prompt": "secret", "conversations": [{"from": "gpt", "value": "a"}]}"#,
            Obstacle::Besides("prompt"),
        ),
        (r#"{"chosen": "secret", "rejected": "b"}"#, Obstacle::NoQuestion),
        (r#"{"chosen": [{"role": "assistant", "content": "secret"}], "rejected": []}"#, Obstacle::NoQuestion),
        (r#"{"chosen": [], "rejected": []}"#, Obstacle::Turns),
        (
            r#"{"prompt": "secret", "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}"#,
            Obstacle::OtherQuestion,
        ),
        (r#"{"prompt": "q", "chosen": 3, "rejected": 1}"#, Obstacle::NotText("chosen")),
    ] {
        let found = recognized(line).unwrap();
        assert_eq!(found.remedy, Err(why), "{line}");
        let said = found.to_string();
        assert!(said.ends_with(&format!("; no command converts it: {why}")), "{line}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn each_shape_and_each_obstacle_has_its_words() {
    let exchange = |question, answer| Shape::Exchange(Exchange { question, answer });
    let exchanges = Some(Turns::Exchanges(Exchange { question: "input", answer: "output" }));
    for (shape, words) in [
        (Shape::Turns { key: "chat", turns: None }, r#"that of a conversation ({"chat": [...]})"#),
        (
            Shape::Turns { key: "chat", turns: named("role", "content", true) },
            r#"that of {"messages"} under another name, "chat""#,
        ),
        (
            Shape::Turns { key: "chat", turns: named("from", "value", false) },
            r#"ShareGPT's ({"chat": [{"from", "value"}]})"#,
        ),
        (
            Shape::Turns { key: "chat", turns: named("speaker", "text", false) },
            r#"that of {"messages"} with other names ({"chat": [{"speaker", "text"}]})"#,
        ),
        (
            Shape::Turns { key: "chat", turns: exchanges },
            r#"that of questions and their answers ({"chat": [{"input", "output"}]})"#,
        ),
        (Shape::Gemini, r#"Gemini's ({"contents": [{"role", "parts"}]})"#),
        (Shape::SystemBeside, r#"Anthropic's, with the system text beside "messages""#),
        (exchange("instruction", "output"), r#"Alpaca's ({"instruction", "input", "output"})"#),
        (exchange("instruction", "response"), r#"Dolly's ({"instruction", "context", "response"})"#),
        (
            exchange("prompt", "completion"),
            r#"that of {"prompt", "completion"} with a system text, which only conversations have"#,
        ),
        (exchange("question", "answer"), r#"a question and its answer ({"question", "answer"})"#),
        (
            Shape::Preference,
            r#"that of preferences ({"chosen", "rejected"}), of which only what was chosen can be learned"#,
        ),
    ] {
        assert_eq!(shape.to_string(), words);
    }
    for (obstacle, words) in [
        (
            Obstacle::Speakers,
            r#"nothing tells which of the speakers the model is; write {"messages": [{"role", "content"}]} with the role "assistant" for it"#,
        ),
        (
            Obstacle::Turns,
            r#"its entries are not turns with a speaker and a text; write {"messages": [{"role", "content"}]}"#,
        ),
        (
            Obstacle::NotText("value"),
            r#"what stands under "value" is more than a text; only text can be learned"#,
        ),
        (
            Obstacle::Tools,
            r#"its tools are declared otherwise than chat templates show them; write them as {"tools": [{"type": "function", "function"}]} beside "messages""#,
        ),
        (Obstacle::History, r#"its "history" is not a list of pairs of texts; write {"messages"}"#),
        (
            Obstacle::NoQuestion,
            r#"nothing tells what was asked; write {"prompt", "completion"} or {"messages"}"#,
        ),
        (
            Obstacle::OtherQuestion,
            r#""chosen" has another question than the one beside it; write {"messages"} with both"#,
        ),
        (Obstacle::Besides("prompt"), r#"it has "prompt" besides; keep one of them"#),
    ] {
        assert_eq!(obstacle.to_string(), words);
    }
}
