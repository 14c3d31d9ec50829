#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ops::Range;

use nightgraft_gguf::{Array, Metadata, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::conversation::{Message, Variables};
use crate::template_samples::*;
use crate::{Error, NotShown, TemplateProblem, Unclear, unused_keys};

mod families;
mod samples;
use samples::*;

/// Every byte and the markers of the samples.
const MARKERS: [&str; 20] = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "\n\n", // vocabularies have tokens of several line ends
    "<|user|>",
    "<|assistant|>",
    "<think>",
    "</think>",
    "<|end_answer|>",
    "<|start|>",
    "<|channel|>",
    "<|message|>",
    "<|START|>",
    "<tool_call>",
];

fn tokenizer() -> Tokenizer {
    tokenizer_with(&["<|end|>"])
}

fn tokenizer_with(more: &[&str]) -> Tokenizer {
    let kind = |marker: &str| if marker == "\n\n" { 4 } else { 3 };
    let extra: Vec<(&str, i32)> = MARKERS.iter().chain(more).map(|&marker| (marker, kind(marker))).collect();
    let settings = [
        ("bos_token_id", Value::U32(256)),
        ("eos_token_id", Value::U32(257)),
        ("add_bos_token", Value::Bool(true)),
    ];
    Tokenizer::from_gguf(&crate::tokenizer::tests::byte_level(&extra, &settings)).unwrap()
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, "<s>", "</s>").unwrap()
}

/// A conversation of turns by user and assistant in alternation, behind an optional system message.
fn chat(system: Option<&str>, turns: &[&str]) -> Conversation {
    let roles = ["user", "assistant"].into_iter().cycle();
    let turns = roles.zip(turns).map(|(role, content)| Message::new(role, *content));
    let system = system.map(|content| Message::new("system", content));
    system.into_iter().chain(turns).collect::<Vec<_>>().into()
}

/// A conversation as its messages stand in a file.
fn given(messages: &Json) -> Conversation {
    let message = |message: &Json| Message::from_keys(message.as_object().unwrap().clone());
    messages.as_array().unwrap().iter().map(message).collect::<Vec<_>>().into()
}

fn text(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    String::from_utf8(ids.iter().flat_map(|&id| tokenizer.piece(id)).collect()).unwrap()
}

/// The stretches with a loss, as ranges of the tokens that are predicted.
fn spans(example: &Example) -> Vec<Range<usize>> {
    assert_eq!(example.ids.len(), example.targets.len());
    let mut spans: Vec<Range<usize>> = vec![];
    for (t, &target) in example.targets.iter().enumerate().filter(|(_, target)| **target >= 0) {
        assert_eq!(example.ids[t + 1], target as u32, "targets are the ids that follow");
        match spans.last_mut() {
            Some(span) if span.end == t + 1 => span.end = t + 2,
            _ => spans.push(t + 1..t + 2),
        }
    }
    spans
}

/// What is learned, in all examples, after checking that each answer stands behind its prompt at use: the tokens that
/// `generate` gives the model.
fn learned_by(tokenizer: &Tokenizer, source: &str, conversation: &Conversation) -> Result<Vec<String>> {
    let template = template(source);
    let supervised = supervised(&template, tokenizer, conversation)?;
    let Conversation { messages, variables } = conversation;
    let mut answers = (0..messages.len()).filter(|&index| messages[index].is_learned());
    let mut learned = vec![];
    for example in &supervised.examples {
        let spans = spans(example);
        assert_eq!(spans.last().unwrap().end, example.len(), "nothing stands behind what is learned");
        for span in spans {
            let answer = answers.next().unwrap();
            if answer > 0 {
                let prompt = template.render(&messages[..answer], variables, true).unwrap();
                assert_eq!(
                    text(tokenizer, &example.ids[..span.start]),
                    text(tokenizer, &tokenizer.encode_with_bos(&prompt, true).unwrap())
                );
                assert_eq!(example.ids[..span.start], tokenizer.encode_with_bos(&prompt, true).unwrap());
            }
            let last = example.ids[span.end - 1];
            assert!(tokenizer.is_end_of_generation(last), "each answer ends");
            learned.push(text(tokenizer, &example.ids[span]));
        }
    }
    assert_eq!(answers.next(), None, "each answer is learned");
    Ok(learned)
}

fn learned(source: &str, conversation: &Conversation) -> Result<Vec<String>> {
    learned_by(&tokenizer(), source, conversation)
}

