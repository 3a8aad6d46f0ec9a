//! Seeds in this process: the machine on the runtime, with a host that listens to nobody.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tidings::{Config, Incarnation};
use tidings_proto::seed::Seed;
use tidings_proto::seed::event::{Durable, Event};
use tidings_proto::seed::memory::Memory;
use tidings_proto::{Instant, config};
use tidings_runtime::config::SeedEntry;
use tidings_runtime::listen::bind;
use tidings_runtime::tls::Encryption;
use tidings_runtime::{Clock, Host, Kept, Node, NodeKey, NodeOptions, identity, node};
use tokio::net::TcpListener;

/// Running seeds.
#[derive(Debug)]
pub(crate) struct Seeds {
    running: Vec<Node<Seed>>,
}

impl Seeds {
    /// Starts so many seeds on free ports of the loopback interface, and puts them into `config`.
    pub(crate) fn start(
        config: &mut Config,
        count: usize,
        encryption: Encryption,
    ) -> anyhow::Result<Self> {
        let listeners = (0..count).map(|_| bind(loopback())).collect::<Result<Vec<_>, _>>()?;
        for listener in &listeners {
            config.seeds.push(SeedEntry { addr: listener.local_addr()?, http: None });
        }
        let running = listeners.into_iter().enumerate();
        let running = running.map(|(number, listener)| start(config, number, listener, encryption));
        Ok(Self { running: running.collect::<anyhow::Result<_>>()? })
    }

    /// Ends them.
    pub(crate) async fn stop(self) {
        for seed in self.running {
            seed.stop().await;
        }
    }
}

/// A free port of the loopback interface.
pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn start(
    config: &Config,
    number: usize,
    listener: TcpListener,
    encryption: Encryption,
) -> anyhow::Result<Node<Seed>> {
    let clock = Clock::start();
    let key = Arc::new(NodeKey::generate()?);
    let name = format!("seed-{number}");
    let address = listener.local_addr()?;
    let me: config::Identity =
        identity(&config.cluster.name, &name, address, Incarnation(1), &clock)?;
    let machine = Seed::new(config.seed_config(me), key.signer(), Memory::default(), clock.now());
    let limits = config.limits.links;
    let options = NodeOptions { key, listener, clock, limits, encryption };
    Ok(node::spawn(machine, Deaf, options))
}

/// Nothing that a seed says matters here, and nothing of it survives the run.
struct Deaf;

impl Host<Seed> for Deaf {
    fn event(&mut self, _now: Instant, _event: Event) {}

    fn persist(&mut self, _token: u64, _record: Durable) -> Kept {
        Kept::Now
    }
}
