//! Who is at the other end: TLS 1.3 with raw Ed25519 public keys (RFC 7250), proven by both
//! ends. There are no certificates, names or authorities: the key is the identity.
//!
//! For measuring what encryption costs, both ends of a link may leave it after the handshake
//! ([`Encryption::HandshakeOnly`]). They name another protocol, so that neither meets an end that
//! encrypts.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Connection, DigitallySignedStruct,
    DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use thiserror::Error;
use tidings_proto::NodeId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::key::NodeKey;

/// The protocol that both ends must name in the handshake.
pub const ALPN: &[u8] = b"tidings/1";
/// The same, of links that are not encrypted.
const ALPN_PLAIN: &[u8] = b"tidings/1-plain";
/// What both ends of such a link write last before frames follow as they are.
const SWITCH: u8 = 1;

/// Whether links are encrypted. No configuration says so: nobody turns it off by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encryption {
    /// TLS, always.
    #[default]
    Always,
    /// Both ends prove their keys; what follows can be read and changed on the way. For measuring.
    HandshakeOnly,
}

/// How this node proves its key, and has others prove theirs.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    encryption: Encryption,
}

/// A connection whose other end has proved its key.
#[derive(Debug)]
pub struct Established {
    /// The socket.
    pub tcp: TcpStream,
    /// The TLS session on it; `None` when frames follow as they are.
    pub tls: Option<Connection>,
    /// Who is at the other end.
    pub node: NodeId,
    /// Where the other end is, as seen here.
    pub remote: SocketAddr,
}

impl Tls {
    /// For a node with this key.
    ///
    /// # Errors
    /// The key or the protocol version is not supported by the TLS library.
    pub fn new(key: &NodeKey) -> Result<Self, Error> {
        Self::with(key, Encryption::Always)
    }

    /// As [`Self::new`], and says whether links are encrypted. The other end has to do the same.
    ///
    /// # Errors
    /// As there.
    pub fn with(key: &NodeKey, encryption: Encryption) -> Result<Self, Error> {
        let alpn = match encryption {
            Encryption::Always => ALPN,
            Encryption::HandshakeOnly => ALPN_PLAIN,
        };
        Ok(Self { encryption, ..Self::with_alpn(key, vec![alpn.to_vec()])? })
    }

