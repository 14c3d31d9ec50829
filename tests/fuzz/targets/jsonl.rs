//! Training data. The first byte chooses the options and the kind of file, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nightgraft_fuzz::{put, template, tokenizer};
use nightgraft_text::data::{self, BatchOptions, DataOptions};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, file)) = bytes.split_first() else { return };
    let is_set = |bit: u8| choice & (1 << bit) != 0;
    let context = 2 + usize::from(choice >> 4) * 9;
    let options = DataOptions { context, chat: is_set(0), skip_bad: is_set(1) };
    let path = put(if is_set(2) { "data.txt" } else { "data.jsonl" }, file);
    let template = (!is_set(3)).then(template);

    let Ok(dataset) = data::load(&path, None, tokenizer(), template, &options) else { return };
    let n_vocab = tokenizer().n_vocab();
    for example in &dataset.examples {
        assert_eq!(example.ids.len(), example.targets.len());
        assert!((1..=context).contains(&example.ids.len()), "an example of {} tokens", example.ids.len());
        assert!(example.ids.iter().all(|&id| (id as usize) < n_vocab), "id outside the vocabulary");
        let is_target = |&target: &i32| target == -1 || (0..n_vocab as i64).contains(&i64::from(target));
        assert!(example.targets.iter().all(is_target), "target outside the vocabulary");
    }

    let options = BatchOptions { batch_tokens: context + 7, packing: is_set(0), shuffle: is_set(1), seed: 1 };
    let plan = data::plan_epoch(&dataset.examples, 0, &options);
    let mut members = plan.concat();
    members.sort_unstable();
    assert!(members.into_iter().eq(0..dataset.examples.len()), "not every example once");
    for members in &plan {
        let batch = data::assemble(&dataset.examples, members);
        assert!(batch.ids.len() <= context + 7, "a batch of {} tokens", batch.ids.len());
        assert_eq!(batch.ids.len(), batch.targets.len());
    }
});
