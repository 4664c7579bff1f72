//! Text for people: tables, sizes, times, and text of others made harmless for a terminal.

use std::collections::BTreeSet;
use std::fmt::Display;

use chrono::{DateTime, Utc};

/// A table of left-aligned columns, two spaces apart, without lines.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    pub fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// Adds a row; it has as many cells as there are titles.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "a cell for each title");
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// The table as text, each line indented by so many spaces; no line end at its end.
    pub fn render(&self, indent: usize) -> String {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let lines = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            format!("{:indent$}{}", "", line.trim_end())
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A size for people: `1.2 MiB`, and below 1 KiB `17 bytes`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
    }
    // A figure of three digits needs no more than the 53 bits of an f64.
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// A size for people, and exactly.
pub fn exact_size(bytes: u64) -> String {
    if bytes < 1024 { size(bytes) } else { format!("{} ({bytes} bytes)", size(bytes)) }
}

/// A time for people, in UTC.
pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Names in a row, or a word for none.
pub fn names<T: Display>(names: &BTreeSet<T>, none: &str) -> String {
    if names.is_empty() {
        return none.to_owned();
    }
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Text of others, which may hold what a terminal would obey: each control character becomes a mark.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(&["VERSION", "STATE"]);
        table.row(vec!["1.10.0-rc.1".into(), "published".into()]);
        table.row(vec!["1.9.0".into(), "".into()]);
        assert_eq!(table.render(2), "  VERSION      STATE\n  1.10.0-rc.1  published\n  1.9.0");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let mut table = Table::new(&["A"]);
        table.row(vec!["x\x1b[31m\ny".into()]);
        assert_eq!(table.render(0), "A\nx\u{fffd}[31m\u{fffd}y");
    }

    #[test]
    fn sizes_read_well_at_their_limits() {
        let cases = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 * 1024 * 1024, "5.0 MiB"),
            (3 * 1024 * 1024 * 1024, "3.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(exact_size(1536), "1.5 KiB (1536 bytes)");
        assert_eq!(exact_size(3), "3 bytes");
    }

    #[test]
    fn names_and_times() {
        assert_eq!(names(&BTreeSet::from(["b", "a"]), "all"), "a, b");
        assert_eq!(names(&BTreeSet::<String>::new(), "all"), "all");
        let at = DateTime::from_timestamp(0, 0).expect("the epoch is a time");
        assert_eq!(time(at), "1970-01-01 00:00:00Z");
    }
}
