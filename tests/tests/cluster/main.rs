//! What a cluster of real processes does, one behaviour a file.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod a000;
mod a003;
mod bad_bytes;
mod bad_config;
mod bad_requests;
mod cli;
mod counters;
mod coverage;
mod death;
mod durable;
mod filters;
mod follow;
mod foreign;
mod forged;
mod framing;
mod gossip;
mod history;
mod hosts;
mod http;
mod idle;
mod join;
mod late;
mod links;
mod many;
mod occupied;
mod real_input;
mod requests;
mod restart;
mod scripts;
mod seeds_down;
mod sessions;
mod shutdown;
mod slow;
mod topics;
