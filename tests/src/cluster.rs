//! Seeds and peers that found each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::control::Control;
use crate::net::Net;
use crate::node::{Node, Role, Spec};
use crate::ports::Port;
use crate::proxy::{Connection, Proxy};
use crate::status::Status;
use crate::turn::{self, Turn};
use crate::{binaries, http, wait};

/// More nodes than this keep two cores busy while they join.
const SMALL: usize = 16;
/// A hundred peers are one overlay within this, on two busy cores.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);

/// Seeds that are back are joined again within this: the longest wait between two dials is 5 s.
pub const REJOIN: Duration = Duration::from_secs(15);

/// Starts a program to which a write beyond a limit is an error, and not the end.
const UNSIGNALLED: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

/// What a cluster shall be.
#[derive(Clone, Debug)]
pub struct Setup {
    seeds: usize,
    seeds_down: usize,
    peers: usize,
    alone: bool,
    proxied: bool,
    parted: bool,
    bounded: bool,
    config: String,
}

impl Setup {
    /// So many seeds and peers.
    pub fn new(seeds: usize, peers: usize) -> Self {
        let alone = seeds + peers > SMALL;
        Self {
            seeds,
            seeds_down: 0,
            peers,
            alone,
            proxied: false,
            parted: false,
            bounded: false,
            config: String::new(),
        }
    }

    /// No other cluster runs at the same time: for tests that measure time.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// The last `count` of the seeds are configured, but not started.
    #[must_use]
    pub fn seeds_down(mut self, count: usize) -> Self {
        self.seeds_down = count;
        self
    }

    /// Each peer is dialled through a proxy of its own, so that every link between two peers can
    /// be made slow: see [`Cluster::connection`].
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Each seed has a network of its own, so that it can be cut off: see [`Net`]. The process has
    /// to run in one of its own as well.
    #[must_use]
    pub fn parted(mut self) -> Self {
        self.parted = true;
        self
    }

    /// The disks of seeds can be made full: see [`Node::fill_disk`].
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.bounded = true;
        self
    }

    /// Further TOML for the end of the config file, without a `[peer]` table if peers are
    /// proxied.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config = toml.to_owned();
        self
    }

    /// Starts everything, and does not wait for peers to find each other.
    pub fn launch(self) -> Cluster {
        let turn = if self.alone { turn::alone() } else { turn::shared() };
        let parent = binaries::folder().join("tidings-tests");
        let folder = tempfile::Builder::new().prefix("cluster-").tempdir_in(parent);
        let folder = folder.expect("the target folder can be written");
        let ports = || -> Vec<_> { (0..self.seeds).map(|_| Port::free()).collect() };
        let mut cluster = Cluster {
            seeds: Vec::new(),
            peers: Vec::new(),
            folder,
            seed_ports: ports(),
            http_ports: ports(),
            peers_made: 0,
            proxied: self.proxied,
            more: self.config,
            proxies: Vec::new(),
            net: self.parted.then(|| Net::new(self.seeds).expect("networks can be made")),
            bounded: self.bounded,
            _turn: turn,
        };
        fs::write(cluster.config(), cluster.config_text("local", &cluster.more))
            .expect("the folder of the test can be written");
        for number in 0..self.seeds - self.seeds_down {
            let spec = cluster.seed_spec(number);
            cluster.seeds.push(Node::spawn(spec));
        }
        for _ in 0..self.peers {
            let spec = cluster.peer_spec();
            cluster.peers.push(Node::spawn(spec));
        }
        cluster.seeds.iter_mut().chain(&mut cluster.peers).for_each(Node::ready);
        cluster
    }

    /// Starts everything and waits until the overlay is whole.
    pub fn start(self) -> Cluster {
        let cluster = self.launch();
        cluster.wait_whole();
        cluster
    }
}

