//! Which links have something to do. Each link has a waker of its own that puts its number on a
//! list and wakes the driver, so that the driver never polls a link that is idle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use tidings_proto::LinkId;

/// The links that were woken since the driver last looked.
#[derive(Debug, Default)]
pub(crate) struct ReadyLinks {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Each link at most once: at most as many as there are links.
    links: Vec<LinkId>,
    driver: Option<Waker>,
}

impl ReadyLinks {
    /// Notes whom to wake.
    pub(crate) fn register(&self, driver: &Waker) {
        let mut inner = self.lock();
        if !inner.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            inner.driver = Some(driver.clone());
        }
    }

    /// Moves the ready links to `links`, which is empty. Each must be told by
    /// [`LinkSignal::begin`] before it is polled.
    pub(crate) fn take(&self, links: &mut Vec<LinkId>) {
        std::mem::swap(&mut self.lock().links, links);
    }

    /// Whether no link is ready.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().links.is_empty()
    }

    fn add(&self, link: LinkId) {
        let driver = {
            let mut inner = self.lock();
            inner.links.push(link);
            inner.driver.clone()
        };
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing can panic while the lock is held; a poisoned list is as good as another.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one link.
#[derive(Debug)]
pub(crate) struct LinkSignal {
    link: LinkId,
    listed: AtomicBool,
    ready: Arc<ReadyLinks>,
}

impl LinkSignal {
    pub(crate) fn new(link: LinkId, ready: Arc<ReadyLinks>) -> Arc<Self> {
        Arc::new(Self { link, listed: AtomicBool::new(false), ready })
    }

    /// The link is about to be polled: what happens from now on lists it again.
    pub(crate) fn begin(&self) {
        self.listed.store(false, Ordering::Release);
    }

    /// Lists the link, for work that was left over.
    pub(crate) fn list(&self) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.ready.add(self.link);
        }
    }
}

impl Wake for LinkSignal {
    fn wake(self: Arc<Self>) {
        self.list();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.list();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_listed_once_until_it_is_polled() {
        let ready = Arc::new(ReadyLinks::default());
        let signal = LinkSignal::new(LinkId(7), ready.clone());
        let waker = Waker::from(signal.clone());
        waker.wake_by_ref();
        waker.wake_by_ref();
        let mut links = Vec::new();
        ready.take(&mut links);
        assert_eq!(links, [LinkId(7)]);
        assert!(ready.is_empty());
        waker.wake_by_ref();
        links.clear();
        ready.take(&mut links);
        assert!(links.is_empty(), "not polled yet");
        signal.begin();
        waker.wake_by_ref();
        ready.take(&mut links);
        assert_eq!(links, [LinkId(7)]);
    }
}
