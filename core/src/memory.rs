//! How much memory this process takes.

/// Bytes of anonymous memory now: what the system cannot drop and read again from a file, as it can the mapped model.
/// Where the system does not say (it does on Linux and Android), all resident memory.
pub fn anonymous_bytes() -> u64 {
    from_status().or_else(|| Some(memory_stats::memory_stats()?.physical_mem as u64)).unwrap_or(0)
}

/// `RssAnon` of `/proc/self/status` (proc(5)), in kB there.
fn from_status() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_that_is_touched_counts() {
        let before = super::anonymous_bytes();
        let touched = vec![1u8; 64 << 20];
        let after = super::anonymous_bytes();
        assert!(before > 0 && after >= before + (60 << 20), "{before} {after}");
        assert_eq!(touched[after as usize % touched.len()], 1);
    }
}
