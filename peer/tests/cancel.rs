//! Every future of the library can be dropped wherever it waits: nothing is lost, nothing comes
//! twice, and nothing is left behind.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use common::{Lone, PATIENCE, lone_peer};
use tidings::{
    Config, Delivery, Error, From, Message, Numbered, Peer, Pulled, Session, SubscribeOptions,
    Subscription, TopicPolicy,
};

/// No future here waits in more places.
const PLACES_MAX: usize = 200;
/// More than may wait for replies at once.
const REQUESTS: usize = 4_200;

/// Polls a future so many times and drops it then. Its output, if it has one by then.
async fn cut<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        left -= 1;
        match polled {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Waits for a condition.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, looking).await.is_ok(), "never: {what}");
}

async fn message(subscription: &mut Subscription) -> Message {
    let next = tokio::time::timeout(PATIENCE, subscription.next()).await;
    match next.expect("in time") {
        Some(Delivery::Message(message)) => message,
        other => panic!("no message but {other:?}"),
    }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// What a pull handed out.
fn texts(pulled: Pulled) -> Vec<String> {
    texts_of(pulled.deliveries)
}

fn texts_of(deliveries: Vec<Numbered>) -> Vec<String> {
    let texts = deliveries.into_iter().map(|numbered| match numbered.delivery {
        Delivery::Message(message) => text(&message),
        other => panic!("no message but {other:?}"),
    });
    texts.collect()
}

/// The configuration of a peer, to start it again.
fn config_of(lone: &Lone) -> Config {
    let mut config = Config { seeds: Vec::new(), ..Config::default() };
    config.peer.listen = "127.0.0.1:0".parse().expect("an address");
    config.peer.data = lone.data.path().join("peer");
    config
}

/// Another life of the peer, as soon as the former one is over.
async fn again(config: &Config) -> Peer {
    let mut peer = None;
    until("the peer starts again", async || {
        peer = Peer::join(config.clone()).await.ok();
        peer.is_some()
    })
    .await;
    peer.expect("it has started")
}

#[tokio::test]
async fn publishing_is_done_or_not_and_keeps_its_order() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    let mut subscription = peer.subscribe("t").await.expect("subscribed");
    let mut published = Vec::new();
    for round in 0..50 {
        for polls in 1..PLACES_MAX {
            let body = format!("{round} {polls}");
            match cut(peer.publish("t", body.clone()), polls).await {
                None => {}
                Some(receipt) => {
                    published.push((body, receipt.expect("published").seq));
                    break;
                }
            }
        }
    }
    assert_eq!(published.len(), 50, "each was published in the end");
    let last = peer.publish("t", "end").await.expect("published").seq;
    let mut received = Vec::new();
    loop {
        let message = message(&mut subscription).await;
        received.push((text(&message), message.seq));
        if message.seq == last {
            break;
        }
    }
    let seqs: Vec<u64> = received.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
    for told in &published {
        assert!(received.contains(told), "{told:?}");
    }
    let bodies: std::collections::BTreeSet<_> = received.iter().map(|(body, _)| body).collect();
    assert_eq!(bodies.len(), received.len(), "nothing came twice");
}

#[tokio::test]
async fn subscribing_leaves_nothing_behind() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    peer.publish("t", "before").await.expect("published");
    for from in [From::New, From::All] {
        let mut done = false;
        for polls in 1..PLACES_MAX {
            let subscribed = cut(peer.subscribe_from("t", from), polls).await;
            done = subscribed.is_some();
            drop(subscribed);
            until("the peer is out of the topic", async || {
                let status = peer.status().await.expect("running");
                status.subscriptions == 0 && !status.peer.topics.iter().any(|t| t.subscribed)
            })
            .await;
            if done {
                break;
            }
        }
        assert!(done, "it was subscribed to in the end");
    }
}

#[tokio::test]
async fn waiting_for_the_next_loses_nothing() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    let mut subscription = peer.subscribe("t").await.expect("subscribed");
    let (session, _) = peer.connect("named").expect("free");
    session.subscribe("t", From::New).await.expect("subscribed");
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for number in 0..100 {
        assert_eq!(cut(subscription.next(), 1).await, None, "nothing is there");
        peer.publish("t", number.to_string()).await.expect("published");
        while let Some(next) = cut(subscription.next(), 1).await {
            one.push(next);
        }
        while let Some(next) = cut(session.next("t"), 1).await {
            other.push(next.expect("subscribed").expect("not ended"));
        }
    }
    let numbers = |deliveries: &mut dyn Iterator<Item = &Delivery>| -> Vec<u64> {
        let seq = |delivery: &Delivery| match delivery {
            Delivery::Message(message) => message.seq,
            other => panic!("no message but {other:?}"),
        };
        deliveries.map(seq).collect()
    };
    let all: Vec<u64> = (1..=100).collect();
    assert_eq!(numbers(&mut one.iter().flatten()), all);
    assert_eq!(numbers(&mut other.iter().map(|numbered| &numbered.delivery)), all);
}

