//! What seeds acknowledged is there after all of them were killed, and a disk that cannot be
//! written ends a seed with a clear word.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tidings_tests::cli;
use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::node::Node;
use tidings_tests::wait;
use tidings_tests::{binaries, http};

/// From the start of all seeds to a cluster that is whole again, on a slow and busy machine.
const BACK: Duration = Duration::from_secs(60);

const TOPICS: usize = 40;

fn names(seed: &Node) -> Option<Vec<String>> {
    let page = http::json(seed.http_address(), "/v1/topics?limit=1000").ok()?;
    let items = page["items"].as_array()?;
    Some(items.iter().filter_map(|item| Some(item["topic"].as_str()?.to_owned())).collect())
}

/// Everything that is told of a peer at a seed but what it was told after its start.
fn peers(seed: &Node) -> Option<Vec<String>> {
    let page = http::json(seed.http_address(), "/v1/peers?limit=1000").ok()?;
    let items = page["items"].as_array()?.iter();
    let text = |item: &serde_json::Value| {
        format!("{} {} {} {}", item["node"], item["incarnation"], item["name"], item["topics"])
    };
    let mut all: Vec<_> = items.map(text).collect();
    all.sort();
    Some(all)
}

#[test]
fn all_seeds_are_killed_at_once_and_know_everything_afterwards() {
    let mut cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    for n in 0..TOPICS {
        controls[n % 3].create(&format!("t/{n:02}"));
    }
    for (n, control) in controls.iter_mut().enumerate() {
        control.subscribe(&format!("t/{n:02}"));
    }
    // Deleted a moment before the end: it must not come back.
    controls[0].ok(&json!({"command": "delete_topic", "topic": "t/03"}));
    cluster.wait_all_listed();
    let known = wait::until("all seeds know the same", BACK, || {
        let known: Vec<_> = cluster.seeds.iter().map(peers).collect::<Option<_>>()?;
        known.iter().all(|of| *of == known[0]).then(|| known[0].clone())
    });
    // The peers are killed as well: nobody repeats anything to the seeds.
    for peer in &mut cluster.peers {
        peer.kill();
    }
    for seed in &mut cluster.seeds {
        seed.kill();
    }
    for seed in &mut cluster.seeds {
        seed.restart();
    }
    let expected: Vec<_> = (0..TOPICS).filter(|n| *n != 3).map(|n| format!("t/{n:02}")).collect();
    wait::passes("a majority has every topic and every registration", BACK, || {
        let whole = |seed: &&Node| {
            peers(seed).as_ref() == Some(&known) && names(seed).as_ref() == Some(&expected)
        };
        let count = cluster.seeds.iter().filter(whole).count();
        let found: Vec<_> = cluster.seeds.iter().map(|seed| (peers(seed), names(seed))).collect();
        if count >= 2 { Ok(()) } else { Err(format!("{known:?} {expected:?} {found:?}")) }
    });
    // Agreement goes on where it stood: the name of a living topic is taken.
    let peer = cluster.add_peer();
    cluster.peers.drain(..peer);
    let mut control = cluster.peers[0].control();
    wait::holds("the seeds answer", BACK, || tidings_tests::cluster::joined(&mut control));
    let create = |name: &str| json!({"command": "create_topic", "topic": name, "exist_ok": false});
    let (code, _) = control.refused(&create("t/01"));
    assert_eq!(code, "topic_exists");
    control.ok(&create("t/03"));
}

