//! A peer whose neighbours all keep news from it.

use super::rig::{Rig, entry, topic};
use crate::id::{Incarnation, Origin};
use crate::machine::{Machine as _, Output};
use crate::peer::event::{Event, From};
use crate::time::Instant;
use crate::wire::frame::{Frame, Head, Heads};

fn ahead(age_ms: u32) -> Heads {
    let origin = Origin { node: entry(100).node, incarnation: Incarnation(1) };
    let heads = vec![Head { origin, low: 9, high: 9, age_ms }];
    Heads { topic: topic(), heads, answer: true }
}

/// Tells a peer what a seed knows; returns how many neighbours it asks, and how many more it
/// looks for.
fn told(rig: &mut Rig, heads: &Heads) -> (usize, usize) {
    let peer = &mut rig.peers[0];
    peer.now = rig.now;
    peer.on_seed_heads(heads);
    let mut asked = 0;
    while let Some(output) = peer.poll_output() {
        asked += usize::from(matches!(output, Output::Send { frame: Frame::Heads(_), .. }));
    }
    let local = peer.topics.get(&topic()).expect("subscribed");
    let linked = local.links.len();
    (asked, local.degree.lacks(Instant::from_millis(10_000), linked, linked, linked))
}

#[test]
fn who_is_behind_asks_neighbours_and_then_looks_for_others() {
    let mut rig = Rig::new(4, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    (0..4).for_each(|n| rig.subscribe(n, From::New));
    rig.run(10_000);
    assert_eq!(told(&mut rig, &ahead(4_999)), (0, 0), "it may be on its way");
    assert_eq!(told(&mut rig, &ahead(6_000)), (2, 0));
    assert_eq!(told(&mut rig, &ahead(6_000)), (2, 2), "twice running");
    assert_eq!(rig.peers[0].stats().behind, 2);
    // What a seed says is no hole: whoever told it may lie.
    rig.run(60_000);
    let gaps = rig.events[0].iter().filter(|event| matches!(event, Event::Gap { .. })).count();
    assert_eq!(gaps, 0);
}
