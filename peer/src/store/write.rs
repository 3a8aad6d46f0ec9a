//! Changes of the file.

use std::collections::{BTreeMap, VecDeque};

use rusqlite::{Connection, Transaction, params};
use tidings_proto::wire::batch::Batch;
use tidings_proto::{Origin, Topic};

use super::load::Saved;
use super::{Begin, Done, Job, LogLimits};
use crate::journal::{Entry, QueueLimits, Slot};
use crate::subscribe::{Policy, SubscribeOptions};
use tidings_runtime::store::Sum;

/// A row of the table `unread`, as far as its bounds matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) ordinal: u64,
    pub(super) origin: Origin,
    pub(super) from_seq: u64,
    pub(super) to_seq: u64,
    bytes: u64,
}

/// What is unread of a topic.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub(super) rows: VecDeque<Row>,
    messages: u64,
    bytes: u64,
}

/// A durable topic.
#[derive(Debug)]
struct Log {
    limits: LogLimits,
    bytes: u64,
}

/// The connection, and the sizes of what is in it.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    limits: QueueLimits,
    unread: BTreeMap<Topic, Unread>,
    logs: BTreeMap<Topic, Log>,
    /// A transaction failed: there may be rows here that are not in the file.
    doubtful: bool,
}

impl Job {
    /// Whether somebody waits until it is done.
    pub(super) fn is_awaited(&self) -> bool {
        !matches!(
            self,
            Self::Unread { .. }
                | Self::Log { .. }
                | Self::Alive { .. }
                | Self::DropLog(_)
                | Self::Matching { .. }
        )
    }

    /// Whether it is synced before its answer: what an application wants from now on may be known
    /// to nobody else, while no seed can be told.
    pub(super) fn is_promise(&self) -> bool {
        matches!(
            self,
            Self::Begin(..)
                | Self::End(..)
                | Self::KeepLog { .. }
                | Self::BeginFilter(..)
                | Self::EndFilter(..)
        )
    }

    /// Bytes that it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Unread { batch, .. } | Self::Log { batch, .. } => batch.bytes().len(),
            _ => 0,
        }
    }

    pub(super) fn done(self) -> Option<Done> {
        match self {
            Self::Begin(_, done)
            | Self::End(_, done)
            | Self::Read(_, done)
            | Self::BeginFilter(_, _, done)
            | Self::EndFilter(_, done)
            | Self::KeepLog { done, .. } => Some(done),
            Self::Unread { .. }
            | Self::Log { .. }
            | Self::Alive { .. }
            | Self::DropLog(_)
            | Self::Matching { .. } => None,
        }
    }
}

impl Row {
    fn new(ordinal: u64, batch: &Batch, from_seq: u64) -> Self {
        let header = batch.header();
        let (origin, to_seq) = (header.origin, header.last_seq());
        Self { ordinal, origin, from_seq, to_seq, bytes: batch.bytes().len() as u64 }
    }

    fn messages(&self) -> u64 {
        (self.to_seq + 1).saturating_sub(self.from_seq)
    }
}

impl Unread {
    /// In order: history may come after what is live.
    fn push(&mut self, row: Row) {
        self.messages += row.messages();
        self.bytes += row.bytes;
        let place = self.rows.partition_point(|known| known.ordinal < row.ordinal);
        self.rows.insert(place, row);
    }

    /// Takes out rows of which a history has all messages.
    fn take_covered(&mut self, ranges: &BTreeMap<Origin, (u64, u64)>) -> Vec<Row> {
        let is_covered = |row: &Row| {
            let range = ranges.get(&row.origin);
            range.is_some_and(|(from, to)| *from <= row.from_seq && row.to_seq <= *to)
        };
        let covered: Vec<Row> = self.rows.iter().copied().filter(is_covered).collect();
        self.rows.retain(|row| !is_covered(row));
        for row in &covered {
            self.messages -= row.messages();
            self.bytes -= row.bytes;
        }
        covered
    }

    fn pop(&mut self) -> Option<Row> {
        let row = self.rows.pop_front()?;
        self.messages -= row.messages();
        self.bytes -= row.bytes;
        Some(row)
    }

    fn is_over(&self, limits: QueueLimits) -> bool {
        let many = self.messages > limits.messages_max as u64;
        self.rows.len() > 1 && (many || self.bytes > limits.bytes_max as u64)
    }
}

