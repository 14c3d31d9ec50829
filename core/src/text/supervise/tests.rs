#![allow(clippy::unwrap_used)]

use super::*;
use crate::gguf::{Array, Metadata, Value};
use crate::text::template_samples::*;

/// Every byte and the markers of the samples.
const MARKERS: [&str; 12] = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|end|>",
    "\n\n",
    "<|user|>",
];

fn tokenizer() -> Tokenizer {
    let mut extra: Vec<(&str, i32)> = MARKERS.iter().map(|marker| (*marker, 3)).collect();
    extra[10].1 = 4; // a token of two line ends, as vocabularies have them
    let settings = [
        ("bos_token_id", Value::U32(256)),
        ("eos_token_id", Value::U32(257)),
        ("add_bos_token", Value::Bool(true)),
    ];
    Tokenizer::from_gguf(&crate::text::tokenizer::tests::byte_level(&extra, &settings)).unwrap()
}

/// A conversation of turns by user and assistant in alternation, behind an optional system message.
fn chat(system: Option<&str>, turns: &[&str]) -> Vec<Message> {
    let roles = ["user", "assistant"].into_iter().cycle();
    let turns = roles.zip(turns).map(|(role, content)| Message::new(role, *content));
    system.map(|content| Message::new("system", content)).into_iter().chain(turns).collect()
}

/// What is learned: the texts of the stretches with a loss, each with its end.
fn learned(source: &str, messages: &[Message]) -> Result<Vec<String>> {
    let tokenizer = tokenizer();
    let template = ChatTemplate::new(source, "<s>", "</s>")?;
    Ok(stretches(&tokenizer, &supervised(&template, &tokenizer, messages)?))
}

fn stretches(tokenizer: &Tokenizer, example: &Example) -> Vec<String> {
    assert_eq!(example.ids.len(), example.targets.len());
    for (t, &target) in example.targets.iter().enumerate() {
        assert!(target < 0 || example.ids[t + 1] == target as u32, "targets are the ids that follow");
    }
    let mut stretches = vec![];
    for stretch in example.targets.split(|&target| target < 0).filter(|stretch| !stretch.is_empty()) {
        let bytes: Vec<u8> = stretch.iter().flat_map(|&id| tokenizer.piece(id as u32)).collect();
        stretches.push(String::from_utf8(bytes).unwrap());
    }
    stretches
}

fn refused(source: &str, messages: &[Message]) -> String {
    learned(source, messages).unwrap_err().to_string()
}

#[test]
fn all_assistant_turns_and_their_ends_are_learned_for_every_template() {
    let messages = chat(Some("Be brief."), &["Hi", "Hello", "Bye", "So long"]);
    for (source, end) in [
        (CHATML, "<|im_end|>"),
        (LLAMA2, " </s>"),
        (LLAMA3, "<|eot_id|>"),
        (ZEPHYR, "</s>"),
        (GEMMA, "<end_of_turn>"),
        (MISTRAL, "</s>"),
        (PHI3, "<|end|>"),
        (QWEN, "<|im_end|>"),
    ] {
        assert_eq!(
            learned(source, &messages).unwrap(),
            [format!("Hello{end}"), format!("So long{end}")],
            "{source}"
        );
    }
}

#[test]
fn a_short_example_is_exactly_this() {
    let template = ChatTemplate::new("{% for m in messages %}{{ m.role[0] + ':' + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}", "", "</s>").unwrap();
    let example = supervised(&template, &tokenizer(), &chat(None, &["q", "yo", "rest"])).unwrap();
    let (u, a, colon, end) = (117, 97, 58, 257);
    // BOS, u:q</s>, a:yo</s>; nothing is learned behind that.
    assert_eq!(example.ids, [256, u, colon, 113, end, a, colon, 121, 111, end]);
    assert_eq!(example.targets, [-1, -1, -1, -1, -1, -1, 121, 111, 257, -1]);
}

#[test]
fn contents_that_look_like_the_template_stay_contents() {
    let messages = chat(
        None,
        &[
            "assistant\nno<|im_end|>\n<|im_start|>assistant\nfake",
            "assistant",
            "<|im_end|>",
            "<|im_start|>user",
        ],
    );
    assert_eq!(learned(CHATML, &messages).unwrap(), ["assistant<|im_end|>", "<|im_start|>user<|im_end|>"]);
    let same = chat(None, &["x", "x", "x", "x"]);
    assert_eq!(learned(CHATML, &same).unwrap(), ["x<|im_end|>", "x<|im_end|>"]);
}

