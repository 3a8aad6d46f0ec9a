//! What a seed shows over HTTP. Read-only.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process runs |
//! | `/readyz` | 200 when a majority of the seeds is reachable and this one votes, else 503 |
//! | `/metrics` | counters and gauges for Prometheus |
//! | `/v1/status` | this seed |
//! | `/v1/peers` | peers that are listed, the dead of the last minutes included |
//! | `/v1/topics` | topics and who subscribes to them; `filter` is an MQTT filter |
//! | `/v1/sessions` | peers connected to this seed |
//! | `/v1/seeds` | the configured seeds |
//! | `/v1/topology` | peers and their neighbours, as peers report them |
//! | `/v1/deaths` | the last verdicts of death, the newest first |
//!
//! Lists are `{"total":n,"items":[…]}` and take `limit` (1 to 1,000, default 100), `offset` and
//! `filter`.

mod metrics;
mod pages;
pub(crate) mod views;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tidings_proto::{Instant, Seed};
use tidings_runtime::config::SeedEntry;
use tidings_runtime::logging::LogCounters;
use tidings_runtime::{Clock, Handle};

/// What the pages are made from.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) seed: Handle<Seed>,
    pub(crate) clock: Clock,
    pub(crate) about: Arc<About>,
    pub(crate) log: Arc<LogCounters>,
}

/// What a seed knows of itself and its machine does not say.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) cluster: String,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) seeds: Vec<SeedEntry>,
}

/// The pages of a seed.
pub(crate) fn router(pages: Pages) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(pages::ready))
        .route("/metrics", get(metrics::page))
        .route("/v1/status", get(pages::status))
        .route("/v1/peers", get(pages::peers))
        .route("/v1/topics", get(pages::topics))
        .route("/v1/sessions", get(pages::sessions))
        .route("/v1/seeds", get(pages::seeds))
        .route("/v1/topology", get(pages::topology))
        .route("/v1/deaths", get(pages::deaths))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not_found", "no such path"))
        .method_not_allowed_fallback(async || {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Refusal::new(status, "not_allowed", "these pages are read-only")
        })
        .with_state(pages)
}

impl Pages {
    async fn inspect<R: Send + 'static>(
        &self,
        look: impl FnOnce(&Seed, Instant) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let stopped =
            |_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the seed stops");
        self.seed.inspect(look).await.map_err(stopped)
    }
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}
