//! A folder that is imported, one of its files replaced. What is imported is a GGUF with the tensors that were planned.
#![no_main]

use std::fs;
use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use nightgraft_fuzz::{IMPORTED_FILES, import_recipes, put, scratch};
use nightgraft_gguf::{self as gguf, TensorType};
use nightgraft_import::{Quantization, Request, Source, import};
use nightgraft_text::Tokenizer;

fuzz_target!(init: make_folder(), |bytes: &[u8]| {
    let Some((&number, content)) = bytes.split_first() else { return };
    let name = IMPORTED_FILES[usize::from(number) % IMPORTED_FILES.len()];
    let folder = scratch().join("hf");
    let before = fs::read(folder.join(name)).ok();
    put(&format!("hf/{name}"), content);
    if let Ok(source) = Source::read(&folder, None) {
        let request = Request { source: &source, quantization: Quantization::Q8_0, out: &scratch().join("out.gguf") };
        let imported = import(&request, &zeros, &mut |_, _| ControlFlow::Continue(()));
        if let Ok(report) = imported {
            let file = fs::read(&report.path).expect("the file was just written");
            let header = gguf::parse(&file).expect("what was imported can be read");
            assert_eq!(header.tensors.len() as u64, report.tensors.values().sum::<u64>());
            let _ = Tokenizer::from_gguf(&header.metadata);
        }
    }
    match before {
        Some(before) => drop(put(&format!("hf/{name}"), &before)),
        None => fs::remove_file(folder.join(name)).expect("the file was just written"),
    }
});

fn make_folder() {
    let folder = scratch().join("hf");
    fs::create_dir(&folder).expect("the scratch folder takes another");
    import_recipes()[0].write(&folder).expect("the scratch folder takes files");
}

/// Blocks of the right size with nothing in them.
fn zeros(
    kind: TensorType,
    n_cols: usize,
    rows: &[f32],
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let dims = [n_cols as u64, (rows.len() / n_cols) as u64];
    Ok(vec![0; kind.tensor_bytes(&dims).ok_or("no whole blocks")? as usize])
}
