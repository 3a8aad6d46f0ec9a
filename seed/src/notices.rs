//! What a seed logs: each notice of the machine as one event with a stable name. The classic
//! line, which scripts look for, stands in the field `line`.

use std::fmt;
use std::net::SocketAddr;

use tidings_proto::seed::event::Notice;
use tracing::{info, warn};

/// Logs `notice` of the seed at `own`, which happened `now_us` microseconds after 1970.
pub(crate) fn log(own: SocketAddr, now_us: i64, notice: Notice) {
    match notice {
        Notice::Connection { address, remote, node, role } => {
            info!(%address, %remote, role, ?node, "connection");
        }
        Notice::Disconnected { address, node, role, cause } => {
            info!(%address, role, ?node, cause, "disconnected");
        }
        Notice::Votes { founded } => info!(founded, "votes"),
        Notice::SeedSet { .. } | Notice::ConfigDiffers { .. } => seed_set(notice),
        Notice::SeedLink { seed, up: true, reachable, total } => {
            info!(%seed, up = true, reachable, total, "seed_link");
        }
        Notice::SeedLink { seed, up: false, reachable, total } => {
            warn!(%seed, up = false, reachable, total, "seed_link");
        }
        Notice::LinkRefused { remote, node, reason, text } => {
            warn!(%remote, ?node, ?reason, text, "link_refused");
        }
        Notice::TopicCreated { topic, host } => info!(%topic, ?host, "topic_created"),
        Notice::TopicDeleted { topic, host } => info!(%topic, ?host, "topic_deleted"),
        Notice::TopicDropped { topic, host } => info!(%topic, ?host, "topic_dropped"),
        Notice::Subscribed { node, topic, subscribers } => {
            info!(%topic, ?node, subscribers, "subscribed");
        }
        Notice::Unsubscribed { node, topic, subscribers } => {
            info!(%topic, ?node, subscribers, "unsubscribed");
        }
        notice => peers(own, now_us, notice),
    }
}

fn seed_set(notice: Notice) {
    let list =
        |seeds: &[SocketAddr]| seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match notice {
        Notice::SeedSet { version, seeds, before, is_member } => {
            let (seeds, before) = (list(&seeds), before.as_deref().map(list));
            info!(version, seeds, before, member = is_member, "seed_set");
            if !is_member {
                let text = "this seed is not in the set: it votes on nothing and serves no peer";
                warn!(text, "not_in_set");
            }
        }
        Notice::ConfigDiffers { version, seeds, is_member } => {
            let text = "the configuration names other seeds than those agreed on, which hold";
            warn!(version, seeds = list(&seeds), member = is_member, text, "seed_set_differs");
        }
        _ => {}
    }
}

fn peers(own: SocketAddr, now_us: i64, notice: Notice) {
    match notice {
        Notice::Registered { peer, name, peers, sample } => {
            let (address, node, incarnation) = (peer.address, peer.node, peer.incarnation.0);
            info!(%address, ?node, name, incarnation, peers, sample, "registered");
        }
        Notice::Left { peer, peers } => {
            info!(address = %peer.address, node = ?peer.node, peers, "left");
        }
        Notice::Expired { peer, peers } => {
            warn!(address = %peer.address, node = ?peer.node, peers, "expired");
        }
        Notice::Reported { peer, reporter } => {
            let line = format!("Dead Node:{}:{}:{reporter}", peer.address, Seconds(now_us));
            warn!(line, node = ?peer.node, "dead_node");
            let (address, incarnation) = (peer.address, peer.incarnation.0);
            let by_itself = reporter == own;
            warn!(%address, node = ?peer.node, incarnation, %reporter, by_itself, "reported");
        }
        Notice::Refuted { peer, cause } => {
            info!(address = %peer.address, node = ?peer.node, cause, "refuted");
        }
        Notice::Voted { peer, votes, quorum } => {
            warn!(address = %peer.address, node = ?peer.node, votes, quorum, "voted");
        }
        Notice::Dead { peer, peers } => {
            let (address, incarnation) = (peer.address, peer.incarnation.0);
            warn!(%address, node = ?peer.node, incarnation, peers, "dead");
        }
        Notice::Forgotten { peer, peers } => {
            let (address, incarnation) = (peer.address, peer.incarnation.0);
            info!(%address, node = ?peer.node, incarnation, peers, "forgotten");
        }
        Notice::Returned { peer, incarnation } => {
            let incarnation = incarnation.0;
            info!(address = %peer.address, node = ?peer.node, incarnation, "returned");
        }
        _ => {}
    }
}

/// Microseconds as seconds with six decimals.
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000))
    }
}
