//! Lines to requests, field by field so that an error names the field.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tidings_proto::wire::headers::{Headers, RETAIN};
use tidings_proto::wire::record::{RETENTION_AGE_MS_MAX, RETENTION_BYTES_MAX, TopicPolicy};

use super::start;
use super::subscribe::{Retention, parse_received};
use super::{
    Ask, BUFFER_DEFAULT, BUFFER_MAX, Body, Keep, LIST_DEFAULT, LIST_MAX, List, POSITIONS_MAX,
    PUBLISH_WAIT_MS_MAX, PULL_DEFAULT, PULL_MAX, PULL_WAIT_MS_MAX, Publish, Pull, REPLIES_MAX,
    Received, Request, Subscribe, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX, Unread,
};
use crate::control::error::{Code, Problem};
use crate::subscribe::Policy;

/// A line, read as far as it could be.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// To be echoed as it came.
    pub(crate) id: Option<Box<RawValue>>,
    /// What is asked, or what is wrong with it.
    pub(crate) request: Result<Request, Problem>,
}

/// Reads a line.
pub(crate) fn parse(line: &[u8]) -> Parsed {
    let fields: HashMap<String, &RawValue> = match serde_json::from_slice(line) {
        Ok(fields) => fields,
        Err(error) => return Parsed { id: None, request: Err(not_an_object(line, &error)) },
    };
    let id = fields.get("id").map(|&id| id.to_owned());
    Parsed { id, request: request(&Fields(fields)) }
}

fn not_an_object(line: &[u8], error: &serde_json::Error) -> Problem {
    // Values that are skipped are not checked for UTF-8.
    let json = std::str::from_utf8(line)
        .is_ok_and(|line| serde_json::from_str::<serde::de::IgnoredAny>(line).is_ok());
    match json {
        true => bad_request("a request is a JSON object"),
        false => Problem::new(Code::BadJson, format!("not JSON: {error}")),
    }
}

fn request(fields: &Fields<'_>) -> Result<Request, Problem> {
    let command: String = fields.required("command", "a string")?;
    Ok(match command.to_ascii_lowercase().as_str() {
        "create_topic" => create_topic(fields)?,
        "delete_topic" => Request::DeleteTopic { topic: fields.topic()? },
        "list_topics" => Request::ListTopics(fields.list()?),
        "topic_info" => Request::TopicInfo { topic: fields.topic()? },
        "register" => Request::Register {
            name: fields.name()?,
            exist_ok: fields.optional("exist_ok", "true or false")?.unwrap_or(true),
        },
        "unregister" => Request::Unregister { name: fields.name()? },
        "names" => Request::Names(fields.list()?),
        "name_info" => Request::NameInfo { name: fields.name()? },
        "subscribe" => Request::Subscribe(fields.subscribe()?),
        "unsubscribe" => Request::Unsubscribe { topic: fields.topic_or_filter()? },
        "publish" => Request::Publish(fields.publish()?),
        "request" => Request::Request(fields.ask()?),
        "pull" => Request::Pull(fields.pull()?),
        "peers" => Request::Peers(fields.list()?),
        "forget" => {
            Request::Forget { peer: fields.required("peer", "the id, address or name of a peer")? }
        }
        "seeds" => Request::Seeds,
        "status" => Request::Status,
        "ping" => Request::Ping,
        "help" => Request::Help,
        "connect" => fields.connect()?,
        "disconnect" => Request::Disconnect,
        "ack" => Request::Ack {
            topic: fields.topic()?,
            pos: fields.required("pos", "the pos of a message")?,
        },
        "sessions" => {
            let List { offset, limit, .. } = fields.list()?;
            Request::Sessions { offset, limit }
        }
        _ => {
            // A command is echoed only as far as a person would read it.
            let shown: String = command.chars().take(64).collect();
            let message = format!("unknown command '{shown}'; 'help' lists all");
            return Err(Problem::new(Code::UnknownCommand, message));
        }
    })
}