fn n_examples(source: &str, conversation: &Conversation) -> usize {
    supervised(&template(source), &tokenizer(), conversation).unwrap().examples.len()
}

fn refused(source: &str, conversation: &Conversation) -> TemplateProblem {
    problem(learned(source, conversation))
}

fn problem<T: std::fmt::Debug>(result: Result<T>) -> TemplateProblem {
    match result {
        Err(Error::Template { problem }) => problem,
        other => unreachable!("{other:?}"),
    }
}

/// Templates with what the model must say where the answer is `#`, and whether two answers stand in one example.
const SAMPLES: [(&str, &str, bool); 21] = [
    (CHATML, "#<|im_end|>", true),
    (LLAMA2, " # </s>", true),
    (LLAMA3, "#<|eot_id|>", true),
    (ZEPHYR, "#</s>", true),
    (GEMMA, "#<end_of_turn>", true),
    (MISTRAL, " #</s>", true),
    (PHI3, "#<|end|>", true),
    (QWEN, "#<|im_end|>", true),
    (QWEN3, "<think>\n\n</think>\n\n#<|im_end|>", false),
    (R1, "\n</think>\n\n#</s>", false),
    (THINKING_LAST, "\n</think>\n\n#<|im_end|>", false),
    (NOT_THINKING, "#<|im_end|>", false),
    (CHANNELS, "<|channel|>final<|message|>#<|end|>", true),
    (SYSTEM_LAST, " #</s>", false),
    (COMMAND, "#</s>", true),
    (LABEL, "to=all\n#<|im_end|>", true),
    (CLOSING_TEXT, "#</answer><|im_end|>", true),
    (TWO_CLOSING_TOKENS, "#<|end_answer|><|im_end|>", true),
    (BLANK_LINE, "#<|im_end|>", true),
    (UNCLOSED, "#</s>", false),
    (STRAY_SPACE, "#</s>", false),
];

#[test]
fn what_is_learned_is_what_the_model_must_say_behind_its_prompt() {
    let conversation = chat(Some("Be brief."), &["Hi", "Hello", "Bye", "So long"]);
    for (source, said, in_one) in SAMPLES {
        let expected = ["Hello", "So long"].map(|content| said.replace('#', content));
        // Harmony's end of a message is an end here, as it is no vocabulary with <|return|>.
        let source = &source.replace("'<|return|>' if loop.last else ", "");
        assert_eq!(learned(source, &conversation).unwrap(), expected, "{source}");
        assert_eq!(n_examples(source, &conversation) == 1, in_one, "{source}");
    }
}

proptest! {
    #[test]
    fn any_contents_are_learned_behind_their_prompts(
        contents in prop::collection::vec("[a\n <>|x]{0,6}|Hi|\n\nx|<think>|</s>a|[ \t]x[ \n]", 1..7),
        system in prop::option::of("S|[a ]{1,3}"),
        sample in 0..SAMPLES.len(),
    ) {
        let mut contents: Vec<&str> = contents.iter().map(String::as_str).collect();
        if contents.len() % 2 == 1 {
            contents.push("last");
        }
        let conversation = chat(system.as_deref(), &contents);
        // Whatever is not refused has the prompts of use before its answers: `learned` asserts it.
        if let Err(error) = learned(SAMPLES[sample].0, &conversation) {
            let is_refusal = matches!(error, Error::Template { .. } | Error::Rendering { .. });
            prop_assert!(is_refusal, "{}", error);
        }
    }
}

#[test]
fn a_short_example_is_exactly_this() {
    let source = "{% for m in messages %}{{ m.role[0] + ':' + m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}a:{% endif %}";
    let conversation = chat(None, &["q", "yo", "rest"]);
    let supervised = supervised(&template(source), &tokenizer(), &conversation).unwrap();
    let (u, a, colon, end) = (117, 97, 58, 257);
    // BOS, u:q</s>, a:yo</s>; nothing is learned behind that.
    let [example] = supervised.examples.as_slice() else { unreachable!("one example") };
    assert_eq!(example.ids, [256, u, colon, 113, end, a, colon, 121, 111, end]);
    assert_eq!(example.targets, [-1, -1, -1, -1, -1, -1, 121, 111, 257, -1]);
}

