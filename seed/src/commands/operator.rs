//! The way of an operator to a running seed of which one can read the key.

use std::net::SocketAddr;
use std::path::Path;

use tidings_proto::wire::frame::{AdminAnswer, AdminCommand, SetView};
use tidings_runtime::NodeKey;
use tidings_runtime::admin::{self, AdminError};
use tidings_runtime::data::KEY;
use tidings_runtime::ports_file::Ports;

use crate::commands::run::PORTS;
use crate::failure::Failure;

/// A seed of which one has the key.
pub(crate) struct Operator {
    key: NodeKey,
    address: SocketAddr,
    cluster: String,
}

impl Operator {
    /// That of the seed with this data directory.
    pub(crate) fn of(directory: &Path, cluster: String) -> Result<Self, Failure> {
        let key = NodeKey::load(&directory.join(KEY));
        let key = key.map_err(|error| Failure::failed(error.to_string()))?;
        let path = directory.join(PORTS);
        let ports = Ports::read(&path).map_err(|error| {
            let path = path.display();
            Failure::unreachable(format!("{path}: {error}; the seed has not run there yet"))
        })?;
        Ok(Self { key, address: ports.listen, cluster })
    }

    /// Looks whether another seed of the cluster is there. Returns which seeds it knows.
    pub(crate) async fn look(&self, address: SocketAddr) -> Result<SetView, Failure> {
        match admin::look(address, &self.key, &self.cluster).await {
            Ok(view) => Ok(view),
            Err(AdminError::Refused(text)) => Err(Failure::refused(format!("{address}: {text}"))),
            Err(error) => {
                let text = format!("no seed answers at {address}, start it first: {error}");
                Err(Failure::unreachable(text))
            }
        }
    }

    /// Asks the seed; `no_quorum` says what it means when too few seeds took part.
    pub(crate) async fn ask(
        &self,
        command: AdminCommand,
        no_quorum: &str,
    ) -> Result<AdminAnswer, Failure> {
        let address = self.address;
        match admin::ask(address, (&self.key, &self.cluster), command).await {
            Ok(AdminAnswer::Refused(text)) => Err(Failure::refused(text)),
            Ok(AdminAnswer::NoQuorum) => Err(Failure::unreachable(no_quorum)),
            Ok(answer) => Ok(answer),
            Err(AdminError::Refused(text)) => Err(Failure::refused(format!("{address}: {text}"))),
            Err(error) => {
                let text = format!("no answer from the seed at {address}: {error}");
                Err(Failure::unreachable(text))
            }
        }
    }
}
