//! The corpora of the fuzzer, through the functions that the fuzzer calls: as they are, and
//! changed at random with fixed seeds.

use std::path::{Path, PathBuf};

use tidings_sim::fuzz::{Reach, TARGETS, mutate};
use tidings_sim::rng::Rng;

/// Changed copies of each file.
const COPIES: u64 = 20;
/// The least files of a corpus.
const FILES_MIN: usize = 20;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&directory).expect("a corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() >= FILES_MIN, "{} files in {}", paths.len(), directory.display());
    let read = |path: PathBuf| (path.clone(), std::fs::read(&path).expect("readable"));
    paths.into_iter().map(read).collect()
}

/// Replays a corpus; a panic names the file, and the copy if it is one.
fn replay(name: &str) -> Reach {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let mut reach = Reach::default();
    for (path, bytes) in corpus(name) {
        println!("{}", path.display());
        reach.add(target(&bytes));
        for copy in 0..COPIES {
            let mut rng = Rng::new(copy, &path.file_name().expect("a file").to_string_lossy());
            let mut changed = bytes.clone();
            mutate(&mut changed, &mut rng);
            println!("{} changed as number {copy}: {changed:?}", path.display());
            target(&changed);
        }
    }
    reach
}

#[test]
fn frames_are_read_or_refused() {
    let reach = replay("frames");
    assert!(reach.inputs >= 80, "{reach:?}");
}

#[test]
fn a_peer_survives_anything() {
    let reach = replay("peer");
    assert!(reach.inputs > 1_000 && reach.sent > 300 && reach.delivered > 30, "{reach:?}");
}

#[test]
fn a_seed_survives_anything() {
    let reach = replay("seed");
    assert!(reach.inputs > 1_000 && reach.sent > 300 && reach.records > 30, "{reach:?}");
}
