//! From two looks at counters to rates.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tidings::control::{CountView, StatusView, StreamView};

/// What happened between two looks. Rates are per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// The time between the looks.
    pub(crate) interval_ms: u64,
    /// Messages published here.
    pub(crate) published_per_s: f64,
    /// Messages handed to applications.
    pub(crate) delivered_per_s: f64,
    /// Batches received again for each one received for the first time; absent when none was.
    pub(crate) redundancy: Option<f64>,
    /// Trees: grafts and prunes, sent and received.
    pub(crate) tree_changes_per_s: f64,
    /// Batches that had to be asked for.
    pub(crate) repairs_per_s: f64,
    /// Holes that nobody could fill, since the start.
    pub(crate) gaps: u64,
    /// Frames that links shed.
    pub(crate) shed_per_s: f64,
    /// Bytes on all links.
    pub(crate) bytes_sent_per_s: f64,
    /// Bytes on all links.
    pub(crate) bytes_received_per_s: f64,
    /// By what frames are for.
    pub(crate) traffic: BTreeMap<String, KindRate>,
    /// Links with most to send first.
    pub(crate) links: Vec<LinkRate>,
    /// Streams with holes first.
    pub(crate) streams: Vec<StreamView>,
}

/// Frames of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct KindRate {
    pub(crate) frames_sent_per_s: f64,
    pub(crate) bytes_sent_per_s: f64,
    pub(crate) frames_received_per_s: f64,
    pub(crate) bytes_received_per_s: f64,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LinkRate {
    pub(crate) node: String,
    /// The neighbour's name; empty for a seed.
    pub(crate) name: String,
    pub(crate) bytes_sent_per_s: f64,
    pub(crate) bytes_received_per_s: f64,
    pub(crate) queued: CountView,
    /// Frames shed since the link stands.
    pub(crate) shed: u64,
}

impl Rates {
    /// What happened from `before` to `now`. A peer that was restarted in between has counted
    /// from 0 again.
    pub(crate) fn between(before: &StatusView, now: &StatusView, time: Duration) -> Self {
        let restarted = before.incarnation != now.incarnation || before.node != now.node;
        let since = Since { seconds: time.as_secs_f64().max(f64::EPSILON), restarted };
        let counted = |name: &str| {
            let of = |status: &StatusView| status.counters.get(name).copied().unwrap_or(0);
            since.count(of(before), of(now))
        };
        let rate = |names: &[&str]| {
            names.iter().map(|name| counted(name)).sum::<u64>() as f64 / since.seconds
        };
        let first = counted("batches_received");
        let again = counted("batches_duplicate");
        let traffic: BTreeMap<_, _> = kinds(before, now, since).collect();
        Self {
            interval_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            published_per_s: rate(&["published"]),
            delivered_per_s: rate(&["delivered"]),
            redundancy: (first > 0).then(|| again as f64 / first as f64),
            tree_changes_per_s: rate(&[
                "grafts_sent",
                "grafts_received",
                "prunes_sent",
                "prunes_received",
            ]),
            repairs_per_s: rate(&["repairs", "repairs_late"]),
            gaps: now.counters.get("gaps").copied().unwrap_or(0),
            shed_per_s: rate(&["frames_shed"]),
            bytes_sent_per_s: traffic.values().map(|kind| kind.bytes_sent_per_s).sum(),
            bytes_received_per_s: traffic.values().map(|kind| kind.bytes_received_per_s).sum(),
            traffic,
            links: links(before, now, since),
            streams: now.streams.clone(),
        }
    }
}

/// How counters are compared.
#[derive(Clone, Copy, Debug)]
struct Since {
    seconds: f64,
    restarted: bool,
}

impl Since {
    fn count(self, before: u64, now: u64) -> u64 {
        if self.restarted { now } else { now.saturating_sub(before) }
    }

    fn rate(self, before: u64, now: u64) -> f64 {
        self.count(before, now) as f64 / self.seconds
    }
}

fn kinds<'a>(
    before: &'a StatusView,
    now: &'a StatusView,
    since: Since,
) -> impl Iterator<Item = (String, KindRate)> + 'a {
    now.network.traffic.iter().map(move |(kind, now)| {
        let before = before.network.traffic.get(kind).copied().unwrap_or_default();
        let rate = KindRate {
            frames_sent_per_s: since.rate(before.sent.frames, now.sent.frames),
            bytes_sent_per_s: since.rate(before.sent.bytes, now.sent.bytes),
            frames_received_per_s: since.rate(before.received.frames, now.received.frames),
            bytes_received_per_s: since.rate(before.received.bytes, now.received.bytes),
        };
        (kind.clone(), rate)
    })
}