#[test]
fn a_backup_is_checked_and_brought_back_to_a_seed_that_lost_its_disk() {
    let mut cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    controls[0].create("news");
    let data = |cluster: &Cluster| cluster.seed_spec(1).data.display().to_string();
    wait::holds("the second seed knows the topic", BACK, || {
        names(&cluster.seeds[1]).is_some_and(|names| names == ["news"])
    });
    let (folder, config) = (data(&cluster), cluster.config().display().to_string());
    let file = cluster.folder().join("backup").display().to_string();
    let common = ["--data", &folder, "--config", &config, "--json"];
    let run = |words: &[&str]| cli::program("seed", &[words, &common].concat());
    let made = run(&["backup", &file]).expect_code(0).json();
    assert_eq!((made["rows"]["topic"].as_u64(), made["votes"].as_bool()), (Some(1), Some(true)));
    run(&["backup", &file]).expect_code(3);
    assert_eq!(run(&["check"]).expect_code(0).json()["damaged"], json!({}));
    // A seed that runs has its directory for itself.
    let busy = run(&["restore", &file]).expect_code(1);
    assert!(busy.stderr.contains("in use"), "{}", busy.stderr);

    cluster.seeds[1].kill();
    for name in ["seed.sqlite", "seed.sqlite-wal", "seed.sqlite-shm"] {
        // The log may have been written into the file already.
        let _ = fs::remove_file(format!("{folder}/{name}"));
    }
    let back = run(&["restore", &file]).expect_code(0).json();
    assert_eq!(back["votes"], json!(false));
    run(&["restore", &file]).expect_code(3);
    cluster.seeds[1].restart();
    wait::holds("it votes again, and knows the topic", BACK, || {
        // Once when the cluster was founded, and now.
        let votes = cluster.seeds[1].events("votes").len() == 2;
        votes && names(&cluster.seeds[1]).is_some_and(|names| names == ["news"])
    });
    // A backup of another cluster, and one that was changed, are refused.
    let other = cluster.folder().join("other.toml");
    fs::write(&other, cluster.config_text("other", "")).unwrap();
    let fresh = cluster.folder().join("fresh").display().to_string();
    let other = other.display().to_string();
    let words = ["restore", &file, "--data", &fresh, "--config", &other];
    let refused = cli::program("seed", &words).expect_code(3);
    assert!(refused.stderr.contains("of cluster 'local', not of 'other'"), "{}", refused.stderr);
    let mut bytes = fs::read(&file).unwrap();
    // All of them: one may be what a page held before.
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"news")).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at] = b'N');
    fs::write(&file, bytes).unwrap();
    let damaged = cli::program("seed", &["check", &file]).expect_code(1);
    assert!(damaged.stderr.contains("damaged"), "{}", damaged.stderr);
}

#[test]
fn a_seed_with_a_full_disk_ends_with_a_clear_word_and_loses_nothing() {
    let mut cluster = Setup::new(3, 2).start();
    let mut controls = cluster.controls();
    // No file of the second seed may grow beyond a few pages more than it needs to start.
    cluster.seeds[1].kill();
    let spec = cluster.seed_spec(1);
    let program = binaries::folder().join("seed").display().to_string();
    let script = format!(
        "trap '' XFSZ; ulimit -f 400; exec '{program}' run --listen {} --http {} --data '{}' \
         --config '{}' --log-dir '{}'",
        spec.listen,
        spec.http,
        spec.data.display(),
        spec.config.display(),
        spec.folder.display()
    );
    let mut made = 0;
    let ended = std::thread::scope(|scope| {
        let seed = scope.spawn(|| {
            let mut shell = std::process::Command::new("sh");
            cli::run_for(shell.args(["-c", &script]), b"", BACK * 2)
        });
        while !seed.is_finished() && made < 5_000 {
            controls[made % 2].create(&format!("topic/{made:06}/{}", "x".repeat(150)));
            made += 1;
        }
        seed.join().expect("a shell is run to its end")
    });
    let ended = ended.expect_code(1);
    let text = "what the seed keeps cannot be written, so it ends";
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
    println!("{made} topics were created until the disk was full");
    // With room it goes on, and learns what it missed.
    cluster.seeds[1].restart();
    wait::passes("it knows all topics", BACK, || {
        let page = http::json(cluster.seeds[1].http_address(), "/v1/topics?limit=1");
        let total = page.ok().and_then(|page| page["total"].as_u64());
        if total == Some(made as u64) { Ok(()) } else { Err(format!("{total:?} of {made}")) }
    });
}

#[test]
fn a_directory_that_cannot_be_written_and_a_file_of_somebody_else_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().display().to_string();
    let run = |data: &str| {
        let words = ["run", "--listen", "127.0.0.1:0", "--data", data, "--log-dir", &logs];
        cli::program("seed", &words).expect_code(1).stderr
    };
    // Nobody, not even the system's administrator, makes a directory there.
    let stderr = run("/proc/tidings-seed");
    assert!(stderr.contains("/proc/tidings-seed"), "{stderr}");
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("seed.sqlite"), "not a database, but a letter to somebody").unwrap();
    let stderr = run(&data.display().to_string());
    assert!(stderr.contains("seed.sqlite is damaged"), "{stderr}");
    let kept = fs::read(data.join("seed.sqlite")).unwrap();
    assert!(kept.starts_with(b"not a database"), "it is left as it was");
}
