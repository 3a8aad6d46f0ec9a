//! Which of many streams are worth showing.

use std::cmp::Reverse;

use super::status::StreamStatus;
use super::streams::Stream;
use super::topics::Topics;
use crate::id::{Origin, Topic};

/// Streams looked at: as many as one topic remembers by default. A peer with more shows some.
const LOOKED_AT_MAX: usize = 65_536;

/// The streams of all topics but the protocol's own: those with holes first, then those with
/// the greatest lag; at most `limit`, and how many there are in all.
pub(crate) fn streams(topics: &Topics, limit: usize) -> (usize, Vec<StreamStatus>) {
    let shown = || topics.local().filter(|(topic, _)| !topic.is_internal());
    let total = shown().map(|(_, local)| local.streams.len()).sum();
    let all = shown().flat_map(|(topic, local)| {
        local.streams.iter().map(move |(origin, stream)| (topic, origin, stream))
    });
    let mut all: Vec<_> = all.take(LOOKED_AT_MAX).collect();
    // Stable: what is alike stays in the order of topics and origins.
    all.sort_by_cached_key(|(_, _, stream)| {
        Reverse((stream.missing_count(), stream.held().0, stream.lag.micros()))
    });
    all.truncate(limit);
    (total, all.into_iter().map(|(topic, origin, stream)| show(topic, origin, stream)).collect())
}

fn show(topic: &Topic, origin: &Origin, stream: &Stream) -> StreamStatus {
    let (held_batches, held_bytes) = stream.held();
    StreamStatus {
        topic: topic.clone(),
        origin: *origin,
        high: stream.high(),
        known_high: stream.known_high(),
        held_batches,
        held_bytes,
        missing: stream.missing_count(),
        lag_us: stream.lag.micros(),
    }
}
