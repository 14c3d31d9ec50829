//! The handler itself. It calls what POSIX allows in one (`mmap` is a bare system call), and touches atomics only.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::registry::FileId;
use super::registry::{Watched, entries};

/// What a read of a page that is not there can be.
#[cfg(not(target_vendor = "apple"))]
const SIGNALS: [c_int; 1] = [libc::SIGBUS];
#[cfg(target_vendor = "apple")]
const SIGNALS: [c_int; 2] = [libc::SIGBUS, libc::SIGSEGV];

/// The first fault maps zeros in place of a whole mapping; those after it are of threads that were under way. More than
/// there can be threads are no such faults, whatever they are.
const MAX_FAULTS: usize = 4096;

/// POSIX's `BUS_ADRALN`: an address that is not a multiple of something, which no page can mend.
const MISALIGNED: c_int = 1;

/// What was there before, for each of [`SIGNALS`].
static PREVIOUS: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

/// Installs the handler, once.
///
/// It is not installed again if somebody replaces it later: they may pass on to it, and it would pass on to them.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (&signal, previous) in SIGNALS.iter().zip(&PREVIOUS) {
            take_over(signal, previous);
        }
    });
}

/// The whole pages of a mapping.
pub(super) fn pages(mapping: Range<usize>) -> Range<usize> {
    // SAFETY: it only tells a number.
    let size = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1);
    mapping.start / size * size..mapping.end.next_multiple_of(size)
}

fn take_over(signal: c_int, previous: &AtomicPtr<libc::sigaction>) {
    let keep = |action: libc::sigaction| {
        // Leaked: a handler may be reading it at any time.
        previous.store(Box::leak(Box::new(action)), Ordering::Release);
    };
    // SAFETY: a structure of numbers, for which zeros are a valid state; it is filled by the call.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: it asks what is installed, and writes into a structure of ours.
    if unsafe { libc::sigaction(signal, ptr::null(), &raw mut before) } != 0 {
        return;
    }
    keep(before);
    let mut ours = before;
    ours.sa_sigaction = on_fault as *const () as usize;
    // The previous handler finds the signals blocked that it asked for. A stack of its own, where the thread has one, since
    // it may need it, and hosts such as Go demand it.
    ours.sa_flags =
        libc::SA_SIGINFO | libc::SA_ONSTACK | before.sa_flags & (libc::SA_RESTART | libc::SA_NODEFER);
    if is(before.sa_sigaction, libc::SIG_DFL) || is(before.sa_sigaction, libc::SIG_IGN) {
        // SAFETY: a set of signals of ours.
        unsafe { libc::sigemptyset(&raw mut ours.sa_mask) };
    }
    // SAFETY: `on_fault` has the type that SA_SIGINFO asks for, and does nothing that is not allowed in a handler.
    let installed = unsafe { libc::sigaction(signal, &raw const ours, &raw mut before) } == 0;
    if installed && before.sa_sigaction != ours.sa_sigaction {
        keep(before); // who came in between, if somebody did
    }
}

unsafe extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system calls this with the fault's description, and each thread has a place for the number of its last
    // error.
    unsafe {
        let errno = last_error();
        let error = *errno;
        if is_fault(signal, &*info) && map_zeros_at((*info).si_addr().addr()) {
            *errno = error;
        } else {
            *errno = error;
            pass_on(signal, info, context);
        }
    }
}

/// Whether the signal comes from reading memory, and not from another process or a wrong alignment.
fn is_fault(signal: c_int, info: &libc::siginfo_t) -> bool {
    let is_misaligned =
        signal == libc::SIGBUS && info.si_code == MISALIGNED && cfg!(not(target_vendor = "apple"));
    !was_sent(info) && !is_misaligned
}

/// Whether somebody sent the signal, rather than that an instruction failed.
fn was_sent(info: &libc::siginfo_t) -> bool {
    // On Apple's systems, SI_USER is 0x10001.
    info.si_code <= 0 || cfg!(target_vendor = "apple") && info.si_code >= 0x1_0000
}

