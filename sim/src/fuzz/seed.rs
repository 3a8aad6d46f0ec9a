//! A seed that is told anything.

use tidings_proto::config::Identity;
use tidings_proto::crypto::{Scheme, Signer};
use tidings_proto::seed::event::Command;
use tidings_proto::seed::memory::Memory;
use tidings_proto::wire::frame::Purpose;
use tidings_proto::{Incarnation, Instant, RequestId, Seed, SeedConfig};

use super::driver::Driver;
use super::{Reach, Script, make};
use crate::check::{Verdicts, bounds};
use crate::network::address;

/// What happens to a seed, as these bytes say: its bounds hold, and what it sends can be read.
///
/// # Panics
/// When that is not so.
pub fn seed(bytes: &[u8]) -> Reach {
    let mut script = Script::new(bytes);
    let own = make::SEEDS.start;
    let identity = Identity {
        cluster: "sim".into(),
        name: String::new(),
        address: address(own.into()),
        incarnation: Incarnation(1),
        scheme: Scheme::Checksum,
        wall_origin_us: make::WALL_US,
        rng_seed: [script.byte(); 32],
    };
    let all = make::SEEDS.map(|seed| address(seed.into()));
    let mut config = SeedConfig::new(identity, all.collect());
    config.records_max = if script.below(2) == 0 { 3 } else { 100 };
    config.records_per_peer_max = 4;
    let machine = Seed::new(
        config.clone(),
        Signer::Checksum(make::node(own)),
        Memory::default(),
        Instant::ZERO,
    );
    let mut driver = Driver::new(machine, Purpose::Session);
    while !script.is_over() {
        // A seed can be asked for one thing only, after which nothing happens: rarely.
        let mut command = |script: &mut Script<'_>| {
            (script.byte() == 0xff).then_some(Command::Leave { request: RequestId(1) })
        };
        driver.step(&mut script, &mut command, &mut |_| {});
        let mut verdicts = Verdicts::default();
        let status = driver.machine.status();
        bounds::seed(&mut verdicts, driver.now, 0, &status, &config);
        assert!(verdicts.total == 0, "{:?}", verdicts.kept);
    }
    let records = driver.machine.status().stats.records_merged;
    Reach { records, ..driver.reach }
}
