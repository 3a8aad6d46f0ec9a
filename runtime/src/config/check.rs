//! Values that are legal one by one, but not together.

use std::net::SocketAddr;

use super::error::ConfigError;
use super::load::Loader;

/// Checks all relations between values.
pub(super) fn check(loader: &Loader) -> Result<(), ConfigError> {
    check_views(loader)?;
    check_times(loader)?;
    check_seeds(loader)?;
    check_ports(loader)
}

fn check_views(loader: &Loader) -> Result<(), ConfigError> {
    let views = &loader.config.views;
    let links = loader.config.limits.links.links;
    at_most(
        loader,
        ("views.degree_target", views.degree_target),
        ("views.degree_max", views.degree_max),
    )?;
    at_most(loader, ("views.degree_max", views.degree_max), ("views.links_max", views.links_max))?;
    at_most(loader, ("views.links_max", views.links_max), ("limits.links", links))?;
    let limits = &loader.config.limits;
    at_most(
        loader,
        ("limits.records_per_peer", limits.records_per_peer),
        ("limits.records", limits.records),
    )
}

fn check_times(loader: &Loader) -> Result<(), ConfigError> {
    let config = &loader.config;
    let suspect_after = config.liveness.interval * config.liveness.misses;
    if config.seed.lease <= suspect_after {
        let problem = format!(
            "must be longer than liveness.interval x liveness.misses ({suspect_after:?}), or \
             peers vanish before they are suspect"
        );
        return Err(conflict(loader, "seed.lease", format!("{:?}", config.seed.lease), problem));
    }
    if config.repair.gap_after <= config.repair.delay + config.repair.timeout {
        let problem = "must be longer than repair.delay + repair.timeout, or holes are given up \
                       before anybody was asked"
            .to_owned();
        let value = format!("{:?}", config.repair.gap_after);
        return Err(conflict(loader, "repair.gap_after", value, problem));
    }
    Ok(())
}

fn check_seeds(loader: &Loader) -> Result<(), ConfigError> {
    let seeds = &loader.config.seeds;
    for (i, seed) in seeds.iter().enumerate() {
        let problem = if seed.addr.port() == 0 || seed.addr.ip().is_unspecified() {
            "cannot be dialled: expected the address and port that other nodes use".to_owned()
        } else if let Some(j) = seeds[..i].iter().position(|other| other.addr == seed.addr) {
            format!("is the address of seeds[{j}] already: each seed has its own")
        } else if seed.http == Some(seed.addr) {
            "is its http address too: expected two ports".to_owned()
        } else {
            continue;
        };
        return Err(ConfigError::Conflict {
            place: loader.place(&format!("seeds[{i}]")),
            key: format!("seeds[{i}].addr"),
            value: format!("\"{}\"", seed.addr),
            problem,
        });
    }
    Ok(())
}

/// Port 0 is a port of its own each time.
fn check_ports(loader: &Loader) -> Result<(), ConfigError> {
    let peer = &loader.config.peer;
    let same = |a: SocketAddr, b: SocketAddr| a == b && a.port() != 0;
    let mut others = vec![("peer.control", peer.control)];
    others.extend(peer.http.map(|http| ("peer.http", http)));
    for (i, (key, address)) in others.iter().enumerate() {
        let mut before = vec![("peer.listen", peer.listen)];
        before.extend(&others[..i]);
        if let Some((other, _)) = before.iter().find(|(_, other)| same(*other, *address)) {
            let problem = format!("is the address of {other} already: expected another port");
            return Err(conflict(loader, key, format!("\"{address}\""), problem));
        }
    }
    if loader.config.seeds.iter().any(|seed| same(seed.addr, peer.listen)) {
        let problem = "is the address of a seed: a peer needs one of its own".to_owned();
        return Err(conflict(loader, "peer.listen", format!("\"{}\"", peer.listen), problem));
    }
    for (key, address) in
        [("peer.advertise", peer.advertise), ("seed.advertise", loader.config.seed.advertise)]
    {
        if let Some(address) = address.filter(|address| address.ip().is_unspecified()) {
            let problem = "cannot be dialled: expected an address that other nodes reach";
            let value = format!("\"{address}\"");
            return Err(conflict(loader, key, value, problem.to_owned()));
        }
    }
    Ok(())
}

fn at_most(
    loader: &Loader,
    (key, value): (&str, usize),
    (other, most): (&str, usize),
) -> Result<(), ConfigError> {
    if value <= most {
        return Ok(());
    }
    // The one that was set is the one to change.
    let (key, value, problem) = if loader.is_set(key) || !loader.is_set(other) {
        (key, value, format!("is more than {other} ({most}): expected at most that"))
    } else {
        (other, most, format!("is less than {key} ({value}): expected at least that"))
    };
    Err(conflict(loader, key, value.to_string(), problem))
}

fn conflict(loader: &Loader, key: &str, value: String, problem: String) -> ConfigError {
    ConfigError::Conflict { place: loader.place(key), key: key.to_owned(), value, problem }
}