impl Writer {
    pub(super) fn new(connection: Connection, limits: QueueLimits, saved: &Saved) -> Self {
        let mut unread: BTreeMap<Topic, Unread> = BTreeMap::new();
        for subscription in &saved.subscriptions {
            let of = unread.entry(subscription.topic.clone()).or_default();
            for slot in &subscription.unread {
                if let Entry::Batch { batch, from_seq } = &slot.entry {
                    of.push(Row::new(slot.ordinal, batch, *from_seq));
                }
            }
        }
        let log = |saved: &super::SavedLog| {
            let bytes = saved.batches.iter().map(|(batch, _)| batch.bytes().len() as u64).sum();
            (saved.topic.clone(), Log { limits: saved.limits, bytes })
        };
        let logs = saved.logs.iter().map(log).collect();
        Self { connection, limits, unread, logs, doubtful: false }
    }

    /// Does all of a group, or nothing of it.
    pub(super) fn write(&mut self, group: &[Job]) -> rusqlite::Result<()> {
        let Self { connection, limits, unread, logs, doubtful } = self;
        let is_promise = group.iter().any(Job::is_promise);
        connection.pragma_update(
            None,
            "synchronous",
            if is_promise { "FULL" } else { "NORMAL" },
        )?;
        let written = connection.transaction().and_then(|transaction| {
            let (limits, doubtful) = (*limits, *doubtful);
            let mut rows = Rows { db: &transaction, limits, unread, logs, doubtful };
            group.iter().try_for_each(|job| rows.write(job))?;
            transaction.commit()
        });
        *doubtful |= written.is_err();
        written
    }

    /// Makes what was committed safe against the loss of power.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }
}

pub(super) struct Rows<'a> {
    pub(super) db: &'a Transaction<'a>,
    limits: QueueLimits,
    pub(super) unread: &'a mut BTreeMap<Topic, Unread>,
    logs: &'a mut BTreeMap<Topic, Log>,
    pub(super) doubtful: bool,
}

