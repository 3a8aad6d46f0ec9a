//! A seed and its operator: who can read the key of a seed may tell it what to do, over its
//! overlay address. Both ends prove the same key.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{
    AdminAnswer, AdminCommand, Frame, Hello, PROTOCOL_VERSION, Purpose, Role, SetView,
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

/// Looks whether a seed of `cluster` answers at `address`. Returns which seeds it knows.
///
/// # Errors
/// Nobody answers there, or no seed of that cluster.
pub async fn look(
    address: SocketAddr,
    key: &NodeKey,
    cluster: &str,
) -> Result<SetView, AdminError> {
    let looked = tokio::time::timeout(TIMEOUT, look_at(address, key, cluster)).await;
    looked.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

async fn look_at(address: SocketAddr, key: &NodeKey, cluster: &str) -> Result<SetView, AdminError> {
    let tls = Tls::new(key).map_err(|error| AdminError::Key(error.to_string()))?;
    let tcp = TcpStream::connect(address).await?;
    let mut stream = tls.stream(tcp, address, None).await?;
    send(&mut stream, &Frame::Hello(Box::new(hello(address, cluster, Purpose::Probe)))).await?;
    let mut received = BytesMut::new();
    match receive(&mut stream, &mut received).await? {
        Frame::Hello(hello) if hello.role != Role::Seed => {
            return Err(AdminError::Refused("a peer, not a seed, answers there".to_owned()));
        }
        Frame::Hello(hello) if hello.cluster != cluster => {
            let text = format!("it belongs to cluster '{}'", hello.cluster);
            return Err(AdminError::Refused(text));
        }
        Frame::Hello(_) => {}
        Frame::Goodbye(goodbye) => return Err(AdminError::Refused(goodbye.text)),
        _ => return Err(AdminError::Refused("no greeting".to_owned())),
    }
    match receive(&mut stream, &mut received).await? {
        Frame::AdminDone(_, answer) => match *answer {
            AdminAnswer::Set(view) => Ok(view),
            _ => Err(AdminError::Refused("it does not say which seeds it knows".to_owned())),
        },
        Frame::Goodbye(goodbye) => Err(AdminError::Refused(goodbye.text)),
        _ => Err(AdminError::Refused("it does not say which seeds it knows".to_owned())),
    }
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
    let mut stream = tls.stream(tcp, address, Some(key.node_id())).await?;
    let request = RequestId(1);
    send(&mut stream, &Frame::Hello(Box::new(hello(address, cluster, Purpose::Admin)))).await?;
    send(&mut stream, &Frame::Admin(request, command)).await?;
    let mut received = BytesMut::new();
    loop {
        match receive(&mut stream, &mut received).await? {
            Frame::AdminDone(_, answer) => return Ok(*answer),
            Frame::Ping(nonce) => send(&mut stream, &Frame::Pong(nonce)).await?,
            Frame::Goodbye(goodbye) => return Err(AdminError::Refused(goodbye.text)),
            _ => {}
        }
    }
}

fn hello(address: SocketAddr, cluster: &str, purpose: Purpose) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        cluster: cluster.to_owned(),
        role: Role::Seed,
        purpose,
        incarnation: Incarnation::default(),
        address,
        name: String::new(),
        wanted: Vec::new(),
        urgent: false,
    }
}

/// The next frame.
async fn receive(
    stream: &mut TlsStream<TcpStream>,
    received: &mut BytesMut,
) -> Result<Frame, AdminError> {
    loop {
        match codec::decode(received, FRAME_BYTES_MAX) {
            Ok(Decoded::Frame(frame)) => return Ok(frame),
            Ok(Decoded::Unknown(_)) => {}
            Ok(Decoded::Incomplete(_)) => {
                if stream.read_buf(received).await? == 0 {
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