/// Running seeds and peers. All are killed when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The seeds, in the order of the config file.
    pub seeds: Vec<Node>,
    /// The peers.
    pub peers: Vec<Node>,
    folder: TempDir,
    seed_ports: Vec<Port>,
    http_ports: Vec<Port>,
    peers_made: usize,
    proxied: bool,
    more: String,
    /// In front of each peer, with the port that it listens on, if peers are proxied.
    proxies: Vec<(Proxy, Port)>,
    net: Option<Net>,
    bounded: bool,
    _turn: Turn,
}

impl Cluster {
    /// Starts so many seeds and peers and waits until every peer has joined a majority of the
    /// seeds and the overlay is one.
    pub fn start(seeds: usize, peers: usize) -> Self {
        Setup::new(seeds, peers).start()
    }

    /// The folder of the cluster, removed at its end unless the test fails.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder, and says where it is: what happened here needs a look.
    pub fn keep_folder(&mut self) {
        self.folder.disable_cleanup(true);
        eprintln!("--- logs are in {}", self.folder.path().display());
    }

    /// The config file of all nodes.
    pub fn config(&self) -> PathBuf {
        self.folder().join("config.toml")
    }

    /// The text of a config file for nodes of this cluster's seeds.
    pub fn config_text(&self, name: &str, more: &str) -> String {
        let mut text = format!("# Made by a test.\n[cluster]\nname = \"{name}\"  # comment\n");
        for number in 0..self.seed_ports.len() {
            let [seed, http] = self.addresses_of_seed(number);
            text.push_str(&format!("\n[[seeds]]\naddr = \"{seed}\"\nhttp = \"{http}\"\n"));
        }
        text + more
    }

    /// Where the seeds are dialled, including those that are not started.
    pub fn seed_addresses(&self) -> Vec<SocketAddr> {
        (0..self.seed_ports.len()).map(|number| self.addresses_of_seed(number)[0]).collect()
    }

    /// Where a seed is dialled, and where it serves HTTP.
    fn addresses_of_seed(&self, number: usize) -> [SocketAddr; 2] {
        let mut addresses = [&self.seed_ports, &self.http_ports].map(|of| of[number].address());
        if self.net.is_some() {
            addresses.iter_mut().for_each(|address| address.set_ip(Net::address(number).into()));
        }
        addresses
    }

    /// Cuts seeds off from all others, or ends that.
    ///
    /// # Panics
    /// When they have no networks of their own.
    pub fn cut_off(&self, seeds: &[usize], cut: bool) {
        let net = self.net.as_ref().expect("a cluster of parted seeds");
        seeds.iter().for_each(|seed| net.cut(*seed, cut));
    }

    /// How to start the seed of that number.
    pub fn seed_spec(&self, number: usize) -> Spec {
        let [listen, http] = self.addresses_of_seed(number);
        let mut through = self.net.as_ref().map(|net| net.entry(number)).unwrap_or_default();
        if self.bounded {
            through.extend(UNSIGNALLED.map(str::to_owned));
        }
        Spec {
            name: format!("seed-{number}"),
            role: Role::Seed,
            folder: self.folder().join(format!("seed-{number}")),
            data: self.folder().join(format!("seed-{number}/data")),
            config: self.config(),
            listen,
            http,
            flags: Vec::new(),
            through,
        }
    }

    /// How to start one more peer.
    pub fn peer_spec(&mut self) -> Spec {
        let number = self.peers_made;
        self.peers_made += 1;
        let here = if self.net.is_some() { Net::HERE } else { Ipv4Addr::LOCALHOST };
        let (mut config, mut listen) = (self.config(), (here, 0).into());
        if self.proxied {
            let port = Port::free();
            listen = port.address();
            let proxy = Proxy::start(listen);
            config = self.folder().join(format!("peer-{number}.toml"));
            let peer = format!("\n[peer]\nadvertise = \"{}\"\n", proxy.address());
            fs::write(&config, self.config_text("local", &(self.more.clone() + &peer)))
                .expect("the folder of the test can be written");
            self.proxies.push((proxy, port));
        }
        Spec {
            name: format!("peer-{number}"),
            role: Role::Peer,
            folder: self.folder().join(format!("peer-{number}")),
            data: self.folder().join(format!("peer-{number}/data")),
            config,
            listen,
            http: (Ipv4Addr::LOCALHOST, 0).into(),
            flags: Vec::new(),
            through: Vec::new(),
        }
    }

