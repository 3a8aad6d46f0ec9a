//! The dead and the hung are noticed, reported and dropped; the slow are not.

use std::time::{Duration, Instant};

use tidings_tests::cli;
use tidings_tests::cluster::{Cluster, Setup, alive, listing};
use tidings_tests::node::Node;
use tidings_tests::wait::{self, SOON};

/// Whether some peer logged that this one is dead, with the classic line.
fn accused(cluster: &Cluster, dead: &Node) -> bool {
    let start = format!("Dead Node:{}:", dead.listen());
    cluster.peer_events("dead_node").iter().any(|(reporter, line)| {
        let own = format!(":{}", cluster.peers[*reporter].listen());
        let classic = line.rest.strip_prefix(&start).and_then(|rest| rest.split(' ').next());
        classic.is_some_and(|rest| {
            let time = rest.strip_suffix(&own).unwrap_or_else(|| panic!("{line:?}"));
            time.parse::<f64>().is_ok_and(|time| time > 1.7e9)
        })
    })
}

fn live<'a>(cluster: &'a Cluster, without: &[usize]) -> Vec<&'a Node> {
    let peers = cluster.peers.iter().enumerate();
    peers.filter(|(i, _)| !without.contains(i)).map(|(_, peer)| peer).collect()
}

#[test]
fn a_killed_peer_is_reported_and_dropped_by_all_seeds() {
    let mut cluster = Setup::new(3, 10).alone().start();
    let mut controls = cluster.topic("Sports");
    cluster.wait_all_listed();
    let killed = Instant::now();
    cluster.peers[4].kill();
    let victim = cluster.peers[4].listen();

    wait::holds("a neighbour reports it", Duration::from_secs(5), || {
        accused(&cluster, &cluster.peers[4])
    });
    let rest = Duration::from_secs(8).saturating_sub(killed.elapsed());
    cluster.wait_listed(&live(&cluster, &[4]), rest);

    for (i, line) in cluster.peer_events("dead_node") {
        assert!(line.rest.contains(&format!("Dead Node:{victim}:")), "peer {i}: {line:?}");
        assert_eq!(line.level, "WARN");
    }
    let id = cluster.peers[4].id();
    for seed in &cluster.seeds {
        wait::holds("the topic index forgets it", SOON, || {
            !seed.page("/v1/topics").to_string().contains(id)
        });
    }
    verdict_is_shown(&cluster, id);
    let id = id.to_owned();
    let pages = |cluster: &Cluster| -> Vec<_> {
        cluster.seeds.iter().map(|seed| seed.page("/v1/deaths")).collect()
    };
    let before = pages(&cluster);
    cluster.seeds.iter_mut().for_each(Node::restart);
    assert_eq!(pages(&cluster), before, "all of it is kept over restarts");
    verdict_is_shown(&cluster, &id);
    controls[0].publish("Sports", "after");
    for (i, control) in controls.iter_mut().enumerate().filter(|(i, _)| *i != 4) {
        assert_eq!(control.pull_all("Sports", 1, SOON).len(), 1, "peer {i}");
    }
}

/// Each seed says who reported the dead peer, how its own probe went and who voted, on its page and
/// by `seed deaths`.
fn verdict_is_shown(cluster: &Cluster, dead: &str) {
    let seeds: Vec<&str> = cluster.seeds.iter().map(Node::id).collect();
    let peers: Vec<&str> = cluster.peers.iter().map(Node::id).collect();
    for seed in &cluster.seeds {
        let page = seed.page("/v1/deaths");
        let death = &page["items"][0];
        assert_eq!((&page["total"], &death["node"]), (&1.into(), &dead.into()), "{page}");
        let ids = |key: &str| -> Vec<String> {
            let ids = death[key].as_array().unwrap().iter();
            ids.map(|id| id.as_str().unwrap().to_owned()).collect()
        };
        let (reporters, voters) = (ids("reporters"), ids("voters"));
        assert!(voters.len() >= 2 && voters.iter().all(|id| seeds.contains(&&**id)), "{page}");
        let known = |id: &String| seeds.contains(&&**id) || peers.contains(&&**id);
        assert!(reporters.iter().all(|id| known(id) && id != dead), "{page}");
        if voters.iter().any(|id| id == seed.id()) {
            assert_eq!(death["probe"], "it answered no probe");
            assert!(!reporters.is_empty(), "{page}");
        }
        let http = seed.http_address().to_string();
        let shown = cli::program("seed", &["deaths", "--http", &http, "--json"]).expect_code(0);
        assert_eq!(shown.json(), page);
        let shown = cli::program("seed", &["deaths", "--http", &http]).expect_code(0).text();
        let line = shown.lines().nth(1).unwrap();
        assert!(line.contains(&dead[..10]) && line.contains(&voters[0][..10]), "{shown}");
    }
    let heard = cluster.seeds.iter().map(|seed| seed.page("/v1/deaths").to_string());
    assert!(heard.into_iter().any(|page| peers.iter().any(|id| *id != dead && page.contains(id))));
}

