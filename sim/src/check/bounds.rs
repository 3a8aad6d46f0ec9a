//! S6: every view, queue and table is within its cap.

use tidings_proto::peer::status::PeerStatus;
use tidings_proto::seed::status::SeedStatus;
use tidings_proto::wire::batch::BATCH_BYTES_MAX;
use tidings_proto::{Instant, PeerConfig, SeedConfig};

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S6 bounds";

/// Judges a peer by its own status.
pub fn peer(
    verdicts: &mut Verdicts,
    now: Instant,
    node: u32,
    status: &PeerStatus,
    config: &PeerConfig,
) {
    let mut check = |what: &str, value: usize, limit: usize| {
        if value > limit {
            verdicts.report(RULE, now, node, format_args!("{what}: {value}, at most {limit}"));
        }
    };
    check("neighbors", status.neighbors.len(), config.views.links_max);
    check("passive view", status.passive, config.views.passive_max);
    check("joined seeds", status.joined, status.seeds.len());
    check("topics", status.topics.len(), config.topics_max);
    for topic in &status.topics {
        check("streams", topic.streams, config.streams_max);
        // The newest batch is kept even when it alone is too much.
        let retained = config.retention.bytes_max + BATCH_BYTES_MAX;
        check("retained bytes", topic.retained_bytes, retained);
        check("neighbors of a topic", topic.neighbors, status.neighbors.len());
    }
}

/// Judges a seed by its own status.
pub fn seed(
    verdicts: &mut Verdicts,
    now: Instant,
    node: u32,
    status: &SeedStatus,
    config: &SeedConfig,
) {
    let mut check = |what: &str, value: usize, limit: usize| {
        if value > limit {
            verdicts.report(RULE, now, node, format_args!("{what}: {value}, at most {limit}"));
        }
    };
    check("peers", status.peers, config.records_max);
    check("suspects", status.suspects, status.peers);
    check("dead", status.dead, config.records_max);
    check("topics", status.topics, config.records_max);
    check("reachable seeds", status.reachable, status.seeds.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_proto::config::Identity;
    use tidings_proto::crypto::Scheme;
    use tidings_proto::peer::status::TopicStatus;
    use tidings_proto::stats::{PeerStats, SeedStats};
    use tidings_proto::{Incarnation, NodeId, Topic};

    fn identity() -> Identity {
        Identity {
            cluster: "test".into(),
            name: String::new(),
            address: crate::network::address(1),
            incarnation: Incarnation(1),
            scheme: Scheme::Checksum,
            wall_origin_us: 0,
            rng_seed: [0; 32],
        }
    }

    #[test]
    fn fires_on_a_view_and_a_retention_that_are_too_large() {
        let config = PeerConfig::new(identity(), Vec::new());
        let mut status = PeerStatus {
            node: NodeId([0; 32]),
            incarnation: Incarnation(1),
            joined: 0,
            quorum: 0,
            seeds: Vec::new(),
            neighbors: Vec::new(),
            passive: config.views.passive_max,
            topics: vec![TopicStatus {
                topic: Topic::overlay(),
                subscribed: true,
                hosted: false,
                neighbors: 0,
                retained_batches: 0,
                retained_bytes: config.retention.bytes_max,
                retains: false,
                streams: config.streams_max,
            }],
            stats: PeerStats::default(),
        };
        let mut verdicts = Verdicts::default();
        peer(&mut verdicts, Instant::ZERO, 0, &status, &config);
        assert_eq!(verdicts.total, 0);
        status.passive += 1;
        status.topics[0].retained_bytes *= 2;
        peer(&mut verdicts, Instant::ZERO, 0, &status, &config);
        assert_eq!(verdicts.total, 2);
    }

    #[test]
    fn fires_on_a_table_that_is_too_large() {
        let config = SeedConfig { records_max: 5, ..SeedConfig::new(identity(), Vec::new()) };
        let status = SeedStatus {
            node: NodeId([0; 32]),
            incarnation: Incarnation(1),
            learning: false,
            held: 0,
            reachable: 0,
            has_quorum: true,
            set_version: 0,
            changing: false,
            member: true,
            quorum: 0,
            seeds: Vec::new(),
            peers: 6,
            suspects: 1,
            dead: 0,
            topics: 0,
            sessions: 0,
            stats: SeedStats::default(),
        };
        let mut verdicts = Verdicts::default();
        seed(&mut verdicts, Instant::ZERO, 0, &status, &config);
        assert!(verdicts.broke(RULE));
    }
}
