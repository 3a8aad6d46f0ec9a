//! Where the lines of a shell come from: a prompt on a terminal, or standard input.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tidings::control::{List, Request, StatusView, TopicsView};
use tokio::sync::mpsc;

use crate::cli::Control;
use crate::commands::shell::command;
use crate::commands::source::read_line;
use crate::failure::Failure;

const PROMPT: &str = "tidings> ";
/// Lines that are remembered.
const HISTORY_MAX: usize = 1_000;
/// Topics that are completed.
const TOPICS_MAX: u32 = 1_000;
/// A peer that does not list its topics in this time is not waited for.
const TOPICS_TIMEOUT: Duration = Duration::from_secs(2);

/// Prints above the prompt.
pub(super) struct Above(Box<dyn ExternalPrinter + Send>);

impl Above {
    /// Prints whole lines.
    pub(super) fn print(&mut self, lines: String) -> io::Result<()> {
        self.0.print(lines).map_err(io::Error::other)
    }
}

/// Lines, one after the other.
#[derive(Debug)]
pub(super) struct Input {
    lines: mpsc::Receiver<Result<String, Failure>>,
    /// Asks for the next line; a prompt appears only when the one before is done.
    asks: Option<mpsc::Sender<()>>,
    topics: Topics,
}

impl Input {
    /// Begins to read; on a terminal with a printer for what comes meanwhile.
    pub(super) fn open(control: Control) -> Result<(Self, Option<Above>), Failure> {
        let topics = Topics { names: Arc::default(), control };
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            let (sender, lines) = mpsc::channel(1);
            std::thread::spawn(move || read(&sender));
            return Ok((Self { lines, asks: None, topics }, None));
        }
        let history = history();
        let mut editor = editor(&topics).map_err(|error| Failure::failed(error.to_string()))?;
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        let above: Above = match editor.create_external_printer() {
            Ok(printer) => Above(Box::new(printer)),
            Err(error) => return Err(Failure::failed(error.to_string())),
        };
        let (sender, lines) = mpsc::channel(1);
        let (asks, asked) = mpsc::channel(1);
        std::thread::spawn(move || prompt(editor, history, &sender, asked));
        Ok((Self { lines, asks: Some(asks), topics }, Some(above)))
    }

    /// Whether a person types.
    pub(super) fn is_interactive(&self) -> bool {
        self.asks.is_some()
    }

    /// What was typed is done: the next line may come.
    pub(super) fn ask(&self) {
        if let Some(asks) = &self.asks {
            self.topics.refresh();
            // The thread has ended: so will the lines.
            let _ = asks.try_send(());
        }
    }

    /// The next line; `None` at the end. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<String, Failure>> {
        self.lines.recv().await
    }
}

/// The lines of standard input, as soon as they are taken.
fn read(lines: &mpsc::Sender<Result<String, Failure>>) {
    let mut input = io::stdin().lock();
    let mut at = 0_u64;
    while let Some(line) = read_line(&mut input).transpose() {
        at += 1;
        let failed = line.is_err();
        let line = line.map_err(Failure::from).and_then(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let text = std::str::from_utf8(line).map(str::to_owned);
            text.map_err(|_| Failure::usage(format!("line {at} is not UTF-8")))
        });
        if lines.blocking_send(line).is_err() || failed {
            return;
        }
    }
}

type Prompt = Editor<Completion, FileHistory>;

fn editor(topics: &Topics) -> rustyline::Result<Prompt> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY_MAX)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Completion { names: Arc::clone(&topics.names) }));
    Ok(editor)
}

fn prompt(
    mut editor: Prompt,
    history: Option<PathBuf>,
    lines: &mpsc::Sender<Result<String, Failure>>,
    mut asked: mpsc::Receiver<()>,
) {
    while asked.blocking_recv().is_some() {
        let line = loop {
            match editor.readline(PROMPT) {
                Ok(line) => break Ok(line),
                Err(ReadlineError::Interrupted) => eprintln!("QUIT or Ctrl-D to leave"),
                Err(ReadlineError::Eof) => return,
                Err(error) => break Err(Failure::failed(error.to_string())),
            }
        };
        if let Ok(line) = &line {
            // A history that cannot be written stops nobody.
            let _ = editor.add_history_entry(line);
            if let Some(path) = &history {
                let _ = editor.append_history(path);
            }
        }
        let failed = line.is_err();
        if lines.blocking_send(line).is_err() || failed {
            return;
        }
    }
}

