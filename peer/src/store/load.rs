//! What the file says at the start. Every row is checked; one that is damaged is an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Row};
use tidings_proto::peer::event::From;
use tidings_proto::wire::batch::Batch;
use tidings_proto::{Incarnation, NodeId, Origin, Topic, TopicFilter};

use super::LogLimits;
use super::filters::filter_sum;
use super::retained::retained_sum;
use super::write::{durable_sum, log_sum, stream_sum, subscription_sum, unread_sum};
use crate::delivery::GapReason;
use crate::journal::{Entry, Slot};
use crate::subscribe::{Policy, SubscribeOptions};
use tidings_runtime::store::{StoreError, failed};

/// Positions of streams of which nothing came for so long are forgotten: no neighbour retains
/// anything of them (the longest retention is an hour, unless a topic's creator says otherwise).
const POSITION_KEPT_US: i64 = 7 * 86_400 * 1_000_000;

/// Everything that was kept.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// The permanent session.
    pub(crate) subscriptions: Vec<SavedSubscription>,
    /// The filters of the permanent session.
    pub(crate) filters: Vec<(TopicFilter, SubscribeOptions)>,
    /// Durable topics.
    pub(crate) logs: Vec<SavedLog>,
    /// When the former life was last known to be alive, if there was one.
    pub(crate) alive_us: Option<i64>,
}

/// A subscription of the permanent session.
#[derive(Debug)]
pub(crate) struct SavedSubscription {
    pub(crate) topic: Topic,
    pub(crate) options: SubscribeOptions,
    /// What was not read, numbered.
    pub(crate) unread: Vec<Slot>,
    /// The number that the next message gets.
    pub(crate) ordinal: u64,
    /// How far each stream was received.
    pub(crate) positions: Vec<(Origin, u64)>,
    /// It is there for the sake of filters alone.
    pub(crate) matching: bool,
}

/// The log of a durable topic.
#[derive(Debug)]
pub(crate) struct SavedLog {
    pub(crate) topic: Topic,
    /// This peer hosts the topic.
    pub(crate) hosted: bool,
    pub(crate) limits: LogLimits,
    /// Batches with the time at which they came, oldest first.
    pub(crate) batches: Vec<(Arc<Batch>, i64)>,
    /// The one with the message that the topic retains, and when it came.
    pub(crate) value: Option<(Arc<Batch>, i64)>,
}

/// Reads everything.
pub(super) fn load(db: &Connection, path: &Path, now_us: i64) -> Result<Saved, StoreError> {
    let loader = Loader { db, path };
    let alive_us = loader.rows("SELECT now_us FROM alive", |row| number(row, 0))?.pop();
    let old = now_us.saturating_sub(POSITION_KEPT_US);
    db.execute("DELETE FROM position WHERE seen_us < ?", [old]).map_err(|e| failed(path, e))?;
    let (subscriptions, filters) = (loader.subscriptions()?, loader.filters()?);
    Ok(Saved { subscriptions, filters, logs: loader.logs()?, alive_us })
}

struct Loader<'a> {
    db: &'a Connection,
    path: &'a Path,
}

/// An unread batch: its first number, and the first message that counts.
type Unread = (u64, Arc<Batch>, u64);

/// A batch, and its number or the time at which it came.
type Numbered = (Arc<Batch>, i64);

/// A row whose content cannot be: what it lacks.
type Found<T> = Result<T, String>;

