//! Who may connect, what for, and what a lost link means.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use crate::id::{DialId, Incarnation, LinkId, NodeId, RequestId};
use crate::machine::{LinkDown, Output};
use crate::seed::admin::Asker;
use crate::seed::event::Notice;
use crate::seed::slots::Claim;
use crate::seed::{Dialed, Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{
    AdminAnswer, Frame, Goodbye, Hello, PROTOCOL_VERSION, Purpose, Reason, Role, TEXT_BYTES_MAX,
};

/// A link without a first frame is closed after this (design §7.29).
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(3);
/// Links at once, each a socket and some kilobytes in the driver. Guess: with three seeds, and
/// two sessions a peer, enough for 196,000 peers.
pub(super) const LINKS_MAX: usize = 1 << 17;

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) node: NodeId,
    pub(super) remote: SocketAddr,
    pub(super) dialed: Option<Dialed>,
    pub(super) phase: Phase,
    pub(super) heard_at: Instant,
    /// Pings since then.
    pub(super) pings: u32,
}

/// How far a link is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The other end's first frame is awaited.
    Greeting,
    /// It claims to be the seed of this slot; it is answered once this seed has reached that
    /// seed's address and knows who lives there.
    Held(usize, Box<Hello>),
    /// A peer that may register and ask.
    Session(Session),
    /// Another seed.
    Table(usize),
    /// An operator, with this seed's own key.
    Admin,
}

/// A peer's session.
#[derive(Debug)]
pub(super) struct Session {
    /// Where the peer says it can be dialled.
    pub(super) address: SocketAddr,
    pub(super) name: String,
    pub(super) since: Instant,
    /// The life that it registered on this link.
    pub(super) registered: Option<Incarnation>,
    /// Its registration is answered when this seed has learned what others know.
    pub(super) waiting: bool,
}

/// Why a link ends.
#[derive(Debug)]
pub(super) enum End {
    /// It broke.
    Lost(LinkDown),
    /// The other end said why.
    Told(Goodbye),
    /// This seed closes it.
    Ours(Goodbye),
}

/// All links.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<LinkId, Link>,
    sessions: BTreeMap<NodeId, LinkId>,
}

impl Links {
    pub(super) fn get(&self, link: LinkId) -> Option<&Link> {
        self.links.get(&link)
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&link)
    }

    pub(super) fn ids(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    /// The link on which this peer has its session.
    pub(super) fn session(&self, node: &NodeId) -> Option<LinkId> {
        self.sessions.get(node).copied()
    }

    /// All sessions, ordered by node.
    pub(super) fn sessions(&self) -> impl ExactSizeIterator<Item = (&NodeId, LinkId)> + Clone + '_ {
        self.sessions.iter().map(|(node, link)| (node, *link))
    }

    pub(super) fn session_mut(&mut self, link: LinkId) -> Option<&mut Session> {
        match &mut self.links.get_mut(&link)?.phase {
            Phase::Session(session) => Some(session),
            _ => None,
        }
    }
}