fn create_topic(fields: &Fields<'_>) -> Result<Request, Problem> {
    let durable = fields.optional("durable", "true or false")?.unwrap_or(false);
    let what = "an object with 'bytes' and 'age_ms', both whole numbers and optional";
    let kept: Option<Retention> = fields.optional("retention", what)?;
    let Retention { bytes, age_ms } = kept.unwrap_or(Retention { bytes: None, age_ms: None });
    let policy = TopicPolicy { retention_bytes: bytes, retention_age_ms: age_ms, durable };
    if !policy.is_legal() || bytes == Some(0) || age_ms == Some(0) {
        let message = format!(
            "field 'retention': bytes from 1 to {RETENTION_BYTES_MAX}, age_ms from 1 to \
             {RETENTION_AGE_MS_MAX}"
        );
        return Err(bad_request(message));
    }
    let exist_ok = fields.optional("exist_ok", "true or false")?.unwrap_or(false);
    Ok(Request::CreateTopic { topic: fields.topic()?, exist_ok, policy: Keep(policy) })
}

struct Fields<'a>(HashMap<String, &'a RawValue>);

impl Fields<'_> {
    /// A field's value; `null` is the same as leaving it out.
    fn optional<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map_err(|_| bad_request(format!("field '{name}' must be {what}")))
    }

    fn required<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let value = self.optional(name, what)?;
        value.ok_or_else(|| bad_request(format!("field '{name}' is missing: {what}")))
    }

    /// A whole number of an allowed range.
    fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let what = format!("a whole number from {min} to {max}");
        let value: Option<u64> = self.optional(name, &what)?;
        match value {
            Some(number) if !(min..=max).contains(&number) => {
                Err(bad_request(format!("field '{name}' must be {what}")))
            }
            value => Ok(value),
        }
    }

    fn number_u32(&self, name: &str, min: u32, max: u32) -> Result<Option<u32>, Problem> {
        let number = self.number(name, min.into(), max.into())?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    fn name(&self) -> Result<String, Problem> {
        self.required("name", "a string")
    }

    fn topic(&self) -> Result<String, Problem> {
        self.required("topic", "a string")
    }

    /// The name of a topic, or a filter, which stands in either field.
    fn optional_topic_or_filter(&self) -> Result<Option<String>, Problem> {
        let topic: Option<String> = self.optional("topic", "a string")?;
        let filter: Option<String> = self.optional("filter", "a string")?;
        match (topic, filter) {
            (Some(_), Some(_)) => Err(bad_request("give 'topic' or 'filter', not both")),
            (topic, filter) => Ok(topic.or(filter)),
        }
    }

    fn topic_or_filter(&self) -> Result<String, Problem> {
        let missing = || bad_request("field 'topic' is missing: a string, or 'filter'");
        self.optional_topic_or_filter()?.ok_or_else(missing)
    }

    fn body(&self) -> Result<Body, Problem> {
        let text: Option<String> = self.optional("message", "a string")?;
        let encoded: Option<String> = self.optional("message_base64", "a string")?;
        match (text, encoded) {
            (Some(text), None) => Ok(Body(text.into())),
            (None, Some(encoded)) => BASE64
                .decode(encoded)
                .map(|bytes| Body(bytes.into()))
                .map_err(|e| bad_request(format!("field 'message_base64' is not base64: {e}"))),
            (Some(_), Some(_)) => Err(bad_request("give 'message' or 'message_base64', not both")),
            (None, None) => {
                Err(bad_request("field 'message' is missing: a string, or 'message_base64'"))
            }
        }
    }

    /// Texts by name, within the limits of a message's headers.
    fn headers(&self) -> Result<Headers, Problem> {
        let what = "an object of strings, such as {\"key\":\"value\"}";
        let headers: Option<BTreeMap<String, String>> = self.optional("headers", what)?;
        Headers::new(headers.unwrap_or_default())
            .map_err(|error| bad_request(format!("field 'headers': {error}")))
    }

    fn publish(&self) -> Result<Publish, Problem> {
        let mut headers = self.headers()?;
        if self.optional("retain", "true or false")?.unwrap_or(false) {
            let with = headers.with(RETAIN, "true");
            headers = with.map_err(|error| bad_request(format!("field 'headers': {error}")))?;
        }
        Ok(Publish {
            topic: self.topic()?,
            body: self.body()?,
            headers,
            wait_ms: self.number("wait_ms", 0, PUBLISH_WAIT_MS_MAX)?,
        })
    }

    fn ask(&self) -> Result<Ask, Problem> {
        let timeout_ms = self.number("timeout_ms", 1, TIMEOUT_MS_MAX)?;
        Ok(Ask {
            topic: self.topic()?,
            body: self.body()?,
            headers: self.headers()?,
            timeout_ms: timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT),
            replies: self.number_u32("replies", 1, REPLIES_MAX)?.unwrap_or(1),
        })
    }

    fn subscribe(&self) -> Result<Subscribe, Problem> {
        let buffer = self.number_u32("buffer", 1, BUFFER_MAX)?;
        let policy: Option<String> =
            self.optional("policy", "\"block-retention\" or \"drop-oldest\"")?;
        let policy = match (policy.as_deref(), buffer) {
            (None | Some("block-retention"), None) => Policy::BlockRetention,
            (Some("drop-oldest"), buffer) => {
                Policy::DropOldest { messages: buffer.unwrap_or(BUFFER_DEFAULT) as usize }
            }
            (None | Some("block-retention"), Some(_)) => {
                return Err(bad_request("field 'buffer' goes with \"policy\":\"drop-oldest\""));
            }
            (Some(_), _) => {
                let what = "field 'policy' must be \"block-retention\" or \"drop-oldest\"";
                return Err(bad_request(what));
            }
        };
        let received = self.received_streams()?;
        Ok(Subscribe {
            topic: self.topic_or_filter()?,
            stream: self.optional("stream", "true or false")?.unwrap_or(false),
            from: self.optional("from", start::ALLOWED)?.unwrap_or_default(),
            policy: Unread(policy),
            durable: self.optional("durable", "true or false")?.unwrap_or(false),
            received,
        })
    }

    /// How far streams were received, by topic.
    fn received_streams(&self) -> Result<Received, Problem> {
        let what = "an object of lists by topic, such as \
                    {\"Sports\":[{\"origin\":\"<id>\",\"incarnation\":3,\"seq\":9}]}";
        let received: Received = self.optional("received", what)?.unwrap_or_default();
        if parse_received(&received).is_none() {
            return Err(bad_request(format!("field 'received' must be {what}")));
        }
        if received.values().map(Vec::len).sum::<usize>() > POSITIONS_MAX {
            return Err(bad_request(format!(
                "field 'received' has at most {POSITIONS_MAX} positions"
            )));
        }
        Ok(received)
    }

    fn connect(&self) -> Result<Request, Problem> {
        let what = "an object of numbers, such as {\"Sports\":12}";
        let received: Option<BTreeMap<String, u64>> = self.optional("received", what)?;
        Ok(Request::Connect { name: self.name()?, received: received.unwrap_or_default() })
    }

    fn pull(&self) -> Result<Pull, Problem> {
        Ok(Pull {
            topic: self.optional_topic_or_filter()?,
            max: self.number_u32("max", 1, PULL_MAX)?.unwrap_or(PULL_DEFAULT),
            wait_ms: self.number("wait_ms", 0, PULL_WAIT_MS_MAX)?.unwrap_or(0),
        })
    }

    fn list(&self) -> Result<List, Problem> {
        Ok(List {
            filter: self.optional("filter", "a string")?.unwrap_or_default(),
            offset: self.number_u32("offset", 0, u32::MAX)?.unwrap_or(0),
            limit: self.number_u32("limit", 1, LIST_MAX)?.unwrap_or(LIST_DEFAULT),
        })
    }
}

fn bad_request(message: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, message)
}
