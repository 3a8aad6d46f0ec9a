//! `peer shell`: a prompt at which one talks to a peer, and the same for scripts.
//!
//! Reading order: `command` is the language, `link` the connection, `answer` what is printed,
//! `input` where lines come from, and this file what happens with them.

mod answer;
mod command;
mod input;
mod link;

use std::time::Duration;

use serde_json::{Value, json};
use tidings::control::{EventView, Incoming};
use tidings_runtime::table;
use tokio::time::Instant;

use crate::cli::Control;
use crate::commands::message::Style;
use crate::failure::Failure;
use crate::span;

use answer::{Printer, show};
use command::Action;
use input::Input;
use link::Link;

/// Type commands, see messages as they come
///
/// On a terminal: line editing, a history, and completion of commands and topics with Tab. With
/// commands on standard input: each line is one command, messages go to standard output, and the
/// exit code is that of the first command that failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peer shell
  printf 'SUBSCRIBE Sports\\nPUBLISH Sports Goal!\\n' | peer shell
  peer shell --wait 1h < commands.txt

The history is kept in ~/.local/state/tidings/history, or in the file that TIDINGS_HISTORY names;
an empty TIDINGS_HISTORY keeps none, and neither is a line kept that begins with a space.")]
pub(crate) struct Args {
    /// After the last command, go on until no message has come for so long
    #[arg(long, value_name = "DURATION", value_parser = span::parse, default_value = "500ms")]
    wait: Duration,
    #[command(flatten)]
    style: Style,
    #[command(flatten)]
    control: Control,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (mut input, printer) = Input::open(args.control.clone())?;
    let interactive = input.is_interactive();
    let printer = Printer::new(args.style, printer);
    let mut shell = Shell { control: args.control, place: Place::Default, printer, failed: None };
    if interactive {
        shell.greet().await;
    }
    input.ask();
    loop {
        let line = tokio::select! {
            line = input.next() => line,
            incoming = next(&mut shell.place) => {
                shell.incoming(incoming);
                continue;
            }
        };
        match line {
            Some(Ok(line)) if !shell.line(&line).await => break,
            Some(Ok(_)) => input.ask(),
            Some(Err(failure)) => {
                shell.tell(failure);
                input.ask();
            }
            None => {
                shell.linger(args.wait).await;
                break;
            }
        }
    }
    match shell.failed {
        Some(failure) if !interactive => Err(failure.told()),
        _ => Ok(()),
    }
}

/// Whom the shell talks to.
#[derive(Debug)]
enum Place {
    /// The peer of the command line, as soon as it is needed.
    Default,
    /// Nobody, until CONNECT says whom.
    Nowhere,
    /// A peer.
    Linked(Link),
}

/// What the peer says next; never, when there is none.
async fn next(place: &mut Place) -> Result<Incoming, Failure> {
    match place {
        Place::Linked(link) => link.next().await,
        _ => std::future::pending().await,
    }
}

struct Shell {
    control: Control,
    place: Place,
    printer: Printer,
    /// The first failure.
    failed: Option<Failure>,
}

impl Shell {
    /// Tells people where they are.
    async fn greet(&mut self) {
        eprintln!("peer shell {}: -h for help, Ctrl-D to leave", env!("CARGO_PKG_VERSION"));
        if let Err(failure) = self.link().await {
            eprintln!("not connected: {}", failure.message());
        }
    }

    /// Does a line. Returns whether the shell goes on.
    async fn line(&mut self, line: &str) -> bool {
        let action = match command::parse(line) {
            Ok(action) => action,
            Err(error) => {
                self.tell(Failure::usage(error));
                return true;
            }
        };
        let done = match action {
            Action::Nothing => Ok(()),
            Action::Quit => return false,
            Action::Help => answer::help(),
            Action::Connect { address, name } => self.connect(&address, name).await,
            Action::Disconnect => self.disconnect().await,
            Action::Wait(span) => {
                self.wait(span).await;
                Ok(())
            }
            Action::Ask(request) => self.ask(request).await,
        };
        if let Err(failure) = done {
            self.tell(failure);
        }
        true
    }

