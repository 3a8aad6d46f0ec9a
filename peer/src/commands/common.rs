//! What the commands of topics and names have in common.

use serde_json::Value;
use tidings::control::{Done, Request};
use tidings_runtime::table;

use crate::cli::Control;
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) control: Control,
}

impl Common {
    /// Asks for a change that has nothing to show.
    pub(super) async fn change(&self, request: &Request, said: &str) -> Result<(), Failure> {
        self.control.connect().await?.call::<Value>(request).await?;
        if self.json {
            return Ok(table::print_json(&Done {})?);
        }
        eprintln!("{said}");
        Ok(())
    }
}
