//! What is wrong with a configuration, in words for the person who wrote it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What is wrong with the configuration, where, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file is not TOML.
    #[error("{place}: {text}")]
    Syntax {
        /// Where.
        place: Place,
        /// What is wrong.
        text: String,
    },
    /// There is no such key or section.
    #[error("{place}: unknown {what} \"{name}\"{}; {allowed}", suggestion_text(suggestion))]
    Unknown {
        /// Where.
        place: Place,
        /// `key` or `section`.
        what: &'static str,
        /// What was typed.
        name: String,
        /// What was perhaps meant.
        suggestion: Option<String>,
        /// What there is.
        allowed: String,
    },
    /// The value is of the wrong type or out of range.
    #[error("{place}: {key} = {value} is not allowed: expected {allowed}")]
    Value {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// What was typed.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// Values that are legal, but not together.
    #[error("{place}: {key} = {value} {problem}")]
    Conflict {
        /// Where.
        place: Place,
        /// The key, with its section.
        key: String,
        /// Its value.
        value: String,
        /// What it contradicts, and what is allowed.
        problem: String,
    },
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
    /// Nobody set it.
    Default,
}

impl Place {
    /// The line of byte `offset` in `text`.
    pub(super) fn in_file(path: &Path, text: &str, offset: usize) -> Self {
        let before = text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Self::File { path: path.to_owned(), line }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

fn suggestion_text(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!(", did you mean \"{name}\"?"))
}

/// The name that `typed` is most like, if it is like one of them at all.
pub(super) fn suggest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    let near = names.map(|name| (distance(&typed, name), name)).min()?;
    (near.0 <= (typed.len() / 3).clamp(1, 3)).then(|| near.1.to_owned())
}

/// Insertions, deletions, replacements and swaps of neighbours from one to the other (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(TYPED_CHARS_MAX).collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let above = &rows[i - 1];
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// No key is as long as this.
const TYPED_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_names_are_recognised() {
        let names = ["listen", "interval", "degree_target", "name"];
        let suggest = |typed| suggest(typed, names.into_iter());
        assert_eq!(suggest("lisen").as_deref(), Some("listen"));
        assert_eq!(suggest("degree-target").as_deref(), Some("degree_target"));
        assert_eq!(suggest("Intervall").as_deref(), Some("interval"));
        assert_eq!(suggest("nmae").as_deref(), Some("name"));
        assert_eq!(suggest("colour"), None);
        assert_eq!(suggest(&"x".repeat(10_000)), None);
    }
}
