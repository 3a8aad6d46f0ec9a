//! One subscription of a session: numbers what is handed out, and remembers it until it is known
//! to have arrived.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures_core::Stream as _;

use crate::delivery::Delivery;
use crate::subscribe::SubscribeOptions;
use crate::subscription::Subscription;

/// Deliveries that are remembered until they are known to have arrived. As many as one pull
/// answers; about what the buffers of a connection hold. A client that confirms by itself gets
/// no more than this ahead of what it has confirmed.
pub(crate) const UNCONFIRMED_MAX: usize = 10_000;

/// Bytes of those deliveries, each with [`DELIVERY_BYTES`]; the one that goes over it is the last.
/// More than a pull answers and than the buffers of a connection hold: 4 MiB here, and on Linux up
/// to 4 and 6 MiB at its ends.
pub(crate) const UNCONFIRMED_BYTES_MAX: usize = 16 << 20;

/// What a delivery costs beside its body: about the size of a message without its own.
const DELIVERY_BYTES: usize = 256;

/// A delivery of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its place among the deliveries of its topic to this session, from 1. `0` in a session
    /// that confirms nothing.
    pub pos: u64,
    /// It was handed out before, and it is not known whether it arrived.
    pub redelivered: bool,
    /// What it is.
    pub delivery: Delivery,
}

/// A subscription of a session.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) subscription: Subscription,
    pub(crate) options: SubscribeOptions,
    /// Comes as events on the session's connection.
    pub(crate) stream: bool,
    /// Whether deliveries are remembered until they are confirmed.
    remembers: bool,
    /// The client confirms by itself: nothing is taken for arrived without its word.
    confirms: bool,
    handed_out: u64,
    unconfirmed: Unconfirmed,
    again: VecDeque<Numbered>,
}

/// Deliveries that are not known to have arrived, in order.
#[derive(Debug, Default)]
struct Unconfirmed {
    deliveries: VecDeque<Numbered>,
    bytes: usize,
}

impl Unconfirmed {
    fn push(&mut self, numbered: Numbered) {
        self.bytes += numbered.bytes();
        self.deliveries.push_back(numbered);
    }

    fn pop_front(&mut self) -> Option<Numbered> {
        let numbered = self.deliveries.pop_front()?;
        self.bytes -= numbered.bytes();
        Some(numbered)
    }

    fn pop_back(&mut self) -> Option<Numbered> {
        let numbered = self.deliveries.pop_back()?;
        self.bytes -= numbered.bytes();
        Some(numbered)
    }

    fn is_full(&self) -> bool {
        self.deliveries.len() >= UNCONFIRMED_MAX || self.bytes >= UNCONFIRMED_BYTES_MAX
    }
}

impl Numbered {
    fn bytes(&self) -> usize {
        let body = match &self.delivery {
            Delivery::Message(message) => message.body.len(),
            _ => 0,
        };
        body + DELIVERY_BYTES
    }
}

impl Kept {
    pub(crate) fn new(
        subscription: Subscription,
        options: SubscribeOptions,
        stream: bool,
        remembers: bool,
    ) -> Self {
        Self {
            subscription,
            options,
            stream,
            remembers,
            confirms: false,
            handed_out: 0,
            unconfirmed: Unconfirmed::default(),
            again: VecDeque::new(),
        }
    }

    /// The next delivery; `Ready(None)` after the last one.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Numbered>> {
        if let Some(again) = self.again.pop_front() {
            if self.remembers {
                self.unconfirmed.push(again.clone());
            }
            return Poll::Ready(Some(again));
        }
        if self.confirms && self.unconfirmed.is_full() {
            // Who confirms wakes who waits here.
            return Poll::Pending;
        }
        let next = std::pin::Pin::new(&mut self.subscription).poll_next(cx);
        next.map(|next| next.map(|delivery| self.number(delivery)))
    }

    fn number(&mut self, delivery: Delivery) -> Numbered {
        if !self.remembers {
            return Numbered { pos: 0, redelivered: false, delivery };
        }
        self.handed_out += 1;
        let numbered = Numbered { pos: self.handed_out, redelivered: false, delivery };
        while self.unconfirmed.is_full() {
            self.unconfirmed.pop_front();
        }
        self.unconfirmed.push(numbered.clone());
        numbered
    }

    /// It was not handed out after all: it is the next. Only for sessions that confirm nothing.
    pub(crate) fn put_back(&mut self, numbered: Numbered) {
        self.again.push_front(numbered);
    }

    /// The number of the next message of the topic that was not handed out.
    pub(crate) fn ordinal(&self) -> u64 {
        let is_message = |one: &&Numbered| matches!(one.delivery, Delivery::Message(_));
        let again = self.again.iter().filter(is_message).count() as u64;
        self.subscription.reader().ordinal().saturating_sub(again)
    }

    /// What waits to be handed out.
    pub(crate) fn pending(&self) -> usize {
        self.again.len() + self.subscription.pending()
    }

    /// The place of the last delivery that was handed out; 0 when places are not counted.
    pub(crate) fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// How many deliveries were handed out and are not known to have arrived.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.unconfirmed.deliveries.len()
    }

    /// Whether deliveries are remembered until they are confirmed.
    pub(crate) fn remembers(&self) -> bool {
        self.remembers
    }

    /// Whether nothing follows and everything that was handed out is known to have arrived.
    pub(crate) fn is_over(&self) -> bool {
        self.subscription.is_finished()
            && self.again.is_empty()
            && self.unconfirmed.deliveries.is_empty()
    }

    /// Everything up to `pos` has arrived. From now on nothing else is taken for that.
    pub(crate) fn confirm_to(&mut self, pos: u64) {
        self.confirms = true;
        self.arrived_to(pos);
    }

    /// Everything up to `pos` has arrived.
    pub(crate) fn arrived_to(&mut self, pos: u64) {
        while self.unconfirmed.deliveries.front().is_some_and(|numbered| numbered.pos <= pos) {
            self.unconfirmed.pop_front();
        }
        while self.again.front().is_some_and(|numbered| numbered.pos <= pos) {
            self.again.pop_front();
        }
    }

    /// What was handed out from `pos` on was not sent: it is handed out next.
    pub(crate) fn take_back(&mut self, pos: u64) {
        while self.unconfirmed.deliveries.back().is_some_and(|numbered| numbered.pos >= pos) {
            if let Some(numbered) = self.unconfirmed.pop_back() {
                self.again.push_front(numbered);
            }
        }
    }

    /// Everything that was handed out has arrived, unless the client confirms by itself.
    pub(crate) fn confirm(&mut self) {
        if !self.confirms {
            self.unconfirmed = Unconfirmed::default();
        }
    }

    /// The connection is lost: what is not confirmed is handed out again.
    pub(crate) fn rewind(&mut self) {
        while let Some(mut numbered) = self.unconfirmed.pop_back() {
            numbered.redelivered = true;
            self.again.push_front(numbered);
        }
        // The next connection may be of a client that does not confirm.
        self.confirms = false;
    }

    /// Goes on with a new subscription of a topic that was deleted and created again: what came
    /// before that is handed out first.
    pub(crate) fn renew(&mut self, mut subscription: Subscription, options: SubscribeOptions) {
        subscription.inherit(&mut self.subscription);
        self.subscription = subscription;
        self.options = options;
    }
}
