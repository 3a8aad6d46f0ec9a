//! Listening: the socket, and the task that accepts connections and has them prove their key.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::node::LinkLimits;
use crate::tls::{Established, Tls};

/// Listens on `address`; port 0 takes a free one. A port whose last owner was killed can be
/// taken at once, one that somebody listens on can not. Must be called within a tokio runtime.
///
/// # Errors
/// Why not, in words for people.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    bind_socket(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        _ => BindError::Io { address, source },
    })
}

fn bind_socket(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until it is dropped, and hands those whose other end proved its key to
/// `accepted`. `links` has a permit for each connection that may exist.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Tls,
    limits: LinkLimits,
    links: Arc<Semaphore>,
    accepted: mpsc::Sender<(Established, OwnedSemaphorePermit)>,
) {
    // Dropped with this task, and with it every handshake under way.
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        if handshakes.len() >= limits.handshakes {
            handshakes.join_next().await;
            continue;
        }
        let (tcp, remote) = match listener.accept().await {
            Ok(connection) => connection,
            Err(error) => {
                back_off(&error).await;
                continue;
            }
        };
        let Ok(permit) = links.clone().try_acquire_owned() else {
            tracing::warn!(%remote, limit = limits.links, "connections_full");
            tokio::time::sleep(FULL_PAUSE).await;
            continue;
        };
        tune(&tcp);
        let (tls, accepted) = (tls.clone(), accepted.clone());
        handshakes.spawn(async move {
            let handshake = tls.accept(tcp, remote);
            match tokio::time::timeout(limits.handshake_timeout, handshake).await {
                // The driver may have ended in the meantime.
                Ok(Ok(established)) => drop(accepted.send((established, permit)).await),
                Ok(Err(error)) => tracing::info!(%remote, cause = %error, "handshake_failed"),
                Err(_) => tracing::info!(%remote, cause = "timed out", "handshake_failed"),
            }
        });
    }
}

/// Errors of `accept` belong to one connection, which is gone, or to the process, which has no
/// file descriptor or memory left: then accepting at once would fail again and burn a core.
async fn back_off(error: &io::Error) {
    let harmless = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !harmless {
        tracing::warn!(cause = %error, "accept_failed");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Small frames go at once, and little waits in the kernel, where an urgent frame cannot overtake.
/// A connection works without both.
pub(crate) fn tune(tcp: &TcpStream) {
    let _ = tcp.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(tcp).set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES);
}

/// Why a node cannot listen.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody else does.
    #[error(
        "address {address} is in use by another process; stop it, or choose another port \
         (port 0 takes a free one)"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Wait after the process ran out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// Wait after a connection was closed because there are too many.
const FULL_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that the kernel takes before the network does. 128 KiB keep a link of 1 GB/s busy for
/// the 0.1 ms until the driver writes again.
const KERNEL_UNSENT_BYTES: u32 = 128 << 10;
/// Connections that the kernel holds until they are accepted; Linux caps it at `somaxconn`.
const BACKLOG: i32 = 1_024;
