//! The C library's allocator, as far as it keeps what was freed.

/// Gives freed memory back to the system, where the allocator keeps it otherwise and lets one ask (glibc, `malloc_trim(3)`).
pub fn release_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(keep: usize) -> std::ffi::c_int;
        }
        // SAFETY: it may be called at any time, from any thread.
        unsafe { malloc_trim(0) };
    }
}
