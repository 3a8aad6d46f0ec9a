//! Seeds are added and removed while the cluster runs and applications work: nothing fails, and
//! nothing that was acknowledged is lost.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};
use tidings_proto::wire::frame::{AdminAnswer, AdminCommand, Frame, Purpose, Role};
use tidings_proto::wire::record::SeedPlace;
use tidings_proto::{NodeId, RequestId};
use tidings_tests::cluster::{Cluster, joined};
use tidings_tests::control::Control;
use tidings_tests::node::{Node, Spec, clean};
use tidings_tests::ports::Port;
use tidings_tests::stranger::Stranger;
use tidings_tests::{binaries, cli, http, node, wait};

/// A change of the set, or a rejoin, takes seconds at most on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(90);
/// An application pauses so long between two calls.
const PAUSE: Duration = Duration::from_millis(20);

/// `seed set`, by who has the key of a seed.
fn set(cluster: &Cluster, by: &Node, words: &[&str], code: i32) -> cli::Ended {
    let mut command = clean(&binaries::folder().join("seed"));
    command.arg("set").args(words).arg("--json");
    command.arg("--data").arg(&by.spec.data).arg("--config").arg(cluster.config());
    cli::run_for(&mut command, b"", LIMIT).expect_code(code)
}

/// A config file that names these seeds.
fn config(cluster: &Cluster, name: &str, cluster_name: &str, seeds: &[SocketAddr]) -> PathBuf {
    let mut text = format!("[cluster]\nname = \"{cluster_name}\"\n");
    seeds.iter().for_each(|seed| text.push_str(&format!("[[seeds]]\naddr = \"{seed}\"\n")));
    let path = cluster.folder().join(format!("{name}.toml"));
    fs::write(&path, text).expect("the folder of the test can be written");
    path
}

/// A seed that no configuration names. Its port is nobody else's while it is kept.
fn newcomer(cluster: &Cluster, name: &str, config: PathBuf) -> (Node, Port) {
    let port = Port::free();
    let folder = cluster.folder().join(name);
    let spec = Spec {
        name: name.to_owned(),
        role: node::Role::Seed,
        data: folder.join("data"),
        folder,
        config,
        listen: port.address(),
        http: (Ipv4Addr::LOCALHOST, 0).into(),
        flags: Vec::new(),
        through: Vec::new(),
    };
    (Node::start(spec), port)
}

fn addresses(view: &Value) -> Vec<SocketAddr> {
    assert_eq!(view["changing"], json!(false), "{view}");
    let seeds = view["seeds"].as_array().expect("a list of seeds");
    seeds.iter().map(|seed| seed["addr"].as_str().unwrap().parse().unwrap()).collect()
}

fn add(cluster: &Cluster, by: &Node, new: &Node) -> Vec<SocketAddr> {
    let (addr, http) = (new.listen().to_string(), new.http_address().to_string());
    addresses(&set(cluster, by, &["add", &addr, &http], 0).json())
}

fn remove(cluster: &Cluster, by: &Node, addr: SocketAddr) -> Vec<SocketAddr> {
    addresses(&set(cluster, by, &["remove", &addr.to_string()], 0).json())
}

/// Whether a majority of the seeds says so of a topic.
fn knows(control: &mut Control, topic: &str) -> bool {
    let info = control.ask(&json!({"command": "topic_info", "topic": topic}));
    info["status"] == "ok" && info["confirmed"] == json!(true)
}

fn is_ready(seed: &Node) -> bool {
    http::get(seed.http_address(), "/readyz").is_ok_and(|(code, _)| code == 200)
}

/// What an application did.
struct Work {
    calls: usize,
    failed: Vec<String>,
    topics: Vec<String>,
}

/// An application at each peer, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Work>>,
}

