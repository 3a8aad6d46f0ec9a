//! One connection, polled in place by the driver: ciphertext in, frames out, and back. Without TLS
//! (see [`crate::tls::Encryption`]) frames are read and written as they are.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tidings_proto::wire::DecodeError;
use tidings_proto::wire::batch::Batch;
use tidings_proto::wire::frame::{Frame, Goodbye};
use tidings_proto::{Class, LinkDown, LinkId};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use crate::congestion::Load;
use crate::inbox::Inbox;
use crate::node::LinkView;
use crate::queue::{Overflow, Queued, SendQueue};
use crate::tls::Established;
use crate::traffic::Traffic;
use crate::wake::{LinkSignal, ReadyLinks};

/// A connection and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    peer: Established,
    outbound: bool,
    signal: Arc<LinkSignal>,
    waker: Waker,
    inbox: Inbox,
    queue: SendQueue,
    /// A frame that is not of the control class was queued at some time.
    carries_traffic: bool,
    /// The load that the driver has counted.
    pub(crate) counted_load: Load,
    state: State,
    bytes_in: u64,
    bytes_out: u64,
    /// Held as long as the connection exists: the limit on their number.
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The last frames go out; what comes in is discarded.
    Closing,
    /// All is sent and the other end was told. Its own end is awaited, because closing a socket
    /// with unread bytes takes back what is still on the way.
    Lingering,
}

