//! What a seed shows of itself, and pages of its tables.

use crate::filter::TopicFilter;
use crate::id::{LinkId, NodeId, Topic};
use crate::seed::Seed;
use crate::seed::links::Phase;
use crate::seed::registry::Seen;
use crate::seed::status::{
    Death, OtherSeed, Page, PeerView, SeedStatus, SessionView, TopicView, Topology, TopologyNode,
};
use crate::time::Instant;
use crate::wire::frame::{Frame, Kind, List, PAGE_MAX, PeerItem, PeerPage, TopicItem, TopicPage};
use crate::wire::record::TopicRecord;

/// Peers in a picture of the overlay; nobody can look at more.
const TOPOLOGY_NODES_MAX: usize = 10_000;

impl Seed {
    /// What it shows of itself.
    pub fn status(&self) -> SeedStatus {
        let own = self.config.identity.address;
        let seeds = self.sync.set.all().into_iter().map(|place| {
            let address = place.address;
            let slot = self.sync.slots.iter().find(|slot| slot.member && slot.address == address);
            let is_own = address == own;
            OtherSeed {
                address,
                http: place.http,
                node: if is_own { Some(self.me()) } else { slot.and_then(|slot| slot.node) },
                own: is_own,
                reachable: is_own || slot.is_some_and(|slot| slot.link.is_some()),
            }
        });
        SeedStatus {
            node: self.me(),
            incarnation: self.config.identity.incarnation,
            learning: self.acceptors.is_learning(),
            held: self.held.len(),
            reachable: self.sync.reachable(),
            quorum: self.sync.quorum(),
            has_quorum: self.sync.has_quorum(),
            set_version: self.sync.set.version,
            changing: self.sync.set.before.is_some(),
            member: self.sync.is_member(),
            seeds: seeds.collect(),
            peers: self.registry.count(),
            suspects: self.registry.suspects(),
            dead: self.registry.dead(),
            topics: self.index.live(),
            sessions: self.links.sessions().len(),
            stats: self.stats,
        }
    }

    /// The hash over all that is listed here: equal at two seeds that hold the same.
    pub fn table_hash(&self) -> [u8; 32] {
        self.digest()
    }

    /// The record of a topic, also of a deleted one.
    pub fn topic_record(&self, topic: &Topic) -> Option<&TopicRecord> {
        self.index.get(topic)?.record()
    }

    /// The record of a topic that this seed has accepted last, decided or not.
    pub fn accepted_record(&self, topic: &Topic) -> Option<&TopicRecord> {
        crate::seed::agreement::topic_of(self.acceptors.accepted(topic)?)
    }

