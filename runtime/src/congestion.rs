//! Whether the links as a whole are too full to publish more.

/// How full one link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Load {
    /// It has carried no batches, or is closing: it has no say.
    #[default]
    None,
    /// It carries batches and keeps up.
    Light,
    /// It carries batches, and more than [`HEAVY_BYTES`] are queued.
    Heavy,
}

impl Load {
    pub(crate) fn of(carries_traffic: bool, queued_bytes: usize) -> Self {
        match (carries_traffic, queued_bytes > HEAVY_BYTES) {
            (false, _) => Self::None,
            (true, false) => Self::Light,
            (true, true) => Self::Heavy,
        }
    }
}

/// The loads of all links.
#[derive(Debug, Default)]
pub(crate) struct Congestion {
    light: usize,
    heavy: usize,
}

impl Congestion {
    /// A link's load changed.
    pub(crate) fn change(&mut self, from: Load, to: Load) {
        match from {
            Load::None => {}
            Load::Light => self.light -= 1,
            Load::Heavy => self.heavy -= 1,
        }
        match to {
            Load::None => {}
            Load::Light => self.light += 1,
            Load::Heavy => self.heavy += 1,
        }
    }

    /// More than half of the links are heavily loaded: one slow neighbour slows nobody down,
    /// an application that publishes more than the node can send is.
    pub(crate) fn is_high(&self) -> bool {
        self.heavy > self.light
    }
}

/// A link with more than this queued is heavily loaded: 10 ms at 100 MB/s.
const HEAVY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_links_are_not_enough() {
        let mut congestion = Congestion::default();
        assert!(!congestion.is_high());
        congestion.change(Load::None, Load::of(true, 0));
        congestion.change(Load::None, Load::of(true, 2 << 20));
        congestion.change(Load::None, Load::of(false, 2 << 20));
        assert!(!congestion.is_high());
        congestion.change(Load::Light, Load::Heavy);
        assert!(congestion.is_high());
        congestion.change(Load::Heavy, Load::None);
        congestion.change(Load::Heavy, Load::Light);
        assert!(!congestion.is_high());
    }
}