impl Loader<'_> {
    /// All rows of a query.
    fn rows<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> Found<T>,
    ) -> Result<Vec<T>, StoreError> {
        let failed = |source| failed(self.path, source);
        let mut statement = self.db.prepare(sql).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let read = read(row).map_err(|what| {
                let what = format!("a row of \"{sql}\": {what}");
                StoreError::Damaged { path: self.path.to_owned(), what }
            });
            all.push(read?);
        }
        Ok(all)
    }

    fn subscriptions(&self) -> Result<Vec<SavedSubscription>, StoreError> {
        let subscriptions = self.rows("SELECT * FROM subscription", |row| {
            let (name, next, newest) = (text(row, 0)?, number(row, 1)?, number(row, 2)?);
            let durable = number(row, 3)?;
            check(row, 4, subscription_sum(&name, next, newest, durable))?;
            Ok((topic(&name)?, unsigned(next)?, options(newest, durable)))
        })?;
        let mut unread = by_topic(self.rows("SELECT * FROM unread ORDER BY ordinal", unread)?);
        let mut lost = by_topic(self.rows("SELECT * FROM lost", |row| stream(row, "lost"))?);
        let positions = self.rows("SELECT * FROM position", |row| stream(row, "position"))?;
        let mut positions = by_topic(positions);
        let mut retained = by_topic(self.batches("retained")?);
        let matching = self.rows("SELECT topic FROM matching", |row| topic(&text(row, 0)?))?;
        let saved = subscriptions.into_iter().map(|(topic, next, options)| {
            let lost = lost.remove(&topic).unwrap_or_default();
            let rows = unread.remove(&topic).unwrap_or_default();
            let ordinal = rows.last().map_or(next, |(last, batch, from)| {
                last + (batch.header().last_seq() + 1).saturating_sub(*from)
            });
            let mut unread = arrange(lost, rows, next);
            let first = retained.remove(&topic).unwrap_or_default().pop();
            let first = first.map(|(batch, at)| (batch, at.unsigned_abs()));
            let first = first.filter(|(_, at)| *at >= next);
            let ordinal = ordinal.max(first.as_ref().map_or(0, |(_, at)| at + 1));
            if let Some((batch, ordinal)) = first {
                unread.insert(0, Slot { entry: Entry::Retained(batch), ordinal });
            }
            let positions = positions.remove(&topic).unwrap_or_default();
            let positions = positions.into_iter().map(|(origin, next, _)| (origin, next));
            SavedSubscription {
                unread,
                ordinal: ordinal.max(next),
                positions: positions.collect(),
                matching: matching.contains(&topic),
                topic,
                options,
            }
        });
        Ok(saved.collect())
    }

    fn filters(&self) -> Result<Vec<(TopicFilter, SubscribeOptions)>, StoreError> {
        self.rows("SELECT * FROM filter", |row| {
            let (text, newest, durable) = (text(row, 0)?, number(row, 1)?, number(row, 2)?);
            check(row, 3, filter_sum(&text, newest, durable))?;
            let filter = TopicFilter::new(&text).map_err(|error| error.to_string())?;
            Ok((filter, options(newest, durable)))
        })
    }

    /// The rows of a table of retained messages: each with its number or time.
    fn batches(&self, table: &str) -> Result<Vec<(Topic, Numbered)>, StoreError> {
        self.rows(&format!("SELECT * FROM {table}"), |row| {
            let (name, at, bytes) = (text(row, 0)?, number(row, 1)?, blob(row, 2)?);
            check(row, 3, retained_sum(table, &name, at, &bytes))?;
            Ok((topic(&name)?, (batch(bytes)?, at)))
        })
    }

    fn logs(&self) -> Result<Vec<SavedLog>, StoreError> {
        let mut batches = by_topic(self.rows(
            "SELECT topic, came_us, batch, sum FROM log ORDER BY id",
            |row| {
                let (name, came_us, bytes) = (text(row, 0)?, number(row, 1)?, blob(row, 2)?);
                check(row, 3, log_sum(&name, came_us, &bytes))?;
                Ok((topic(&name)?, (batch(bytes)?, came_us)))
            },
        )?);
        let logs = self.rows("SELECT * FROM durable", |row| {
            let (name, hosted) = (text(row, 0)?, number(row, 1)?);
            let (bytes_max, age_max_us) = (number(row, 2)?, number(row, 3)?);
            check(row, 4, durable_sum(&name, hosted, bytes_max, age_max_us))?;
            let limits = LogLimits { bytes_max: unsigned(bytes_max)?, age_max_us };
            Ok((topic(&name)?, hosted != 0, limits))
        })?;
        let mut values = by_topic(self.batches("value")?);
        let saved = logs.into_iter().map(|(topic, hosted, limits)| {
            let batches = batches.remove(&topic).unwrap_or_default();
            let value = values.remove(&topic).unwrap_or_default().pop();
            SavedLog { topic, hosted, limits, batches, value }
        });
        Ok(saved.collect())
    }
}

