//! One command a file, each with its own arguments and its own output.

mod begin;
pub(crate) mod bench;
mod common;
pub(crate) mod config;
mod facts;
mod follow;
pub(crate) mod forget;
mod headers;
mod message;
pub(crate) mod name;
pub(crate) mod peers;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod seeds;
pub(crate) mod sessions;
pub(crate) mod shell;
mod source;
pub(crate) mod status;
pub(crate) mod subscribe;
pub(crate) mod top;
pub(crate) mod topic;