impl Rows<'_> {
    fn write(&mut self, job: &Job) -> rusqlite::Result<()> {
        match job {
            Job::Unread { ordinal, batch, from_seq, now_us } => {
                // What came as history may come again for others.
                let next = self.next_of(batch)?;
                let from = next.max(*from_seq);
                if from <= batch.header().last_seq() {
                    self.note_missed(batch, next..from)?;
                    self.append(*ordinal + (from - *from_seq), batch, from)?;
                    self.position(batch, *now_us)?;
                }
                self.alive(*now_us)
            }
            Job::Log { batch, now_us } => {
                self.log(batch, *now_us)?;
                self.alive(*now_us)
            }
            Job::Begin(begin, _) => self.begin(begin),
            Job::End(topic, _) => self.end(topic),
            Job::Read(read_to, _) => {
                read_to.iter().try_for_each(|(topic, next)| self.read(topic, *next))
            }
            Job::KeepLog { topic, hosted, limits, .. } => self.keep_log(topic, *hosted, *limits),
            Job::DropLog(topic) => self.drop_log(topic),
            Job::BeginFilter(filter, options, _) => self.begin_filter(filter, *options),
            Job::EndFilter(filter, _) => self.end_filter(filter),
            Job::Matching { topic, matching } => self.set_matching(topic, *matching),
            Job::Alive { now_us } => self.alive(*now_us),
        }
    }

    pub(super) fn run(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn append(&mut self, ordinal: u64, batch: &Batch, from_seq: u64) -> rusqlite::Result<()> {
        let topic = &batch.header().topic;
        let name = topic.as_str();
        let sum = unread_sum(name, signed(ordinal), signed(from_seq), batch.bytes());
        self.run(
            "INSERT OR REPLACE INTO unread VALUES (?, ?, ?, ?, ?)",
            params![name, signed(ordinal), signed(from_seq), &batch.bytes()[..], sum],
        )?;
        let of = self.unread.entry(topic.clone()).or_default();
        of.push(Row::new(ordinal, batch, from_seq));
        let mut over = Vec::new();
        while of.is_over(self.limits) {
            over.extend(of.pop());
        }
        over.iter().try_for_each(|row| self.lose(name, row))
    }

    fn alive(&self, now_us: i64) -> rusqlite::Result<()> {
        self.run("INSERT OR REPLACE INTO alive VALUES (1, ?)", params![now_us])
    }

    fn begin(&mut self, begin: &Begin) -> rusqlite::Result<()> {
        let name = begin.topic.as_str();
        self.drop_covered(begin)?;
        for Slot { entry, ordinal } in &begin.history {
            if let Entry::Batch { batch, from_seq } = entry {
                self.append(*ordinal, batch, *from_seq)?;
                self.position(batch, begin.now_us)?;
            }
            if let Entry::Retained(batch) = entry {
                self.begin_with(*ordinal, batch)?;
            }
        }
        // What was not read of a deleted topic of the same name comes first.
        let known: Option<i64> = self
            .db
            .prepare_cached("SELECT next FROM subscription WHERE topic = ?")?
            .query_row([name], |row| row.get(0))
            .map(Some)
            .or_else(none)?;
        let next = known.unwrap_or_else(|| signed(begin.ordinal));
        self.subscription(name, next, begin.options)?;
        self.alive(begin.now_us)
    }

    /// What was written as live and is part of the history too is read once, where the reader
    /// does.
    fn drop_covered(&mut self, begin: &Begin) -> rusqlite::Result<()> {
        let Some(unread) = self.unread.get_mut(&begin.topic) else { return Ok(()) };
        let mut ranges: BTreeMap<Origin, (u64, u64)> = BTreeMap::new();
        for Slot { entry, .. } in &begin.history {
            if let Entry::Batch { batch, from_seq } = entry {
                let last = batch.header().last_seq();
                ranges.entry(batch.header().origin).or_insert((*from_seq, last)).1 = last;
            }
        }
        let covered = unread.take_covered(&ranges);
        covered.iter().try_for_each(|row| {
            let row = params![begin.topic.as_str(), signed(row.ordinal)];
            self.run("DELETE FROM unread WHERE topic = ? AND ordinal = ?", row)
        })
    }

    fn subscription(
        &self,
        name: &str,
        next: i64,
        options: SubscribeOptions,
    ) -> rusqlite::Result<()> {
        let newest = newest_of(options.policy);
        let durable = i64::from(options.durable);
        let sum = subscription_sum(name, next, newest, durable);
        self.run(
            "INSERT OR REPLACE INTO subscription VALUES (?, ?, ?, ?, ?)",
            params![name, next, newest, durable, sum],
        )
    }

    fn end(&mut self, topic: &Topic) -> rusqlite::Result<()> {
        self.unread.remove(topic);
        for table in ["subscription", "unread", "lost", "position", "retained", "matching"] {
            self.run(&format!("DELETE FROM {table} WHERE topic = ?"), [topic.as_str()])?;
        }
        Ok(())
    }

    fn read(&mut self, topic: &Topic, next: u64) -> rusqlite::Result<()> {
        let name = topic.as_str();
        let known = self
            .db
            .prepare_cached("SELECT newest, durable FROM subscription WHERE topic = ?")?
            .query_row([name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .map(Some)
            .or_else(none)?;
        // The subscription has ended meanwhile.
        let Some((newest, durable)) = known else { return Ok(()) };
        let sum = subscription_sum(name, signed(next), newest, durable);
        self.run(
            "UPDATE subscription SET next = ?, sum = ? WHERE topic = ?",
            params![signed(next), sum, name],
        )?;
        self.run("DELETE FROM lost WHERE topic = ?", [name])?;
        let read = params![name, signed(next)];
        self.run("DELETE FROM retained WHERE topic = ? AND ordinal < ?", read)?;
        let Some(of) = self.unread.get_mut(topic) else { return Ok(()) };
        let before = of.rows.len();
        while of.rows.front().is_some_and(|row| row.ordinal + row.messages() <= next) {
            of.pop();
        }
        if of.rows.len() == before {
            return Ok(());
        }
        let end = of.rows.front().map_or(next, |row| row.ordinal);
        self.run("DELETE FROM unread WHERE topic = ? AND ordinal < ?", params![name, signed(end)])
    }

    fn log(&mut self, batch: &Batch, now_us: i64) -> rusqlite::Result<()> {
        let topic = &batch.header().topic;
        let Some(log) = self.logs.get_mut(topic) else { return Ok(()) };
        log.bytes += batch.bytes().len() as u64;
        let (name, limits) = (topic.as_str(), log.limits);
        let bytes = batch.bytes().len() as i64;
        let sum = log_sum(name, now_us, batch.bytes());
        self.run(
            "INSERT INTO log (topic, came_us, bytes, batch, sum) VALUES (?, ?, ?, ?, ?)",
            params![name, now_us, bytes, &batch.bytes()[..], sum],
        )?;
        self.keep_value(batch, now_us)?;
        self.trim(topic, limits, now_us)
    }

    /// Drops what is over the limits of a log.
    fn trim(&mut self, topic: &Topic, limits: LogLimits, now_us: i64) -> rusqlite::Result<()> {
        let Some(log) = self.logs.get_mut(topic) else { return Ok(()) };
        let oldest = now_us.saturating_sub(limits.age_max_us);
        loop {
            let first = self
                .db
                .prepare_cached(
                    "SELECT id, came_us, bytes FROM log WHERE topic = ? ORDER BY id LIMIT 1",
                )?
                .query_row([topic.as_str()], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                })
                .map(Some)
                .or_else(none)?;
            let Some((id, came_us, bytes)) = first else { return Ok(()) };
            if came_us >= oldest && log.bytes <= limits.bytes_max {
                return Ok(());
            }
            log.bytes = log.bytes.saturating_sub(u64::try_from(bytes).unwrap_or(0));
            self.db.prepare_cached("DELETE FROM log WHERE id = ?")?.execute([id])?;
        }
    }

    fn keep_log(&mut self, topic: &Topic, hosted: bool, limits: LogLimits) -> rusqlite::Result<()> {
        let name = topic.as_str();
        let (hosted, age) = (i64::from(hosted), limits.age_max_us);
        let bytes_max = signed(limits.bytes_max);
        let sum = durable_sum(name, hosted, bytes_max, age);
        self.run(
            "INSERT OR REPLACE INTO durable VALUES (?, ?, ?, ?, ?)",
            params![name, hosted, bytes_max, age, sum],
        )?;
        let log = self.logs.entry(topic.clone()).or_insert(Log { limits, bytes: 0 });
        log.limits = limits;
        Ok(())
    }

    fn drop_log(&mut self, topic: &Topic) -> rusqlite::Result<()> {
        self.logs.remove(topic);
        self.run("DELETE FROM durable WHERE topic = ?", [topic.as_str()])?;
        self.run("DELETE FROM value WHERE topic = ?", [topic.as_str()])?;
        self.run("DELETE FROM log WHERE topic = ?", [topic.as_str()])
    }
}

/// How many of the newest messages a policy keeps; 0 for all.
pub(super) fn newest_of(policy: Policy) -> i64 {
    match policy {
        Policy::BlockRetention => 0,
        Policy::DropOldest { messages } => i64::try_from(messages).unwrap_or(i64::MAX),
    }
}

/// No row is no error.
pub(super) fn none<T>(error: rusqlite::Error) -> rusqlite::Result<Option<T>> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(None),
        error => Err(error),
    }
}

