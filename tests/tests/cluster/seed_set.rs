//! Seeds are added and removed while the cluster runs, and nothing that they knew is lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, joined};
use tidings_tests::control::Control;
use tidings_tests::node::{Node, Role, Spec, clean};
use tidings_tests::ports::Port;
use tidings_tests::{binaries, cli, wait};

/// A change of the set, or a rejoin, takes seconds at most on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// The last exit code that was expected of `seed set`, and what it printed.
fn set(cluster: &Cluster, by: &Node, words: &[&str], code: i32) -> cli::Ended {
    let mut command = clean(&binaries::folder().join("seed"));
    command.arg("set").args(words).arg("--json");
    command.arg("--data").arg(&by.spec.data).arg("--config").arg(cluster.config());
    cli::run_for(&mut command, b"", LIMIT).expect_code(code)
}

/// One more seed, of which no configuration knows. Its port is nobody else's while it is kept.
fn newcomer(cluster: &Cluster, number: usize) -> (Node, Port) {
    let port = Port::free();
    let folder = cluster.folder().join(format!("new-{number}"));
    let spec = Spec {
        name: format!("new-{number}"),
        role: Role::Seed,
        data: folder.join("data"),
        folder,
        config: cluster.config(),
        listen: port.address(),
        http: (Ipv4Addr::LOCALHOST, 0).into(),
        flags: Vec::new(),
    };
    (Node::start(spec), port)
}

fn addresses(view: &Value) -> Vec<SocketAddr> {
    let seeds = view["seeds"].as_array().expect("a list of seeds");
    seeds.iter().map(|seed| seed["addr"].as_str().unwrap().parse().unwrap()).collect()
}

fn add(cluster: &Cluster, by: &Node, new: &Node) -> Vec<SocketAddr> {
    let (addr, http) = (new.listen().to_string(), new.http_address().to_string());
    let view = set(cluster, by, &["add", &addr, &http], 0).json();
    assert_eq!(view["changing"], json!(false), "{view}");
    addresses(&view)
}

fn remove(cluster: &Cluster, by: &Node, addr: SocketAddr) -> Vec<SocketAddr> {
    let view = set(cluster, by, &["remove", &addr.to_string()], 0).json();
    assert_eq!(view["changing"], json!(false), "{view}");
    addresses(&view)
}

/// Whether a majority of the seeds says so of a topic.
fn knows(control: &mut Control, topic: &str) -> bool {
    let info = control.ask(&json!({"command": "topic_info", "topic": topic}));
    info["status"] == "ok" && info["confirmed"] == json!(true)
}

#[test]
fn all_seeds_are_replaced_one_after_the_other_and_every_record_is_still_read() {
    let mut cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    let mut topics: Vec<String> = (0..6).map(|n| format!("t/{n}")).collect();
    for (n, topic) in topics.iter().enumerate() {
        controls[n % 3].create(topic);
    }
    let first = cluster.seed_addresses();
    let mut seeds: Vec<(Node, Port)> = (0..2).map(|n| newcomer(&cluster, n)).collect();
    for seed in &seeds {
        wait::holds("it waits to be added", LIMIT, || seed.0.log().contains("NotInSet"));
    }
    assert_eq!(add(&cluster, &cluster.seeds[0], &seeds[0].0).len(), 4);
    assert_eq!(add(&cluster, &cluster.seeds[1], &seeds[1].0).len(), 5);
    set(&cluster, &cluster.seeds[0], &["add", &first[1].to_string()], 3);

    for (n, gone) in first.iter().enumerate() {
        cluster.seeds[n].kill();
        let topic = format!("after/{n}");
        wait::holds("a topic is created", LIMIT, || {
            let create = json!({"command": "create_topic", "topic": topic, "exist_ok": true});
            controls[n].ask(&create)["status"] == "ok"
        });
        topics.push(topic);
        assert_eq!(remove(&cluster, &seeds[n].0, *gone).len(), 4);
        seeds.push(newcomer(&cluster, n + 2));
        assert_eq!(add(&cluster, &seeds[n].0, &seeds[n + 2].0).len(), 5);
    }
    for topic in &topics {
        for control in &mut controls {
            wait::holds("every record is read", LIMIT, || knows(control, topic));
        }
    }
    let told = cluster.peers[0].log();
    assert!(told.contains(" seed_set "), "{told}");

    // A peer whose configuration names none but seeds that are gone joins all the same.
    drop(controls);
    cluster.peers[1].kill();
    cluster.peers[1].restart();
    let mut control = cluster.peers[1].control();
    wait::holds("it has joined", LIMIT, || joined(&mut control));
    wait::holds("it reads what was created before", LIMIT, || knows(&mut control, "t/0"));

    // So does a seed, and says that its configuration is not what holds.
    let back = &mut seeds[0].0;
    back.kill();
    back.restart();
    wait::holds("it is back in the set", LIMIT, || {
        tidings_tests::http::get(back.http_address(), "/readyz").is_ok_and(|(code, _)| code == 200)
    });
    assert_eq!(back.events("seed_set_differs").len(), 1, "{}", back.log());
}

#[test]
fn a_removed_seed_says_so_and_without_a_majority_nothing_changes() {
    let mut cluster = Cluster::start(3, 1);
    let data = cluster.folder().join("nobody");
    let mut command = clean(&binaries::folder().join("seed"));
    command.args(["set", "--json", "--data"]).arg(data).arg("--config").arg(cluster.config());
    cli::run(&mut command, b"").expect_code(1);

    let (seed, _port) = newcomer(&cluster, 0);
    add(&cluster, &cluster.seeds[0], &seed);
    let own = seed.listen();
    assert_eq!(remove(&cluster, &seed, cluster.seed_addresses()[0]).len(), 3);
    let removed = &cluster.seeds[0];
    wait::holds("the removed one says so", LIMIT, || removed.events("not_in_set").len() == 1);
    let ready = tidings_tests::http::get(removed.http_address(), "/readyz");
    assert_eq!(ready.map(|(code, _)| code).ok(), Some(503));
    let mut control = cluster.peers[0].control();
    wait::holds("the peer follows", LIMIT, || {
        let found = control.ok(&json!({"command": "seeds"}));
        let seeds = found["seeds"].as_array().unwrap();
        seeds.iter().any(|seed| seed["addr"] == own.to_string()) && joined(&mut control)
    });
    cluster.seeds[1].kill();
    cluster.seeds[2].kill();
    let added = cluster.seed_addresses()[0].to_string();
    wait::holds("two of three are known to be gone", LIMIT, || {
        let view = set(&cluster, &seed, &[], 0).json();
        let reachable = |seed: &&Value| seed["reachable"] == json!(true);
        view["seeds"].as_array().unwrap().iter().filter(reachable).count() == 1
    });
    set(&cluster, &seed, &["add", &added], 4);
}
