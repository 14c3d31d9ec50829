#![allow(clippy::unwrap_used)]

use serde_json::error::Category;
use serde_json::json;

use super::*;
use crate::Message;
use crate::data::MessageProblem;

fn parse(json: &str) -> Line {
    Line::parse(json, 9).unwrap().line
}

fn problem(json: &str) -> LineProblem {
    Line::parse(json, 9).unwrap_err()
}

/// A problem of the first message.
fn message(problem: MessageProblem) -> LineProblem {
    LineProblem::Message { key: "messages", number: 1, problem }
}

fn conversation(json: &str) -> Conversation {
    match parse(json) {
        Line::Conversation(conversation) => conversation,
        other => unreachable!("no conversation: {other:?}"),
    }
}

#[test]
fn the_shapes_are_read() {
    let text = Line::parse(r#"{"text": "a", "id": 3}"#, 9).unwrap();
    assert_eq!(text.line, Line::Text("a".into()));
    assert!(text.unused_keys.iter().eq(["id"]));
    assert_eq!(
        parse(r#"{"prompt": "", "completion": "b"}"#),
        Line::Completion { prompt: String::new(), completion: "b".into() }
    );
    let messages =
        r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]}"#;
    let expected = vec![Message::new("user", "q"), Message::new("assistant", "")];
    assert_eq!(conversation(messages), expected.into());
    assert_eq!(
        parse(r#"{"input_ids": [1, 8], "labels": [-100, 8]}"#),
        Line::Tokens { ids: vec![1, 8], labels: vec![None, Some(8)] }
    );
}

#[test]
fn the_completion_of_two_lists_of_messages_is_learned() {
    let line = r#"{"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"}],
        "completion": [{"role": "assistant", "content": "b"}], "tools": []}"#;
    let conversation = conversation(line);
    let learned: Vec<bool> = conversation.messages.iter().map(Message::is_learned).collect();
    assert_eq!(learned, [false, false, false, true]);
    assert_eq!(problem(r#"{"prompt": [], "completion": "a"}"#), LineProblem::TextAndMessages);
    let number = MessageProblem::Kind { key: "content", found: JsonKind::Number, expected: JsonKind::String };
    assert_eq!(
        problem(r#"{"prompt": [{"role": "user", "content": 1}], "completion": []}"#),
        LineProblem::Message { key: "prompt", number: 1, problem: number }
    );
}

#[test]
fn weights_of_0_and_1_mask_and_others_are_refused_by_name() {
    for (weight, is_learned) in [
        (r#""weight": 0"#, false),
        (r#""weight": 0.0"#, false),
        (r#""weight": 1"#, true),
        (r#""weight": null"#, true),
        (r#""loss": false"#, false),
        (r#""train": false"#, false),
        (r#""training": true"#, true),
        (r#""loss_mask": 0"#, false),
    ] {
        let turns = format!(
            r#"{{"messages": [{{"role": "assistant", "content": "a", {weight}}}, {{"role": "assistant", "content": "b"}}]}}"#
        );
        let turns = conversation(&turns).messages;
        assert_eq!(turns[0].is_learned(), is_learned, "{weight}");
        assert_eq!(turns[0].keys().len(), 2);
    }
    let weighted = |weight: &str| {
        problem(&format!(r#"{{"messages": [{{"role": "assistant", "content": "a", "weight": {weight}}}]}}"#))
    };
    assert_eq!(weighted("0"), LineProblem::AllMasked);
    for weight in ["0.5", "-1", "2", "\"high\"", "[]"] {
        assert_eq!(weighted(weight), message(MessageProblem::UnclearWeight { key: "weight" }), "{weight}");
    }
    // A word may say no, too, so that an answer with one is refused.
    let weight = |key| (key, MessageProblem::UnclearWeight { key });
    let mask = |key| (key, MessageProblem::UnclearMask { key });
    for ((mask, unclear), value) in [
        (weight("training"), "\"no\""),
        (weight("train"), "\"never\""),
        (weight("loss"), "0.5"),
        (mask("mask"), "true"),
        (mask("mask"), "false"),
        (mask("masked"), "1"),
        (mask("train_detail"), "[{\"train\": false}]"),
    ] {
        let turns = |role: &str| {
            format!(
                r#"{{"messages": [{{"role": "{role}", "content": "a", "{mask}": {value}}}, {{"role": "assistant", "content": "b"}}]}}"#
            )
        };
        assert_eq!(problem(&turns("assistant")), message(unclear));
        assert_eq!(conversation(&turns("user")).messages[0].keys().len(), 3);
    }
    // What is not learned anyway may say so in any way.
    for line in [
        r#"{"messages": [{"role": "assistant", "content": "a", "weight": 0, "loss": 0.37}, {"role": "assistant", "content": "b"}]}"#,
        r#"{"prompt": [{"role": "assistant", "content": "a", "loss": 0.37}], "completion": [{"role": "assistant", "content": "b"}]}"#,
        r#"{"messages": [{"role": "assistant", "content": "a", "weight": 0, "mask": 1}, {"role": "assistant", "content": "b"}]}"#,
        r#"{"prompt": [{"role": "assistant", "content": "a", "mask": 1}], "completion": [{"role": "assistant", "content": "b"}]}"#,
    ] {
        assert!(!conversation(line).messages[0].is_learned(), "{line}");
    }
    assert!(parse(r#"{"text": "a", "weight": 1}"#) == Line::Text("a".into()));
    assert_eq!(problem(r#"{"text": "a", "weight": 0}"#), LineProblem::Masked { key: "weight" });
    for key in ["loss_weight", "loss_mask", "train", "trainable"] {
        let line = format!(r#"{{"prompt": "a", "completion": "b", "{key}": 0}}"#);
        assert_eq!(problem(&line), LineProblem::Masked { key });
    }
    assert_eq!(problem(r#"{"text": "a", "weight": 0.3}"#), LineProblem::UnclearWeight);
}

#[test]
fn rejected_answers_are_refused_and_accepted_ones_learned() {
    let answers = [
        r#"{"prompt": "a", "completion": "b", VERDICT}"#,
        r#"{"messages": [{"role": "assistant", "content": "b"}], VERDICT}"#,
        r#"{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}], VERDICT}"#,
    ];
    for answer in answers {
        for key in ["label", "kto_tag"] {
            let judged = |verdict: &str| problem(&answer.replace("VERDICT", &format!("{key:?}: {verdict}")));
            assert_eq!(judged("false"), LineProblem::Rejected { key });
            assert_eq!(judged("0"), LineProblem::PerhapsRejected { key });
            for (other, unused) in [("true", 0), ("1", 1), ("null", 1), ("\"joy\"", 1), ("3", 1)] {
                let line = answer.replace("VERDICT", &format!("{key:?}: {other}"));
                assert_eq!(Line::parse(&line, 9).unwrap().unused_keys.len(), unused, "{line}");
            }
        }
    }
    // What a text is about is no verdict on it.
    assert!(Line::parse(r#"{"text": "a", "label": 0}"#, 9).unwrap().unused_keys.iter().eq(["label"]));
}

#[test]
fn parts_of_text_are_joined_and_others_refused_by_their_type() {
    let content =
        |content: &str| format!(r#"{{"messages": [{{"role": "assistant", "content": {content}}}]}}"#);
    let joined = conversation(&content(
        r#"[{"type": "text", "text": "a "}, "b", {"type": "output_text", "text": "c"}]"#,
    ));
    assert_eq!(joined.messages, [Message::new("assistant", "a bc")]);
    let image =
        problem(&content(r#"[{"type": "text", "text": "a"}, {"type": "image_url", "image_url": "secret"}]"#));
    assert_eq!(image, message(MessageProblem::Part { number: 2, kind: Some("image_url") }));
    for other in [r#"[{"type": "secret", "text": "a"}]"#, r#"[{"text": 1}]"#] {
        assert_eq!(problem(&content(other)), message(MessageProblem::Part { number: 1, kind: None }));
    }
    let null = MessageProblem::Kind { key: "content", found: JsonKind::Null, expected: JsonKind::String };
    assert_eq!(problem(&content("null")), message(null));
}

#[test]
fn tools_and_their_calls_reach_the_template_as_objects() {
    let line = r#"{"tools": [{"name": "f"}], "chat_template_kwargs": {"enable_thinking": false}, "id": 1, "messages": [
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "1", "function": {"name": "f", "arguments": "{\"pot\": 2}"}}, {"name": "f", "arguments": "{\"pot\": 3}"},
            {"name": "g", "arguments": "pot 4"}]},
        {"role": "tool", "tool_call_id": "1", "name": "f", "content": "dry"}]}"#.replace('\n', " ");
    let parsed = Line::parse(&line, 9).unwrap();
    assert!(parsed.unused_keys.iter().eq(["id"]));
    let conversation = conversation(&line);
    let expected = json!({ "tools": [{ "name": "f" }], "enable_thinking": false });
    assert_eq!(serde_json::Value::from(conversation.variables), expected);
    let expected = json!([
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "1", "function": { "name": "f", "arguments": { "pot": 2 } } },
            { "name": "f", "arguments": { "pot": 3 } },
            { "name": "g", "arguments": "pot 4" }
        ] },
        { "role": "tool", "tool_call_id": "1", "name": "f", "content": "dry" }
    ]);
    assert_eq!(serde_json::to_value(&conversation.messages).unwrap(), expected);
    let written_out =
        r#"{"tools": "[{\"name\": \"f\"}]", "messages": [{"role": "assistant", "content": "a"}]}"#;
    assert!(match parse(written_out) {
        Line::Conversation(conversation) => conversation.variables["tools"].is_array(),
        _ => false,
    });
}

#[test]
fn a_line_is_checked_without_a_vocabulary() {
    check_line(r#"{"text": "a"}"#).unwrap();
    check_line(r#"{"input_ids": [1, 200000], "labels": [-100, 200000]}"#).unwrap();
    let beyond = LineProblem::UnknownId { key: "input_ids", id: 3_000_000_000, n_vocab: i32::MAX as usize };
    assert_eq!(check_line(r#"{"input_ids": [1, 3000000000], "labels": [1, 2]}"#), Err(beyond));
    assert_eq!(check_line(r#"{"txt": "a"}"#), Err(LineProblem::UnknownShape));
    let unclear = message(MessageProblem::UnclearWeight { key: "weight" });
    let line = r#"{"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]}"#;
    assert_eq!(check_line(line), Err(unclear));
    let long = format!("{{\"text\": \"{}\"}}", "a".repeat(16 << 20));
    assert_eq!(check_line(&long), Err(LineProblem::TooLong));
}

#[test]
fn bad_lines_are_refused_for_what_is_wrong() {
    let other = Unreadable::Other { category: Category::Syntax, column: 2 };
    let kind = |key, found, expected| LineProblem::Kind { key, found, expected };
    let of_message = |key, found, expected| message(MessageProblem::Kind { key, found, expected });
    let unknown_id = |key, id| LineProblem::UnknownId { key, id, n_vocab: 9 };
    for (line, expected) in [
        ("{bad", other.into()),
        ("{", Unreadable::Beginning.into()),
        ("[", Unreadable::BeginningOfArray.into()),
        (r#"{"text": "secret} "#, Unreadable::Beginning.into()),
        ("[1]", LineProblem::Array),
        ("1", LineProblem::NotAnObject(JsonKind::Number)),
        ("{}", LineProblem::UnknownShape),
        (r#"{"text": 1}"#, kind("text", JsonKind::Number, JsonKind::String)),
        (r#"{"text": ""}"#, LineProblem::Empty { key: "text" }),
        (r#"{"text": "a", "messages": []}"#, LineProblem::SeveralShapes(vec!["text", "messages"])),
        (r#"{"prompt": "a"}"#, LineProblem::Missing { key: "completion" }),
        (r#"{"prompt": "a", "completion": ""}"#, LineProblem::Empty { key: "completion" }),
        (r#"{"prompt": 1, "completion": "a"}"#, kind("prompt", JsonKind::Number, JsonKind::String)),
        (r#"{"messages": "hi"}"#, kind("messages", JsonKind::String, JsonKind::List)),
        (r#"{"messages": []}"#, LineProblem::NoAnswer),
        (
            r#"{"messages": [1]}"#,
            LineProblem::NotAMessage { key: "messages", number: 1, found: JsonKind::Number },
        ),
        (r#"{"messages": [{"content": ""}]}"#, message(MessageProblem::Missing { key: "role" })),
        (
            r#"{"messages": [{"role": 1, "content": ""}]}"#,
            of_message("role", JsonKind::Number, JsonKind::String),
        ),
        (r#"{"messages": [{"role": "assistant"}]}"#, message(MessageProblem::Missing { key: "content" })),
        (
            r#"{"messages": [{"role": "assistant", "content": {}}]}"#,
            of_message("content", JsonKind::Object, JsonKind::String),
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]}"#,
            message(MessageProblem::Call { found: JsonKind::Number }),
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "", "tool_calls": {}}]}"#,
            of_message("tool_calls", JsonKind::Object, JsonKind::List),
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "a"}], "tools": {}}"#,
            kind("tools", JsonKind::Object, JsonKind::List),
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "a"}], "tools": "all"}"#,
            kind("tools", JsonKind::String, JsonKind::List),
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "a"}], "chat_template_kwargs": []}"#,
            kind("chat_template_kwargs", JsonKind::List, JsonKind::Object),
        ),
        (r#"{"input_ids": [1]}"#, LineProblem::Missing { key: "labels" }),
        (r#"{"input_ids": 1, "labels": [1]}"#, kind("input_ids", JsonKind::Number, JsonKind::List)),
        (r#"{"input_ids": [1, 2], "labels": [1]}"#, LineProblem::Lengths { ids: 2, labels: 1 }),
        (r#"{"input_ids": [1, 9], "labels": [1, 2]}"#, unknown_id("input_ids", 9)),
        (r#"{"input_ids": [1, -1], "labels": [1, 2]}"#, unknown_id("input_ids", -1)),
        (
            r#"{"input_ids": [1, 1.5], "labels": [1, 2]}"#,
            LineProblem::NotAnInteger { key: "input_ids", index: 1, found: JsonKind::Number },
        ),
        (r#"{"input_ids": [1, 2], "labels": [1, -99]}"#, unknown_id("labels", -99)),
        (r#"{"input_ids": [1, 2], "labels": [1, -100]}"#, LineProblem::NoLabel),
        (r#"{"input_ids": [], "labels": []}"#, LineProblem::NoLabel),
    ] {
        assert_eq!(problem(line), expected, "{line}");
    }
}
