//! Copies of the file that are known to be whole, and their way back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tidings_proto::seed::memory::Row;
use tidings_runtime::progress::{Progress, Steps};
use tidings_runtime::store::{StoreError, failed};

use super::file::{self, Owner, Read};
use super::table::ALL;
use super::{Checked, FILE};
use crate::failure::Failure;

/// Reads every row. How far it is can be `shown`.
pub(super) fn checked(
    opened: &Connection,
    path: &Path,
    shown: bool,
) -> Result<Checked, StoreError> {
    let at = |source| failed(path, source);
    let total = if shown { file::count(opened).map_err(at)? } else { 0 };
    let (progress, mut seen) = (Progress::new("reading", Steps::Count(total), shown), 0);
    let unowned = || StoreError::Foreign { path: path.to_owned() };
    let (cluster, node) = file::owner(opened, path)?.ok_or_else(unowned)?;
    let (mut rows, mut damaged, mut votes) = (BTreeMap::new(), BTreeMap::new(), false);
    for table in ALL {
        let (whole, broken) = (rows.entry(table.name).or_insert(0), &mut damaged);
        let mut last = i64::MIN;
        loop {
            let part = file::rows(opened, table, last, PART).map_err(at)?;
            let Some(end) = part.last() else { break };
            last = end.rowid;
            seen += part.len() as u64;
            progress.set(seen);
            for Read { row, .. } in part {
                match row {
                    Some(Row::Membership(of)) => {
                        votes = of.votes;
                        *whole += 1;
                    }
                    Some(_) => *whole += 1,
                    None => *broken.entry(table.name).or_insert(0) += 1,
                }
            }
        }
    }
    let votes = votes && damaged.is_empty();
    Ok(Checked { path: path.to_owned(), cluster, node, rows, damaged, votes })
}

/// Rows read at once.
const PART: usize = 1_000;

/// Copies what a seed keeps in `directory` to `target`, while the seed runs or not. The copy is
/// read again as a whole before it bears its name.
pub(crate) fn backup(directory: &Path, target: &Path, shown: bool) -> Result<Checked, Failure> {
    let source = directory.join(FILE);
    if target.exists() {
        return Err(Failure::refused(format!("{} exists already", target.display())));
    }
    let opened = file::FORMAT.open_to_read(&source)?;
    let beside = beside(target);
    let copied = copy(&opened, &source, &beside, shown).and_then(|checked| {
        std::fs::rename(&beside, target).map_err(|error| at(target, &error))?;
        sync_directory(target)?;
        Ok(Checked { path: target.to_owned(), ..checked })
    });
    tidy(copied, &beside)
}

fn copy(
    opened: &Connection,
    source: &Path,
    beside: &Path,
    shown: bool,
) -> Result<Checked, Failure> {
    let copying = Progress::new("copying", Steps::Unknown, shown);
    copying.beat();
    let name = beside.to_str().ok_or_else(|| Failure::usage("the path is not UTF-8"))?;
    opened.execute("VACUUM INTO ?1", [name]).map_err(|error| failed(source, error))?;
    drop(copying);
    let copy = file::FORMAT.open_to_read(beside)?;
    let checked = whole(checked(&copy, beside, shown)?)?;
    drop(copy);
    sync(beside)?;
    Ok(checked)
}

/// Brings a backup into the data directory of a seed that does not run. It may be older than what
/// the seed has promised since, and of another seed: the seed learns what the others know before
/// it votes.
pub(crate) fn restore(
    backup: &Path,
    directory: &Path,
    owner: &Owner,
    replace: bool,
    shown: bool,
) -> Result<Checked, Failure> {
    let opened = file::FORMAT.open_to_read(backup)?;
    let found = whole(checked(&opened, backup, shown)?)?;
    drop(opened);
    if found.cluster != owner.cluster {
        return Err(Failure::refused(format!(
            "{} is of cluster '{}', not of '{}'",
            backup.display(),
            found.cluster,
            owner.cluster
        )));
    }
    let target = directory.join(FILE);
    if target.exists() && !replace {
        let text = "exists already; --replace restores over it";
        return Err(Failure::refused(format!("{} {text}", target.display())));
    }
    let beside = beside(&target);
    let restored = bring(backup, &beside, &target, owner);
    tidy(restored.map(|()| Checked { path: target, votes: false, ..found }), &beside)
}

fn bring(backup: &Path, beside: &Path, target: &Path, owner: &Owner) -> Result<(), Failure> {
    std::fs::copy(backup, beside).map_err(|error| at(beside, &error))?;
    let opened = file::FORMAT.open(beside)?;
    let made = owner.write(&opened).and_then(|()| file::forbid_votes(&opened));
    made.map_err(|error| failed(beside, error))?;
    // Closing writes the log of the copy into it.
    opened.close().map_err(|(_, error)| failed(beside, error))?;
    sync(beside)?;
    // Without its log the former file would have forgotten promises and still vote; a seed without
    // any file learns. So the file goes first.
    for suffix in ["", "-wal", "-shm"] {
        remove(&with_suffix(target, suffix))?;
        sync_directory(target)?;
    }
    std::fs::rename(beside, target).map_err(|error| at(target, &error))?;
    sync_directory(target)
}

/// Makes it safe against a loss of power which files there are beside this one.
fn sync_directory(file: &Path) -> Result<(), Failure> {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => sync(directory),
        _ => sync(Path::new(".")),
    }
}

fn whole(checked: Checked) -> Result<Checked, Failure> {
    if checked.damaged.is_empty() {
        return Ok(checked);
    }
    let rows: usize = checked.damaged.values().sum();
    Err(Failure::failed(format!("{} is damaged: {rows} rows", checked.path.display())))
}

fn beside(path: &Path) -> PathBuf {
    with_suffix(path, &format!(".{}.tmp", std::process::id()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn sync(path: &Path) -> Result<(), Failure> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| at(path, &error))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, &error)),
        _ => Ok(()),
    }
}

/// Takes an unfinished copy away; the error that matters is the first one.
fn tidy(done: Result<Checked, Failure>, beside: &Path) -> Result<Checked, Failure> {
    if done.is_err() {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(with_suffix(beside, suffix));
        }
    }
    done
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}
