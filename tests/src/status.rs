//! What a peer says of itself in numbers.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::control::Control;

/// The answer to `status`.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

impl Status {
    /// Asks a peer.
    #[track_caller]
    pub fn of(control: &mut Control) -> Self {
        Self(control.ok(&json!({"command": "status"})))
    }

    /// A counter.
    ///
    /// # Panics
    /// When there is none of that name.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        self.number(&["counters", name])
    }

    /// Frames of a kind that were sent and received.
    ///
    /// # Panics
    /// When there is no such kind.
    #[track_caller]
    pub fn frames(&self, kind: &str) -> (u64, u64) {
        let of = |direction| self.number(&["traffic", kind, direction, "frames"]);
        (of("sent"), of("received"))
    }

    /// The number at a path.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn number(&self, path: &[&str]) -> u64 {
        let found = path.iter().try_fold(&self.0, |value, key| value.get(key));
        found.and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path:?} in {}", self.0))
    }

    /// Up to where a stream is complete, and how many of its messages are missing; `None` when it
    /// is not known.
    pub fn stream(&self, topic: &str, origin: &str) -> Option<(u64, u64)> {
        let streams = self.0["streams"].as_array()?;
        let found = streams.iter().find(|s| s["topic"] == topic && s["origin"] == origin)?;
        Some((found["seq"].as_u64()?, found["missing"].as_u64()?))
    }

    /// The other ends' addresses of links that the node with this id dialled.
    pub fn links_from(&self, node: &str) -> Vec<SocketAddr> {
        let links = self.0["links"].as_array().map_or(&[][..], Vec::as_slice);
        let dialled = links.iter().filter(|l| l["node"] == node && l["outbound"] == false);
        dialled.filter_map(|link| link["remote"].as_str()?.parse().ok()).collect()
    }

    /// The id of the node, among these, from which most bytes were received.
    pub fn main_source<'a>(&self, nodes: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let links = self.0["links"].as_array()?;
        let received = |node: &str| {
            let link = links.iter().find(|link| link["node"] == node)?;
            link["bytes_received"].as_u64()
        };
        nodes.filter(|node| received(node).is_some()).max_by_key(|node| received(node))
    }
}
