//! Silence: when it is named, what is to blame, and when it ends a fetch.

use reactor::{Actions, Time};

use super::{Fetch, MANIFEST_PATIENCE, STALL_AFTER, State};
use crate::disk::Task;
use crate::notice::{Failure, Notice, StallReason};
use crate::peer::Peer;

impl Peer {
    /// Names silence, and ends it when it has lasted as long as the user allows.
    pub(in crate::peer) fn check_stall(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        out: &mut Actions<Task>,
    ) {
        // Pieces can be long in coming: their bytes are signs of life, too.
        let swarm = fetch.swarm.and_then(|key| self.swarms.get(&key));
        let useful = swarm.map_or(0, |swarm| swarm.received.saturating_sub(swarm.wasted()));
        if useful > fetch.useful {
            fetch.useful = useful;
            fetch.moves(now);
        }
        let quiet = now.since(fetch.last_progress);
        let resolving = fetch.state == State::Resolving;
        if quiet >= STALL_AFTER && !fetch.stalled && !resolving {
            mark!("stalled");
            fetch.stalled = true;
            let (reason, missing) = self.why_stalled(fetch);
            self.tell(Notice::Stalled { since: quiet, reason, missing });
        }
        let (timeout, stall_timeout) = match fetch.job() {
            Some(job) => (job.timeout, job.stall_timeout),
            None => (None, Some(MANIFEST_PATIENCE)),
        };
        let over_time = timeout.is_some_and(|limit| now.since(fetch.started) >= limit);
        let stalled = !resolving && stall_timeout.is_some_and(|limit| quiet >= limit);
        if !over_time && !stalled {
            return;
        }
        let (reason, missing) = self.why_stalled(fetch);
        let failure = match (&fetch.disk_full, reason) {
            (Some((error, _)), _) => Failure::Storage(error.clone()),
            (None, StallReason::NoPeers | StallReason::NoSourceForPieces) if missing > 0 => {
                mark!("pieces-missing");
                Failure::MissingPieces { pieces: missing }
            }
            _ => Failure::TimedOut { what: fetch.name().to_string() },
        };
        self.fail_fetch(fetch, failure, out);
    }

    pub(in crate::peer) fn why_stalled(&mut self, fetch: &Fetch) -> (StallReason, u32) {
        let Some(swarm) = fetch.swarm.and_then(|key| self.swarms.get_mut(&key)) else {
            let reason =
                if self.tracker_up { StallReason::NoPeers } else { StallReason::NoTracker };
            return (reason, 0);
        };
        let missing = match (&mut swarm.transfer, &fetch.record) {
            (Some(transfer), _) => transfer.picker.unavailable(),
            (None, Some(record)) => record.piece_count,
            (None, None) => 0,
        };
        let reason = if fetch.disk_full.is_some() || !swarm.storing.is_empty() {
            StallReason::Disk
        } else if swarm.members.is_empty() && !self.tracker_up {
            StallReason::NoTracker
        } else if swarm.members.is_empty() {
            StallReason::NoPeers
        } else if swarm.transfer.is_some() && missing > 0 {
            StallReason::NoSourceForPieces
        } else {
            StallReason::PeersSilent
        };
        (reason, missing)
    }
}
