//! Whose turn it is: small clusters run beside each other, a large one runs alone.
//!
//! The lock is on a file, so it holds between the threads of one test process and between test
//! processes, and ends with whoever holds it.

use std::fs::{self, File};

use crate::binaries;

/// The right to run. Ends when dropped.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

/// Waits for the right to run beside others.
pub fn shared() -> Turn {
    let file = open();
    file.lock_shared().expect("a file can be locked");
    Turn { _lock: file }
}

/// Waits for the right to run alone: for clusters that keep all cores busy, and for tests that
/// measure time.
pub fn alone() -> Turn {
    let file = open();
    file.lock().expect("a file can be locked");
    Turn { _lock: file }
}

fn open() -> File {
    let folder = binaries::folder().join("tidings-tests");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    File::create(folder.join("turn.lock")).expect("the target folder can be written")
}
