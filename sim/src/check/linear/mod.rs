//! Whether what applications saw of topics is linearizable: as if each call had taken effect at one
//! instant between its question and its answer.
//!
//! A [`History`] is what was asked and answered, by real time, at whichever peers; [`Search`] looks
//! for an order of the calls of one topic that a register explains ([`Register`]). A call that was
//! not answered, or whose answer leaves it open, may have taken effect at any later time or never.
//!
//! Takeovers of topics whose hosts are gone are not part of it: a history is shorter than the ten
//! minutes after which there are any.

mod register;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use tidings_proto::Instant;

pub use register::Register;
pub use search::{ORDERS_MAX, Search};

use super::Verdicts;

/// The rule's name.
pub const RULE: &str = "S7 linearizable";
/// Calls that a history has room for: about 100 MB. One more is an error.
pub const CALLS_MAX: usize = 1_000_000;
/// When so much was lost that nothing counts, peers tell the seeds anew what they host within this,
/// in microseconds: a topic that was not there may be there again. They come back in 5 s.
const ANEW_US: u64 = 15_000_000;
/// Calls among which the last one is looked for that saw a host.
const RECENT: usize = 100;
/// Of the calls that were answered before one that fits nowhere, so many are shown.
const SHOWN: usize = 12;

/// What a call asks of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// To be its host.
    Create,
    /// To end it.
    Delete,
    /// To know it.
    Read,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The caller is the host of this creation.
    Created {
        /// Which creation of the name.
        generation: u64,
    },
    /// The caller was the host and has ended it.
    Deleted,
    /// It is there; for a creation or a deletion: which is why it was refused.
    There {
        /// Which creation of the name, when that was said.
        generation: Option<u64>,
        /// Whose it is.
        host: u32,
    },
    /// It is not there.
    Absent,
}

/// A call of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who asked: the number of a peer.
    pub by: u32,
    /// What.
    pub act: Act,
    /// When, in microseconds since a start that is the same for all.
    pub asked_us: u64,
    /// When the answer came, in the same way, and what it said.
    pub answered: Option<(u64, Outcome)>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, act, asked_us, answered } = self;
        let seconds = |us: u64| us as f64 / 1e6;
        write!(f, "{:.6} s peer {by} {act:?}", seconds(*asked_us))?;
        match answered {
            Some((at_us, outcome)) => write!(f, " -> {:.6} s {outcome:?}", seconds(*at_us)),
            None => f.write_str(" -> unknown"),
        }
    }
}

/// Why a history does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault<K> {
    /// No order of the calls explains this answer.
    Broken {
        /// The topic.
        key: K,
        /// The first call that fits nowhere.
        call: Call,
        /// What the topic may have been just before it was answered.
        possible: Vec<Register>,
        /// The last calls before, and those that were open.
        around: Vec<Call>,
    },
    /// More orders than [`ORDERS_MAX`] are possible at once: nothing is known.
    TooMany {
        /// The topic.
        key: K,
        /// The call at which that was so.
        call: Call,
    },
    /// There were more calls than [`CALLS_MAX`]: nothing is known.
    TooLong,
}

impl<K: fmt::Display> fmt::Display for Fault<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { key, call, possible, around } => {
                let mut text = String::new();
                around.iter().try_for_each(|call| write!(text, "; {call}"))?;
                write!(f, "topic {key}: no order explains {call}; it was {possible:?}{text}")
            }
            Self::TooMany { key, call } => {
                write!(f, "topic {key}: more than {ORDERS_MAX} orders are possible at {call}")
            }
            Self::TooLong => write!(f, "more than {CALLS_MAX} calls were made"),
        }
    }
}

/// The calls of one topic.
#[derive(Clone, Debug, Default)]
struct Key {
    calls: Vec<Call>,
    /// It is not known what the topic was before the first of them.
    is_open: bool,
}

/// What was asked of topics, and answered.
#[derive(Clone, Debug)]
pub struct History<K> {
    keys: BTreeMap<K, Key>,
    /// The topics, and places among their calls, of calls that wait for their answers.
    waiting: BTreeMap<u64, (K, usize)>,
    asked: u64,
    calls: usize,
    calls_max: usize,
    is_full: bool,
    is_open: bool,
    /// What was asked before this is not judged.
    judged_from_us: u64,
}

impl<K> Default for History<K> {
    fn default() -> Self {
        Self::with_room(CALLS_MAX)
    }
}

impl<K> History<K> {
    /// An empty history; no topic is there. More calls than `calls_max` are an error.
    pub fn with_room(calls_max: usize) -> Self {
        Self {
            keys: BTreeMap::new(),
            waiting: BTreeMap::new(),
            asked: 0,
            calls: 0,
            calls_max,
            is_full: false,
            is_open: false,
            judged_from_us: 0,
        }
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.calls
    }

    /// Nobody has asked for anything.
    pub fn is_empty(&self) -> bool {
        self.calls == 0
    }

