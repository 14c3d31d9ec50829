//! An adapter from elsewhere, for the tiny model. The first byte chooses what the rest is: the tensors of a PEFT folder,
//! its configuration, both, or a llama.cpp adapter.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use nightgraft_core::fuzzing::{import_adapter, mismatch, write_peft};
use nightgraft_fuzz::{PEFT_CONFIG, put, scratch, small_adapter, tiny_model};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let path = match choice & 3 {
        0 => peft(PEFT_CONFIG, rest),
        1 => peft(rest, small_tensors()),
        2 => {
            let Some((&length, rest)) = rest.split_first() else { return };
            let (config, tensors) = rest.split_at(usize::from(length).min(rest.len()));
            peft(config, tensors)
        }
        _ => put("adapter.gguf", rest),
    };
    let base = tiny_model();
    let Ok(imported) = import_adapter(&path, base) else { return };
    let adapter = imported.tensors;
    assert_eq!(mismatch(&adapter, base), None, "an accepted adapter fits");
    let folder = scratch().join("written");
    write_peft(&folder, &adapter, base).expect("an accepted adapter can be written");
    let again = import_adapter(&folder, base).expect("a written adapter can be read").tensors;
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(again.pairs.len(), adapter.pairs.len());
    for (ours, theirs) in again.pairs.values().zip(adapter.pairs.values()) {
        assert!(bits(&ours.a) == bits(&theirs.a) && bits(&ours.b_t) == bits(&theirs.b_t), "numbers changed");
    }
});

fn peft(config: &[u8], tensors: &[u8]) -> PathBuf {
    std::fs::create_dir_all(scratch().join("peft")).expect("the scratch folder takes a folder");
    put("peft/adapter_config.json", config);
    put("peft/adapter_model.safetensors", tensors);
    scratch().join("peft")
}

/// `adapter_model.safetensors` of [`small_adapter`].
fn small_tensors() -> &'static [u8] {
    static TENSORS: OnceLock<Vec<u8>> = OnceLock::new();
    TENSORS.get_or_init(|| {
        let folder = scratch().join("small");
        write_peft(&folder, &small_adapter(), tiny_model())
            .expect("the small adapter can be written");
        std::fs::read(folder.join("adapter_model.safetensors")).expect("it was just written")
    })
}
