//! Peers that take a neighbour's word for what it pushes, and one that forges.

use std::sync::Arc;

use super::rig::{Rig, entry, topic};
use crate::config::{GossipConfig, Verify};
use crate::crypto::Signer;
use crate::id::{LinkId, Origin};
use crate::machine::Input;
use crate::peer::event::{From, Notice};
use crate::peer::trees;
use crate::wire::batch::{Batch, BatchHeader, Message};
use crate::wire::frame::{BatchFrame, Cause, Frame, Graft, GraftItem, Reason};

/// Peers that check these shares of what is pushed. Peer 1 has published one message.
fn rig(shares: &[u8]) -> Rig {
    let mut rig = Rig::new(shares.len(), |config| {
        let n = usize::from(config.identity.address.port()) - usize::from(entry(0).address.port());
        config.gossip = GossipConfig { verify: Verify::Links, verify_share: shares[n] };
    });
    rig.create(0).expect("created");
    rig.run(100);
    (0..shares.len()).for_each(|n| rig.subscribe(n, From::New));
    rig.run(1_000);
    rig.publish(1, "true").expect("published");
    rig.run(1_000);
    rig
}

fn link(rig: &Rig, n: usize, other: usize) -> LinkId {
    rig.peers[n].links.neighbor(&entry(other).node).expect("neighbours")
}

/// What follows what peer 1 has published, but not by peer 1.
fn forgery(rig: &Rig, messages: &[Message]) -> Arc<Batch> {
    let known = rig.peers[0].topics.directory.record(&topic()).expect("created");
    let header = BatchHeader {
        topic: topic(),
        origin: Origin { node: entry(1).node, incarnation: entry(1).incarnation },
        address: entry(1).address,
        generation: known.generation,
        first_seq: 2,
        published_at_us: 1_700_000_000_000_000,
        count: 0,
    };
    Batch::sign(header, messages, &Signer::Checksum(entry(77).node))
}

/// Peer 1 pushes a batch to another one.
fn push(rig: &mut Rig, n: usize, cause: Cause, batch: &Arc<Batch>) {
    let (link, batch) = (link(rig, n, 1), Arc::clone(batch));
    let frame = BatchFrame { cause, hop: 1, tree: trees::ORIGIN_TREE, age_ms: 0, batch };
    rig.feed(n, Input::Received { link, frame: Frame::Batch(frame) });
}

fn found_by(rig: &Rig, n: usize) -> usize {
    rig.notices[n].iter().filter(|notice| matches!(notice, Notice::Forged { .. })).count()
}

#[test]
fn what_links_bring_is_taken_on_their_word() {
    let mut rig = rig(&[0, 0, 0]);
    let checked: Vec<u64> = rig.peers.iter().map(|peer| peer.stats().signatures_checked).collect();
    for n in 0..20 {
        rig.publish(1, &n.to_string()).expect("published");
    }
    rig.run(1_000);
    for n in [0, 2] {
        assert_eq!(rig.bodies(n).len(), 21, "all is delivered");
        assert_eq!(rig.peers[n].stats().signatures_checked, checked[n]);
        assert_eq!(rig.peers[n].stats().batches_trusted, 20);
    }
}

#[test]
fn who_finds_a_forgery_stops_it_and_who_was_deceived_checks_all() {
    let mut rig = rig(&[100, 0, 0]);
    let forgery = forgery(&rig, &[Message::new("false")]);
    let (two, deceived) = (entry(2).node, link(&rig, 2, 0));
    push(&mut rig, 2, Cause::Push, &forgery);
    rig.run(200);
    assert_eq!(rig.bodies(2), ["true", "false"], "peer 2 trusts its neighbours");
    assert_eq!((rig.bodies(0), found_by(&rig, 0)), (vec!["true"], 1));
    assert_eq!(rig.peers[0].links.neighbor(&two), None);
    let told = |notice: &Notice| {
        matches!(notice, Notice::LinkRefused { reason: Reason::Forged, node, .. }
            if *node == entry(0).node)
    };
    assert!(rig.notices[2].iter().any(told) && rig.peers[2].links.get(deceived).is_none());
    // What it took unchecked is given to nobody any more.
    let origin = trees::short(&forgery.header().origin);
    let items = vec![GraftItem { origin, tree: trees::ORIGIN_TREE, first_seq: 2 }];
    let (from, now) = (link(&rig, 2, 1), rig.now);
    let repaired = rig.peers[2].stats().batches_repaired;
    let graft = Frame::Graft(Graft { topic: topic(), items });
    rig.feed(2, Input::Received { link: from, frame: graft });
    assert_eq!(rig.peers[2].stats().batches_repaired, repaired);
    assert!(rig.peers[2].trust.is_alarmed(now) && rig.peers[0].trust.is_alarmed(now));
    // And the next forgery is found here as well.
    let mut next = forgery.header().clone();
    next.first_seq = 3;
    let next = Batch::sign(next, &[Message::new("more")], &Signer::Checksum(entry(77).node));
    push(&mut rig, 2, Cause::Push, &next);
    assert_eq!((rig.bodies(2).len(), found_by(&rig, 2)), (2, 1));
    assert_eq!(rig.peers[2].links.neighbor(&entry(1).node), None);
}

#[test]
fn what_is_asked_for_or_retained_is_always_checked() {
    for (cause, retain) in [(Cause::Pull, false), (Cause::Push, true), (Cause::Retained, true)] {
        let mut rig = rig(&[0, 0]);
        let mut message = Message::new("false");
        if retain {
            let headers = message.headers.with(crate::wire::headers::RETAIN, "true");
            message.headers = headers.expect("legal");
        }
        let forgery = forgery(&rig, &[message]);
        push(&mut rig, 0, cause, &forgery);
        assert_eq!((rig.bodies(0), found_by(&rig, 0)), (vec!["true"], 1), "{cause:?} {retain}");
    }
}
