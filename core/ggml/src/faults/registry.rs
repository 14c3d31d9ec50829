//! What is watched, in a list that a signal handler can read: nothing in it is locked, moved or freed.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

/// A file as the system's list of mappings names it: device and inode. No file is (0, 0).
pub(super) type FileId = (u64, u64);

/// Whole pages, or a file, any mapping of which is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Watched {
    pub(super) pages: Range<usize>,
    pub(super) file: FileId,
}

/// A place in the list, taken or free. Once made it stays for as long as the process lives.
#[derive(Debug)]
pub(super) struct Entry {
    is_taken: AtomicBool,
    /// Odd while what is below changes.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    file: [AtomicU64; 2],
    faults: AtomicUsize,
    next: AtomicPtr<Self>,
}

static FIRST: AtomicPtr<Entry> = AtomicPtr::new(std::ptr::null_mut());

/// Every entry that was ever made.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    std::iter::successors(entry(&FIRST), |last| entry(&last.next))
}

fn entry(place: &AtomicPtr<Entry>) -> Option<&'static Entry> {
    // SAFETY: the pointer is null or comes from a box that was leaked whole before it was published.
    unsafe { place.load(Ordering::Acquire).as_ref() }
}

impl Entry {
    /// A free entry, or a new one, for `watched`.
    pub(super) fn claim(watched: &Watched) -> &'static Self {
        let free = entries().find(|entry| !entry.is_taken.swap(true, Ordering::Acquire));
        let entry = free.unwrap_or_else(Self::add);
        entry.faults.store(0, Ordering::Relaxed);
        entry.set(watched);
        entry
    }

    /// Makes the entry free again.
    pub(super) fn release(&self) {
        self.set(&Watched::default());
        self.is_taken.store(false, Ordering::Release);
    }

    /// What the entry stands for; none if that is changing: then no address of it is in use.
    pub(super) fn watched(&self) -> Option<Watched> {
        let version = self.version.load(Ordering::Acquire);
        let watched = Watched {
            pages: self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed),
            file: (self.file[0].load(Ordering::Relaxed), self.file[1].load(Ordering::Relaxed)),
        };
        fence(Ordering::Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        is_whole.then_some(watched)
    }

    /// The number of faults so far.
    pub(super) fn faults(&self) -> usize {
        self.faults.load(Ordering::Acquire)
    }

    /// Counts one more fault; returns how many there were before.
    pub(super) fn count_fault(&self) -> usize {
        self.faults.fetch_add(1, Ordering::AcqRel)
    }

    /// Only its owner calls this.
    fn set(&self, watched: &Watched) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(watched.pages.start, Ordering::Relaxed);
        self.end.store(watched.pages.end, Ordering::Relaxed);
        self.file[0].store(watched.file.0, Ordering::Relaxed);
        self.file[1].store(watched.file.1, Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// Adds an entry, taken, to the front of the list.
    fn add() -> &'static Self {
        let entry = Box::leak(Box::new(Self {
            is_taken: AtomicBool::new(true),
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            file: [AtomicU64::new(0), AtomicU64::new(0)],
            faults: AtomicUsize::new(0),
            next: AtomicPtr::new(std::ptr::null_mut()),
        }));
        let pointer = std::ptr::from_mut(entry);
        let mut first = FIRST.load(Ordering::Relaxed);
        loop {
            // SAFETY: the entry was leaked, so it lives; nobody has its address yet, so nobody else writes to it.
            let entry: &'static Self = unsafe { &*pointer };
            entry.next.store(first, Ordering::Relaxed);
            match FIRST.compare_exchange_weak(first, pointer, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return entry,
                Err(other) => first = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_used_again_and_never_half_read() {
        let number = |n: usize| Watched { pages: n * 4096..(n + 1) * 4096, file: (n as u64, n as u64) };
        // Other tests have mappings in the list, at higher addresses.
        let is_ours = |watched: &Watched| watched.pages.end < 1000 * 4096;
        let done = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    for watched in entries().filter_map(Entry::watched).filter(is_ours) {
                        let expected = number(watched.pages.start / 4096);
                        assert!(watched == expected || watched == Watched::default(), "{watched:?}");
                    }
                }
            });
            let writer =
                |first: usize| move || (0..5000).for_each(|i| Entry::claim(&number(first + i % 7)).release());
            let writers: Vec<_> =
                [100, 200, 300].map(|first| scope.spawn(writer(first))).into_iter().collect();
            for writer in writers {
                writer.join().expect("it does not panic");
            }
            done.store(true, Ordering::Relaxed);
            reader.join().expect("no entry was read half");
        });
        assert!(entries().count() < 1000);
    }
}
