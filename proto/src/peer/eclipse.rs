//! Neighbours that keep news back, all of them: noticed with the help of a seed.
//!
//! Heads are compared with neighbours every few seconds, and that finds whatever one of them has.
//! A peer all of whose neighbours lie, or are cut off together with it, learns from a seed that
//! others are further (design §4.14). What a seed says rests on what any peer told it: it is a
//! reason to ask neighbours, and to look for more of them, and never a hole.

use core::time::Duration;

use super::Peer;
use super::streams::is_after;
use super::views::pick;
use crate::id::LinkId;
use crate::wire::frame::{Frame, Heads, Mode};

/// A batch younger than this may just be on its way. Guess: longer than any repair under way.
const SETTLED_MS: u32 = 5_000;
/// Topics compared at a time; the next ones are chosen anew.
const TOPICS_MAX: usize = 32;
/// Streams told of a topic, the newest: about 3 kB.
const TOLD_MAX: usize = 64;
/// Neighbours asked by who is behind.
const ASKED: usize = 2;
/// Neighbours looked for by who is behind twice running.
const SOUGHT: usize = 2;

impl Peer {
    /// How often heads are compared with a seed (design §4.14).
    pub(super) const HEADS_EVERY: Duration = Duration::from_secs(30);

    /// Tells a random seed how far this peer is.
    pub(super) fn compare_with_seed(&mut self) {
        let sessions: Vec<_> = self.rendezvous.sessions().collect();
        let Some(&seed) = pick(&sessions, 1, &mut self.rng).first() else { return };
        let active = self.topics.local().filter(|(topic, local)| {
            local.mode() == Mode::Subscribes && local.streams.len() > 0 && !topic.is_internal()
        });
        let topics: Vec<_> = active.map(|(topic, _)| topic.clone()).collect();
        let places: Vec<usize> = (0..topics.len()).collect();
        for place in pick(&places, TOPICS_MAX, &mut self.rng) {
            let topic = topics[place].clone();
            let heads = self.heads(&topic, TOLD_MAX);
            self.out.control(seed, Frame::Heads(Heads { topic, heads, answer: false }));
        }
    }

    /// A seed knows of streams that are further than this peer said.
    pub(super) fn on_seed_heads(&mut self, heads: &Heads) {
        let Some(local) = self.topics.get_mut(&heads.topic) else { return };
        let behind = heads.heads.iter().any(|head| {
            let high = local.streams.get_mut(&head.origin).map_or(0, |stream| stream.high_asked());
            head.age_ms >= SETTLED_MS
                && high < head.high
                && is_after(local.horizon, self.now, head.age_ms)
        });
        if !behind {
            local.behind = 0;
            return;
        }
        local.behind = local.behind.saturating_add(1);
        self.stats.behind += 1;
        if local.behind > 1 {
            local.degree.seek(SOUGHT);
        }
        let asked: Vec<LinkId> =
            pick(&local.links, ASKED, &mut self.rng).iter().map(|link| link.link).collect();
        asked.into_iter().for_each(|id| self.send_heads(id, &heads.topic, false));
        self.seek_neighbors();
    }
}
