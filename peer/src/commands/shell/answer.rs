//! What the shell prints: messages as they come, answers for people or as JSON.

use std::io::{self, Write as _};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings::control::{
    EventView, ForgottenView, NameView, NamesView, PeersView, PullView, RepliesView, SeedsView,
    SessionsView, StatusView, TopicView, TopicsView,
};
use tidings_runtime::table::{self, printable};

use crate::commands::message::{Style, gap_note};
use crate::commands::shell::input::Above;
use crate::commands::shell::link::command_of;
use crate::commands::{forget, name, peers, seeds, sessions, status, topic};
use crate::failure::Failure;

const HELP: &str = "  \
  CONNECT <port> [name]          talk to the peer at that control port, in a session of that name
  DISCONNECT                     end the session and the connection
  PUBLISH <topic> <data>         publish; data is the rest of the line
  SUBSCRIBE <topic> [from]       print the messages of a topic, from new (default) or all
  UNSUBSCRIBE <topic>            no more of them
  REQUEST <topic> <data>         publish a request and print the reply
  CREATE_TOPIC <topic>           host a new topic
  DELETE_TOPIC <topic>           end a topic that the peer hosts
  LIST_TOPICS [filter]           topics, e.g. of sport/#
  TOPIC_INFO <topic>             what is known of a topic
  REGISTER <name>                have a name that no other peer of the cluster has
  UNREGISTER <name>              give it up
  NAMES [filter]                 names, e.g. of team/#
  NAME_INFO <name>               which peer has a name
  PULL [topic] [max]             take messages that the session has kept
  SESSIONS                       who has a session here
  ACK <topic> <pos>              all of a session's topic up to that place has arrived
  PEERS [filter], SEEDS, STATUS  who there is
  FORGET <peer>                  a peer that is gone, by id, address or name, is listed no more
  PING                           is the peer there?
  WAIT <duration>                only print messages for a while, e.g. 2s
  QUIT                           leave; so does Ctrl-D
Capital and small letters are the same. After its arguments a command takes fields of the control
protocol as key=value, such as PULL Sports 10 wait_ms=500; a line of JSON is sent as it is.
";

/// Prints what the shell can do.
pub(super) fn help() -> Result<(), Failure> {
    Ok(io::stdout().lock().write_all(HELP.as_bytes())?)
}

/// Where messages go: to standard output, or above the prompt.
pub(super) struct Printer {
    pub(super) style: Style,
    above: Option<Above>,
}

impl Printer {
    pub(super) fn new(style: Style, above: Option<Above>) -> Self {
        Self { style, above }
    }

    /// Prints an event.
    pub(super) fn event(&mut self, event: &EventView) -> io::Result<()> {
        let mut line = Vec::new();
        match event {
            _ if self.style.json => {
                serde_json::to_writer(&mut line, event)?;
                line.push(b'\n');
            }
            EventView::Message(message) => self.style.write(&mut line, message)?,
            EventView::Gap(gap) => {
                self.note(&gap_note(gap));
                return Ok(());
            }
            EventView::TopicDeleted { topic } => {
                self.note(&format!("peer: topic '{}' was deleted", printable(topic)));
                return Ok(());
            }
        }
        match &mut self.above {
            Some(above) => above.print(String::from_utf8_lossy(&line).into_owned()),
            None => {
                let mut out = io::stdout().lock();
                out.write_all(&line)?;
                out.flush()
            }
        }
    }

    /// Prints a note for people.
    pub(super) fn note(&mut self, note: &str) {
        let shown = match &mut self.above {
            Some(above) => above.print(format!("{note}\n")),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if shown.is_err() {
            eprintln!("{note}");
        }
    }
}

/// Prints the answer to a request.
pub(super) fn show(style: Style, request: &Value, answer: &Value) -> Result<(), Failure> {
    if style.json {
        return Ok(table::print_json(answer)?);
    }
    let text = |name: &str| printable(request[name].as_str().unwrap_or_default());
    match command_of(request).as_str() {
        "publish" => {
            let (seq, reached) = (&answer["seq"], &answer["reached"]);
            eprintln!("published #{seq} to '{}' on {reached} links", text("topic"));
        }
        "subscribe" => eprintln!("subscribed to '{}'", text("topic")),
        "unsubscribe" => eprintln!("unsubscribed from '{}'", text("topic")),
        "delete_topic" => eprintln!("deleted '{}'", text("topic")),
        "connect" => connected(&text("name"), answer),
        "ping" => eprintln!("pong"),
        "create_topic" => topic::print(&[view::<TopicView>(answer)?])?,
        "topic_info" => topic::print_one(&view::<TopicView>(answer)?)?,
        "register" | "name_info" => name::show_one(&view::<NameView>(answer)?)?,
        "unregister" => eprintln!("gave up '{}'", text("name")),
        "names" => name::show(&view::<NamesView>(answer)?)?,
        "sessions" => sessions::show(&view::<SessionsView>(answer)?)?,
        "list_topics" => topic::print(&view::<TopicsView>(answer)?.topics)?,
        "peers" => peers::show(&view::<PeersView>(answer)?)?,
        "forget" => forget::show(&view::<ForgottenView>(answer)?),
        "seeds" => seeds::show(&view::<SeedsView>(answer)?)?,
        "status" => status::show(&view::<StatusView>(answer)?)?,
        "pull" => pulled(style, &view(answer)?)?,
        "request" => {
            let mut out = io::stdout().lock();
            for reply in &view::<RepliesView>(answer)?.replies {
                style.write(&mut out, reply)?;
            }
        }
        _ => table::print_json(answer)?,
    }
    Ok(())
}

fn connected(name: &str, answer: &Value) {
    let topics = answer["topics"].as_array().into_iter().flatten();
    let topics: Vec<_> = topics.filter_map(Value::as_str).map(printable).collect();
    match answer["restored"] == true {
        true => eprintln!("session '{name}' restored, with topics: {}", topics.join(", ")),
        false => eprintln!("session '{name}' begins"),
    }
}

fn pulled(style: Style, pulled: &PullView) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for message in &pulled.messages {
        style.write(&mut out, message)?;
    }
    pulled.gaps.iter().for_each(|gap| eprintln!("{}", gap_note(gap)));
    for topic in &pulled.topics_deleted {
        eprintln!("peer: topic '{}' was deleted", printable(topic));
    }
    if pulled.remaining > 0 {
        eprintln!("{} more wait", pulled.remaining);
    }
    Ok(())
}

fn view<T: DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    serde_json::from_value(answer.clone())
        .map_err(|error| Failure::failed(format!("the answer is not one of a peer: {error}")))
}