impl Seed {
    pub(super) fn link_up(
        &mut self,
        now: Instant,
        id: LinkId,
        node: NodeId,
        remote: SocketAddr,
        dialed: Option<DialId>,
    ) {
        let purpose = dialed.and_then(|dial| self.dials.remove(&dial));
        let full = self.links.links.len() >= LINKS_MAX && purpose.is_none();
        if full || (dialed.is_some() && purpose.is_none()) || self.links.links.contains_key(&id) {
            let text = if full { "the seed has no room for more links" } else { "not expected" };
            let goodbye = Some(goodbye(Reason::NotNeeded, text));
            self.out.push_back(Output::Close { link: id, goodbye });
            return;
        }
        let phase = Phase::Greeting;
        let link = Link { node, remote, dialed: purpose, phase, heard_at: now, pings: 0 };
        self.links.links.insert(id, link);
        self.timers.set(Timer::FirstFrame(id), now + FIRST_FRAME_TIMEOUT);
        match purpose {
            None => {}
            Some(Dialed::Seed(slot)) => self.seed_answered(now, slot, id, node),
            Some(Dialed::Probe(accused)) => self.probe_linked(now, accused, id, node),
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, dial: DialId) {
        match self.dials.remove(&dial) {
            Some(Dialed::Seed(slot)) => self.seed_unreachable(now, slot),
            Some(Dialed::Probe(accused)) => self.probe_unanswered(now, accused),
            None => {}
        }
    }

    pub(super) fn received(&mut self, now: Instant, id: LinkId, frame: Frame) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.heard_at = now;
        link.pings = 0;
        let node = link.node;
        if let Some(Dialed::Probe(accused)) = link.dialed {
            self.close(now, id, Reason::NotNeeded, "answered");
            return self.probe_answered(now, accused);
        }
        match (&link.phase, frame) {
            (_, Frame::Goodbye(goodbye)) => self.end_link(now, id, End::Told(goodbye)),
            (Phase::Greeting, Frame::Hello(hello)) => self.greeted(now, id, *hello),
            // A seed that does not want this one says who the seeds are.
            (Phase::Greeting, Frame::SeedSet(signed))
                if matches!(link.dialed, Some(Dialed::Seed(_))) =>
            {
                self.take_set(now, id, *signed);
            }
            (Phase::Greeting | Phase::Held(..), _) => self.violation(now, id, "no greeting"),
            (_, Frame::Ping(nonce)) => {
                self.send(id, Frame::Pong(nonce));
                self.session_heard(now, id, node);
            }
            (_, Frame::Pong(_)) => self.session_heard(now, id, node),
            (Phase::Admin, Frame::Admin(request, command)) => {
                self.administer(now, Asker::Link(id, request), command);
            }
            (Phase::Admin, _) => self.violation(now, id, "not what an operator says"),
            (Phase::Session(_), frame) => {
                self.session_heard(now, id, node);
                self.session_frame(now, id, node, frame);
            }
            (Phase::Table(slot), frame) => {
                let slot = *slot;
                self.table_frame(now, slot, id, frame);
            }
        }
    }

    /// Any frame on a session proves that the peer lives.
    fn session_heard(&mut self, now: Instant, id: LinkId, node: NodeId) {
        if self.links.session(&node) == Some(id) {
            self.heard_from(now, node, "it was heard on its session");
        }
    }

    fn greeted(&mut self, now: Instant, id: LinkId, hello: Hello) {
        let Some(link) = self.links.get(id) else { return };
        let (node, remote, dialed) = (link.node, link.remote, link.dialed);
        if dialed.is_none() && (hello.purpose != Purpose::Table || hello.role != Role::Seed) {
            self.send_hello(id, hello.purpose);
        }
        let own = &self.config.identity.cluster;
        if hello.version != PROTOCOL_VERSION {
            let text = format!("this seed speaks version {PROTOCOL_VERSION}");
            return self.refuse(now, id, Reason::WrongVersion, &text);
        }
        if hello.cluster != *own {
            let text = format!("this seed belongs to cluster '{own}'");
            return self.refuse(now, id, Reason::WrongCluster, &text);
        }
        match (dialed, hello.purpose, hello.role) {
            (None, Purpose::Admin, Role::Seed) if node == self.me() => self.admit(now, id),
            (None, Purpose::Admin, _) => {
                self.refuse(now, id, Reason::WrongRole, "not with the key of this seed");
            }
            (None, ..) if node == self.me() => {
                self.refuse(now, id, Reason::Yourself, "dialled itself");
            }
            (Some(Dialed::Seed(slot)), _, Role::Seed) => self.establish(now, slot, id, &hello),
            (Some(_), ..) => self.refuse(now, id, Reason::WrongRole, "a peer, not a seed"),
            (None, Purpose::Probe, Role::Seed) => {
                // Whoever wants to add this seed sees first whether it knows whom it is added to.
                let view = self.set_view();
                self.answer_admin(Asker::Link(id, RequestId::default()), AdminAnswer::Set(view));
                self.close(now, id, Reason::NotNeeded, "answered");
            }
            (None, Purpose::Probe, _) => self.close(now, id, Reason::NotNeeded, "answered"),
            (None, Purpose::Session, Role::Peer) => self.start_session(now, id, hello),
            (None, Purpose::Table, Role::Seed) => match self.sync.claim(&node, hello.address) {
                Claim::Known(slot) if self.is_greeting(slot, &node) => {
                    self.close(now, id, Reason::Duplicate, "another link is kept");
                }
                Claim::Known(slot) => {
                    self.send_hello(id, Purpose::Table);
                    self.establish(now, slot, id, &hello);
                }
                Claim::Unproven(slot) => self.hold(now, slot, id, hello),
                Claim::Stranger => {
                    let text = format!("{} ({remote}) is not in the set of seeds", hello.address);
                    self.tell_set(id);
                    match self.sync.is_new_stranger(node) {
                        true => self.refuse(now, id, Reason::NotInSet, &text),
                        false => self.close(now, id, Reason::NotInSet, &text),
                    }
                }
            },
            (None, Purpose::Neighbor, _) => {
                self.refuse(now, id, Reason::WrongRole, "a seed takes no neighbours");
            }
            (None, Purpose::Session, Role::Seed) => {
                self.refuse(now, id, Reason::WrongRole, "a seed registers with nobody");
            }
            (None, Purpose::Table, Role::Peer) => {
                self.refuse(now, id, Reason::WrongRole, "only seeds share tables");
            }
        }
    }

