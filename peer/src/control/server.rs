//! The port itself: accepts clients, as many as allowed, until it is stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::answer::Done;
use crate::control::connection::{Shared, serve};
use crate::control::error::{Code, Problem};
use crate::control::execute::Addresses;
use crate::control::output::answer_line;
use crate::peer::Peer;

/// After an error of `accept`, which means that the process is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections have this long to end when the port stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// A client whose host vanished is noticed after about three times this.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The bounds of a control port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Shown by `status`.
    pub http: Option<SocketAddr>,
    /// Connections at once. Default 4,096, as many as sessions (design §9).
    pub connections_max: usize,
    /// Bytes of a line. Default 1 MiB (design §9).
    pub line_max: usize,
    /// Streams of a connection without a session. Default 10,000 (design §9).
    pub subscriptions_max: usize,
    /// A client that takes nothing of what waits for it for so long is disconnected. Default
    /// 60 s: time for a person to read a page in a pager.
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http: None,
            connections_max: 4_096,
            line_max: 1 << 20,
            subscriptions_max: 10_000,
            stall: Duration::from_secs(60),
        }
    }
}

/// A control port that is served. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Serves `peer` on `listener`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(peer: Peer, listener: TcpListener, options: Options) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            peer,
            addresses: Addresses { control: Some(address), http: options.http },
            line_max: options.line_max,
            subscriptions_max: options.subscriptions_max,
            stall: options.stall,
            stop: stop.clone(),
        });
        tasks.spawn(accept(listener, shared, options.connections_max, tasks.clone()));
        Ok(Self { address, stop, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nobody any more and ends all connections, within half a second. What waits to be
    /// written to a client that reads is written.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        // Who has not ended by then is cut off when the process ends.
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, max: usize, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(max));
    let stop = shared.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "control_accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            refuse(&stream, remote, max);
            continue;
        };
        tune(&stream);
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            serve(shared, stream, remote).await;
            drop(place);
        });
    }
}

/// Says why without waiting for the client: the line fits into an empty socket buffer.
fn refuse(stream: &TcpStream, remote: SocketAddr, max: usize) {
    let message = format!("limit reached: control connections (at most {max})");
    tracing::warn!(%remote, max, "control_connection_refused");
    let line = answer_line::<Done>(None, Err(Problem::new(Code::Limit, message)));
    let _ = stream.try_write(&line);
}

/// Both are wishes: a socket that refuses them works as well.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(2));
}