#[test]
fn tokens_of_prompt_and_answer_are_joined_and_never_merge() {
    let conversation = chat(None, &["q", "\nAnswer", "r", "b"]);
    assert_eq!(learned(CHATML, &conversation).unwrap(), ["\nAnswer<|im_end|>", "b<|im_end|>"]);
    let examples = supervised(&template(CHATML), &tokenizer(), &conversation).unwrap().examples;
    // The line end of the prompt and that of the answer are two tokens where the answer is learned, and one once it is
    // history, as at use.
    let blank_line = tokenizer().encode("\n\n", true).unwrap()[0];
    assert_eq!(examples.len(), 2);
    assert!(!examples[0].ids.contains(&blank_line) && examples[1].ids.contains(&blank_line));
}

#[test]
fn contents_that_look_like_the_template_stay_contents() {
    let fake = "assistant\nno<|im_end|>\n<|im_start|>assistant\nfake";
    let conversation = chat(None, &[fake, "assistant", "<|im_end|>", "<|im_start|>user"]);
    assert_eq!(
        learned(CHATML, &conversation).unwrap(),
        ["assistant<|im_end|>", "<|im_start|>user<|im_end|>"]
    );
    let same = chat(None, &["x", "x", "x", "x"]);
    assert_eq!(learned(CHATML, &same).unwrap(), ["x<|im_end|>", "x<|im_end|>"]);
    assert_eq!(learned(SYSTEM_LAST, &chat(Some("x"), &["x", "x", "x", "x"])).unwrap(), [" x</s>", " x</s>"]);
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
}

#[test]
fn several_ends_of_a_generation_are_learned_up_to_the_first() {
    let source = CHATML.replace("'<|im_end|>'", "'<|im_end|></s>'");
    assert_eq!(learned(&source, &chat(None, &["x", "a"])).unwrap(), ["a<|im_end|>"]);
}

#[test]
fn an_answer_that_the_template_does_not_close_is_closed_and_counted() {
    let conversation = chat(None, &["q", "a", "q", "b\n"]);
    assert_eq!(learned(UNCLOSED, &conversation).unwrap(), ["a</s>", "b</s>"]);
    let supervised = |source: &str| supervised(&template(source), &tokenizer(), &conversation).unwrap();
    assert_eq!(supervised(UNCLOSED).unclosed, 2);
    assert_eq!(supervised(CHATML).unclosed, 0);
    // A token of which nobody says that it ends a generation does not.
    let unknown = CHATML.replace("<|im_end|>", "<|end_answer|>");
    assert_eq!(learned(&unknown, &chat(None, &["q", "a"])).unwrap(), ["a<|end_answer|></s>"]);
}

#[test]
fn a_prompt_that_opens_a_thought_is_answered_with_its_end() {
    let thought = "<think>\nPots stand in a row.\n</think>\n\nUnder the third pot.";
    let expected = |end: &str| format!("Pots stand in a row.\n</think>\n\nUnder the third pot.{end}");
    assert_eq!(learned(R1, &chat(None, &["q", thought])).unwrap(), [expected("</s>")]);
    // The prompt has written the tag already, so a thought may come without it.
    let untagged = thought.strip_prefix("<think>\n").unwrap();
    assert_eq!(learned(R1, &chat(None, &["q", untagged])).unwrap(), [expected("</s>")]);
    let beside = given(&json!([
        { "role": "user", "content": "q" },
        { "role": "assistant", "content": "Under the third pot.", "reasoning_content": "Pots stand in a row." }
    ]));
    assert_eq!(learned(R1, &beside).unwrap(), [expected("</s>")]);
    assert_eq!(
        learned(THINKING_LAST, &beside).unwrap(),
        ["Pots stand in a row.</think>Under the third pot.<|im_end|>"]
    );
    // A template that shows contents as they are has the thought behind its prompt.
    let plain = NOT_THINKING.replace("\\n</think>\\n\\n", "");
    assert_eq!(learned(&plain, &chat(None, &["q", thought])).unwrap(), [expected("<|im_end|>")]);
    assert_eq!(learned(&plain, &chat(None, &["q", untagged])).unwrap(), [expected("<|im_end|>")]);
    assert_eq!(learned(&plain, &chat(None, &["q", "a"])).unwrap(), ["\n</think>\n\na<|im_end|>"]);
    let brackets = R1.replace("<think>\\n", "[THINK]");
    assert_eq!(learned(&brackets, &chat(None, &["q", "a"])).unwrap(), ["[/THINK]a</s>"]);
}

