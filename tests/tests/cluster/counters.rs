//! What nodes count, and where it is shown.

use tidings_tests::cli;
use tidings_tests::cluster::Cluster;
use tidings_tests::http;
use tidings_tests::status::Status;
use tidings_tests::wait::{self, SOON};

const KINDS: [&str; 13] = [
    "push", "repair", "announce", "prune", "graft", "frontier", "digest", "heads", "pull",
    "liveness", "overlay", "seeds", "tables",
];
const CLASSES: [&str; 5] = ["control", "own", "repair", "forward", "announce"];
const REASONS: [&str; 3] = ["class_full", "queue_full", "link_closed"];

#[test]
fn status_tells_kinds_queues_sheds_and_the_lag_of_streams() {
    const COUNT: u64 = 7;
    let cluster = Cluster::start(1, 3);
    let mut controls = cluster.topic("Sports");
    for number in 0..COUNT {
        controls[0].publish("Sports", &format!("goal {number}"));
    }
    controls.iter_mut().for_each(|c| drop(c.pull_all("Sports", COUNT as usize, SOON)));

    let publisher = cluster.peers[0].id();
    for control in &mut controls[1..] {
        let status = Status::of(control);
        assert_eq!(status.stream("Sports", publisher), Some((COUNT, 0)), "{status:?}");
        let streams = status.0["streams"].as_array().unwrap();
        let stream = streams.iter().find(|stream| stream["origin"] == publisher).unwrap();
        let lag_us = stream["lag_us"].as_i64().unwrap();
        // One clock, which each process reads once at its start: to some microseconds.
        assert!((-10_000..10_000_000).contains(&lag_us), "pulled already: {stream}");
        assert_eq!((&stream["held_batches"], &stream["known_seq"]), (&0.into(), &COUNT.into()));
        assert_eq!(status.number(&["streams_total"]), streams.len() as u64);
        let received = status.counter("batches_received") + status.counter("batches_duplicate");
        let (_, pushed) = status.frames("push");
        let (_, repaired) = status.frames("repair");
        assert!(pushed + repaired >= received && received >= COUNT, "{status:?}");
        assert!(status.number(&["traffic", "push", "received", "bytes"]) > 100 * pushed);
    }
    let status = Status::of(&mut controls[0]);
    for kind in KINDS {
        status.frames(kind);
    }
    assert!(status.frames("push").0 >= COUNT && status.frames("seeds").0 > 0, "{status:?}");
    assert_eq!(status.frames("tables"), (0, 0), "a peer is no seed");
    for class in CLASSES {
        for reason in REASONS {
            status.number(&["shed", reason, class, "frames"]);
        }
        status.number(&["queued", class, "bytes"]);
    }
    assert_eq!(status.number(&["shed", "class_full", "own", "frames"]), 0);
    assert_eq!(status.number(&["links_total"]), 3, "two peers and a seed");
    let links = status.0["links"].as_array().unwrap();
    assert!(links.iter().all(|link| link["queued"]["forward"]["frames"].is_u64()), "{links:?}");

    let text = cli::peer(&cluster.peers[1], &["status"]).expect_code(0).text();
    for word in ["FRAMES", "push", "liveness", "STREAM", "LAG", " ms"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
}

#[test]
fn what_one_peer_sends_others_receive() {
    let cluster = Cluster::start(1, 3);
    let mut controls = cluster.topic("Sports");
    for control in &mut controls {
        control.publish("Sports", "goal");
    }
    controls.iter_mut().for_each(|c| drop(c.pull_all("Sports", 3, SOON)));
    wait::passes("batches sent are batches received", SOON, || {
        let all: Vec<_> = controls.iter_mut().map(Status::of).collect();
        for kind in ["push", "repair", "graft", "prune"] {
            let sent: u64 = all.iter().map(|status| status.frames(kind).0).sum();
            let received: u64 = all.iter().map(|status| status.frames(kind).1).sum();
            if sent != received {
                return Err(format!("{kind}: {sent} sent, {received} received"));
            }
        }
        Ok(())
    });
}

#[test]
fn prometheus_finds_the_same() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.topic("Sports");
    controls[0].publish("Sports", "goal");
    controls[1].pull_all("Sports", 1, SOON);
    let page = |address| http::get(address, "/metrics").unwrap().1;
    let value = |page: &str, name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok())
    };
    let peer = page(cluster.peers[1].http_address());
    let origin = cluster.peers[0].id();
    for (name, least) in [
        ("tidings_peer_frames_received_total{kind=\"push\"}", 1.0),
        ("tidings_peer_bytes_received_total{kind=\"push\"}", 100.0),
        ("tidings_peer_frames_sent_total{kind=\"seeds\"}", 1.0),
        ("tidings_peer_shed_frames_total{reason=\"class_full\",class=\"forward\"}", 0.0),
        ("tidings_peer_queued_bytes{class=\"own\"}", 0.0),
        ("tidings_peer_batches_duplicate_total", 0.0),
        ("tidings_peer_grafts_sent_total", 0.0),
        ("tidings_peer_repairs_total", 0.0),
    ] {
        let found = value(&peer, name);
        assert!(found >= Some(least), "{name}: {found:?} in\n{peer}");
    }
    let stream = format!("{{topic=\"Sports\",origin=\"{origin}\",incarnation=\"");
    let lag = peer.lines().find(|line| {
        line.strip_prefix("tidings_peer_stream_lag_seconds").is_some_and(|l| l.starts_with(&stream))
    });
    assert!(lag.is_some(), "{peer}");

    let seed = page(cluster.seeds[0].http_address());
    let received = value(&seed, "tidings_seed_frames_received_total{kind=\"seeds\"}");
    assert!(received >= Some(2.0), "two registrations: {received:?} in\n{seed}");
    let status = cluster.seeds[0].page("/v1/status");
    assert!(status["traffic"]["seeds"]["sent"]["bytes"].as_u64() > Some(100), "{status}");
    assert_eq!(status["shed"]["class_full"]["control"]["frames"], 0);
}

#[test]
fn top_shows_rates_as_text_and_as_json() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.topic("Sports");
    let publisher = &cluster.peers[0];
    let looks = ["top", "--count", "3", "--interval", "200ms"];
    let text = std::thread::scope(|scope| {
        let top = scope.spawn(|| cli::peer(publisher, &looks).expect_code(0).text());
        while !top.is_finished() {
            controls[0].publish("Sports", "goal");
            wait::pause(std::time::Duration::from_millis(5));
        }
        top.join().unwrap()
    });
    assert_eq!(text.matches("messages/s").count(), 3, "{text}");
    for word in [&publisher.id()[..10], "joined: 1 of 1 seeds", "LINK", "STREAM", "push"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no terminal, no escape sequences: {text:?}");
    assert!(!text.contains("messages/s  0 published"), "something was: {text}");

    let json = cli::peer(&cluster.peers[1], &[&looks[..], &["--json"]].concat()).expect_code(0);
    let rates = json.json_lines();
    assert_eq!(rates.len(), 3);
    for look in &rates {
        assert_eq!((&look["published_per_s"], &look["gaps"]), (&0.0.into(), &0.into()), "{look}");
        assert!(look["interval_ms"].as_u64() >= Some(150), "{look}");
        assert!(look["traffic"]["push"]["bytes_received_per_s"].is_f64(), "{look}");
        assert_eq!(look["streams"][0]["origin"], publisher.id());
    }
    cli::peer(publisher, &["top", "--interval", "1ms"]).expect_code(2);
}