    /// Peers whose name, address or id contains `filter` (empty: all), the dead included,
    /// ordered by address. With a filter it takes time in proportion to all peers.
    pub fn peers(&self, now: Instant, filter: &str, offset: usize, limit: usize) -> Page<PeerView> {
        let page = self.peers_page(filter, offset, limit);
        let view = |Seen { entry, name, state, peer }: Seen<'_>| PeerView {
            node: entry.node,
            incarnation: entry.incarnation,
            address: entry.address,
            name: name.to_owned(),
            state,
            topics: peer.map_or_else(Vec::new, |peer| peer.topics().cloned().collect()),
            neighbors: self.overlay.neighbors(&entry.node).to_vec(),
            session: self.links.session(&entry.node).is_some(),
            lease_ms: peer.map_or(0, |peer| peer.lease.millis_since(now)),
        };
        Page { total: page.total, items: page.items.into_iter().map(view).collect() }
    }

    fn peers_page(&self, filter: &str, offset: usize, limit: usize) -> Page<Seen<'_>> {
        if filter.is_empty() {
            let items = self.registry.listed(offset).take(limit).collect();
            return Page { total: self.registry.listed_count(), items };
        }
        page(self.registry.listed(0).filter(|seen| selects(filter, seen)), offset, limit)
    }

    /// Topics that match the MQTT filter (empty: all), ordered by name. Takes time in proportion
    /// to all topics.
    pub fn topics(&self, filter: &str, offset: usize, limit: usize) -> Page<TopicView> {
        let selects = selects_topic(filter);
        let listed = self.index.listed().filter(|(record, _)| selects(&record.topic));
        let page = page(listed, offset, limit);
        let items = page.items.into_iter().map(|(record, subscribers)| TopicView {
            topic: record.topic.clone(),
            host: record.host,
            generation: record.generation,
            created_at_us: record.created_at_us,
            subscribers: subscribers.ordered().collect(),
        });
        Page { total: page.total, items: items.collect() }
    }

    /// Peers with a session here, ordered by id.
    pub fn sessions(&self, offset: usize, limit: usize) -> Page<SessionView> {
        let page = page(self.links.sessions(), offset, limit);
        let view = |(node, id): (&NodeId, LinkId)| {
            let link = self.links.get(id)?;
            let Phase::Session(session) = &link.phase else { return None };
            Some(SessionView {
                node: *node,
                address: session.address,
                remote: link.remote,
                name: session.name.clone(),
                since: session.since,
                registered: session.registered,
                unanswered_pings: link.pings,
            })
        };
        Page { total: page.total, items: page.items.into_iter().filter_map(view).collect() }
    }

    /// The overlay as far as peers with a session here have reported it: at most 10,000 peers,
    /// ordered by id.
    pub fn topology(&self) -> Topology {
        let nodes: Vec<NodeId> = self.registry.ordered().take(TOPOLOGY_NODES_MAX).collect();
        let edges = self.overlay.edges(&nodes).into_iter().collect();
        let node = |node: &NodeId| {
            let peer = self.registry.peer(node)?;
            let name = peer.name.to_string();
            Some(TopologyNode { peer: peer.entry(), name, state: peer.state })
        };
        let total = self.registry.count();
        Topology { total, nodes: nodes.iter().filter_map(node).collect(), edges }
    }

    /// The last verdicts of death, those of former runs included, the newest first; at most 256.
    pub fn deaths(&self) -> Vec<Death> {
        self.reports.deaths.iter().rev().cloned().collect()
    }

    /// Answers a request for a page. A full page of the largest items is below the largest frame.
    pub(super) fn list(&mut self, link: LinkId, list: &List) {
        let (request, filter) = (list.request, list.filter.as_str());
        let offset = usize::try_from(list.offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(list.limit).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let frame = match list.kind {
            Kind::Peers => {
                let page = self.peers_page(filter, offset, limit);
                let items = page.items.into_iter().map(|seen| PeerItem {
                    node: seen.entry.node,
                    incarnation: seen.entry.incarnation,
                    address: seen.entry.address,
                    name: seen.name.to_owned(),
                    state: seen.state,
                });
                let (items, total) = (items.collect(), count(page.total));
                Frame::PeerPage(PeerPage { request, total, items })
            }
            Kind::Topics => {
                let listed = self.index.listed();
                let selects = selects_topic(filter);
                let listed = listed.filter(|(record, _)| selects(&record.topic));
                let page = page(listed, offset, limit);
                let items = page.items.into_iter().map(|(record, subscribers)| TopicItem {
                    topic: record.topic.clone(),
                    host: record.host,
                    generation: record.generation,
                    created_at_us: record.created_at_us,
                    subscribers: count(subscribers.len()),
                });
                let (items, total) = (items.collect(), count(page.total));
                Frame::TopicPage(TopicPage { request, total, items })
            }
        };
        self.send(link, frame);
    }
}

/// Counts everything and keeps one page.
fn page<T>(items: impl Iterator<Item = T>, offset: usize, limit: usize) -> Page<T> {
    let mut page = Page { total: 0, items: Vec::new() };
    for item in items {
        if page.total >= offset && page.items.len() < limit {
            page.items.push(item);
        }
        page.total += 1;
    }
    page
}

fn selects(filter: &str, seen: &Seen<'_>) -> bool {
    filter.is_empty()
        || seen.name.contains(filter)
        || seen.entry.address.to_string().contains(filter)
        || seen.entry.node.to_string().contains(filter)
}

/// An empty filter selects everything, one that is none selects nothing.
fn selects_topic(filter: &str) -> impl Fn(&Topic) -> bool {
    let all = filter.is_empty();
    let filter = TopicFilter::new(filter).ok();
    move |topic| all || filter.as_ref().is_some_and(|filter| filter.matches(topic))
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
