//! Why a request on the control port was not done: a code for programs, a sentence for people.

use serde::{Deserialize, Serialize};
use tidings_proto::peer::event::CommandError;

use crate::error::Error;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// When to try again, with [`Code::Busy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u32>,
}

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The line is not JSON.
    BadJson,
    /// A field is missing or wrong.
    BadRequest,
    /// There is no such command.
    UnknownCommand,
    /// The text is not a topic name, or not a filter.
    BadTopic,
    /// Nobody created the topic, or its host deleted it.
    TopicNotFound,
    /// Somebody hosts the topic already.
    TopicExists,
    /// Only the host of a topic, or of a name, may do that.
    NotHost,
    /// The session does not receive the topic.
    NotSubscribed,
    /// Somebody is connected with the name of that session, or another peer has that name.
    NameTaken,
    /// Nobody has that name.
    NameNotFound,
    /// The connection has no named session, or has one already.
    NotConnected,
    /// The disk does not take what must be kept.
    Disk,
    /// Fewer than a majority of the seeds answered.
    NoQuorum,
    /// The seeds refuse: no such peer is listed, or it is not gone.
    Refused,
    /// The message or the line is too large.
    TooLarge,
    /// A limit is reached.
    Limit,
    /// Too much waits already; try again.
    Busy,
    /// No answer in time; it may still be done.
    Timeout,
    /// This peer cannot do that.
    NotSupported,
    /// The peer leaves the cluster.
    Leaving,
    /// A bug.
    Internal,
    /// A code that this version does not know.
    #[serde(other)]
    Other,
}

impl Problem {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_ms: None }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (code, retry_ms) = match &error {
            Error::BadTopic(_) | Error::BadFilter(_) => (Code::BadTopic, None),
            Error::Refused(refused) => code_of(refused),
            Error::Busy(_) => (Code::Busy, Some(10)),
            Error::Timeout(_) | Error::NoReply { .. } => (Code::Timeout, None),
            Error::NotSubscribed(_) => (Code::NotSubscribed, None),
            Error::NameTaken(_) | Error::NameReserved { .. } => (Code::NameTaken, None),
            Error::NameNotFound(_) => (Code::NameNotFound, None),
            Error::NotNameHost { .. } => (Code::NotHost, None),
            Error::BadName
            | Error::BadSessionName { .. }
            | Error::NotDurable(_)
            | Error::BadHeaders(_)
            | Error::NoReplyWanted => (Code::BadRequest, None),
            Error::Limit { .. } => (Code::Limit, None),
            Error::Disk(_) => (Code::Disk, None),
            Error::Stopped => (Code::Leaving, None),
            Error::Internal => (Code::Internal, None),
        };
        Self { code, message: error.to_string(), retry_ms }
    }
}

fn code_of(refused: &CommandError) -> (Code, Option<u32>) {
    let code = match refused {
        CommandError::TopicNotFound(_) => Code::TopicNotFound,
        CommandError::TopicExists { .. } => Code::TopicExists,
        CommandError::NotHost { .. } => Code::NotHost,
        CommandError::NoQuorum { .. } => Code::NoQuorum,
        CommandError::Limit { .. } => Code::Limit,
        CommandError::TooLarge { .. } => Code::TooLarge,
        CommandError::Busy { retry_ms, .. } => return (Code::Busy, Some(*retry_ms)),
        CommandError::Refused(_) => Code::Refused,
        CommandError::Leaving => Code::Leaving,
    };
    (code, None)
}
