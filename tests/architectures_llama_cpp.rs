//! Every architecture against llama.cpp, on the files that our import makes of `golden/architectures`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use nightgraft_core::session::{ExportFormat, ExportRequest, export};
use nightgraft_text::Tokenizer;

use crate::llama_cpp::{llama_cpp_logits, mean_divergence, read};
use crate::support::architectures::{Case, for_each_architecture};
use crate::support::our_logits;
use crate::tokenizer::{Report, compare, mixed_lines};

/// In nats a token. Weights, keys and values are f32 on both sides: what is left are sums in another order. Measured: 5e-13.
const MAX_DIVERGENCE: f64 = 1e-10;
/// Of Gemma: ggml looks GELU up in a table of f16. Measured: 9e-8.
const MAX_DIVERGENCE_GELU: f64 = 1e-6;
/// What the adapter must change at least, so that agreeing with it means something.
const LEAST_EFFECT: f64 = 1e-3;
const N_LINES: usize = 2000;

for_each_architecture!(logits_are_those_of_llama_cpp);
for_each_architecture!(ids_are_those_of_llama_cpp_and_hugging_face);

/// Of the base, and with the adapter: the PEFT folder on our side, what we export of it on llama.cpp's.
fn logits_are_those_of_llama_cpp(case: &Case) {
    let (model, adapter, exported) = (case.model(), case.path("adapter"), case.out("adapter.gguf"));
    let request = ExportRequest {
        adapter: adapter.clone(),
        to: ExportFormat::Gguf,
        model: Some(model.clone()),
        out: exported.clone(),
    };
    export(&request, &mut |_, _| ()).unwrap();
    let line = std::fs::read_to_string(case.path("tokens.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let ids: Vec<u32> = serde_json::from_value(line["input_ids"].clone()).unwrap();

    let ours = |adapter: Option<&Path>| our_logits(&model, adapter, &ids);
    let theirs = |adapter: Option<&Path>| llama_cpp_logits(&model, adapter, &ids);
    let (bare, adapted) = (ours(None), ours(Some(&adapter)));
    let [base, with_adapter, effect] = [
        mean_divergence(&bare, &theirs(None)),
        mean_divergence(&adapted, &theirs(Some(&exported))),
        mean_divergence(&bare, &adapted),
    ];
    println!("base {base:.2e}, with adapter {with_adapter:.2e}, effect of the adapter {effect:.2e}");
    assert!(effect > LEAST_EFFECT, "the adapter must matter: {effect:.2e}");
    let has_gelu = read(&model).1.metadata.string("general.architecture") == Some("gemma3");
    let most = if has_gelu { MAX_DIVERGENCE_GELU } else { MAX_DIVERGENCE };
    assert!(base <= most, "base: {base:.2e}");
    assert!(with_adapter <= most, "with adapter: {with_adapter:.2e}");
}

/// Of mixed text by llama.cpp, of some lines by the `tokenizers` library with the very `tokenizer.json`.
fn ids_are_those_of_llama_cpp_and_hugging_face(case: &Case) {
    let report = compare(&case.model(), &mixed_lines(N_LINES, 8));
    assert_eq!(report, Report { lines: N_LINES, mismatches: 0 });
    let tokenizer = Tokenizer::from_gguf(&read(&case.model()).1.metadata).unwrap();
    let expected = case.expected();
    let texts = expected["ids"].as_object().unwrap();
    assert!(texts.len() >= 5);
    for (text, ids) in texts {
        let ids: Vec<u32> = serde_json::from_value(ids.clone()).unwrap();
        assert_eq!(tokenizer.encode_with_bos(text, true).unwrap(), ids, "{text:?}");
    }
}
