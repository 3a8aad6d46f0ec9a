//! Peers that are gone are taken off the lists by people, and those that are there are not.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Setup, alive, listing};
use tidings_tests::node::{Node, clean};
use tidings_tests::wait::{self, SOON};
use tidings_tests::{binaries, cli};

/// Some attempts of 10 s each.
const LIMIT: Duration = Duration::from_secs(60);

/// `seed forget`, by who has the key of that seed.
fn by_seed(cluster: &Cluster, seed: usize, who: &str) -> cli::Ended {
    let mut command: Command = clean(&binaries::folder().join("seed"));
    command.args(["forget", who, "--json", "--data"]).arg(&cluster.seeds[seed].spec.data);
    cli::run(command.arg("--config").arg(cluster.config()), b"")
}

/// Until it is done: where nothing moves for seconds, seeds do not agree in the time they have.
fn until_done(forget: impl Fn() -> cli::Ended) -> Value {
    let done = || Some(forget()).filter(|ended| ended.code != Some(4));
    wait::until("a majority of the seeds has looked", LIMIT, done).expect_code(0).json()
}

/// How many seeds answer and do not list it.
fn unlisted(cluster: &Cluster, id: &str) -> usize {
    let lists_not = |seed: &&Node| alive(seed).is_some() && listing(seed, id).is_none();
    cluster.seeds.iter().filter(lists_not).count()
}

#[test]
fn who_is_gone_is_forgotten_and_who_answers_is_not() {
    let mut cluster = Setup::new(3, 5).start();
    cluster.wait_all_listed();
    let named = |node: &Node| (node.id().to_owned(), node.listen().to_string());
    let (id, addr) = named(&cluster.peers[4]);

    let told = cli::peer(&cluster.peers[0], &["forget", &addr]).expect_code(3).stderr;
    assert!(told.contains("answers"), "{told}");
    let told = by_seed(&cluster, 1, &id).expect_code(3).stderr;
    assert!(told.contains("answers"), "{told}");
    for nobody in ["127.0.0.1:1", "nobody", "00000000"] {
        let told = cli::peer(&cluster.peers[0], &["forget", nobody]).expect_code(3).stderr;
        assert!(told.contains("no peer is listed") && told.contains(nobody), "{told}");
        by_seed(&cluster, 0, nobody).expect_code(3);
    }
    let seed = cluster.seeds[0].listen().to_string();
    let told = cli::peer(&cluster.peers[0], &["forget", &seed]).expect_code(3).stderr;
    assert!(told.contains("seed set remove"), "{told}");

    // One that hangs is suspect or not yet, and one that died is listed as dead.
    cluster.peers[4].signal("STOP");
    let forgotten = until_done(|| by_seed(&cluster, 2, &addr));
    assert_eq!(
        (&forgotten["peer"]["node"], &forgotten["peer"]["addr"]),
        (&json!(id), &json!(addr))
    );
    assert!(unlisted(&cluster, &id) >= 2, "a majority of the seeds lists it no more");
    wait::holds("none lists it", SOON, || unlisted(&cluster, &id) == 3);
    cluster.peers[4].signal("CONT");
    wait::holds("it returns with a later life", SOON, || {
        cluster
            .seeds
            .iter()
            .all(|seed| listing(seed, &id).is_some_and(|item| item["state"] == "alive"))
    });

    let (id, addr) = named(&cluster.peers[3]);
    cluster.peers[3].kill();
    wait::holds("it is listed as dead", SOON, || {
        cluster
            .seeds
            .iter()
            .all(|seed| listing(seed, &id).is_some_and(|item| item["state"] == "dead"))
    });
    let forget = ["forget", &id[..10], "--json"];
    let shown = until_done(|| cli::peer(&cluster.peers[0], &forget));
    let expected = json!({"addr": addr, "state": "dead"});
    let peer = &shown["peer"];
    assert_eq!(json!({"addr": peer["addr"], "state": peer["state"]}), expected, "{shown}");
    assert!(unlisted(&cluster, &id) >= 2);
    let events = |seed: &Node| seed.events("forgotten").len();
    wait::holds("each seed says so", SOON, || cluster.seeds.iter().all(|s| events(s) == 2));

    // Those that took part remember it over a restart.
    cluster.seeds[0].kill();
    cluster.seeds[0].restart();
    wait::holds("the seed is back", SOON, || {
        listing(&cluster.seeds[0], cluster.peers[0].id()).is_some()
    });
    assert_eq!(unlisted(&cluster, &id), 3);
}

#[test]
fn a_minority_forgets_nobody() {
    let mut cluster = Setup::new(3, 3).start();
    cluster.wait_all_listed();
    let addr = cluster.peers[2].listen().to_string();
    cluster.seeds[1].kill();
    cluster.seeds[2].kill();
    cluster.peers[2].kill();
    wait::holds("the seed knows that it is alone", SOON, || {
        by_seed(&cluster, 0, &addr).code == Some(4)
    });
    let told = cli::peer(&cluster.peers[0], &["forget", &addr]).expect_code(4).stderr;
    assert!(told.contains("seeds answered"), "{told}");
    assert_eq!(unlisted(&cluster, cluster.peers[2].id()), 0);
    let mut control = cluster.peers[0].control();
    let (code, _) = control.refused(&json!({"command": "forget", "peer": addr}));
    assert_eq!(code, "no_quorum");
    let (code, _) = control.refused(&json!({"command": "forget"}));
    assert_eq!(code, "bad_request");
}