    async fn connect(&mut self, address: &str, name: Option<String>) -> Result<(), Failure> {
        if let Place::Linked(link) = &self.place
            && link.chosen
        {
            let at = &link.address;
            return Err(Failure::refused(format!("connected to {at} already: DISCONNECT first")));
        }
        self.place = Place::Nowhere;
        let mut link = Link::open(address).await?;
        link.chosen = true;
        if let Some(name) = &name {
            let request = json!({"command": "connect", "name": name});
            let answer = self.call(&mut link, &request).await?;
            show(self.printer.style, &request, &answer)?;
        }
        self.place = Place::Linked(link);
        Ok(())
    }

    /// Ends the session, whose subscriptions go with it, and the connection.
    async fn disconnect(&mut self) -> Result<(), Failure> {
        let Place::Linked(mut link) = std::mem::replace(&mut self.place, Place::Nowhere) else {
            return Err(not_connected());
        };
        if link.is_session {
            self.call(&mut link, &json!({"command": "disconnect"})).await?;
        }
        eprintln!("disconnected from {}", link.address);
        Ok(())
    }

    async fn ask(&mut self, request: Value) -> Result<(), Failure> {
        self.link().await?;
        let Place::Linked(mut link) = std::mem::replace(&mut self.place, Place::Nowhere) else {
            return Err(not_connected());
        };
        let asked = self.call(&mut link, &request).await;
        if !link.is_lost {
            self.place = Place::Linked(link);
        }
        show(self.printer.style, &request, &asked?)
    }

    /// Asks, and prints the messages that come before the answer.
    async fn call(&mut self, link: &mut Link, request: &Value) -> Result<Value, Failure> {
        link.send(request).await?;
        loop {
            match link.next().await? {
                Incoming::Event(event) => self.event(&event),
                Incoming::Answer(answer) => return link.note(request, answer),
            }
        }
    }

    /// Connects to the peer of the command line, unless CONNECT and DISCONNECT decided.
    async fn link(&mut self) -> Result<(), Failure> {
        match self.place {
            Place::Linked(_) => Ok(()),
            Place::Nowhere => Err(not_connected()),
            Place::Default => {
                let address = self.control.address()?;
                let opened = Link::open(&address).await;
                let hint = |failure: Failure| failure.followed_by("; or CONNECT <port> [name]");
                self.place = Place::Linked(opened.map_err(hint)?);
                Ok(())
            }
        }
    }

    /// What came while no answer was awaited.
    fn incoming(&mut self, incoming: Result<Incoming, Failure>) {
        match incoming {
            Ok(Incoming::Event(event)) => self.event(&event),
            Ok(Incoming::Answer(_)) => self.tell(Failure::failed("an answer nobody asked for")),
            Err(failure) => {
                self.place = Place::Nowhere;
                self.tell(failure.followed_by("; CONNECT <port> [name] to go on"));
            }
        }
    }

    fn event(&mut self, event: &EventView) {
        if let Err(error) = self.printer.event(event) {
            self.tell(error.into());
        }
    }

    /// Shows what comes, for a while.
    async fn wait(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while let Ok(incoming) = tokio::time::timeout_at(end, next(&mut self.place)).await {
            self.incoming(incoming);
        }
    }

    /// Shows what comes until nothing has come for a while, when anything can come at all.
    async fn linger(&mut self, span: Duration) {
        while matches!(&self.place, Place::Linked(link) if link.streams > 0) {
            match tokio::time::timeout(span, next(&mut self.place)).await {
                Ok(incoming) => self.incoming(incoming),
                Err(_) => return,
            }
        }
    }

    /// Tells people of a failure; the first one decides how the shell ends.
    fn tell(&mut self, failure: Failure) {
        if !failure.message().is_empty() {
            self.printer.note(&format!("peer: {}", table::printable(failure.message())));
        }
        self.failed.get_or_insert(failure);
    }
}

fn not_connected() -> Failure {
    Failure::unreachable("not connected: CONNECT <port> [name], such as CONNECT 5555 ada")
}
