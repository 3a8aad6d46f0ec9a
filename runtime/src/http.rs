//! An HTTP server with limits, for health, metrics and read-only views. HTTP/1.1 only.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// As [`serve_up_to`], with 1,024 connections.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_up_to(CONNECTIONS_MAX, listener, router, stop).await;
}

/// Serves `router` on `listener` until `stop` is cancelled, then lets requests under way finish,
/// for half a second at most. At most `connections` exist at a time, the others wait. Never
/// fails: connections that misbehave, or are idle for 5 s, or live for a minute, are dropped.
pub async fn serve_up_to(
    connections: usize,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    let limits = Limits { connections, idle: IDLE_TIME };
    let accept = async move || listener.accept().await.map(|(tcp, _)| tcp);
    run(limits, accept, router, stop).await;
}

#[derive(Clone, Copy)]
struct Limits {
    connections: usize,
    idle: Duration,
}

async fn run(
    limits: Limits,
    mut accept: impl AsyncFnMut() -> io::Result<TcpStream>,
    router: Router,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut running = JoinSet::new();
    while !stop.is_cancelled() {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, accept().await)
        };
        let (permit, tcp) = tokio::select! {
            () = stop.cancelled() => break,
            (permit, accepted) = accepted => match accepted {
                Ok(tcp) => (permit, tcp),
                Err(_) => {
                    // The process has no file descriptors left, or the other end is gone already.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        while running.try_join_next().is_some() {}
        let (router, stop) = (router.clone(), stop.clone());
        running.spawn(async move {
            let talk = converse(limits.idle, tcp, router, stop);
            let _ = tokio::time::timeout(CONNECTION_TIME, talk).await;
            drop(permit);
        });
    }
    drop(accept);
    let finished = async { while running.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_TIME, finished).await;
}

async fn converse(idle: Duration, tcp: TcpStream, router: Router, stop: CancellationToken) {
    let _ = tcp.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(tcp), service));
    // An error is the other end's: garbage, a time-out, a reset.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Connections of [`serve`].
pub const CONNECTIONS_MAX: usize = 1_024;
/// A request's head must be complete, and the next one begin, within this.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// A connection is closed after this: a reader that takes a byte a second holds a place no longer.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// Requests under way may take this long when the server stops.
const STOP_TIME: Duration = Duration::from_millis(500);
/// Wait after the process ran out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A server whose first connection is gone before it is accepted.
    async fn start(connections: usize) -> (SocketAddr, CancellationToken) {
        let listener = crate::listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = Router::new().route("/healthz", get(async || "ok\n"));
        let limits = Limits { connections, idle: Duration::from_millis(100) };
        let mut failures = vec![io::ErrorKind::ConnectionAborted.into()];
        let accept = async move || match failures.pop() {
            Some(error) => Err(error),
            None => listener.accept().await.map(|(tcp, _)| tcp),
        };
        tokio::spawn(run(limits, accept, router, stop.clone()));
        (address, stop)
    }

    async fn answer(address: SocketAddr, request: &[u8]) -> String {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        // The other end may close before all is written.
        let _ = tcp.write_all(request).await;
        let mut text = Vec::new();
        let _ = tcp.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn garbage_is_answered_or_dropped_and_harms_nobody() {
        let (address, stop) = start(8).await;
        for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00\xff"[..], b"GET\r\n\r\n", &[b'a'; 100_000]]
        {
            let text = answer(address, garbage).await;
            assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
        }
        let text = answer(address, REQUEST).await;
        assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("ok\n"), "{text}");
        stop.cancel();
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_is_dropped_and_makes_room() {
        let (address, _stop) = start(1).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
        let text = answer(address, REQUEST).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }

    #[tokio::test]
    async fn a_stopped_server_ends_idle_connections() {
        let (address, stop) = start(8).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut text = vec![0; 12];
        idle.read_exact(&mut text).await.unwrap();
        stop.cancel();
        idle.read_to_end(&mut text).await.unwrap();
    }
}