#[test]
fn earlier_thoughts_are_gone_from_later_prompts_and_each_is_learned() {
    let conversation = chat(None, &["q", "<think>\nA.\n</think>\n\na", "r", "<think>\nB.\n</think>\n\nb"]);
    assert_eq!(
        learned(QWEN3, &conversation).unwrap(),
        ["<think>\nA.\n</think>\n\na<|im_end|>", "<think>\nB.\n</think>\n\nb<|im_end|>"]
    );
    assert_eq!(learned(R1, &conversation).unwrap(), ["A.\n</think>\n\na</s>", "B.\n</think>\n\nb</s>"]);
    assert_eq!(n_examples(QWEN3, &conversation), 2);
}

#[test]
fn a_prompt_that_has_ended_the_thought_takes_no_other() {
    assert_eq!(learned(NOT_THINKING, &chat(None, &["q", "<think>\n\n</think>a"])).unwrap(), ["a<|im_end|>"]);
    let problem = refused(NOT_THINKING, &chat(None, &["q", "<think>\nA.\n</think>\n\na"]));
    assert_eq!(problem, Unclear::ThoughtIsOver { message: 2 }.into());
}

#[test]
fn a_token_that_ends_a_generation_only_where_it_is_the_last_is_learned() {
    let tokenizer = tokenizer_with(&["<|end|>", "<|return|>", "<|call|>"]);
    let mut conversation = given(&json!([
        { "role": "user", "content": "q" },
        { "role": "assistant", "content": "a", "thinking": "A." },
        { "role": "user", "content": "r" },
        { "role": "assistant", "content": "b" }
    ]));
    let first =
        "<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>final<|message|>a<|return|>";
    let second = "<|channel|>final<|message|>b<|return|>";
    assert_eq!(learned_by(&tokenizer, CHANNELS, &conversation).unwrap(), [first, second]);
    conversation.messages.truncate(2);
    assert_eq!(learned_by(&tokenizer, CHANNELS, &conversation).unwrap(), [first]);
}

#[test]
fn masked_answers_are_only_read() {
    let mut conversation = chat(None, &["q", "no", "again", "yes"]);
    conversation.messages[1] = conversation.messages[1].clone().masked();
    assert_eq!(learned(CHATML, &conversation).unwrap(), ["yes<|im_end|>"]);
    conversation.messages[3] = conversation.messages[3].clone().masked();
    assert_eq!(learned(CHATML, &conversation).unwrap(), [""; 0]);
}

#[test]
fn an_opening_line_is_learned_where_the_template_says_how_it_begins() {
    let opening = given(&json!([
        { "role": "assistant", "content": "Welcome" },
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": "y" }
    ]));
    assert_eq!(learned(PHI3, &opening).unwrap(), ["Welcome<|end|>", "y<|end|>"]);
    assert_eq!(learned(CHATML, &opening).unwrap(), ["Welcome<|im_end|>", "y<|im_end|>"]);
    assert_eq!(learned(LLAMA3, &opening).unwrap(), ["Welcome<|eot_id|>", "y<|eot_id|>"]);
    assert_eq!(n_examples(CHATML, &opening), 1);
    assert_eq!(refused(MISTRAL, &opening), Unclear::Unprompted { message: 1 }.into());
}

#[test]
fn a_template_that_marks_the_last_turn_is_learned_behind_its_generation_prompt() {
    let conversation = chat(None, &["q", "Answer", "q", "Last"]);
    let marking = "{% for m in messages %}{% if loop.last %}[last]{% endif %}{{ m.role + ':' + m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    assert_eq!(learned(marking, &conversation).unwrap(), ["Answer</s>", "Last</s>"]);
}

#[test]
fn what_the_template_does_not_tell_is_refused_with_the_reason() {
    let conversation = chat(None, &["q", "Answer", "q", "Last"]);
    let opened =
        CHATML.replace("'<|im_start|>assistant\n' }}{% endif", "'<|im_start|>assistant\n<verse>' }}{% endif");
    assert_eq!(refused(&opened, &conversation), Unclear::OffPrompt { message: 2 }.into());
}

