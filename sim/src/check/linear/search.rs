//! The search for an order of the calls of one topic (Wing & Gong 1993, with the just-in-time order
//! of Lowe 2017).
//!
//! The calls are walked through by time. Whenever one is answered, all orders of those that are
//! open are tried in which it comes last; who can have no such place refutes the history. Of two
//! orders that lead to the same only the one is kept that leaves more possible, so that calls
//! whose outcome is unknown, which stay open for ever, cost little.

use super::{Act, Call, Register};

/// Orders that may be possible at once. One more ends the search without a result. Histories of 20
/// peers under faults need a few dozen.
pub const ORDERS_MAX: usize = 4_096;

/// How a search ended that found nothing.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// This call has no place; what the topic may have been.
    Broken(usize, Vec<Register>),
    /// Too many orders are possible at this call.
    TooMany(usize),
}

/// An order of the calls so far, as far as it matters for what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    now: Register,
    /// Open calls that have their place already, ascending. They are answered later.
    placed: Vec<usize>,
    /// Calls of unknown outcome that took effect, ascending.
    spent: Vec<usize>,
}

impl Order {
    /// Whether all that can follow the other one can follow this one.
    fn covers(&self, other: &Self) -> bool {
        self.placed == other.placed
            && self.now.covers(&other.now)
            && self.spent.iter().all(|spent| other.spent.binary_search(spent).is_ok())
    }
}

/// A search for an order of these calls.
#[derive(Debug)]
pub struct Search<'a> {
    calls: &'a [Call],
    start: Register,
    /// Calls that wait for their answers.
    open: Vec<usize>,
    /// Calls that may take effect at any time, in the order in which they were asked.
    unknown: Vec<usize>,
}

impl<'a> Search<'a> {
    /// Of the calls of one topic, which was this before the first.
    pub fn new(calls: &'a [Call], start: Register) -> Self {
        Self { calls, start, open: Vec::new(), unknown: Vec::new() }
    }

    /// Walks through them; returns how many were answered.
    pub(super) fn run(mut self) -> Result<usize, End> {
        // What happens at the same microsecond may have happened in any order: who asks is first.
        let mut times: Vec<(u64, bool, usize)> = Vec::new();
        for (at, call) in self.calls.iter().enumerate() {
            times.push((call.asked_us, false, at));
            times.extend(call.answered.map(|(answered_us, _)| (answered_us, true, at)));
        }
        times.sort_unstable();
        let mut answered = 0;
        let (placed, spent) = (Vec::new(), Vec::new());
        let mut orders = vec![Order { now: self.start, placed, spent }];
        for (_, is_answer, at) in times {
            if is_answer {
                orders = self.place(orders, at)?;
                self.open.retain(|open| *open != at);
                answered += 1;
            } else if self.calls[at].answered.is_some() {
                self.open.push(at);
            } else if self.calls[at].act != Act::Read {
                self.unknown.push(at);
            }
        }
        Ok(answered)
    }

    /// All orders in which a call has its place, and no other after it that need not be there.
    fn place(&self, before: Vec<Order>, at: usize) -> Result<Vec<Order>, End> {
        let possible: Vec<Register> = before.iter().map(|order| order.now).collect();
        let mut seen: Vec<Order> = Vec::new();
        let mut fitting: Vec<Order> = Vec::new();
        let mut to_try: Vec<Order> = before;
        while let Some(order) = to_try.pop() {
            let mut order = self.with_reads(order);
            if let Ok(place) = order.placed.binary_search(&at) {
                order.placed.remove(place);
                keep(&mut fitting, order);
                continue;
            }
            if !keep(&mut seen, order.clone()) {
                continue;
            }
            if seen.len() + fitting.len() + to_try.len() > ORDERS_MAX {
                return Err(End::TooMany(at));
            }
            to_try.extend(self.next(&order));
        }
        if fitting.is_empty() { Err(End::Broken(at, possible)) } else { Ok(fitting) }
    }

    /// The order, followed by all open calls that change nothing: to place them can only help.
    fn with_reads(&self, mut order: Order) -> Order {
        for at in &self.open {
            if let Err(place) = order.placed.binary_search(at)
                && self.after(order.now, *at) == Some(order.now)
            {
                order.placed.insert(place, *at);
            }
        }
        order
    }

    /// The order, followed by any one call.
    fn next(&self, order: &Order) -> Vec<Order> {
        let mut next = Vec::new();
        for at in &self.open {
            if let Err(place) = order.placed.binary_search(at)
                && let Some(now) = self.after(order.now, *at)
            {
                let mut longer = Order { now, ..order.clone() };
                longer.placed.insert(place, *at);
                next.push(longer);
            }
        }
        // Of those that are alike, the first stands for all.
        let mut tried: Vec<(u32, Act)> = Vec::new();
        for at in &self.unknown {
            let Call { by, act, .. } = self.calls[*at];
            if let Err(place) = order.spent.binary_search(at)
                && !tried.contains(&(by, act))
            {
                tried.push((by, act));
                if let Some(now) = order.now.after_unknown((by, act)) {
                    let mut longer = Order { now, ..order.clone() };
                    longer.spent.insert(place, *at);
                    next.push(longer);
                }
            }
        }
        next
    }

    fn after(&self, now: Register, at: usize) -> Option<Register> {
        let Call { by, act, answered, .. } = self.calls[at];
        now.after((by, act), answered?.1)
    }
}

/// Keeps an order unless a kept one covers it, and drops those that it covers. Returns whether it
/// is kept.
fn keep(kept: &mut Vec<Order>, order: Order) -> bool {
    if kept.iter().any(|other| other.covers(&order)) {
        return false;
    }
    kept.retain(|other| !order.covers(other));
    kept.push(order);
    true
}