fn links(before: &StatusView, now: &StatusView, since: Since) -> Vec<LinkRate> {
    let rate = |link: &tidings::control::LinkItem| {
        // A link that is new has carried all of it since the last look.
        let same = |other: &&tidings::control::LinkItem| {
            other.node == link.node && other.remote == link.remote
        };
        let old = before.network.links.iter().find(same);
        let (sent, received) = old.map_or((0, 0), |old| (old.bytes_sent, old.bytes_received));
        let neighbor = now.neighbors.iter().find(|neighbor| neighbor.node == link.node);
        let queued = link.queued.values().fold(CountView::default(), |sum, class| CountView {
            frames: sum.frames + class.frames,
            bytes: sum.bytes + class.bytes,
        });
        LinkRate {
            node: link.node.clone(),
            name: neighbor.map_or_else(String::new, |neighbor| neighbor.name.clone()),
            bytes_sent_per_s: since.rate(sent, link.bytes_sent),
            bytes_received_per_s: since.rate(received, link.bytes_received),
            queued,
            shed: link.shed.values().sum(),
        }
    };
    now.network.links.iter().map(rate).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A status after so many seconds of 10 batches a second.
    pub(crate) fn status(incarnation: u64, seconds: u64) -> StatusView {
        let count = |n: u64| json!({"frames": n, "bytes": 100 * n});
        let n = 10 * seconds;
        let link = json!({
            "node": "ab".repeat(32), "remote": "127.0.0.1:7201", "outbound": true,
            "bytes_sent": 50 * n, "bytes_received": 0,
            "queued": {"own": count(1), "forward": count(2)}, "shed": {"forward": 3},
        });
        let stream = json!({
            "topic": "Sports", "origin": "cd".repeat(32), "incarnation": 1, "seq": n,
            "known_seq": n + 1, "missing": 1, "held_batches": 0, "held_bytes": 0, "lag_us": 1500,
        });
        let status = json!({
            "node": "ef".repeat(32), "name": "mine", "listen": "127.0.0.1:7200",
            "address": "127.0.0.1:7200", "control": null, "http": null,
            "incarnation": incarnation, "joined": true, "seeds_joined": 2, "quorum": 2,
            "neighbors": [], "passive": 0, "topics": [], "version": "0", "uptime_ms": 1000,
            "counters": {"batches_received": n, "batches_duplicate": n / 10, "delivered": n,
                "grafts_sent": seconds, "prunes_received": seconds, "gaps": 4},
            "streams_total": 1, "streams": [stream],
            "traffic": {"push": {"sent": count(n), "received": count(2 * n)}},
            "shed": {}, "unknown_frames": 0, "links_overflowed": 0, "queued": {},
            "links_total": 1, "links": [link],
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn rates_are_of_the_interval() {
        let rates = Rates::between(&status(1, 10), &status(1, 12), Duration::from_secs(2));
        assert_eq!((rates.delivered_per_s, rates.published_per_s), (10.0, 0.0));
        assert_eq!(rates.redundancy, Some(0.1));
        assert_eq!((rates.tree_changes_per_s, rates.gaps), (2.0, 4));
        assert_eq!((rates.bytes_sent_per_s, rates.bytes_received_per_s), (1_000.0, 2_000.0));
        assert_eq!(rates.traffic["push"].frames_received_per_s, 20.0);
        let link = &rates.links[0];
        assert_eq!((link.bytes_sent_per_s, link.queued.frames, link.shed), (500.0, 3, 3));
    }

    #[test]
    fn nothing_received_has_no_redundancy() {
        let rates = Rates::between(&status(1, 5), &status(1, 5), Duration::from_secs(1));
        assert_eq!((rates.redundancy, rates.delivered_per_s), (None, 0.0));
    }

    #[test]
    fn a_restarted_peer_has_counted_from_zero() {
        let rates = Rates::between(&status(1, 100), &status(2, 3), Duration::from_secs(1));
        assert_eq!(rates.delivered_per_s, 30.0);
    }
}
