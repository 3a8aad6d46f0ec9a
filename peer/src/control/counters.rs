//! What `status` shows of streams.

use serde::{Deserialize, Serialize};
use tidings_proto::peer::status::StreamStatus;

/// What was received of one publisher in one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamView {
    /// The topic.
    pub topic: String,
    /// The publisher.
    pub origin: String,
    /// The publisher's life.
    pub incarnation: u64,
    /// The highest sequence number up to which nothing is missing.
    pub seq: u64,
    /// The highest sequence number that is known to exist.
    pub known_seq: u64,
    /// Messages that are known to exist and are not here.
    pub missing: u64,
    /// Batches held back because an earlier one is missing.
    pub held_batches: usize,
    /// Their bytes.
    pub held_bytes: usize,
    /// The smoothed time from publication to receipt in microseconds, by the clocks of both
    /// nodes, so that it may be negative; absent before the first receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_us: Option<i64>,
}

impl From<&StreamStatus> for StreamView {
    fn from(stream: &StreamStatus) -> Self {
        Self {
            topic: stream.topic.to_string(),
            origin: stream.origin.node.to_string(),
            incarnation: stream.origin.incarnation.0,
            seq: stream.high,
            known_seq: stream.known_high,
            missing: stream.missing,
            held_batches: stream.held_batches,
            held_bytes: stream.held_bytes,
            lag_us: stream.lag_us,
        }
    }
}
