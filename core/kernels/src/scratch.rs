//! Working memory of a thread: grown as kernels ask for more, then reused by every call.

use std::cell::Cell;

use memmap2::MmapMut;

use crate::error::KernelError;

/// Floats of a cache line; every section starts on one.
const LINE: usize = 16;

thread_local! {
    static SCRATCH: Cell<Option<MmapMut>> = const { Cell::new(None) };
}

/// Runs `work` with `N` sections of the given lengths, each 64-byte aligned, their contents unspecified.
///
/// # Errors
/// [`KernelError::OutOfMemory`] if there is not so much memory; `work` is then not run.
pub(crate) fn with<const N: usize, R>(
    lengths: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> R,
) -> Result<R, KernelError> {
    let bytes = bytes_of(&lengths).ok_or(KernelError::OutOfMemory { bytes: usize::MAX })?;
    // Taken out, so that a kernel called by a kernel would get memory of its own.
    let held = SCRATCH.take().filter(|memory| memory.len() >= bytes);
    // Whole pages, which go back to the system where a larger successor is made: an allocator would keep them.
    let mut memory = match held {
        Some(memory) => memory,
        None => MmapMut::map_anon(bytes).map_err(|_| KernelError::OutOfMemory { bytes })?,
    };
    // SAFETY: any four bytes are a float.
    let (_, mut rest, _) = unsafe { memory.align_to_mut::<f32>() };
    let sections = lengths.map(|length| {
        let (section, after) = std::mem::take(&mut rest).split_at_mut(length.next_multiple_of(LINE));
        rest = after;
        &mut section[..length]
    });
    let result = work(sections);
    SCRATCH.set(Some(memory));
    Ok(result)
}

/// The bytes that the sections take together, at least one line; `None` if that does not fit.
fn bytes_of(lengths: &[usize]) -> Option<usize> {
    let lines = lengths.iter().try_fold(0usize, |sum, n| sum.checked_add(n.div_ceil(LINE)))?;
    lines.max(1).checked_mul(LINE * size_of::<f32>())
}

/// The bytes that this thread holds.
#[cfg(test)]
pub(crate) fn held() -> usize {
    let memory = SCRATCH.take();
    let bytes = memory.as_ref().map_or(0, |memory| memory.len());
    SCRATCH.set(memory);
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri ends where its memory does")]
    fn more_than_there_is_is_an_error() {
        for lengths in [[1 << 58, 1], [usize::MAX, 1], [usize::MAX, usize::MAX]] {
            let refused = with(lengths, |_| ()).unwrap_err();
            assert!(matches!(refused, KernelError::OutOfMemory { bytes } if bytes >= 1 << 60), "{refused}");
        }
        with([16], |[section]| section.fill(1.0)).unwrap();
    }

    #[test]
    fn sections_are_aligned_and_apart() {
        for lengths in [[5, 100, 16], [1000, 0, 33]] {
            with(lengths, |sections| {
                for (index, section) in sections.into_iter().enumerate() {
                    assert_eq!(section.len(), lengths[index]);
                    assert_eq!(section.as_ptr() as usize % 64, 0);
                    section.fill(index as f32);
                }
            })
            .unwrap();
        }
    }
}
