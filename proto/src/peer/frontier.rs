//! How far a stream has come at a peer and at most of those to whom it pushes.
//!
//! A peer that publishes at full speed hands its batches to a few neighbours, whose sockets take
//! megabytes: it cannot see from them whether those behind keep up. So each peer tells those
//! who push a stream to it how far it is, and how far most of those are to whom it pushes itself:
//! the answers are summed up along the tree as acknowledgements of a reliable multicast are (RMTP,
//! Paul et al. 1997). One slow branch of several has no say: it is the majority that counts at
//! each peer.

use core::time::Duration;

use crate::id::LinkId;
use crate::time::Instant;

/// A peer that pushes the stream to nobody tells how far it is when so many bytes are there, with
/// nothing missing before them, that it has not told: with every second full batch.
const TELL_BYTES: usize = 96 << 10;
/// Who has not told for so long has no say, and who has not pushed for so long is told nothing. As
/// long as a publisher waits for anybody to tell.
const SILENT_AFTER: Duration = Duration::from_secs(1);
/// The most neighbours that are remembered: a set of links has no more.
const BELOW_MAX: usize = 64;
/// The most neighbours that are told: the parent, those before it, and an origin, which pushes on
/// three links whatever their other ends think of it.
const ABOVE_MAX: usize = 8;

/// The frontier of one stream.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    /// What was told last.
    told: u64,
    /// Bytes that have come and are not told, what is behind a hole included.
    untold_bytes: usize,
    /// What neighbours have told since the stream is pushed to them: what one said before is old,
    /// for meanwhile it told others.
    below: Vec<Below>,
    /// Who pushes the stream here, be it again, and when last.
    above: Vec<(LinkId, Instant)>,
}

/// What a neighbour has told.
#[derive(Clone, Copy, Debug)]
struct Below {
    link: LinkId,
    seq: u64,
    at: Instant,
}

impl Frontier {
    /// A neighbour pushed a batch, which need not be new.
    pub(crate) fn pushed(&mut self, now: Instant, by: LinkId) {
        if let Some((_, at)) = self.above.iter_mut().find(|(link, _)| *link == by) {
            *at = now;
            return;
        }
        self.above.retain(|(_, at)| now.since(*at) < SILENT_AFTER);
        if self.above.len() < ABOVE_MAX {
            self.above.push((by, now));
        }
    }

    /// Who is to be told.
    pub(crate) fn above(&self, now: Instant) -> impl Iterator<Item = LinkId> {
        let recent = self.above.iter().filter(move |(_, at)| now.since(*at) < SILENT_AFTER);
        recent.map(|(link, _)| *link)
    }

