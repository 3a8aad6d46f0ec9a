use super::rig::{End, Rig, seed_address};
use crate::id::NodeId;
use crate::seed::event::Notice;
use crate::wire::frame::{Frame, Hello, Purpose, Reason, Role};

fn table_links(rig: &Rig) -> usize {
    let seeds = |(a, b): &&(End, End)| matches!((a, b), (End::Seed(_), End::Seed(_)));
    rig.conns.values().filter(seeds).count()
}

#[test]
fn seeds_keep_one_link_a_pair() {
    let rig = Rig::new(5, 0);
    assert_eq!(table_links(&rig), 10);
    for n in 0..5 {
        let status = rig.seed(n).status();
        assert_eq!((status.reachable, status.quorum, status.seeds.len()), (5, 3, 5));
        assert!(status.seeds.iter().all(|seed| seed.reachable && seed.node.is_some()));
        let flaps = rig.noticed(n, |n| matches!(n, Notice::SeedLink { up: false, .. }));
        assert_eq!(flaps, None);
    }
}

#[test]
fn what_one_seed_learns_all_know_at_once() {
    let mut rig = Rig::new(3, 3);
    (0..3).for_each(|n| rig.join(n, n));
    for n in 0..3 {
        let own = format!("own/{n}");
        let records =
            vec![rig.topic_record(n, &own, (1, 1), false), rig.subscription(n, "all", 1, true)];
        rig.put(n, n, records);
    }
    for n in 0..3 {
        assert_eq!(rig.seed(n).status().peers, 3);
        assert_eq!(rig.seed(n).topics("own/+", 0, 9).total, 3);
        let all = rig.seed(n).index.get(&super::rig::topic("all")).unwrap().subscribers.len();
        assert_eq!(all, 3);
    }
    rig.assert_same_tables();
    assert!((0..3).all(|n| rig.seed(n).status().stats.table_transfers <= 2));
}

#[test]
fn a_seed_that_starts_late_gets_everything_in_chunks() {
    let mut rig = Rig::new(3, 300);
    rig.kill_seed(2);
    rig.run(10);
    for n in 0..300 {
        rig.join(n, n % 2);
        let name = format!("topic/{n}");
        let records = vec![
            rig.topic_record(n, &name, (1, 1), false),
            rig.subscription(n, &name, 1, true),
            rig.subscription(n, "all", 1, n % 2 == 0),
        ];
        rig.put(n, n % 2, records);
        let deleted = (n % 3 == 0).then(|| rig.topic_record(n, &name, (1, 2), true));
        rig.put(n, n % 2, deleted.into_iter().collect());
    }
    rig.start_seed(2);
    rig.run(6_000);
    rig.assert_same_tables();
    let status = rig.seed(2).status();
    assert_eq!((status.peers, status.topics, status.reachable), (300, 200, 3));
    assert_eq!(rig.seed(2).index.deleted(), 100);
    let lease = rig.seed(2).peers(rig.now, "peer-299", 0, 1).items[0].lease_ms;
    assert!(lease > 80_000, "leases come with the records: {lease}");
    rig.run(60_000);
    assert_eq!(rig.seed(2).status().peers, 300);
}

#[test]
fn differences_after_a_cut_are_healed() {
    let mut rig = Rig::new(3, 4);
    (0..2).for_each(|n| rig.join(n, 0));
    let subscribed = rig.subscription(1, "news", 1, true);
    rig.put(1, 0, vec![subscribed]);
    rig.cut.insert((End::Seed(0), End::Seed(2)));
    rig.cut.insert((End::Seed(1), End::Seed(2)));
    rig.run(10_000);
    let lost = rig.noticed(0, |n| matches!(n, Notice::SeedLink { up: false, .. }));
    assert!(lost.is_some());
    assert_eq!(rig.seed(2).status().reachable, 1);
    rig.join(2, 2);
    rig.join(3, 0);
    let unsubscribed = rig.subscription(1, "news", 2, false);
    rig.put(1, 0, vec![unsubscribed]);
    let left = rig.record(0, 2, true);
    rig.put(0, 0, vec![left]);
    rig.cut.clear();
    rig.run(12_000);
    rig.assert_same_tables();
    assert!((0..3).all(|n| rig.seed(n).status().peers == 3));
    assert!(rig.noticed(2, |n| matches!(n, Notice::Left { .. })).is_some());
    assert!(rig.noticed(2, |n| matches!(n, Notice::Unsubscribed { .. })).is_some());
}

