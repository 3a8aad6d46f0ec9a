//! The HTTP views of a peer.

mod common;

use common::{Raw, lone_peer, seedless_peer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Status and body of a path.
async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut client = Raw::connect(address).await;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
    let answer = String::from_utf8(client.rest().await).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

async fn serve(lone: common::Lone) -> (common::Lone, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let views = tidings::http::router(lone.peer.clone(), None, Some(address));
    tokio::spawn(tidings_runtime::http::serve(listener, views, CancellationToken::new()));
    (lone, address)
}

#[tokio::test]
async fn a_peer_shows_itself() {
    let (lone, address) = serve(lone_peer().await).await;
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/readyz").await.0, 200);
    let (code, metrics) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(metrics.contains("tidings_peer_published_total 0"), "{metrics}");
    assert!(metrics.contains("tidings_peer_neighbors 0"), "{metrics}");
    let (_, status) = get(address, "/v1/status").await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["node"], lone.peer.about().node.to_string());
    assert_eq!(status["http"], address.to_string());
    for path in ["/v1/peers?limit=1&offset=0&filter=x", "/v1/seeds"] {
        let (code, items) = get(address, path).await;
        let items: Value = serde_json::from_str(&items).expect("JSON");
        assert_eq!((code, &items["total"]), (200, &0.into()), "{path}");
        assert!(items["items"].is_array());
    }
    assert_eq!(get(address, "/v1/topics").await.0, 503, "only seeds know all topics");
    assert_eq!(get(address, "/v1/peers?limit=0").await.0, 400);
    assert_eq!(get(address, "/v1/peers?limit=many").await.0, 400);
    assert_eq!(get(address, "/nothing").await.0, 404);
}

#[tokio::test]
async fn a_peer_without_its_seeds_is_not_ready() {
    let (_lone, address) = serve(seedless_peer().await).await;
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/readyz").await.0, 503);
}
