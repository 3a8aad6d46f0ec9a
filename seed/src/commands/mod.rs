//! One file per command.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod config;
mod data;
pub(crate) mod deaths;
pub(crate) mod forget;
mod list;
mod operator;
pub(crate) mod peers;
pub(crate) mod run;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod topics;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use tidings_runtime::{Config, Overrides};

use crate::client;
use crate::failure::Failure;

/// Which seed a command asks.
#[derive(Debug, clap::Args)]
pub(crate) struct Ask {
    /// HTTP address of the seed [default: the seeds of the configuration, in order]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Configuration file [default: config.toml, when there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Ask {
    /// The HTTP addresses to ask.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        if let Some(http) = self.http {
            return Ok(vec![http]);
        }
        let config = Config::load(self.config.as_deref(), &Overrides::new())?;
        let addresses: Vec<_> = config.seeds.iter().filter_map(|seed| seed.http).collect();
        if addresses.is_empty() {
            let message = "no seed of the configuration has an http address; name one with --http";
            return Err(Failure::usage(message));
        }
        Ok(addresses)
    }

    /// A page of the first seed that answers.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let mut failure = Failure::unreachable("no seed to ask");
        for address in self.addresses()? {
            match client::get(address, path).await {
                Ok(page) => return Ok(page),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}
