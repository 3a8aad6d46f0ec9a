//! What a node shows over HTTP.

use serde_json::Value;
use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::http;
use tidings_tests::wait::{self, SOON};

#[test]
fn pages_of_a_seed() {
    let cluster = Cluster::start(3, 4);
    cluster.topic("Sports");
    cluster.wait_all_listed();
    let seed = &cluster.seeds[0];
    assert_eq!(http::get(seed.http_address(), "/healthz").unwrap().0, 200);
    wait::holds("it votes", SOON, || {
        http::get(seed.http_address(), "/readyz").is_ok_and(|(status, _)| status == 200)
    });
    for path in
        ["/v1/peers", "/v1/topics", "/v1/sessions", "/v1/seeds", "/v1/topology", "/v1/deaths"]
    {
        let page = seed.page(path);
        assert!(page["total"].is_u64() && page["items"].is_array(), "{path}: {page}");
    }
    let topics = || seed.page("/v1/topics?filter=Sports");
    wait::holds("all subscribers are listed", SOON, || {
        let topics = topics();
        let subscribers = &topics["items"][0]["subscribers"];
        subscribers.as_array().map_or(subscribers.as_u64(), |s| Some(s.len() as u64)) == Some(4)
    });
    assert_eq!(seed.page("/v1/seeds")["total"], 3);

    let page = |offset: usize| seed.page(&format!("/v1/peers?limit=3&offset={offset}"));
    let nodes = |page: &Value| page["items"].as_array().unwrap().clone();
    let (first, second) = (page(0), page(3));
    assert_eq!((&first["total"], nodes(&first).len(), nodes(&second).len()), (&4.into(), 3, 1));
    assert!(!nodes(&first).contains(&nodes(&second)[0]));
    assert_eq!(seed.page("/v1/peers?filter=peer-2")["total"], 1);
    assert_eq!(http::get(seed.http_address(), "/nowhere").unwrap().0, 404);
    let (status, _) = http::get(seed.http_address(), "/v1/peers?limit=x").unwrap();
    assert_eq!(status, 400);
}

#[test]
fn metrics_count_what_happens() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.topic("Sports");
    for _ in 0..5 {
        controls[0].publish("Sports", "x");
    }
    controls[1].pull_all("Sports", 5, SOON);
    let metrics = |address| http::get(address, "/metrics").unwrap().1;
    let published = metrics(cluster.peers[0].http_address());
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| !line.starts_with('#') && line.contains(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    assert_eq!(value(&published, "published"), Some(5.0), "{published}");
    assert!(published.contains("# TYPE"), "{published}");
    let seed = metrics(cluster.seeds[0].http_address());
    assert!(value(&seed, "registrations") >= Some(2.0), "{seed}");
}

#[test]
fn readiness_needs_a_majority_of_the_seeds() {
    let mut cluster = Setup::new(3, 1).start();
    let ready = |node: &tidings_tests::node::Node| {
        http::get(node.http_address(), "/readyz").is_ok_and(|(status, _)| status == 200)
    };
    wait::holds("the peer is ready", SOON, || ready(&cluster.peers[0]));
    wait::holds("the seed is ready", SOON, || ready(&cluster.seeds[0]));
    cluster.seeds[1].kill();
    cluster.seeds[2].kill();
    wait::holds("the peer is not ready", SOON, || !ready(&cluster.peers[0]));
    wait::holds("the seed is not ready", SOON, || !ready(&cluster.seeds[0]));
    assert_eq!(http::get(cluster.seeds[0].http_address(), "/healthz").unwrap().0, 200);
}
