use std::collections::BTreeMap;

use tidings_proto::crypto::Signer;
use tidings_proto::wire::batch::{BatchHeader, Message as Sent};
use tidings_proto::{Incarnation, NodeId, Origin};

use super::*;
use crate::journal::Entry;
use crate::subscribe::Policy;

const LIMITS: QueueLimits = QueueLimits { messages_max: 100, bytes_max: 1 << 20 };
const NOW: i64 = 1_800_000_000_000_000;

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("legal")
}

fn origin(n: u8) -> Origin {
    Origin { node: NodeId([n; 32]), incarnation: Incarnation(1) }
}

fn batch(name: &str, n: u8, first: u64, last: u64) -> Arc<Batch> {
    let header = BatchHeader {
        topic: topic(name),
        origin: origin(n),
        address: "127.0.0.1:7200".parse().expect("an address"),
        generation: 1,
        first_seq: first,
        published_at_us: 0,
        count: 0,
    };
    let messages: Vec<_> = (first..=last).map(|_| Sent::new("x")).collect();
    Batch::sign(header, &messages, &Signer::Checksum(origin(n).node))
}

fn begin(name: &str, ordinal: u64) -> Begin {
    let options = SubscribeOptions::default();
    Begin { topic: topic(name), ordinal, history: Vec::new(), now_us: NOW, options }
}

/// What is unread of a topic, as `origin:from-to` with `?` for gaps.
fn unread(saved: &Saved, name: &str) -> Vec<String> {
    let found = saved.subscriptions.iter().find(|one| one.topic == topic(name));
    let show = |slot: &Slot| match &slot.entry {
        Entry::Batch { batch, from_seq } => {
            let header = batch.header();
            format!("{}:{from_seq}-{}@{}", header.origin.node.0[0], header.last_seq(), slot.ordinal)
        }
        Entry::Gap { origin, from, to, .. } => format!("{}:{from}-{to}?", origin.node.0[0]),
        Entry::Retained(batch) => format!("retained {}@{}", batch.header().first_seq, slot.ordinal),
        Entry::TopicDeleted => "deleted".to_owned(),
    };
    found.expect("subscribed").unread.iter().map(show).collect()
}

struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn open(&self) -> (Store, Saved) {
        Store::open(self.0.path(), LIMITS, NOW).expect("opened")
    }

    fn refused(&self) -> StoreError {
        Store::open(self.0.path(), LIMITS, NOW).map(drop).expect_err("refused")
    }

    fn sql(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.0.path().join(FILE)).expect("opened");
        db.execute_batch(sql).expect(sql);
    }
}

#[tokio::test]
async fn what_was_not_read_is_there_again_and_what_was_read_is_not() {
    let disk = Disk::new();
    let (store, saved) = disk.open();
    assert!(saved.subscriptions.is_empty() && saved.alive_us.is_none());
    store.begin(begin("t", 1_000)).await.expect("written");
    store.unread(1_000, &batch("t", 1, 1, 3), 1, NOW);
    store.unread(1_003, &batch("t", 2, 5, 6), 6, NOW + 1);
    store.unread(1_004, &batch("t", 1, 4, 4), 4, NOW + 2);
    store.read(vec![(topic("t"), 1_002)]).await.expect("written");
    drop(store);
    let (store, saved) = disk.open();
    assert_eq!(unread(&saved, "t"), ["1:3-3@1002", "2:6-6@1003", "1:4-4@1004"]);
    assert_eq!(saved.subscriptions[0].ordinal, 1_005);
    assert_eq!(saved.alive_us, Some(NOW + 2));
    let positions: BTreeMap<_, _> = saved.subscriptions[0].positions.iter().copied().collect();
    assert_eq!(positions, BTreeMap::from([(origin(1), 5), (origin(2), 7)]));
    store.read(vec![(topic("t"), 1_005)]).await.expect("written");
    drop(store);
    assert_eq!(unread(&disk.open().1, "t"), [""; 0]);
}

