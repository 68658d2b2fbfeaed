//! Seeded files that change or go away: how it is noticed, and what becomes of their objects.

use std::time::Duration;

use reactor::{Actions, Time};

use super::seeding::{Seeding, State};
use super::{Peer, run};
use crate::disk::{ShareKey, StorageError, Task};
use crate::hashing::WorkKey;
use crate::notice::{Failure, Notice};
use crate::swarm::{Home, SwarmKey};

/// Time between two looks at the same files.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Files whose looking-at is worth another second of pause.
const FILES_PER_SECOND: usize = 5_000;

impl Peer {
    pub(super) fn tick_seeding(&self, now: Time, seeding: &mut Seeding, out: &mut Actions<Task>) {
        let ended = |(settled, time)| now.since(settled) >= time;
        seeding.over |= seeding.settled_at.zip(seeding.seed_time).is_some_and(ended);
        let locals = seeding.shares.iter_mut().flat_map(|(share, locals)| {
            locals.iter_mut().enumerate().map(move |(index, local)| ((*share, index), local))
        });
        for ((share, object), local) in locals {
            let State::Serving(swarm, ..) = &local.state else { continue };
            if local.checking || local.next_check > now {
                continue;
            }
            let Some(Home::Shared(shared)) = self.swarms.get(swarm).map(|swarm| &swarm.home) else {
                continue;
            };
            local.checking = true;
            // An object with two names is served from the files of one; each is watched all the same.
            let files = if (shared.share, shared.object) == (share, object) {
                shared.files.clone()
            } else {
                local.scanned.files.iter().map(|file| (file.path.clone(), file.stamp)).collect()
            };
            run(out, Task::CheckFiles { share, object, files });
        }
    }

    pub(super) fn on_files_checked(
        &mut self,
        now: Time,
        share: ShareKey,
        object: usize,
        changed: Option<StorageError>,
        out: &mut Actions<Task>,
    ) {
        self.with_share(share, |peer, seeding, _| {
            let Some(local) = seeding.local((share, object)) else { return };
            local.checking = false;
            let pause = local.scanned.files.len() / FILES_PER_SECOND;
            local.next_check = now + CHECK_EVERY + Duration::from_secs(pause as u64);
            if let Some(error) = changed {
                peer.withdraw(now, seeding, (share, object), error, out);
            }
        });
    }

    pub(super) fn withdraw(
        &mut self,
        now: Time,
        seeding: &mut Seeding,
        key: WorkKey,
        error: StorageError,
        out: &mut Actions<Task>,
    ) {
        let Some(local) = seeding.local(key) else { return };
        let state = std::mem::replace(&mut local.state, State::Gone);
        let (swarm, version) = match state {
            State::Serving(swarm, _, version) => (swarm, Some(version)),
            State::Publishing(swarm, _) => (swarm, None),
            State::Hashing | State::Gone => return,
        };
        mark!("changed-file-withdrawn");
        let name = local.scanned.name.clone();
        self.withdrawn(&name, version, error.clone());
        self.drop_name(now, seeding, swarm, out);
        if seeding.is_settled() && seeding.is_empty() {
            self.fail(Failure::Storage(error));
            seeding.over = true;
        }
    }

    pub(super) fn withdrawn(&mut self, name: &str, version: Option<u32>, error: StorageError) {
        self.tell(Notice::Withdrawn { name: name.to_owned(), version, error });
    }

    /// Something about an object's files looks wrong: look at them now.
    pub(super) fn suspect_files(&mut self, key: SwarmKey, out: &mut Actions<Task>) {
        let Some(Home::Shared(shared)) = self.swarms.get(&key).map(|swarm| &swarm.home) else {
            return;
        };
        let shared = shared.clone();
        let (share, object) = (shared.share, shared.object);
        self.with_share(share, |_, seeding, _| {
            let Some(local) = seeding.local((share, object)) else { return };
            // Remotes can make us look, but only once at a time.
            if !std::mem::replace(&mut local.checking, true) {
                run(out, Task::CheckFiles { share, object, files: shared.files.clone() });
            }
        });
    }

    /// A file could not be opened for serving.
    pub(super) fn file_failed(
        &mut self,
        now: Time,
        key: SwarmKey,
        error: StorageError,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get(&key) else { return };
        match &swarm.home {
            Home::Shared(shared) => {
                let (share, object) = (shared.share, shared.object);
                self.on_files_checked(now, share, object, Some(error), out);
            }
            Home::Fetched(fetch) => self.fetched_file_failed(now, *fetch, error, out),
        }
    }
}
