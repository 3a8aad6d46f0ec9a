//! The other seeds: how each is reached, and how far it was told what. A seed keeps its place,
//! the slot, as long as it is in the set.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Bound;

use crate::config::SeedConfig;
use crate::id::{Incarnation, LinkId, NodeId, Topic};
use crate::seed::set::SeedSet;
use crate::seed::transfer::{Cursor, Wanted};
use crate::wire::frame::{Ballot, SAMPLE_MAX, Teacher};

/// Strangers that are remembered, so that each is told of once and not at each dial.
const STRANGERS_MAX: usize = 64;

/// Another seed of the set, or a place for one.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) address: SocketAddr,
    /// It is in the set. Otherwise it is nobody, and its place may be given to another.
    pub(super) member: bool,
    /// Who answered there.
    pub(super) node: Option<NodeId>,
    /// The link that is in use.
    pub(super) link: Option<LinkId>,
    /// A link that claims to be this seed.
    pub(super) held: Option<LinkId>,
    pub(super) dialing: bool,
    /// The link dialled from here that awaits the other seed's hello.
    pub(super) greeting: Option<LinkId>,
    pub(super) failures: u32,
    /// It has refused this seed, and people know.
    pub(super) refused: bool,
    pub(super) mismatches: u32,
    /// A transfer to it that is under way, and what of the tables it is of.
    pub(super) cursor: Option<Cursor>,
    pub(super) wanted: Wanted,
    /// The life that it said it is in.
    pub(super) incarnation: Incarnation,
    /// On this link it asked for all that this seed knows.
    pub(super) learns: bool,
    /// Votes that are being sent to it.
    pub(super) votes: Option<Telling>,
}

/// How far the votes are that a seed is told which has lost its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Telling {
    /// What this seed has promised not to accept anything below of.
    pub(super) floor: Ballot,
    /// What this seed was when it began.
    pub(super) teacher: Teacher,
    pub(super) from: Bound<Topic>,
}

/// Who says to be a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The node that answers at the address of this slot.
    Known(usize),
    /// It claims the address of this slot.
    Unproven(usize),
    /// Nobody configured.
    Stranger,
}

/// What is shared with the other seeds.
#[derive(Debug)]
pub(super) struct Sync {
    /// Who the seeds are.
    pub(super) set: SeedSet,
    /// Where this seed is.
    own: SocketAddr,
    pub(super) slots: Vec<Slot>,
    /// Nodes that say to be seeds and are none, of whom people know.
    strangers: BTreeSet<NodeId>,
    /// Peers whose lease was renewed here and not yet told.
    pub(super) renewed: BTreeSet<NodeId>,
}

impl Sync {
    pub(super) fn new(config: &SeedConfig) -> Self {
        let own = config.identity.address;
        let configured = config.seeds.iter().copied().chain([own]);
        let set = SeedSet::configured(configured);
        let mut sync = Self {
            set,
            own,
            slots: Vec::new(),
            strangers: BTreeSet::new(),
            renewed: BTreeSet::new(),
        };
        sync.make_slots();
        sync
    }

    /// Makes a slot for each other seed of the set that has none. Slots keep their numbers, which
    /// links and timers know them by. Returns the new ones.
    pub(super) fn make_slots(&mut self) -> Vec<usize> {
        let others: Vec<_> = self.set.all().into_iter().map(|seed| seed.address).collect();
        let mut made = Vec::new();
        for address in others.into_iter().filter(|address| *address != self.own) {
            if self.slots.iter().any(|slot| slot.member && slot.address == address) {
                continue;
            }
            let free = self.slots.iter().position(Slot::is_free);
            let at = free.unwrap_or(self.slots.len());
            if at == self.slots.len() {
                self.slots.push(Slot::new(address));
            } else {
                self.slots[at] = Slot::new(address);
            }
            made.push(at);
        }
        made
    }

    /// How many seeds there are, before and after a change together.
    pub(super) fn total(&self) -> usize {
        self.set.all().len()
    }

