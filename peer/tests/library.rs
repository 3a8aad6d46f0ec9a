//! The library without a network around it.

mod common;

use std::time::Duration;

use common::{PATIENCE, lone_peer, seedless_peer};
use tidings::{
    CommandError, Delivery, Error, From, GapReason, Message, Policy, SubscribeOptions, Subscription,
};

async fn next(subscription: &mut Subscription) -> Option<Delivery> {
    tokio::time::timeout(PATIENCE, subscription.next()).await.expect("in time")
}

async fn message(subscription: &mut Subscription) -> Message {
    match next(subscription).await {
        Some(Delivery::Message(message)) => message,
        other => panic!("no message but {other:?}"),
    }
}

#[tokio::test]
async fn a_publisher_receives_its_own_in_order() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    let mut subscription = peer.subscribe("t").await.expect("subscribed");
    let mut receipts = Vec::new();
    for i in 0..1_000 {
        receipts.push(peer.enqueue("t", format!("m{i}")).await.expect("room"));
    }
    for (i, receipt) in (1..).zip(receipts) {
        assert_eq!(receipt.await.expect("published").seq, i);
    }
    for i in 0..1_000 {
        let message = message(&mut subscription).await;
        assert_eq!((message.seq, &message.body[..]), (i + 1, format!("m{i}").as_bytes()));
        assert_eq!(message.origin, peer.about().node);
    }
    assert_eq!(subscription.pending(), 0);
    assert_eq!(subscription.try_next(), None);
}

#[tokio::test]
async fn every_subscription_gets_everything() {
    let lone = lone_peer().await;
    lone.peer.create_topic("t").await.expect("created");
    let mut one = lone.peer.subscribe("t").await.expect("subscribed");
    lone.peer.publish("t", "first").await.expect("published");
    let mut two = lone.peer.subscribe("t").await.expect("subscribed");
    let mut all = lone.peer.subscribe_from("t", From::All).await.expect("subscribed");
    lone.peer.publish("t", "second").await.expect("published");
    assert_eq!(&message(&mut one).await.body[..], b"first");
    assert_eq!(&message(&mut one).await.body[..], b"second");
    assert_eq!(&message(&mut two).await.body[..], b"second");
    assert_eq!(&message(&mut all).await.body[..], b"first");
    assert_eq!(&message(&mut all).await.body[..], b"second");
}

#[tokio::test]
async fn from_all_has_what_was_published_before_anybody_subscribed() {
    let lone = lone_peer().await;
    lone.peer.create_topic("t").await.expect("created");
    for i in 1..=3 {
        lone.peer.publish("t", format!("{i}")).await.expect("published");
    }
    let mut all = lone.peer.subscribe_from("t", From::All).await.expect("subscribed");
    lone.peer.publish("t", "4").await.expect("published");
    for seq in 1..=4 {
        assert_eq!(message(&mut all).await.seq, seq);
    }
}

#[tokio::test]
async fn a_subscription_that_is_not_read_loses_the_oldest_and_says_so() {
    let lone = lone_peer().await;
    lone.peer.create_topic("t").await.expect("created");
    let policy = Policy::DropOldest { messages: 10 };
    let options = SubscribeOptions { policy, ..SubscribeOptions::default() };
    let slow = lone.peer.subscribe_with("t", options).await;
    let mut slow = slow.expect("subscribed");
    for i in 1..=25 {
        lone.peer.publish("t", format!("{i}")).await.expect("published");
    }
    let Some(Delivery::Gap(gap)) = next(&mut slow).await else { panic!("no gap") };
    assert_eq!((gap.from, gap.to, gap.reason), (1, 15, GapReason::SlowConsumer));
    assert_eq!((gap.count(), slow.dropped()), (15, 15));
    let status = lone.peer.status().await.expect("running");
    assert_eq!((status.subscriptions, status.dropped), (1, 15));
    for seq in 16..=25 {
        assert_eq!(message(&mut slow).await.seq, seq);
    }
}

