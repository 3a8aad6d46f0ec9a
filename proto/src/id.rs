//! Names of things: nodes, lives of nodes, topics, streams, links.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A node's Ed25519 public key: the identity is what the handshake proved, nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 32]);

/// The order of the bytes. The first eight tell two nodes apart without a call: whatever is found
/// by node or by stream is found so, a dozen times for each batch.
impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.prefix().cmp(&other.prefix()).then_with(|| self.0[8..].cmp(&other.0[8..]))
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl NodeId {
    /// The first eight bytes as an integer: enough to spread nodes over buckets.
    pub fn prefix(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..5].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not a node id: 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a node id is 64 hexadecimal digits")]
pub struct NodeIdError;

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        if text.len() != 64 || !text.is_ascii() {
            return Err(NodeIdError);
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| NodeIdError)?;
        }
        Ok(Self(bytes))
    }
}

/// Which life of a node this is. It rises at every start and after every refuted death, so a
/// returned node is newer than any report of its death.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The next life.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The longest topic name, in bytes of UTF-8 (design limit; MQTT allows 65,535).
pub const TOPIC_BYTES_MAX: usize = 255;

/// The internal topic that contains every peer, so that each has neighbours.
pub const OVERLAY_TOPIC: &str = "$overlay";

/// The register of the set of seeds: no topic, but named like one.
pub const SEEDS_REGISTER: &str = "$seeds";

/// Topics that begin so carry the replies to requests of the peer whose id follows. That peer
/// hosts its own; filters do not select them.
pub const REPLY_PREFIX: &str = "$reply/";

/// Topics that begin so are the registers of names that peers reserve. Its host has the name;
/// nothing is published there, and filters do not select them.
pub const NAME_PREFIX: &str = "$name/";

/// The longest name that a peer may reserve, in bytes of UTF-8: as long as that of a node.
pub const RESERVED_NAME_BYTES_MAX: usize = 64;

/// A topic name: 1 to 255 bytes of UTF-8, levels split by `/`, without wildcards or NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Why a text is not a topic name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopicError {
    /// No byte at all.
    #[error("a topic name has at least one character")]
    Empty,
    /// Longer than [`TOPIC_BYTES_MAX`].
    #[error("a topic name has at most {TOPIC_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// `+` and `#` select topics in filters; NUL and other control characters break logs.
    #[error("a topic name may not contain {0:?}")]
    Character(char),
    /// Names that begin with `$` belong to the system, except for topics of replies.
    #[error("topic names that begin with '$' are reserved")]
    Reserved,
}

impl Topic {
    /// A topic that applications may use.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub fn new(name: &str) -> Result<Self, TopicError> {
        let topic = Self::any(name)?;
        let is_reserved = topic.is_internal() || topic.reserved_name().is_some();
        if is_reserved { Err(TopicError::Reserved) } else { Ok(topic) }
    }

    /// The topic of the replies to requests of `node`.
    pub fn replies_to(node: NodeId) -> Self {
        Self(Arc::from(format!("{REPLY_PREFIX}{node}")))
    }

    /// The peer whose requests are replied to in this topic; `None` for all other topics.
    pub fn requester(&self) -> Option<NodeId> {
        self.0.strip_prefix(REPLY_PREFIX)?.parse().ok()
    }

    /// The register of a name; `None` when no peer may reserve it: it has 1 to
    /// [`RESERVED_NAME_BYTES_MAX`] bytes, and what a topic's name may not contain neither may it.
    pub fn of_name(name: &str) -> Option<Self> {
        let topic = Self::any(&format!("{NAME_PREFIX}{name}")).ok()?;
        topic.reserved_name().is_some().then_some(topic)
    }

    /// The name that is reserved in this register; `None` for all other topics.
    pub fn reserved_name(&self) -> Option<&str> {
        let name = self.0.strip_prefix(NAME_PREFIX)?;
        (1..=RESERVED_NAME_BYTES_MAX).contains(&name.len()).then_some(name)
    }

    /// The topic that contains every peer.
    pub fn overlay() -> Self {
        Self(Arc::from(OVERLAY_TOPIC))
    }

    /// The name of the register in which the seeds agree on who the seeds are.
    pub fn seeds() -> Self {
        Self(Arc::from(SEEDS_REGISTER))
    }

    /// Whether the system, not an application, owns this topic.
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('$') && self.requester().is_none() && self.reserved_name().is_none()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn any(name: &str) -> Result<Self, TopicError> {
        if name.is_empty() {
            return Err(TopicError::Empty);
        }
        if name.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong(name.len()));
        }
        match name.chars().find(|&c| c == '+' || c == '#' || c.is_control()) {
            Some(c) => Err(TopicError::Character(c)),
            None => Ok(Self(Arc::from(name))),
        }
    }
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TopicName)
    }
}

