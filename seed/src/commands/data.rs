//! Which data directory a command works on.

use std::net::SocketAddr;
use std::path::PathBuf;

use tidings_runtime::{Config, Overrides};

use crate::commands::run::listen_address;
use crate::failure::Failure;

/// Which data directory a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct Data {
    /// Data directory of the seed [default: data/seed-PORT]
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Address that the seed listens on, which names its data directory [default: the first seed
    /// of the configuration]
    #[arg(long, value_name = "ADDR", conflicts_with = "data", global = true)]
    listen: Option<SocketAddr>,
    /// Configuration file [default: config.toml, when there is one]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl Data {
    /// The configuration and the directory.
    pub(crate) fn find(self) -> Result<(Config, PathBuf), Failure> {
        let config = Config::load(self.config.as_deref(), &Overrides::new())?;
        let directory = match self.data {
            Some(directory) => directory,
            None => config.seed_data(listen_address(&config, self.listen)?.port()),
        };
        Ok((config, directory))
    }
}
