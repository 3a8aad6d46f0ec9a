//! Opening connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tidings_proto::{DialFailure, DialId};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::listen::tune;
use crate::tls::{Established, Tls};

/// The end of a dial.
pub(crate) struct Dialed {
    pub(crate) dial: DialId,
    pub(crate) result: Result<(Established, OwnedSemaphorePermit), DialFailure>,
}

/// Connects and has the other end prove its key, all within `timeout`.
pub(crate) async fn dial(
    dial: DialId,
    address: SocketAddr,
    timeout: Duration,
    tls: Tls,
    permit: OwnedSemaphorePermit,
) -> Dialed {
    let connected = tokio::time::timeout(timeout, connect(address, &tls)).await;
    let result = connected.unwrap_or(Err(DialFailure::Timeout));
    if let Err(cause) = &result {
        tracing::debug!(%address, cause = cause.as_str(), "dial_failed");
    }
    Dialed { dial, result: result.map(|established| (established, permit)) }
}

async fn connect(address: SocketAddr, tls: &Tls) -> Result<Established, DialFailure> {
    let tcp = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => DialFailure::Refused,
        io::ErrorKind::TimedOut => DialFailure::Timeout,
        _ => DialFailure::Other,
    })?;
    tune(&tcp);
    tls.connect(tcp, address).await.map_err(|_| DialFailure::Handshake)
}
