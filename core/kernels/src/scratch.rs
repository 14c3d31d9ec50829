//! Working memory of a thread: grown as kernels ask for more, then reused by every call.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::Cell;

use memmap2::MmapMut;

use crate::{attention, gemm};

/// Floats of a cache line; every section starts on one.
const LINE: usize = 16;

thread_local! {
    static SCRATCH: Cell<Option<MmapMut>> = const { Cell::new(None) };
}

/// The most working memory of a thread, in bytes, for kernels over `n_tokens` tokens and heads of `head_dim` values, of which
/// `group` share keys; an adapter's rank above 32 can take a little more.
pub fn scratch_bytes(n_tokens: usize, group: usize, head_dim: usize) -> usize {
    let floats = attention::scratch_floats(n_tokens, group, head_dim).max(gemm::scratch_floats(n_tokens));
    floats * size_of::<f32>()
}

/// Runs `work` with `N` sections of the given lengths, each 64-byte aligned, their contents unspecified.
pub(crate) fn with<const N: usize, R>(lengths: [usize; N], work: impl FnOnce([&mut [f32]; N]) -> R) -> R {
    let total = lengths.iter().map(|n| n.next_multiple_of(LINE)).sum::<usize>().max(1);
    let bytes = total * size_of::<f32>();
    // Taken out, so that a kernel called by a kernel would get memory of its own.
    let memory = SCRATCH.take().filter(|memory| memory.len() >= bytes);
    // Whole pages, which go back to the system where a larger successor is made: an allocator would keep them.
    let mut memory = memory.unwrap_or_else(|| pages(bytes));
    // SAFETY: any four bytes are a float.
    let (_, mut rest, _) = unsafe { memory.align_to_mut::<f32>() };
    let sections = lengths.map(|length| {
        let (section, after) = std::mem::take(&mut rest).split_at_mut(length.next_multiple_of(LINE));
        rest = after;
        &mut section[..length]
    });
    let result = work(sections);
    SCRATCH.set(Some(memory));
    result
}

fn pages(bytes: usize) -> MmapMut {
    MmapMut::map_anon(bytes)
        .unwrap_or_else(|_| handle_alloc_error(Layout::array::<u8>(bytes).unwrap_or(Layout::new::<f32>())))
}

/// Bytes that this thread holds.
#[cfg(test)]
pub(crate) fn held() -> usize {
    let memory = SCRATCH.take();
    let bytes = memory.as_ref().map_or(0, |memory| memory.len());
    SCRATCH.set(memory);
    bytes
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
