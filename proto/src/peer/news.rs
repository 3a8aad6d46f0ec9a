//! Records that this peer spreads to all others, for those that cannot ask a majority of the seeds;
//! the others are told by seeds, at once.
//!
//! Every peer checks a batch of news, so news of a peer that makes many gather: in a cluster of 64
//! the signatures alone took 6 ms of processor for each topic that was created.

use core::time::Duration;
use std::sync::Arc;

use super::Peer;
use super::trees::ORIGIN_TREE;
use crate::time::Instant;
use crate::wire::batch::{Batch, Message};
use crate::wire::frame::{BatchFrame, Cause, Frame};
use crate::wire::record::{Record, SignedRecord};

/// Creations that follow other news wait for up to this long, since those went out. Guess: who
/// cannot ask seeds has waited longer for them.
const GATHER: Duration = Duration::from_millis(500);
/// So many gather at most: 20 kB.
const GATHERED_MAX: usize = 128;

/// News that gather.
#[derive(Debug, Default)]
pub(super) struct News {
    gathered: Vec<SignedRecord>,
    /// When the next ones may go out.
    due: Instant,
}

impl News {
    /// When something is to be done.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.gathered.is_empty()).then_some(self.due)
    }
}

impl Peer {
    /// Spreads a record to all peers.
    pub(super) fn spread_news(&mut self, record: &SignedRecord) {
        self.news.gathered.push(record.clone());
        // Only creations may wait: what is published to a deleted topic is lost, and so is what a
        // topic retains while nobody else knows that it is to be held.
        let may_wait = matches!(&record.record, Record::Topic(topic) if !topic.deleted);
        if !may_wait || self.news.gathered.len() >= GATHERED_MAX {
            self.send_news();
        }
        self.send_due_news();
    }

    /// Sends what has gathered for long enough.
    pub(super) fn send_due_news(&mut self) {
        if self.news.next_deadline().is_some_and(|due| due <= self.now) {
            self.send_news();
        }
    }

    /// Sends what has gathered.
    fn send_news(&mut self) {
        if let Some(batch) = self.sign_news() {
            self.send_batch(&batch);
        }
    }

    /// The last thing that this peer says: links that close send nothing else that is queued.
    pub(super) fn leave_news(&mut self) {
        let Some(batch) = self.sign_news() else { return };
        let links: Vec<_> = self.links.healthy().map(|(id, _)| id).collect();
        for id in links {
            let (tree, batch) = (ORIGIN_TREE, Arc::clone(&batch));
            let frame = BatchFrame { cause: Cause::Push, hop: 1, tree, age_ms: 0, batch };
            self.out.control(id, Frame::Batch(frame));
        }
    }

    fn sign_news(&mut self) -> Option<Arc<Batch>> {
        if self.news.gathered.is_empty() {
            return None;
        }
        let written = |record| postcard::to_allocvec(&record).expect("records can be written");
        let gathered = core::mem::take(&mut self.news.gathered);
        let messages: Vec<_> =
            gathered.into_iter().map(|record| Message::new(written(record))).collect();
        self.news.due = self.now + GATHER;
        let topic = self.overlay.clone();
        let header = self.next_header(&topic, messages.len());
        Some(Batch::sign(header, &messages, &self.signer))
    }

    /// Takes in records that another peer spreads to all.
    pub(super) fn take_news(&mut self, batch: &Batch) {
        for (_, message) in batch.messages() {
            let record = postcard::from_bytes::<SignedRecord>(&message.body);
            let Ok(signed) = record else { continue };
            self.on_topic_news(&signed);
            self.on_holder_news(&signed);
        }
    }
}
