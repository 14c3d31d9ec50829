#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use nightgraft_gguf::{Array, Metadata, Value};

use super::*;
use crate::data::Unreadable;

const EOS: u32 = 1;
const BOS: u32 = 0;

/// A token for each byte, BOS and EOS: `b(b'a')` is the id of "a".
fn tokenizer(add_bos: bool) -> Tokenizer {
    let mut texts: Vec<String> = vec!["<s>".into(), "</s>".into(), "<unk>".into()];
    texts.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    let mut kinds = vec![3, 3, 2];
    kinds.resize(texts.len(), 6);
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(texts)));
    metadata.insert("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)));
    metadata.insert("tokenizer.ggml.bos_token_id", Value::U32(BOS));
    metadata.insert("tokenizer.ggml.eos_token_id", Value::U32(EOS));
    metadata.insert("tokenizer.ggml.add_bos_token", Value::Bool(add_bos));
    metadata.insert("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    Tokenizer::from_gguf(&metadata).unwrap()
}

fn b(byte: u8) -> u32 {
    u32::from(byte) + 3
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(b).collect()
}

fn template() -> ChatTemplate {
    let source = "{% for m in messages %}{{ m.role[0] + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}a{% endif %}";
    ChatTemplate::new(source, "<s>", "</s>").unwrap()
}

fn options(context: usize) -> DataOptions {
    DataOptions { context, chat: false, skip_bad: false }
}

fn load_bytes(name: &str, content: &[u8], add_bos: bool, options: &DataOptions) -> Result<Dataset> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    load(&path, None, &tokenizer(add_bos), Some(&template()), options)
}

fn load_lines(content: &str, options: &DataOptions) -> Result<Dataset> {
    load_bytes("data.jsonl", content.as_bytes(), false, options)
}

/// The line and the problem of a file that is refused.
fn refused<T: std::fmt::Debug>(result: Result<T>) -> (Option<usize>, DataProblem) {
    match result {
        Err(Error::Data { line, problem, .. }) => (line, problem),
        other => unreachable!("{other:?}"),
    }
}

fn targets(ids: &[u32]) -> Vec<i32> {
    ids.iter().map(|&id| id as i32).collect()
}

#[test]
fn text_files_become_windows_and_lose_mark_and_carriage_returns() {
    let dataset = load_bytes("a.txt", "\u{feff}ab\r\ncd".as_bytes(), false, &options(3)).unwrap();
    assert_eq!(
        dataset.examples,
        [
            Example { ids: ids("ab\n"), targets: targets(&ids("b\nc")) },
            Example { ids: ids("cd"), targets: vec![b(b'd') as i32, -1] },
        ]
    );
    let report = &dataset.report;
    assert_eq!((report.lines, report.split_lines, report.tokens, report.supervised_tokens), (1, 1, 5, 4));
    // What looks like a special token is text here.
    let markers = load_bytes("a.TXT", b"<s>", false, &options(9)).unwrap();
    assert_eq!(markers.examples[0].ids, ids("<s>"));
}

#[test]
fn text_lines_begin_with_bos_and_end_with_eos() {
    let content = b"{\"text\": \"ab\"}\n\n  \r\n{\"text\": \"<s>c</s>\"}\r\n";
    let dataset = load_bytes("a.jsonl", content, true, &options(9)).unwrap();
    assert_eq!(
        dataset.examples,
        [
            Example {
                ids: vec![BOS, b(b'a'), b(b'b'), EOS],
                targets: vec![b(b'a') as i32, b(b'b') as i32, EOS as i32, -1]
            },
            Example { ids: vec![BOS, b(b'c'), EOS], targets: vec![b(b'c') as i32, EOS as i32, -1] },
        ]
    );
    assert_eq!(dataset.report.lines, 2);
}

