//! Slow applications and slow links: others do not notice, and who is slow gets everything or is
//! told what it missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::control::Control;
use tidings_tests::latency::{Rounds, steadily};
use tidings_tests::log;
use tidings_tests::status::Status;
use tidings_tests::wait::{self, SOON};

const TOPIC: &str = "Sports";
/// Rounds with and without something slow, as many of each.
const ROUNDS: usize = 4;
/// After each change, until queues and trees are as they will be.
const SETTLE: Duration = Duration::from_millis(1_500);
const MEASURED: Duration = Duration::from_secs(3);
/// A time slice of the scheduler: on two cores with a load of 5, the p99s of equal rounds were
/// measured from 1.5 to 4.7 ms, with medians around 2.5 ms. With a load of 12 they were from 13 to
/// 21 ms: then what the rounds without anything slow differ by counts instead.
const NOISE: Duration = Duration::from_millis(5);
const PUBLISHERS: usize = 4;
/// One message each of this, from the publishers in turn.
const STEP: Duration = Duration::from_millis(12);
/// Longer than a backlog of some megabytes takes on two busy cores.
const CATCH_UP: Duration = Duration::from_secs(30);

#[test]
fn a_sleeping_reader_delays_nobody_and_misses_nothing_silently() {
    // What a reader has not read is bounded; the default takes minutes to fill.
    const UNREAD_MAX: u64 = 100;
    let limits = format!("\n[limits]\nunread_messages = {UNREAD_MAX}\n");
    let cluster = Setup::new(3, 7).alone().config(&limits).start();
    let mut controls = cluster.topic(TOPIC);
    let mut control = cluster.peers[6].control();
    control.ok(&json!({"command": "subscribe", "topic": TOPIC, "stream": true}));
    let reader = Reader::start(control);
    // Enough to fill in one round what the system buffers between the peer and its reader.
    let body = "x".repeat(32 << 10);
    let (mut rounds, mut sent, mut most_behind) = (Rounds::default(), 0, 0);
    for round in 0..2 * ROUNDS {
        let sleeps = round % 2 == 1;
        reader.sleep(sleeps);
        rounds.run(
            sleeps,
            SETTLE,
            MEASURED,
            steadily(STEP, |number| {
                controls[number as usize % PUBLISHERS].publish(TOPIC, &body);
                sent += 1;
            }),
        );
        most_behind = most_behind.max(sent - reader.told());
    }
    assert!(most_behind > UNREAD_MAX, "the reader slept, and was {most_behind} behind");
    let ids: Vec<&str> = cluster.peers.iter().map(|peer| peer.id()).collect();
    let told = reader.finish(sent);
    assert_eq!(told.keys().map(String::as_str).collect::<Vec<_>>().len(), PUBLISHERS);
    for (origin, told) in &told {
        let at = ids.iter().position(|id| id == origin).unwrap();
        let last = Status::of(&mut controls[at]).stream(TOPIC, origin).unwrap().0;
        assert_eq!(told.next, last + 1, "{origin}: {told:?}");
        let gaps = told.gaps;
        eprintln!("of {last} messages of peer {at}, {gaps} became explicit gaps");
    }
    rounds.compare(&cluster.peers[..6]).expect_alike("others of a sleeping reader", NOISE);
}

#[test]
fn a_slow_link_delays_nobody_else_and_its_ends_get_everything() {
    const SLOW_BYTES_PER_S: u64 = 2_000;
    let cluster = Setup::new(3, 8).alone().proxied().start();
    let mut controls = cluster.topic(TOPIC);
    let slow = 7;
    let body = "x".repeat(1 << 10);
    let (mut rounds, mut sent) = (Rounds::default(), [0u64; PUBLISHERS]);
    let mut publish = |number: u64| {
        let publisher = number as usize % PUBLISHERS;
        controls[publisher].publish(TOPIC, &body);
        sent[publisher] += 1;
    };
    // Trees are warm before anything is measured.
    let mut warm = steadily(STEP, &mut publish);
    (0..100).for_each(|_| warm());
    drop(warm);
    for round in 0..2 * ROUNDS {
        let link = (round % 2 == 1).then(|| main_link(&cluster, slow));
        link.iter().for_each(|link| link.limit(SLOW_BYTES_PER_S));
        rounds.run(link.is_some(), SETTLE, MEASURED, steadily(STEP, &mut publish));
        link.iter().for_each(|link| link.limit(0));
    }
    wait::passes("the end of the slow link has everything", CATCH_UP, || {
        let status = Status::of(&mut controls[slow]);
        for (at, sent) in sent.iter().enumerate() {
            let found = status.stream(TOPIC, cluster.peers[at].id());
            if found != Some((*sent, 0)) {
                return Err(format!("{found:?} of {sent} from peer {at}"));
            }
        }
        Ok(())
    });
    let text = cluster.peers[slow].log();
    assert!(log::events(&text, "gap").is_empty());
    assert!(!log::events(&text, "hole").is_empty(), "the slow link was needed for nothing");
    rounds.compare(&cluster.peers[..slow]).expect_alike("others of a slow link", NOISE);
}

