//! Sessions are tested through the library in `peer/tests/sessions.rs`; here is what only the
//! inside can show.

use std::time::Duration;

use super::*;
use crate::delivery::Delivery;
use crate::{Config, Peer};

async fn peer(expiry_ms: u64) -> (Peer, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a directory");
    let mut config = Config { seeds: Vec::new(), ..Config::default() };
    config.peer.listen = "127.0.0.1:0".parse().expect("an address");
    config.peer.data = data.path().join("peer");
    config.peer.session_expiry = Duration::from_millis(expiry_ms);
    let peer = Peer::join(config).await.expect("a peer");
    peer.joined().await.expect("joined without seeds");
    peer.create_topic("t").await.expect("created");
    (peer, data)
}

fn places(pulled: &Pulled) -> Vec<(u64, u64, bool)> {
    let place = |numbered: &Numbered| match &numbered.delivery {
        Delivery::Message(message) => (numbered.pos, message.seq, numbered.redelivered),
        other => panic!("no message but {other:?}"),
    };
    pulled.deliveries.iter().map(place).collect()
}

async fn publish(peer: &Peer, count: u64) {
    for n in 1..=count {
        peer.publish("t", n.to_string()).await.expect("published");
    }
}

#[tokio::test]
async fn what_was_not_confirmed_comes_again_and_says_so() {
    let (peer, _data) = peer(60_000).await;
    let (session, restored) = peer.connect("ada").expect("free");
    assert!(!restored);
    session.subscribe("t", crate::From::New).await.expect("subscribed");
    publish(&peer, 6).await;
    let first = session.pull(None, 2, Duration::ZERO).await.expect("pulled");
    assert_eq!(places(&first), [(1, 1, false), (2, 2, false)]);
    session.confirm();
    let second = session.pull(None, 2, Duration::ZERO).await.expect("pulled");
    assert_eq!((places(&second), second.remaining), (vec![(3, 3, false), (4, 4, false)], 2));
    drop(session);
    let (session, restored) = peer.connect("ada").expect("free again");
    assert!(restored);
    let rest = session.pull(None, 9, Duration::ZERO).await.expect("pulled");
    let expected = [(3, 3, true), (4, 4, true), (5, 5, false), (6, 6, false)];
    assert_eq!(places(&rest), expected);
    drop(session);
    let (session, _) = peer.connect("ada").expect("free again");
    session.confirm_to("t", 5).expect("subscribed");
    let rest = session.pull(None, 9, Duration::ZERO).await.expect("pulled");
    assert_eq!(places(&rest), [(6, 6, true)], "the client knows up to where it got");
}

#[tokio::test]
async fn who_confirms_by_itself_gets_no_more_than_is_remembered() {
    let (peer, _data) = peer(60_000).await;
    let (session, _) = peer.connect("ada").expect("free");
    session.subscribe("t", crate::From::New).await.expect("subscribed");
    session.confirm_to("t", 0).expect("subscribed");
    let more = UNCONFIRMED_MAX as u64 + 10;
    let mut receipts = Vec::new();
    for n in 0..more {
        receipts.push(peer.enqueue("t", n.to_string()).await.expect("room"));
    }
    for receipt in receipts {
        receipt.await.expect("published");
    }
    let mut taken = 0;
    while let Ok(pulled) = session.pull(None, 10_000, Duration::ZERO).await
        && !pulled.deliveries.is_empty()
    {
        taken += pulled.deliveries.len();
    }
    assert_eq!(taken, UNCONFIRMED_MAX);
    session.confirm_to("t", 3).expect("subscribed");
    let pulled = session.pull(None, 10_000, Duration::ZERO).await.expect("pulled");
    assert_eq!(pulled.deliveries.len(), 3);
}

