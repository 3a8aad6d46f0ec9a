//! One function per page.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_proto::seed::status::{Death, SeedStatus, SessionView};
use tidings_proto::{NodeId, Seed};

use super::views::{self, Items, ids, state, time};
use super::{Pages, Refusal};

/// What part of a list is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Page {
    filter: String,
    offset: usize,
    limit: Option<usize>,
}

type Asked = Result<Query<Page>, QueryRejection>;
type Answer<T> = Result<Json<T>, Refusal>;

/// Items of a page when nobody says.
const LIMIT_DEFAULT: usize = 100;
/// The most items of a page.
const LIMIT_MAX: usize = 1_000;

/// A page with a legal limit.
struct Wanted {
    filter: String,
    offset: usize,
    limit: usize,
}

fn wanted(asked: Asked) -> Result<Wanted, Refusal> {
    let bad = |message| Refusal::new(StatusCode::BAD_REQUEST, "bad_request", message);
    let Query(page) = asked.map_err(|error| bad(error.body_text()))?;
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(bad(format!("'limit' is a whole number from 1 to {LIMIT_MAX}")));
    }
    Ok(Wanted { filter: page.filter, offset: page.offset, limit })
}

impl Wanted {
    /// The wanted part of a short list, by the texts that `words` gives of an item.
    fn cut<T>(&self, all: Vec<T>, words: impl Fn(&T) -> Vec<String>) -> Items<T> {
        let selected = |item: &T| {
            self.filter.is_empty() || words(item).iter().any(|word| word.contains(&self.filter))
        };
        let matching: Vec<_> = all.into_iter().filter(selected).collect();
        let total = matching.len();
        let items = matching.into_iter().skip(self.offset).take(self.limit).collect();
        Items { total, items }
    }
}

pub(super) async fn ready(State(pages): State<Pages>) -> Result<Response, Refusal> {
    let status = pages.inspect(|seed, _| seed.status()).await?;
    let ready = is_ready(&status);
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let SeedStatus { reachable, quorum, learning, .. } = status;
    let body =
        json!({ "ready": ready, "reachable": reachable, "quorum": quorum, "learning": learning });
    Ok((code, Json(body)).into_response())
}

/// A majority of the seeds is reachable, and this one votes: as long as it has yet to learn, no
/// other one should be taken away.
fn is_ready(status: &SeedStatus) -> bool {
    status.has_quorum && !status.learning && status.member
}

pub(super) async fn status(State(pages): State<Pages>) -> Answer<views::Status> {
    let status = pages.inspect(|seed, _| seed.status()).await?;
    let counters = status.stats.list().into_iter().map(|(name, _, n)| (name.to_owned(), n));
    // A seed that stopped in between has no links.
    let network = pages.seed.network().await.unwrap_or_default();
    let uptime = pages.clock.uptime().as_millis();
    Ok(Json(views::Status {
        node: status.node.to_string(),
        name: pages.about.name.clone(),
        cluster: pages.about.cluster.clone(),
        addr: pages.about.address,
        incarnation: status.incarnation.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
        ready: is_ready(&status),
        learning: status.learning,
        reachable: status.reachable,
        quorum: status.quorum,
        seeds: status.seeds.len(),
        set_version: status.set_version,
        changing: status.changing,
        member: status.member,
        peers: status.peers,
        suspects: status.suspects,
        dead: status.dead,
        topics: status.topics,
        sessions: status.sessions,
        counters: counters.collect(),
        network: (&network).into(),
    }))
}

pub(super) async fn peers(State(pages): State<Pages>, asked: Asked) -> Answer<Items<views::Peer>> {
    let Wanted { filter, offset, limit } = wanted(asked)?;
    let page = pages.inspect(move |seed, now| seed.peers(now, &filter, offset, limit)).await?;
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(Json(Items { total: page.total, items }))
}

pub(super) async fn topics(
    State(pages): State<Pages>,
    asked: Asked,
) -> Answer<Items<views::Topic>> {
    let Wanted { filter, offset, limit } = wanted(asked)?;
    let page = pages.inspect(move |seed, _| seed.topics(&filter, offset, limit)).await?;
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(Json(Items { total: page.total, items }))
}

