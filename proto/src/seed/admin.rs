//! Operators: whoever has the key of this seed may ask it for what no peer may.

use crate::id::{LinkId, RequestId};
use crate::seed::Seed;
use crate::seed::event::Event;
use crate::seed::links::goodbye;
use crate::seed::set::Change;
use crate::time::Instant;
use crate::wire::frame::{AdminAnswer, AdminCommand, Frame, Reason};

/// Who is answered when something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// An operator on a link.
    Link(LinkId, RequestId),
    /// The shell.
    Command(RequestId),
    /// The seed itself.
    Nobody,
}

impl Seed {
    /// An operator asks.
    pub(super) fn administer(&mut self, now: Instant, asker: Asker, command: AdminCommand) {
        let change = match command {
            AdminCommand::Forget(who) => return self.forget(now, asker, &who),
            AdminCommand::ShowSet => None,
            AdminCommand::AddSeed(place) => Some(Change::Add(place)),
            AdminCommand::RemoveSeed(address) => Some(Change::Remove(address)),
        };
        match change {
            None => {
                let view = self.set_view();
                self.answer_admin(asker, AdminAnswer::Set(view));
            }
            Some(_) if !self.sync.is_member() => {
                let text = "this seed is not in the set: ask another one".to_owned();
                self.answer_admin(asker, AdminAnswer::Refused(text));
            }
            Some(change) => self.change_set(now, asker, change),
        }
    }

    pub(super) fn answer_admin(&mut self, asker: Asker, answer: AdminAnswer) {
        let answer = match answer {
            // Cut as the text of a goodbye is.
            AdminAnswer::Refused(text) => {
                AdminAnswer::Refused(goodbye(Reason::Violation, &text).text)
            }
            other => other,
        };
        match asker {
            Asker::Link(link, request) => {
                self.send(link, Frame::AdminDone(request, Box::new(answer)));
            }
            Asker::Command(request) => {
                let event = Event::Admin { request, answer };
                self.out.push_back(crate::machine::Output::Event(event));
            }
            Asker::Nobody => {}
        }
    }
}