#[test]
fn only_ranges_that_differ_are_sent() {
    let mut rig = Rig::new(2, 301);
    (0..300).for_each(|n| rig.join(n, n % 2));
    rig.run(20_000);
    rig.assert_same_tables();
    rig.cut.insert((End::Seed(0), End::Seed(1)));
    rig.run(10_000);
    rig.join(300, 0);
    let record = rig.topic_record(300, "lone", (1, 1), false);
    rig.put(300, 0, vec![record]);
    rig.trace.clear();
    rig.cut.clear();
    rig.run(20_000);
    rig.assert_same_tables();
    assert_eq!(rig.seed(1).status().peers, 301);
    let sent: usize = rig.trace.iter().map(|line| line.matches("Peer(PeerRecord").count()).sum();
    assert!((1..30).contains(&sent), "{sent} records of peers for one that was missing");
}

#[test]
fn one_link_is_enough_for_a_record_to_reach_all() {
    let mut rig = Rig::new(3, 1);
    rig.cut.insert((End::Seed(0), End::Seed(2)));
    rig.run(10_000);
    rig.join(0, 0);
    rig.run(12_000);
    assert_eq!(rig.seed(2).status().peers, 1);
    rig.assert_same_tables();
    // And no seed keeps a peer alive by what another one remembers of it.
    rig.run(110_000);
    assert!((0..3).all(|n| rig.seed(n).status().peers == 0));
}

#[test]
fn a_restarted_seed_is_linked_again_within_seconds() {
    let mut rig = Rig::new(3, 1);
    rig.join(0, 0);
    rig.kill_seed(1);
    rig.run(60_000);
    rig.start_seed(1);
    rig.run(5_100);
    assert_eq!(rig.seed(1).status().reachable, 3);
    assert_eq!(table_links(&rig), 3);
    assert_eq!(rig.seed(1).status().peers, 1);
}

#[test]
fn nobody_is_a_seed_by_saying_so() {
    let mut rig = Rig::new(3, 1);
    rig.kill_seed(2);
    rig.run(10);
    let claim =
        Hello { role: Role::Seed, address: seed_address(2), ..rig.hello(0, Purpose::Table) };
    let link = rig.greet(0, 0, claim);
    rig.run(20);
    let record = rig.record(0, 1, false);
    rig.carry(End::Peer(0), link, Frame::Records(vec![record]));
    rig.run(5_000);
    assert!(matches!(rig.goodbye(0).unwrap().reason, Reason::Unexpected | Reason::Violation));
    assert_eq!(rig.seed(0).status().peers, 0);
    assert_eq!(rig.seed(0).status().reachable, 2);
    rig.start_seed(2);
    rig.run(5_000);
    assert_eq!(rig.seed(0).status().reachable, 3);
}

#[test]
fn a_seed_that_lost_its_key_is_taken_for_who_it_is_now() {
    let mut rig = Rig::new(3, 1);
    rig.join(0, 0);
    rig.kill_seed(2);
    rig.run(1_000);
    for key in [0x11, 0xff] {
        rig.kill_seed(2);
        rig.keys[2] = NodeId([key; 32]);
        rig.start_seed(2);
        rig.run(6_000);
        for n in 0..3 {
            let status = rig.seed(n).status();
            assert_eq!((status.reachable, status.peers), (3, 1), "seed {n}, key {key}");
            assert_eq!(status.seeds[2].node, Some(rig.keys[2]));
        }
        assert_eq!(table_links(&rig), 3);
    }
}

#[test]
fn a_seed_that_was_away_for_long_brings_nobody_back() {
    let mut rig = Rig::new(3, 2);
    rig.join(0, 0);
    rig.join(1, 1);
    rig.run(5_000);
    rig.stop_seed(2);
    rig.crash(1);
    let renew = |rig: &mut Rig, times: usize| {
        for _ in 0..times {
            rig.run(20_000);
            rig.renew(0, 0, &[]);
        }
    };
    // Longer than anybody remembers a death.
    renew(&mut rig, 40);
    let peers = |rig: &Rig, seed: usize| rig.seed(seed).status().peers;
    assert_eq!((peers(&rig, 0), peers(&rig, 1), rig.seed(0).status().dead), (1, 1, 0));
    rig.start_seed(2);
    for _ in 0..3 {
        rig.run(10_000);
        assert_eq!((peers(&rig, 0), peers(&rig, 1)), (1, 1));
    }
    renew(&mut rig, 5);
    assert_eq!(peers(&rig, 2), 1);
    rig.assert_same_tables();
}