#[test]
fn completions_are_learned_with_eos_and_prompts_are_not() {
    let dataset = load_lines(r#"{"prompt": "q:", "completion": "ab"}"#, &options(9)).unwrap();
    let expected = Example {
        ids: [ids("q:ab"), vec![EOS]].concat(),
        targets: vec![-1, b(b'a') as i32, b(b'b') as i32, EOS as i32, -1],
    };
    assert_eq!(dataset.examples, [expected]);
    // A long prompt loses its beginning, never the answer.
    let dataset = load_lines(r#"{"prompt": "0123456789", "completion": "ab"}"#, &options(4)).unwrap();
    let expected =
        Example { ids: ids("89ab"), targets: vec![-1, b(b'a') as i32, b(b'b') as i32, EOS as i32] };
    assert_eq!(dataset.examples, [expected]);
    assert_eq!((dataset.report.truncated_lines, dataset.report.truncated_tokens), (1, 8));
}

#[test]
fn chat_renders_completions_as_a_conversation() {
    let line = r#"{"prompt": "q", "completion": "x"}"#;
    let chat = load_lines(line, &DataOptions { chat: true, ..options(9) }).unwrap();
    let messages =
        r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "x"}]}"#;
    assert_eq!(chat.examples, load_lines(messages, &options(9)).unwrap().examples);
    let expected = Example {
        ids: [ids("uq"), vec![EOS], ids("ax"), vec![EOS]].concat(),
        targets: vec![-1, -1, -1, b(b'x') as i32, EOS as i32, -1],
    };
    assert_eq!(chat.examples, [expected]);
}

#[test]
fn long_conversations_are_split_between_turns_behind_the_system_message() {
    let turn = |role: &str, content: &str| format!(r#"{{"role": "{role}", "content": "{content}"}}"#);
    let turns = [
        ("system", "S"),
        ("user", "1"),
        ("assistant", "one"),
        ("user", "2"),
        ("assistant", "two"),
        ("user", "3"),
        ("assistant", "three"),
    ];
    let turns = turns.map(|(role, content)| turn(role, content)).join(",");
    let line = format!(r#"{{"messages": [{turns}]}}"#);
    // "sS| u1| aone|" has 11 tokens, a second exchange has 8 more.
    let dataset = load_lines(&line, &options(20)).unwrap();
    let texts: Vec<String> =
        dataset.examples.iter().map(|example| tokenizer(false).decode(&example.ids)).collect();
    assert_eq!(texts, ["sSu1aoneu2atwo", "sSu3athree"]);
    assert_eq!((dataset.report.split_lines, dataset.report.truncated_lines), (1, 0));
    assert_eq!(dataset.report.supervised_tokens, 3 + 3 + 5 + 3);
    // Too small for an exchange: the answer stays as far as it fits.
    let dataset = load_lines(&line, &options(6)).unwrap();
    assert!(dataset.examples.iter().all(|example| example.len() <= 6 && example.n_supervised() > 0));
    assert_eq!((dataset.examples.len(), dataset.report.truncated_lines), (3, 1));
}

/// Loads lines for a model with this template, and gives its tokenizer, too.
pub(in crate::data) fn load_with(
    source: &str,
    content: &str,
    context: usize,
) -> Result<(Dataset, Tokenizer)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, content).unwrap();
    let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
    let tokenizer = tokenizer(false);
    let dataset = load(&path, None, &tokenizer, Some(&template), &options(context))?;
    Ok((dataset, tokenizer))
}

const TWO_EXCHANGES: &str = r#"{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "one"}, {"role": "user", "content": "2"}, {"role": "assistant", "content": "two"}]}"#;

#[test]
fn answers_that_later_turns_show_otherwise_are_examples_of_their_own() {
    let source = "{% for m in messages %}{{ m.role[0] + m.content }}{% if loop.last and m.role == 'assistant' %}!{% endif %}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}a{% endif %}";
    let texts = |dataset: &Dataset| -> Vec<String> {
        dataset.examples.iter().map(|example| tokenizer(false).decode(&example.ids)).collect()
    };
    let (dataset, _) = load_with(source, TWO_EXCHANGES, 99).unwrap();
    assert_eq!(texts(&dataset), ["u1aone!", "u1aoneu2atwo!"]);
    let report = &dataset.report;
    assert_eq!((report.separated_lines, report.split_lines, report.truncated_lines), (1, 0, 0));
    assert_eq!(report.supervised_tokens, 5 + 5);
    // What does not fit loses the beginning of its prompt.
    let (dataset, _) = load_with(source, TWO_EXCHANGES, 10).unwrap();
    assert_eq!(texts(&dataset), ["u1aone!", "eu2atwo!"]);
    let report = &dataset.report;
    assert_eq!((report.separated_lines, report.truncated_lines, report.truncated_tokens), (1, 1, 6));
    assert_eq!(report.supervised_tokens, 5 + 5);
}

