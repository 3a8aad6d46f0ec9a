//! What a person types, as what is to be done.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::span;

/// The host of a bare port.
const LOCALHOST: &str = "127.0.0.1";
/// The last of an action's arguments takes the rest of the line, as it is.
const REST: &str = "message";

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Nothing: an empty line or a comment.
    Nothing,
    /// Explain all commands.
    Help,
    /// Talk to a peer, in a session of that name if there is one.
    Connect { address: String, name: Option<String> },
    /// End the session and the connection.
    Disconnect,
    /// Do nothing for a while, but show messages.
    Wait(Duration),
    /// Leave.
    Quit,
    /// Ask the peer.
    Ask(Value),
}

/// A command of the peer, and what its arguments are called, in order.
struct Verb {
    name: &'static str,
    arguments: &'static [&'static str],
    /// How many of them it cannot do without.
    needed: usize,
}

const fn verb(name: &'static str, arguments: &'static [&'static str], needed: usize) -> Verb {
    Verb { name, arguments, needed }
}

const VERBS: [Verb; 21] = [
    verb("publish", &["topic", REST], 2),
    verb("subscribe", &["topic", "from"], 1),
    verb("unsubscribe", &["topic"], 1),
    verb("create_topic", &["topic"], 1),
    verb("delete_topic", &["topic"], 1),
    verb("topic_info", &["topic"], 1),
    verb("list_topics", &["filter"], 0),
    verb("register", &["name"], 1),
    verb("unregister", &["name"], 1),
    verb("names", &["filter"], 0),
    verb("name_info", &["name"], 1),
    verb("pull", &["topic", "max"], 0),
    verb("request", &["topic", REST], 2),
    verb("sessions", &[], 0),
    verb("ack", &["topic", "pos"], 2),
    verb("peers", &["filter"], 0),
    verb("forget", &["peer"], 1),
    verb("seeds", &[], 0),
    verb("status", &[], 0),
    verb("ping", &[], 0),
    verb("help", &[], 0),
];

/// What the shell does itself.
const OWN: [&str; 5] = ["connect", "disconnect", "wait", "quit", "exit"];

/// All commands, for completion.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|verb| verb.name).chain(OWN)
}

/// Whether the first argument of a command is the name of a topic.
pub(super) fn takes_topic(command: &str) -> bool {
    let command = command.to_ascii_lowercase();
    let verb = VERBS.iter().find(|verb| verb.name == command);
    verb.is_some_and(|verb| matches!(verb.arguments.first(), Some(&"topic" | &"filter")))
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, and how it is right.
pub(super) fn parse(line: &str) -> Result<Action, String> {
    let line = line.trim_start();
    if line.trim_end().is_empty() || line.starts_with("# ") || line.trim_end() == "#" {
        return Ok(Action::Nothing);
    }
    if line.starts_with('{') {
        let value: Value = serde_json::from_str(line).map_err(|e| format!("not JSON: {e}"))?;
        return Ok(Action::Ask(value));
    }
    let (command, rest) = split(line);
    match command.to_ascii_lowercase().as_str() {
        "-h" | "--help" | "?" => Ok(Action::Help),
        "help" if rest.trim().is_empty() => Ok(Action::Help),
        "quit" | "exit" | "\\q" => Ok(Action::Quit),
        "disconnect" => Ok(Action::Disconnect),
        "connect" => connect(rest),
        "wait" => match span::parse(rest.trim()) {
            Ok(span) => Ok(Action::Wait(span)),
            Err(error) => Err(format!("WAIT <duration>: {error}")),
        },
        verb => ask(verb, rest).map(Action::Ask),
    }
}

fn connect(rest: &str) -> Result<Action, String> {
    const USAGE: &str = "CONNECT <port> [name], such as CONNECT 5555 ada";
    let mut words = rest.split_whitespace();
    let (Some(place), name, None) = (words.next(), words.next(), words.next()) else {
        return Err(format!("how to connect: {USAGE}"));
    };
    let address = match place.parse::<u16>() {
        Ok(0) => return Err(format!("port 0 is no port: {USAGE}")),
        Ok(port) => format!("{LOCALHOST}:{port}"),
        Err(_) if place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            place.to_owned()
        }
        Err(_) => return Err(format!("'{place}' is no port from 1 to 65535: {USAGE}")),
    };
    Ok(Action::Connect { address, name: name.map(str::to_owned) })
}

/// The request for a command and its arguments: those in their order, then `key=value`.
fn ask(command: &str, rest: &str) -> Result<Value, String> {
    let known = VERBS.iter().find(|verb| verb.name == command);
    let arguments = known.map_or(&["topic"][..], |verb| verb.arguments);
    let mut request = Map::new();
    request.insert("command".to_owned(), command.into());
    let mut rest = rest;
    let mut given = 0;
    for (at, &argument) in arguments.iter().enumerate() {
        if argument == REST {
            if !rest.is_empty() {
                request.insert(argument.to_owned(), rest.into());
                given += 1;
            }
            rest = "";
            break;
        }
        let (word, after) = split(rest);
        let needed = known.map_or(0, |verb| verb.needed);
        if word.is_empty() || (at >= needed && word.contains('=')) {
            break;
        }
        request.insert(argument.to_owned(), value(word, argument));
        given += 1;
        rest = after;
    }
    if let Some(verb) = known.filter(|verb| given < verb.needed) {
        return Err(format!("how to {}: {}", verb.name, usage(verb)));
    }
    for option in rest.split_whitespace() {
        let Some((key, text)) = option.split_once('=') else {
            let shown = known.map_or_else(|| format!("{command} [key=value …]"), usage);
            return Err(format!("'{option}' is one too many: {shown}"));
        };
        request.insert(key.to_owned(), value(text, key));
    }
    if command == "subscribe" && !request.contains_key("stream") {
        request.insert("stream".to_owned(), true.into());
    }
    if command == "list_topics" {
        // Those of the system, such as of replies, only when they are asked for.
        request.entry("filter").or_insert_with(|| "#".into());
    }
    Ok(Value::Object(request))
}

