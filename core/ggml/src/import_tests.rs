//! Imported models against llama.cpp's own quantization of the same weights: the same types and the same bytes, and so the same
//! losses.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::CString;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use llama_cpp_sys_2 as sys;
use nightgraft_gguf::{GgufHeader, TensorType};
use nightgraft_import::{Quantization, Request, Source, import};
use nightgraft_tiny_model::HuggingFaceFolder;

use crate::{WeightType, quantize, route_log_to_tracing};

fn imported(source: &Source, quantization: Quantization, out: &Path) {
    let pack = |kind: TensorType, n_cols: usize, rows: &[f32]| {
        Ok(quantize(WeightType::from_ggml_id(kind.ggml_id()).unwrap(), n_cols, rows)?)
    };
    import(&Request { source, quantization, out }, &pack, &mut |_, _| ControlFlow::Continue(())).unwrap();
}

/// Lets llama.cpp quantize a file.
fn quantized_by_llama_cpp(from: &Path, to: &Path, file_type: sys::llama_ftype) {
    let [from, to] = [from, to].map(|path| CString::new(path.as_os_str().as_bytes()).unwrap());
    // SAFETY: only numbers are returned.
    let mut params = unsafe { sys::llama_model_quantize_default_params() };
    params.ftype = file_type;
    params.nthread = 2;
    // SAFETY: the strings end with a zero and live through the call, as the parameters do, which point to nothing.
    let failed = unsafe { sys::llama_model_quantize(from.as_ptr(), to.as_ptr(), &raw const params) };
    assert_eq!(failed, 0);
}

fn read(path: &Path) -> (Vec<u8>, GgufHeader) {
    let bytes = fs::read(path).unwrap();
    let header = nightgraft_gguf::parse(&bytes).unwrap();
    (bytes, header)
}

#[test]
fn imported_tensors_are_those_of_llama_cpp_s_quantizer() {
    route_log_to_tracing();
    let types = [
        (Quantization::Q4_0, sys::LLAMA_FTYPE_MOSTLY_Q4_0),
        (Quantization::Q4_K_M, sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
        (Quantization::Q8_0, sys::LLAMA_FTYPE_MOSTLY_Q8_0),
        (Quantization::F16, sys::LLAMA_FTYPE_MOSTLY_F16),
        (Quantization::BF16, sys::LLAMA_FTYPE_MOSTLY_BF16),
    ];
    // Tied and untied heads; rows of 288 and of 64 values, which are no multiples of 256; rows of 40, of no block at all.
    for (architecture, tied, n_ff, head_dim) in [
        ("LlamaForCausalLM", false, 288, 16),
        ("Gemma3ForCausalLM", true, 512, 64),
        ("Phi3ForCausalLM", false, 256, 64),
        ("Qwen3ForCausalLM", true, 512, 10),
    ] {
        let recipe = HuggingFaceFolder {
            tied,
            n_ff,
            head_dim,
            n_embd: 256,
            n_layer: 9,
            ..HuggingFaceFolder::new(architecture)
        };
        let folder = tempfile::tempdir().unwrap();
        recipe.write(folder.path()).unwrap();
        let source = Source::read(folder.path(), None).unwrap();
        let path = |name: &str| folder.path().join(name);
        imported(&source, Quantization::F32, &path("f32.gguf"));
        for (quantization, file_type) in types {
            imported(&source, quantization, &path("ours.gguf"));
            quantized_by_llama_cpp(&path("f32.gguf"), &path("theirs.gguf"), file_type);
            let ((ours, header), (theirs, their_header)) =
                (read(&path("ours.gguf")), read(&path("theirs.gguf")));
            assert_eq!(header.tensors.len(), their_header.tensors.len());
            for tensor in &header.tensors {
                let name = format!("{architecture}, {}: {}", quantization.name(), tensor.name);
                let other = their_header.tensors.iter().find(|other| other.name == tensor.name).unwrap();
                assert_eq!(tensor.kind, other.kind, "{name}");
                let bytes = |file: &[u8], at: u64| file[at as usize..][..tensor.n_bytes as usize].to_vec();
                assert!(bytes(&ours, tensor.offset) == bytes(&theirs, other.offset), "{name}");
            }
        }
    }
}