#[test]
fn what_the_template_leaves_open_and_what_has_no_effect_is_counted() {
    let source = "{% for m in messages %}{{ m.role[0] + m.content + ' ' }}{% endfor %}{% if add_generation_prompt %}a{% endif %}";
    let line = TWO_EXCHANGES.replace("\"1\"}", "\"1\", \"id\": 7, \"name\": \"\"}");
    let line = line.replace("{\"messages\"", "{\"source\": \"notes\", \"messages\"");
    let text = r#"{"text": "ab", "source": "notes", "kind": 1}"#;
    let (dataset, _) = load_with(source, &[&line, &line, text].join("\n"), 99).unwrap();
    let report = &dataset.report;
    assert_eq!((report.lines, report.unclosed_lines, report.separated_lines), (3, 2, 2));
    let unused: Vec<_> = report.unused_keys.iter().map(|(key, lines)| (key.as_str(), *lines)).collect();
    assert_eq!(unused, [("kind", 1), ("messages[].id", 2), ("source", 3)]);
    assert_eq!(dataset.examples[0].targets.last(), Some(&-1));
    assert!(dataset.examples[..4].iter().all(|example| example.ids.last() == Some(&EOS)));
}

#[test]
fn a_masked_turn_has_no_loss_and_stays_in_the_prompt() {
    let line = TWO_EXCHANGES.replace("\"one\"", "\"one\", \"weight\": 0");
    let dataset = load_lines(&line, &options(99)).unwrap();
    let [example] = dataset.examples.as_slice() else { unreachable!("one example") };
    assert_eq!(tokenizer(false).decode(&example.ids), "u1aoneu2atwo");
    assert_eq!(dataset.report.supervised_tokens, 4);
    assert!(dataset.report.unused_keys.is_empty());
    // An exchange without anything to learn makes no example where a conversation is split.
    let dataset = load_lines(&line, &options(10)).unwrap();
    assert_eq!(dataset.examples.len(), 1);
    assert_eq!(tokenizer(false).decode(&dataset.examples[0].ids), "u2atwo");
}

#[test]
fn messages_of_a_prompt_and_its_completion_are_a_conversation() {
    let line = TWO_EXCHANGES.replace("messages", "prompt").replace(
        r#", {"role": "assistant", "content": "two"}]"#,
        r#"], "completion": [{"role": "assistant", "content": "two"}]"#,
    );
    let masked = TWO_EXCHANGES.replace("\"one\"", "\"one\", \"weight\": 0");
    let examples = |line: &str| load_lines(line, &options(99)).unwrap().examples;
    assert_eq!(examples(&line), examples(&masked));
}

#[test]
fn files_that_are_not_one_object_a_line_say_so() {
    let load_one =
        |name: &str, content: &str| refused(load_bytes(name, content.as_bytes(), false, &options(9)));
    let unreadable = |problem: Unreadable| LineProblem::from(problem).into();
    let pretty = load_one("a.jsonl", "{\n  \"text\": \"ab\"\n}\n");
    assert_eq!(pretty, (Some(1), unreadable(Unreadable::Beginning)));
    let begun = load_one("a.jsonl", "[\n {\"text\": \"ab\"}\n]\n");
    assert_eq!(begun, (Some(1), unreadable(Unreadable::BeginningOfArray)));
    let whole = load_one("a.jsonl", "[{\"text\": \"ab\"}, {\"text\": \"cd\"}]");
    assert_eq!(whole, (Some(1), LineProblem::Array.into()));
    assert_eq!(load_one("a.json", "[]"), (None, DataProblem::Json));
}