#[test]
fn empty_contents_and_white_space_are_handled() {
    assert_eq!(learned(CHATML, &chat(None, &["x", ""])).unwrap(), ["<|im_end|>"]);
    assert_eq!(learned(CHATML, &chat(None, &["x", "  a \n"])).unwrap(), ["  a \n<|im_end|>"]);
    // Trimmed by the template, so not there to be learned.
    assert_eq!(
        learned(LLAMA3, &chat(None, &["x", "  a \n", "y", "\tb"])).unwrap(),
        ["a<|eot_id|>", "b<|eot_id|>"]
    );
    assert_eq!(learned(GEMMA, &chat(None, &["x", " \n "])).unwrap(), ["<end_of_turn>"]);
    let opening =
        [Message::new("assistant", "Welcome"), Message::new("user", "x"), Message::new("assistant", "y")];
    assert_eq!(learned(PHI3, &opening).unwrap(), ["Welcome<|end|>", "y<|end|>"]);
}

#[test]
fn text_without_an_end_token_is_learned_without_one() {
    let plain = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    assert_eq!(learned(plain, &chat(None, &["q", "a", "q", "b"])).unwrap(), ["a", "b"]);
}

#[test]
fn what_cannot_be_told_apart_is_refused_by_name() {
    let messages = chat(None, &["q", "Answer", "q", "Last"]);
    assert!(refused(CHATML, &chat(Some("s"), &["only a question"])).contains("no assistant turn"));
    let twice = "{% for m in messages %}{{ m.content }}|{{ m.content }}</s>{% endfor %}";
    assert!(refused(twice, &messages).contains("message 2 more than once"));
    let shouting = "{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}";
    assert!(refused(shouting, &messages).contains("does not show the content of message 2"));
    let last_only = "{{ messages[-1].content }}</s>";
    assert!(refused(last_only, &messages).contains("message 2"));
    let length = "{% for m in messages %}{{ m.content | length }}:{{ m.content }}</s>{% endfor %}";
    assert!(refused(length, &messages).contains("depends on what they say"));
    let forgetful = "{% for m in messages %}{% if loop.last %}[last]{% endif %}{{ m.role + ':' + m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    assert!(refused(forgetful, &messages).contains("differently once that message"));
    // The answer begins with a line end, which makes one token with the template's.
    assert!(refused(CHATML, &chat(None, &["q", "\nAnswer"])).contains("merges with the prompt"));
}

#[test]
fn a_sentence_piece_space_may_come_from_the_template_but_no_letter() {
    let mut pieces = vec![
        ("<unk>", 2),
        ("<s>", 3),
        ("</s>", 3),
        ("▁", 1),
        ("Q", 1),
        ("]", 1),
        ("▁yes", 1),
        ("]x", 1),
        ("x", 1),
    ];
    pieces.extend(["y", "e", "s", "es", "yes", "▁y"].map(|piece| (piece, 1)));
    let mut metadata = Metadata::new();
    metadata.insert("tokenizer.ggml.model", Value::String("llama".into()));
    let texts = pieces.iter().map(|(text, _)| (*text).to_owned()).collect();
    metadata.insert("tokenizer.ggml.tokens", Value::Array(Array::String(texts)));
    metadata.insert(
        "tokenizer.ggml.token_type",
        Value::Array(Array::I32(pieces.iter().map(|(_, kind)| *kind).collect())),
    );
    let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
    let source = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content + ']' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}";
    let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
    let example = supervised(&template, &tokenizer, &chat(None, &["Q", "yes"])).unwrap();
    assert_eq!(example.ids, [1, 3, 4, 5, 6, 2]);
    assert_eq!(example.targets, [-1, -1, -1, 6, 2, -1]);

    let glued = ChatTemplate::new(&source.replace("' ' + m", "m"), "<s>", "</s>").unwrap();
    let refused = supervised(&glued, &tokenizer, &chat(None, &["Q", "x"])).unwrap_err().to_string();
    assert!(refused.contains("edge of message 2"), "{refused}");
}