    /// A peer's newest session replaces an older one, which is a leftover of a lost connection.
    fn start_session(&mut self, now: Instant, id: LinkId, hello: Hello) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (node, remote) = (link.node, link.remote);
        if !self.sync.is_member() {
            self.tell_set(id);
            let text = "this seed is not in the set of seeds";
            return self.close(now, id, Reason::NotInSet, text);
        }
        let Hello { address, name, .. } = hello;
        link.phase =
            Phase::Session(Session { address, name, since: now, registered: None, waiting: false });
        self.established(now, id);
        if let Some(old) = self.links.sessions.insert(node, id) {
            self.close(now, old, Reason::Duplicate, "replaced by a newer session");
        }
        self.notice(Notice::Connection { address, remote, node, role: "peer" });
        self.session_heard(now, id, node);
    }

    /// An operator may ask.
    fn admit(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Admin;
        }
        self.established(now, id);
    }

    pub(super) fn established(&mut self, now: Instant, id: LinkId) {
        self.timers.cancel(Timer::FirstFrame(id));
        self.timers.set(Timer::Idle(id), now + self.config.liveness.interval);
    }

    pub(super) fn send_hello(&mut self, id: LinkId, purpose: Purpose) {
        let identity = &self.config.identity;
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster: identity.cluster.clone(),
            role: Role::Seed,
            purpose,
            incarnation: identity.incarnation,
            address: identity.address,
            name: identity.name.clone(),
            wanted: Vec::new(),
            urgent: false,
        };
        self.send(id, Frame::Hello(Box::new(hello)));
    }

    pub(super) fn no_first_frame(&mut self, now: Instant, id: LinkId) {
        let held = self.links.get(id).is_some_and(|link| matches!(link.phase, Phase::Held(..)));
        if held {
            self.refuse(now, id, Reason::Unexpected, "nobody answers at the address it claims");
        } else {
            self.close(now, id, Reason::Timeout, "no first frame in time");
        }
    }

    /// Closes a link for a reason that people should see.
    pub(super) fn refuse(&mut self, now: Instant, id: LinkId, reason: Reason, text: &str) {
        if let Some(Link { node, remote, .. }) = self.links.get(id) {
            let (node, remote) = (*node, *remote);
            self.notice(Notice::LinkRefused { remote, node, reason, text: text.to_owned() });
        }
        self.close(now, id, reason, text);
    }

    /// Closes a link whose other end broke the protocol.
    pub(super) fn violation(&mut self, now: Instant, id: LinkId, text: &str) {
        self.stats.violations += 1;
        self.refuse(now, id, Reason::Violation, text);
    }

    pub(super) fn close(&mut self, now: Instant, id: LinkId, reason: Reason, text: &str) {
        self.end_link(now, id, End::Ours(goodbye(reason, text)));
    }

    pub(super) fn end_link(&mut self, now: Instant, id: LinkId, end: End) {
        let Some(link) = self.links.links.remove(&id) else { return };
        self.watches.end(id);
        for timer in [Timer::FirstFrame(id), Timer::Idle(id), Timer::Transfer(id)] {
            self.timers.cancel(timer);
        }
        let cause = cause(&end);
        match &end {
            End::Lost(LinkDown::Malformed(text)) => {
                self.stats.violations += 1;
                let (remote, node, reason) = (link.remote, link.node, Reason::Violation);
                let text = (*text).to_owned();
                self.notice(Notice::LinkRefused { remote, node, reason, text });
            }
            End::Lost(LinkDown::Closed) => {}
            End::Told(goodbye) => {
                self.out.push_back(Output::Close { link: id, goodbye: None });
                self.notice_refusal(&link, goodbye);
            }
            End::Ours(goodbye) => {
                let goodbye = Some(goodbye.clone());
                self.out.push_back(Output::Close { link: id, goodbye });
            }
        }
        match (link.phase, link.dialed) {
            (Phase::Session(session), _) => {
                let Session { address, registered, .. } = session;
                let node = link.node;
                if self.links.session(&node) == Some(id) {
                    self.links.sessions.remove(&node);
                }
                self.notice(Notice::Disconnected { address, node, role: "peer", cause });
                if let (End::Lost(LinkDown::Closed), Some(life)) = (end, registered) {
                    self.accuse(now, node, life, self.me());
                }
            }
            (Phase::Table(slot), _) => self.seed_lost(now, slot, id, link.node, cause),
            (Phase::Held(slot, _), _) => self.sync.release(slot, id),
            (Phase::Greeting, Some(Dialed::Seed(slot))) => self.seed_unreachable(now, slot),
            (Phase::Greeting, Some(Dialed::Probe(accused))) => {
                self.probe_unanswered(now, accused);
            }
            (Phase::Greeting, None) | (Phase::Admin, _) => {}
        }
    }
}

