#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidings_proto::crypto::{Scheme, Signer};
use tidings_proto::seed::memory::{Key, Membership, Row, apply};
use tidings_proto::seed::status::Death;
use tidings_proto::wire::frame::{Ballot, PeerEntry, Vote};
use tidings_proto::wire::record::{
    PeerRecord, Record, SignedRecord, SubscriptionRecord, TopicPolicy, TopicRecord,
};
use tidings_proto::{Incarnation, NodeId, Topic};

use super::*;

fn owner() -> Owner {
    Owner { cluster: "local".into(), node: NodeId([7; 32]) }
}

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

fn signed(record: Record) -> SignedRecord {
    let signer = Signer::Checksum(record.owner());
    SignedRecord::sign(record, &signer)
}

fn peer(n: u8, life: u64) -> SignedRecord {
    signed(Record::Peer(PeerRecord {
        node: node(n),
        incarnation: Incarnation(life),
        version: 1,
        addresses: vec!["127.0.0.1:7200".parse().unwrap()],
        name: format!("peer-{n}"),
        left: false,
    }))
}

fn subscription(n: u8, life: u64, name: &str) -> SignedRecord {
    signed(Record::Subscription(SubscriptionRecord {
        node: node(n),
        incarnation: Incarnation(life),
        topic: topic(name),
        version: 3,
        subscribed: true,
    }))
}

fn topic_record(name: &str) -> SignedRecord {
    signed(Record::Topic(TopicRecord {
        topic: topic(name),
        generation: 2,
        version: 1 << 48,
        host: node(1),
        created_at_us: -5,
        policy: TopicPolicy::default(),
        deleted: false,
    }))
}

fn membership(votes: bool) -> Row {
    let floor = Ballot { round: 4, seed: node(9) };
    Row::Membership(Membership { floor, rounds: 1_000, forgotten: 3, votes })
}

fn death(n: u8, incarnation: u64) -> Death {
    let peer = PeerEntry {
        node: node(n),
        incarnation: Incarnation(incarnation),
        address: ([127, 0, 0, 1], 7_200).into(),
    };
    let probe = "it answered no probe".to_owned();
    let (reporters, voters) = (vec![node(1), node(9)], vec![node(8), node(9)]);
    Death { peer, name: "peer-3".to_owned(), at_us: 1_700_000, reporters, probe, voters }
}

/// A row of each kind.
fn some() -> Vec<Change> {
    let ballot = Ballot { round: 9, seed: node(3) };
    let vote = Vote { ballot, record: topic_record("a/b") };
    let ended = Row::Ended { record: peer(3, 8), votes: Some(Vec::new()), forgotten: false };
    let promised = Row::Register { topic: topic("x"), promised: ballot, accepted: None };
    let accepted = Row::Register { topic: topic("a/b"), promised: ballot, accepted: Some(vote) };
    let rows = vec![
        Row::Peer(peer(1, 10)),
        Row::Peer(peer(2, 10)),
        ended,
        Row::Subscription(subscription(1, 10, "a/b")),
        Row::Subscription(subscription(2, 10, "a/b")),
        Row::Topic(topic_record("a/b")),
        promised,
        accepted,
        Row::Death(death(3, 8)),
        membership(true),
    ];
    rows.into_iter().map(Change::Put).collect()
}

struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A disk with a row of each kind.
    fn filled() -> Self {
        let disk = Self::new();
        let (mut store, found, _news) = disk.open().unwrap();
        assert!(found.is_new && found.memory == Memory::default());
        store.write(1, some());
        wait(&mut store, 1);
        disk
    }

    fn open(&self) -> Result<(Store, Found, Receiver<News>), StoreError> {
        Store::open(self.0.path(), &owner())
    }

    fn found(&self) -> Found {
        self.open().unwrap().1
    }

    fn path(&self) -> PathBuf {
        self.0.path().join(FILE)
    }

    fn sql(&self, sql: &str) {
        let file = rusqlite::Connection::open(self.path()).unwrap();
        file.execute_batch(sql).unwrap();
    }
}