    /// The connection that is the link between two proxied peers, by their places in `peers`.
    ///
    /// # Panics
    /// When they are not linked.
    #[track_caller]
    pub fn connection(&self, one: usize, other: usize) -> Arc<Connection> {
        let between = |at: usize, from: usize| {
            let links = Status::of(&mut self.peers[at].control()).links_from(self.peers[from].id());
            links.into_iter().find_map(|remote| self.proxies[at].0.connection(remote))
        };
        let found = between(one, other).or_else(|| between(other, one));
        found.unwrap_or_else(|| panic!("peers {one} and {other} are not linked"))
    }

    /// Cuts all links between proxied peers and keeps new ones from being made; seeds cannot dial
    /// the peers either.
    pub fn cut_links(&self, cut: bool) {
        self.proxies.iter().for_each(|(proxy, _)| proxy.block(cut));
    }

    /// Starts one more peer, waits until it serves, and returns its place in `peers`.
    pub fn add_peer(&mut self) -> usize {
        let spec = self.peer_spec();
        self.peers.push(Node::start(spec));
        self.peers.len() - 1
    }

    /// Waits until every peer has joined a majority of the seeds, and the peers are one overlay.
    pub fn wait_whole(&self) {
        let mut controls = self.controls();
        wait::holds("every peer has joined a majority of the seeds", WHOLE_LIMIT, || {
            controls.iter_mut().all(joined)
        });
        wait::holds("the peers are one overlay", WHOLE_LIMIT, || is_one(&self.neighbors()));
    }

    /// The neighbours of each peer, by id, in the order of `peers`.
    pub fn neighbors(&self) -> BTreeMap<String, BTreeSet<String>> {
        let peers = self.peers.iter();
        peers.map(|peer| (peer.id().to_owned(), neighbors(&mut peer.control()))).collect()
    }

    /// A connection to each peer.
    pub fn controls(&self) -> Vec<Control> {
        self.peers.iter().map(Node::control).collect()
    }

    /// Asks all peers the same at the same moment; what they answer, in their order.
    pub fn all_at_once(&self, request: &Value) -> Vec<Value> {
        let start = Barrier::new(self.peers.len());
        thread::scope(|scope| {
            let asking = self.peers.iter().map(|peer| {
                let start = &start;
                scope.spawn(move || {
                    let mut control = peer.control();
                    start.wait();
                    control.ask(request)
                })
            });
            let asking: Vec<_> = asking.collect();
            asking.into_iter().map(|asker| asker.join().expect("it has an answer")).collect()
        })
    }

    /// Creates a topic at the first peer, subscribes all peers, and waits until each has a
    /// neighbour that shares it.
    pub fn topic(&self, topic: &str) -> Vec<Control> {
        let mut controls = self.controls();
        controls[0].create(topic);
        controls.iter_mut().for_each(|control| control.subscribe(topic));
        if controls.len() > 1 {
            wait::holds("every subscriber has a neighbour for the topic", WHOLE_LIMIT, || {
                controls.iter_mut().all(|control| topic_neighbors(control, topic) > 0)
            });
        }
        controls
    }

    /// Waits until every running seed lists exactly these peers as alive, and no other one but
    /// as dead: a suspect is not gone yet.
    #[track_caller]
    pub fn wait_listed(&self, peers: &[&Node], limit: Duration) {
        let state = |peer: &&Node| (peer.id().to_owned(), "alive".to_owned());
        let expected: BTreeMap<_, _> = peers.iter().map(state).collect();
        wait::passes("every seed lists the live peers and no others", limit, || {
            self.seeds.iter().try_for_each(|seed| match states(seed) {
                Some(found) if found == expected => Ok(()),
                found => Err(format!("{} lists {found:?}", seed.spec.name)),
            })
        });
    }

