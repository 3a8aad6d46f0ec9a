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
pub(crate) fn streams<'a>(topics: &'a Topics, limit: usize) -> (usize, Vec<StreamStatus>) {
    let shown = || topics.local().filter(|(topic, _)| !topic.is_internal());
    let total = shown().map(|(_, local)| local.streams.len()).sum();
    let all = shown().flat_map(|(topic, local)| {
        local.streams.iter().map(move |(origin, stream)| (topic, origin, stream))
    });
    let rank = |(number, (topic, origin, stream)): (usize, (_, _, &'a Stream))| {
        let urgency = (stream.missing_count(), stream.held().0, stream.lag.micros());
        // What is alike stays in the order of topics and origins.
        ((Reverse(urgency), number), (topic, origin, stream))
    };
    let mut ranked: Vec<_> = all.take(LOOKED_AT_MAX).enumerate().map(rank).collect();
    // Of many thousands a few are wanted: those are found first, and only they are sorted.
    if ranked.len() > limit {
        ranked.select_nth_unstable_by_key(limit, |(rank, _)| *rank);
        ranked.truncate(limit);
    }
    ranked.sort_unstable_by_key(|(rank, _)| *rank);
    let statuses =
        ranked.into_iter().map(|(_, (topic, origin, stream))| show(topic, origin, stream));
    (total, statuses.collect())
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