impl Load {
    fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let controls = cluster.topic("load").into_iter().enumerate();
        let thread = |(number, control)| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || work(number, control, &stop))
        };
        let threads = controls.map(thread).collect();
        Self { stop, threads }
    }

    /// All that was created and not deleted.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let join = |thread: JoinHandle<Work>| thread.join().expect("an application ends");
        let work: Vec<Work> = self.threads.into_iter().map(join).collect();
        let failed: Vec<_> = work.iter().flat_map(|work| &work.failed).collect();
        assert!(failed.is_empty(), "calls failed: {failed:#?}");
        assert!(work.iter().all(|work| work.calls > 50), "hardly anything was done");
        work.into_iter().flat_map(|work| work.topics).collect()
    }
}

fn work(number: usize, mut control: Control, stop: &AtomicBool) -> Work {
    let mut work = Work { calls: 0, failed: Vec::new(), topics: Vec::new() };
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let topic = format!("load/{number}/{turn}");
        let mut requests = vec![
            json!({"command": "create_topic", "topic": topic}),
            json!({"command": "publish", "topic": "load", "message": "to all"}),
            json!({"command": "topic_info", "topic": topic}),
            json!({"command": "pull", "topic": "load", "max": 1000}),
        ];
        if turn % 2 == 1 {
            requests.push(json!({"command": "delete_topic", "topic": topic}));
        } else {
            work.topics.push(topic);
        }
        for request in requests {
            wait::pause(PAUSE);
            let answer = control.ask(&request);
            work.calls += 1;
            if answer["status"] != "ok" {
                work.failed.push(format!("{request}: {answer}"));
            }
        }
    }
    work
}

#[test]
fn all_seeds_are_replaced_while_applications_work_and_no_call_fails() {
    let mut cluster = Cluster::start(3, 3);
    let first = cluster.seed_addresses();
    let load = Load::start(&cluster);
    let (mut seeds, mut ports) = (Vec::new(), Vec::new());
    for (n, gone) in first.iter().enumerate() {
        let name = format!("new-{n}");
        // It may know any of the seeds that are there.
        let known = if n == 0 { first[2] } else { Node::listen(&seeds[n - 1]) };
        let (seed, port) = newcomer(&cluster, &name, config(&cluster, &name, "local", &[known]));
        ports.push(port);
        assert_eq!(add(&cluster, &cluster.seeds[2], &seed).len(), 4);
        seeds.push(seed);
        let left = remove(&cluster, &seeds[0], *gone);
        assert!(left.len() == 3 && !left.contains(gone), "{left:?}");
        wait::holds("the removed one says so", LIMIT, || {
            cluster.seeds[n].events("not_in_set").len() == 1 && !is_ready(&cluster.seeds[n])
        });
        // The last one is stopped when nobody asks it any more.
        if n < 2 {
            cluster.seeds[n].kill();
        }
    }
    let topics = load.end();
    let mut controls = cluster.controls();
    for topic in &topics {
        for control in &mut controls {
            wait::holds("every record is read", LIMIT, || knows(control, topic));
        }
    }
    cluster.seeds[2].kill();

    // Whose configuration names none but seeds that are gone finds the others all the same.
    drop(controls);
    cluster.peers[1].kill();
    cluster.peers[1].restart();
    let mut control = cluster.peers[1].control();
    wait::holds("it has joined", LIMIT, || joined(&mut control));
    wait::holds("it reads what was created before", LIMIT, || knows(&mut control, &topics[0]));
    seeds[0].kill();
    seeds[0].restart();
    wait::holds("it is back in the set", LIMIT, || is_ready(&seeds[0]));
    assert_eq!(seeds[0].events("seed_set_differs").len(), 1, "{}", seeds[0].log());
}