#[test]
fn given_tokens_are_taken_as_they_are() {
    let line = r#"{"input_ids": [5, 6, 7, 8, 9], "labels": [-100, -100, 7, 8, -100]}"#;
    let dataset = load_bytes("a.jsonl", line.as_bytes(), true, &options(9)).unwrap();
    let expected = Example { ids: vec![5, 6, 7, 8, 9], targets: vec![-1, 7, 8, -1, -1] };
    assert_eq!(dataset.examples, [expected]);
    let dataset = load_lines(line, &options(2)).unwrap();
    let expected = [
        Example { ids: vec![5, 6], targets: vec![-1, 7] },
        Example { ids: vec![7, 8], targets: vec![8, -1] },
    ];
    assert_eq!(dataset.examples, expected);
    assert_eq!((dataset.report.split_lines, dataset.report.truncated_tokens), (1, 1));
}

#[test]
fn a_bad_line_stops_with_its_number_or_is_counted() {
    let good = "{\"text\": \"ab\"}\n";
    let unreadable = Unreadable::Other { category: serde_json::error::Category::Syntax, column: 2 };
    for (bad, problem) in [
        (&b"{nope}"[..], LineProblem::from(unreadable).into()),
        (b"\xff\xfe", DataProblem::NotUtf8),
        (
            b"{\"input_ids\": [1, 999], \"labels\": [1, 2]}",
            LineProblem::UnknownId { key: "input_ids", id: 999, n_vocab: 259 }.into(),
        ),
        (b"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", LineProblem::NoAnswer.into()),
        (&[b' '; (16 << 20) + 2], LineProblem::TooLong.into()),
    ] {
        let mut bad = bad.to_vec();
        if bad.len() > 100 {
            bad[0] = b'{';
        }
        let content = [good.as_bytes(), b"\n", &bad, b"\n", good.as_bytes()].concat();
        let error = load_bytes("d.jsonl", &content, false, &options(9)).unwrap_err();
        assert!(error.to_string().ends_with(&format!("d.jsonl:3: {problem}")), "{error}");
        assert_eq!(refused::<()>(Err(error)), (Some(3), problem));
        let skipping = DataOptions { skip_bad: true, ..options(9) };
        let dataset = load_bytes("d.jsonl", &content, false, &skipping).unwrap();
        assert_eq!((dataset.examples.len(), dataset.report.skipped_lines, dataset.report.lines), (2, 1, 3));
    }
}

#[test]
fn files_without_anything_to_learn_and_unknown_kinds_are_errors() {
    let load_one = |name: &str, content: &[u8]| load_bytes(name, content, false, &options(9));
    for (name, content, expected) in [
        ("a.txt", &b" \n"[..], (None, DataProblem::Empty)),
        ("a.txt", b"x", (None, DataProblem::Empty)),
        ("a.txt", b"a\n\xff", (Some(2), DataProblem::NotUtf8)),
        ("a.jsonl", b"", (None, DataProblem::Empty)),
        ("a.csv", b"x", (None, DataProblem::UnknownKind)),
        ("data", b"x", (None, DataProblem::UnknownKind)),
    ] {
        assert_eq!(refused(load_one(name, content)), expected, "{name}");
    }
    let skipping = DataOptions { skip_bad: true, ..options(9) };
    let skipped = refused(load_lines("{}\n{}\n", &skipping));
    assert_eq!(skipped, (None, DataProblem::AllSkipped { lines: 2 }));
    let short = load_lines("{}", &options(1)).unwrap_err();
    assert!(matches!(short, Error::Config { option: "--context", .. }), "{short}");
    let missing =
        load(Path::new("/nowhere/a.jsonl"), None, &tokenizer(false), None, &options(9)).unwrap_err();
    assert!(matches!(missing, Error::Io(nightgraft_files::Error { action: "open", .. })));
}

#[test]
fn without_a_chat_template_conversations_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, r#"{"messages": [{"role": "assistant", "content": "x"}]}"#).unwrap();
    let result = load(&path, None, &tokenizer(false), None, &options(9));
    assert_eq!(refused(result), (Some(1), DataProblem::NoTemplate));
}
