//! Why something could not be done, by whose fault it is.

use std::time::Duration;

use thiserror::Error;
use tidings_proto::filter::FilterError;
use tidings_proto::id::{RESERVED_NAME_BYTES_MAX, TopicError};
use tidings_proto::peer::event::CommandError;
use tidings_proto::wire::headers::HeadersError;
use tidings_proto::{NodeId, Topic};

/// Why a request to a running peer failed. Nothing was changed, except after
/// [`Error::Timeout`], where it is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a topic name.
    #[error(transparent)]
    BadTopic(#[from] TopicError),
    /// The text is not a topic filter.
    #[error(transparent)]
    BadFilter(#[from] FilterError),
    /// The peer, or the cluster, refused.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The texts are no headers of a message.
    #[error(transparent)]
    BadHeaders(#[from] HeadersError),
    /// Nobody replied in time; somebody may still.
    #[error("no reply after {timeout:?}; the request went out on {reached} links")]
    NoReply {
        /// How long it was waited for.
        timeout: Duration,
        /// On how many links the request went out.
        reached: u32,
    },
    /// The message does not say where replies go.
    #[error("the message asks for no reply: it has no header 'reply_to'")]
    NoReplyWanted,
    /// Too many publications or requests of this process wait already.
    #[error("busy: {0} wait already, try again")]
    Busy(&'static str),
    /// No answer in time; it may still be done.
    #[error("no answer after {} s", .0.as_secs())]
    Timeout(Duration),
    /// The session, or the peer, does not receive the topic, or any.
    #[error("{}", not_subscribed(.0.as_ref()))]
    NotSubscribed(Option<Topic>),
    /// Somebody is connected with that name.
    #[error("session '{0}' is in use by another connection")]
    NameTaken(String),
    /// A name that a peer may not reserve.
    #[error(
        "a name has 1 to {RESERVED_NAME_BYTES_MAX} bytes, without '+', '#' or control characters"
    )]
    BadName,
    /// Nobody has that name, or who had it gave it up.
    #[error("Name '{0}' not found")]
    NameNotFound(String),
    /// Another peer has that name.
    #[error("Name '{name}' is taken by {host}")]
    NameReserved {
        /// The name.
        name: String,
        /// Who has it.
        host: NodeId,
    },
    /// Only who has a name may give it up.
    #[error("Name '{name}' is that of {host}, only that peer can give it up")]
    NotNameHost {
        /// The name.
        name: String,
        /// Who has it.
        host: NodeId,
    },
    /// The name of a session has 1 to so many bytes.
    #[error("the name of a session has 1 to {limit} bytes")]
    BadSessionName {
        /// The longest.
        limit: usize,
    },
    /// A limit of this process is reached.
    #[error("limit reached: {what} (at most {limit})")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The log of a topic can be kept on disk only if its creator made it durable.
    #[error("Topic '{0}' is not durable: its creator says so with \"durable\":true")]
    NotDurable(Topic),
    /// The disk did not take it.
    #[error("the disk does not take it: {0}")]
    Disk(String),
    /// The peer has left or was stopped.
    #[error("the peer has stopped")]
    Stopped,
    /// The protocol broke its own contract: a bug.
    #[error("internal error: an answer does not fit its request")]
    Internal,
}

impl Error {
    /// Whether the same may go well in a while: nobody can be asked now, or too many ask.
    pub(crate) fn passes(&self) -> bool {
        matches!(
            self,
            Self::Refused(CommandError::NoQuorum { .. } | CommandError::Busy { .. })
                | Self::Timeout(_)
                | Self::Busy(_)
        )
    }
}

fn not_subscribed(topic: Option<&Topic>) -> String {
    match topic {
        Some(topic) => format!("not subscribed to '{topic}'"),
        None => "not subscribed to any topic".to_owned(),
    }
}

/// Why a peer did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Its data directory cannot be used, for instance because another process uses it.
    #[error(transparent)]
    Data(#[from] tidings_runtime::DataError),
    /// What it kept in its data directory cannot be used.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// What it kept cannot be taken up again.
    #[error("what the peer kept cannot be taken up: {0}")]
    Restore(Error),
    /// Its address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] tidings_runtime::listen::BindError),
    /// It is not known where others dial it, or there is no randomness.
    #[error(transparent)]
    Identity(#[from] tidings_runtime::identity::IdentityError),
}
