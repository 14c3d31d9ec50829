//! Quantities as a phone's owner reads them.

use std::time::Duration;

/// `38 °C`, `38.5 °C`.
pub(super) fn celsius(degrees: f64) -> String {
    format!("{} °C", trimmed(degrees))
}

/// A fraction as `35 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

/// `410 MB`, `1.2 GB`: powers of ten, as in the settings of phones.
pub(super) fn bytes(count: u64) -> String {
    let count = count as f64;
    if count < 999.5e6 { format!("{:.0} MB", count / 1e6) } else { format!("{} GB", trimmed(count / 1e9)) }
}

/// `45 s`, `10 min`, `3 h 05 min`; rounded to what is shown.
pub fn length(time: Duration) -> String {
    let seconds = time.as_secs_f64().round();
    if seconds < 100.0 {
        return format!("{seconds:.0} s");
    }
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// One decimal, none where it would be 0.
pub(super) fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        assert_eq!((celsius(41.04), celsius(37.5)), ("41 °C".to_owned(), "37.5 °C".to_owned()));
        assert_eq!(percent(0.346), "35 %");
        let sizes = [0, 410_200_000, 999_400_000, 999_600_000, 1_240_000_000, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 MB", "410 MB", "999 MB", "1 GB", "1.2 GB", "18446744073.7 GB"]);
        let lengths =
            [0.4, 45.0, 99.4, 100.0, 600.0, 3570.0, 11_100.0].map(Duration::from_secs_f64).map(length);
        assert_eq!(lengths, ["0 s", "45 s", "99 s", "2 min", "10 min", "1 h 00 min", "3 h 05 min"]);
        assert_eq!(length(Duration::MAX), "5124095576030430 h 56 min");
    }
}
