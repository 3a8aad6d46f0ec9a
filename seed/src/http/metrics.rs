//! The page for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tidings_proto::Class;
use tidings_runtime::LinkView;
use tidings_runtime::metrics::{CONTENT_TYPE, Exposition};

use super::{Pages, Refusal};

pub(super) async fn page(State(pages): State<Pages>) -> Result<Response, Refusal> {
    let status = pages.inspect(|seed, _| seed.status()).await?;
    // A seed that stopped in between has no links.
    let links = pages.seed.links().await.unwrap_or_default();
    let mut page = Exposition::new();
    page.counters("tidings_seed", &status.stats.list());
    let queued: usize = links.iter().map(|link| link.queued_bytes).sum();
    let gauges = [
        ("tidings_seed_seeds", "Configured seeds", status.seeds.len()),
        ("tidings_seed_seeds_reachable", "Seeds reachable, this one included", status.reachable),
        ("tidings_seed_seeds_quorum", "A majority of the seeds", status.quorum),
        ("tidings_seed_peers", "Peers that are alive or suspect", status.peers),
        ("tidings_seed_suspects", "Peers that are suspect", status.suspects),
        ("tidings_seed_dead", "Peers declared dead and still listed", status.dead),
        ("tidings_seed_topics", "Topics that are not deleted", status.topics),
        ("tidings_seed_sessions", "Peers connected to this seed", status.sessions),
        ("tidings_seed_links", "Connections", links.len()),
        ("tidings_seed_queued_bytes", "Bytes that wait to be sent", queued),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, value as f64);
    }
    shed(&mut page, &links);
    let uptime = pages.clock.uptime().as_secs_f64();
    page.gauge("tidings_seed_uptime_seconds", "Time since the start", uptime);
    page.counter("tidings_log_lines_total", "Lines logged", pages.log.lines());
    page.counter("tidings_log_dropped_total", "Lines lost", pages.log.dropped());
    let errors = pages.log.write_errors();
    page.counter("tidings_log_write_errors_total", "Failed writes of the log file", errors);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page.into_text()).into_response())
}

fn shed(page: &mut Exposition, links: &[LinkView]) {
    let name = "tidings_seed_link_shed";
    page.family(name, "Frames shed by the links that stand", "gauge");
    for class in Class::ALL {
        let shed: u64 = links.iter().map(|link| link.shed[class as usize]).sum();
        let class = format!("{class:?}").to_ascii_lowercase();
        page.sample(name, &[("class", &class)], shed as f64);
    }
}
