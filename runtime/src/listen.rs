//! Listening: the socket, and the task that accepts connections and has them prove their key.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;

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

/// Connections that the kernel holds until they are accepted; Linux caps it at `somaxconn`.
const BACKLOG: i32 = 1_024;
