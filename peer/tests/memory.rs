//! What sessions cost, in a process of their own.

mod common;

use std::time::Duration;

use common::lone_peer;
use tidings::From;

/// Printed for whoever wants to know: `cargo test -p tidings --test memory -- --nocapture`.
#[tokio::test]
async fn a_thousand_sessions_share_one_journal() {
    let lone = lone_peer().await;
    let peer = &lone.peer;
    peer.create_topic("t").await.expect("created");
    // What the first session brings along is not counted for a thousand.
    let (first, _) = peer.connect("first").expect("free");
    first.subscribe("t", From::New).await.expect("subscribed");
    let before = resident_kib();
    let mut sessions = Vec::new();
    for n in 0..1_000 {
        let (session, _) = peer.connect(&format!("s{n}")).expect("free");
        session.subscribe("t", From::New).await.expect("subscribed");
        sessions.push(session);
    }
    let idle = resident_kib().saturating_sub(before);
    for _ in 0..100 {
        peer.publish("t", vec![b'x'; 10_000]).await.expect("published");
    }
    let unread = resident_kib().saturating_sub(before);
    println!("1,000 idle sessions: {idle} KiB; with 100 unread messages of 10 kB: {unread} KiB");
    assert!(idle < 8_000, "{idle} KiB for a thousand sessions");
    assert!(unread < 30_000, "a copy for each session would be 1 GB; {unread} KiB");
    for session in &sessions {
        let pulled = session.pull(None, 1_000, Duration::ZERO).await.expect("pulled");
        assert_eq!(pulled.deliveries.len(), 100);
        session.confirm();
    }
}

/// Memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there is one");
    line.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}