/// What was lost, then what is unread from `next` on, with gaps where a stream misses something.
fn arrange(lost: Vec<(Origin, u64, u64)>, rows: Vec<Unread>, next: u64) -> Vec<Slot> {
    let mut expected: BTreeMap<Origin, u64> = BTreeMap::new();
    let mut slots = Vec::new();
    for (origin, from, to) in lost {
        expected.insert(origin, to + 1);
        let entry = Entry::Gap { origin, from, to, reason: GapReason::SlowConsumer };
        slots.push(Slot { entry, ordinal: next });
    }
    for (ordinal, batch, from_seq) in rows {
        let from_seq = from_seq + next.saturating_sub(ordinal);
        let (origin, last) = (batch.header().origin, batch.header().last_seq());
        if last < from_seq {
            continue;
        }
        let ordinal = ordinal.max(next);
        let follows = expected.insert(origin, last + 1).unwrap_or(from_seq);
        if follows < from_seq {
            let (from, to, reason) = (follows, from_seq - 1, GapReason::Unavailable);
            slots.push(Slot { entry: Entry::Gap { origin, from, to, reason }, ordinal });
        }
        slots.push(Slot { entry: Entry::Batch { batch, from_seq }, ordinal });
    }
    slots
}

fn options(newest: i64, durable: i64) -> SubscribeOptions {
    let policy = match usize::try_from(newest) {
        Ok(messages @ 1..) => Policy::DropOldest { messages },
        _ => Policy::BlockRetention,
    };
    SubscribeOptions { from: From::New, policy, durable: durable != 0 }
}

fn by_topic<T>(rows: Vec<(Topic, T)>) -> BTreeMap<Topic, Vec<T>> {
    let mut topics: BTreeMap<Topic, Vec<T>> = BTreeMap::new();
    for (topic, row) in rows {
        topics.entry(topic).or_default().push(row);
    }
    topics
}

fn unread(row: &Row<'_>) -> Found<(Topic, Unread)> {
    let (name, ordinal, from_seq) = (text(row, 0)?, number(row, 1)?, number(row, 2)?);
    let bytes = blob(row, 3)?;
    check(row, 4, unread_sum(&name, ordinal, from_seq, &bytes))?;
    Ok((topic(&name)?, (unsigned(ordinal)?, batch(bytes)?, unsigned(from_seq)?)))
}

fn stream(row: &Row<'_>, table: &str) -> Found<(Topic, (Origin, u64, u64))> {
    let (name, node, life) = (text(row, 0)?, blob(row, 1)?, number(row, 2)?);
    let (one, two) = (number(row, 3)?, number(row, 4)?);
    check(row, 5, stream_sum(table, &name, &node, life, one, two))?;
    let node = NodeId(node.try_into().map_err(|_| "an id has 32 bytes".to_owned())?);
    let origin = Origin { node, incarnation: Incarnation(unsigned(life)?) };
    Ok((topic(&name)?, (origin, unsigned(one)?, two.unsigned_abs())))
}

fn batch(bytes: Vec<u8>) -> Found<Arc<Batch>> {
    Batch::decode(Bytes::from(bytes)).map_err(|error| format!("not a batch: {error}"))
}

fn topic(name: &str) -> Found<Topic> {
    Topic::new(name).map_err(|error| error.to_string())
}

fn check(row: &Row<'_>, column: usize, expected: [u8; 8]) -> Found<()> {
    let sum: Vec<u8> = row.get(column).map_err(|error| error.to_string())?;
    if sum == expected { Ok(()) } else { Err("the checksum is wrong".to_owned()) }
}

fn text(row: &Row<'_>, column: usize) -> Found<String> {
    row.get(column).map_err(|error| error.to_string())
}

fn blob(row: &Row<'_>, column: usize) -> Found<Vec<u8>> {
    row.get(column).map_err(|error| error.to_string())
}

fn number(row: &Row<'_>, column: usize) -> Found<i64> {
    row.get(column).map_err(|error| error.to_string())
}

fn unsigned(number: i64) -> Found<u64> {
    u64::try_from(number).map_err(|_| "a number is negative".to_owned())
}