/// What a link needs after it was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Nothing until its waker says so.
    Pending,
    /// There is more; it was put on the list again.
    More,
    /// The connection is over.
    Ended(LinkDown),
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        peer: Established,
        outbound: bool,
        queue_bytes: usize,
        ready: Arc<ReadyLinks>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let signal = LinkSignal::new(id, ready);
        // The handshake may have left the first frame in the TLS session.
        signal.list();
        Self {
            id,
            peer,
            outbound,
            waker: Waker::from(signal.clone()),
            signal,
            inbox: Inbox::default(),
            queue: SendQueue::new(queue_bytes),
            carries_traffic: false,
            counted_load: Load::None,
            state: State::Open,
            bytes_in: 0,
            bytes_out: 0,
            _permit: permit,
        }
    }

    /// Queues a frame; it goes out with the next [`Self::flush`]. Frames for a link that is
    /// closing are forgotten.
    pub(crate) fn send(
        &mut self,
        class: Class,
        frame: &Frame,
        traffic: &mut Traffic,
    ) -> Result<(), Overflow> {
        if self.state != State::Open {
            return Ok(());
        }
        self.carries_traffic |= class != Class::Control;
        self.queue.push(class, Queued::new(frame), traffic)
    }

    /// Stops everything but the control frames that are queued, the goodbye after them, and an
    /// orderly end. The driver limits its time.
    pub(crate) fn close(&mut self, goodbye: Option<Goodbye>, traffic: &mut Traffic) {
        if self.state != State::Open {
            return;
        }
        self.queue.keep_control(traffic);
        if let Some(goodbye) = goodbye {
            let frame = Queued::new(&Frame::Goodbye(goodbye));
            if self.queue.push(Class::Control, frame.clone(), traffic).is_err() {
                self.queue.clear(traffic);
                // An empty queue has room for a frame of the control class.
                let _ = self.queue.push(Class::Control, frame, traffic);
            }
        }
        self.state = State::Closing;
        self.inbox.clear();
        self.signal.list();
    }

    /// The connection is over: counts what was not sent.
    pub(crate) fn abandon(mut self, traffic: &mut Traffic) {
        self.queue.clear(traffic);
        traffic.unknown_frames += self.inbox.unknown_frames;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether something waits that is more urgent than announcements.
    pub(crate) fn is_urgent(&self) -> bool {
        self.queue.is_urgent()
    }

    /// How full it is now.
    pub(crate) fn load(&self) -> Load {
        Load::of(self.carries_traffic && self.is_open(), self.queue.bytes())
    }

    /// See [`SendQueue::take_shed`].
    pub(crate) fn take_shed(&mut self) -> Option<(Class, u32, Vec<Arc<Batch>>)> {
        self.queue.take_shed()
    }

    /// Reads what is ready, a bounded part of it, and hands its frames to `receive`, each with
    /// its length in bytes.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut receive: impl FnMut(Frame, usize),
    ) -> Polled {
        self.signal.begin();
        let polled = self.read_ready(scratch, &mut receive);
        if polled == Polled::More {
            self.signal.list();
        }
        polled
    }

    /// Writes until all is sent or the socket is full.
    pub(crate) fn flush(&mut self, traffic: &mut Traffic) -> Polled {
        match self.write_ready(traffic) {
            Ok(true) => self.sent_all(traffic),
            Ok(false) => Polled::Pending,
            Err(_) => Polled::Ended(LinkDown::Closed),
        }
    }

    pub(crate) fn view(&self) -> LinkView {
        LinkView {
            link: self.id,
            node: self.peer.node,
            remote: self.peer.remote,
            outbound: self.outbound,
            queued_bytes: self.queue.bytes(),
            queued: self.queue.depths(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            unknown_frames: self.inbox.unknown_frames,
            shed: self.queue.shed(),
        }
    }

    fn read_ready(&mut self, scratch: &mut [u8], receive: &mut impl FnMut(Frame, usize)) -> Polled {
        if let Err(down) = self.take_plaintext(receive) {
            return Polled::Ended(down);
        }
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        let mut budget = READ_BYTES_PER_TURN;
        while budget > 0 {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut self.peer.tcp).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => return Polled::Pending,
                Poll::Ready(Err(_)) => return Polled::Ended(LinkDown::Closed),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Polled::Ended(LinkDown::Closed);
                }
                Poll::Ready(Ok(())) => {}
            }
            let read = buffer.filled().len();
            budget = budget.saturating_sub(read);
            if let Err(down) = self.take(&scratch[..read], receive) {
                return Polled::Ended(down);
            }
        }
        Polled::More
    }

    /// What was read from the socket.
    fn take(
        &mut self,
        mut ciphertext: &[u8],
        receive: &mut impl FnMut(Frame, usize),
    ) -> Result<(), LinkDown> {
        if self.state == State::Lingering {
            return Ok(());
        }
        while !ciphertext.is_empty() {
            let Some(tls) = &mut self.peer.tls else {
                self.bytes_in += ciphertext.len() as u64;
                return take_frames(self.state, &mut self.inbox, ciphertext, receive);
            };
            let taken = tls.read_tls(&mut ciphertext);
            let processed = tls.process_new_packets();
            let (Ok(_), Ok(state)) = (taken, processed) else {
                return Err(LinkDown::Malformed("TLS record"));
            };
            self.take_plaintext(receive)?;
            if state.peer_has_closed() {
                return Err(LinkDown::Closed);
            }
        }
        Ok(())
    }

    /// Moves what TLS has decrypted to the inbox, and hands on the frames that are complete.
    fn take_plaintext(&mut self, receive: &mut impl FnMut(Frame, usize)) -> Result<(), LinkDown> {
        use io::BufRead as _;
        let Some(tls) = &mut self.peer.tls else { return Ok(()) };
        loop {
            let mut reader = tls.reader();
            // An error means that there is nothing (yet, or ever).
            let Ok(plaintext) = reader.fill_buf() else { return Ok(()) };
            if plaintext.is_empty() {
                return Ok(());
            }
            let length = plaintext.len();
            self.bytes_in += length as u64;
            let taken = take_frames(self.state, &mut self.inbox, plaintext, receive);
            reader.consume(length);
            taken?;
        }
    }

    /// Whether all is sent.
    fn write_ready(&mut self, traffic: &mut Traffic) -> io::Result<bool> {
        let mut socket = Socket { tcp: &mut self.peer.tcp, waker: &self.waker };
        loop {
            while let Some(tls) = self.peer.tls.as_mut().filter(|tls| tls.wants_write()) {
                match tls.write_tls(&mut socket) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            if self.queue.is_empty() {
                self.queue.shrink();
                return Ok(true);
            }
            // The TLS session takes more only when all that it holds is written: what waits does
            // so in the queue, in the order of classes.
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.queue.gather(&mut slices, WRITE_BYTES_MAX);
            let slices = &slices[..count];
            let written = match &mut self.peer.tls {
                Some(tls) => tls.writer().write_vectored(slices),
                None => socket.write_vectored(slices),
            };
            let taken = match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            self.queue.advance(taken, traffic);
            self.bytes_out += taken as u64;
        }
    }

    /// Goes on with closing, when all is sent.
    fn sent_all(&mut self, traffic: &mut Traffic) -> Polled {
        if self.state != State::Closing {
            return Polled::Pending;
        }
        if let Some(tls) = &mut self.peer.tls {
            tls.send_close_notify();
        }
        self.state = State::Lingering;
        // A few bytes after a socket that took all before them: if it is full now, the end of
        // the connection tells the other end as well.
        let _ = self.write_ready(traffic);
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.peer.tcp).poll_shutdown(&mut cx) {
            Poll::Ready(Err(_)) => Polled::Ended(LinkDown::Closed),
            _ => Polled::Pending,
        }
    }
}

/// Hands on the frames that are complete, unless the link is closing.
fn take_frames(
    state: State,
    inbox: &mut Inbox,
    bytes: &[u8],
    receive: &mut impl FnMut(Frame, usize),
) -> Result<(), LinkDown> {
    match state {
        State::Open => inbox.take(bytes, receive),
        _ => Ok(()),
    }
    .map_err(|error| LinkDown::Malformed(in_words(&error)))
}

fn in_words(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::TooLarge { what: "frame", .. } => "frame: too large",
        DecodeError::TooLarge { what, .. } | DecodeError::Malformed(what) => what,
        DecodeError::Truncated => "frame: truncated",
    }
}

/// The socket as `rustls` wants it: never blocking, with the link's waker behind it.
struct Socket<'a> {
    tcp: &'a mut tokio::net::TcpStream,
    waker: &'a Waker,
}

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut cx = Context::from_waker(self.waker);
        match Pin::new(&mut *self.tcp).poll_write_vectored(&mut cx, slices) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Read from one link before the others have their turn.
const READ_BYTES_PER_TURN: usize = 256 << 10;
/// Handed to TLS at once: what `rustls` takes by default.
const WRITE_BYTES_MAX: usize = 64 << 10;
/// Parts of frames handed to TLS at once.
const SLICES_MAX: usize = 128;
