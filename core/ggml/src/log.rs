//! ggml's and llama.cpp's log lines become `tracing` events.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Once;

use llama_cpp_sys_2 as sys;

/// Sends what ggml and llama.cpp print to the caller's `tracing` subscriber, under the targets of this
/// crate. Idempotent.
pub fn route_log_to_tracing() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the callback is a plain function that lives as long as the process; no user data.
        unsafe {
            sys::ggml_log_set(Some(on_line), std::ptr::null_mut());
            sys::llama_log_set(Some(on_line), std::ptr::null_mut());
        }
    });
}

unsafe extern "C" fn on_line(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: ggml passes a NUL-terminated string that lives for the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let line = text.trim_end();
    // Lone dots are progress marks of the model loader.
    if line.is_empty() || line == "." {
        return;
    }
    match level {
        sys::GGML_LOG_LEVEL_ERROR => tracing::error!(target: "ggml", "{line}"),
        // What they warn of is their own set-up (constants of rope, sizes of caches, lists of tokens) and nothing that a caller
        // could change: the files are checked before they get them.
        sys::GGML_LOG_LEVEL_WARN => tracing::info!(target: "ggml", "{line}"),
        _ => tracing::debug!(target: "ggml", "{line}"),
    }
}
