//! Which links carry a batch on.
//!
//! Every link that wants the topic carries every batch, but not back to where it came from:
//! flooding with duplicate detection.

use crate::id::{LinkId, NodeId};

/// The links that carry a batch further. `links` want the topic; `from` brought the batch and
/// `origin` made it, so neither needs it.
pub(crate) fn eager<'a>(
    links: &'a [(LinkId, NodeId)],
    from: Option<LinkId>,
    origin: &'a NodeId,
) -> impl Iterator<Item = LinkId> + 'a {
    links
        .iter()
        .filter(move |(link, node)| Some(*link) != from && node != origin)
        .map(|(link, _)| *link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_back() {
        let links = [1, 2, 3].map(|n| (LinkId(n), NodeId([n as u8; 32])));
        let to: Vec<_> = eager(&links, Some(LinkId(1)), &NodeId([3; 32])).collect();
        assert_eq!(to, [LinkId(2)]);
    }
}
