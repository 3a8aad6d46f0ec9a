use super::rig::{Rig, topic};
use crate::id::{Incarnation, NodeId, RequestId, Topic};
use crate::wire::codec::{CONTROL_BYTES_MAX, encode};
use crate::wire::frame::{
    Dead, Frame, Kind, LEASES_MAX, Lease, List, PAGE_MAX, PeerItem, PeerPage, PeerState, PutDone,
    RECORDS_MAX, TopicItem, TopicPage,
};
use crate::wire::record::{
    ADDRESSES_MAX, NAME_BYTES_MAX, PeerRecord, Record, SignedRecord, TopicPolicy, TopicRecord,
};

fn list(rig: &mut Rig, kind: Kind, filter: &str, offset: u32, limit: u32) -> Frame {
    let list = List { request: RequestId(4), kind, filter: filter.into(), offset, limit };
    rig.send(0, 0, Frame::List(list));
    rig.run(5);
    rig.inbox(0).pop().expect("an answer")
}

fn peers(frame: Frame) -> (u32, Vec<String>) {
    let Frame::PeerPage(page) = frame else { panic!("{frame:?}") };
    (page.total, page.items.into_iter().map(|item| item.name).collect())
}

fn topics(frame: Frame) -> (u32, Vec<String>) {
    let Frame::TopicPage(page) = frame else { panic!("{frame:?}") };
    (page.total, page.items.into_iter().map(|item| item.topic.to_string()).collect())
}

#[test]
fn peers_are_listed_by_address_filtered_and_paged() {
    let mut rig = Rig::new(1, 200);
    for n in (0..200).rev() {
        rig.join(n, 0);
    }
    rig.inbox(0);
    let (total, names) = peers(list(&mut rig, Kind::Peers, "", 0, 1_000));
    assert_eq!((total, names.len(), names[127].as_str()), (200, PAGE_MAX, "peer-127"));
    let (total, names) = peers(list(&mut rig, Kind::Peers, "", 198, 10));
    assert_eq!((total, names), (200, vec!["peer-198".into(), "peer-199".into()]));
    let (total, names) = peers(list(&mut rig, Kind::Peers, "", u32::MAX, u32::MAX));
    assert_eq!((total, names.len()), (200, 0));
    assert_eq!(peers(list(&mut rig, Kind::Peers, "eer-19", 0, 2)).0, 11);
    assert_eq!(peers(list(&mut rig, Kind::Peers, "127.0.0.2:7203", 0, 9)).1, ["peer-3"]);
    let id = rig.peers[42].node().to_string();
    assert_eq!(peers(list(&mut rig, Kind::Peers, &id[..10], 0, 9)).1, ["peer-42"]);
}

#[test]
fn topics_are_listed_by_name_and_mqtt_filter() {
    let mut rig = Rig::new(1, 1);
    rig.join(0, 0);
    let names = ["sport/tennis", "sport/football/live", "sport", "news", "old"];
    let records = names.iter().map(|name| rig.topic_record(0, name, (1, 1), false)).collect();
    rig.put(0, 0, records);
    let deleted = rig.topic_record(0, "old", (1, 2), true);
    rig.put(0, 0, vec![deleted]);
    let mut ask = |filter: &str| topics(list(&mut rig, Kind::Topics, filter, 0, 128)).1;
    assert_eq!(ask(""), ["news", "sport", "sport/football/live", "sport/tennis"]);
    assert_eq!(ask("sport/#"), ["sport", "sport/football/live", "sport/tennis"]);
    assert_eq!(ask("+/tennis"), ["sport/tennis"]);
    assert_eq!(ask("old"), [""; 0]);
    assert_eq!(topics(list(&mut rig, Kind::Topics, "#", 1, 2)).1, ["sport", "sport/football/live"]);
    let views = rig.seed(0).topics("sport/#", 1, 1);
    assert_eq!((views.total, views.items[0].topic.as_str()), (3, "sport/football/live"));
}

#[test]
fn the_fullest_frames_fit() {
    let topic = Topic::new(&"x".repeat(255)).unwrap();
    let (node, incarnation, request) =
        (NodeId([255; 32]), Incarnation(u64::MAX), RequestId(u64::MAX));
    let address = "[ffff::1]:65535".parse().unwrap();
    let signature = crate::crypto::Signature([255; 64]);
    let record = Record::Topic(TopicRecord {
        topic: topic.clone(),
        generation: u64::MAX,
        version: u64::MAX,
        host: node,
        created_at_us: i64::MIN,
        policy: TopicPolicy {
            retention_bytes: Some(u64::MAX),
            retention_age_ms: Some(u64::MAX),
            durable: true,
        },
        deleted: true,
    });
    let of_topic = SignedRecord { record, signature };
    let record = Record::Peer(PeerRecord {
        node,
        incarnation,
        version: u64::MAX,
        addresses: vec![address; ADDRESSES_MAX],
        name: "x".repeat(NAME_BYTES_MAX),
        left: true,
    });
    let of_peer = SignedRecord { record, signature };
    let peer = PeerItem {
        node,
        incarnation,
        address,
        name: "x".repeat(NAME_BYTES_MAX),
        state: PeerState::Dead,
    };
    let item = TopicItem {
        topic,
        host: node,
        generation: u64::MAX,
        created_at_us: i64::MIN,
        subscribers: u32::MAX,
    };
    let lease = Lease { node, incarnation, remaining_ms: u32::MAX };
    let total = u32::MAX;
    let frames = [
        Frame::Records(vec![of_peer; RECORDS_MAX]),
        Frame::PutDone(PutDone { request, refused: vec![of_topic.clone(); RECORDS_MAX] }),
        Frame::Leases(vec![lease; LEASES_MAX]),
        Frame::PeerPage(PeerPage { request, total, items: vec![peer; PAGE_MAX] }),
        Frame::TopicPage(TopicPage { request, total, items: vec![item; PAGE_MAX] }),
        Frame::Dead(Dead { node, incarnation, votes: vec![of_topic; 64] }),
    ];
    for frame in frames {
        assert!(encode(&frame).len() < CONTROL_BYTES_MAX);
    }
}

#[test]
fn a_topic_that_only_has_subscribers_is_not_listed() {
    let mut rig = Rig::new(1, 1);
    rig.join(0, 0);
    let record = rig.subscription(0, "wanted", 1, true);
    rig.put(0, 0, vec![record]);
    assert_eq!(topics(list(&mut rig, Kind::Topics, "", 0, 9)), (0, vec![]));
    assert!(rig.seed(0).index.get(&topic("wanted")).is_some());
}
