//! Signals that end a node.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT or SIGTERM. A second one ends the process at
/// once, with the exit code that a shell expects of a signal. Must be called within a tokio
/// runtime.
///
/// # Errors
/// The handlers cannot be installed.
pub fn signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => 128 + 2,
                _ = terminate.recv() => 128 + 15,
            };
            if cancelled.is_cancelled() {
                std::process::exit(code);
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}
