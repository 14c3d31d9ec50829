#![allow(clippy::unwrap_used)]

use super::*;
use crate::conversation::{Message, Variables};
use crate::template_samples::*;

fn conversation() -> Vec<Message> {
    vec![
        Message::new("system", "Be brief."),
        Message::new("user", " Hi "),
        Message::new("assistant", "Hello"),
        Message::new("user", "Bye"),
    ]
}

fn render(source: &str, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
    ChatTemplate::new(source, "<s>", "</s>").unwrap().render(
        messages,
        &Variables::new(),
        add_generation_prompt,
    )
}

#[test]
fn chatml_adds_its_own_system_message_only_if_there_is_none() {
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n\
                    <|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(render(CHATML, &conversation(), true).unwrap(), expected);
    let without = render(CHATML, &[Message::new("user", "x")], false).unwrap();
    assert_eq!(without, "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nx<|im_end|>\n");
}

#[test]
fn llama2_folds_the_system_message_into_the_first_turn() {
    let expected = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello </s><s>[INST] Bye [/INST]";
    assert_eq!(render(LLAMA2, &conversation(), true).unwrap(), expected);
    let refused = render(LLAMA2, &[Message::new("assistant", "x")], false).unwrap_err();
    assert!(refused.to_string().contains("refuses the conversation (line 8"), "{refused}");
    assert_eq!(refused.unlogged().unwrap().reveal(), "roles must alternate");
}

#[test]
fn llama3_trims_and_lists_tools_only_if_given() {
    let expected = "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\nBe brief.<|eot_id|>\
                    <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
                    <|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>\
                    <|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>\
                    <|start_header_id|>assistant<|end_header_id|>\n\n";
    assert_eq!(render(LLAMA3, &conversation(), true).unwrap(), expected);
}

#[test]
fn zephyr_gemma_mistral_phi_and_qwen_render() {
    let zephyr = "<|system|>\nBe brief.</s>\n<|user|>\n Hi </s>\n<|assistant|>\nHello</s>\n<|user|>\nBye</s>\n<|assistant|>\n";
    assert_eq!(render(ZEPHYR, &conversation(), true).unwrap(), zephyr);
    let gemma = "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n\
                 <start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n";
    assert_eq!(render(GEMMA, &conversation(), true).unwrap(), gemma);
    let mistral = "<s>[INST] Be brief.\n\n Hi  [/INST] Hello</s>[INST] Bye [/INST]";
    assert_eq!(render(MISTRAL, &conversation(), true).unwrap(), mistral);
    let phi = "<|system|>\nBe brief.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\nHello<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n";
    assert_eq!(render(PHI3, &conversation(), true).unwrap(), phi);
    let qwen = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\n\
                Hello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(render(QWEN, &conversation(), true).unwrap(), qwen);
}

#[test]
fn constructs_of_templates_in_the_wild_work() {
    let messages = [Message::new("user", "a,b"), Message::new("user", "c")];
    for (source, expected) in [
        ("{% generation %}{{ messages[0].content.split(',')[-1] }}{%- endgeneration -%} x", "bx"),
        (
            "{% for m in messages[::-1] %}{{ m['content'] }};{% if loop.index0 == 0 %}{% continue %}{% endif %}{% break %}{% endfor %}",
            "c;a,b;",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "2",
        ),
        (
            "{{ messages[0].get('tool') is none }}{{ 'content' in messages[0] }}{{ unset is defined }}",
            "TrueTrueFalse",
        ),
        ("{{ messages[1] | tojson }}", r#"{"role": "user", "content": "c"}"#),
        ("{{ {'a': [1, 'é<']} | tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    \"é<\"\n  ]\n}"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(messages | length) }}", "<2>"),
        (
            "{{ strftime_now('%Y') | length }}{{ ' x '.strip() }}{{ 'xa'.lstrip('x') }}{{ 'ax'.rstrip('x') }}",
            "4xaa",
        ),
        ("{{ tools is none }}{{ 'x'.startswith('x') }}{{ messages[0].content is string }}", "TrueTrueTrue"),
        ("{%- if not tools is defined %}a{% else %}b{% endif -%}\n c", "bc"),
    ] {
        assert_eq!(render(source, &messages, false).unwrap(), expected, "{source}");
    }
}

#[test]
fn broken_templates_are_errors() {
    let broken = ChatTemplate::new("a\n{% if %}", "", "").unwrap_err().to_string();
    assert!(broken.contains("does not parse") && broken.contains("line 2"), "{broken}");
    assert!(ChatTemplate::new(&" ".repeat(2 << 20), "", "").is_err());
}

/// Fifty million instructions, which an interpreter that is not optimized takes long for.
#[test]
fn endless_templates_are_errors() {
    if nightgraft_testing::thinning(2) > 1 {
        return;
    }
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    let stopped = render(endless, &[], false).unwrap_err();
    assert!(stopped.unlogged().unwrap().reveal().contains("fuel"), "{stopped}");
}

#[test]
fn the_date_is_the_one_that_was_set() {
    let mut template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}", "", "").unwrap();
    for day in ["2026-11-29T23:59:30", "2026-11-30T00:05:00"] {
        let date: Date = day.parse().unwrap();
        template.set_date(date);
        assert_eq!(template.render(&[], &Variables::new(), false).unwrap(), date.strftime("%d %b %Y"));
    }
}

/// What a template says of a conversation may quote it.
#[test]
fn errors_hide_the_words_of_a_template() {
    let source = "{{ raise_exception('I will not say: ' + messages[0].content) }}";
    let error = render(source, &[Message::new("user", "my secret")], false).unwrap_err();
    assert_eq!(error.to_string(), "chat template: it refuses the conversation (line 1 of the template)");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    assert_eq!(error.unlogged().unwrap().reveal(), "I will not say: my secret");
}