    /// Waits until every running seed lists all peers of this cluster as alive.
    pub fn wait_all_listed(&self) {
        self.wait_listed(&self.peers.iter().collect::<Vec<_>>(), WHOLE_LIMIT);
    }

    /// The events of that name in the logs of all peers, each with the place of the peer.
    pub fn peer_events(&self, event: &str) -> Vec<(usize, crate::log::LogLine)> {
        let peers = self.peers.iter().enumerate();
        peers.flat_map(|(i, peer)| peer.events(event).into_iter().map(move |e| (i, e))).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.peers.clear();
        self.seeds.clear();
        if thread::panicking() {
            self.keep_folder();
        }
    }
}

/// Whether a peer has joined a majority of the seeds.
pub fn joined(control: &mut Control) -> bool {
    let seeds = control.ok(&json!({"command": "seeds"}));
    let number = |key: &str| seeds[key].as_u64().unwrap_or_else(|| panic!("no {key}: {seeds}"));
    number("joined") >= number("quorum")
}

/// The ids of a peer's neighbours.
pub fn neighbors(control: &mut Control) -> BTreeSet<String> {
    let status = control.ok(&json!({"command": "status"}));
    let neighbors = status["neighbors"].as_array().expect("status lists neighbours");
    let ids = neighbors.iter().map(|neighbor| neighbor["node"].as_str().expect("an id"));
    ids.map(str::to_owned).collect()
}

/// How many neighbours share a topic with a peer.
pub fn topic_neighbors(control: &mut Control, topic: &str) -> u64 {
    let status = control.ok(&json!({"command": "status"}));
    let topics = status["topics"].as_array().expect("status lists topics");
    let found = topics.iter().find(|item| item["topic"] == topic);
    found.and_then(|item| item["neighbors"].as_u64()).unwrap_or(0)
}

/// The ids of the peers that a seed lists as alive; `None` when it does not answer.
pub fn alive(seed: &Node) -> Option<BTreeSet<String>> {
    let items = listed(seed)?;
    let alive = items.iter().filter(|item| item["state"] == "alive");
    Some(alive.filter_map(|item| Some(item["node"].as_str()?.to_owned())).collect())
}

/// The states of the peers that a seed lists and that are not dead, by id; `None` when it does
/// not answer.
fn states(seed: &Node) -> Option<BTreeMap<String, String>> {
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let items = listed(seed)?;
    let states = items.iter().map(|item| (text(item, "node"), text(item, "state")));
    Some(states.filter(|(_, state)| state != "dead").collect())
}

/// What a seed lists of a peer; `None` when it does not list it.
pub fn listing(seed: &Node, id: &str) -> Option<Value> {
    listed(seed)?.into_iter().find(|item| item["node"] == id)
}

fn listed(seed: &Node) -> Option<Vec<Value>> {
    let page = http::json(seed.http_address(), "/v1/peers?limit=1000").ok()?;
    page["items"].as_array().cloned()
}

/// Whether each neighbour of a peer has that peer as a neighbour, and all are known.
pub fn is_mutual(neighbors: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let in_return = |peer: &String, other| neighbors.get(other).is_some_and(|n| n.contains(peer));
    neighbors.iter().all(|(peer, of)| of.iter().all(|other| in_return(peer, other)))
}

/// Whether one can get from each peer to each other one, from neighbour to neighbour.
fn is_one(neighbors: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = neighbors.keys().take(1).collect();
    while let Some(peer) = next.pop() {
        if reached.insert(peer) {
            next.extend(neighbors.get(peer).into_iter().flatten());
        }
    }
    neighbors.keys().all(|peer| reached.contains(peer))
}