#[tokio::test]
async fn unread_messages_are_bounded_on_disk_and_what_is_lost_is_named() {
    let disk = Disk::new();
    let (store, _) = disk.open();
    store.begin(begin("t", 1_000)).await.expect("written");
    for n in 0..30 {
        store.unread(1_000 + 10 * n, &batch("t", 1, 10 * n + 1, 10 * n + 10), 10 * n + 1, NOW);
    }
    drop(store);
    let (store, saved) = disk.open();
    let found = unread(&saved, "t");
    assert_eq!((found.len(), &found[0][..], &found[1][..]), (11, "1:1-200?", "1:201-210@1200"));
    store.read(vec![(topic("t"), 1_250)]).await.expect("written");
    drop(store);
    assert_eq!(unread(&disk.open().1, "t")[0], "1:251-260@1250", "a loss is told once");
}

#[tokio::test]
async fn what_came_and_was_not_written_is_named() {
    let disk = Disk::new();
    let (store, _) = disk.open();
    store.begin(begin("t", 1_000)).await.expect("written");
    store.unread(1_000, &batch("t", 1, 1, 3), 1, NOW);
    store.read(vec![(topic("t"), 1_003)]).await.expect("written");
    // Too much waited when 4 and 5 came.
    store.unread(1_005, &batch("t", 1, 6, 6), 6, NOW);
    drop(store);
    let (store, saved) = disk.open();
    assert_eq!(unread(&saved, "t"), ["1:4-5?", "1:6-6@1005"]);
    store.read(vec![(topic("t"), 1_006)]).await.expect("written");
    drop(store);
    assert_eq!(unread(&disk.open().1, "t"), [""; 0], "and told once");
}

#[tokio::test]
async fn what_a_failed_transaction_lost_is_named() {
    let disk = Disk::new();
    let (store, _) = disk.open();
    store.begin(begin("t", 1_000)).await.expect("written");
    store.unread(1_000, &batch("t", 1, 1, 3), 1, NOW);
    store.read(vec![(topic("t"), 1_003)]).await.expect("written");
    disk.sql("CREATE TRIGGER full BEFORE INSERT ON unread BEGIN SELECT RAISE(ABORT, 'full'); END");
    store.unread(1_003, &batch("t", 1, 4, 5), 4, NOW);
    store.read(vec![(topic("t"), 1_003)]).await.expect_err("the disk is full");
    assert_eq!(store.counts().failed.load(Ordering::Relaxed), 1);
    disk.sql("DROP TRIGGER full");
    store.unread(1_005, &batch("t", 1, 6, 6), 6, NOW);
    drop(store);
    assert_eq!(unread(&disk.open().1, "t"), ["1:4-5?", "1:6-6@1005"]);
}

/// A subscription after history of the first stream.
fn begin_after(history: &[(u64, u64)], ordinal: u64) -> Begin {
    let entry = |&(first, last): &(u64, u64)| Entry::Batch {
        batch: batch("t", 1, first, last),
        from_seq: first,
    };
    let slot = |(ordinal, range)| Slot { entry: entry(range), ordinal };
    Begin { history: (ordinal..).zip(history).map(slot).collect(), ..begin("t", ordinal) }
}

#[tokio::test]
async fn history_that_is_written_after_what_is_live_takes_nothing_back() {
    let disk = Disk::new();
    let (store, _) = disk.open();
    store.unread(1_000, &batch("t", 1, 12, 13), 12, NOW);
    store.begin(begin_after(&[(10, 10), (11, 11)], 998)).await.expect("written");
    drop(store);
    let (store, saved) = disk.open();
    assert_eq!(unread(&saved, "t"), ["1:10-10@998", "1:11-11@999", "1:12-13@1000"]);
    assert_eq!(saved.subscriptions[0].positions, [(origin(1), 14)]);
    store.read(vec![(topic("t"), 999)]).await.expect("written");
    drop(store);
    assert_eq!(unread(&disk.open().1, "t"), ["1:11-11@999", "1:12-13@1000"]);
}

