//! `seed backup` and `seed restore`: a whole copy of what a seed keeps, and its way back.

use std::path::PathBuf;

use tidings_runtime::DataDir;

use crate::commands::data::Data;
use crate::failure::Failure;
use crate::store::{Owner, backup, restore};

const BACKUP_HELP: &str = "\
The seed may be running. The copy holds tables and agreements, not the key of the seed.
Every row is checked; a damaged one fails the backup, and FILE is not made.

Exit codes: 0 done, 1 failed, 2 usage, 3 refused (FILE exists).";

/// Copy what a seed keeps to a file
#[derive(Debug, clap::Args)]
#[command(after_help = BACKUP_HELP)]
pub(crate) struct BackupArgs {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: Data,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

const RESTORE_HELP: &str = "\
The seed must not be running. A backup may be older than what the seed has promised since, so a
restored seed does not vote before it has learned what a majority of the others knows; when a
majority is restored, these begin with what they have. A backup of another seed of the same
cluster serves as well. The key of the seed is not touched.

Exit codes: 0 done, 1 failed (FILE is damaged), 2 usage, 3 refused (another cluster, or there is
something to be replaced already).";

/// Bring a backup back into the data directory of a seed
#[derive(Debug, clap::Args)]
#[command(after_help = RESTORE_HELP)]
pub(crate) struct RestoreArgs {
    /// A file made by `seed backup`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data: Data,
    /// Restore over what the seed keeps now
    #[arg(long)]
    replace: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn make(args: BackupArgs) -> Result<(), Failure> {
    let (_, directory) = args.data.find()?;
    backup(&directory, &args.file, !args.json)?.print("backed up to", args.json)
}

pub(crate) fn bring_back(args: RestoreArgs) -> Result<(), Failure> {
    let (config, directory) = args.data.find()?;
    let data = DataDir::open(&directory)?;
    let owner = Owner { cluster: config.cluster.name, node: data.key().node_id() };
    restore(&args.file, data.path(), &owner, args.replace, !args.json)?
        .print("restored to", args.json)
}