#[test]
fn who_would_not_find_the_others_is_not_added() {
    let mut cluster = Cluster::start(3, 1);
    let first = cluster.seed_addresses();
    let by = &cluster.seeds[0];
    let dead = Port::free();
    let refused = |words: &[&str], code: i32, why: &str| {
        let told = set(&cluster, by, words, code).stderr;
        assert!(told.contains(why), "{told}");
        let view = set(&cluster, by, &["show"], 0).json();
        assert_eq!(view["version"], json!(0), "nothing was begun: {view}");
        assert_eq!(addresses(&view), first);
    };
    refused(&["add", &dead.address().to_string()], 4, "no seed answers");
    refused(&["add", &cluster.peers[0].listen().to_string()], 3, "a peer, not a seed");
    refused(&["add", &first[1].to_string()], 3, "in the set already");
    refused(&["remove", &dead.address().to_string()], 3, "is not in the set");
    let foreign = config(&cluster, "foreign", "another", &first);
    let (foreign, _port) = newcomer(&cluster, "foreign", foreign);
    refused(&["add", &foreign.listen().to_string()], 3, "belongs to cluster 'another'");
    let lost = config(&cluster, "lost", "local", &[dead.address()]);
    let (lost, _port) = newcomer(&cluster, "lost", lost);
    refused(&["add", &lost.listen().to_string()], 3, "would find none of the seeds");
    let fit = config(&cluster, "fit", "local", &first[2..]);
    let (fit, _port) = newcomer(&cluster, "fit", fit);
    assert_eq!(add(&cluster, by, &fit).len(), 4);

    // Without a majority nothing is changed.
    cluster.seeds[1..].iter_mut().for_each(Node::kill);
    let by = &cluster.seeds[0];
    wait::holds("two of four are known to be gone", LIMIT, || {
        let view = set(&cluster, by, &[], 0).json();
        let reachable = |seed: &&Value| seed["reachable"] == json!(true);
        view["seeds"].as_array().unwrap().iter().filter(reachable).count() == 2
    });
    set(&cluster, by, &["remove", &first[1].to_string()], 4);
}

#[test]
fn the_only_seed_takes_back_one_that_is_not_there() {
    let cluster = Cluster::start(1, 2);
    let seed = &cluster.seeds[0];
    let mut control = cluster.peers[0].control();
    control.create("before");
    // The look of `seed set add` is left out: the new one died between that and the decision.
    let dead = Port::free();
    let place = SeedPlace { address: dead.address(), http: None };
    let key = fs::read_to_string(seed.spec.data.join("key")).expect("the key is there");
    let NodeId(secret) = key.trim().parse().expect("64 digits");
    let mut operator = Stranger::connect(seed.listen(), secret).expect("it listens");
    let hello = operator.hello("local", Purpose::Admin);
    let hello = tidings_proto::wire::frame::Hello { role: Role::Seed, ..hello };
    operator.send(&Frame::Hello(Box::new(hello))).expect("it reads");
    operator.send(&Frame::Admin(RequestId(1), AdminCommand::AddSeed(place))).expect("it reads");
    let answer = operator.receive_until(LIMIT, |frame| match frame {
        Frame::AdminDone(_, answer) => Some(*answer),
        _ => None,
    });
    let answer = answer.expect("an answer");
    assert!(matches!(&answer, AdminAnswer::Set(view) if view.changing), "{answer:?}");
    let create = json!({"command": "create_topic", "topic": "meanwhile"});
    assert_eq!(control.refused(&create).0, "no_quorum", "both are needed");

    let view = set(&cluster, seed, &["remove", &dead.address().to_string()], 0).json();
    assert_eq!(addresses(&view), [seed.listen()]);
    wait::holds("what was refused is done", LIMIT, || control.ask(&create)["status"] == "ok");
    assert!(knows(&mut control, "before"));
    let known = config(&cluster, "second", "local", &[seed.listen()]);
    let (second, _port) = newcomer(&cluster, "second", known);
    assert_eq!(add(&cluster, seed, &second).len(), 2);
    wait::holds("the second one knows everything", LIMIT, || is_ready(&second));
    wait::holds("and counts", LIMIT, || knows(&mut control, "before"));
}
