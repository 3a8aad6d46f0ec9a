//! Slow neighbours, holes, and what is shown of streams.

use std::sync::Arc;

use super::rig::{Rig, topic};
use crate::id::LinkId;
use crate::machine::{Class, Input};
use crate::peer::event::{From, Notice};
use crate::wire::batch::Batch;
use crate::wire::frame::Reason;

fn rig_with_subscribers(count: usize) -> Rig {
    let mut rig = Rig::new(count, |_| {});
    rig.create(0).expect("created");
    rig.run(100);
    (0..count).for_each(|n| rig.subscribe(n, From::New));
    rig.run(1_000);
    rig
}

fn link(rig: &Rig, from: usize, to: usize) -> LinkId {
    rig.peers[from].links.neighbor(&rig.peers[to].node).expect("linked")
}

fn last_published(rig: &Rig, n: usize) -> Arc<Batch> {
    let published = rig.notices[n].iter().rev().find_map(|notice| match notice {
        Notice::Published { batch } => Some(Arc::clone(batch)),
        _ => None,
    });
    published.expect("something was published")
}

/// The first and the last number.
type Range = (u64, u64);

/// Holes and repairs that a peer told of, as (from, to).
fn holes(rig: &Rig, n: usize) -> (Vec<Range>, Vec<Range>) {
    let mut told = (Vec::new(), Vec::new());
    for notice in &rig.notices[n] {
        match notice {
            Notice::Hole { from, to, .. } => told.0.push((*from, *to)),
            Notice::Repaired { from, to, .. } => told.1.push((*from, *to)),
            _ => {}
        }
    }
    told
}

#[test]
fn a_batch_that_was_shed_is_announced_and_its_tree_does_without_the_link() {
    let mut rig = rig_with_subscribers(2);
    rig.publish(0, "1").expect("published");
    rig.run(100);
    rig.lossy.insert((0, 1));
    rig.publish(0, "2").expect("published");
    rig.lossy.clear();
    let (link, batches) = (link(&rig, 0, 1), vec![last_published(&rig, 0)]);
    rig.feed(0, Input::Shed { link, class: Class::Forward, frames: 1, batches: batches.clone() });
    assert_eq!((rig.peers[0].stats().overload_lazy, rig.peers[0].stats().frames_shed), (1, 1));
    rig.run(300);
    assert_eq!(rig.bodies(1), ["1", "2"], "well before heads are compared");
    assert_eq!(holes(&rig, 1), (vec![(2, 2)], vec![(2, 2)]));
    assert_eq!(rig.peers[1].stats().repairs, 1);
    // The graft made the link eager again; a second shedding makes it lazy again.
    rig.feed(0, Input::Shed { link, class: Class::Forward, frames: 1, batches });
    assert_eq!(rig.peers[0].stats().overload_lazy, 2);
}

#[test]
fn a_link_that_sheds_announcements_for_long_is_closed_with_a_reason() {
    let mut rig = rig_with_subscribers(2);
    let link = link(&rig, 0, 1);
    for _ in 0..22 {
        let batches = Vec::new();
        rig.feed(0, Input::Shed { link, class: Class::Announce, frames: 3, batches });
        rig.run(500);
    }
    let stats = rig.peers[0].stats();
    assert_eq!((stats.overload_announces, stats.overload_closed), (66, 1));
    let refused = rig.notices[1].iter().any(|notice| {
        matches!(notice, Notice::LinkRefused { reason: Reason::TooSlow, text, .. }
            if text.contains("announcements"))
    });
    assert!(refused, "{:?}", rig.notices[1]);
}

#[test]
fn every_hole_is_told_and_so_is_how_it_was_filled() {
    let mut rig = rig_with_subscribers(3);
    for n in 0..5 {
        rig.publish(0, &n.to_string()).expect("published");
        rig.run(100);
    }
    rig.lossy.extend([(0, 1), (0, 2)]);
    for n in 5..10 {
        rig.publish(0, &n.to_string()).expect("published");
    }
    rig.lossy.clear();
    rig.run(10_000);
    for n in 1..3 {
        assert_eq!(rig.bodies(n).len(), 10, "peer {n}");
        let (holes, repaired) = holes(&rig, n);
        for seq in 6..=10 {
            let within = |&(from, to): &Range| from <= seq && seq <= to;
            let asked = holes.iter().any(within);
            assert!(asked && repaired.iter().any(within), "peer {n}, {seq}: {holes:?}");
        }
        assert!(!repaired.iter().any(|(from, _)| *from <= 5), "{repaired:?}");
        let stats = rig.peers[n].stats();
        assert_eq!(stats.repairs + stats.repairs_late, repaired.len() as u64);
    }
}

#[test]
fn streams_show_their_lag_and_what_they_miss() {
    let mut rig = rig_with_subscribers(2);
    for n in 0..3 {
        rig.publish(0, &n.to_string()).expect("published");
        rig.run(100);
    }
    let (total, streams) = rig.peers[1].streams(10);
    assert_eq!((total, streams.len()), (1, 1));
    let stream = &streams[0];
    assert_eq!((&stream.topic, stream.origin.node), (&topic(), rig.peers[0].node));
    assert_eq!((stream.high, stream.known_high, stream.missing), (3, 3, 0));
    assert_eq!(stream.lag_us, Some(10_000), "one link of 10 ms");

    rig.lossy.insert((0, 1));
    rig.publish(0, "lost").expect("published");
    rig.lossy.clear();
    rig.publish(0, "held back").expect("published");
    rig.run(20);
    let (_, streams) = rig.peers[1].streams(10);
    let stream = &streams[0];
    assert_eq!((stream.high, stream.known_high, stream.missing), (3, 5, 1));
    assert_eq!(stream.held_batches, 1);
    assert!(stream.held_bytes > 0);
    assert_eq!(rig.peers[1].streams(0), (1, Vec::new()));
}
