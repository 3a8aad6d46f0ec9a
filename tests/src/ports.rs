//! Ports for nodes that must know them before they start.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the system serves port 0, so that nobody gets one by chance.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A port that nobody listens on, and that no other test is given while this lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// The next free one.
    ///
    /// # Panics
    /// When there is none.
    pub fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = std::env::temp_dir().join("tidings-tests-ports");
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let start = std::process::id() as u16 % 997 * 17;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + start.wrapping_add(step) % COUNT;
            let lock = File::create(folder.join(number.to_string()));
            let lock = lock.expect("the temporary folder can be written");
            // A listener of our own would be held for a moment by any process that another test
            // starts meanwhile.
            let free = || TcpStream::connect((Ipv4Addr::LOCALHOST, number)).is_err();
            if lock.try_lock().is_ok() && free() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port");
    }

    /// The port on the loopback interface.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ() {
        let ports = [(); 20].map(|()| Port::free());
        let mut numbers = ports.map(|port| port.number).to_vec();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
    }
}
