//! Own batches: signed together, and sent as the windows of their streams open.
//!
//! A window opens by a batch or two at a time, while more wait. Whatever waits and fills a batch is
//! signed with those that can go out now, ahead of the window, so that one signature is for all of
//! them; nobody else has seen a batch that was not sent, so it can be taken apart again. Others may
//! know its hash, as a sibling on the path of one that was sent: who learns its messages later can
//! put together again what its origin did sign, and nothing else.

use std::sync::Arc;

use super::Peer;
use super::event::{Answer, Notice};
use super::publish::{Publication, Sealed};
use super::streams::Reception;
use crate::id::{Origin, RequestId, Topic};
use crate::wire::batch::{Batch, BatchHeader, Message};

impl Peer {
    /// Signs and sends what the application published since the last draining, as far as windows
    /// are open, with as few signatures as possible.
    pub(super) fn flush_publications(&mut self) {
        loop {
            let next = self.publisher.next_sealed(|topic| self.topics.room(topic) > 0).cloned();
            match next {
                Some(batch) if self.is_current(&batch) => self.send_next(&batch),
                Some(batch) => self.unseal(&batch.header().topic),
                None if self.seal() => {}
                None => break,
            }
        }
        self.stats.windows_full += u64::from(self.publisher.hold());
    }

    /// Signs all that waits for open windows, and whatever full batches wait behind it. Returns
    /// whether there was anything.
    fn seal(&mut self) -> bool {
        let (mut requests, mut contents) = (Vec::new(), Vec::new());
        for topic in self.publisher.unsealed(|topic| self.topics.room(topic) > 0) {
            let mut room = self.topics.room(&topic);
            while let Some((publications, bytes)) = self.publisher.cut(&topic, room > 0) {
                room = room.saturating_sub(bytes);
                let (ids, messages): (Vec<RequestId>, Vec<Message>) =
                    publications.into_iter().map(|p| (p.request, p.message)).unzip();
                requests.push((ids, bytes));
                contents.push((self.next_header(&topic, messages.len()), messages));
            }
        }
        let unsigned = contents.iter().map(|(header, messages)| (header.clone(), &messages[..]));
        let signed = Batch::sign_all(unsigned.collect(), &self.signer);
        for (batch, (requests, bytes)) in signed.into_iter().zip(requests) {
            self.publisher.seal(Sealed { batch, requests, bytes });
        }
        !contents.is_empty()
    }

    /// Whether a batch is what this peer would sign now: of this life, and of the topic as it is.
    fn is_current(&self, batch: &Batch) -> bool {
        let header = batch.header();
        header.origin.incarnation == self.incarnation
            && header.generation == self.topics.directory.generation(&header.topic)
    }

    /// Sends a batch that was signed, the next of its topic, and answers who published what is in
    /// it.
    fn send_next(&mut self, batch: &Arc<Batch>) {
        let BatchHeader { topic, first_seq, .. } = batch.header();
        let Some(Sealed { requests, bytes, .. }) = self.publisher.pop_sealed(topic) else { return };
        self.take_off(topic, batch.header().last_seq(), bytes);
        let reached = self.send_batch(batch);
        if reached == 0 {
            self.landed(batch);
        }
        if batch.retained().is_some() {
            self.hold_own(topic);
        }
        self.stats.published += requests.len() as u64;
        for (request, seq) in requests.into_iter().zip(*first_seq..) {
            let answer = Answer::Published { seq, batch: *first_seq, reached };
            self.out.answer(request, Ok(answer));
        }
    }

    /// Takes apart what was signed of a topic and not sent: its numbers are free again.
    fn unseal(&mut self, topic: &Topic) {
        let first = self.publisher.unseal(topic);
        if let Some(first) = first.filter(|first| first.origin.incarnation == self.incarnation) {
            self.topics.give_back(topic, first.first_seq);
        }
    }

    /// Takes back all that waits of a topic, for whatever reason, in order.
    pub(super) fn take_back(&mut self, topic: &Topic) -> Vec<Publication> {
        self.unseal(topic);
        self.publisher.take_back(topic)
    }

    /// What precedes the next messages of this peer in a topic; their numbers are used.
    pub(super) fn next_header(&mut self, topic: &Topic, messages: usize) -> BatchHeader {
        BatchHeader {
            topic: topic.clone(),
            origin: Origin { node: self.node, incarnation: self.incarnation },
            address: self.config.identity.address,
            generation: self.topics.directory.generation(topic),
            first_seq: self.topics.take_seq(topic, messages as u64),
            published_at_us: self.wall_us(self.now),
            count: 0,
        }
    }

    /// Publishes a batch of this peer. Returns how many links it went to.
    pub(super) fn send_batch(&mut self, batch: &Arc<Batch>) -> u32 {
        let BatchHeader { topic, origin, first_seq, .. } = batch.header();
        if !topic.is_internal() {
            self.out.notice(Notice::Published { batch: Arc::clone(batch) });
        }
        let (now, retention) = (self.now, self.retention_of(topic));
        let Some(local) = self.topics.enter(now, topic, &self.config) else { return 0 };
        let subscribed = local.subscribed_at.is_some();
        // The stream may begin later than 1: a topic that was left and entered again.
        local.streams.enter(*origin, Some(*first_seq));
        if let Reception::New(ready) = local.streams.receive(batch, subscribed) {
            local.keep(now, batch, now, &retention);
            self.deliver(ready);
        }
        self.forward(batch, None, 1, now, None)
    }
}
