//! Faults inside mapped files: pages of zeros and a raised flag instead of the end of the process.
//!
//! A file that is cut short, or on a disk that fails, leaves addresses in its mapping behind which there is nothing. Reading
//! one is a signal (`SIGBUS`, on Apple's systems also `SIGSEGV`), and what cannot be read is found out in the middle of an
//! operation that cannot return an error. The handler here maps zeros in place of the whole mapping and remembers that it did;
//! what was computed with them is thrown away when the mapping is next [checked](crate::MappedFile::check). All other
//! faults go on to the handler that was there before, as if this one were not.
//!
//! llama.cpp maps a model a second time. Where the system shows which file lies at an address (Linux and Android), a fault
//! in such a mapping is treated alike, as long as a [`SharedFile`](crate::SharedFile) says that there is one.

#[cfg(unix)]
mod handler;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod maps;
mod registry;

#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use self::registry::Entry;

static LEFT_ALONE: AtomicBool = AtomicBool::new(false);

/// Installs no handler of signals, for programs that allow none but their own. To be called before the first file is mapped;
/// afterwards it changes nothing.
///
/// A mapped file that is cut short can then end the process, if the file is read between that moment and the next check.
pub fn leave_signals_alone() {
    LEFT_ALONE.store(true, Ordering::Relaxed);
}

/// Addresses at which a fault is ours, for as long as this lives; it has to end before they are given back.
#[derive(Debug)]
pub(crate) struct Watch(&'static Entry);

impl Watch {
    /// Watches over the pages of a mapping.
    pub(crate) fn new(mapping: Range<*const u8>) -> Self {
        #[cfg(unix)]
        if !LEFT_ALONE.load(Ordering::Relaxed) {
            handler::install();
            let pages = handler::pages(mapping.start.addr()..mapping.end.addr());
            return Self(Entry::claim(&registry::Watched { pages, ..Default::default() }));
        }
        let _ = mapping;
        Self(Entry::claim(&registry::Watched::default()))
    }

    /// Watches over the mappings that somebody else makes of the file that has a mapping at this address.
    pub(crate) fn of_other_mappings(mapping: *const u8) -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if !LEFT_ALONE.load(Ordering::Relaxed) {
            // As the list of mappings names it, which need not be as the file's own metadata do (overlays, subvolumes).
            let file = maps::region_of(mapping.addr()).map(|region| region.file).unwrap_or_default();
            return Self(Entry::claim(&registry::Watched { file, ..Default::default() }));
        }
        let _ = mapping;
        Self(Entry::claim(&registry::Watched::default()))
    }

    /// Whether zeros were mapped in place of a mapping that is watched.
    pub(crate) fn has_faulted(&self) -> bool {
        self.0.faults() > 0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.release();
    }
}