    pub(super) fn quorum(&self) -> usize {
        self.set.quorum()
    }

    /// Where this seed is.
    pub(super) fn own(&self) -> SocketAddr {
        self.own
    }

    /// Whether this seed takes part in decisions.
    pub(super) fn is_member(&self) -> bool {
        self.set.contains(self.own)
    }

    /// Whether the seeds for which `has` holds may decide.
    pub(super) fn is_majority(&self, me: NodeId, has: impl Fn(&NodeId) -> bool) -> bool {
        self.set.is_majority(|address| self.node_at(me, address).is_some_and(|node| has(&node)))
    }

    /// Whether the seeds for which `has` holds know of all that was ever decided.
    pub(super) fn knows_all(&self, me: NodeId, has: impl Fn(&NodeId) -> bool) -> bool {
        self.set.knows_all(|address| self.node_at(me, address).is_some_and(|node| has(&node)))
    }

    /// Whether these seeds are linked, or this one, and may decide.
    pub(super) fn has_quorum(&self) -> bool {
        self.set.is_majority(|address| address == self.own || self.is_linked(address))
    }

    /// Whether a seed of the set is linked.
    pub(super) fn is_linked(&self, address: SocketAddr) -> bool {
        self.slots.iter().any(|slot| slot.is_at(address) && slot.link.is_some())
    }

    /// Who is at an address of the set, as far as that is known.
    pub(super) fn node_at(&self, me: NodeId, address: SocketAddr) -> Option<NodeId> {
        if address == self.own {
            return Some(me);
        }
        self.slots.iter().find(|slot| slot.is_at(address))?.node
    }

    /// Seeds that are linked, this one included.
    pub(super) fn reachable(&self) -> usize {
        1 + self.slots.iter().filter(|slot| slot.link.is_some()).count()
    }

    /// The keys of the configured seeds as far as they are known, `own` among them.
    pub(super) fn keys(&self, own: NodeId) -> Vec<NodeId> {
        let others = self.slots.iter().filter(|slot| slot.member).filter_map(|slot| slot.node);
        std::iter::once(own).chain(others).take(SAMPLE_MAX).collect()
    }

    /// The slot of a node that answered at its address.
    pub(super) fn slot_of(&self, node: &NodeId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.member && slot.node == Some(*node))
    }

    pub(super) fn claim(&self, node: &NodeId, address: SocketAddr) -> Claim {
        let is_known = |slot: &Slot| slot.member && slot.node == Some(*node);
        if let Some(slot) = self.slots.iter().position(is_known) {
            return Claim::Known(slot);
        }
        let claimed = self.slots.iter().position(|slot| slot.is_at(address));
        claimed.map_or(Claim::Stranger, Claim::Unproven)
    }

    /// Whether it is news that this node says to be a seed, and is none.
    pub(super) fn is_new_stranger(&mut self, node: NodeId) -> bool {
        if self.strangers.len() >= STRANGERS_MAX {
            self.strangers.clear();
        }
        self.strangers.insert(node)
    }

    /// A held link is gone.
    pub(super) fn release(&mut self, slot: usize, link: LinkId) {
        let held = &mut self.slots[slot].held;
        if *held == Some(link) {
            *held = None;
        }
    }
}

impl Slot {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            member: true,
            node: None,
            link: None,
            held: None,
            dialing: false,
            greeting: None,
            failures: 0,
            refused: false,
            mismatches: 0,
            cursor: None,
            incarnation: Incarnation::default(),
            learns: false,
            wanted: Wanted::default(),
            votes: None,
        }
    }

    fn is_at(&self, address: SocketAddr) -> bool {
        self.member && self.address == address
    }

    /// Nothing refers to it any more.
    fn is_free(&self) -> bool {
        let links = [self.link, self.held, self.greeting];
        !self.member && !self.dialing && links.iter().all(Option::is_none)
    }
}
