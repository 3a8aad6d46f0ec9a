//! Answers for people: aligned columns. And for programs: JSON.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

/// Rows of text under a head.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned)] }
    }

    pub(crate) fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| printable(&cell)));
    }

    /// Writes the table to standard output, its head bold on a terminal.
    pub(crate) fn print(&self) -> io::Result<()> {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let mut out = io::stdout().lock();
        let text = self.text(colours && io::stdout().is_terminal());
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    fn text(&self, bold: bool) -> String {
        let width = |i: usize| self.rows.iter().map(|row| row[i].chars().count()).max();
        let widths: [usize; N] = std::array::from_fn(|i| width(i).unwrap_or(0));
        let mut text = String::new();
        for (i, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            match (i, bold) {
                (0, true) => text += &format!("\x1b[1m{}\x1b[0m\n", line.trim_end()),
                _ => text += &format!("{}\n", line.trim_end()),
            }
        }
        text
    }
}

/// Writes `value` as one line of JSON to standard output.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// A cell for a fact that holds or not.
pub(crate) fn mark(yes: bool) -> String {
    if yes { "yes".to_owned() } else { String::new() }
}

/// The first ten digits of an id: enough to tell nodes apart.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(10).collect()
}

/// What a terminal would act upon is escaped: names come from elsewhere.
fn printable(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_harmless() {
        let mut table = Table::new(["NAME", "N"]);
        table.row(["a\x1b[2J".to_owned(), "1".to_owned()]);
        table.row(["über".to_owned(), String::new()]);
        assert_eq!(table.text(false), "NAME        N\na\\u{1b}[2J  1\nüber\n");
        assert!(table.text(true).starts_with("\x1b[1mNAME"));
    }
}
