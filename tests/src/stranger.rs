//! A node made by hand, which says what a test wants it to say, true or not.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned, version,
};
use tidings_proto::crypto::Signer;
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{Frame, Hello, PROTOCOL_VERSION, Purpose, Role};
use tidings_proto::wire::record::{PeerRecord, Record, SignedRecord};
use tidings_proto::{Incarnation, NodeId};

/// The DER of an Ed25519 private key before its 32 bytes (RFC 8410).
const PRIVATE_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// The DER of an Ed25519 public key before its 32 bytes (RFC 8410).
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// No answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a node, authenticated with a key of the stranger's own.
pub struct Stranger {
    stream: StreamOwned<ClientConnection, TcpStream>,
    signer: Signer,
    received: BytesMut,
}

impl Stranger {
    /// Connects to a node with the key made of these bytes, and ends the TLS handshake.
    ///
    /// # Errors
    /// The node does not listen, or refuses the handshake.
    pub fn connect(address: SocketAddr, secret: [u8; 32]) -> Result<Self> {
        let signer = Signer::ed25519(&secret);
        let tcp = TcpStream::connect_timeout(&address, TIMEOUT)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(TIMEOUT))?;
        tcp.set_write_timeout(Some(TIMEOUT))?;
        let config = Arc::new(client_config(&secret, &signer)?);
        let connection = ClientConnection::new(config, ServerName::try_from("tidings")?)?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).context("the TLS handshake")?;
        }
        Ok(Self { stream, signer, received: BytesMut::new() })
    }

    /// Connects and introduces itself as a node of the cluster `local`.
    ///
    /// # Errors
    /// As [`Stranger::connect`], or the introduction cannot be sent.
    pub fn introduced(address: SocketAddr, secret: [u8; 32], purpose: Purpose) -> Result<Self> {
        let mut stranger = Self::connect(address, secret)?;
        stranger.send(&Frame::Hello(Box::new(stranger.hello("local", purpose))))?;
        Ok(stranger)
    }

    /// The introduction of a peer in the cluster of that name.
    pub fn hello(&self, cluster: &str, purpose: Purpose) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            cluster: cluster.to_owned(),
            role: Role::Peer,
            purpose,
            incarnation: Incarnation(1),
            address: self.address(),
            name: "stranger".to_owned(),
            wanted: vec![short_name("$overlay")],
            urgent: false,
        }
    }

    /// The signed record with which it registers.
    pub fn record(&self) -> SignedRecord {
        let record = Record::Peer(PeerRecord {
            node: self.id(),
            incarnation: Incarnation(1),
            version: 1,
            addresses: vec![self.address()],
            name: "stranger".to_owned(),
            left: false,
        });
        SignedRecord::sign(record, &self.signer)
    }

    /// Its identity.
    pub fn id(&self) -> NodeId {
        self.signer.node()
    }

    /// Its key, to sign what it claims.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Where it says it can be dialled; nobody listens there.
    pub fn address(&self) -> SocketAddr {
        self.stream.sock.local_addr().expect("a connected socket has an address")
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The node closed, or does not read.
    pub fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let encoded = codec::encode(frame);
        self.send_bytes(&[&encoded.head[..], &encoded.tail[..]].concat())
    }

    /// Sends bytes inside the authenticated connection.
    ///
    /// # Errors
    /// The node closed, or does not read.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next frame, `None` when the node closed.
    ///
    /// # Errors
    /// Nothing for 5 s, or bytes that are no frame.
    pub fn receive(&mut self) -> Result<Option<Frame>> {
        loop {
            match codec::decode(&mut self.received, FRAME_BYTES_MAX)? {
                Decoded::Frame(frame) => return Ok(Some(frame)),
                Decoded::Unknown(_) => continue,
                Decoded::Incomplete(_) => {}
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if is_closed(&error) => return Ok(None),
                Err(error) => return Err(error).context("no frame came"),
            }
        }
    }

    /// Receives until `wanted` returns something; pings are answered meanwhile.
    ///
    /// # Errors
    /// As [`Stranger::receive`], the node closed, or nothing wanted came within `limit`.
    pub fn receive_until<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(Frame) -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        while start.elapsed() < limit {
            match self.receive()?.context("the node closed the connection")? {
                Frame::Ping(nonce) => self.send(&Frame::Pong(nonce))?,
                frame => {
                    if let Some(found) = wanted(frame) {
                        return Ok(found);
                    }
                }
            }
        }
        bail!("nothing wanted within {limit:?}")
    }

    /// Whether the node closes the connection within 5 s; frames before the end are skipped.
    pub fn is_dropped(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < TIMEOUT {
            match self.receive() {
                Ok(Some(_)) => {}
                Err(_) => return false,
                Ok(None) => return true,
            }
        }
        false
    }
}

impl std::fmt::Debug for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stranger({:?})", self.id())
    }
}

/// How a greeting names a topic.
fn short_name(topic: &str) -> u64 {
    let hash = blake3::hash(topic.as_bytes());
    u64::from_be_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn client_config(secret: &[u8; 32], signer: &Signer) -> Result<ClientConfig> {
    let private = [&PRIVATE_PREFIX[..], &secret[..]].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private))?;
    let public = [&PUBLIC_PREFIX[..], &signer.node().0[..]].concat();
    let certified = CertifiedKey::new(vec![CertificateDer::from(public)], key);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(
            certified,
        ))));
    config.alpn_protocols = vec![b"tidings/1".to_vec()];
    Ok(config)
}

/// Takes every node for the one that was dialled, if it proves that it holds its key.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