    /// As [`Self::new`], naming other protocols: for tests of what others refuse.
    pub(crate) fn with_alpn(key: &NodeKey, alpn: Vec<Vec<u8>>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = Arc::new(certified_key(key, &provider)?);
        let verifier = Arc::new(RawKeyVerifier { provider: provider.clone() });

        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                key.clone(),
            )));
        client.alpn_protocols = alpn.clone();
        client.enable_sni = false;
        client.resumption = Resumption::disabled();

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
        server.alpn_protocols = alpn;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;

        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            acceptor: TlsAcceptor::from(Arc::new(server)),
            encryption: Encryption::Always,
        })
    }

    /// The handshake of a connection that this node opened. The caller limits its time.
    ///
    /// # Errors
    /// The other end did not prove a key, or does not speak the protocol.
    pub async fn connect(
        &self,
        tcp: TcpStream,
        remote: SocketAddr,
    ) -> Result<Established, HandshakeError> {
        // The name is not sent and not looked at.
        let name = ServerName::IpAddress(remote.ip().into());
        let mut stream = self.connector.connect(name, tcp).await.map_err(failed)?;
        let mut switch = [0];
        if self.encryption == Encryption::HandshakeOnly {
            // Until it has come nothing else does: the TLS session has read nothing of frames.
            stream.read_exact(&mut switch).await.map_err(failed)?;
        }
        let (mut tcp, tls) = stream.into_inner();
        let (node, tls) = self.established(Connection::Client(tls))?;
        if tls.is_none() {
            tcp.write_all(&switch).await.map_err(failed)?;
        }
        Ok(Established { tcp, tls, node, remote })
    }

    /// As [`Self::connect`], for who wants a stream of bytes and may say who has to be at the
    /// other end.
    ///
    /// # Errors
    /// As there, or somebody else is at the other end.
    pub async fn stream(
        &self,
        tcp: TcpStream,
        remote: SocketAddr,
        expected: Option<NodeId>,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let name = ServerName::IpAddress(remote.ip().into());
        let stream = self.connector.connect(name, tcp).await.map_err(failed)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first());
        match shown.and_then(|key| node_id(key)) {
            Some(node) if expected.is_none_or(|expected| node == expected) => Ok(stream),
            Some(_) => Err(HandshakeError::Stranger),
            None => Err(HandshakeError::NoKey),
        }
    }

    /// The handshake of a connection that was accepted. The caller limits its time.
    ///
    /// # Errors
    /// The other end did not prove a key, or does not speak the protocol.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        remote: SocketAddr,
    ) -> Result<Established, HandshakeError> {
        let mut stream = self.acceptor.accept(tcp).await.map_err(failed)?;
        let mut switch = [SWITCH];
        if self.encryption == Encryption::HandshakeOnly {
            stream.write_all(&switch).await.map_err(failed)?;
            stream.flush().await.map_err(failed)?;
        }
        let (mut tcp, tls) = stream.into_inner();
        let (node, tls) = self.established(Connection::Server(tls))?;
        if tls.is_none() {
            tcp.read_exact(&mut switch).await.map_err(failed)?;
        }
        Ok(Established { tcp, tls, node, remote })
    }

    /// Who is at the other end, and the session as far as the link goes on with it.
    fn established(&self, tls: Connection) -> Result<(NodeId, Option<Connection>), HandshakeError> {
        let alpn = match self.encryption {
            Encryption::Always => ALPN,
            Encryption::HandshakeOnly => ALPN_PLAIN,
        };
        if tls.alpn_protocol() != Some(alpn) {
            return Err(HandshakeError::Protocol);
        }
        let shown = tls.peer_certificates().and_then(|shown| shown.first());
        let node = shown.and_then(|key| node_id(key)).ok_or(HandshakeError::NoKey)?;
        Ok((node, Some(tls).filter(|_| self.encryption == Encryption::Always)))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Why a handshake failed.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The TLS library says why.
    #[error("TLS: {0}")]
    Failed(std::io::Error),
    /// The other end did not name the protocol, or only one end wants links to be encrypted.
    #[error("the other end does not speak tidings/1 as this node does")]
    Protocol,
    /// Another node is at the other end.
    #[error("another node answers there")]
    Stranger,
    /// The other end showed no Ed25519 key.
    #[error("the other end showed no Ed25519 key")]
    NoKey,
}

/// In words of this protocol where TLS has none.
fn failed(error: std::io::Error) -> HandshakeError {
    let refused = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match refused {
        Some(
            Error::NoApplicationProtocol
            | Error::AlertReceived(AlertDescription::NoApplicationProtocol),
        ) => HandshakeError::Protocol,
        _ => HandshakeError::Failed(error),
    }
}

fn certified_key(key: &NodeKey, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let mut pkcs8 = PKCS8_PREFIX.to_vec();
    pkcs8.extend_from_slice(key.secret());
    let private = provider.key_provider.load_private_key(PrivatePkcs8KeyDer::from(pkcs8).into())?;
    let mut spki = SPKI_PREFIX.to_vec();
    spki.extend_from_slice(&key.node_id().0);
    Ok(CertifiedKey::new(vec![CertificateDer::from(spki)], private))
}

/// The key in a SubjectPublicKeyInfo, if it is an Ed25519 key.
fn node_id(spki: &[u8]) -> Option<NodeId> {
    let key = spki.strip_prefix(SPKI_PREFIX.as_slice())?;
    Some(NodeId(key.try_into().ok()?))
}

/// Any Ed25519 key will do, as long as the other end proves that it holds the secret one. Whether
/// that node is wanted is not for TLS to judge.
#[derive(Debug)]
struct RawKeyVerifier {
    provider: Arc<CryptoProvider>,
}

impl RawKeyVerifier {
    fn check_key(spki: &CertificateDer<'_>) -> Result<(), Error> {
        let bad = Error::InvalidCertificate(CertificateError::BadEncoding);
        node_id(spki).map(|_| ()).ok_or(bad)
    }

    fn check_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signature.scheme != SignatureScheme::ED25519 {
            return Err(Error::General("only Ed25519 signatures are accepted".into()));
        }
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(spki.as_ref()),
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }
}

impl ServerCertVerifier for RawKeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check_key(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is accepted".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check_key(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is accepted".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// What precedes the 32 secret bytes of an Ed25519 key in PKCS #8 (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// What precedes the 32 public bytes in a SubjectPublicKeyInfo (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