#[test]
fn a_link_that_is_full_is_left_out_of_trees_and_its_neighbour_misses_nothing() {
    const COUNT: u64 = 60;
    // The least that can be configured: 20 MB fill it, and what the system buffers before it.
    let limits = "\n[limits]\nlink_queue = \"2MiB\"\n";
    let cluster = Setup::new(1, 3).proxied().config(limits).start();
    let mut controls = cluster.topic(TOPIC);
    controls[0].publish(TOPIC, "first");
    controls.iter_mut().for_each(|control| drop(control.pull_all(TOPIC, 1, SOON)));
    // Both links of one subscriber: nothing reaches it another way.
    let links = [cluster.connection(0, 2), cluster.connection(1, 2)];
    links.iter().for_each(|link| link.limit(50_000));
    let body = "x".repeat(512 << 10);
    for _ in 0..COUNT {
        controls[0].publish(TOPIC, &body);
    }
    wait::passes("the other subscriber has everything", SOON, || {
        let found = Status::of(&mut controls[1]).stream(TOPIC, cluster.peers[0].id());
        if found == Some((COUNT + 1, 0)) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    // The protocol hears of what its queues shed a moment later.
    wait::passes("what was shed is counted at both ends", SOON * 6, || {
        let status = Status::of(&mut controls[0]);
        let shed = |reason| CLASSES.map(|class| status.number(&["shed", reason, class, "frames"]));
        let queues: u64 = ["class_full", "queue_full"].into_iter().flat_map(shed).sum();
        let protocol = status.counter("frames_shed");
        if queues > 0 && queues == protocol { Ok(()) } else { Err(format!("{status:?}")) }
    });
    let status = Status::of(&mut controls[0]);
    assert!(status.counter("overload_lazy") > 0, "{status:?}");

    links.iter().for_each(|link| link.limit(0));
    wait::passes("the slow subscriber has everything", CATCH_UP, || {
        let found = Status::of(&mut controls[2]).stream(TOPIC, cluster.peers[0].id());
        if found == Some((COUNT + 1, 0)) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    assert!(log::events(&cluster.peers[2].log(), "gap").is_empty());
}

const CLASSES: [&str; 5] = ["control", "own", "repair", "forward", "announce"];

/// The link over which a peer gets most.
fn main_link(cluster: &Cluster, of: usize) -> Arc<tidings_tests::proxy::Connection> {
    let status = Status::of(&mut cluster.peers[of].control());
    let ids = cluster.peers.iter().map(|peer| peer.id());
    let source = status.main_source(ids).expect("it has a neighbour");
    let other = cluster.peers.iter().position(|peer| peer.id() == source).unwrap();
    cluster.connection(of, other)
}

/// An application that reads a stream of events, and can be put to sleep.
struct Reader {
    asleep: Arc<AtomicBool>,
    told: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
    thread: JoinHandle<BTreeMap<String, Told>>,
}

/// What a reader was told of one publisher.
#[derive(Debug, Default)]
struct Told {
    /// The number after the last one, message or gap.
    next: u64,
    /// Messages that became gaps.
    gaps: u64,
}

impl Reader {
    fn start(mut control: Control) -> Self {
        let asleep = Arc::new(AtomicBool::new(false));
        let (told, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let (sleeps, counted, end) = (asleep.clone(), told.clone(), last.clone());
        let thread = thread::spawn(move || {
            let mut streams: BTreeMap<String, Told> = BTreeMap::new();
            while counted.load(Ordering::Relaxed) < end.load(Ordering::Relaxed) {
                if sleeps.load(Ordering::Relaxed) {
                    wait::pause(Duration::from_millis(10));
                    continue;
                }
                let event = control.event().unwrap();
                let number = |key: &str| event[key].as_u64().unwrap();
                let (from, to) = match event["event"].as_str() {
                    Some("message") => (number("seq"), number("seq")),
                    Some("gap") => (number("from"), number("to")),
                    _ => panic!("{event}"),
                };
                let origin = event["origin"].as_str().unwrap().to_owned();
                let stream = streams.entry(origin).or_insert(Told { next: 1, gaps: 0 });
                assert_eq!(from, stream.next, "nothing twice, nothing left out: {event}");
                if event["event"] == "gap" {
                    assert_eq!(number("count"), to - from + 1);
                    stream.gaps += to - from + 1;
                }
                stream.next = to + 1;
                counted.fetch_add(to - from + 1, Ordering::Relaxed);
            }
            streams
        });
        Self { asleep, told, last, thread }
    }

    fn sleep(&self, sleeps: bool) {
        self.asleep.store(sleeps, Ordering::Relaxed);
    }

    /// How many messages it was told of, those in gaps included.
    fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// Reads until it was told of `last` messages.
    fn finish(self, last: u64) -> BTreeMap<String, Told> {
        self.last.store(last, Ordering::Relaxed);
        self.sleep(false);
        wait::holds("the reader has caught up", CATCH_UP, || self.thread.is_finished());
        self.thread.join().unwrap()
    }
}
