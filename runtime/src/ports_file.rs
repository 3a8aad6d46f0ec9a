//! The file by which scripts learn the ports of a node that was started with port 0.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidings_proto::NodeId;

/// What a serving node writes about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The node, 64 hexadecimal digits.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// The overlay address.
    pub listen: SocketAddr,
    /// The control address of a peer.
    pub control: Option<SocketAddr>,
    /// The HTTP address.
    pub http: Option<SocketAddr>,
}

impl Ports {
    /// The ports of this process.
    pub fn new(node: NodeId, listen: SocketAddr) -> Self {
        let pid = std::process::id();
        Self { node: node.to_string(), pid, listen, control: None, http: None }
    }

    /// What a node has written.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Writes the file atomically: a reader sees all of it or none.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        crate::data::write_atomically(path, text.as_bytes(), crate::data::Sync::No)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ports.json");
        std::fs::write(&path, "x".repeat(1_000)).unwrap();
        let mut ports = Ports::new(NodeId([7; 32]), "127.0.0.1:7101".parse().unwrap());
        ports.http = Some("127.0.0.1:8101".parse().unwrap());
        ports.write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("{\"node\":\"0707") && text.contains("\"control\":null"),
            "{text}"
        );
        assert_eq!(Ports::read(&path).unwrap(), ports);
        assert!(ports.write(&dir.path().join("missing/ports.json")).is_err());
    }
}
