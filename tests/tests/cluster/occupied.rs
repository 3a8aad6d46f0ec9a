//! What is in use already is refused with a clear word and an exit code.

use std::net::TcpListener;

use tidings_tests::cli;
use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::node::Spec;

#[track_caller]
fn fails_naming(spec: &Spec, what: &str) {
    let ended = cli::run(&mut spec.command(), b"");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(what), "{what} is not named: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn an_occupied_port_is_refused() {
    let mut cluster = Setup::new(1, 0).launch();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = address.to_string();

    let mut listen = cluster.peer_spec();
    listen.listen = address;
    fails_naming(&listen, &text);
    let mut http = cluster.peer_spec();
    http.http = address;
    fails_naming(&http, &text);
    let mut control = cluster.peer_spec();
    control.flags = vec!["--control".to_owned(), text.clone()];
    fails_naming(&control, &text);

    let mut seed = cluster.seed_spec(0);
    seed.folder = cluster.folder().join("second");
    seed.data = seed.folder.join("data");
    fails_naming(&seed, &cluster.seeds[0].listen().to_string());
}

#[test]
fn a_data_folder_belongs_to_one_process() {
    let mut cluster = Cluster::start(1, 1);
    let mut second = cluster.peer_spec();
    second.data = cluster.peers[0].spec.data.clone();
    fails_naming(&second, &second.data.display().to_string());
    fails_naming(&second, "in use");
}
