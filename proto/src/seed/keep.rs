//! What the machine has changed is written down before anybody can know of it, and is there again
//! after a restart.

use std::collections::BTreeSet;

use crate::machine::Output;
use crate::seed::links::{End, goodbye};
use crate::seed::listed::Subscription;
use crate::seed::memory::{Change, Key, Membership, Memory, Row};
use crate::seed::status::Death;
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{Reason, Vote};
use crate::wire::record::{Record, SignedRecord};

/// Rows that are written anew at once, when the disk has lost some.
const REWRITE_MAX: usize = 1_024;

impl Seed {
    /// The end of each input: what changed goes to the disk, and what was to be done follows, at
    /// once or when that is safe.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            let record = self.changes();
            if !record.is_empty() {
                let token = self.held.next_token();
                self.ready.push_back(Output::Persist { token, record });
            }
            while let Some(output) = self.out.pop_front() {
                self.ready.extend(self.held.pass(output));
            }
            let overflowed = self.held.take_overflowed();
            if overflowed.is_empty() {
                return;
            }
            for link in overflowed {
                self.stats.links_overflowed += 1;
                let goodbye = goodbye(Reason::TooSlow, "the disk of the seed is too slow");
                self.end_link(now, link, End::Ours(goodbye));
            }
        }
    }

    /// Everything up to `token` is on disk: what waited for it is done.
    pub(super) fn persisted(&mut self, token: u64) {
        self.held.persisted(token);
        self.ready.extend(std::iter::from_fn(|| self.held.release()));
    }

    /// What the last input has changed: the rows that it touched, as they are now.
    fn changes(&mut self) -> Vec<Change> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.append(&mut self.registry.touched);
        touched.append(&mut self.index.touched);
        let change = |key: Key| self.row(&key).map_or(Change::Remove(key), Change::Put);
        touched.into_iter().map(change).collect()
    }

    /// The row with this key, as the disk should hold it.
    fn row(&self, key: &Key) -> Option<Row> {
        match key {
            Key::Peer(node) => Some(Row::Peer(self.registry.peer(node)?.signed())),
            Key::Ended(node) => {
                let ended = self.registry.ended(node)?;
                Some(Row::Ended {
                    record: ended.signed(),
                    votes: ended.votes.clone(),
                    forgotten: ended.forgotten,
                })
            }
            Key::Subscription(node, topic) => {
                let peer = self.registry.peer(node)?;
                let of = peer.subscriptions.get(topic)?;
                Some(Row::Subscription(peer.signed_subscription(topic, of)))
            }
            Key::Topic(topic) => Some(Row::Topic(self.index.get(topic)?.signed()?)),
            Key::Register(topic) => {
                let (promised, accepted) = self.acceptors.cell(topic)?;
                let vote = |(ballot, record): &(_, SignedRecord)| Vote {
                    ballot: *ballot,
                    record: record.clone(),
                };
                let (topic, accepted) = (topic.clone(), accepted.map(vote));
                Some(Row::Register { topic, promised, accepted })
            }
            Key::SeedSet => self.seed_set.clone().map(Row::SeedSet),
            Key::Death(..) => {
                let deaths = &self.reports.deaths;
                deaths.iter().find(|death| death.key() == *key).cloned().map(Row::Death)
            }
            Key::Membership => Some(Row::Membership(Membership {
                floor: self.acceptors.floor(),
                rounds: self.rounds_reserved,
                forgotten: self.forgotten,
                // A disk that has lost rows is trusted again when all are written anew.
                votes: !self.acceptors.is_learning() && self.rewriting.is_empty(),
            })),
        }
    }

    /// Takes in what the disk held.
    pub(super) fn restore(&mut self, now: Instant, memory: Memory) {
        let Memory { rows, mut damaged } = memory;
        self.restored_until = now + self.config.lease;
        let mut votes = false;
        // A subscription needs its peer, and an ended life yields to a later one.
        let rank = |row: &Row| match row {
            Row::Ended { .. } => 0,
            Row::Subscription(_) => 2,
            _ => 1,
        };
        for turn in 0..3 {
            for row in rows.iter().filter(|row| rank(row) == turn) {
                if let Row::Membership(of) = row {
                    votes = of.votes;
                }
                damaged |= row.key().is_none() || !self.restore_row(now, row);
            }
        }
        self.restore_set(now);
        if votes && !damaged && self.sync.is_member() {
            self.acceptors.begin_to_vote();
            self.begin_settling(now);
        } else if self.sync.total() > 1 {
            self.acceptors.learn_anew();
        }
        let topics = rows.iter().filter_map(|row| match row {
            Row::Topic(signed) => Some(signed.record.owner()),
            _ => None,
        });
        topics.for_each(|host| self.host_is_gone(now, host));
        self.registry.touched.clear();
        self.index.touched.clear();
        if votes == self.acceptors.is_learning() {
            self.touched.insert(Key::Membership);
        }
    }

    /// Returns whether the row could be what was once written.
    fn restore_row(&mut self, now: Instant, row: &Row) -> bool {
        let legal = |signed: &SignedRecord| signed.record.is_legal();
        match row {
            Row::Peer(signed) => self.restore_peer(signed),
            Row::Ended { record: signed, votes, forgotten } => {
                let Record::Peer(record) = &signed.record else { return false };
                let (until, max) = (now + self.config.dead_kept, self.ended_max());
                let ended = (record.clone(), signed.signature);
                if legal(signed) {
                    self.registry.end(ended, votes.clone(), until, max);
                    if *forgotten {
                        self.registry.hide(&record.node);
                    }
                }
                legal(signed)
            }
            Row::Subscription(SignedRecord { record: Record::Subscription(of), signature }) => {
                let life = self.registry.life(&of.node, of.incarnation);
                let share = life.map_or(usize::MAX, |peer| peer.subscriptions.len());
                // What belongs to a life that is over is only waiting to be swept.
                if share < self.config.records_per_peer_max {
                    let (version, subscribed, signature) = (of.version, of.subscribed, *signature);
                    let subscription = Subscription { version, subscribed, signature };
                    self.registry.set_subscription(&of.node, of.topic.clone(), subscription);
                    if subscribed {
                        self.index.subscribe(&of.topic, of.node);
                    }
                }
                !of.topic.is_internal()
            }
            Row::Topic(signed) => {
                let Record::Topic(record) = &signed.record else { return false };
                let held = self.index.live() + self.index.deleted();
                if legal(signed) && held < self.config.records_max {
                    self.index.set(record.clone(), signed.signature);
                }
                legal(signed)
            }
            Row::Register { topic, promised, accepted } => {
                let whole = accepted.as_ref().is_none_or(|vote| legal(&vote.record));
                let accepted = accepted.clone().filter(|_| whole);
                let accepted = accepted.map(|vote| (vote.ballot, vote.record));
                self.acceptors.restore(topic.clone(), *promised, accepted);
                whole
            }
            Row::Membership(of) => {
                self.acceptors.restore_floor(of.floor);
                self.rounds_reserved = of.rounds;
                self.forgotten = of.forgotten;
                self.round = of.rounds;
                true
            }
            Row::SeedSet(signed) => legal(signed) && self.restore_set_row(signed),
            Row::Death(death) => {
                self.reports.restore_death(death);
                true
            }
            Row::Subscription(_) => false,
        }
    }

    fn restore_peer(&mut self, signed: &SignedRecord) -> bool {
        let Record::Peer(record) = &signed.record else { return false };
        let fits = self.registry.count() < self.config.records_max;
        if fits && signed.record.is_legal() {
            self.registry.remove(&record.node);
            self.registry.insert(record.clone(), signed.signature, self.restored_until);
            return true;
        }
        !fits
    }

    /// The disk has lost rows while the machine ran: everything is written anew, a part at a time.
    pub(super) fn rewrite_all(&mut self, now: Instant) {
        let mut keys: BTreeSet<Key> = self.acceptors.keys().cloned().map(Key::Register).collect();
        keys.extend(self.registry.keys());
        keys.extend(self.index.keys());
        keys.extend(self.reports.deaths.iter().map(Death::key));
        keys.extend([Key::Membership, Key::SeedSet]);
        self.rewriting = keys;
        self.timers.set(Timer::Rewrite, now);
    }

    pub(super) fn rewrite_more(&mut self, now: Instant) {
        for _ in 0..REWRITE_MAX {
            let Some(key) = self.rewriting.pop_first() else { return };
            self.touched.insert(key);
        }
        self.timers.set(Timer::Rewrite, now + crate::seed::transfer::PAUSE);
    }
}
