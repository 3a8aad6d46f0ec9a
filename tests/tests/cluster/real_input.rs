//! A real file through the programs as people use them: every line, once, in order, everywhere.

use std::fs;
use std::time::Duration;

use tidings_tests::cli::Background;
use tidings_tests::cluster::{Setup, topic_neighbors};
use tidings_tests::text;
use tidings_tests::wait::{self, SOON};

const LINES: usize = 12_000;
const SUBSCRIBERS: usize = 20;
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_file_of_twelve_thousand_lines_arrives_unchanged_at_twenty_subscribers() {
    let cluster = Setup::new(3, 1 + SUBSCRIBERS).alone().start();
    let (publisher, readers) = cluster.peers.split_first().unwrap();
    publisher.control().create("log");
    let count = LINES.to_string();
    let arguments = ["sub", "log", "--count", &count, "--raw"];
    let mut outputs: Vec<_> = readers
        .iter()
        .map(|peer| Background::peer(peer, &arguments, cluster.folder(), &peer.spec.name))
        .collect();
    wait::holds("every reader is subscribed and has a neighbour", SOON, || {
        readers.iter().all(|peer| topic_neighbors(&mut peer.control(), "log") > 0)
    });

    let text = text::lines(LINES);
    let file = cluster.folder().join("input.txt");
    fs::write(&file, &text).unwrap();
    let arguments = ["pub", "log", "--file", file.to_str().unwrap()];
    let mut publish = Background::peer(publisher, &arguments, cluster.folder(), "publisher");
    assert_eq!(publish.end(LIMIT), Some(0), "{}", publish.stderr());

    for (peer, output) in readers.iter().zip(&mut outputs) {
        let name = &peer.spec.name;
        assert_eq!(output.end(LIMIT), Some(0), "{name}: {}", output.stderr());
        let received = output.stdout();
        if received != text.as_bytes() {
            let at = received.iter().zip(text.as_bytes()).take_while(|(a, b)| a == b).count();
            panic!(
                "{name}: {} of {} bytes, the first difference at {at}",
                received.len(),
                text.len()
            );
        }
    }
}