    /// How many topics they are about.
    pub fn topics(&self) -> usize {
        self.keys.len()
    }
}

impl<K: Ord + Clone> History<K> {
    /// A peer asks; returns the number of the call.
    pub fn asked(&mut self, at_us: u64, key: K, by: u32, act: Act) -> u64 {
        self.asked += 1;
        if self.calls >= self.calls_max {
            self.is_full = true;
            return self.asked;
        }
        self.calls += 1;
        let is_open = self.is_open;
        let of = self.keys.entry(key.clone()).or_insert_with(|| Key { is_open, ..Key::default() });
        self.waiting.insert(self.asked, (key, of.calls.len()));
        of.calls.push(Call { by, act, asked_us: at_us, answered: None });
        self.asked
    }

    /// A call was answered. `None` for an answer that leaves open whether it has happened.
    pub fn answered(&mut self, at_us: u64, number: u64, outcome: Option<Outcome>) {
        let Some((key, at)) = self.waiting.remove(&number) else { return };
        let call = self.keys.get_mut(&key).and_then(|of| of.calls.get_mut(at));
        if let (Some(call), Some(outcome)) = (call, outcome) {
            call.answered = Some((at_us, outcome));
        }
    }

    /// A call that waits for its answer.
    pub fn waiting(&self, number: u64) -> Option<&Call> {
        let (key, at) = self.waiting.get(&number)?;
        self.keys.get(key)?.calls.get(*at)
    }

    /// The topic's host as the last of the recent calls saw it, for who wants to choose.
    pub fn host(&self, key: &K) -> Option<u32> {
        let answered = |call: &Call| Some((call.answered?, call.by));
        let latest = self.keys.get(key)?.calls.iter().rev().take(RECENT);
        let last = latest.filter_map(answered).max_by_key(|of| of.0.0);
        match last? {
            ((_, Outcome::Created { .. }), by) => Some(by),
            ((_, Outcome::There { host, .. }), _) => Some(host),
            _ => None,
        }
    }

    /// So much was lost that nothing that was said before counts, nor what is said until all have
    /// told again what is theirs. What was asked and not answered by then may still happen.
    pub fn void(&mut self, at_us: u64) {
        self.is_open = true;
        self.judged_from_us = at_us.saturating_add(ANEW_US);
        self.keys.values_mut().for_each(|of| of.is_open = true);
    }

    /// What of a call is judged.
    fn judged(&self, call: &Call) -> Option<Call> {
        let from_us = self.judged_from_us;
        match call.answered {
            _ if call.asked_us >= from_us => Some(*call),
            Some((at_us, _)) if at_us < from_us => None,
            _ => Some(Call { answered: None, ..*call }),
        }
    }

    /// Looks for an order of the calls of each topic. Returns how many calls have a place in it:
    /// all that were answered.
    ///
    /// # Errors
    /// The first topic without one, or the limit that was exceeded.
    pub fn check(&self) -> Result<usize, Fault<K>> {
        if self.is_full {
            return Err(Fault::TooLong);
        }
        let mut placed = 0;
        for (key, of) in &self.keys {
            let start = if of.is_open { Register::Any } else { Register::NEW };
            let calls: Vec<Call> = of.calls.iter().filter_map(|call| self.judged(call)).collect();
            placed += Search::new(&calls, start).run().map_err(|end| end.of(key, &calls))?;
        }
        Ok(placed)
    }

    /// The same, for the judges of a run.
    pub fn judge(&self, verdicts: &mut Verdicts) -> usize
    where
        K: fmt::Display,
    {
        self.check().unwrap_or_else(|fault| {
            let (at_us, node) = match &fault {
                Fault::Broken { call, .. } | Fault::TooMany { call, .. } => {
                    (call.answered.map_or(call.asked_us, |(at_us, _)| at_us), call.by)
                }
                Fault::TooLong => (0, 0),
            };
            verdicts.report(RULE, Instant::from_micros(at_us), node, format_args!("{fault}"));
            0
        })
    }
}

impl search::End {
    /// Says it for people, with the calls around.
    fn of<K: Clone>(self, key: &K, calls: &[Call]) -> Fault<K> {
        let key = key.clone();
        match self {
            Self::TooMany(at) => Fault::TooMany { key, call: calls[at] },
            Self::Broken(at, possible) => {
                let call = calls[at];
                let end_us = call.answered.map_or(u64::MAX, |(at_us, _)| at_us);
                let before = |other: &&Call| other.asked_us <= end_us && **other != call;
                let mut around: Vec<Call> = calls.iter().filter(before).copied().collect();
                // Those that end last say most.
                around.sort_by_key(|call| call.answered.map_or(call.asked_us, |(at_us, _)| at_us));
                let around = around.split_off(around.len().saturating_sub(SHOWN));
                Fault::Broken { key, call, possible, around }
            }
        }
    }
}
