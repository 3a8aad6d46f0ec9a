//! The page for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tidings_runtime::metrics::{CONTENT_TYPE, Exposition};

use super::{Pages, Refusal};

pub(super) async fn page(State(pages): State<Pages>) -> Result<Response, Refusal> {
    let status = pages.inspect(|seed, _| seed.status()).await?;
    // A seed that stopped in between has no links.
    let network = pages.seed.network().await.unwrap_or_default();
    let mut page = Exposition::new();
    page.counters("tidings_seed", &status.stats.list());
    let gauges = [
        ("tidings_seed_seeds", "Configured seeds", status.seeds.len()),
        ("tidings_seed_seeds_reachable", "Seeds reachable, this one included", status.reachable),
        ("tidings_seed_learning", "1 while it does not vote", usize::from(status.learning)),
        ("tidings_seed_seeds_quorum", "A majority of the seeds", status.quorum),
        ("tidings_seed_peers", "Peers that are alive or suspect", status.peers),
        ("tidings_seed_suspects", "Peers that are suspect", status.suspects),
        ("tidings_seed_dead", "Peers declared dead and still listed", status.dead),
        ("tidings_seed_topics", "Topics that are not deleted", status.topics),
        ("tidings_seed_sessions", "Peers connected to this seed", status.sessions),
        ("tidings_seed_links", "Connections", network.links.len()),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, value as f64);
    }
    page.network("tidings_seed", &network);
    let uptime = pages.clock.uptime().as_secs_f64();
    page.gauge("tidings_seed_uptime_seconds", "Time since the start", uptime);
    page.counter("tidings_log_lines_total", "Lines logged", pages.log.lines());
    page.counter("tidings_log_dropped_total", "Lines lost", pages.log.dropped());
    let errors = pages.log.write_errors();
    page.counter("tidings_log_write_errors_total", "Failed writes of the log file", errors);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page.into_text()).into_response())
}
