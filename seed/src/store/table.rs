//! The tables: one for each kind of row, with columns that people can read.
//!
//! Every row has its columns, the row of the machine as bytes, and a checksum over both. Reading
//! makes the columns again from the bytes: whatever changed, in either, is noticed.

use rusqlite::types::Value;
use tidings_proto::NodeId;
use tidings_proto::seed::memory::{Key, Row};
use tidings_proto::seed::status::Death;
use tidings_proto::wire::frame::Ballot;
use tidings_proto::wire::record::{PeerRecord, Record, SeedPlace, SignedRecord};
use tidings_runtime::store::Sum;

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Its columns but for `row` and `sum`; the first `keys` of them name a row.
    pub(super) columns: &'static [&'static str],
    pub(super) keys: usize,
}

pub(super) const PEER: Table = Table {
    name: "peer",
    columns: &["node", "incarnation", "version", "address", "name"],
    keys: 1,
};
pub(super) const ENDED: Table = Table {
    name: "ended",
    columns: &["node", "incarnation", "version", "address", "name", "votes"],
    keys: 1,
};
pub(super) const SUBSCRIPTION: Table = Table {
    name: "subscription",
    columns: &["node", "topic", "incarnation", "version", "subscribed"],
    keys: 2,
};
pub(super) const TOPIC: Table = Table {
    name: "topic",
    columns: &["topic", "generation", "version", "host", "deleted"],
    keys: 1,
};
pub(super) const REGISTER: Table = Table {
    name: "register",
    columns: &["topic", "promised_round", "promised_to", "accepted_round", "accepted_of", "host"],
    keys: 1,
};
pub(super) const MEMBERSHIP: Table = Table {
    name: "membership",
    columns: &["one", "floor_round", "floor_of", "rounds", "votes"],
    keys: 1,
};

pub(super) const SEED_SET: Table =
    Table { name: "seed_set", columns: &["one", "version", "seeds", "former", "author"], keys: 1 };

pub(super) const DEATH: Table = Table {
    name: "death",
    columns: &["node", "incarnation", "address", "name", "at_us", "reporters", "probe", "voters"],
    keys: 2,
};

/// All tables of rows.
pub(super) const ALL: [&Table; 8] =
    [&MEMBERSHIP, &SEED_SET, &PEER, &ENDED, &SUBSCRIPTION, &TOPIC, &REGISTER, &DEATH];

/// The statements that make an empty file of version 1. `sum` is eight bytes of BLAKE3.
pub(super) const VERSION_1: &str = "
CREATE TABLE owner (one INTEGER PRIMARY KEY CHECK (one = 1), cluster TEXT NOT NULL,
    node TEXT NOT NULL, sum BLOB NOT NULL);
