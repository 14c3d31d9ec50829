//! How much memory the system counts as this process's own, on Apple's systems.

/// Bytes that count against the limit at which the system ends an app: what it made dirty or had compressed, not what it
/// mapped from a file. None on other systems, and if the system does not say.
pub fn footprint() -> Option<u64> {
    #[cfg(target_vendor = "apple")]
    {
        use std::ffi::c_int;

        /// `TASK_VM_INFO` of `<mach/task_info.h>`.
        const VM_INFO: u32 = 22;
        /// Its first revision in words of 8 bytes; the last one is `phys_footprint`.
        const WORDS: usize = 19;
        unsafe extern "C" {
            static mach_task_self_: u32;
            fn task_info(task: u32, flavor: u32, info: *mut u64, count: *mut u32) -> c_int;
        }
        let mut info = [0_u64; WORDS];
        let mut count = (2 * WORDS) as u32; // in `natural_t`, of 4 bytes
        // SAFETY: the system sets the task's name before any code of ours runs, and writes `count` words of 4 bytes at
        // most, which is what `info` has.
        let status = unsafe { task_info(mach_task_self_, VM_INFO, info.as_mut_ptr(), &mut count) };
        (status == 0 && count as usize == 2 * WORDS).then_some(info[WORDS - 1])
    }
    #[cfg(not(target_vendor = "apple"))]
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_apples_systems_say() {
        assert_eq!(super::footprint().is_some(), cfg!(target_vendor = "apple"));
    }
}
