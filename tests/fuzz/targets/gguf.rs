//! A model file: the header, then what is built from it. A header that is accepted must survive being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightgraft_core::fuzzing::{Base, ModelFile};
use nightgraft_fuzz::{put, scratch};
use nightgraft_gguf::{self as gguf, GgufHeader, SplitPart, Writer};
use nightgraft_text::{ChatTemplate, Date, Message, Tokenizer, Variables};

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = gguf::parse(bytes) else { return };
    for tensor in &header.tensors {
        let end = tensor.offset.checked_add(tensor.n_bytes).expect("an accepted tensor has an end");
        assert!(tensor.offset >= header.data_offset && end <= bytes.len() as u64, "tensor outside the file");
    }
    let start = &bytes[..bytes.len() / 2];
    let started = gguf::parse_start(start, bytes.len() as u64).expect("an accepted file starts well");
    assert!(started.is_none_or(|started| started.tensors == header.tensors), "another header from the first half");
    let Some(written) = rewrite(&header, bytes) else { return };
    let again = gguf::parse(&written).expect("what was written can be read");
    assert_eq!(again.tensors.len(), header.tensors.len());
    assert_eq!(rewrite(&again, &written).as_deref(), Some(written.as_slice()), "written twice, two files");

    use_texts(&header);
    if SplitPart::of(&header.metadata).is_some() {
        // Two files of one content cannot be the two parts that their names say.
        put("m-00002-of-00002.gguf", bytes);
        assert!(ModelFile::open(&put("m-00001-of-00002.gguf", bytes)).is_err(), "one part taken for two");
        return;
    }
    let file = ModelFile::open(&put("model.gguf", bytes)).expect("the header was accepted before");
    assert_eq!(file.tensors(), header.tensors);
    if let Ok(base) = Base::open(file) {
        let mut row = vec![0.0; base.spec.n_embd];
        base.embed(&[0], &mut row).expect("an accepted model has a first token");
    }
});

/// The file that the writer makes of `header` and the tensors in `bytes`; `None` if it refuses.
fn rewrite(header: &GgufHeader, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut writer = Writer::new(header.metadata.clone());
    for tensor in &header.tensors {
        let data = &bytes[tensor.offset as usize..][..tensor.n_bytes as usize];
        writer.tensor(&tensor.name, &tensor.dims, tensor.kind, data.to_vec()).ok()?;
    }
    let path = scratch().join("rewritten.gguf");
    writer.write(&path).ok()?;
    Some(std::fs::read(path).expect("the file was just written"))
}

/// Tokenizer and chat template from the metadata, and one use of each.
fn use_texts(header: &GgufHeader) {
    let Ok(tokenizer) = Tokenizer::from_gguf(&header.metadata) else { return };
    if let Ok(ids) = tokenizer.encode("Hello, the w\u{f6}rld 12\n", true) {
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.n_vocab()), "token outside the vocabulary");
        let _ = tokenizer.decode(&ids);
    }
    if let Some(template) = ChatTemplate::from_gguf(&header.metadata, &tokenizer, Date::now()) {
        let turns = [Message::new("user", "Hello"), Message::new("assistant", "Hi")];
        let _ = template.render(&turns, &Variables::new(), false);
    }
}
