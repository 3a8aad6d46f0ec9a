#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod abuse;
mod actions;
mod changing;
mod deaths;
mod forgetting;
mod forgotten;
mod join;
mod leases;
mod lists;
mod random;
mod register;
mod rig;
mod sync;
mod topics;
