#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::Message;

fn parse(json: &str) -> Line {
    Line::parse(json, 9).unwrap().line
}

fn problem(json: &str) -> String {
    Line::parse(json, 9).unwrap_err()
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
    assert!(problem(r#"{"prompt": [], "completion": "a"}"#).contains("both be strings, or both lists"));
    assert!(
        problem(r#"{"prompt": [{"role": "user", "content": 1}], "completion": []}"#)
            .contains("message 1 of \"prompt\"")
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
    assert!(weighted("0").contains("has the weight 0: there is nothing to learn"));
    for weight in ["0.5", "-1", "2", "\"high\"", "[]"] {
        assert!(weighted(weight).contains("message 1 has a \"weight\" that is neither 0"), "{weight}");
    }
    // A word may say no, too, so that an answer with one is refused.
    for (mask, value) in [
        ("training", "\"no\""),
        ("train", "\"never\""),
        ("loss", "0.5"),
        ("mask", "true"),
        ("mask", "false"),
        ("masked", "1"),
        ("train_detail", "[{\"train\": false}]"),
    ] {
        let turns = |role: &str| {
            format!(
                r#"{{"messages": [{{"role": "{role}", "content": "a", "{mask}": {value}}}, {{"role": "assistant", "content": "b"}}]}}"#
            )
        };
        let problem = problem(&turns("assistant"));
        assert!(
            problem.contains(&format!("message 1 has a {mask:?}")) && problem.contains("0 (not learned)"),
            "{problem}"
        );
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
    assert!(problem(r#"{"text": "a", "weight": 0}"#).contains("\"weight\" is 0"));
    for mask in ["loss_weight", "loss_mask", "train", "trainable"] {
        let problem = problem(&format!(r#"{{"prompt": "a", "completion": "b", "{mask}": 0}}"#));
        assert!(problem.contains(&format!("{mask:?} is 0: there is nothing to learn")), "{problem}");
    }
    assert!(problem(r#"{"text": "a", "weight": 0.3}"#).contains("\"weight\" is neither 0 nor 1"));
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
            for rejected in ["false", "0"] {
                let problem = problem(&answer.replace("VERDICT", &format!("{key:?}: {rejected}")));
                assert!(
                    problem.contains(&format!("{key:?} is {rejected}")) && problem.contains("rejected"),
                    "{problem}"
                );
            }
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
    assert!(image.contains("message 1 has a part 2") && image.contains("\"image_url\""), "{image}");
    let unknown = problem(&content(r#"[{"type": "secret", "text": "a"}]"#));
    assert!(unknown.contains("no text;") && !unknown.contains("secret"), "{unknown}");
    assert!(problem(&content(r#"[{"text": 1}]"#)).contains("no text"));
    assert!(problem(&content("null")).contains("null as its \"content\""));
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
    assert!(check_line(r#"{"input_ids": [1, 3000000000], "labels": [1, 2]}"#).is_err());
    assert!(check_line(r#"{"txt": "a"}"#).unwrap_err().contains("none of the known shapes"));
    assert!(check_line(r#"{"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]}"#).is_err());
    let long = format!("{{\"text\": \"{}\"}}", "a".repeat(16 << 20));
    assert_eq!(check_line(&long).unwrap_err(), TOO_LONG);
}

#[test]
fn bad_lines_say_what_is_wrong() {
    for (line, part) in [
        ("{bad", "not valid JSON"),
        ("{", "each line must hold one whole object; jq -c . FILE"),
        ("[", "jq -c '.[]' FILE > NEW.jsonl takes"),
        (r#"{"text": "secret} "#, "each line must hold one whole object"),
        ("[1]", "a JSON array: each line must hold one whole object"),
        ("1", "a number, not a JSON object"),
        ("{}", "none of the known shapes"),
        (r#"{"text": 1}"#, "\"text\" is a number"),
        (r#"{"text": ""}"#, "is empty"),
        (r#"{"text": "a", "messages": []}"#, "at once"),
        (r#"{"prompt": "a"}"#, "\"completion\" is missing"),
        (r#"{"prompt": "a", "completion": ""}"#, "nothing to learn"),
        (r#"{"prompt": 1, "completion": "a"}"#, "\"prompt\" is a number, not a string"),
        (r#"{"messages": "hi"}"#, "is a string, not a list"),
        (r#"{"messages": []}"#, "\"assistant\""),
        (r#"{"messages": [1]}"#, "entry 1 of \"messages\" is a number"),
        (r#"{"messages": [{"content": ""}]}"#, "message 1 has no \"role\""),
        (r#"{"messages": [{"role": 1, "content": ""}]}"#, "message 1 has a number as its \"role\""),
        (r#"{"messages": [{"role": "assistant"}]}"#, "message 1 has no \"content\""),
        (
            r#"{"messages": [{"role": "assistant", "content": {}}]}"#,
            "an object as its \"content\", not a string",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]}"#,
            "a number in its \"tool_calls\"",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "", "tool_calls": {}}]}"#,
            "an object as its \"tool_calls\"",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": "a"}], "tools": {}}"#,
            "\"tools\" is an object, not a list",
        ),
        (r#"{"messages": [{"role": "assistant", "content": "a"}], "tools": "all"}"#, "\"tools\" is a string"),
        (r#"{"input_ids": [1]}"#, "\"labels\" is missing"),
        (r#"{"input_ids": [1, 2], "labels": [1]}"#, "2 entries and \"labels\" 1"),
        (r#"{"input_ids": [1, 9], "labels": [1, 2]}"#, "has 9"),
        (r#"{"input_ids": [1, -1], "labels": [1, 2]}"#, "has -1"),
        (r#"{"input_ids": [1, 1.5], "labels": [1, 2]}"#, "not an integer"),
        (r#"{"input_ids": [1, 2], "labels": [1, -99]}"#, "has -99"),
        (r#"{"input_ids": [1, 2], "labels": [1, -100]}"#, "nothing to learn"),
        (r#"{"input_ids": [], "labels": []}"#, "nothing to learn"),
    ] {
        let problem = problem(line);
        assert!(problem.contains(part), "{line}: {problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
}