/// Publishes, and pulls with futures that are dropped earlier or later. Everything that was
/// handed out.
async fn pulls(peer: &Peer, session: &Session, rounds: usize) -> Vec<String> {
    let mut handed_out = Vec::new();
    for round in 0..rounds {
        for part in 0..3 {
            peer.publish("t", format!("{round} {part}")).await.expect("published");
        }
        for polls in 1..PLACES_MAX {
            // Sometimes a part of what is there.
            let max = 1 + polls % 3;
            if let Some(pulled) = cut(session.pull(Some("t"), max, PATIENCE), polls).await {
                handed_out.extend(texts(pulled.expect("subscribed")));
                break;
            }
        }
        // It waits for the disk, or for a message.
        if let Some(next) = cut(session.next("t"), 1).await {
            let numbered = next.expect("subscribed").expect("not ended");
            handed_out.extend(texts_of(vec![numbered]));
        }
    }
    let rest = session.pull(Some("t"), 10_000, Duration::ZERO).await.expect("subscribed");
    handed_out.extend(texts(rest));
    handed_out
}

#[tokio::test]
async fn pulling_loses_nothing_and_gives_nothing_twice() {
    let lone = lone_peer().await;
    lone.peer.create_topic("t").await.expect("created");
    let expected: Vec<String> =
        (0..60).flat_map(|round| (0..3).map(move |part| format!("{round} {part}"))).collect();
    let (named, _) = lone.peer.connect("named").expect("free");
    for session in [lone.peer.session(), named] {
        session.subscribe("t", From::New).await.expect("subscribed");
        let handed_out = pulls(&lone.peer, &session, 60).await;
        assert_eq!(handed_out, expected, "{:?}", session.name());
        session.unsubscribe("t").await.expect("done");
    }
}

#[tokio::test]
async fn what_a_dropped_pull_gave_back_is_pulled_after_a_restart() {
    let lone = lone_peer().await;
    let config = config_of(&lone);
    let peer = lone.peer.clone();
    peer.create_topic("t").await.expect("created");
    peer.session().subscribe("t", From::New).await.expect("subscribed");
    let mut expected = Vec::new();
    for number in 0..40 {
        peer.publish("t", number.to_string()).await.expect("published");
        expected.push(number.to_string());
    }
    let mut pulled = Vec::new();
    for polls in 1..PLACES_MAX {
        // The last but one is given back; what follows it is pulled in part.
        if let Some(part) = cut(peer.session().pull(Some("t"), 5, PATIENCE), polls).await {
            pulled.extend(texts(part.expect("subscribed")));
            break;
        }
    }
    assert_eq!(pulled, expected[..5]);
    peer.leave().await;
    drop((peer, lone.peer));
    let peer = again(&config).await;
    let rest = peer.session().pull(Some("t"), 100, PATIENCE).await.expect("subscribed");
    assert_eq!(texts(rest), expected[5..]);
}

#[tokio::test]
async fn the_permanent_session_is_on_disk_as_it_is_in_memory() {
    let lone = lone_peer().await;
    let config = config_of(&lone);
    let mut peer = lone.peer.clone();
    drop(lone.peer);
    for polls in 1..PLACES_MAX {
        peer.ensure_topic("t").await.expect("created");
        let session = peer.session();
        let subscribed = cut(session.subscribe("t", From::New), polls).await.is_some();
        // Whatever became of it, it can be asked for again, works, and can be ended.
        session.subscribe("t", From::New).await.expect("subscribed");
        peer.publish("t", "x").await.expect("published");
        let pulled = session.pull(Some("t"), 9, PATIENCE).await.expect("subscribed");
        assert_eq!(texts(pulled), ["x"], "{polls} polls");
        let ended = cut(session.unsubscribe("t"), polls).await.is_some();
        until("it is ended", async || session.subscriptions().is_empty()).await;
        drop(session);
        peer.leave().await;
        drop(peer);
        peer = again(&config).await;
        assert!(peer.session().subscriptions().is_empty(), "{polls} polls");
        if subscribed && ended {
            return;
        }
    }
    panic!("never subscribed and unsubscribed at once");
}

