//! Silence: when it is named, what is to blame, and when it ends a fetch.

use std::time::Duration;

use reactor::{Actions, Time};

use super::{Fetch, MANIFEST_PATIENCE, STALL_AFTER, State};
use crate::disk::Task;
use crate::notice::{Failure, Missing, Notice, StallReason};
use crate::peer::Peer;

/// While nothing comes, whether the reason is still the same is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What was told of a stall last.
#[derive(Clone, Debug)]
pub(in crate::peer) struct Told {
    at: Time,
    reason: StallReason,
    missing: Missing,
}

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
        if quiet >= STALL_AFTER && !resolving {
            self.tell_stall(now, quiet, fetch);
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
            (None, StallReason::NoPeers | StallReason::NoSourceForPieces) if missing.count > 0 => {
                mark!("pieces-missing");
                Failure::MissingPieces { missing }
            }
            _ => Failure::TimedOut { what: fetch.name().to_string() },
        };
        self.fail_fetch(fetch, failure, out);
    }

    fn tell_stall(&mut self, now: Time, quiet: Duration, fetch: &mut Fetch) {
        if fetch.stall.as_ref().is_some_and(|told| now.since(told.at) < LOOK_AGAIN) {
            return;
        }
        let (reason, missing) = self.why_stalled(fetch);
        let news = Told { at: now, reason, missing };
        let known = fetch.stall.replace(news.clone());
        if known.is_none_or(|known| (known.reason, known.missing) != (reason, news.missing.clone()))
        {
            mark!("stalled");
            self.tell(Notice::Stalled { since: quiet, reason, missing: news.missing });
        }
    }

    pub(in crate::peer) fn why_stalled(&mut self, fetch: &Fetch) -> (StallReason, Missing) {
        let Some(swarm) = fetch.swarm.and_then(|key| self.swarms.get_mut(&key)) else {
            let reason =
                if self.tracker_up { StallReason::NoPeers } else { StallReason::NoTracker };
            return (reason, Missing::default());
        };
        let missing = match (&mut swarm.transfer, &fetch.record) {
            (Some(transfer), _) => Missing::from(transfer.picker.unavailable()),
            (None, Some(record)) => Missing { count: record.piece_count, pieces: None },
            (None, None) => Missing::default(),
        };
        let reason = if fetch.disk_full.is_some() || !swarm.storing.is_empty() {
            StallReason::Disk
        } else if swarm.members.is_empty() && !self.tracker_up {
            StallReason::NoTracker
        } else if swarm.members.is_empty() {
            StallReason::NoPeers
        } else if swarm.transfer.is_some() && missing.count > 0 {
            StallReason::NoSourceForPieces
        } else {
            StallReason::PeersSilent
        };
        (reason, missing)
    }
}