impl Seed {
    /// Another seed does not want this one: people have to correct a configuration.
    fn notice_refusal(&mut self, link: &Link, goodbye: &Goodbye) {
        let (Phase::Greeting, Some(Dialed::Seed(slot))) = (&link.phase, link.dialed) else {
            return;
        };
        if goodbye.reason == Reason::NotInSet {
            // There is a cluster already: this seed waits to be added to it.
            self.acceptors.others_vote();
        }
        if self.sync.slots[slot].refused {
            return;
        }
        if !matches!(goodbye.reason, Reason::Duplicate | Reason::Leaving) {
            let (remote, node, reason) = (link.remote, link.node, goodbye.reason);
            self.sync.slots[slot].refused = true;
            let text = format!("refused by the seed: {}", goodbye.text);
            self.notice(Notice::LinkRefused { remote, node, reason, text });
        }
    }
}

pub(super) fn goodbye(reason: Reason, text: &str) -> Goodbye {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Goodbye { reason, text: text[..end].to_owned() }
}

fn cause(end: &End) -> String {
    match end {
        End::Lost(LinkDown::Closed) => "connection lost".to_owned(),
        End::Lost(LinkDown::Malformed(text)) => format!("malformed: {text}"),
        End::Told(goodbye) if goodbye.text.is_empty() => format!("{:?}", goodbye.reason),
        End::Told(goodbye) => format!("{:?}: {}", goodbye.reason, goodbye.text),
        End::Ours(goodbye) => format!("closed here: {}", goodbye.text),
    }
}
