//! From stored pieces to a file in its place, and what comes after.

use std::path::PathBuf;

use protocol::{Code, Holding};
use reactor::{Actions, Time};

use super::{Fetch, State};
use crate::disk::{FetchKey, FileKey, StorageError, Task};
use crate::job::Linger;
use crate::notice::{Failure, Notice};
use crate::peer::Peer;
use crate::swarm::SwarmKey;

impl Peer {
    pub(in crate::peer) fn on_finished(
        &mut self,
        now: Time,
        key: FetchKey,
        outcome: Result<PathBuf, StorageError>,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key,
            |peer, fetch| match outcome {
                Ok(path) => {
                    fetch.placed = Some((path, false));
                    peer.fetch_placed(now, fetch, out);
                }
                Err(error) => peer.fail_fetch(fetch, Failure::Storage(error), out),
            },
        );
    }

    /// It is in its place.
    pub(in crate::peer) fn fetch_placed(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        out: &mut Actions<Task>,
    ) {
        let Some((path, _)) = fetch.placed.clone() else { return };
        let Some(key) = fetch.swarm else { return };
        let Some(swarm) = self.swarms.get(&key) else { return };
        if swarm.holds_nothing() {
            // It was not read, so it can't be served.
            self.tracker.set_holding(swarm.object, Holding::Dropped);
        } else {
            self.announce(key);
        }
        // Files opened in the part carry no stamp: from now on they are the user's, and may change.
        let ours = fetch.key;
        self.sources.close(|key| matches!(key, FileKey::Fetched { fetch, .. } if *fetch == ours));
        let manifest = self.swarms.get(&key).and_then(|swarm| swarm.manifest.clone());
        match manifest {
            Some(manifest) if fetch.job().is_some_and(|job| job.check) => {
                let part = fetch.split_name().1;
                fetch.state = State::Verifying;
                self.start_verifying(fetch, manifest, part, path, out);
            }
            _ => self.fetch_done(now, fetch),
        }
    }

    /// Everything that was asked for is true: tell, then serve on or end.
    pub(in crate::peer) fn fetch_done(&mut self, now: Time, fetch: &mut Fetch) {
        let Some((path, already)) = fetch.placed.clone() else {
            fetch.state = State::Over;
            return;
        };
        let Some(swarm) = fetch.swarm.and_then(|key| self.swarms.get_mut(&key)) else { return };
        let (Some(manifest), Some(record)) = (swarm.manifest.clone(), fetch.record.clone()) else {
            return;
        };
        let (received, wasted, sent) = (swarm.received, swarm.wasted(), swarm.sent);
        let sources = swarm.sources.len();
        swarm.dialing = false;
        let idle = swarm.holds_nothing();
        let took = now.since(fetch.started);
        self.tell(Notice::FetchDone {
            record,
            path,
            already,
            manifest,
            received,
            wasted,
            sent,
            sources,
            took,
        });
        let linger = fetch.job().map_or(Linger::No, |job| job.linger);
        fetch.state = match linger {
            _ if self.shutting_down || idle => State::Over,
            Linger::No => State::Over,
            Linger::For(time) => State::Lingering(now + time),
            Linger::Forever => State::Lingering(Time::MAX),
        };
    }

    /// A file of a fetch can't be opened for serving. While more of it comes, that is no reason to end:
    /// there may just be too many open files.
    pub(in crate::peer) fn fetched_file_failed(
        &mut self,
        now: Time,
        key: FetchKey,
        error: StorageError,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key,
            |peer, fetch| {
                let (State::Lingering(_), Some(swarm)) = (fetch.state, fetch.swarm) else { return };
                let version = fetch.record.as_ref().map(|record| record.version);
                peer.withdrawn(fetch.name().as_str(), version, error);
                peer.stop_serving(now, swarm, Code::GONE, out);
                fetch.state = State::Over;
            },
        );
    }

    /// The manifest is what was asked for, and breaks the rules.
    pub(in crate::peer) fn fetch_has_bad_manifest(
        &mut self,
        key: SwarmKey,
        why: &str,
        out: &mut Actions<Task>,
    ) {
        let text = format!("its manifest breaks the rules: {why}");
        self.with_fetch(
            |fetch| fetch.swarm == Some(key),
            |peer, fetch| peer.fail_fetch(fetch, Failure::Integrity { text }, out),
        );
    }
}