#[test]
fn a_sentence_piece_space_stands_before_a_text_and_not_in_its_middle() {
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
    let examples = |source: &str, answer| {
        supervised(&template(source), &tokenizer, &chat(None, &["Q", answer])).unwrap().examples
    };
    let [example] = &examples(source, "yes")[..] else { unreachable!("one example") };
    assert_eq!(example.ids, [1, 3, 4, 5, 6, 2]);
    assert_eq!(example.targets, [-1, -1, -1, 6, 2, -1]);
    // `]x` would be one token in a text that is tokenized as a whole.
    let [example] = &examples(&source.replace("' ' + m", "m"), "x")[..] else { unreachable!("one example") };
    assert_eq!(example.ids, [1, 3, 4, 5, 8, 2]);
    assert_eq!(example.targets, [-1, -1, -1, 8, 2, -1]);
}

/// Names of what changes nothing, or the refusal.
fn unused(source: &str, conversation: &Conversation) -> Result<Vec<String>> {
    Ok(unused_keys(&template(source), conversation)?.into_iter().collect())
}

#[test]
fn what_the_answers_stand_on_is_shown_or_refused_by_name() {
    let call =
        json!([{ "id": "1", "type": "function", "function": { "name": "dry", "arguments": { "pot": 2 } } }]);
    let mut conversation = given(&json!([
        { "role": "user", "content": "Is pot 2 dry?" },
        { "role": "assistant", "content": null, "tool_calls": call },
        { "role": "tool", "tool_call_id": "1", "content": "It is dry." },
        { "role": "assistant", "content": "It is.", "reasoning_content": "So it says." }
    ]));
    let tools = json!([{ "type": "function", "function": { "name": "dry" } }]);
    conversation.variables.insert("tools".into(), tools);
    assert_eq!(
        learned(QWEN3, &conversation).unwrap(),
        [
            "<think>\n\n</think>\n\n\n<tool_call>\ndry {\"pot\": 2}\n</tool_call><|im_end|>",
            "<think>\nSo it says.\n</think>\n\nIt is.<|im_end|>"
        ]
    );
    assert_eq!(unused(QWEN3, &conversation).unwrap(), ["messages[].tool_call_id"]);

    let refusal = |source: &str| problem(unused(source, &conversation));
    let no_tools = QWEN3.replace("{%- if tools %}", "{%- if false %}");
    assert_eq!(refusal(&no_tools), NotShown::Variable { key: "tools" }.into());
    let no_calls = QWEN3.replace("m.tool_calls or []", "[]");
    assert_eq!(refusal(&no_calls), NotShown::Key { key: "tool_calls", message: 2 }.into());
    let no_results = QWEN3.replace(
        "'<|im_start|>user\\n<tool_response>\\n' + content",
        "'<|im_start|>user\\n<tool_response>\\n'",
    );
    assert_eq!(refusal(&no_results), NotShown::ToolResult { message: 3 }.into());
    let no_thoughts = QWEN3.replace("reasoning_content is string", "reasoning_content is number");
    assert_eq!(refusal(&no_thoughts), NotShown::Key { key: "reasoning_content", message: 4 }.into());
}

#[test]
fn a_template_that_hides_an_answer_is_refused_and_other_keys_are_named() {
    let conversation = chat(None, &["q", "Answer"]);
    let hiding = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}</s>{% endfor %}";
    assert_eq!(refused(hiding, &conversation), NotShown::Answer { message: 2 }.into());
    let mut conversation = given(&json!([
        { "role": "system", "content": "Be brief.", "id": 7 },
        { "role": "user", "content": "q", "name": "Ines", "mood": null },
        { "role": "assistant", "content": "Answer" }
    ]));
    conversation.variables = Variables::from_iter([("enable_thinking".to_owned(), Json::Bool(false))]);
    let deaf = CHATML.replace(
        "{% for message in messages %}",
        "{% for message in messages if message.role != 'system' %}",
    );
    assert_eq!(
        unused(&deaf, &conversation).unwrap(),
        ["enable_thinking", "messages[].content of system", "messages[].id", "messages[].name"]
    );
    let seeing = CHATML.replace("message['role'] +", "message['role'] + message.name | default('') +");
    assert_eq!(unused(&seeing, &conversation).unwrap(), ["enable_thinking", "messages[].id"]);
    assert_eq!(unused(CHATML, &chat(Some("s"), &["q", "a"])).unwrap(), [""; 0]);
    assert_eq!(BTreeSet::new(), unused_keys(&template(CHATML), &Conversation::default()).unwrap());
}
