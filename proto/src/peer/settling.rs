//! What a history settles: how streams go on after it, for whoever asked for it and for the
//! others at this peer that receive the topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::collect::Found;
use super::event::Passage;
use super::streams::{Ready, Reception};
use super::topics::LocalTopic;
use crate::config::RetentionConfig;
use crate::id::Origin;
use crate::time::Instant;
use crate::wire::batch::Batch;

/// What comes of it.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// What can be delivered to all.
    pub(super) ready: Ready,
    /// Streams of which all get as news what whoever asked gets as history.
    pub(super) begun: BTreeSet<Origin>,
    /// Batches that were news.
    pub(super) news: u64,
    /// What whoever asked is told after the history.
    told: Vec<Passage>,
}

impl LocalTopic {
    /// Settles what was `found`, of which nothing is still to be delivered. Only batches move
    /// what all share; what the one who asked has `received` concerns that one.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        found: &Found,
        received: &BTreeMap<Origin, u64>,
        retention: &RetentionConfig,
    ) -> Settled {
        let mut settled = Settled::default();
        let news = self.news_among(found);
        for (&origin, &seq) in received {
            let newest = found.range((origin, 0)..=(origin, u64::MAX)).next_back();
            let end = newest.map_or(seq, |(_, (batch, _))| seq.max(batch.header().last_seq()));
            let high = self.streams.proven_high(&origin).map_or(end, |high| high.max(end));
            if high > end {
                // It is settled, so it is not delivered either.
                settled.told.push(Passage::Gap { origin, from: end + 1, to: high });
            }
            settled.told.push(Passage::Known { origin, to: high });
            if !self.shared && newest.is_none() {
                settled.ready.append(&mut self.streams.claim_received(origin, seq));
            }
        }
        for (origin, end) in ends(found, &news) {
            settled.ready.append(&mut self.streams.continue_after(origin, end));
        }
        for ((origin, _), (batch, published)) in news {
            settled.begun.insert(origin);
            if let Reception::New(mut ready) = self.streams.receive(&batch, true) {
                settled.news += 1;
                self.keep(now, &batch, published, retention);
                settled.ready.append(&mut ready);
            }
        }
        settled
    }

    /// What of one subscription's history the others of the topic have to get as news: young
    /// batches of streams that have not begun here.
    fn news_among(&self, found: &Found) -> Found {
        let is_news = |(key, (_, published)): &(&(Origin, u64), &(Arc<Batch>, Instant))| {
            self.shared && *published >= self.horizon && self.streams.proven_high(&key.0).is_none()
        };
        found.iter().filter(is_news).map(|(key, one)| (*key, one.clone())).collect()
    }
}

impl Settled {
    /// Adds to a history what is to be known of what follows it live.
    pub(super) fn tell(&mut self, history: &mut Vec<Passage>) {
        let told: BTreeSet<Origin> = self.told.iter().filter_map(known).collect();
        let again = |passage: &Passage| match passage {
            Passage::Batch { batch, .. } => {
                let (origin, to) = (batch.header().origin, batch.header().last_seq());
                (self.begun.contains(&origin) && !told.contains(&origin)).then_some((origin, to))
            }
            _ => None,
        };
        let again: BTreeMap<Origin, u64> = history.iter().filter_map(again).collect();
        history.extend(again.into_iter().map(|(origin, to)| Passage::Known { origin, to }));
        history.append(&mut self.told);
    }
}

fn known(passage: &Passage) -> Option<Origin> {
    if let Passage::Known { origin, .. } = passage { Some(*origin) } else { None }
}

/// Up to where each stream is settled by a history, without what is news.
fn ends(found: &Found, news: &Found) -> BTreeMap<Origin, u64> {
    let settled = |key: &(Origin, u64)| news.range((key.0, 0)..=*key).next().is_none();
    let settled = found.iter().filter(|(key, _)| settled(key));
    settled.map(|((origin, _), (batch, _))| (*origin, batch.header().last_seq())).collect()
}
