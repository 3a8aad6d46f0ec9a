//! Whatever comes to a port, the process behind it is unharmed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tidings_proto::wire::codec::encode;
use tidings_proto::wire::frame::{Frame, Purpose};
use tidings_tests::cluster::Cluster;
use tidings_tests::node::{Node, Role};
use tidings_tests::stranger::Stranger;
use tidings_tests::wait::{self, SOON};
use tidings_tests::{http, text};

/// Sends bytes and waits until the other end closes, or does nothing about them for a while.
fn send(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    // The other end may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 1024]);
}

fn garbage() -> Vec<Vec<u8>> {
    let mut all = vec![
        vec![],
        vec![0],
        vec![0xff; 5],
        vec![0; 100_000],
        // A TLS record that promises 16 kB and a ClientHello, and then stops.
        vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET /v1/peers?limit=99999999999999999999&offset=-1 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"POST /v1/peers HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        [b"GET /".to_vec(), vec![b'a'; 200_000]].concat(),
        b"{\"command\":\"ping\"".to_vec(),
        b"\n\n\n\0\n[]\n".to_vec(),
    ];
    all.extend((0..10).map(|seed| text::noise(seed, 1 << (2 * seed))));
    all
}

#[track_caller]
fn works(cluster: &Cluster, node: &mut Node) {
    assert_eq!(node.exited(), None, "{} ended:\n{}", node.spec.name, node.stderr());
    assert!(!node.stderr().contains("panicked"), "{}", node.stderr());
    assert_eq!(http::get(node.http_address(), "/healthz").unwrap().0, 200);
    if node.spec.role == Role::Peer {
        node.control().ok(&serde_json::json!({"command": "ping"}));
    }
    assert!(!cluster.seeds.is_empty() || node.spec.role == Role::Seed);
}

#[test]
fn garbage_on_every_port_harms_nobody() {
    let mut cluster = Cluster::start(3, 3);
    let mut ports = Vec::new();
    for node in [&cluster.seeds[0], &cluster.peers[0]] {
        ports.extend([node.listen(), node.http_address()]);
    }
    ports.push(cluster.peers[0].control_address());
    for port in ports {
        garbage().iter().for_each(|bytes| send(port, bytes));
    }
    let mut seed = cluster.seeds.remove(0);
    works(&cluster, &mut seed);
    cluster.seeds.insert(0, seed);
    let mut peer = cluster.peers.remove(0);
    works(&cluster, &mut peer);
    cluster.peers.insert(0, peer);
    let mut controls = cluster.topic("Sports");
    controls[0].publish("Sports", "unharmed");
    controls.iter_mut().for_each(|control| drop(control.pull_all("Sports", 1, SOON)));
}

/// What an authenticated node may send first that is no introduction.
fn bad_firsts() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |frame: &Frame| encode(frame).head.to_vec();
    vec![
        ("a length of 4 GiB", vec![0xff; 8]),
        ("a length of zero", vec![0; 8]),
        ("a first frame over 4 KiB", [vec![0, 0, 0x20, 0, 0], vec![1; 8_192]].concat()),
        ("a control frame of noise", [vec![0, 0, 0, 100], text::noise(5, 100)].concat()),
        ("a frame before the introduction", frame(&Frame::Ping(1))),
        ("a batch of noise", [vec![0, 0, 1, 0, 255], text::noise(6, 255)].concat()),
    ]
}

#[test]
fn an_authenticated_node_that_breaks_the_protocol_is_dropped() {
    let mut cluster = Cluster::start(3, 2);
    for (i, (what, bytes)) in bad_firsts().into_iter().enumerate() {
        for (j, node) in [&cluster.seeds[0], &cluster.peers[0]].into_iter().enumerate() {
            let secret = [(10 * i + j + 1) as u8; 32];
            let mut stranger = Stranger::connect(node.listen(), secret).unwrap();
            // The other end may close before it has read everything.
            let _ = stranger.send_bytes(&bytes);
            assert!(stranger.is_dropped(), "{} after {what}", node.spec.name);
        }
    }
    let mut seed = cluster.seeds.remove(0);
    works(&cluster, &mut seed);
    let mut peer = cluster.peers.remove(0);
    works(&cluster, &mut peer);
}

#[test]
fn a_bad_frame_after_a_good_introduction_is_dropped_and_logged() {
    let cluster = Cluster::start(3, 2);
    for (node, purpose) in
        [(&cluster.seeds[0], Purpose::Session), (&cluster.peers[0], Purpose::Neighbor)]
    {
        let mut stranger = Stranger::introduced(node.listen(), [91; 32], purpose).unwrap();
        let id = stranger.id().to_string();
        stranger
            .receive_until(SOON, |frame| matches!(frame, Frame::Hello(_)).then_some(()))
            .unwrap();
        let _ = stranger.send_bytes(&[0, 0, 0, 9, 4, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(stranger.is_dropped(), "{}", node.spec.name);
        wait::holds("the reason is logged with who it was", SOON, || {
            let log = node.log();
            log.lines().any(|line| line.contains(&id[..8]) && line.contains("malformed"))
        });
    }
}

#[test]
fn a_connection_without_an_introduction_is_closed_in_time() {
    let cluster = Cluster::start(1, 1);
    for node in [&cluster.seeds[0], &cluster.peers[0]] {
        let start = Instant::now();
        let mut silent = TcpStream::connect(node.listen()).unwrap();
        silent.set_read_timeout(Some(SOON)).unwrap();
        let read = silent.read(&mut [0; 16]);
        assert!(!read.is_ok_and(|length| length > 0), "nothing is sent to the silent");
        assert!(start.elapsed() < Duration::from_secs(6), "took {:?}", start.elapsed());

        let mut stranger = Stranger::connect(node.listen(), [66; 32]).unwrap();
        assert!(stranger.is_dropped(), "{} waits for an introduction", node.spec.name);
    }
}

#[test]
fn a_node_of_another_cluster_is_refused_with_the_reason() {
    let mut cluster = Cluster::start(3, 1);
    let config = cluster.folder().join("other.toml");
    std::fs::write(&config, cluster.config_text("other", "")).unwrap();
    let mut spec = cluster.peer_spec();
    spec.config = config;
    let other = Node::start(spec);
    wait::holds("the reason is in its log", SOON, || other.log().contains("cluster"));
    let seeds = || other.control().ok(&serde_json::json!({"command": "seeds"}));
    wait::stays("it has not joined", Duration::from_secs(3), || seeds()["joined"] == 0);
    for seed in &cluster.seeds {
        let listed = seed.page("/v1/peers").to_string();
        assert!(!listed.contains(other.id()), "{listed}");
    }
    let logged = cluster.seeds.iter().any(|seed| seed.log().to_lowercase().contains("cluster"));
    assert!(logged, "a seed logs why it refused");
}
