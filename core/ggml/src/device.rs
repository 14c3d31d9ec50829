//! The compute devices that ggml was built with and finds on this machine.

use std::ffi::{CStr, c_char};

use llama_cpp_sys_2 as sys;

/// One compute device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// ggml's short name, such as `CPU` or `Vulkan0`.
    pub name: String,
    /// What the driver calls it.
    pub description: String,
    /// Free memory in bytes, 0 if unknown.
    pub memory_free: usize,
    /// Total memory in bytes, 0 if unknown.
    pub memory_total: usize,
}

/// Lists the devices, in ggml's order.
pub fn devices() -> Vec<Device> {
    // SAFETY: the registry is a process-wide object of ggml, made on first use; indices stay below the count.
    unsafe {
        (0..sys::ggml_backend_dev_count())
            .map(|i| {
                let device = sys::ggml_backend_dev_get(i);
                let (mut memory_free, mut memory_total) = (0, 0);
                sys::ggml_backend_dev_memory(device, &mut memory_free, &mut memory_total);
                Device {
                    name: text(sys::ggml_backend_dev_name(device)),
                    description: text(sys::ggml_backend_dev_description(device)),
                    memory_free,
                    memory_total,
                }
            })
            .collect()
    }
}

/// # Safety
/// `p` is null or a NUL-terminated string.
unsafe fn text(p: *const c_char) -> String {
    if p.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned()
}