/// Numbers fit: they begin with a time in microseconds or with 1.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unread_sum(topic: &str, ordinal: i64, from_seq: i64, batch: &[u8]) -> [u8; 8] {
    let sum = Sum::of("unread").bytes(topic.as_bytes()).number(ordinal).number(from_seq);
    sum.bytes(batch).end()
}

pub(super) fn stream_sum(
    table: &str,
    topic: &str,
    node: &[u8],
    life: i64,
    one: i64,
    two: i64,
) -> [u8; 8] {
    let sum = Sum::of(table).bytes(topic.as_bytes()).bytes(node);
    sum.number(life).number(one).number(two).end()
}

pub(super) fn subscription_sum(topic: &str, next: i64, newest: i64, durable: i64) -> [u8; 8] {
    let sum = Sum::of("subscription").bytes(topic.as_bytes());
    sum.number(next).number(newest).number(durable).end()
}

pub(super) fn durable_sum(topic: &str, hosted: i64, bytes_max: i64, age_max: i64) -> [u8; 8] {
    let sum = Sum::of("durable").bytes(topic.as_bytes());
    sum.number(hosted).number(bytes_max).number(age_max).end()
}

pub(super) fn log_sum(topic: &str, came_us: i64, batch: &[u8]) -> [u8; 8] {
    Sum::of("log").bytes(topic.as_bytes()).number(came_us).bytes(batch).end()
}
