use core::time::Duration;

use super::rig::Rig;
use crate::seed::event::Notice;
use crate::wire::frame::{Frame, Register, Renewed};

fn renewed(rig: &mut Rig, n: usize) -> Renewed {
    let frames = rig.inbox(n).into_iter();
    let mut answers = frames.filter_map(|frame| match frame {
        Frame::Renewed(answer) => Some(answer),
        _ => None,
    });
    answers.next_back().expect("an answer to a renewal")
}

#[test]
fn an_unrenewed_peer_expires_everywhere_and_comes_back_by_registering() {
    let mut rig = Rig::with(3, 2, |config| config.lease = Duration::from_secs(9));
    rig.join(0, 0);
    rig.join(1, 1);
    let record = rig.subscription(0, "news", 1, true);
    rig.put(0, 0, vec![record]);
    for _ in 0..5 {
        rig.run(3_000);
        rig.renew(1, 1, &[]);
        assert_eq!(renewed(&mut rig, 1).lease_ms, 9_000);
    }
    for seed in 0..3 {
        let at = rig.noticed(seed, |n| matches!(n, Notice::Expired { peers: 1, .. })).unwrap();
        assert!((9_000..9_200).contains(&(at.as_micros() / 1_000 - 100)), "{at:?}");
        let status = rig.seed(seed).status();
        assert_eq!((status.peers, status.stats.leases_expired), (1, 1));
        assert!(rig.seed(seed).topics("", 0, 9).items.is_empty());
    }
    rig.renew(0, 0, &[]);
    assert_eq!(renewed(&mut rig, 0).lease_ms, 0);
    rig.register(0, 0);
    rig.run(5);
    assert!((0..3).all(|seed| rig.seed(seed).status().peers == 2));
    rig.assert_same_tables();
}

#[test]
fn renewals_reach_the_other_seeds_within_about_a_second() {
    let mut rig = Rig::new(3, 1);
    rig.join(0, 0);
    rig.run(30_000);
    rig.renew(0, 0, &[]);
    rig.run(1_100);
    for seed in 0..3 {
        let lease = rig.seed(seed).peers(rig.now, "", 0, 1).items[0].lease_ms;
        assert!((88_000..=90_000).contains(&lease), "seed {seed}: {lease}");
    }
}

#[test]
fn a_leaving_peer_goes_at_once_and_its_topics_stay() {
    let mut rig = Rig::new(3, 2);
    rig.join(0, 0);
    rig.join(1, 1);
    let records =
        vec![rig.topic_record(0, "news", (1, 1), false), rig.subscription(0, "news", 1, true)];
    rig.put(0, 0, records);
    let record = rig.record(0, 2, true);
    rig.send(0, 0, Frame::Register(Box::new(Register { record })));
    rig.run(5);
    for seed in 0..3 {
        assert!(rig.noticed(seed, |n| matches!(n, Notice::Left { peers: 1, .. })).is_some());
        let topics = rig.seed(seed).topics("", 0, 9);
        assert_eq!((topics.total, topics.items[0].subscribers.len()), (1, 0));
        assert!(rig.seed(seed).deaths().is_empty());
    }
    // Neither the old record nor the lost session brings it back or makes it suspect.
    rig.crash(0);
    rig.run(20_000);
    assert_eq!(rig.seed(0).status().peers, 1);
    assert_eq!(rig.seed(0).status().stats.probes, 0);
    rig.assert_same_tables();
}

#[test]
fn a_peer_outside_the_largest_part_of_the_overlay_gets_targets() {
    let mut rig = Rig::new(1, 5);
    (0..5).for_each(|n| rig.join(n, 0));
    rig.renew(0, 0, &[1]);
    rig.renew(1, 0, &[0, 2]);
    rig.run(6_000);
    rig.renew(3, 0, &[4]);
    let targets = renewed(&mut rig, 3).targets;
    let main: Vec<_> = (0..3).map(|n| rig.peers[n].node()).collect();
    assert!(!targets.is_empty() && targets.iter().all(|t| main.contains(&t.node)));
    rig.renew(3, 0, &[4]);
    assert_eq!(renewed(&mut rig, 3).targets, []);
    rig.renew(3, 0, &[4, 0]);
    rig.run(20_000);
    rig.renew(3, 0, &[4, 0]);
    assert_eq!(renewed(&mut rig, 3).targets, []);
    rig.renew(4, 0, &[3]);
    assert_eq!(renewed(&mut rig, 4).targets, []);
    let topology = rig.seed(0).topology();
    assert_eq!((topology.total, topology.nodes.len(), topology.edges.len()), (5, 5, 4));
}