#[tokio::test]
async fn what_comes_as_history_and_as_news_is_there_once() {
    for live_first in [false, true] {
        let disk = Disk::new();
        let (store, _) = disk.open();
        if live_first {
            store.unread(1_000, &batch("t", 1, 1, 2), 1, NOW);
        }
        store.begin(begin_after(&[(1, 2)], 998)).await.expect("written");
        if !live_first {
            store.unread(1_000, &batch("t", 1, 1, 2), 1, NOW);
        }
        store.unread(1_002, &batch("t", 1, 3, 3), 3, NOW);
        drop(store);
        assert_eq!(unread(&disk.open().1, "t"), ["1:1-2@998", "1:3-3@1002"]);
    }
}

#[tokio::test]
async fn an_ended_subscription_leaves_nothing() {
    let disk = Disk::new();
    let (store, _) = disk.open();
    let mut asked = begin("t", 7);
    asked.options.policy = Policy::DropOldest { messages: 5 };
    store.begin(asked).await.expect("written");
    store.begin(begin("u", 7)).await.expect("written");
    store.unread(7, &batch("t", 1, 1, 1), 1, NOW);
    store.unread(7, &batch("u", 1, 1, 1), 1, NOW);
    drop(store);
    let (store, saved) = disk.open();
    assert_eq!(saved.subscriptions[0].options.policy, Policy::DropOldest { messages: 5 });
    store.end(topic("t")).await.expect("written");
    drop(store);
    let (_store, saved) = disk.open();
    assert_eq!(saved.subscriptions.len(), 1);
    assert_eq!(unread(&saved, "u"), ["1:1-1@7"]);
}

#[tokio::test]
async fn a_log_is_kept_within_bytes_and_age() {
    let disk = Disk::new();
    let (store, _) = disk.open();
    let size = batch("t", 1, 1, 1).bytes().len() as u64;
    let limits = LogLimits { bytes_max: 3 * size, age_max_us: 1_000 };
    store.keep_log(topic("t"), true, limits).await.expect("written");
    for n in 1..=5 {
        store.log(&batch("t", 1, n, n), NOW + n as i64);
    }
    store.log(&batch("other", 1, 1, 1), NOW);
    drop(store);
    let (store, saved) = disk.open();
    let firsts = |saved: &Saved| -> Vec<u64> {
        saved.logs[0].batches.iter().map(|(batch, _)| batch.header().first_seq).collect()
    };
    assert_eq!((firsts(&saved), saved.logs[0].hosted), (vec![3, 4, 5], true));
    assert_eq!(saved.logs[0].limits, limits);
    store.log(&batch("t", 1, 6, 6), NOW + 1_005);
    drop(store);
    let (store, saved) = disk.open();
    assert_eq!(firsts(&saved), [5, 6]);
    store.drop_log(topic("t"));
    drop(store);
    assert!(disk.open().1.logs.is_empty());
}

#[tokio::test]
async fn damage_is_an_error_and_never_a_fresh_start() {
    let disk = Disk::new();
    let (store, _) = disk.open();
    store.begin(begin("t", 7)).await.expect("written");
    store.unread(7, &batch("t", 1, 1, 1), 1, NOW);
    drop(store);
    disk.sql("UPDATE unread SET from_seq = 0");
    let text = disk.refused().to_string();
    assert!(text.contains("peer.sqlite is damaged") && text.contains("checksum"), "{text}");
    disk.sql("UPDATE unread SET from_seq = 1");
    assert_eq!(unread(&disk.open().1, "t"), ["1:1-1@7"]);
    disk.sql("UPDATE subscription SET next = 6");
    assert!(matches!(disk.refused(), StoreError::Damaged { .. }));

    let path = disk.0.path().join(FILE);
    std::fs::write(&path, vec![7; 9_000]).expect("written");
    assert!(matches!(disk.refused(), StoreError::Damaged { .. }));
    assert_eq!(std::fs::read(&path).expect("there"), vec![7; 9_000], "left as it was");
}

#[test]
fn files_of_others_and_of_the_future_are_refused() {
    let disk = Disk::new();
    disk.sql("CREATE TABLE somebody (x); INSERT INTO somebody VALUES (1);");
    assert!(matches!(disk.refused(), StoreError::Foreign { .. }));
    let disk = Disk::new();
    drop(disk.open());
    disk.sql("PRAGMA user_version = 3");
    assert!(matches!(disk.refused(), StoreError::Newer { found: 3, known: 2, .. }));
}
