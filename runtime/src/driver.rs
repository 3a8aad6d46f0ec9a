//! The one task that owns a machine. It polls the machine's links in place: there is no task and
//! no channel per neighbour, and no lock around the machine.
//!
//! A turn: take what handles ask, take connections that are ready, take commands, read the links
//! that have something, tell the time if the machine waits for it; after each of these do what
//! the machine wants; then write all that is due. When a turn finds nothing, sleep until a link,
//! a handle or the machine's deadline wakes the task. Nothing here awaits a neighbour.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidings_proto::wire::frame::{Frame, Goodbye, Reason};
use tidings_proto::wire::kind::FrameKind;
use tidings_proto::{
    Class, DialFailure, DialId, Input, Instant, LinkDown, LinkId, Machine, Output,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::clock::Clock;
use crate::congestion::{Congestion, Load};
use crate::dial::{Dialed, dial};
use crate::link::{Link, Polled};
use crate::listen::accept;
use crate::node::{Host, Kept, LinkLimits, Network, NodeOptions, Request};
use crate::tls::{Established, Tls};
use crate::traffic::Traffic;
use crate::wake::ReadyLinks;
use limits::*;

/// What reaches the driver from handles.
pub(crate) struct Inbox<M: Machine> {
    pub(crate) commands: mpsc::Receiver<M::Command>,
    pub(crate) traffic: mpsc::Receiver<M::Command>,
    pub(crate) requests: mpsc::Receiver<Request<M>>,
    pub(crate) stop: CancellationToken,
}

/// Drives `machine` until it is stopped.
pub(crate) async fn run<M: Machine, H: Host<M>>(
    machine: M,
    host: H,
    options: NodeOptions,
    inbox: Inbox<M>,
) {
    let tls = match Tls::with(&options.key, options.encryption) {
        Ok(tls) => tls,
        Err(error) => {
            tracing::error!(cause = %error, "tls_unusable");
            return;
        }
    };
    let mut driver = Driver::new(machine, host, options, tls, inbox);
    // The driver bounds its turns itself; tokio's budget would end them inside a link.
    tokio::task::unconstrained(poll_fn(|cx| driver.poll(cx))).await;
}

struct Driver<M: Machine, H> {
    machine: M,
    host: H,
    clock: Clock,
    limits: LinkLimits,
    tls: Tls,
    inbox: Inbox<M>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Set when the node is stopped: when the last links are dropped.
    stopping: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
    /// What `sleep` waits for.
    wake_at: Instant,
    last_tick: Instant,
    /// The machine waited longer than it should, and was given time to hear others first.
    listened: bool,

    accepting: JoinHandle<()>,
    accepted: mpsc::Receiver<(Established, OwnedSemaphorePermit)>,
    dials: JoinSet<Dialed>,
    permits: Arc<Semaphore>,

    links: BTreeMap<LinkId, Link>,
    links_opened: u64,
    ready: Arc<ReadyLinks>,
    /// Links with something to write, or with frames shed.
    dirty: Vec<LinkId>,
    /// Links that are closing, with the end of their time; all have the same time.
    closing: VecDeque<(Instant, LinkId)>,
    congestion: Congestion,
    traffic: Traffic,
    /// Commands that make traffic were left waiting.
    traffic_waits: bool,

    /// Kept for their memory.
    batch: Vec<M::Command>,
    woken: Vec<LinkId>,
    scratch: Box<[u8]>,
}

impl<M: Machine, H: Host<M>> Driver<M, H> {
    fn new(machine: M, host: H, options: NodeOptions, tls: Tls, inbox: Inbox<M>) -> Self {
        let NodeOptions { listener, clock, limits, .. } = options;
        let permits = Arc::new(Semaphore::new(limits.links));
        let (accepted_in, accepted) = mpsc::channel(ARRIVALS_MAX);
        let accepting =
            tokio::spawn(accept(listener, tls.clone(), limits, permits.clone(), accepted_in));
        Self {
            machine,
            host,
            clock,
            limits,
            tls,
            stop: Box::pin(inbox.stop.clone().cancelled_owned()),
            inbox,
            stopping: None,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            wake_at: Instant::ZERO,
            last_tick: Instant::ZERO,
            listened: false,
            accepting,
            accepted,
            dials: JoinSet::new(),
            permits,
            links: BTreeMap::new(),
            links_opened: 0,
            ready: Arc::default(),
            dirty: Vec::new(),
            closing: VecDeque::new(),
            congestion: Congestion::default(),
            traffic: Traffic::default(),
            traffic_waits: false,
            batch: Vec::new(),
            woken: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.ready.register(cx.waker());
        for _ in 0..TURNS_MAX {
            if self.stopping.is_none() && self.stop.as_mut().poll(cx).is_ready() {
                self.begin_stop();
            }
            // Whatever this causes is seen below, in the same turn.
            self.read_links();
            let mut busy = false;
            if self.stopping.is_none() {
                busy |= self.take_requests(cx);
                busy |= self.take_arrivals(cx);
                busy |= self.take_commands(cx);
                busy |= self.take_persisted(cx);
            }
            busy |= self.keep_time(cx);
            busy |= self.flush_links();
            busy |= self.traffic_waits && self.takes_traffic();
            if self.stopping.is_some() && self.links.is_empty() {
                return Poll::Ready(());
            }
            if !busy && self.ready.is_empty() {
                return Poll::Pending;
            }
        }
        // Others on this thread have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some(request)) = self.inbox.requests.poll_recv(cx) {
            busy = true;
            match request {
                Request::Inspect(look) => look(&self.machine, self.clock.now()),
                Request::Network(answer) => {
                    // The asker may have gone away in the meantime.
                    let _ = answer.send(network(&self.links, &self.traffic));
                }
            }
        }
        busy
    }

    fn take_arrivals(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some((peer, permit))) = self.accepted.poll_recv(cx) {
            busy = true;
            self.link_up(peer, permit, None);
        }
        while let Poll::Ready(Some(finished)) = self.dials.poll_join_next(cx) {
            busy = true;
            // A dial neither panics nor is aborted while the driver lives.
            let Ok(Dialed { dial, result }) = finished else { continue };
            match result {
                Ok((peer, permit)) => self.link_up(peer, permit, Some(dial)),
                Err(cause) => self.handle(Input::DialFailed { dial, cause }),
            }
        }
        self.drain_if(busy)
    }

    /// Takes all commands that are ready, up to a limit, before the machine's outputs: it
    /// batches what came together.
    fn take_commands(&mut self, cx: &mut Context<'_>) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        // A closed queue is ready with nothing, which is not work.
        let _ = self.inbox.commands.poll_recv_many(cx, &mut batch, COMMANDS_PER_TURN);
        self.traffic_waits = !self.takes_traffic();
        if !self.traffic_waits {
            let (mut bytes, most) = (0, batch.len() + TRAFFIC_PER_TURN);
            while bytes < TRAFFIC_BYTES_PER_TURN && batch.len() < most {
                let Poll::Ready(Some(command)) = self.inbox.traffic.poll_recv(cx) else { break };
                bytes += H::traffic_bytes(&command);
                batch.push(command);
            }
        }
        let busy = !batch.is_empty();
        for command in batch.drain(..) {
            self.handle(Input::Command(command));
        }
        self.batch = batch;
        self.drain_if(busy)
    }

    /// Whether more may be published: neither the links nor those behind them are too far behind.
    fn takes_traffic(&self) -> bool {
        self.machine.takes_traffic() && !self.congestion.is_high()
    }

    fn take_persisted(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Poll::Ready(token) = self.host.poll_persisted(cx) {
            busy = true;
            self.handle(Input::Persisted(token));
        }
        self.drain_if(busy)
    }

    fn read_links(&mut self) {
        let mut woken = std::mem::take(&mut self.woken);
        self.ready.take(&mut woken);
        for id in woken.drain(..) {
            self.read_link(id);
        }
        self.woken = woken;
    }

    fn read_link(&mut self, id: LinkId) {
        let Some(polled) = self.hear(id) else { return };
        // Its waker may have spoken of room to write.
        self.dirty.push(id);
        if let Polled::Ended(cause) = polled {
            self.link_down(id, cause);
        }
        self.drain();
    }

    /// Hands the machine all that a link has brought.
    fn hear(&mut self, id: LinkId) -> Option<Polled> {
        let link = self.links.get_mut(&id)?;
        let now = self.clock.now();
        let (machine, traffic) = (&mut self.machine, &mut self.traffic);
        Some(link.read(&mut self.scratch, |frame, bytes| {
            traffic.count_received(FrameKind::of(&frame), bytes);
            machine.handle(now, Input::Received { link: id, frame });
        }))
    }

    fn link_up(&mut self, peer: Established, permit: OwnedSemaphorePermit, dialed: Option<DialId>) {
        self.links_opened += 1;
        let link = LinkId(self.links_opened);
        let (node, remote) = (peer.node, peer.remote);
        let queue_bytes = self.limits.queue_bytes;
        let ready = self.ready.clone();
        let opened = Link::new(link, peer, dialed.is_some(), queue_bytes, ready, permit);
        self.links.insert(link, opened);
        self.handle(Input::LinkUp { link, node, remote, dialed });
    }

    /// The connection is over. Bytes that are no frame are answered with a reason.
    fn link_down(&mut self, id: LinkId, cause: LinkDown) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let was_open = link.is_open();
        match cause {
            LinkDown::Malformed(text) if was_open => {
                let goodbye = Goodbye { reason: Reason::Violation, text: text.to_owned() };
                self.close(id, Some(goodbye));
            }
            _ => self.forget(id),
        }
        if was_open {
            self.handle(Input::LinkDown { link: id, cause });
        }
    }

    /// Ends a link that the machine does not want any more.
    fn close(&mut self, id: LinkId, goodbye: Option<Goodbye>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let deadline = self.clock.now() + CLOSING_TIME;
        link.close(goodbye, &mut self.traffic);
        self.closing.push_back((deadline, id));
        self.dirty.push(id);
    }

    fn forget(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            self.congestion.change(link.counted_load, Load::None);
            link.abandon(&mut self.traffic);
        }
    }

    /// Writes all that is due. Says whether there is more to do at once.
    fn flush_links(&mut self) -> bool {
        let mut more = self.report_shed();
        // Taken from the end. What is pushed goes out before anything that is only announced: each
        // write takes as long as a hop of the message.
        let links = &self.links;
        let is_urgent = |id: &LinkId| links.get(id).is_some_and(Link::is_urgent);
        self.dirty.sort_unstable_by_key(is_urgent);
        while let Some(id) = self.dirty.pop() {
            let Some(link) = self.links.get_mut(&id) else { continue };
            if let Polled::Ended(cause) = link.flush(&mut self.traffic) {
                self.hear_last_words(id);
                self.link_down(id, cause);
                self.drain();
                more = true;
                continue;
            }
            let load = link.load();
            self.congestion.change(std::mem::replace(&mut link.counted_load, load), load);
        }
        more
    }

    /// Tells the machine what was shed, one class per link at a time: it may answer by sending.
    fn report_shed(&mut self) -> bool {
        self.dirty.sort_unstable();
        self.dirty.dedup();
        let mut busy = false;
        for at in 0..self.dirty.len() {
            let link = self.dirty[at];
            let shed = self.links.get_mut(&link).and_then(Link::take_shed);
            if let Some((class, frames, batches)) = shed {
                busy = true;
                self.handle(Input::Shed { link, class, frames, batches });
            }
        }
        self.drain_if(busy)
    }

    /// The other end closed the connection; the reason may be there, unread.
    fn hear_last_words(&mut self, id: LinkId) {
        // It is over however the reading ends.
        let _ = self.hear(id);
    }

    /// Tells the machine the time if it waits for it, ends what had its time, and sleeps until
    /// the next of these.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.clock.now();
        while let Some(&(deadline, id)) = self.closing.front() {
            if deadline > now {
                break;
            }
            self.closing.pop_front();
            self.forget(id);
        }
        let mut busy = false;
        let mut next = self.closing.front().map_or(Instant::FAR_FUTURE, |(deadline, _)| *deadline);
        if let Some(deadline) = self.stopping {
            next = next.min(deadline);
            if now >= deadline {
                self.links.clear();
            }
        } else {
            let deadline = self.tick(now, &mut busy);
            next = next.min(deadline);
        }
        if next != self.wake_at {
            self.wake_at = next;
            self.sleep.as_mut().reset(self.clock.to_tokio(next));
        }
        let woken = self.sleep.as_mut().poll(cx).is_ready();
        if woken {
            // An elapsed sleep stays ready: it is set anew next time.
            self.wake_at = Instant::ZERO;
        }
        busy || woken
    }

    /// Says when the machine is to be called next.
    fn tick(&mut self, now: Instant, busy: &mut bool) -> Instant {
        let earliest = self.last_tick + TICK_GAP;
        let deadline = |machine: &M| machine.next_deadline().unwrap_or(Instant::FAR_FUTURE);
        let due = deadline(&self.machine).max(earliest);
        if due > now {
            return due;
        }
        // A process that was stopped, or a host that is overloaded: what others said in the
        // meantime comes before the conclusion that they were silent.
        if now.since(due) > LATE && !self.listened {
            self.listened = true;
            self.last_tick = now + LISTEN_TIME;
            return self.last_tick + TICK_GAP;
        }
        self.listened = false;
        self.last_tick = now;
        *busy = true;
        self.handle(Input::Tick);
        self.drain();
        deadline(&self.machine).max(now + TICK_GAP)
    }

    fn begin_stop(&mut self) {
        self.stopping = Some(self.clock.now() + CLOSING_TIME);
        self.accepting.abort();
        self.dials.abort_all();
        self.drain();
        let open: Vec<_> = self.links.keys().copied().collect();
        for id in open {
            self.close(id, None);
        }
    }

    fn handle(&mut self, input: Input<M::Command>) {
        self.machine.handle(self.clock.now(), input);
    }

    /// Does what the machine wants, until it wants nothing more.
    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { link, class, frame } => self.send(link, class, &frame),
                Output::Event(event) => self.host.event(self.clock.now(), event),
                Output::Dial { dial, address, timeout_ms } => {
                    self.dial(dial, address, Duration::from_millis(timeout_ms.into()));
                }
                Output::Close { link, goodbye: None } => self.forget(link),
                Output::Close { link, goodbye } => self.close(link, goodbye),
                Output::Persist { token, record } => {
                    if self.host.persist(token, record) == Kept::Now {
                        self.handle(Input::Persisted(token));
                    }
                }
            }
        }
    }

    /// The same when the machine was given something. Says whether it was.
    fn drain_if(&mut self, busy: bool) -> bool {
        if busy {
            self.drain();
        }
        busy
    }

    fn send(&mut self, id: LinkId, class: Class, frame: &Frame) {
        let Some(link) = self.links.get_mut(&id) else { return };
        self.dirty.push(id);
        if link.send(class, frame, &mut self.traffic).is_err() {
            self.traffic.links_overflowed += 1;
            let text = format!("{} bytes are queued and not read", link.view().queued_bytes);
            self.close(id, Some(Goodbye { reason: Reason::TooSlow, text }));
            self.handle(Input::LinkDown { link: id, cause: LinkDown::Closed });
        }
    }

    fn dial(&mut self, number: DialId, address: SocketAddr, timeout: Duration) {
        let permit = self.permits.clone().try_acquire_owned();
        match permit {
            Ok(permit) if self.dials.len() < DIALS_MAX => {
                self.dials.spawn(dial(number, address, timeout, self.tls.clone(), permit));
            }
            _ => self.handle(Input::DialFailed { dial: number, cause: DialFailure::Other }),
        }
    }
}

impl<M: Machine, H> Drop for Driver<M, H> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn network(links: &BTreeMap<LinkId, Link>, traffic: &Traffic) -> Network {
    let open = links.values().filter(|link| link.is_open());
    let links: Vec<_> = open.map(Link::view).collect();
    let mut traffic = traffic.clone();
    traffic.unknown_frames += links.iter().map(|link| link.unknown_frames).sum::<u64>();
    Network { links, traffic }
}

mod limits;
#[cfg(test)]
mod tests;