    /// A batch of so many bytes came.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.untold_bytes = self.untold_bytes.saturating_add(bytes);
    }

    /// Whether it is time to tell, when `held` bytes are behind a hole.
    pub(crate) fn is_due(&self, held: usize) -> bool {
        self.untold_bytes.saturating_sub(held) >= TELL_BYTES
    }

    /// A neighbour told how far it is, which never goes back. To repeat it is no news.
    pub(crate) fn hear(&mut self, now: Instant, link: LinkId, seq: u64) {
        if let Some(known) = self.below.iter_mut().find(|below| below.link == link) {
            if seq > known.seq {
                (known.seq, known.at) = (seq, now);
            }
        } else if self.below.len() < BELOW_MAX {
            self.below.push(Below { link, seq, at: now });
        }
    }

    /// How far the stream is here, where nothing is missing up to `high` and `held` bytes are
    /// behind a hole, and at more than half of the neighbours that are pushed to and tell; `alone`
    /// where there are none. `None` when that was said already.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        (high, held): (u64, usize),
        alone: u64,
        is_pushed: impl Fn(LinkId) -> bool,
    ) -> Option<u64> {
        self.below.retain(|below| is_pushed(below.link) && now.since(below.at) < SILENT_AFTER);
        // The furthest first: the one in the middle and all before it are more than half.
        self.below.sort_unstable_by_key(|below| core::cmp::Reverse(below.seq));
        let median = self.below.get(self.below.len() / 2);
        let reached = median.map_or(alone, |below| high.min(below.seq));
        if reached <= self.told {
            return None;
        }
        self.told = reached;
        // What others lack here remains to be told: they may soon have no say any more.
        if reached == high {
            self.untold_bytes = held;
        }
        Some(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Whether it is time to tell once so many bytes more have come.
    fn is_due(frontier: &mut Frontier, bytes: usize) -> bool {
        frontier.came(bytes);
        frontier.is_due(0)
    }

    #[test]
    fn who_pushes_to_nobody_tells_what_it_has_now_and_then() {
        let mut frontier = Frontier::default();
        assert!(!is_due(&mut frontier, TELL_BYTES - 1));
        assert!(is_due(&mut frontier, 1));
        assert_eq!(frontier.advance(at(0), (7, 0), 7, |_| true), Some(7));
        assert!(!is_due(&mut frontier, 1));
        assert!(is_due(&mut frontier, TELL_BYTES));
        assert!(!frontier.is_due(2), "behind a hole");
        assert_eq!(frontier.advance(at(0), (9, 0), 9, |_| true), Some(9));
        assert!(!frontier.is_due(0));
    }

    #[test]
    fn what_is_not_told_is_still_due() {
        let mut frontier = Frontier::default();
        frontier.came(2 * TELL_BYTES);
        assert!(frontier.is_due(TELL_BYTES));
        assert_eq!(frontier.advance(at(0), (7, TELL_BYTES), 7, |_| true), Some(7));
        assert!(!frontier.is_due(TELL_BYTES), "what waits behind a hole");
        assert!(frontier.is_due(0), "as soon as it is filled");
        assert_eq!(frontier.advance(at(0), (9, 0), 9, |_| true), Some(9));
        frontier.came(2 * TELL_BYTES);
        frontier.hear(at(0), LinkId(1), 10);
        assert_eq!(frontier.advance(at(0), (15, 0), 15, |_| true), Some(10));
        assert!(frontier.is_due(0), "what the one below lacks");
        assert_eq!(frontier.advance(at(0), (15, 0), 15, |_| false), Some(15));
        assert!(!frontier.is_due(0));
    }

    #[test]
    fn more_than_half_of_those_below_have_it() {
        for (told, reached) in [
            (&[5][..], 5),
            (&[5, 9], 5),
            (&[2, 5, 9], 5),
            (&[2, 3, 8, 9], 3),
            (&[1, 2, 3, 8, 9], 3),
            (&[30, 40, 50], 20),
        ] {
            let mut frontier = Frontier::default();
            for (link, seq) in (1..).zip(told) {
                frontier.hear(at(0), LinkId(link), *seq);
            }
            assert_eq!(frontier.advance(at(0), (20, 0), 20, |_| true), Some(reached), "{told:?}");
        }
    }

    #[test]
    fn who_is_silent_or_not_pushed_to_has_no_say() {
        let mut frontier = Frontier::default();
        frontier.hear(at(0), LinkId(1), 1);
        frontier.hear(at(900), LinkId(2), 8);
        frontier.hear(at(900), LinkId(3), 9);
        assert_eq!(frontier.advance(at(999), (20, 0), 20, |link| link != LinkId(3)), Some(1));
        assert_eq!(frontier.advance(at(1_000), (20, 0), 20, |_| true), Some(8));
        frontier.hear(at(1_000), LinkId(2), 3);
        assert_eq!(frontier.advance(at(1_000), (20, 0), 20, |_| true), None, "it does not go back");
        assert_eq!(frontier.advance(at(9_000), (20, 0), 20, |_| true), Some(20));
    }

    #[test]
    fn who_pushed_lately_is_told() {
        let mut frontier = Frontier::default();
        frontier.pushed(at(0), LinkId(1));
        frontier.pushed(at(500), LinkId(2));
        frontier.pushed(at(600), LinkId(1));
        let above = |ms| frontier.above(at(ms)).collect::<Vec<_>>();
        assert_eq!(above(600), [LinkId(1), LinkId(2)]);
        assert_eq!(above(1_500), [LinkId(1)]);
        assert_eq!(above(1_600), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut frontier = Frontier::default();
        (0..1_000).for_each(|link| frontier.hear(at(0), LinkId(link), 1));
        (0..1_000).for_each(|link| frontier.pushed(at(0), LinkId(link)));
        assert_eq!((frontier.below.len(), frontier.above.len()), (BELOW_MAX, ABOVE_MAX));
    }
}