#[tokio::test]
async fn the_last_subscription_takes_the_peer_out_of_the_topic() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    let subscribed = async || {
        let status = peer.status().await.expect("running");
        status.peer.topics.iter().any(|t| t.topic.as_str() == "t" && t.subscribed)
    };
    let one = peer.subscribe("t").await.expect("subscribed");
    let two = peer.subscribe("t").await.expect("subscribed");
    drop(one);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(subscribed().await);
    two.unsubscribe().await.expect("done");
    assert!(!subscribed().await);
    let three = peer.subscribe("t").await.expect("subscribed");
    drop(three);
    let four = peer.subscribe("t").await.expect("subscribed");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(subscribed().await, "an ending subscription does not end a beginning one");
    drop(four);
    drop(tokio::time::timeout(Duration::ZERO, peer.subscribe("t")).await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!subscribed().await, "a subscription that was given up is not left behind");
}

#[tokio::test]
async fn refusals_say_why() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    let not_found = |error: &Error| {
        matches!(error, Error::Refused(CommandError::TopicNotFound(_)))
            && error.to_string() == "Topic 'none' not found"
    };
    assert!(peer.publish("none", "x").await.is_err_and(|error| not_found(&error)));
    assert!(peer.subscribe("none").await.is_err_and(|error| not_found(&error)));
    assert!(matches!(peer.publish("a/#", "x").await, Err(Error::BadTopic(_))));
    peer.create_topic("t").await.expect("created");
    let large = vec![0; (1 << 20) + 1];
    let refused = peer.publish("t", large.clone()).await;
    assert!(matches!(refused, Err(Error::Refused(CommandError::TooLarge { .. }))));
    peer.publish("t", large[1..].to_vec()).await.expect("1 MiB is allowed");
}

#[tokio::test]
async fn leaving_ends_everything_and_twice_is_fine() {
    let lone = lone_peer().await;
    let peer = lone.peer.clone();
    peer.create_topic("t").await.expect("created");
    let mut subscription = peer.subscribe("t").await.expect("subscribed");
    peer.publish("t", "last").await.expect("published");
    let begun = std::time::Instant::now();
    peer.leave().await;
    peer.leave().await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(&message(&mut subscription).await.body[..], b"last");
    assert_eq!(next(&mut subscription).await, None);
    assert!(matches!(peer.publish("t", "x").await, Err(Error::Stopped)));
    assert!(matches!(peer.subscribe("t").await, Err(Error::Stopped)));
    assert!(matches!(peer.status().await, Err(Error::Stopped)));
    tokio::time::timeout(PATIENCE, peer.stopped()).await.expect("stopped");
}

#[tokio::test]
async fn a_directory_or_an_address_in_use_is_an_error() {
    let lone = lone_peer().await;
    let mut config = tidings::Config { seeds: Vec::new(), ..tidings::Config::default() };
    config.peer.listen = lone.peer.about().listen;
    config.peer.data = lone.data.path().join("other");
    let error = tidings::Peer::join(config.clone()).await.expect_err("in use");
    assert!(error.to_string().contains("in use"), "{error}");
    config.peer.listen = "127.0.0.1:0".parse().expect("an address");
    config.peer.data = lone.data.path().join("peer");
    let error = tidings::Peer::join(config).await.expect_err("in use");
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test]
async fn a_peer_whose_seeds_are_gone_is_not_joined() {
    let lone = seedless_peer().await;
    let peer = &lone.peer;
    let waited = peer.wait_joined(Duration::from_millis(300)).await;
    assert!(matches!(waited, Err(Error::Timeout(_))));
    assert!(!peer.is_joined());
    let refused = peer.create_topic("t").await;
    assert!(matches!(refused, Err(Error::Refused(CommandError::NoQuorum { .. }))), "{refused:?}");
    peer.leave().await;
}
