//! Holes in streams: when to pull what from whom, and when to give up.
//!
//! Repair does not wait for failure detection: a hole is pulled after a short delay from the
//! neighbour that is known to have it, then from others in turn.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::RepairConfig;
use crate::id::{LinkId, Origin, RequestId, Topic};
use crate::time::Instant;

/// The most streams with a hole that are repaired at once; others wait for the next digest.
pub(crate) const HOLES_MAX: usize = 16_384;
/// The most neighbours that are remembered as having what is missing.
const SOURCES_MAX: usize = 8;
/// Answers that bring what is missing make the next question so many times longer. As the slow
/// start of TCP, which doubles with each acknowledgement of a round trip.
const STRETCH: u64 = 4;

/// A stream with a hole.
#[derive(Debug)]
pub(crate) struct Hole {
    /// Neighbours that are known to have it, the best first.
    sources: Vec<LinkId>,
    due: Instant,
    /// Since when nothing before it was missing.
    since: Instant,
    /// The highest number up to which nothing is missing.
    high: u64,
    /// How often it was pulled without any progress.
    tries: u32,
    /// The pull under way, and whom it went to.
    pub(crate) pull: Option<(RequestId, LinkId)>,
    /// The last number that was pulled; 0 before the first pull.
    asked_to: u64,
    /// The last number of the last pull, when that was for a part of what was missing.
    part_to: Option<u64>,
    /// So many numbers may be pulled whatever room there is for them.
    reach: u64,
}

impl Hole {
    /// Takes note of progress: what is missing now is another hole, with as much time as any. A
    /// stream that is always a little behind is one that goes on. Returns whether it moved.
    fn moved(&mut self, now: Instant, high: u64) -> bool {
        let moved = high > self.high;
        if moved {
            self.high = high;
            self.since = now;
            self.tries = 0;
        }
        moved
    }
}

/// What to do about a hole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Pull it: from this neighbour, or from any when it is `None`.
    Pull(Option<LinkId>),
    /// Nobody could supply it in time.
    GiveUp,
}

/// The holes of all topics.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    holes: BTreeMap<(Topic, Origin), Hole>,
    due: BTreeSet<(Instant, Topic, Origin)>,
}

