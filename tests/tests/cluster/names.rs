//! Names belong to one peer of the cluster each.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cli;
use tidings_tests::cluster::{Cluster, REJOIN, Setup, joined};
use tidings_tests::wait::{self, SOON};

fn command(command: &str, name: &str) -> Value {
    json!({"command": command, "name": name})
}

#[test]
fn of_peers_that_register_a_name_at_once_one_has_it() {
    let cluster = Cluster::start(3, 5);
    for round in 0..5 {
        let name = format!("race {round}");
        let answers = cluster.all_at_once(&command("register", &name));
        let won = |answer: &&Value| answer["status"] == "ok";
        assert_eq!(answers.iter().filter(won).count(), 1, "{answers:?}");
        let winner = answers.iter().position(|answer| won(&answer)).unwrap();
        let host = cluster.peers[winner].id();
        assert_eq!(
            (&answers[winner]["name"], &answers[winner]["host"]),
            (&json!(name), &json!(host))
        );
        for answer in answers.iter().filter(|answer| !won(answer)) {
            let taken = format!("Name '{name}' is taken by {host}");
            let why = (answer["code"].as_str(), answer["message"].as_str());
            assert_eq!(why, (Some("name_taken"), Some(taken.as_str())));
        }
        for control in &mut cluster.controls() {
            assert_eq!(control.ok(&command("name_info", &name))["host"], host);
        }
    }
}

#[test]
fn a_name_is_given_up_by_its_peer_alone_and_is_no_topic() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    for _ in 0..2 {
        controls[0].ok(&command("register", "team/ada"));
    }
    let again = json!({"command": "register", "name": "team/ada", "exist_ok": false});
    assert_eq!(controls[0].refused(&again).0, "name_taken");
    let (code, message) = controls[1].refused(&command("unregister", "team/ada"));
    assert_eq!(code, "not_host");
    assert!(message.contains(cluster.peers[0].id()), "{message}");

    controls[1].ok(&command("register", "bob"));
    let listed = |control: &mut tidings_tests::control::Control, filter: &str| {
        let names = control.ok(&json!({"command": "names", "filter": filter}))["names"].clone();
        let names = names.as_array().unwrap().iter();
        names.map(|name| name["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    wait::holds("both are listed", SOON, || listed(&mut controls[0], "") == ["bob", "team/ada"]);
    assert_eq!(listed(&mut controls[0], "team/#"), ["team/ada"]);
    let topics = controls[0].ok(&json!({"command": "list_topics", "filter": "#"}));
    assert_eq!(topics["total"], 0, "{topics}");
    for name in ["publish", "subscribe", "create_topic", "delete_topic"] {
        let request = json!({"command": name, "topic": "$name/bob", "message": "text"});
        assert_eq!(controls[0].refused(&request).0, "bad_topic", "{name}");
    }
    for name in ["", "a+b", "#", &"x".repeat(65)] {
        assert_eq!(controls[0].refused(&command("register", name)).0, "bad_request", "{name:?}");
    }

    controls[0].ok(&command("unregister", "team/ada"));
    for name in ["unregister", "name_info"] {
        let (code, message) = controls[1].refused(&command(name, "team/ada"));
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("name_not_found", "Name 'team/ada' not found")
        );
    }
    let next = controls[1].ok(&command("register", "team/ada"));
    assert_eq!((&next["host"], &next["generation"]), (&json!(cluster.peers[1].id()), &json!(2)));
}

#[test]
fn a_name_outlives_a_restart_and_passes_on_when_its_peer_is_gone_for_good() {
    let orphans = "[seed]\ntopic_orphan_after = \"5s\"\n";
    let mut cluster = Setup::new(3, 2).config(orphans).start();
    let mut controls = cluster.controls();
    controls[0].ok(&command("register", "ada"));
    cluster.peers[0].kill();
    cluster.peers[0].restart();
    let mut first = cluster.peers[0].control();
    wait::holds("it has its name still", SOON, || {
        let info = first.ask(&command("name_info", "ada"));
        info["host"] == cluster.peers[0].id() && info["confirmed"] == true
    });
    first.ok(&command("register", "ada"));
    assert_eq!(controls[1].refused(&command("register", "ada")).0, "name_taken");

    cluster.peers[0].kill();
    wait::holds("another one may have it", Duration::from_secs(60), || {
        controls[1].ask(&command("register", "ada"))["status"] == "ok"
    });
    cluster.peers[0].restart();
    let mut first = cluster.peers[0].control();
    let new = cluster.peers[1].id();
    wait::holds("who was away knows it", SOON, || {
        first.ask(&command("name_info", "ada"))["host"] == new
    });
    assert_eq!(first.refused(&command("register", "ada")).0, "name_taken");
}

#[test]
fn names_on_the_command_line() {
    let cluster = Cluster::start(3, 2);
    let (ada, bob) = (&cluster.peers[0], &cluster.peers[1]);
    let shown = cli::peer(ada, &["name", "register", "ada"]).expect_code(0).text();
    assert!(shown.contains(ada.id()) && shown.contains("hosted"), "{shown}");
    cli::peer(ada, &["name", "register", "ada"]).expect_code(0);
    cli::peer(ada, &["name", "register", "ada", "--new"]).expect_code(3);
    cli::peer(bob, &["name", "register", "ada"]).expect_code(3);
    cli::peer(bob, &["name", "register", "a+"]).expect_code(2);
    let info = cli::peer(bob, &["name", "info", "ada", "--json"]).expect_code(0).json();
    let address = ada.listen().to_string();
    assert_eq!((&info["state"], &info["host_addr"]), (&json!("hosted"), &json!(address)));
    wait::holds("it is listed", SOON, || {
        cli::peer(bob, &["name", "list"]).expect_code(0).text().contains("ada")
    });
    cli::peer(bob, &["name", "unregister", "ada"]).expect_code(3);
    cli::peer(ada, &["name", "unregister", "ada"]).expect_code(0);
    cli::peer(bob, &["name", "info", "ada"]).expect_code(3);
}

#[test]
fn without_a_majority_no_name_changes_hands() {
    let mut cluster = Cluster::start(3, 2);
    let mut controls = cluster.controls();
    controls[0].ok(&command("register", "ada"));
    for seed in &mut cluster.seeds[..2] {
        seed.kill();
    }
    for (control, name) in [(0, "new"), (1, "ada")] {
        assert_eq!(controls[control].refused(&command("register", name)).0, "no_quorum");
    }
    assert_eq!(controls[0].refused(&command("unregister", "ada")).0, "no_quorum");
    for seed in &mut cluster.seeds[..2] {
        seed.restart();
    }
    wait::holds("it is given up", REJOIN, || {
        controls[0].ask(&command("unregister", "ada"))["status"] == "ok"
    });
    // It dials the seeds at its own pace: the first peer may be far ahead of it.
    wait::holds("the other one has joined again", REJOIN, || joined(&mut controls[1]));
    controls[1].ok(&command("register", "ada"));
}