/// Maps zeros in place of the mapping that has this address, if it is of a watched file, and raises the flags.
fn map_zeros_at(address: usize) -> bool {
    let watched = || entries().filter_map(|entry| Some((entry, entry.watched()?)));
    if let Some((entry, Watched { pages, .. })) =
        watched().find(|(_, watched)| watched.pages.contains(&address))
    {
        return entry.count_fault() < MAX_FAULTS && map_zeros(&pages);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let with_file = || watched().filter(|(_, watched)| watched.file != FileId::default());
        if with_file().next().is_none() {
            return false;
        }
        let Some(region) = super::maps::region_of(address) else { return false };
        let faults = with_file()
            .filter(|(_, watched)| watched.file == region.file)
            .map(|(entry, _)| entry.count_fault())
            .min();
        faults.is_some_and(|faults| faults < MAX_FAULTS) && map_zeros(&region.pages)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    false
}

/// Replaces whole pages by zeros that can only be read.
fn map_zeros(pages: &Range<usize>) -> bool {
    let start = ptr::without_provenance_mut::<c_void>(pages.start);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the pages are those of a mapping of a watched file in which a thread has just faulted, so the mapping exists,
    // and stays, because the thread is held here. It was mapped for reading only, by us or by llama.cpp, and its readers
    // take any bytes; the new pages take the place of the old ones in one step.
    let laid = unsafe { libc::mmap(start, pages.len(), libc::PROT_READ, flags, -1, 0) };
    laid == start
}

/// Does what would have happened without us.
///
/// # Safety
/// Only a handler may call it, with what it was called with.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let place = SIGNALS.iter().position(|&ours| ours == signal);
    let previous = place
        .and_then(|place| PREVIOUS.get(place))
        .map_or(ptr::null_mut(), |previous| previous.load(Ordering::Acquire));
    // SAFETY: null, or leaked when it was stored.
    let previous = unsafe { previous.as_ref() };
    let handler = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    let flags = previous.map_or(0, |previous| previous.sa_flags);
    // SAFETY: the caller's promise.
    let was_sent = was_sent(unsafe { &*info });
    if is(handler, libc::SIG_IGN) && was_sent {
        return;
    }
    // The system ignores no fault: it would only happen again.
    if is(handler, libc::SIG_DFL) || is(handler, libc::SIG_IGN) {
        // SAFETY: both may be called in a handler. A fault happens again when this one returns; a signal that was sent is
        // sent again, and comes when it is not blocked any more.
        unsafe {
            restore_default(signal);
            if was_sent {
                libc::raise(signal);
            }
        }
        return;
    }
    if flags & libc::SA_RESETHAND != 0 {
        // SAFETY: as above.
        unsafe { restore_default(signal) };
    }
    // SAFETY: whoever installed the handler said which of the two types it has.
    unsafe {
        if flags & libc::SA_SIGINFO != 0 {
            let handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                std::mem::transmute(handler);
            handler(signal, info, context);
        } else {
            let handler: unsafe extern "C" fn(c_int) = std::mem::transmute(handler);
            handler(signal);
        }
    }
}

/// # Safety
/// Ends our handling of this signal.
unsafe fn restore_default(signal: c_int) {
    // SAFETY: zeros are the default action without flags; the call may be made in a handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

fn is(handler: libc::sighandler_t, other: libc::sighandler_t) -> bool {
    handler == other
}

/// Where the thread's last error number is: a handler leaves it as it was.
///
/// # Safety
/// The place is the calling thread's.
unsafe fn last_error() -> *mut c_int {
    // SAFETY: it only tells an address.
    unsafe {
        #[cfg(target_os = "linux")]
        return libc::__errno_location();
        #[cfg(target_os = "android")]
        return libc::__errno();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        return libc::__error();
    }
}
