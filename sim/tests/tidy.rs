//! The habits that the source keeps, as a test: sizes of files and functions, line width, words
//! that have no place in it, and who may depend on whom.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn manifest(path: &Path) -> toml::Table {
    let text = fs::read_to_string(path).expect("a manifest");
    text.parse().expect("a legal manifest")
}

/// The members of the workspace, by directory.
fn members() -> Vec<String> {
    let manifest = manifest(&root().join("Cargo.toml"));
    let members = manifest["workspace"]["members"].as_array().expect("a list");
    members.iter().map(|member| member.as_str().expect("a path").to_owned()).collect()
}

/// The Rust sources of all members, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    let mut directories: Vec<PathBuf> = members().iter().map(|name| root().join(name)).collect();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source in UTF-8");
                let path = path.strip_prefix(root()).expect("below the root").to_owned();
                sources.push((path, text));
            }
        }
    }
    sources.sort();
    assert!(sources.len() > 50, "sources were not found");
    sources
}

/// Fails with all complaints, each with its place.
fn complain(complaints: Vec<(PathBuf, usize, String)>) {
    let mut text = String::new();
    for (path, line, complaint) in &complaints {
        writeln!(text, "{}:{line}: {complaint}", path.display()).expect("a string");
    }
    assert!(complaints.is_empty(), "{} complaints:\n{text}", complaints.len());
}

#[test]
fn files_are_short_and_lines_narrow() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push((path.clone(), lines, format!("{lines} lines")));
        }
        for (number, line) in (1..).zip(text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                complaints.push((path.clone(), number, format!("{columns} columns")));
            }
        }
    }
    complain(complaints);
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        for (number, name, lines) in functions(&text) {
            if lines > FUNCTION_LINES_MAX {
                complaints.push((path.clone(), number, format!("fn {name} has {lines} lines")));
            }
        }
    }
    complain(complaints);
}

/// The functions of a formatted source: line, name, number of lines. A body ends with a brace
/// at the indentation of its `fn`, which is what rustfmt guarantees.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let opens = |line: &&str| line.ends_with('{') || line.ends_with(';') || line.ends_with('}');
        let Some(head) = lines[at..].iter().position(|line| opens(&line.trim_end())) else {
            continue;
        };
        if !lines[at + head].ends_with('{') {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let closing = format!("{indent}}}");
        let rest = &lines[at + head..];
        let body = rest.iter().position(|line| *line == closing).unwrap_or(rest.len());
        functions.push((at + 1, name.to_owned(), head + body + 1));
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualifier = |word: &str| {
        matches!(word, "pub" | "const" | "async" | "unsafe") || word.starts_with("pub(")
    };
    let item = before.split_whitespace().all(qualifier);
    item.then(|| after.split(['(', '<']).next().unwrap_or_default())
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in halves, so that this file passes.
    let banned = [("TO", "DO"), ("FIX", "ME"), ("to", "do!("), ("unimple", "mented!(")];
    let banned = banned.map(|(left, right)| format!("{left}{right}"));
    let mut complaints = Vec::new();
    for (path, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            for word in &banned {
                if line.contains(word.as_str()) {
                    complaints.push((path.clone(), number, format!("contains {word}")));
                }
            }
        }
    }
    complain(complaints);
}

#[test]
fn dependencies_point_one_way() {
    // Who may not depend on what; a trailing * stands for any rest.
    let shell = ["tokio*", "rustls*", "axum", "socket2", "chrono", "tracing-subscriber"];
    let rules: &[(&str, &[&str])] = &[
        ("proto", &["tidings*"]),
        ("proto", &shell),
        ("runtime", &["tidings", "tidings-seed", "tidings-sim", "tidings-tests"]),
        ("seed", &["tidings", "tidings-sim", "tidings-tests"]),
        ("peer", &["tidings-seed", "tidings-sim", "tidings-tests"]),
        ("sim", &["tidings", "tidings-runtime", "tidings-seed", "tidings-tests", "tidings-bench"]),
        ("sim", &shell),
        ("bench", &["tidings-sim", "tidings-seed"]),
    ];
    let mut complaints = Vec::new();
    for (member, banned) in rules {
        let path = root().join(member).join("Cargo.toml");
        for dependency in dependencies(&manifest(&path)) {
            let hit = banned.iter().any(|banned| match banned.strip_suffix('*') {
                Some(prefix) => dependency.starts_with(prefix),
                None => dependency == *banned,
            });
            if hit {
                complaints.push((path.clone(), 1, format!("depends on {dependency}")));
            }
        }
    }
    complain(complaints);
}

fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        if let Some(table) = manifest.get(kind).and_then(toml::Value::as_table) {
            names.extend(table.keys().cloned());
        }
    }
    names
}

#[test]
fn crates_begin_with_their_documentation_and_share_the_lints() {
    let mut complaints = Vec::new();
    for member in members() {
        let directory = root().join(&member);
        for file in ["src/lib.rs", "src/main.rs"] {
            let path = directory.join(file);
            if let Ok(text) = fs::read_to_string(&path)
                && !text.starts_with("//!")
            {
                complaints.push((path, 1, "does not begin with documentation".into()));
            }
        }
        let path = directory.join("Cargo.toml");
        let manifest = manifest(&path);
        let shared = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if shared.and_then(toml::Value::as_bool) != Some(true) {
            complaints.push((path, 1, "does not share the lints of the workspace".into()));
        }
    }
    complain(complaints);
}

#[test]
fn the_ruler_measures() {
    let text = "fn a() {\n    x\n}\n\nimpl T {\n    pub(crate) async fn b(\n        &self,\n    ) \
                -> u8\n    where\n        X: Y,\n    {\n        if c {\n        }\n    }\n\n    fn \
                d(&self);\n    fn e() {}\n}\n";
    let found = functions(text);
    let expected = [(1, "a".to_owned(), 3), (6, "b".to_owned(), 9)];
    assert_eq!(found, expected);
    assert_eq!(function_name("    // an fn in prose"), None);
}
