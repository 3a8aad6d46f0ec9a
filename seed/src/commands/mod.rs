//! One file per command.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod config;
mod data;
pub(crate) mod deaths;
pub(crate) mod peers;
pub(crate) mod run;
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

/// Which part of a list is wanted.
#[derive(Debug, clap::Args)]
pub(crate) struct Part {
    /// Items at most, 1 to 1,000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Items to leave out
    #[arg(long, default_value_t = 0)]
    offset: u32,
}

impl Part {
    pub(crate) fn query(&self, filter: Option<&str>) -> String {
        let filter = client::encode(filter.unwrap_or_default());
        format!("?limit={}&offset={}&filter={filter}", self.limit, self.offset)
    }

    /// Tells people on stderr when there is more than they see.
    pub(crate) fn note(&self, shown: usize, total: usize) {
        if shown < total {
            eprintln!("{shown} of {total}, from {}; see --limit and --offset", self.offset);
        }
    }
}
