//! What a peer shows over HTTP. Read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 when a majority of the seeds is joined, else 503 |
//! | `/metrics` | counters and gauges for Prometheus |
//! | `/v1/status` | this peer, as `status` on the control port |
//! | `/v1/sessions` | the sessions of this peer, the permanent one first |
//! | `/v1/peers`, `/v1/topics`, `/v1/seeds` | `{"total":n,"items":[…]}` |
//!
//! The lists take `limit`, `offset` and `filter`.

use std::net::SocketAddr;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_proto::peer::status::StreamStatus;
use tidings_runtime::metrics::{CONTENT_TYPE, Exposition};

use crate::control::{self, Code, List, Problem};
use crate::error::Error;
use crate::peer::{Peer, Status};

/// The views of `peer`, whose control port is at `control` and whose HTTP port at `http`.
pub fn router(peer: Peer, control: Option<SocketAddr>, http: Option<SocketAddr>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/peers", get(peers))
        .route("/v1/topics", get(topics))
        .route("/v1/sessions", get(sessions))
        .route("/v1/seeds", get(seeds))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "not_found", "no such path"))
        .with_state(Views { peer, control, http })
}

#[derive(Clone, Debug)]
struct Views {
    peer: Peer,
    control: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Page {
    filter: String,
    offset: u32,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Items<T> {
    total: usize,
    items: Vec<T>,
}

type Answer<T> = Result<Json<T>, Refusal>;

/// A refusal with the status that fits it.
#[derive(Debug)]
struct Refusal(Problem);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            Code::BadRequest => StatusCode::BAD_REQUEST,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self.0)).into_response()
    }
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

async fn ready(State(views): State<Views>) -> Result<Response, Refusal> {
    let Status { peer, .. } = views.peer.status().await?;
    let ready = peer.joined >= peer.quorum;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "joined": peer.joined, "quorum": peer.quorum });
    Ok((status, Json(body)).into_response())
}

async fn status(State(views): State<Views>) -> Answer<control::StatusView> {
    let Views { peer, control, http } = views;
    Ok(Json(control::status(&peer.status().await?, control::Addresses { control, http })))
}

async fn peers(
    State(views): State<Views>,
    Query(page): Query<Page>,
) -> Answer<Items<control::PeerView>> {
    let found = control::peers(&views.peer, &page.list()?).await?;
    Ok(Json(Items { total: found.total, items: found.peers }))
}

async fn topics(
    State(views): State<Views>,
    Query(page): Query<Page>,
) -> Answer<Items<control::TopicView>> {
    let found = control::topics(&views.peer, &page.list()?).await?;
    Ok(Json(Items { total: found.total, items: found.topics }))
}

async fn sessions(
    State(views): State<Views>,
    Query(page): Query<Page>,
) -> Answer<Items<control::SessionView>> {
    let list = page.list()?;
    let all = views.peer.list_sessions().into_iter().map(control::SessionView::from);
    let matching = |session: &control::SessionView| {
        session.name.as_deref().unwrap_or_default().contains(&list.filter)
    };
    let items: Vec<_> = all.filter(matching).collect();
    let total = items.len();
    let page = items.into_iter().skip(list.offset as usize).take(list.limit as usize);
    Ok(Json(Items { total, items: page.collect() }))
}

async fn seeds(
    State(views): State<Views>,
    Query(page): Query<Page>,
) -> Answer<Items<control::SeedView>> {
    let list = page.list()?;
    let all = control::seeds(&views.peer.status().await?).seeds;
    let matching = all.into_iter().filter(|seed| seed.addr.to_string().contains(&list.filter));
    let items: Vec<_> = matching.collect();
    let total = items.len();
    let page = items.into_iter().skip(list.offset as usize).take(list.limit as usize);
    Ok(Json(Items { total, items: page.collect() }))
}

impl Page {
    fn list(self) -> Result<List, Refusal> {
        let limit = self.limit.unwrap_or(control::LIST_DEFAULT);
        if limit == 0 || limit > control::LIST_MAX {
            let message = format!("'limit' is a whole number from 1 to {}", control::LIST_MAX);
            return Err(Refusal(Problem::new(Code::BadRequest, message)));
        }
        Ok(List { filter: self.filter, offset: self.offset, limit })
    }
}

async fn metrics(State(views): State<Views>) -> Result<Response, Refusal> {
    let status = views.peer.status().await?;
    let Status { uptime, peer, subscriptions, dropped, network, streams, streams_total, .. } =
        &status;
    let mut page = Exposition::new();
    page.counters("tidings_peer", &peer.stats.list());
    let help = "Messages that subscriptions dropped because they were not read in time";
    page.counter("tidings_peer_dropped_unread_total", help, *dropped);
    let kept = [
        ("commits", "Transactions that wrote what survives a restart", status.store_commits),
        ("shed", "Batches not kept for a restart: the disk was too slow", status.store_shed),
        ("failed", "Transactions that failed", status.store_failed),
    ];
    for (name, help, value) in kept {
        page.counter(&format!("tidings_peer_store_{name}_total"), help, value);
    }
    let retained: usize = peer.topics.iter().map(|topic| topic.retained_bytes).sum();
    let gauges = [
        ("tidings_peer_seeds_joined", "Seeds that hold the registration", peer.joined),
        ("tidings_peer_seeds_quorum", "Seeds that must hold it", peer.quorum),
        ("tidings_peer_neighbors", "Links to peers", peer.neighbors.len()),
        ("tidings_peer_passive", "Known peers without a link", peer.passive),
        ("tidings_peer_topics", "Topics at this peer", peer.topics.len()),
        ("tidings_peer_subscriptions", "Subscriptions of applications", *subscriptions),
        ("tidings_peer_sessions", "Sessions, the permanent one included", status.sessions),
        ("tidings_peer_retained_bytes", "Bytes of retained batches", retained),
        ("tidings_peer_links", "Connections to peers and seeds", network.links.len()),
        ("tidings_peer_streams", "Publishers of topics that are received", *streams_total),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, value as f64);
    }
    page.network("tidings_peer", network);
    expose_streams(&mut page, streams);
    page.gauge("tidings_peer_uptime_seconds", "Time since the start", uptime.as_secs_f64());
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page.into_text()).into_response())
}

/// The streams of a status: those with holes first, then those with the greatest lag.
fn expose_streams(page: &mut Exposition, streams: &[StreamStatus]) {
    type Value = fn(&StreamStatus) -> Option<f64>;
    let metrics: [(&str, &str, Value); 4] = [
        ("lag_seconds", "Smoothed time from publication to receipt, by both clocks", |stream| {
            stream.lag_us.map(|micros| micros as f64 / 1e6)
        }),
        ("seq", "Highest number up to which nothing is missing", |s| Some(s.high as f64)),
        ("missing", "Messages known to exist and not here", |s| Some(s.missing as f64)),
        ("held_batches", "Batches held back behind a hole", |s| Some(s.held_batches as f64)),
    ];
    for (name, help, value) in metrics {
        let name = format!("tidings_peer_stream_{name}");
        page.family(&name, help, "gauge");
        for stream in streams {
            let (topic, origin) = (stream.topic.to_string(), stream.origin.node.to_string());
            let life = stream.origin.incarnation.0.to_string();
            let labels = [("topic", topic.as_str()), ("origin", &origin), ("incarnation", &life)];
            if let Some(value) = value(stream) {
                page.sample(&name, &labels, value);
            }
        }
    }
}