fn usage(verb: &Verb) -> String {
    let mut usage = verb.name.to_ascii_uppercase();
    for (at, argument) in verb.arguments.iter().enumerate() {
        match at < verb.needed {
            true => usage += &format!(" <{argument}>"),
            false => usage += &format!(" [{argument}]"),
        }
    }
    usage
}

/// Texts are texts where the peer wants texts, whatever they look like.
fn value(text: &str, name: &str) -> Value {
    match name {
        "topic" | "filter" | "message" | "name" | "peer" => text.into(),
        _ => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

/// The first word, and what follows the one space after it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_families_of_verbs() {
        for (line, request) in [
            ("PUBLISH t some  data ", json!({"topic": "t", "message": "some  data "})),
            ("publish t {\"a\":1}", json!({"topic": "t", "message": "{\"a\":1}"})),
            ("publish 5 6", json!({"topic": "5", "message": "6"})),
            ("Subscribe a/b", json!({"topic": "a/b", "stream": true})),
            ("subscribe a all", json!({"topic": "a", "from": "all", "stream": true})),
            (
                "SUBSCRIBE a new policy=drop-oldest buffer=9 durable=true",
                json!({
                    "topic": "a", "from": "new", "stream": true, "policy": "drop-oldest",
                    "buffer": 9, "durable": true
                }),
            ),
            ("subscribe a stream=false", json!({"topic": "a", "stream": false})),
            ("UNSUBSCRIBE a", json!({"topic": "a"})),
            ("create_topic a exist_ok=true", json!({"topic": "a", "exist_ok": true})),
            ("list_topics", json!({"filter": "#"})),
            ("list_topics sport/# limit=5", json!({"filter": "sport/#", "limit": 5})),
            ("pull a 10 wait_ms=50", json!({"topic": "a", "max": 10, "wait_ms": 50})),
            ("pull wait_ms=50", json!({"wait_ms": 50})),
            ("publish a=b c", json!({"topic": "a=b", "message": "c"})),
            ("forget 127.0.0.1:7209", json!({"peer": "127.0.0.1:7209"})),
            ("register 40000000", json!({"name": "40000000"})),
            ("names team/# limit=5", json!({"filter": "team/#", "limit": 5})),
            ("forget 40000000", json!({"peer": "40000000"})),
            ("ping", json!({})),
            ("fly away speed=3", json!({"topic": "away", "speed": 3})),
        ] {
            let Ok(Action::Ask(mut asked)) = parse(line) else { panic!("{line}") };
            let command = asked.as_object_mut().and_then(|asked| asked.remove("command"));
            let word = line.split(' ').next().map(str::to_ascii_lowercase);
            assert_eq!(command.as_ref().and_then(Value::as_str), word.as_deref());
            assert_eq!(asked, request, "{line}");
        }
        assert_eq!(parse("{\"command\":\"ping\"}"), Ok(Action::Ask(json!({"command": "ping"}))));
    }

    #[test]
    fn what_the_shell_does_itself() {
        let connect = |address: &str, name: Option<&str>| {
            let (address, name) = (address.to_owned(), name.map(str::to_owned));
            Ok(Action::Connect { address, name })
        };
        assert_eq!(parse("CONNECT 5555 ada"), connect("127.0.0.1:5555", Some("ada")));
        assert_eq!(parse("connect [::1]:5555"), connect("[::1]:5555", None));
        for line in ["", "  ", "# a note", "#"] {
            assert_eq!(parse(line), Ok(Action::Nothing), "{line}");
        }
        for line in ["-h", "HELP", "?", "help "] {
            assert_eq!(parse(line), Ok(Action::Help), "{line}");
        }
        assert_eq!(parse("Disconnect"), Ok(Action::Disconnect));
        assert_eq!(parse("exit"), Ok(Action::Quit));
        assert_eq!(parse("wait 1s"), Ok(Action::Wait(Duration::from_secs(1))));
    }

    #[test]
    fn errors_say_how_it_is_right() {
        for (line, text) in [
            ("PUBLISH", "PUBLISH <topic> <message>"),
            ("publish t", "PUBLISH <topic> <message>"),
            ("SUBSCRIBE", "SUBSCRIBE <topic> [from]"),
            ("FORGET", "FORGET <peer>"),
            ("unsubscribe a b", "'b' is one too many"),
            ("CONNECT", "CONNECT <port> [name]"),
            ("CONNECT 70000 x", "no port from 1 to 65535"),
            ("CONNECT 0 x", "port 0 is no port"),
            ("CONNECT 5555 two names", "CONNECT <port> [name]"),
            ("wait long", "a duration is a number"),
            ("{", "not JSON"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(text), "{line}: {error}");
        }
    }
}
