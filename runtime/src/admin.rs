//! A seed and its operator: who can read the key of a seed may tell it what to do, over its
//! overlay address. Both ends prove the same key.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{
    AdminAnswer, AdminCommand, Frame, Hello, PROTOCOL_VERSION, Purpose, Role,
};
use tidings_proto::{Incarnation, RequestId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::key::NodeKey;
use crate::tls::{HandshakeError, Tls};

/// Longer than a seed tries to find a majority, 2 s, on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the seed that listens at `address`, whose key this is.
///
/// # Errors
/// Nobody answers there, or not that seed.
pub async fn ask(
    address: SocketAddr,
    (key, cluster): (&NodeKey, &str),
    command: AdminCommand,
) -> Result<AdminAnswer, AdminError> {
    let asked = tokio::time::timeout(TIMEOUT, exchange(address, key, cluster, command)).await;
    asked.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

async fn exchange(
    address: SocketAddr,
    key: &NodeKey,
    cluster: &str,
    command: AdminCommand,
) -> Result<AdminAnswer, AdminError> {
    let address = dialable(address);
    let tls = Tls::new(key).map_err(|error| AdminError::Key(error.to_string()))?;
    let tcp = TcpStream::connect(address).await?;
    let mut stream = tls.stream(tcp, address, key.node_id()).await?;
    let hello = Hello {
        version: PROTOCOL_VERSION,
        cluster: cluster.to_owned(),
        role: Role::Seed,
        purpose: Purpose::Admin,
        incarnation: Incarnation::default(),
        address,
        name: String::new(),
        wanted: Vec::new(),
        urgent: false,
    };
    let request = RequestId(1);
    send(&mut stream, &Frame::Hello(Box::new(hello))).await?;
    send(&mut stream, &Frame::Admin(request, command)).await?;
    let mut received = BytesMut::new();
    loop {
        match codec::decode(&mut received, FRAME_BYTES_MAX) {
            Ok(Decoded::Frame(Frame::AdminDone(_, answer))) => return Ok(*answer),
            Ok(Decoded::Frame(Frame::Ping(nonce))) => {
                send(&mut stream, &Frame::Pong(nonce)).await?;
            }
            Ok(Decoded::Frame(Frame::Goodbye(goodbye))) => {
                return Err(AdminError::Refused(goodbye.text));
            }
            Ok(Decoded::Frame(_) | Decoded::Unknown(_)) => {}
            Ok(Decoded::Incomplete(_)) => {
                if stream.read_buf(&mut received).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
            Err(error) => return Err(AdminError::Refused(error.to_string())),
        }
    }
}

async fn send(stream: &mut TlsStream<TcpStream>, frame: &Frame) -> io::Result<()> {
    let encoded = codec::encode(frame);
    stream.write_all(&encoded.head).await?;
    stream.write_all(&encoded.tail).await?;
    stream.flush().await
}

/// A seed that listens everywhere is dialled on this host.
fn dialable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Why a seed could not be asked.
#[derive(Debug, Error)]
pub enum AdminError {
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    /// Not that seed, or none.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    /// The key is of no use.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// The seed closed, and said why.
    #[error("{0}")]
    Refused(String),
}