impl Repair {
    /// Nothing is missing up to `high`, and something is after it, which `source` can fill. It is
    /// pulled at `due` at the latest, unless a pull is under way. Returns whether there was room
    /// to remember it.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        (topic, origin): (&Topic, Origin),
        high: u64,
        source: Option<LinkId>,
        due: Instant,
    ) -> bool {
        let key = (topic.clone(), origin);
        if let Some(hole) = self.holes.get_mut(&key) {
            if hole.moved(now, high) && hole.pull.is_none() && due < hole.due {
                self.due.remove(&(hole.due, key.0.clone(), origin));
                hole.due = due;
                self.due.insert((due, key.0.clone(), origin));
            }
            if let Some(source) = source
                && !hole.sources.contains(&source)
                && hole.sources.len() < SOURCES_MAX
            {
                hole.sources.push(source);
            }
            return true;
        }
        if self.holes.len() >= HOLES_MAX {
            return false;
        }
        let sources = source.into_iter().collect();
        let hole = Hole {
            sources,
            due,
            since: now,
            high,
            tries: 0,
            pull: None,
            asked_to: 0,
            part_to: None,
            reach: 1,
        };
        self.due.insert((due, key.0.clone(), origin));
        self.holes.insert(key, hole);
        true
    }

    /// The hole is filled, or nobody wants it any more.
    pub(crate) fn settle(&mut self, topic: &Topic, origin: Origin) -> Option<Hole> {
        let hole = self.holes.remove(&(topic.clone(), origin))?;
        self.due.remove(&(hole.due, topic.clone(), origin));
        Some(hole)
    }

    /// Forgets all holes of a topic.
    pub(crate) fn forget_topic(&mut self, topic: &Topic) {
        let origins: Vec<_> =
            self.holes.keys().filter(|(t, _)| t == topic).map(|(_, origin)| *origin).collect();
        origins.into_iter().for_each(|origin| drop(self.settle(topic, origin)));
    }

    /// The next hole whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Topic, Origin)> {
        let (due, topic, origin) = self.due.first()?;
        (*due <= now).then(|| (topic.clone(), *origin))
    }

    /// When the next hole is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, ..)| *due)
    }

    /// Advances a due hole, when nothing is missing up to `high`. The next look at it is after the
    /// timeout of a pull.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        (topic, origin): (&Topic, Origin),
        high: u64,
        config: &RepairConfig,
    ) -> Option<Step> {
        let hole = self.holes.get_mut(&(topic.clone(), origin))?;
        self.due.remove(&(hole.due, topic.clone(), origin));
        hole.moved(now, high);
        if now.since(hole.since) >= config.gap_after {
            hole.since = now;
            hole.due = now;
            self.due.insert((hole.due, topic.clone(), origin));
            return Some(Step::GiveUp);
        }
        // After the first round the pace is halved with each try, up to eight timeouts.
        let patience = 1 << hole.tries.saturating_sub(3).min(3);
        hole.due = now + config.timeout * patience;
        self.due.insert((hole.due, topic.clone(), origin));
        hole.tries += 1;
        let source = if hole.sources.is_empty() { None } else { Some(hole.sources.remove(0)) };
        hole.pull = None;
        Some(Step::Pull(source))
    }

    /// A pull for what is missing up to `asked_to` went out, or for a part of that.
    pub(crate) fn pulled(
        &mut self,
        (topic, origin): (&Topic, Origin),
        pull: (RequestId, LinkId),
        asked_to: u64,
        is_part: bool,
    ) {
        if let Some(hole) = self.holes.get_mut(&(topic.clone(), origin)) {
            hole.pull = Some(pull);
            hole.asked_to = hole.asked_to.max(asked_to);
            hole.part_to = is_part.then_some(asked_to);
        }
    }

    /// How many numbers may be pulled though there is no room to hold them back: as many as can be
    /// expected to come in order.
    pub(crate) fn reach(&self, topic: &Topic, origin: Origin) -> u64 {
        self.holes.get(&(topic.clone(), origin)).map_or(1, |hole| hole.reach)
    }

    /// The answer to a pull is complete, and this is the first number that is missing now. Returns
    /// whether the pull was for a part of what was missing, and all of that has come.
    pub(crate) fn stretch(&mut self, topic: &Topic, origin: Origin, missing: u64) -> bool {
        let Some(hole) = self.holes.get_mut(&(topic.clone(), origin)) else { return false };
        let moved = hole.tries == 0;
        hole.reach = if moved { hole.reach.saturating_mul(STRETCH) } else { 1 };
        moved && hole.part_to.is_some_and(|last| missing > last)
    }

    /// Whether a number that has just come was pulled: everything missing up to the last pulled
    /// one was.
    pub(crate) fn was_pulled(&self, topic: &Topic, origin: Origin, seq: u64) -> bool {
        // Most of the time there is no hole at all.
        !self.holes.is_empty()
            && self.holes.get(&(topic.clone(), origin)).is_some_and(|hole| seq <= hole.asked_to)
    }

    /// When a hole was noticed.
    pub(crate) fn since(&self, topic: &Topic, origin: Origin) -> Option<Instant> {
        self.holes.get(&(topic.clone(), origin)).map(|hole| hole.since)
    }

    /// How often a hole was pulled since it was last seen to move.
    pub(crate) fn tries(&self, topic: &Topic, origin: Origin) -> u32 {
        self.holes.get(&(topic.clone(), origin)).map_or(0, |hole| hole.tries)
    }

    /// The answer to a pull is complete: whose hole it was for.
    pub(crate) fn answered(&self, topic: &Topic, request: RequestId) -> Option<Origin> {
        let first = (topic.clone(), Origin::default());
        let mut holes = self.holes.range(first..).take_while(|((t, _), _)| t == topic);
        holes
            .find(|(_, hole)| hole.pull.is_some_and(|(pull, _)| pull == request))
            .map(|((_, origin), _)| *origin)
    }

    /// Looks at a hole again at `due`, preferring `source`.
    pub(crate) fn hasten(
        &mut self,
        topic: &Topic,
        origin: Origin,
        due: Instant,
        source: Option<LinkId>,
    ) {
        let Some(hole) = self.holes.get_mut(&(topic.clone(), origin)) else { return };
        self.due.remove(&(hole.due, topic.clone(), origin));
        hole.due = due;
        hole.pull = None;
        self.due.insert((due, topic.clone(), origin));
        if let Some(source) = source {
            hole.sources.insert(0, source);
            hole.sources.truncate(SOURCES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (Topic, Origin) {
        (Topic::new("t").expect("legal"), Origin::default())
    }

    #[test]
    fn known_sources_first_then_anybody_then_a_gap() {
        let config = RepairConfig::default();
        let (topic, origin) = key();
        let mut repair = Repair::default();
        let key_of = (&topic, origin);
        repair.note(Instant::ZERO, key_of, 0, Some(LinkId(1)), Instant::from_millis(150));
        repair.note(Instant::ZERO, key_of, 0, Some(LinkId(2)), Instant::ZERO);
        assert_eq!(repair.pop_due(Instant::from_millis(149)), None);
        let mut steps = Vec::new();
        while let Some(due) = repair.next_deadline() {
            assert_eq!(repair.pop_due(due), Some(key()));
            let step = repair.advance(due, key_of, 0, &config).expect("known");
            let end = step == Step::GiveUp;
            steps.push(step);
            if end {
                break;
            }
        }
        assert_eq!(
            steps[..3],
            [Step::Pull(Some(LinkId(1))), Step::Pull(Some(LinkId(2))), Step::Pull(None)]
        );
        assert!(steps.len() < 16, "{} tries", steps.len());
        repair.settle(&topic, origin);
        assert_eq!(repair.next_deadline(), None);
    }

    #[test]
    fn an_answer_is_matched_to_its_hole() {
        let (topic, origin) = key();
        let mut repair = Repair::default();
        repair.note(Instant::ZERO, (&topic, origin), 0, None, Instant::ZERO);
        repair.advance(Instant::ZERO, (&topic, origin), 0, &RepairConfig::default());
        repair.pulled((&topic, origin), (RequestId(7), LinkId(1)), 5, false);
        assert!(repair.was_pulled(&topic, origin, 5) && !repair.was_pulled(&topic, origin, 6));
        assert_eq!(repair.answered(&topic, RequestId(7)), Some(origin));
        assert_eq!(repair.answered(&topic, RequestId(8)), None);
        repair.hasten(&topic, origin, Instant::ZERO, Some(LinkId(3)));
        let step = repair.advance(Instant::ZERO, (&topic, origin), 0, &RepairConfig::default());
        assert_eq!(step, Some(Step::Pull(Some(LinkId(3)))));
    }
    #[test]
    fn a_hole_that_moves_is_another_hole() {
        let config = RepairConfig::default();
        let (topic, origin) = key();
        let mut repair = Repair::default();
        let at = Instant::from_millis;
        repair.note(at(0), (&topic, origin), 7, None, at(150));
        let mut now = at(150);
        while now < at(29_000) {
            let step = repair.advance(now, (&topic, origin), 7, &config);
            assert_eq!(step, Some(Step::Pull(None)));
            now = repair.next_deadline().expect("due again");
        }
        // What was missing has come, and something later is missing.
        repair.note(at(29_000), (&topic, origin), 9, Some(LinkId(4)), at(29_150));
        assert_eq!((repair.tries(&topic, origin), repair.next_deadline()), (0, Some(at(29_150))));
        repair.note(at(29_100), (&topic, origin), 9, None, at(29_250));
        assert_eq!(repair.next_deadline(), Some(at(29_150)), "not put off");
        let mut now = at(29_150);
        let mut steps = 0;
        while repair.advance(now, (&topic, origin), 9, &config) != Some(Step::GiveUp) {
            now = repair.next_deadline().expect("due again");
            steps += 1;
        }
        assert!(now >= at(59_000) && steps > 5, "{now:?} {steps}");
    }

    #[test]
    fn a_pull_under_way_is_waited_for() {
        let config = RepairConfig::default();
        let (topic, origin) = key();
        let mut repair = Repair::default();
        let at = Instant::from_millis;
        repair.note(at(0), (&topic, origin), 1, None, at(0));
        repair.advance(at(0), (&topic, origin), 1, &config);
        repair.pulled((&topic, origin), (RequestId(7), LinkId(1)), 500, false);
        let due = repair.next_deadline();
        repair.note(at(10), (&topic, origin), 2, None, at(160));
        assert_eq!(repair.next_deadline(), due);
    }
}
