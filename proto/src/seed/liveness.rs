//! Silent links are pinged; a session that stays silent makes this seed accuse its peer.

use core::time::Duration;

use crate::id::LinkId;
use crate::seed::links::Phase;
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{Frame, Reason};

/// A session whose peer answers nothing is closed after so many pings. Ten times the default
/// misses: a peer that was paused for less finds its session, and on it the verdict on it.
const SESSION_PINGS_MAX: u32 = 30;
/// The shortest interval, whatever is configured.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

impl Seed {
    /// Any frame is a reply. A deadline that is reached late says that this seed was stalled:
    /// what it did not hear meanwhile accuses nobody.
    pub(super) fn look_at_silence(&mut self, now: Instant, due: Instant, id: LinkId) {
        let interval = self.config.liveness.interval.max(INTERVAL_MIN);
        let misses = self.config.liveness.misses;
        let Some(link) = self.links.get_mut(id) else { return };
        if now.since(due) >= interval {
            link.pings = 0;
            link.heard_at = now;
        }
        let silence = now.since(link.heard_at);
        if silence < interval {
            let again = link.heard_at + interval;
            self.timers.set(Timer::Idle(id), again);
            return;
        }
        let unanswered = link.pings;
        link.pings = link.pings.saturating_add(1);
        let (node, registered) = match &link.phase {
            Phase::Session(session) => (link.node, session.registered),
            _ if unanswered >= misses => {
                return self.close(now, id, Reason::Suspect, "silent for too long");
            }
            _ => (link.node, None),
        };
        if unanswered >= SESSION_PINGS_MAX.max(misses) {
            return self.close(now, id, Reason::Suspect, "silent for too long");
        }
        self.timers.set(Timer::Idle(id), now + interval);
        self.send(id, Frame::Ping(u64::from(unanswered)));
        if let (true, Some(life)) = (unanswered >= misses, registered) {
            self.accuse(now, node, life, self.me());
        }
    }
}
