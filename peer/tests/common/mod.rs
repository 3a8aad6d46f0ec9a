//! A peer without seeds and a raw connection to its control port.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidings::control::{Options, Server};
use tidings::{Config, Peer};
use tidings_runtime::config::SeedEntry;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Nothing on this host takes longer, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Lone {
    pub(crate) peer: Peer,
    pub(crate) data: TempDir,
}

/// A peer of a cluster without seeds: it is joined from the start.
pub(crate) async fn lone_peer() -> Lone {
    let lone = start(Vec::new()).await;
    lone.peer.wait_joined(PATIENCE).await.expect("joined without seeds");
    lone
}

/// A peer whose only seed does not answer.
pub(crate) async fn seedless_peer() -> Lone {
    let addr = "127.0.0.1:1".parse().expect("an address");
    start(vec![SeedEntry { addr, http: None }]).await
}

/// [`lone_peer`] with limits of its own.
pub(crate) async fn lone_peer_with(adjust: impl FnOnce(&mut Config)) -> Lone {
    start_with(Vec::new(), adjust).await
}

async fn start(seeds: Vec<SeedEntry>) -> Lone {
    start_with(seeds, |_| {}).await
}

async fn start_with(seeds: Vec<SeedEntry>, adjust: impl FnOnce(&mut Config)) -> Lone {
    let data = tempfile::tempdir().expect("a directory");
    let mut config = Config { seeds, ..Config::default() };
    config.peer.listen = "127.0.0.1:0".parse().expect("an address");
    config.peer.data = data.path().join("peer");
    config.peer.name = "lone".to_owned();
    adjust(&mut config);
    Lone { peer: Peer::join(config).await.expect("a peer"), data }
}

pub(crate) struct Port {
    pub(crate) lone: Lone,
    pub(crate) server: Server,
}

pub(crate) async fn port() -> Port {
    port_with(Options::default()).await
}

pub(crate) async fn port_with(options: Options) -> Port {
    port_of(lone_peer().await, options).await
}

pub(crate) async fn port_of(lone: Lone, options: Options) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Server::start(lone.peer.clone(), listener, options).expect("a server");
    Port { lone, server }
}

impl Port {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) async fn client(&self) -> Raw {
        Raw::connect(self.address()).await
    }
}

/// Bytes in, lines out.
pub(crate) struct Raw {
    pub(crate) reader: BufReader<OwnedReadHalf>,
    pub(crate) writer: OwnedWriteHalf,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (reader, writer) = TcpStream::connect(address).await.expect("open").into_split();
        Self { reader: BufReader::new(reader), writer }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// The next line as JSON; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let reading = self.reader.read_line(&mut line);
        let read = tokio::time::timeout(PATIENCE, reading).await.expect("in time");
        match read.expect("readable") {
            0 => None,
            _ => Some(serde_json::from_str(&line).expect("JSON")),
        }
    }

    /// The answer to one request.
    pub(crate) async fn ask(&mut self, request: &str) -> Value {
        self.send(format!("{request}\n")).await;
        self.line().await.expect("an answer")
    }

    /// Asks for something that must be done.
    pub(crate) async fn done(&mut self, request: &str) -> Value {
        let answer = self.ask(request).await;
        assert_eq!(answer["status"], "ok", "{request} -> {answer}");
        answer
    }

    /// The code of a refusal.
    pub(crate) async fn refused(&mut self, request: &str) -> String {
        let answer = self.ask(request).await;
        assert_eq!(answer["status"], "error", "{request} -> {answer}");
        assert!(answer["message"].as_str().is_some_and(|text| !text.is_empty()));
        answer["code"].as_str().expect("a code").to_owned()
    }

    /// Ends as a killed client does that had something to read left.
    pub(crate) fn reset(self) {
        let stream = self.reader.into_inner().reunite(self.writer).expect("halves of one");
        let linger = Some(Duration::ZERO);
        socket2::SockRef::from(&stream).set_linger(linger).expect("a socket");
    }

    /// Ends the input; all answers that come then.
    pub(crate) async fn finish(mut self) -> Vec<Value> {
        self.writer.shutdown().await.expect("open");
        let rest = self.rest().await;
        let lines = String::from_utf8(rest).expect("UTF-8");
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Everything until the other end closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let reading = self.reader.read_to_end(&mut rest);
        tokio::time::timeout(PATIENCE, reading).await.expect("in time").expect("readable");
        rest
    }
}
