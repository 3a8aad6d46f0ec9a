//! How batches leave a peer, as its neighbours see it: each rule has a world that misses it.

use std::sync::Arc;

use super::rig::{Rig, entry, topic};
use crate::crypto::Signer;
use crate::id::{Incarnation, LinkId, Origin};
use crate::machine::{Input, Machine as _, Output};
use crate::peer::Peer;
use crate::peer::event::From;
use crate::peer::trees::{self, OWN_PUSHES_MIN, Slots};
use crate::wire::batch::{Batch, BatchHeader, Message};
use crate::wire::frame::{
    Announce, BatchFrame, BatchName, Cause, Frame, Graft, GraftItem, PeerEntry,
};

/// Long after any timer of a graft.
const GRAFTED_MS: u64 = 400;

/// Peers that all subscribe, and all know each other.
fn rig(count: usize) -> Rig {
    let mut rig = Rig::new(count, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    (0..count).for_each(|n| rig.subscribe(n, From::New));
    rig.run(1_000);
    rig
}

fn link(rig: &Rig, n: usize, other: usize) -> LinkId {
    rig.peers[n].links.neighbor(&entry(other).node).expect("neighbours")
}

fn origin(n: usize) -> Origin {
    Origin { node: entry(n).node, incarnation: Incarnation(1) }
}

/// The frames that a peer wants sent, which do not go out.
fn frames(peer: &mut Peer) -> Vec<(LinkId, Frame)> {
    let mut frames = Vec::new();
    while let Some(output) = peer.poll_output() {
        if let Output::Send { link, frame, .. } = output {
            frames.push((link, frame));
        }
    }
    frames
}

/// Hands a peer a frame and returns what it sends.
fn told(rig: &mut Rig, n: usize, link: LinkId, frame: Frame) -> Vec<(LinkId, Frame)> {
    let now = rig.now;
    rig.peers[n].handle(now, Input::Received { link, frame });
    frames(&mut rig.peers[n])
}

/// The links that are lazy for an origin, at a peer.
fn lazy(rig: &mut Rig, n: usize, origin: &Origin) -> Slots {
    let local = rig.peers[n].topics.get_mut(&topic()).expect("subscribed");
    local.trees.route(trees::short(origin), None, 0, None).lazy
}

/// The first batch of a publisher that is no peer of the rig.
fn foreign_batch(rig: &Rig) -> Arc<Batch> {
    let origin = origin(100);
    let known = rig.peers[0].topics.directory.record(&topic()).expect("created");
    let header = BatchHeader {
        topic: topic(),
        origin,
        address: entry(100).address,
        generation: known.generation,
        first_seq: 1,
        published_at_us: 1_700_000_000_000_000,
        count: 0,
    };
    Batch::sign(header, &[Message::new("news")], &Signer::Checksum(origin.node))
}

#[test]
fn the_answer_to_a_graft_is_a_hop_from_its_origin() {
    let mut rig = rig(2);
    rig.publish(1, "x").expect("published");
    rig.run(500);
    let item = GraftItem { origin: trees::short(&origin(1)), tree: 0, first_seq: 1 };
    let graft = Frame::Graft(Graft { topic: topic(), items: vec![item] });
    let to = link(&rig, 1, 0);
    let sent = told(&mut rig, 1, to, graft);
    let hops: Vec<u8> = sent
        .iter()
        .filter_map(|(_, frame)| match frame {
            Frame::Batch(BatchFrame { cause: Cause::Pull, hop, .. }) => Some(*hop),
            _ => None,
        })
        .collect();
    // As hop 0, what follows it would count as the origin's own, and never be pruned.
    assert_eq!(hops, [1]);
}

#[test]
fn the_first_batch_of_an_origin_is_grafted_on_the_tree_that_it_shares() {
    let mut rig = rig(2);
    let name = BatchName { origin: trees::short(&origin(100)), first_seq: 1 };
    let announce = Frame::Announce(Announce { topic: topic(), batches: vec![name] });
    let from = link(&rig, 0, 1);
    told(&mut rig, 0, from, announce);
    let mut grafts = Vec::new();
    for _ in 0..GRAFTED_MS / 10 {
        rig.now = rig.now + core::time::Duration::from_millis(10);
        let now = rig.now;
        rig.peers[0].handle(now, Input::Tick);
        for (_, frame) in frames(&mut rig.peers[0]) {
            if let Frame::Graft(graft) = frame {
                grafts.extend(graft.items.iter().map(|item| (item.origin, item.tree)));
            }
        }
    }
    let bucket = u8::try_from(name.origin % u64::from(trees::BUCKETS)).expect("32 buckets");
    assert_eq!(grafts.first(), Some(&(name.origin, bucket)), "{grafts:?}");
}

#[test]
fn a_link_that_an_origin_pushes_on_for_safety_joins_its_tree() {
    let mut rig = rig(6);
    let name = trees::short(&origin(0));
    let local = rig.peers[0].topics.get_mut(&topic()).expect("subscribed");
    let links: Vec<u8> = local.links.iter().map(|link| link.slot).collect();
    for &slot in &links {
        local.trees.prune(name, slot, trees::ORIGIN_TREE);
    }
    let all: Slots = links.iter().map(|slot| trees::slot_bit(*slot)).sum();
    assert_eq!(lazy(&mut rig, 0, &origin(0)) & all, all);
    rig.publish(0, "x").expect("published");
    let left = (lazy(&mut rig, 0, &origin(0)) & all).count_ones();
    assert_eq!(links.len() as u32 - left, OWN_PUSHES_MIN, "as many are eager now");
}

#[test]
fn a_link_that_was_grafted_is_eager_at_both_ends() {
    let mut rig = rig(3);
    let batch = foreign_batch(&rig);
    let name = BatchName { origin: trees::short(&batch.header().origin), first_seq: 1 };
    let announce = Frame::Announce(Announce { topic: topic(), batches: vec![name] });
    let (one, two) = (link(&rig, 0, 1), link(&rig, 0, 2));
    told(&mut rig, 0, one, announce.clone());
    told(&mut rig, 0, two, announce);
    let tree = u8::try_from(name.origin % u64::from(trees::BUCKETS)).expect("32 buckets");
    let answer = BatchFrame { cause: Cause::Pull, hop: 1, tree, age_ms: 5, batch };
    told(&mut rig, 0, one, Frame::Batch(answer));
    let lazy = lazy(&mut rig, 0, &origin(100));
    let local = rig.peers[0].topics.get(&topic()).expect("subscribed");
    let bit = |link| trees::slot_bit(local.slot(link).expect("a link of the topic"));
    assert_eq!(lazy & bit(one), 0, "the one that was asked pushes, and is pushed to");
    assert_ne!(lazy & bit(two), 0, "the other one only announced it");
}

#[test]
fn candidates_that_are_not_dialled_stay_as_they_are() {
    let mut rig = Rig::new(1, |config| config.views.dials_max = 2);
    let peer = &mut rig.peers[0];
    let overlay = peer.overlay.clone();
    let named: Vec<PeerEntry> = (30..40).map(entry).collect();
    peer.topics.get_mut(&overlay).expect("always").candidates.clone_from(&named);
    peer.now = rig.now;
    let others: Vec<PeerEntry> = (50..60).map(entry).collect();
    peer.learn(&others);
    assert_eq!(peer.views.passive().len(), others.len());
    peer.seek_neighbors();
    let left = &peer.topics.get(&overlay).expect("always").candidates;
    // None of the peers known otherwise is among them, and they are in their old order.
    assert!(left.len() < named.len() && !left.is_empty(), "{left:?}");
    assert_eq!(*left, named[..left.len()]);
}
