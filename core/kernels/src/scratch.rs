//! Working memory of a thread: grown once, then reused by every call.

use std::cell::Cell;

/// Floats of a cache line; every section starts on one.
const LINE: usize = 16;

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with `N` sections of the given lengths, each 64-byte aligned, their contents unspecified.
pub(crate) fn with<const N: usize, R>(lengths: [usize; N], work: impl FnOnce([&mut [f32]; N]) -> R) -> R {
    let total = lengths.iter().map(|n| n.next_multiple_of(LINE)).sum::<usize>() + LINE;
    // Taken out, so that a kernel called by a kernel would get memory of its own.
    let mut memory = SCRATCH.take();
    if memory.len() < total {
        drop(memory); // freed before its successor is made
        memory = vec![0.0; total];
    }
    let misaligned = (memory.as_ptr() as usize / 4) % LINE;
    let mut rest = &mut memory[(LINE - misaligned) % LINE..];
    let sections = lengths.map(|length| {
        let (section, after) = std::mem::take(&mut rest).split_at_mut(length.next_multiple_of(LINE));
        rest = after;
        &mut section[..length]
    });
    let result = work(sections);
    SCRATCH.set(memory);
    result
}

#[cfg(test)]
mod tests {
    #[test]
    fn sections_are_aligned_and_apart() {
        for lengths in [[5, 100, 16], [1000, 0, 33]] {
            super::with(lengths, |sections| {
                for (index, section) in sections.into_iter().enumerate() {
                    assert_eq!(section.len(), lengths[index]);
                    assert_eq!(section.as_ptr() as usize % 64, 0);
                    section.fill(index as f32);
                }
            });
        }
    }
}