CREATE TABLE membership (one INTEGER PRIMARY KEY CHECK (one = 1), floor_round INTEGER NOT NULL,
    floor_of TEXT NOT NULL, rounds INTEGER NOT NULL, votes INTEGER NOT NULL,
    row BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE peer (node TEXT PRIMARY KEY, incarnation INTEGER NOT NULL, version INTEGER NOT NULL,
    address TEXT NOT NULL, name TEXT NOT NULL, row BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE ended (node TEXT PRIMARY KEY, incarnation INTEGER NOT NULL, version INTEGER NOT NULL,
    address TEXT NOT NULL, name TEXT NOT NULL, votes INTEGER,
    row BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE subscription (node TEXT NOT NULL, topic TEXT NOT NULL, incarnation INTEGER NOT NULL,
    version INTEGER NOT NULL, subscribed INTEGER NOT NULL, row BLOB NOT NULL, sum BLOB NOT NULL,
    PRIMARY KEY (node, topic));
CREATE TABLE topic (topic TEXT PRIMARY KEY, generation INTEGER NOT NULL, version INTEGER NOT NULL,
    host TEXT NOT NULL, deleted INTEGER NOT NULL, row BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE register (topic TEXT PRIMARY KEY, promised_round INTEGER NOT NULL,
    promised_to TEXT NOT NULL, accepted_round INTEGER, accepted_of TEXT, host TEXT,
    row BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE seed_set (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL,
    seeds TEXT NOT NULL, former TEXT, author TEXT NOT NULL,
    row BLOB NOT NULL, sum BLOB NOT NULL);
CREATE TABLE death (node TEXT NOT NULL, incarnation INTEGER NOT NULL, address TEXT NOT NULL,
    name TEXT NOT NULL, at_us INTEGER NOT NULL, reporters TEXT NOT NULL, probe TEXT NOT NULL,
    voters TEXT NOT NULL, row BLOB NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (node, incarnation));
";

/// Where a row belongs, and its columns; none when it is none that a seed writes.
pub(super) fn columns(row: &Row) -> Option<(&'static Table, Vec<Value>)> {
    let found = match row {
        Row::Peer(signed) => (&PEER, peer_columns(peer_of(signed)?)),
        Row::Ended { record, votes, .. } => {
            let mut columns = peer_columns(peer_of(record)?);
            let count = votes.as_ref().map(|votes| count(votes.len() as u64));
            columns.push(count.unwrap_or(Value::Null));
            (&ENDED, columns)
        }
        Row::Subscription(signed) => {
            let Record::Subscription(of) = &signed.record else { return None };
            let (life, version) = (count(of.incarnation.0), count(of.version));
            let topic = text(of.topic.as_str());
            (&SUBSCRIPTION, vec![node(of.node), topic, life, version, flag(of.subscribed)])
        }
        Row::Topic(signed) => {
            let Record::Topic(of) = &signed.record else { return None };
            let (generation, version) = (count(of.generation), count(of.version));
            let host = node(of.host);
            (&TOPIC, vec![text(of.topic.as_str()), generation, version, host, flag(of.deleted)])
        }
        Row::Register { topic, promised, accepted } => {
            let mut columns = vec![text(topic.as_str())];
            columns.extend(ballot(*promised));
            match accepted {
                Some(vote) => {
                    columns.extend(ballot(vote.ballot));
                    columns.push(node(vote.record.record.owner()));
                }
                None => columns.extend([Value::Null, Value::Null, Value::Null]),
            }
            (&REGISTER, columns)
        }
        Row::SeedSet(signed) => {
            let Record::SeedSet(of) = &signed.record else { return None };
            let before = of.before.as_deref().map_or(Value::Null, |before| text(&places(before)));
            let seeds = text(&places(&of.seeds));
            let author = node(of.author);
            (&SEED_SET, vec![Value::Integer(1), count(of.version), seeds, before, author])
        }
        Row::Death(of) => (&DEATH, death_columns(of)),
        Row::Membership(of) => {
            let mut columns = vec![Value::Integer(1)];
            columns.extend(ballot(of.floor));
            columns.extend([count(of.rounds), flag(of.votes)]);
            (&MEMBERSHIP, columns)
        }
    };
    Some(found)
}

/// Where the row with a key is, and the columns that name it.
pub(super) fn place(key: &Key) -> (&'static Table, Vec<Value>) {
    match key {
        Key::Peer(of) => (&PEER, vec![node(*of)]),
        Key::Ended(of) => (&ENDED, vec![node(*of)]),
        Key::Subscription(of, topic) => (&SUBSCRIPTION, vec![node(*of), text(topic.as_str())]),
        Key::Topic(topic) => (&TOPIC, vec![text(topic.as_str())]),
        Key::Register(topic) => (&REGISTER, vec![text(topic.as_str())]),
        Key::Membership => (&MEMBERSHIP, vec![Value::Integer(1)]),
        Key::SeedSet => (&SEED_SET, vec![Value::Integer(1)]),
        Key::Death(of, life) => (&DEATH, vec![node(*of), count(life.0)]),
    }
}

/// The checksum of a row.
pub(super) fn sum(table: &str, columns: &[Value], bytes: &[u8]) -> Vec<u8> {
    let mut sum = Sum::of(table);
    for column in columns {
        sum = match column {
            Value::Null => sum.bytes(b"null"),
            Value::Integer(number) => sum.number(*number),
            Value::Real(number) => sum.bytes(&number.to_be_bytes()),
            Value::Text(text) => sum.bytes(text.as_bytes()),
            Value::Blob(bytes) => sum.bytes(bytes),
        };
    }
    sum.bytes(bytes).end().to_vec()
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn node(node: NodeId) -> Value {
    Value::Text(node.to_string())
}

/// Numbers beyond what SQLite has wrap: they are only shown, the bytes have them.
fn count(number: u64) -> Value {
    Value::Integer(number.cast_signed())
}

fn flag(flag: bool) -> Value {
    Value::Integer(i64::from(flag))
}

fn ballot(ballot: Ballot) -> [Value; 2] {
    [count(ballot.round), node(ballot.seed)]
}

fn places(seeds: &[SeedPlace]) -> String {
    let addresses: Vec<String> = seeds.iter().map(|seed| seed.address.to_string()).collect();
    addresses.join(",")
}

fn death_columns(of: &Death) -> Vec<Value> {
    let all = |ids: &[NodeId]| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        text(&ids.join(","))
    };
    vec![
        node(of.peer.node),
        count(of.peer.incarnation.0),
        text(&of.peer.address.to_string()),
        text(&of.name),
        Value::Integer(of.at_us),
        all(&of.reporters),
        text(&of.probe),
        all(&of.voters),
    ]
}

fn peer_of(signed: &SignedRecord) -> Option<&PeerRecord> {
    match &signed.record {
        Record::Peer(record) => Some(record),
        _ => None,
    }
}

fn peer_columns(of: &PeerRecord) -> Vec<Value> {
    let address = of.addresses.first().map(ToString::to_string).unwrap_or_default();
    let (life, version) = (count(of.incarnation.0), count(of.version));
    vec![node(of.node), life, version, Value::Text(address), text(&of.name)]
}