/// Reads a topic from the text that it is in, without a copy between.
struct TopicName;

impl Visitor<'_> for TopicName {
    type Value = Topic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a topic name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Topic, E> {
        Topic::any(name).map_err(E::custom)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who speaks in a stream: one life of one publisher. With a topic it names a stream, whose
/// messages are numbered without gaps from 1.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Origin {
    /// The publisher.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
}

/// One connection, as numbered by the driver. Never reused within a run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct LinkId(pub u64);

/// One dial, as numbered by the machine that asked for it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct DialId(pub u64);

/// One request of the application or of the protocol, echoed in the answer.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct RequestId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_in_the_order_of_their_bytes() {
        let node = |at: usize, byte| {
            let mut bytes = [7; 32];
            bytes[at] = byte;
            NodeId(bytes)
        };
        for at in [0, 7, 8, 31] {
            let pair = [node(at, 6), node(at, 200)];
            assert_eq!(pair[0].cmp(&pair[1]), pair[0].0.cmp(&pair[1].0));
            assert_eq!(pair[1].cmp(&pair[0]), Ordering::Greater);
            assert_eq!(pair[0].cmp(&pair[0].clone()), Ordering::Equal);
        }
    }

    #[test]
    fn topic_names_are_checked() {
        assert!(Topic::new("sport/football").is_ok());
        assert_eq!(Topic::new(""), Err(TopicError::Empty));
        assert_eq!(Topic::new(&"x".repeat(300)), Err(TopicError::TooLong(300)));
        assert_eq!(Topic::new("a/+/b"), Err(TopicError::Character('+')));
        assert_eq!(Topic::new("a\0b"), Err(TopicError::Character('\0')));
        assert_eq!(Topic::new("$overlay"), Err(TopicError::Reserved));
        assert!(Topic::overlay().is_internal());
    }

    #[test]
    fn a_topic_of_replies_names_its_requester() {
        let id = NodeId([0xab; 32]);
        let topic = Topic::replies_to(id);
        assert_eq!(topic.requester(), Some(id));
        assert!(!topic.is_internal());
        assert_eq!(Topic::new(topic.as_str()), Ok(topic));
        assert_eq!(Topic::new("$reply/ada"), Err(TopicError::Reserved));
        assert_eq!(Topic::new("reply/ada").map(|topic| topic.requester()), Ok(None));
    }

    #[test]
    fn a_name_has_a_register_that_is_no_topic_for_applications() {
        let register = Topic::of_name("team/ada").expect("may be reserved");
        assert_eq!(register.as_str(), "$name/team/ada");
        assert_eq!(register.reserved_name(), Some("team/ada"));
        assert!(!register.is_internal());
        assert_eq!(Topic::new(register.as_str()), Err(TopicError::Reserved));
        let longest = "é".repeat(RESERVED_NAME_BYTES_MAX / 2);
        assert!(Topic::of_name(&longest).is_some());
        for name in ["", "a+", "#", "a\nb", &format!("{longest}x")] {
            assert_eq!(Topic::of_name(name), None, "{name:?}");
        }
        let too_long = Topic::any(&format!("{NAME_PREFIX}{longest}x")).expect("legal");
        assert!(too_long.is_internal(), "no record of it is legal");
        assert_eq!(Topic::overlay().reserved_name(), None);
    }

    #[test]
    fn node_id_round_trips_as_text() {
        let id = NodeId([0xab; 32]);
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
        assert_eq!("zz".parse::<NodeId>(), Err(NodeIdError));
        assert_eq!("é".repeat(32).parse::<NodeId>(), Err(NodeIdError));
        assert_eq!(format!("{id:?}"), "ababababab");
    }
}
