//! Numbers and tables for people.

/// `98.4 MB`: decimal units, three digits.
pub fn bytes(n: u64) -> String {
    let (value, unit) = scaled(n as f64);
    match unit {
        "" => format!("{n} B"),
        unit => format!("{value} {unit}B"),
    }
}

/// `134.5 M`: a count in thousands, millions or billions.
pub fn count(n: u64) -> String {
    match scaled(n as f64) {
        (_, "") => n.to_string(),
        (value, "G") => format!("{value} B"),
        (value, unit) => format!("{value} {unit}"),
    }
}

fn scaled(n: f64) -> (String, &'static str) {
    let (divisor, unit) = match n {
        n if n < 1e3 => (1.0, ""),
        n if n < 1e6 => (1e3, "k"),
        n if n < 1e9 => (1e6, "M"),
        _ => (1e9, "G"),
    };
    (format!("{:.1}", n / divisor), unit)
}

/// `1 h 02 min`, `3 min 20 s`, `4.2 s`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `2026-11-23 19:40`, by the clock of this machine, from seconds since 1970.
pub fn date(seconds: i64) -> String {
    let date = jiff::Timestamp::from_second(seconds);
    let local =
        date.map(|date| date.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string());
    local.unwrap_or_else(|_| "unknown".to_owned())
}

/// Rows of a name and its value, the values in one column.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// A table with its first row as the head; the columns in `right` are numbers, aligned to the right.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(98_362_432), "98.4 MB");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(count(134_515_008), "134.5 M");
        assert_eq!(count(1_540_000_000), "1.5 B");
        assert_eq!(duration(4.23), "4.2 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(3725.0), "1 h 02 min");
        assert_eq!(duration(f64::NAN), "unknown");
        assert_eq!(date(i64::MAX), "unknown");
        assert_eq!((date(1_790_000_000).len(), &date(1_790_000_000)[..7]), (16, "2026-09"));
    }

    #[test]
    fn columns_line_up() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(table(&[row("type", "n"), row("Q4_1", "210")], &[1]), "type    n\nQ4_1  210\n");
        assert_eq!(pairs(&[("a", "1".to_owned()), ("long", "2".to_owned())]), "a     1\nlong  2\n");
    }
}