#[tokio::test]
async fn a_filter_that_was_given_up_can_be_asked_for_again() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    let (named, _) = peer.connect("named").expect("free");
    let mut topics = 0..;
    let mut topic = || format!("f/{}", topics.next().expect("there are more"));
    for session in [&peer.session(), &named] {
        let mut done = false;
        for polls in 1..PLACES_MAX {
            done = cut(session.subscribe_filter("f/+", From::New), polls).await.is_some();
            session.subscribe_filter("f/+", From::New).await.expect("subscribed");
            let topic = topic();
            peer.create_topic(&topic).await.expect("created");
            peer.publish(&topic, "x").await.expect("published");
            let pulled = session.pull(None, 9, PATIENCE).await.expect("subscribed");
            assert_eq!(texts(pulled), ["x"], "{polls} polls");
            session.unsubscribe_filter("f/+").await.expect("done");
            peer.delete_topic(&topic).await.expect("deleted");
            if done {
                break;
            }
        }
        assert!(done, "it was subscribed to in the end");
    }
    let mut done = false;
    for polls in 1..PLACES_MAX {
        done = cut(peer.subscribe_filter("f/+", From::New), polls).await.is_some();
        let mut subscription = peer.subscribe_filter("f/#", From::New).await.expect("subscribed");
        let topic = topic();
        peer.create_topic(&topic).await.expect("created");
        peer.publish(&topic, "x").await.expect("published");
        let next = tokio::time::timeout(PATIENCE, subscription.next()).await.expect("in time");
        assert!(matches!(next, Some(Delivery::Message(_))), "{next:?}");
        drop(subscription);
        peer.delete_topic(&topic).await.expect("deleted");
        if done {
            break;
        }
    }
    assert!(done, "it was subscribed to in the end");
    until("the peer is out of all topics", async || {
        peer.status().await.expect("running").subscriptions == 0
    })
    .await;
}

#[tokio::test]
async fn a_durable_topic_is_created_with_its_log_or_not_at_all() {
    let lone = lone_peer().await;
    let config = config_of(&lone);
    let peer = lone.peer.clone();
    drop(lone.peer);
    let policy = TopicPolicy { durable: true, ..TopicPolicy::default() };
    let mut created = Vec::new();
    for polls in 1..PLACES_MAX {
        let topic = format!("d/{polls}");
        let done = cut(peer.create_topic_with(&topic, policy, false), polls).await.is_some();
        until("the topic is there", async || peer.publish(&topic, "kept").await.is_ok()).await;
        created.push(topic);
        if done {
            break;
        }
    }
    peer.leave().await;
    drop(peer);
    let peer = again(&config).await;
    for topic in created {
        let mut all = None;
        until("the topic is there again", async || {
            all = peer.subscribe_from(&topic, From::All).await.ok();
            all.is_some()
        })
        .await;
        let mut all = all.expect("subscribed");
        assert_eq!(text(&message(&mut all).await), "kept", "{topic}");
    }
}

#[tokio::test]
async fn requests_that_were_given_up_make_room() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    let mut requests = peer.subscribe("t").await.expect("subscribed");
    let replier = peer.clone();
    tokio::spawn(async move {
        while let Some(delivery) = requests.next().await {
            if let Delivery::Message(request) = delivery {
                // Whoever asked may be gone.
                let _ = replier.reply(&request, request.body.clone()).await;
            }
        }
    });
    let mut answered = 0;
    for number in 0..REQUESTS {
        let polls = 1 + number % 8;
        let asked = peer.request("t", number.to_string(), PATIENCE);
        if let Some(reply) = cut(asked, polls).await {
            assert_eq!(text(&reply.expect("replied")), number.to_string());
            answered += 1;
        }
    }
    assert!(answered < REQUESTS, "some were given up");
    let reply = peer.request("t", "last", PATIENCE).await.expect("replied");
    assert_eq!(text(&reply), "last");
}

#[tokio::test]
async fn leaving_goes_on_and_joining_can_be_tried_again() {
    let lone = lone_peer().await;
    let config = config_of(&lone);
    let mut peer = lone.peer.clone();
    drop(lone.peer);
    peer.create_topic("t").await.expect("created");
    peer.session().subscribe("t", From::New).await.expect("subscribed");
    let mut expected = Vec::new();
    for polls in 1..PLACES_MAX {
        let text = polls.to_string();
        peer.ensure_topic("t").await.expect("created");
        peer.publish("t", text.clone()).await.expect("published");
        expected.push(text);
        let left = cut(peer.leave(), polls).await.is_some();
        // Whoever leaves again waits until it is done.
        peer.leave().await;
        assert!(matches!(peer.status().await, Err(Error::Stopped)));
        drop(peer);
        // The data directory is free at once.
        let joined = cut(Peer::join(config.clone()), polls).await;
        let joined = joined.map(|joined| joined.expect("the directory is free"));
        let done = left && joined.is_some();
        peer = match joined {
            Some(peer) => peer,
            None => again(&config).await,
        };
        if done {
            break;
        }
    }
    let pulled = peer.session().pull(Some("t"), 1_000, PATIENCE).await.expect("subscribed");
    assert_eq!(texts(pulled), expected);
}

#[tokio::test]
async fn options_are_those_of_the_first() {
    let lone = lone_peer().await;
    lone.peer.create_topic("t").await.expect("created");
    let session = lone.peer.session();
    let options = SubscribeOptions { durable: true, ..SubscribeOptions::default() };
    let refused = session.subscribe("t", options).await;
    assert!(matches!(refused, Err(Error::NotDurable(_))), "{refused:?}");
    assert!(session.subscriptions().is_empty(), "what was refused is not left behind");
    session.subscribe_filter("#", options).await.expect("others are received all the same");
    lone.peer.publish("t", "x").await.expect("published");
    let pulled = session.pull(None, 9, PATIENCE).await.expect("subscribed");
    assert_eq!(texts(pulled), ["x"]);
}
