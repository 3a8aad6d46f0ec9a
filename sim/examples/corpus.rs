//! Makes the beginnings of the fuzzer's corpora: `cargo run -p tidings-sim --example corpus`.
//!
//! For frames, those of a small simulated run. For machines, of many random scripts those that
//! reach further than all before them. What the fuzzer finds is added by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use tidings_proto::wire::codec;
use tidings_proto::wire::frame::Frame;
use tidings_sim::cluster::{Options, Tap, run};
use tidings_sim::fuzz::{Reach, TARGETS, mutate};
use tidings_sim::rng::{Rng, bytes32};
use tidings_sim::scenario::{Overrides, Scenario};

/// Frames of each kind.
const FRAMES: usize = 2;
/// Files longer than this teach nothing that shorter ones do not.
const BYTES_MAX: usize = 4_000;
/// Scripts that are tried, the first of them at random.
const SCRIPTS: u64 = 30_000;
const FRESH: u64 = 4_000;
/// The longest of them.
const SCRIPT_BYTES_MAX: usize = 600;
/// As many of the best are kept.
const FILES: usize = 40;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, files) in
        [("frames", frames()?), ("peer", scripts("peer")), ("seed", scripts("seed"))]
    {
        let directory = root.join(name);
        std::fs::create_dir_all(&directory).with_context(|| format!("making {name}"))?;
        for (number, bytes) in files.iter().enumerate() {
            let path = directory.join(format!("made-{number:02}"));
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        println!("{name}: {} files", files.len());
    }
    Ok(())
}

/// The first frames of each kind in a small run, and a few of them behind each other.
fn frames() -> anyhow::Result<Vec<Vec<u8>>> {
    let found: Arc<Mutex<BTreeMap<u8, Vec<Vec<u8>>>>> = Arc::default();
    let into = Arc::clone(&found);
    let tap = Tap::new(move |frame: &Frame| {
        let encoded = codec::encode(frame);
        let bytes = [&encoded.head[..], &encoded.tail[..]].concat();
        let mut found = into.lock().expect("nobody panics");
        let kind = found.entry(bytes[codec::LENGTH_BYTES]).or_default();
        if kind.len() < FRAMES && bytes.len() < BYTES_MAX && !kind.contains(&bytes) {
            kind.push(bytes);
        }
    });
    let sizes = Overrides { peers: Some(12), ..Overrides::default() };
    let scenario = Scenario::load("seeds")?.with(sizes)?;
    run(&scenario, 1, Options { tap: Some(tap), ..Options::default() });
    let found = found.lock().expect("nobody panics");
    let mut files: Vec<Vec<u8>> = found.values().flatten().cloned().collect();
    files.push(files.iter().take(8).flatten().copied().collect());
    Ok(files)
}

/// Random scripts and changes of the best of them, of which those are kept that do something more
/// often than all before.
fn scripts(name: &str) -> Vec<Vec<u8>> {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let mut best = Reach::default();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for number in 0..SCRIPTS {
        let mut rng = Rng::new(number, name);
        let mut bytes: Vec<u8> = if number < FRESH {
            let length = rng.between(20, 200);
            (0..length).flat_map(|n| bytes32(number, name, n)[..1].to_vec()).collect()
        } else {
            kept[rng.index(kept.len())].clone()
        };
        mutate(&mut bytes, &mut rng);
        if bytes.len() > SCRIPT_BYTES_MAX {
            continue;
        }
        let reach = target(&bytes);
        // Inputs are no merit: time alone makes them.
        let further = reach.sent > best.sent
            || reach.delivered > best.delivered
            || reach.records > best.records;
        if further {
            best.sent = best.sent.max(reach.sent);
            best.delivered = best.delivered.max(reach.delivered);
            best.records = best.records.max(reach.records);
            kept.push(bytes);
        }
    }
    println!("{name}: {best:?}, {} found", kept.len());
    kept.split_off(kept.len().saturating_sub(FILES))
}