#[tokio::test]
async fn expiry_frees_everything() {
    let (peer, _data) = peer(50).await;
    let (session, _) = peer.connect("ada").expect("free");
    session.subscribe("t", crate::From::New).await.expect("subscribed");
    assert!(peer.inner().shared.fanout.wants(&Topic::new("t").expect("legal")));
    drop(session);
    assert_eq!(peer.list_sessions().len(), 2);
    let gone = async {
        while peer.list_sessions().len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("expired");
    assert!(!peer.inner().shared.fanout.wants(&Topic::new("t").expect("legal")));
    assert!(!peer.connect("ada").expect("free").1, "a new one");
}

#[tokio::test]
async fn who_comes_back_in_time_stops_the_expiry() {
    let (peer, _data) = peer(100).await;
    let (session, _) = peer.connect("ada").expect("free");
    drop(session);
    let (session, restored) = peer.connect("ada").expect("free");
    assert!(restored);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(peer.list_sessions().len(), 2, "it is live");
    drop(session);
}

#[tokio::test]
async fn a_former_session_of_the_name_does_not_end_a_new_one() {
    let (peer, _data) = peer(60_000).await;
    let (first, _) = peer.connect("ada").expect("free");
    drop(first);
    let former = peer.sessions().lock()["ada"].lost;
    let (again, restored) = peer.connect("ada").expect("free");
    assert!(restored);
    again.disconnect();
    let (new, restored) = peer.connect("ada").expect("free");
    assert!(!restored);
    drop(new);
    peer.sessions().expire("ada", former);
    assert!(peer.connect("ada").expect("free").1, "its own time is not over");
}

#[tokio::test]
async fn names_and_limits_are_kept() {
    let (peer, _data) = peer(60_000).await;
    let (one, _) = peer.connect("ada").expect("free");
    assert_eq!(peer.connect("ada").expect_err("taken"), Error::NameTaken("ada".to_owned()));
    let long = "x".repeat(SESSION_NAME_BYTES_MAX + 1);
    assert!(matches!(peer.connect(&long), Err(Error::BadSessionName { .. })));
    assert!(matches!(peer.connect(""), Err(Error::BadSessionName { .. })));
    assert!(matches!(one.pull(None, 1, Duration::ZERO).await, Err(Error::NotSubscribed(None))));
    one.disconnect();
    assert!(!peer.connect("ada").expect("free").1, "ended, not kept");
}

#[tokio::test]
async fn what_is_remembered_is_bounded_in_bytes_too() {
    let (peer, _data) = peer(60_000).await;
    let (session, _) = peer.connect("ada").expect("free");
    session.subscribe("t", crate::From::New).await.expect("subscribed");
    session.confirm_to("t", 0).expect("subscribed");
    let large = 1 << 20;
    for _ in 0..20 {
        peer.publish("t", vec![0; large]).await.expect("published");
    }
    let mut taken = 0;
    while let Ok(pulled) = session.pull(None, 100, Duration::ZERO).await
        && !pulled.deliveries.is_empty()
    {
        taken += pulled.deliveries.len();
    }
    assert_eq!(taken, kept::UNCONFIRMED_BYTES_MAX / large);
    session.confirm_to("t", 2).expect("subscribed");
    let pulled = session.pull(None, 100, Duration::ZERO).await.expect("pulled");
    assert_eq!(pulled.deliveries.len(), 2);
}

#[tokio::test]
async fn what_was_not_sent_is_handed_out_next_without_a_mark() {
    let (peer, _data) = peer(60_000).await;
    let (session, _) = peer.connect("ada").expect("free");
    session.subscribe("t", crate::From::New).await.expect("subscribed");
    publish(&peer, 4).await;
    session.pull(None, 3, Duration::ZERO).await.expect("pulled");
    session.take_back(&Topic::new("t").expect("legal"), 2);
    session.confirm();
    let pulled = session.pull(None, 9, Duration::ZERO).await.expect("pulled");
    assert_eq!(places(&pulled), [(2, 2, false), (3, 3, false), (4, 4, false)]);
}