/// Waits until a change is on disk.
fn wait(store: &mut Store, token: u64) {
    let until = Instant::now() + Duration::from_secs(60);
    let mut context = Context::from_waker(std::task::Waker::noop());
    while Instant::now() < until {
        if let Poll::Ready(done) = store.poll_persisted(&mut context)
            && done >= token
        {
            return;
        }
        // Between two looks: without a runtime nothing wakes this thread.
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing was written in a minute");
}

fn by_key(rows: Vec<Row>) -> BTreeMap<Key, Row> {
    rows.into_iter().map(|row| (row.key().unwrap(), row)).collect()
}

#[test]
fn a_file_does_what_a_map_does() {
    let disk = Disk::filled();
    let mut map = BTreeMap::new();
    some().into_iter().for_each(|change| apply(&mut map, change));
    assert_eq!(by_key(disk.found().memory.rows), map);
    let steps = [
        vec![Change::Put(Row::Peer(peer(1, 11)))],
        vec![Change::Remove(Key::Peer(node(2))), Change::Remove(Key::Peer(node(77)))],
        vec![
            Change::Put(Row::Subscription(subscription(1, 11, "c"))),
            Change::Remove(Key::Register(topic("x"))),
            Change::Remove(Key::Ended(node(3))),
            Change::Put(membership(false)),
        ],
        vec![Change::Remove(Key::Subscription(node(1), topic("c")))],
        vec![Change::Remove(Key::Topic(topic("a/b")))],
    ];
    let (mut store, ..) = disk.open().unwrap();
    for (token, step) in (1..).zip(steps) {
        store.write(token, step.clone());
        wait(&mut store, token);
        step.into_iter().for_each(|change| apply(&mut map, change));
        let file = file::FORMAT.open_to_read(&disk.path()).unwrap();
        let contents = file::read_all(&file, &disk.path()).unwrap();
        assert_eq!(by_key(contents.memory.rows), map, "step {token}");
    }
}

#[test]
fn any_change_of_a_row_is_noticed_and_costs_the_vote() {
    let damages = [
        "UPDATE peer SET name = 'somebody' WHERE name = 'peer-1'",
        "UPDATE ended SET node = replace(node, '03', '04')",
        "UPDATE subscription SET topic = 'other' WHERE rowid = 1",
        "UPDATE subscription SET topic = CAST(x'ff41' AS TEXT) WHERE rowid = 1",
        "UPDATE topic SET row = row || x'00'",
        "UPDATE register SET promised_round = 1 WHERE topic = 'x'",
        "UPDATE register SET row = (SELECT row FROM topic) WHERE topic = 'x'",
        "UPDATE peer SET sum = x'0102030405060708' WHERE name = 'peer-1'",
    ];
    for damage in damages {
        let disk = Disk::filled();
        disk.sql(damage);
        let checked = check(&disk.path(), false).unwrap();
        assert_eq!((checked.damaged.values().sum::<usize>(), checked.votes), (1, false));
        let found = disk.found();
        assert_eq!((found.damaged, found.memory.damaged), (1, true), "{damage}");
        assert_eq!(found.memory.rows.len(), some().len() - 1);
        // The next start sees a whole file that does not say that the seed votes.
        let found = disk.found();
        assert_eq!((found.damaged, found.memory.damaged), (0, false));
        assert!(found.memory.rows.contains(&membership(false)), "{damage}");
    }
}

#[test]
fn a_write_that_was_torn_by_a_loss_of_power_is_void_and_those_before_it_are_there() {
    let disk = Disk::filled();
    let (mut store, ..) = disk.open().unwrap();
    for n in 0..20 {
        store.write(n, vec![Change::Put(Row::Topic(topic_record(&format!("t/{n}"))))]);
        wait(&mut store, n);
    }
    let names = ["", "-wal"].map(|suffix| format!("{}{suffix}", disk.path().display()));
    let [file, log] = names.map(|name| std::fs::read(name).unwrap());
    let mut counts = Vec::new();
    for lost in (0..log.len()).step_by(517) {
        let copy = Disk::new();
        std::fs::write(copy.path(), &file).unwrap();
        let name = format!("{}-wal", copy.path().display());
        std::fs::write(name, &log[..log.len() - lost]).unwrap();
        let Ok((_, found, _)) = copy.open() else {
            panic!("{lost} bytes less made the file unreadable");
        };
        assert_eq!(found.damaged, 0);
        let topics = found.memory.rows.iter().filter(|row| matches!(row, Row::Topic(_)));
        counts.push(topics.count());
    }
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
    assert!(counts[0] == 21 && counts.last().is_some_and(|last| *last < 21), "{counts:?}");
}

#[test]
fn a_file_of_somebody_else_is_refused_with_its_name() {
    let disk = Disk::filled();
    let error = |owner: &Owner| Store::open(disk.0.path(), owner).unwrap_err().to_string();
    let other = error(&Owner { cluster: "other".into(), ..owner() });
    assert!(other.contains("cluster 'local', not to"), "{other}");
    let other = error(&Owner { node: node(8), ..owner() });
    assert!(other.contains("belongs to seed 0707"), "{other}");
    disk.sql("UPDATE owner SET cluster = 'other'");
    assert!(matches!(disk.open().unwrap_err(), StoreError::Damaged { .. }));
    disk.sql("PRAGMA user_version = 99");
    assert!(matches!(disk.open().unwrap_err(), StoreError::Newer { .. }));
    disk.sql("PRAGMA application_id = 1");
    assert!(matches!(disk.open().unwrap_err(), StoreError::Foreign { .. }));
    for text in ["no database", &"no database at all, but as long as one ".repeat(100)] {
        let disk = Disk::new();
        std::fs::write(disk.path(), text).unwrap();
        let error = disk.open().unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_scrub_finds_rows_that_change_while_the_seed_runs() {
    let disk = Disk::filled();
    let (synced, _persisted) = channel(NEWS_MAX);
    let (news, mut told) = channel(NEWS_MAX);
    let opened = file::FORMAT.open(&disk.path()).unwrap();
    let mut writer = thread::Writer::new(opened, synced, news);
    // Some parts for each table: all rows are read more than once.
    let mut pass = || {
        let mut parts = (0..40).map(|_| writer.scrub().map(|()| told.try_recv().ok()).unwrap());
        parts.find_map(|news| news)
    };
    assert!(pass().is_none());
    disk.sql("UPDATE peer SET name = 'somebody' WHERE name = 'peer-1'");
    let damaged = || check(&disk.path(), false).unwrap().damaged.values().sum::<usize>();
    assert!(matches!(pass(), Some(News::Damaged(1))));
    assert_eq!(damaged(), 1, "a start before it is written anew finds it");
    assert!(matches!(pass(), Some(News::Damaged(1))));
    assert_eq!(damaged(), 0, "nothing was written over it: its key is lost");
    assert_eq!(disk.found().memory.rows.len(), some().len() - 1);
}

#[test]
fn a_disk_that_is_full_acknowledges_nothing_and_says_so() {
    let disk = Disk::filled();
    let (mut store, _, mut news) = disk.open().unwrap();
    // Held by somebody else, the file cannot be written: as good as full.
    let file = rusqlite::Connection::open(disk.path()).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.write(1, vec![Change::Put(membership(true))]);
    let until = Instant::now() + Duration::from_secs(60);
    let told = loop {
        if let Ok(told) = news.try_recv() {
            break told;
        }
        assert!(Instant::now() < until, "nothing was said in a minute");
        // Between two looks: without a runtime nothing wakes this thread.
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(matches!(told, News::Failed(_)), "{told:?}");
    file.execute_batch("ROLLBACK").unwrap();
    store.write(2, vec![Change::Put(membership(true))]);
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(store.poll_persisted(&mut context).is_pending());
}

#[test]
fn a_backup_is_whole_and_comes_back_as_one_that_learns() {
    let disk = Disk::filled();
    let (_store, ..) = disk.open().unwrap();
    let copy = Disk::new();
    let target = copy.0.path().join("copy");
    let made = backup(disk.0.path(), &target, false).unwrap();
    assert!(made.votes && made.rows["peer"] == 2 && made.cluster == "local");
    assert!(backup(disk.0.path(), &target, false).is_err(), "it exists");
    let fresh = Disk::new();
    let other = Owner { node: node(9), ..owner() };
    let stranger = Owner { cluster: "other".into(), ..owner() };
    assert!(restore(&target, fresh.0.path(), &stranger, false, false).is_err());
    restore(&target, fresh.0.path(), &other, false, false).unwrap();
    assert!(restore(&target, fresh.0.path(), &other, false, false).is_err(), "there is one");
    restore(&target, fresh.0.path(), &other, true, false).unwrap();
    let (_, found, _) = Store::open(fresh.0.path(), &other).unwrap();
    assert_eq!((found.is_new, found.memory.rows.len()), (false, some().len()));
    assert!(found.memory.rows.contains(&membership(false)));
    // A damaged file makes no backup, and a damaged backup no seed.
    disk.sql("UPDATE peer SET version = 2");
    assert!(backup(disk.0.path(), &copy.0.path().join("two"), false).is_err());
    let file = rusqlite::Connection::open(&target).unwrap();
    file.execute_batch("UPDATE peer SET version = 2").unwrap();
    assert!(restore(&target, fresh.0.path(), &other, true, false).is_err());
    let left: Vec<_> = std::fs::read_dir(copy.0.path()).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.path().ends_with(".tmp")), "{left:?}");
}

#[test]
fn signatures_survive_the_disk() {
    let disk = Disk::filled();
    for row in disk.found().memory.rows {
        if let Row::Peer(signed) | Row::Topic(signed) | Row::Subscription(signed) = row {
            assert!(signed.verify(Scheme::Checksum));
        }
    }
}
