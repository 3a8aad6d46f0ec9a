//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

/// Set by `scripts/test.sh`, which has built everything already.
const BUILT: &str = "TIDINGS_TESTS_BUILT";

/// The folder of the programs `seed` and `peer`: that of the running test, so `cargo test` tests
/// debug builds and `cargo test --release` release builds.
///
/// The first call in a process brings them up to date; cargo's own lock keeps several test
/// processes from building at once.
///
/// # Panics
/// When they cannot be built.
pub fn folder() -> &'static Path {
    FOLDER.get_or_init(|| find().expect("the programs under test can be built"))
}

/// The programs are in this folder, and up to date.
///
/// # Panics
/// When others are in use already, or the folder is none.
pub fn use_folder(folder: &Path) {
    let folder = folder.canonicalize().expect("the folder of the programs exists");
    FOLDER.set(folder).expect("the folder is chosen before anything is started");
}

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the workspace")
}

fn find() -> Result<PathBuf> {
    let test = std::env::current_exe().context("the path of the running test")?;
    let is_there = |folder: &Path| ["seed", "peer"].iter().all(|name| folder.join(name).is_file());
    // A program of this package is beside those that it starts, and was built with them.
    if let Some(beside) = test.parent().filter(|beside| is_there(beside)) {
        return Ok(beside.to_owned());
    }
    let folder = test
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "deps"))
        .and_then(Path::parent)
        .context("a test runs from the deps folder of a target folder")?;
    if std::env::var_os(BUILT).is_none() || !is_there(folder) {
        build(folder)?;
    }
    Ok(folder.to_owned())
}

fn build(folder: &Path) -> Result<()> {
    let target = folder.parent().context("a profile folder is inside a target folder")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The whole workspace, as `cargo test` builds it: a part of it would choose other features of
    // dependencies, and build them twice.
    cargo.current_dir(workspace()).args(["build", "--quiet", "--workspace", "--bins"]);
    cargo.arg("--target-dir").arg(target);
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            cargo.args(["--profile", profile]);
        }
    }
    let status = cargo.status().context("cargo can be run")?;
    if !status.success() {
        bail!("{cargo:?} ended with {status}");
    }
    Ok(())
}
