//! `seed check`: reads every row of what a seed keeps.

use std::path::PathBuf;

use tidings_runtime::table::print_json;

use crate::commands::data::Data;
use crate::failure::Failure;
use crate::store::{Checked, FILE, check};

const HELP: &str = "\
The seed may be running. Nothing is changed: a seed that starts with damaged rows drops them, and
learns what is missing from the others before it votes.

Exit codes: 0 every row is whole, 1 rows are damaged or the file cannot be read, 2 usage.";

/// Read every row of what a seed keeps, or of a backup, and say whether it is whole
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// A backup, instead of the data directory
    #[arg(value_name = "FILE", conflicts_with_all = ["data", "listen"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let path = match args.file {
        Some(file) => file,
        None => args.data.find()?.1.join(FILE),
    };
    let checked = check(&path, !args.json)?;
    let damaged: usize = checked.damaged.values().sum();
    checked.print("checked", args.json)?;
    if damaged > 0 {
        return Err(Failure::failed(format!("{} is damaged: {damaged} rows", path.display())));
    }
    Ok(())
}

impl Checked {
    /// For people or for scripts.
    pub(crate) fn print(&self, what: &str, json: bool) -> Result<(), Failure> {
        if json {
            return Ok(print_json(&serde_json::json!({
                "path": self.path,
                "cluster": self.cluster,
                "node": self.node,
                "votes": self.votes,
                "rows": self.rows,
                "damaged": self.damaged,
            }))?);
        }
        let mut out = format!(
            "{what} {}: seed {} of cluster '{}', {}\n",
            self.path.display(),
            self.node,
            self.cluster,
            if self.votes { "votes" } else { "learns from others before it votes" }
        );
        for (table, rows) in &self.rows {
            let damaged = self.damaged.get(table).copied().unwrap_or(0);
            let damaged = if damaged > 0 { format!(", {damaged} damaged") } else { String::new() };
            out.push_str(&format!("  {table:<12} {rows:>9} rows{damaged}\n"));
        }
        use std::io::Write as _;
        Ok(std::io::stdout().write_all(out.as_bytes())?)
    }
}
