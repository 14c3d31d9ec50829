//! How much memory this process takes.

/// Bytes of anonymous memory now: what the system cannot drop and read again from a file, as it can the mapped model.
/// Where the system does not say (it does on Linux and Android, and Apple's do), all resident memory.
pub fn anonymous_bytes() -> u64 {
    let resident = || Some(memory_stats::memory_stats()?.physical_mem as u64);
    from_status().or_else(nightgraft_ggml::footprint).or_else(resident).unwrap_or(0)
}

/// `RssAnon` of `/proc/self/status` (proc(5)), in kB there.
fn from_status() -> Option<u64> {
    kilobytes("/proc/self/status", "RssAnon:")
}

/// Bytes that a run may take for speed alone where nobody limits its memory: a quarter of what the system has left, and on
/// a phone, where it would be taken from other apps, little.
pub fn spare_bytes() -> u64 {
    const LITTLE: u64 = 256 << 20;
    const MUCH: u64 = 4 << 30;
    match cfg!(any(target_os = "android", target_os = "ios")) {
        true => LITTLE,
        false => (available_bytes().unwrap_or(0) / 4).clamp(LITTLE, MUCH),
    }
}

/// `MemAvailable` of `/proc/meminfo` (proc(5)), in kB there.
pub fn available_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// A number of kB in a file of lines, as bytes.
fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_may_be_spared_is_within_bounds() {
        assert!((256 << 20..=4u64 << 30).contains(&super::spare_bytes()));
    }

    #[test]
    fn memory_that_is_touched_counts() {
        let before = super::anonymous_bytes();
        let touched = vec![1u8; 64 << 20];
        let after = super::anonymous_bytes();
        assert!(before > 0 && after >= before + (60 << 20), "{before} {after}");
        assert_eq!(touched[after as usize % touched.len()], 1);
    }
}
