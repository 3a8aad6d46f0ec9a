//! The seed's own look at an accused peer, on a fresh connection: an old one may be broken while
//! the peer is well, and prove nothing when it is not.

use core::time::Duration;

use crate::id::{LinkId, NodeId};
use crate::seed::{Dialed, Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{Frame, Purpose, Reason};

/// Probes at once, each a socket for up to two seconds.
const PROBES_MAX: usize = 512;
/// A peer that refuses a connection is dialled again after this: it may just be starting.
const REDIAL: Duration = Duration::from_millis(500);

/// How far the probe of an accused peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Not wanted.
    Idle,
    /// It follows at the case's deadline.
    Waiting,
    /// The peer has until then.
    Running {
        /// When the peer is taken for dead.
        deadline: Instant,
        /// A dial or the link it became is under way.
        dialing: bool,
        /// Dials so far.
        dials: usize,
    },
}

impl Seed {
    /// The deadline of a case is reached.
    pub(super) fn case_due(&mut self, now: Instant, due: Instant, node: NodeId) {
        let Some(case) = self.reports.cases.get(&node) else { return };
        match case.probe {
            Probe::Idle if case.reporters.is_empty() => self.tidy_case(now, node),
            Probe::Idle | Probe::Waiting => self.start_probe(now, node),
            // A deadline that is noticed late says that this seed was stalled, and perhaps did
            // not read the answer: it looks again.
            Probe::Running { deadline, .. }
                if now >= deadline && now.since(due) >= self.config.probe_timeout =>
            {
                self.start_probe(now, node);
            }
            Probe::Running { deadline, .. } if now >= deadline => self.probe_failed(now, node),
            Probe::Running { dialing: false, .. } => self.dial_accused(now, node),
            Probe::Running { deadline, .. } => self.timers.set(Timer::Case(node), deadline),
        }
    }

    pub(super) fn start_probe(&mut self, now: Instant, node: NodeId) {
        let running = self.reports.cases.values();
        let running = running.filter(|case| matches!(case.probe, Probe::Running { .. })).count();
        let deadline = now + self.config.probe_timeout;
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        if running >= PROBES_MAX {
            case.probe = Probe::Waiting;
            self.timers.set(Timer::Case(node), deadline);
            return;
        }
        case.probe = Probe::Running { deadline, dialing: false, dials: 0 };
        self.stats.probes += 1;
        // Whatever comes on the session is an answer too.
        if let Some(link) = self.links.session(&node) {
            self.send(link, Frame::Ping(0));
        }
        self.dial_accused(now, node);
    }

    /// Dials the accused at the next of its addresses.
    fn dial_accused(&mut self, now: Instant, node: NodeId) {
        let Some(peer) = self.registry.peer(&node) else { return };
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        let Probe::Running { deadline, dialing, dials } = &mut case.probe else { return };
        let addresses: Vec<_> = peer.addresses().collect();
        let address = addresses[*dials % addresses.len()];
        let share = u32::try_from(addresses.len()).unwrap_or(1);
        let timeout = deadline.since(now).min(self.config.probe_timeout / share);
        *dialing = true;
        *dials += 1;
        let deadline = *deadline;
        self.timers.set(Timer::Case(node), deadline);
        self.dial(Dialed::Probe(node), address, timeout);
    }

    /// Another node at the address is no answer of the accused.
    pub(super) fn probe_linked(&mut self, now: Instant, accused: NodeId, id: LinkId, node: NodeId) {
        if node == accused {
            self.send_hello(id, Purpose::Probe);
        } else {
            self.close(now, id, Reason::Unexpected, "another node was expected");
        }
    }

    /// A dial failed, or the link that it became ended without an answer.
    pub(super) fn probe_unanswered(&mut self, now: Instant, accused: NodeId) {
        let Some(case) = self.reports.cases.get_mut(&accused) else { return };
        if let Probe::Running { deadline, dialing, .. } = &mut case.probe {
            *dialing = false;
            let at = (now + REDIAL).min(*deadline);
            self.timers.set(Timer::Case(accused), at);
        }
    }

    /// The accused answers a probe, but not on its session: that one is of no use.
    pub(super) fn probe_answered(&mut self, now: Instant, accused: NodeId) {
        self.heard_from(now, accused, "it answered a probe");
        let misses = self.config.liveness.misses;
        let session = self.links.session(&accused);
        let silent = |link| self.links.get(link).is_some_and(|link| link.pings > misses);
        if let Some(link) = session.filter(|link| silent(*link)) {
            self.close(now, link, Reason::Suspect, "silent, though the peer answers a probe");
        }
    }

    fn probe_failed(&mut self, now: Instant, node: NodeId) {
        let again = now + self.config.probe_timeout;
        self.reports.count_silent(now, Duration::ZERO);
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        case.probe = Probe::Waiting;
        case.result = "it answered no probe";
        self.timers.set(Timer::Case(node), again);
        self.vote(now, node);
    }
}