pub(super) async fn sessions(
    State(pages): State<Pages>,
    asked: Asked,
) -> Answer<Items<views::Session>> {
    let wanted = wanted(asked)?;
    let all = pages.inspect(|seed, _| seed.sessions(0, usize::MAX).items).await?;
    let page = wanted.cut(all, |session| {
        vec![session.node.to_string(), session.address.to_string(), session.name.clone()]
    });
    let view = |session: SessionView| views::Session {
        node: session.node.to_string(),
        addr: session.address,
        name: session.name,
        remote: session.remote,
        since: time(pages.clock.wall_us(session.since)),
        registered: session.registered.map(|incarnation| incarnation.0),
        unanswered_pings: session.unanswered_pings,
    };
    Ok(Json(Items { total: page.total, items: page.items.into_iter().map(view).collect() }))
}

pub(super) async fn seeds(State(pages): State<Pages>, asked: Asked) -> Answer<Items<views::Seed>> {
    let wanted = wanted(asked)?;
    let status = pages.inspect(|seed, _| seed.status()).await?;
    let http = |address| {
        let entry = pages.about.seeds.iter().find(|entry| entry.addr == address);
        entry.and_then(|entry| entry.http)
    };
    let all = status.seeds.into_iter().map(|seed| views::Seed {
        addr: seed.address,
        http: seed.http.or_else(|| http(seed.address)),
        node: seed.node.map(|node| node.to_string()),
        own: seed.own,
        reachable: seed.reachable,
    });
    Ok(Json(wanted.cut(all.collect(), |seed| {
        vec![seed.addr.to_string(), seed.node.clone().unwrap_or_default()]
    })))
}

/// A list of nodes, and all links between them.
#[derive(Debug, Serialize)]
pub(super) struct Topology {
    #[serde(flatten)]
    nodes: Items<views::TopologyNode>,
    /// Each link between the nodes of this page once.
    edges: Vec<(String, String)>,
}

pub(super) async fn topology(State(pages): State<Pages>, asked: Asked) -> Answer<Topology> {
    let wanted = wanted(asked)?;
    let topology = pages.inspect(|seed: &Seed, _| seed.topology()).await?;
    let mut neighbors: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    for (a, b) in &topology.edges {
        neighbors.entry(*a).or_default().push(*b);
        neighbors.entry(*b).or_default().push(*a);
    }
    let page = wanted.cut(topology.nodes, |node| {
        let peer = &node.peer;
        vec![peer.node.to_string(), peer.address.to_string(), node.name.clone()]
    });
    let mut shown: Vec<_> = page.items.iter().map(|node| node.peer.node).collect();
    shown.sort_unstable();
    let is_shown = |node: &NodeId| shown.binary_search(node).is_ok();
    let edges = topology.edges.iter().filter(|(a, b)| is_shown(a) && is_shown(b));
    let edges = edges.map(|(a, b)| (a.to_string(), b.to_string())).collect();
    let items = page.items.into_iter().map(|node| views::TopologyNode {
        node: node.peer.node.to_string(),
        addr: node.peer.address,
        name: node.name,
        state: state(node.state),
        neighbors: ids(neighbors.get(&node.peer.node).map_or(&[], Vec::as_slice)),
    });
    let nodes = Items { total: page.total, items: items.collect() };
    Ok(Json(Topology { nodes, edges }))
}

pub(super) async fn deaths(
    State(pages): State<Pages>,
    asked: Asked,
) -> Answer<Items<views::Death>> {
    let wanted = wanted(asked)?;
    let all = pages.inspect(|seed, _| seed.deaths()).await?;
    let page = wanted.cut(all, |death| {
        let peer = &death.peer;
        vec![peer.node.to_string(), peer.address.to_string(), death.name.clone()]
    });
    let view = |death: Death| views::Death {
        node: death.peer.node.to_string(),
        addr: death.peer.address,
        name: death.name,
        incarnation: death.peer.incarnation.0,
        at: time(death.at_us),
        reporters: ids(&death.reporters),
        probe: death.probe,
        voters: ids(&death.voters),
    };
    Ok(Json(Items { total: page.total, items: page.items.into_iter().map(view).collect() }))
}