#[test]
fn of_two_peers_the_survivor_reports() {
    let mut cluster = Setup::new(4, 2).alone().start();
    cluster.wait_all_listed();
    cluster.peers[0].kill();
    wait::holds("the survivor reports", Duration::from_secs(5), || {
        accused(&cluster, &cluster.peers[0])
    });
    cluster.wait_listed(&live(&cluster, &[0]), Duration::from_secs(6));
}

#[test]
fn a_hung_peer_is_dropped_and_returns_as_a_newer_one() {
    let cluster = Setup::new(3, 2).alone().start();
    let mut controls = cluster.topic("Sports");
    cluster.wait_all_listed();
    let id = cluster.peers[1].id();
    let life = |seed: &Node| {
        let item = listing(seed, id).filter(|item| item["state"] == "alive");
        item.map_or(0, |item| item["incarnation"].as_u64().unwrap())
    };
    let former = life(&cluster.seeds[0]);

    cluster.peers[1].signal("STOP");
    wait::holds("the other reports it", Duration::from_secs(8), || {
        accused(&cluster, &cluster.peers[1])
    });
    cluster.wait_listed(&live(&cluster, &[1]), SOON);

    cluster.peers[1].signal("CONT");
    cluster.wait_listed(&live(&cluster, &[]), Duration::from_secs(15));
    wait::holds("its life is a newer one", SOON, || {
        cluster.seeds.iter().all(|seed| life(seed) > former)
    });
    cluster.wait_whole();
    for i in 0..2 {
        controls[i].publish("Sports", "again");
        for control in &mut controls {
            control.pull_all("Sports", 1, SOON);
        }
    }
}

#[test]
fn a_hung_peer_of_ten_is_dropped_and_returns() {
    let cluster = Setup::new(3, 10).alone().start();
    cluster.wait_all_listed();
    cluster.peers[7].signal("STOP");
    wait::holds("a neighbour reports it", Duration::from_secs(8), || {
        accused(&cluster, &cluster.peers[7])
    });
    cluster.wait_listed(&live(&cluster, &[7]), SOON);
    cluster.peers[7].signal("CONT");
    cluster.wait_listed(&live(&cluster, &[]), Duration::from_secs(15));
    cluster.wait_whole();
}

#[test]
fn a_pause_of_two_seconds_evicts_nobody() {
    let cluster = Setup::new(3, 5).alone().start();
    cluster.wait_all_listed();
    let everybody = || {
        let listed = |seed: &Node| alive(seed).is_some_and(|peers| peers.len() == 5);
        cluster.seeds.iter().all(listed)
    };
    cluster.peers[2].signal("STOP");
    wait::stays("every seed lists everybody", Duration::from_secs(2), everybody);
    cluster.peers[2].signal("CONT");
    wait::stays("every seed lists everybody", Duration::from_secs(6), everybody);
    assert_eq!(cluster.peer_events("dead_node"), []);
}

#[test]
fn an_idle_cluster_accuses_nobody() {
    let cluster = Cluster::start(3, 8);
    cluster.wait_all_listed();
    wait::stays("nobody is accused", Duration::from_secs(12), || {
        cluster.peer_events("dead_node").is_empty()
    });
    cluster.wait_all_listed();
}