/// The file of the history, with its folder made.
fn history() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let path = match variable("TIDINGS_HISTORY") {
        Some(path) if path.as_os_str().is_empty() => return None,
        Some(path) => path,
        None => {
            let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
            let state = state.or_else(|| Some(variable("HOME")?.join(".local/state")))?;
            state.join("tidings/history")
        }
    };
    let folder = path.parent()?;
    std::fs::create_dir_all(folder).ok()?;
    Some(path)
}

/// The names of the topics, as far as they are known.
#[derive(Clone, Debug)]
struct Topics {
    names: Arc<Mutex<Vec<String>>>,
    control: Control,
}

impl Topics {
    /// Asks for them while a person types.
    fn refresh(&self) {
        let topics = self.clone();
        tokio::spawn(async move {
            let mut names = BTreeSet::new();
            // What is known when the time is over is better than nothing.
            let _ = tokio::time::timeout(TOPICS_TIMEOUT, topics.list(&mut names)).await;
            if !names.is_empty() {
                let names = names.into_iter().collect();
                *topics.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
            }
        });
    }

    /// The topics of this peer, which needs no seeds, and those that the seeds know.
    async fn list(&self, names: &mut BTreeSet<String>) -> Result<(), Failure> {
        let mut client = self.control.connect().await?;
        let status: StatusView = client.call(&Request::Status).await?;
        names.extend(status.topics.into_iter().map(|topic| topic.topic));
        let list = List { limit: TOPICS_MAX, ..List::default() };
        let listed: TopicsView = client.call(&Request::ListTopics(list)).await?;
        names.extend(listed.topics.into_iter().map(|topic| topic.topic));
        Ok(())
    }
}

/// Completes commands, and topics after commands that take one.
struct Completion {
    names: Arc<Mutex<Vec<String>>>,
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let topics = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, words) = candidates(&line[..at], &topics);
        let pair = |word: String| Pair { display: word.clone(), replacement: format!("{word} ") };
        Ok((from, words.into_iter().map(pair).collect()))
    }
}

/// What the last word of `typed` may become, and where it begins.
fn candidates(typed: &str, topics: &[String]) -> (usize, Vec<String>) {
    let space = typed.char_indices().rfind(|(_, c)| c.is_whitespace());
    let from = space.map_or(0, |(at, c)| at + c.len_utf8());
    let word = &typed[from..];
    let mut before = typed[..from].split_whitespace();
    let words = match (before.next(), before.next()) {
        (None, _) => {
            // As it is typed: capitals for who types capitals.
            let capitals = word.chars().any(char::is_uppercase);
            let fits = |name: &&str| name.starts_with(&word.to_ascii_lowercase());
            let case = |name: &str| match capitals {
                true => name.to_ascii_uppercase(),
                false => name.to_owned(),
            };
            command::names().filter(fits).map(case).collect()
        }
        (Some(verb), None) if command::takes_topic(verb) => {
            topics.iter().filter(|topic| topic.starts_with(word)).cloned().collect()
        }
        _ => Vec::new(),
    };
    (from, words)
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_topics_are_completed() {
        let topics = ["sport/football".to_owned(), "sport/tennis".to_owned(), "weather".to_owned()];
        let complete = |typed: &str| candidates(typed, &topics);
        assert_eq!(complete("PUB"), (0, vec!["PUBLISH".to_owned()]));
        assert_eq!(complete("subs"), (0, vec!["subscribe".to_owned()]));
        assert_eq!(complete("publish sp").1, topics[..2]);
        assert_eq!(complete("Subscribe "), (10, topics.to_vec()));
        assert_eq!(complete("publish weather sp").1, Vec::<String>::new());
        assert_eq!(complete("ping w").1, Vec::<String>::new());
        assert_eq!(complete("größe\u{a0}x"), (9, Vec::new()));
    }
}
