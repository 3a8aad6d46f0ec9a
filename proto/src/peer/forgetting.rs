//! The application wants a peer that is gone to be listed no more: one of the seeds is asked, and
//! has all of them look for themselves.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Peer;
use super::event::{Answer, CommandError};
use crate::id::{LinkId, RequestId};
use crate::time::Instant;
use crate::wire::frame::{AdminAnswer, AdminCommand, Frame, TEXT_BYTES_MAX};

/// Open at once. A seed takes eight of one peer.
const OPEN_MAX: usize = 8;
/// Seeds answer within three of their probes, 6 s; this is a little longer.
const TIMEOUT: Duration = Duration::from_secs(8);
/// When the seed that was asked is lost, another one is asked, and all is over after this: before
/// the 15 s in which an application is answered.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(14);

/// Requests that are open.
#[derive(Debug, Default)]
pub(super) struct Forgets {
    open: BTreeMap<RequestId, Asked>,
}

#[derive(Debug)]
struct Asked {
    who: String,
    /// The seed.
    link: LinkId,
    until: Instant,
    /// When it is given up, whoever is asked.
    last: Instant,
}

impl Forgets {
    /// When the next request is given up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.open.values().map(|asked| asked.until).min()
    }

    fn take(&mut self, is_meant: impl Fn(&Asked) -> bool) -> Vec<(RequestId, Asked)> {
        self.open.extract_if(.., |_, asked| is_meant(asked)).collect()
    }
}

impl Peer {
    /// Has a seed asked to forget a peer, by its id, address or name.
    pub(super) fn forget(&mut self, request: RequestId, who: String) {
        if who.len() > TEXT_BYTES_MAX {
            let error = CommandError::Limit { what: "bytes of a name", limit: TEXT_BYTES_MAX };
            return self.out.answer(request, Err(error));
        }
        if self.forgets.open.len() >= OPEN_MAX {
            let error = CommandError::Limit { what: "peers to forget at once", limit: OPEN_MAX };
            return self.out.answer(request, Err(error));
        }
        self.ask_to_forget(request, who, self.now + GIVEN_UP_AFTER);
    }

    fn ask_to_forget(&mut self, request: RequestId, who: String, last: Instant) {
        let Some(link) = self.rendezvous.sessions().next() else {
            let error = self.no_quorum();
            return self.out.answer(request, Err(error));
        };
        let frame = Frame::Admin(request, AdminCommand::Forget(who.clone()));
        self.out.control(link, frame);
        let until = last.min(self.now + TIMEOUT);
        self.forgets.open.insert(request, Asked { who, link, until, last });
    }

    /// The seed that was asked says what became of it.
    pub(super) fn on_forgotten(&mut self, id: LinkId, request: RequestId, answer: AdminAnswer) {
        if self.forgets.open.get(&request).is_none_or(|asked| asked.link != id) {
            return;
        }
        let result = match answer {
            AdminAnswer::Forgotten(item) => Ok(Answer::Forgotten(item)),
            AdminAnswer::Refused(text) => Err(CommandError::Refused(text)),
            AdminAnswer::NoQuorum => Err(self.no_quorum()),
            // The request stays open: another seed is asked when this link is closed.
            AdminAnswer::Set(_) => {
                return self.violation(id, "an answer that was not asked for");
            }
        };
        self.forgets.open.remove(&request);
        self.out.answer(request, result);
    }

    /// Nobody answers any more what was asked on a link that is gone: another seed is asked. That
    /// the first one may have done it already is no harm, but what it is then told may be that
    /// there is no such peer.
    pub(super) fn forgets_lost(&mut self, id: LinkId) {
        for (request, Asked { who, last, .. }) in self.forgets.take(|asked| asked.link == id) {
            self.ask_to_forget(request, who, last);
        }
    }

    /// Gives up what takes too long.
    pub(super) fn tend_forgets(&mut self) {
        let now = self.now;
        for (request, _) in self.forgets.take(|asked| asked.until <= now) {
            let error = self.no_quorum();
            self.out.answer(request, Err(error));
        }
    }
}
