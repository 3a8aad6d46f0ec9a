//! The message that a topic retains: the last one that was published with the header
//! [`RETAIN`](crate::wire::headers::RETAIN). Whoever subscribes later gets it first.
//!
//! Such a message is alone in its batch, so keeping the batch keeps nothing else.

use core::time::Duration;
use std::sync::Arc;

use crate::time::Instant;
use crate::wire::batch::Batch;

/// Messages of two publishers that are as close have no order that everybody knows: ages are only
/// known so well. What they signed decides then, so that all keep the same one. Guess.
const CLOSE: Duration = Duration::from_secs(1);

/// At most one batch, whatever the limits of retention.
#[derive(Debug, Default)]
pub(crate) struct TopicValue {
    kept: Option<Value>,
}

/// A batch with a retained message.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// The batch.
    pub(crate) batch: Arc<Batch>,
    /// When it was published, as well as known.
    pub(crate) published: Instant,
    /// It takes away what was retained before; it is remembered so that nothing older returns.
    pub(crate) empty: bool,
}

impl Value {
    /// The retained message of a batch, if it has one.
    pub(crate) fn of(batch: &Arc<Batch>, published: Instant) -> Option<Self> {
        let message = batch.retained()?;
        Some(Self { batch: Arc::clone(batch), published, empty: message.body.is_empty() })
    }

    /// Ages decide, not clocks; the order of one publisher is its own.
    fn outranks(&self, other: &Self) -> bool {
        let (new, old) = (self.batch.header(), other.batch.header());
        if new.origin.node == old.origin.node {
            return (new.origin.incarnation, new.first_seq)
                > (old.origin.incarnation, old.first_seq);
        }
        let apart =
            self.published.since(other.published).max(other.published.since(self.published));
        if apart > CLOSE {
            return self.published > other.published;
        }
        (new.published_at_us, new.origin) > (old.published_at_us, old.origin)
    }
}

impl TopicValue {
    /// Whether a batch has a retained message that is newer than the one that is kept.
    pub(crate) fn is_news(&self, batch: &Arc<Batch>, published: Instant) -> bool {
        let value = Value::of(batch, published);
        value.is_some_and(|value| self.kept.as_ref().is_none_or(|kept| value.outranks(kept)))
    }

    /// Keeps the retained message of a batch, if it has one that is newer. Returns whether it is.
    pub(crate) fn offer(&mut self, batch: &Arc<Batch>, published: Instant) -> bool {
        let news = self.is_news(batch, published);
        if news {
            self.kept = Value::of(batch, published);
        }
        news
    }

    /// The newest, also one that took the value away.
    pub(crate) fn newest(&self) -> Option<&Value> {
        self.kept.as_ref()
    }

    /// What a subscriber gets.
    pub(crate) fn current(&self) -> Option<&Value> {
        self.kept.as_ref().filter(|value| !value.empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Signer;
    use crate::id::{Incarnation, NodeId, Origin, Topic};
    use crate::wire::batch::{BatchHeader, Message};
    use crate::wire::headers::RETAIN;

    fn batch(node: u8, seq: u64, at_us: i64, body: &'static str) -> Arc<Batch> {
        let node = NodeId([node; 32]);
        let header = BatchHeader {
            topic: Topic::new("t").expect("legal"),
            origin: Origin { node, incarnation: Incarnation(1) },
            address: "127.0.0.1:1".parse().expect("address"),
            generation: 1,
            first_seq: seq,
            published_at_us: at_us,
            count: 0,
        };
        let mut message = Message::new(body);
        if body != "plain" {
            message.headers = message.headers.with(RETAIN, "true").expect("legal");
        }
        Batch::sign(header, &[message], &Signer::Checksum(node))
    }

    fn newest(value: &TopicValue) -> Option<(u8, u64, bool)> {
        let newest = value.newest()?;
        let origin = newest.batch.header().origin;
        Some((origin.node.0[0], newest.batch.header().first_seq, newest.empty))
    }

    #[test]
    fn the_newest_stays_by_age_and_not_by_clock() {
        let mut value = TopicValue::default();
        let at = Instant::from_millis;
        assert!(!value.offer(&batch(1, 1, 0, "plain"), at(10_000)));
        assert!(value.offer(&batch(1, 2, 9_000_000_000, "a"), at(10_000)));
        assert!(!value.offer(&batch(2, 7, 0, "b"), at(8_000)), "older");
        assert!(value.offer(&batch(2, 8, 0, "c"), at(12_000)), "its clock is wrong");
        assert!(!value.offer(&batch(2, 8, 0, "c"), at(12_000)), "the same");
        assert_eq!(newest(&value), Some((2, 8, false)));
        assert!(!value.offer(&batch(2, 6, 0, "d"), at(99_000)), "a publisher's own order");
    }

    #[test]
    fn what_is_close_is_decided_alike_by_all() {
        let (one, other) = (batch(1, 1, 500, "a"), batch(2, 1, 400, "b"));
        for (first, second) in [(&one, &other), (&other, &one)] {
            let mut value = TopicValue::default();
            value.offer(first, Instant::from_millis(5_000));
            value.offer(second, Instant::from_millis(5_300));
            assert_eq!(newest(&value), Some((1, 1, false)));
        }
    }

    #[test]
    fn an_empty_one_takes_the_value_away() {
        let mut value = TopicValue::default();
        value.offer(&batch(1, 1, 0, "a"), Instant::ZERO);
        assert!(value.current().is_some());
        value.offer(&batch(1, 2, 0, ""), Instant::ZERO);
        assert!(value.current().is_none());
        assert_eq!(newest(&value), Some((1, 2, true)));
        assert!(!value.offer(&batch(1, 1, 0, "a"), Instant::ZERO), "it does not return");
    }
}
