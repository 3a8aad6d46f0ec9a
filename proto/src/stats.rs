//! Counters: plain integers, raised where the event occurs, exported by the shell.

/// Defines a `Copy` struct of counters that can be listed by name.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $help:literal])+ $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $help])+ pub $field: u64,)+
        }

        impl $name {
            /// Each counter's name, help text and value, in order of declaration.
            pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($field), concat!($($help),+).trim_ascii(), self.$field),)+]
            }
        }
    };
}

counters! {
    /// What a peer has done since it started.
    PeerStats {
        /// Messages published here.
        published,
        /// Messages handed to the application.
        delivered,
        /// Batches received for the first time.
        batches_received,
        /// Batches received again.
        batches_duplicate,
        /// Bytes of batches received, duplicates included.
        batch_bytes_received,
        /// Batches sent because a link is eager.
        batches_pushed,
        /// Batches sent because they were pulled.
        batches_repaired,
        /// Bytes of batches sent.
        batch_bytes_sent,
        /// Signatures of batches checked; one stands for all that were signed together.
        signatures_checked,
        /// Batches passed on and delivered unchecked, because a neighbour pushed them.
        batches_trusted,
        /// Batches dropped because their signature is not the origin's.
        batches_forged,
        /// Batches dropped because they are older than all retention.
        batches_stale,
        /// Batches dropped because their topic was deleted.
        batches_deleted_topic,
        /// Batches dropped because they are too far ahead of their stream.
        batches_beyond_window,
        /// Batches of topics that this peer does not want.
        batches_unwanted,
        /// Batches that overlap another one of their stream.
        batches_overlapping,
        /// Messages received whose headers cannot be read, and which come without them.
        headers_malformed,
        /// Batches announced here of which there is no room to wait for.
        announces_shed,
        /// Announcements sent.
        announces_sent,
        /// Announcements received.
        announces_received,
        /// Grafts sent.
        grafts_sent,
        /// Grafts received.
        grafts_received,
        /// Prunes sent.
        prunes_sent,
        /// Prunes received.
        prunes_received,
        /// Ranges pulled to fill holes.
        pulls_sent,
        /// Pulls answered.
        pulls_answered,
        /// Times that a neighbour was told how far a stream has come here and behind this peer.
        frontiers_sent,
        /// Times that publications had to wait because too much of their stream was on its way.
        windows_full,
        /// Times that publishing went on though nobody told to have what was published before.
        windows_stuck,
        /// Verdicts that were ignored because their voters are not known to be seeds.
        verdicts_unknown,
        /// Questions to seeds that took longer than usual, so that others were asked too.
        requests_late,
        /// Questions for history answered.
        histories_answered,
        /// Batches sent because a neighbour asked for history.
        batches_replayed,
        /// Batches of a history that were left out because it was too long.
        history_shed,
        /// Batches that were asked for, by a graft or a pull, and supplied.
        repairs,
        /// Batches that were asked for, and came by themselves before they were supplied.
        repairs_late,
        /// Times that a seed knew of streams that are further.
        behind,
        /// Holes reported as gaps.
        gaps,
        /// Frames shed because a link's queue was full.
        frames_shed,
        /// Links that became lazy for an origin because their queue was full.
        overload_lazy,
        /// Announcements shed because a link's queue was full.
        overload_announces,
        /// Links closed because their queue was full for too long.
        overload_closed,
        /// Links that became active.
        links_opened,
        /// Active links that ended.
        links_closed,
        /// Links closed because the other end broke the protocol.
        violations,
        /// Dials begun.
        dials,
        /// Dials that failed.
        dials_failed,
        /// Pings sent to silent neighbours.
        pings_sent,
        /// Neighbours that became suspect.
        suspects,
        /// Dead-node reports sent to seeds.
        reports_sent,
        /// Entries dropped from full views.
        view_evictions,
    }
}

counters! {
    /// What a seed has done since it started.
    SeedStats {
        /// Registrations taken.
        registrations,
        /// Renewals taken.
        renewals,
        /// Records merged.
        records_merged,
        /// Records dropped because they were not their owner's, or not legal.
        records_refused,
        /// Records dropped because a table or a peer's share of it is full.
        records_shed,
        /// Samples answered.
        samples,
        /// Topic lookups answered.
        lookups,
        /// Agreements of the seeds on a topic's record that this one brought about.
        agreements,
        /// Attempts at agreements that this seed began.
        agreement_attempts,
        /// Topics that were dropped because nobody hosted or wanted them for too long.
        topics_dropped,
        /// Dead-node reports received.
        reports,
        /// Dead-node reports dropped because too many peers are accused.
        reports_shed,
        /// Probes of accused peers.
        probes,
        /// Votes cast.
        votes,
        /// Peers declared dead.
        deaths,
        /// Leases that ran out.
        leases_expired,
        /// Links closed because the other end broke the protocol.
        violations,
        /// Streams whose heads a peer told and that found no room.
        heads_shed,
        /// Full table transfers sent to other seeds.
        table_transfers,
        /// Links closed because too much waited for the disk of this seed.
        links_overflowed,
        /// Frames shed because a link's queue was full.
        frames_shed,
    }
}
