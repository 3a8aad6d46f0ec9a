//! Waiting for conditions.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(20);

/// Enough for anything that takes less than a second on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(10);

/// Looks until there is something, and returns it.
///
/// # Panics
/// When there is nothing after `limit`; the message says `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        pause(STEP);
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// When it does not hold after `limit`; the message says `what` was waited for.
#[track_caller]
pub fn holds(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    until(what, limit, || condition().then_some(()));
}

/// Waits until a check passes.
///
/// # Panics
/// When it does not pass after `limit`; the message says `what` was waited for, and what the last
/// check found instead.
#[track_caller]
pub fn passes(what: &str, limit: Duration, mut check: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(found) = check() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}, but {found}");
        pause(STEP);
    }
}

/// Watches that a condition goes on to hold for `time`.
///
/// # Panics
/// When it does not; the message says `what` should have stayed as it was.
#[track_caller]
pub fn stays(what: &str, time: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(condition(), "no longer after {:?}: {what}", start.elapsed());
        pause(5 * STEP);
    }
}

/// Lets time pass, for tests in which that is the subject.
#[expect(clippy::disallowed_methods, reason = "the one place where tests sleep")]
pub fn pause(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_was_found() {
        let mut tries = 0;
        let found = until("three tries", SOON, || {
            tries += 1;
            (tries == 3).then_some(tries)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "not within 30ms: pigs fly")]
    fn says_what_did_not_happen() {
        until("pigs fly", Duration::from_millis(30), || None::<()>);
    }
}
