//! Numbers and tables for people.

use bytesize::ByteSize;
use comfy_table::{CellAlignment, Row, Table, presets};

/// `98.4 MB`: decimal units, one digit behind the point.
pub fn bytes(n: u64) -> String {
    ByteSize(n).display().si().to_string()
}

/// `134.5 M`: a count in thousands, millions or billions.
pub fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.1} B", n as f64 / 1e9),
    }
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

/// Rows of a name and its value, the values in one column. Control characters, which a model's name may have, are escaped.
pub fn pairs(rows: &[(&str, String)]) -> String {
    columns(rows.iter().map(|(name, value)| [(*name).to_owned(), printable(value)]), &[])
}

/// The text with escapes (`\u{1b}`, `\n`) for control characters, by which a terminal would do something.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    shown
}

/// A table with its first row as the head; the columns in `right` are numbers, aligned to the right.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    columns(rows, right)
}

fn columns<R: Into<Row>>(rows: impl IntoIterator<Item = R>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).add_rows(rows);
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(98_362_432), "98.4 MB");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        for (n, text) in
            [(1_000, "1.0 kB"), (1_023, "1.0 kB"), (1_000_000, "1.0 MB"), (1_000_000_000, "1.0 GB")]
        {
            assert_eq!(bytes(n), text);
        }
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
        assert_eq!(pairs(&[("name", "a\u{1b}[31mü\n\"".to_owned())]), "name  a\\u{1b}[31mü\\n\"\n");
        // Letters that take two places on a screen.
        assert_eq!(table(&[row("名前", "x"), row("abc", "y")], &[]), "名前  x\nabc   y\n");
    }
}
