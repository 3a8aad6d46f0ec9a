//! Answers for people: aligned columns, a bold head on a terminal. And for programs: JSON.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

/// Rows of text under a head. What a terminal would act upon is escaped: names come from
/// elsewhere.
#[derive(Debug)]
pub struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// No rows yet.
    pub fn new(head: [&'static str; N]) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| printable(&cell)));
    }

    /// Whether there is nothing under the head.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the table to standard output, its head bold on a terminal unless `NO_COLOR` is set.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self) -> io::Result<()> {
        let bold =
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let mut out = io::stdout().lock();
        self.write(&mut out, bold)?;
        out.flush()
    }

    /// The head and the rows, without colour.
    pub fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        let head = line(&self.head.map(str::to_owned), &widths);
        [head].into_iter().chain(self.rows.iter().map(|row| line(row, &widths))).collect()
    }

    fn widths(&self) -> [usize; N] {
        let mut widths = self.head.map(|title| title.len());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }

    fn write(&self, out: &mut impl Write, bold: bool) -> io::Result<()> {
        let widths = self.widths();
        let head = line(&self.head.map(str::to_owned), &widths);
        match bold {
            true => writeln!(out, "\x1b[1m{head}\x1b[0m")?,
            false => writeln!(out, "{head}")?,
        }
        self.rows.iter().try_for_each(|row| writeln!(out, "{}", line(row, &widths)))
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Writes `value` as one line of JSON to standard output.
///
/// # Errors
/// Standard output cannot be written.
pub fn print_json<T: Serialize>(value: &T) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// A text from elsewhere on one line: what a terminal would act upon is escaped.
pub fn printable(text: &str) -> String {
    let escape = |c: char| match c {
        '\t' => vec!['\t'],
        c if c.is_control() => c.escape_default().collect(),
        c => vec![c],
    };
    match text.chars().any(char::is_control) {
        true => text.chars().flat_map(escape).collect(),
        false => text.to_owned(),
    }
}

/// The first ten digits of an id: enough to tell nodes apart.
pub fn short(id: &str) -> String {
    id.chars().take(10).collect()
}

/// `yes` or nothing.
pub fn mark(yes: bool) -> String {
    if yes { "yes".to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["NAME", "N"]);
        table.row(["a".to_owned(), "1".to_owned()]);
        table.row(["longer".to_owned(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out, false).expect("memory");
        assert_eq!(String::from_utf8_lossy(&out), "NAME    N\na       1\nlonger\n");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(printable("a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(printable("größe\t1"), "größe\t1");
    }
}
