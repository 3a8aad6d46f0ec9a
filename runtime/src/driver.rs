//! The one task that owns a machine.

use tidings_proto::Machine;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::node::{Host, NodeOptions, Request};

/// What reaches the driver from handles.
pub(crate) struct Inbox<M: Machine> {
    pub(crate) commands: mpsc::Receiver<M::Command>,
    pub(crate) traffic: mpsc::Receiver<M::Command>,
    pub(crate) requests: mpsc::Receiver<Request<M>>,
    pub(crate) stop: CancellationToken,
}

pub(crate) async fn run<M: Machine, H: Host<M>>(
    _machine: M,
    _host: H,
    _options: NodeOptions,
    inbox: Inbox<M>,
) {
    inbox.stop.cancelled().await;
    drop((inbox.commands, inbox.traffic, inbox.requests));
}
