//! What the machine wants done, in order, until the driver takes it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use core::time::Duration;

use crate::id::{DialId, LinkId, RequestId};
use crate::machine::{Class, Output};
use crate::peer::event::{Answer, CommandError, Durable, Event, Notice};
use crate::wire::frame::{Frame, Goodbye, Reason, TEXT_BYTES_MAX};

/// The queue of outputs of a peer.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Output<Event, Durable>>,
    dials: u64,
    tokens: u64,
}

impl Outbox {
    /// The oldest output.
    pub(crate) fn pop(&mut self) -> Option<Output<Event, Durable>> {
        self.queue.pop_front()
    }

    pub(crate) fn send(&mut self, link: LinkId, class: Class, frame: Frame) {
        self.queue.push_back(Output::Send { link, class, frame });
    }

    pub(crate) fn control(&mut self, link: LinkId, frame: Frame) {
        self.send(link, Class::Control, frame);
    }

    pub(crate) fn dial(&mut self, address: SocketAddr, timeout: Duration) -> DialId {
        self.dials += 1;
        let dial = DialId(self.dials);
        let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        self.queue.push_back(Output::Dial { dial, address, timeout_ms });
        dial
    }

    pub(crate) fn close(&mut self, link: LinkId, reason: Reason, text: &str) {
        debug_assert!(text.len() <= TEXT_BYTES_MAX, "goodbye text too long");
        let goodbye = Some(Goodbye { reason, text: text.to_owned() });
        self.queue.push_back(Output::Close { link, goodbye });
    }

    pub(crate) fn hang_up(&mut self, link: LinkId) {
        self.queue.push_back(Output::Close { link, goodbye: None });
    }

    pub(crate) fn persist(&mut self, record: Durable) {
        self.tokens += 1;
        self.queue.push_back(Output::Persist { token: self.tokens, record });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.queue.push_back(Output::Event(event));
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.event(Event::Notice(notice));
    }

    pub(crate) fn answer(&mut self, request: RequestId, result: Result<Answer, CommandError>) {
        self.event(Event::Answer { request, result });
    }
}
