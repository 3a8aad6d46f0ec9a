//! What a peer logs: each notice of the machine as one event with a stable name. The classic
//! lines, which scripts look for, stand in the field `line`.

use std::fmt;
use std::net::SocketAddr;

use tidings_proto::NodeId;
use tidings_proto::peer::event::Notice;
use tidings_proto::wire::batch::Batch;
use tidings_proto::wire::frame::PeerEntry;
use tracing::{Level, debug, event_enabled, info, warn};

/// Logs `notice` of the peer at `own`, which happened `now_us` microseconds after 1970.
pub(crate) fn log(own: SocketAddr, now_us: i64, notice: Notice) {
    match notice {
        Notice::FirstReceipt { batch, from, hop } => first_receipt(&batch, from, hop),
        Notice::Published { batch } => published(&batch),
        Notice::DeadNode { peer, cause } => {
            let line = format!("Dead Node:{}:{}:{own}", peer.address, Seconds(now_us));
            warn!(line, node = ?peer.node, cause, "dead_node");
        }
        Notice::LivenessRequest { to } => {
            if event_enabled!(Level::DEBUG) {
                let line = format!("Liveness Request:{}:{own}", Seconds(now_us));
                debug!(line, %to, "liveness_request");
            }
        }
        Notice::LivenessReply { from } => {
            if event_enabled!(Level::DEBUG) {
                let line = format!("Liveness Reply:{}:{from}:{own}", Seconds(now_us));
                debug!(line, %from, "liveness_reply");
            }
        }
        Notice::SeedSet { version, seeds } => {
            let seeds = seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            info!(version, seeds, "seed_set");
        }
        notice @ (Notice::SeedJoined { .. } | Notice::SeedLost { .. } | Notice::Quorum(_)) => {
            seeds(notice);
        }
        Notice::Forged { batch, from } => forged(&batch, from),
        notice @ (Notice::Hole { .. } | Notice::Repaired { .. }) => holes(notice),
        notice => neighbors(notice),
    }
}

/// What was missed, whom it was asked from, and how it came.
fn holes(notice: Notice) {
    match notice {
        Notice::Hole { topic, origin, from, to, asked, graft } => {
            let origin = origin.map_or_else(|| "unknown".to_owned(), |o| format!("{:?}", o.node));
            let how = if graft { "graft" } else { "pull" };
            info!(%topic, origin, from, to, ?asked, how, "hole");
        }
        Notice::Repaired { topic, origin, from, to, by, late } => {
            let how = if late { "late" } else { "supplied" };
            info!(%topic, origin = ?origin.node, from, to, ?by, how, "repaired");
        }
        _ => {}
    }
}

/// With what proves it: by the origin's key, this is no signature of this root.
fn forged(batch: &Batch, from: NodeId) {
    let (header, claim) = (batch.header(), batch.claim());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (root, signature) = (hex(&claim.root), hex(&claim.signature.0));
    let key = hex(&header.origin.node.0);
    let (topic, seq) = (&header.topic, header.first_seq);
    warn!(%topic, ?from, origin = key, seq, root, signature, "forged_batch");
}

fn first_receipt(batch: &Batch, from: NodeId, hop: u8) {
    if event_enabled!(Level::INFO) {
        let topic = &batch.header().topic;
        for (line, bytes) in lines(batch) {
            info!(line, %topic, bytes, hop, ?from, "gossip");
        }
    }
}

fn published(batch: &Batch) {
    if event_enabled!(Level::INFO) {
        let topic = &batch.header().topic;
        for (line, bytes) in lines(batch) {
            info!(line, %topic, bytes, "publish");
        }
    }
}

/// A line for each message, `<time>:<origin ip:port>:<sequence number>`, and its size.
fn lines(batch: &Batch) -> impl Iterator<Item = (String, usize)> {
    let header = batch.header();
    let time = Seconds(header.published_at_us);
    batch
        .messages()
        .map(move |(seq, message)| (format!("{time}:{}:{seq}", header.address), message.body.len()))
}

fn seeds(notice: Notice) {
    match notice {
        Notice::SeedJoined { seed, joined, quorum, peers } => {
            let count = peers.len();
            info!(%seed, joined, quorum, count, peers = %Addresses(&peers), "peer_list");
        }
        Notice::SeedLost { seed, cause, joined } => warn!(%seed, cause, joined, "seed_lost"),
        Notice::Quorum(true) => info!("joined"),
        Notice::Quorum(false) => warn!("quorum_lost"),
        _ => {}
    }
}

fn neighbors(notice: Notice) {
    match notice {
        Notice::NeighborUp { peer, neighbors } => {
            info!(addr = %peer.address, node = ?peer.node, neighbors, "neighbor_up");
        }
        Notice::NeighborDown { peer, cause, neighbors } => {
            info!(addr = %peer.address, node = ?peer.node, cause, neighbors, "neighbor_down");
        }
        Notice::Refuted { peer } => {
            info!(addr = %peer.address, node = ?peer.node, "report_withdrawn");
        }
        Notice::DeclaredDead { node, incarnation } => {
            info!(?node, incarnation = incarnation.0, "declared_dead");
        }
        Notice::Returned { incarnation } => warn!(incarnation = incarnation.0, "returned"),
        Notice::LinkRefused { remote, node, reason, text } => {
            warn!(%remote, ?node, ?reason, text, "link_refused");
        }
        _ => {}
    }
}

/// Microseconds since 1970 as seconds with six decimals: a time without a colon.
#[derive(Clone, Copy)]
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

struct Addresses<'a>(&'a [PeerEntry]);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, peer)| {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}", peer.address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_six_decimals() {
        assert_eq!(Seconds(1_763_712_300_123_456).to_string(), "1763712300.123456");
        assert_eq!(Seconds(5).to_string(), "0.000005");
        assert_eq!(Seconds(-1_500_000).to_string(), "-1.500000");
    }
}
