//! A TCP proxy in front of a node: a link through it can be made slow.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wait;

/// Read at once when nothing is slow.
const CHUNK_BYTES: usize = 64 << 10;
/// A slow connection moves so many times a second.
const MOVES_PER_S: u64 = 20;

/// A proxy. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Arc<Connection>>>>,
    stop: Arc<AtomicBool>,
    blocked: Arc<AtomicBool>,
}

/// One connection through a proxy.
#[derive(Debug)]
pub struct Connection {
    ends: [TcpStream; 2],
    moved_bytes: AtomicU64,
    /// 0 for as fast as it goes.
    bytes_per_s: AtomicU64,
    over: AtomicBool,
}

impl Proxy {
    /// Listens on a free port for connections to `target`.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let blocked = Arc::new(AtomicBool::new(false));
        let (made, stopped) = (Arc::clone(&connections), Arc::clone(&stop));
        let refusing = Arc::clone(&blocked);
        thread::spawn(move || {
            for accepted in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if refusing.load(Ordering::Relaxed) {
                    continue;
                }
                // A connection that cannot be passed on is closed, as by a node that is down.
                if let Ok(connection) = accepted.and_then(|near| pass_on(near, target)) {
                    if refusing.load(Ordering::Relaxed) {
                        connection.close();
                    }
                    made.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                }
            }
        });
        Self { address, connections, stop, blocked }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and closes new ones at once, until it is unblocked.
    pub fn block(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
        if blocked {
            self.cut();
        }
    }

    fn cut(&self) {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.iter().for_each(|connection| connection.close());
    }

    /// The connection whose end at the target has this address, as the target sees it.
    pub fn connection(&self, remote: SocketAddr) -> Option<Arc<Connection>> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |connection: &&Arc<Connection>| {
            connection.ends[1].local_addr().is_ok_and(|address| address == remote)
        };
        connections.iter().find(is_it).cloned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that listens; if that fails it has ended.
        let _ = TcpStream::connect(self.address);
        self.cut();
    }
}

impl Connection {
    /// Lets at most so many bytes a second through in each direction; 0 for no limit.
    pub fn limit(&self, bytes_per_s: u64) {
        self.bytes_per_s.store(bytes_per_s, Ordering::Relaxed);
    }

    /// Bytes that went through, both directions together.
    pub fn moved_bytes(&self) -> u64 {
        self.moved_bytes.load(Ordering::Relaxed)
    }

    /// Whether one of its ends has closed it.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
        // Ends that are closed already are fine.
        let _ = self.ends.each_ref().map(|end| end.shutdown(Shutdown::Both));
    }

    fn carry(&self, from: usize) -> io::Result<()> {
        let (mut from, mut to) = (&self.ends[from], &self.ends[1 - from]);
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let limit = self.bytes_per_s.load(Ordering::Relaxed);
            let room = match usize::try_from(limit / MOVES_PER_S) {
                Ok(0) | Err(_) => CHUNK_BYTES,
                Ok(room) => room.min(CHUNK_BYTES),
            };
            let read = from.read(&mut buffer[..room])?;
            if read == 0 {
                return Ok(());
            }
            if let Some(micros) = (read as u64 * 1_000_000).checked_div(limit) {
                wait::pause(Duration::from_micros(micros));
            }
            to.write_all(&buffer[..read])?;
            self.moved_bytes.fetch_add(read as u64, Ordering::Relaxed);
        }
    }
}

fn pass_on(near: TcpStream, target: SocketAddr) -> io::Result<Arc<Connection>> {
    let far = TcpStream::connect(target)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let connection = Arc::new(Connection {
        ends: [near, far],
        moved_bytes: AtomicU64::new(0),
        bytes_per_s: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    for from in 0..2 {
        let connection = Arc::clone(&connection);
        thread::spawn(move || {
            // However it ends, the other direction ends with it, as a link does.
            let _ = connection.carry(from);
            connection.close();
        });
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_limit_is_kept_and_lifted() {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let proxy = Proxy::start(target.local_addr().expect("bound"));
        let mut near = TcpStream::connect(proxy.address()).expect("taken");
        let (mut far, remote) = target.accept().expect("passed on");
        let connection =
            wait::until("the connection stands", wait::SOON, || proxy.connection(remote));
        let mut buffer = vec![0; 20_000];
        let mut send = |bytes: usize| {
            let begun = Instant::now();
            near.write_all(&vec![1; bytes]).expect("room");
            far.read_exact(&mut buffer[..bytes]).expect("all of it");
            begun.elapsed()
        };
        send(1);
        connection.limit(40_000);
        // One read may have begun before the limit was set.
        send(1);
        let slow = send(20_000);
        assert!(slow >= Duration::from_millis(400), "{slow:?}");
        connection.limit(0);
        send(10_000);
        // What was read here may not have been counted yet.
        wait::holds("all is counted", wait::SOON, || connection.moved_bytes() == 30_002);
        drop(proxy);
        assert!(connection.is_over());
        assert_eq!(far.read(&mut buffer).unwrap_or(0), 0);
    }
}
