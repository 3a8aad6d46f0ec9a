//! A list of a seed: which part of which, and how it is printed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_runtime::table::{Table, print_json};

use crate::client;
use crate::commands::Ask;
use crate::failure::Failure;
use crate::http::views::Items;

/// Which part of a list is wanted, and of which seed.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    ask: Ask,
    /// Items at most, 1 to 1,000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// Items to leave out
    #[arg(long, default_value_t = 0)]
    offset: u32,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl List {
    /// Prints the items of a page that match: a row each under the head, or JSON.
    pub(super) async fn show<T: DeserializeOwned + Serialize, const N: usize>(
        self,
        page: &str,
        filter: Option<&str>,
        head: [&'static str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> Result<(), Failure> {
        let filter = client::encode(filter.unwrap_or_default());
        let Self { ask, limit, offset, json } = self;
        let path = format!("{page}?limit={limit}&offset={offset}&filter={filter}");
        let found: Items<T> = ask.get(&path).await?;
        if json {
            return Ok(print_json(&found)?);
        }
        let mut table = Table::new(head);
        found.items.iter().for_each(|item| table.row(row(item)));
        table.print()?;
        let (shown, total) = (found.items.len(), found.total);
        if shown < total {
            eprintln!("{shown} of {total}, from {offset}; see --limit and --offset");
        }
        Ok(())
    }
}
