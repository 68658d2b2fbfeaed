//! From a manifest to stored pieces: making ready, beginning, progress, a full disk.

use std::sync::Arc;

use protocol::{Manifest, PieceIndex, PieceSet, SafePath};
use reactor::{Actions, Time};

use super::{CHECKPOINT_EVERY, DISK_RETRY, Fetch, Goal, State, is_below};
use crate::disk::{FetchKey, FetchSpec, Prepared, StorageError, Task};
use crate::notice::{Failure, Notice};
use crate::peer::{Peer, run};
use crate::picker::Picker;
use crate::swarm::SwarmKey;
use crate::transfer::Transfer;

impl Peer {
    /// The manifest of a swarm has come.
    pub(in crate::peer) fn fetch_has_manifest(
        &mut self,
        now: Time,
        key: SwarmKey,
        manifest: Arc<Manifest>,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.swarm == Some(key),
            |peer, fetch| {
                peer.use_manifest(now, fetch, manifest, out);
            },
        );
    }

    pub(in crate::peer) fn use_manifest(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        manifest: Arc<Manifest>,
        out: &mut Actions<Task>,
    ) {
        fetch.moves(now);
        let version = fetch.record.as_ref().map_or(0, |record| record.version);
        let name = fetch.name().to_string();
        self.tell(Notice::GotManifest { name, version, manifest: manifest.clone() });
        match &fetch.goal {
            Goal::Manifest => fetch.state = State::Over,
            Goal::Verify(path) => {
                let path = path.clone();
                fetch.state = State::Verifying;
                self.start_verifying(fetch, manifest, None, path, out);
            }
            Goal::Data(job) => {
                let (outer, part) = fetch.split_name();
                let file_name = match (&part, SafePath::new(&outer)) {
                    (Some(part), _) => part.file_name().to_owned(),
                    (None, Ok(outer)) => outer.file_name().to_owned(),
                    (None, Err(_)) => outer,
                };
                let spec = FetchSpec {
                    manifest,
                    folder: job.folder.clone(),
                    file_name,
                    part,
                    if_exists: job.if_exists,
                    sync: job.sync,
                    reserve: job.reserve,
                };
                fetch.state = State::Preparing;
                run(out, Task::Prepare { fetch: fetch.key, spec: Box::new(spec) });
            }
        }
    }

    pub(in crate::peer) fn on_prepared(
        &mut self,
        now: Time,
        key: FetchKey,
        outcome: Result<Prepared, StorageError>,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key,
            |peer, fetch| match outcome {
                Err(error) => {
                    fetch.state = State::Over;
                    peer.fail(Failure::Storage(error));
                }
                Ok(_) if fetch.stopping => fetch.release(out),
                Ok(prepared) => peer.begin_transfer(now, fetch, prepared, out),
            },
        );
    }

    pub(in crate::peer) fn begin_transfer(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        prepared: Prepared,
        out: &mut Actions<Task>,
    ) {
        let Some(key) = fetch.swarm else { return };
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Some(manifest) = swarm.manifest.clone() else { return };
        let geometry = manifest.geometry();
        let bytes = |set: &PieceSet| -> u64 {
            let inside = |raw| geometry.piece(raw).map(|piece| u64::from(geometry.span(piece).len));
            set.iter().filter_map(inside).sum()
        };
        let mut picker = Picker::new(geometry.piece_count());
        for piece in geometry.pieces() {
            if prepared.wanted.contains(piece) {
                picker.want(piece);
            }
            if prepared.have.contains(piece) {
                picker.stored(piece);
                swarm.stored(piece);
            } else if prepared.doubtful.contains(piece) {
                // Nobody is asked for it before it was hashed.
                picker.received(piece);
            }
        }
        let doubtful = geometry.pieces().filter(|piece| prepared.doubtful.contains(*piece));
        self.storing.recheck(fetch.key, doubtful, geometry.piece_size());
        let kept = geometry
            .pieces()
            .filter(|piece| prepared.wanted.contains(*piece) && prepared.have.contains(*piece));
        fetch.done = kept.map(|piece| u64::from(geometry.span(piece).len)).sum();
        fetch.total = bytes(&prepared.wanted);
        fetch.wanted = prepared.wanted;
        fetch.last_checkpoint = now;
        fetch.moves(now);
        self.haves_due.get_or_insert(now);
        if fetch.done > 0 {
            mark!("resumed-with-pieces");
        }
        if let Some(path) = prepared.finished {
            mark!("there-already");
            fetch.placed = Some((path, true));
            self.fetch_placed(now, fetch, out);
            return;
        }
        let done = picker.is_done();
        swarm.begin_transfer(Transfer::new(picker, geometry, self.config.buffer_bytes));
        self.tell_started(fetch, &manifest, prepared.doubtful.count());
        fetch.state = State::Transferring;
        if done {
            fetch.finish(out);
        } else {
            self.dial(now, out);
            self.fill_swarm(now, key, out);
        }
    }

    pub(in crate::peer) fn tell_started(
        &mut self,
        fetch: &Fetch,
        manifest: &Manifest,
        rechecked: u32,
    ) {
        let (Some(job), Some(record)) = (fetch.job(), fetch.record.clone()) else { return };
        let (outer, part) = fetch.split_name();
        let name = part.as_ref().map_or_else(|| outer.clone(), |part| part.file_name().to_owned());
        let inside = |entry: &&protocol::Entry| match (&part, &entry.path) {
            (Some(part), Some(path)) => is_below(path, part),
            _ => true,
        };
        let files = manifest.entries().iter().filter(inside).count();
        self.tell(Notice::FetchStarted {
            record,
            dest: job.folder.join(name.rsplit('/').next().unwrap_or(&name)),
            bytes: fetch.total,
            kept: fetch.done,
            rechecked,
            files,
            pieces: fetch.wanted.count(),
        });
    }

    /// A piece was stored.
    pub(in crate::peer) fn fetch_progressed(
        &mut self,
        now: Time,
        key: FetchKey,
        piece: PieceIndex,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key,
            |peer, fetch| {
                let Some(swarm) = fetch.swarm.and_then(|key| peer.swarms.get(&key)) else { return };
                let (Some(manifest), Some(transfer)) = (&swarm.manifest, &swarm.transfer) else {
                    return;
                };
                if fetch.wanted.contains(piece) {
                    fetch.done += u64::from(manifest.geometry().span(piece).len);
                }
                let done = transfer.picker.is_done();
                fetch.dirty = true;
                // A small piece may fit where another did not: that one is still to be tried again.
                if swarm.unstored.is_empty() {
                    fetch.disk_full = None;
                }
                fetch.moves(now);
                if fetch.stall.take().is_some() {
                    mark!("stall-over");
                    peer.tell(Notice::Resumed);
                }
                if fetch.state == State::Transferring && done {
                    fetch.finish(out);
                }
            },
        );
    }

    pub(in crate::peer) fn fetch_disk_full(
        &mut self,
        now: Time,
        key: FetchKey,
        error: StorageError,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key,
            |peer, fetch| {
                if fetch.disk_full.is_none() {
                    peer.tell(Notice::DiskFull { error: error.clone() });
                }
                fetch.disk_full = Some((error, now + DISK_RETRY));
            },
        );
    }

    pub(in crate::peer) fn fetch_failed_to_store(
        &mut self,
        key: FetchKey,
        error: StorageError,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key,
            |peer, fetch| peer.fail_fetch(fetch, Failure::Storage(error), out),
        );
    }

    pub(in crate::peer) fn on_checkpointed(
        &mut self,
        key: FetchKey,
        outcome: Result<(), StorageError>,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key,
            |peer, fetch| {
                fetch.checkpointing = false;
                if let Err(error) = outcome {
                    peer.fail_fetch(fetch, Failure::Storage(error), out);
                }
            },
        );
    }

    pub(in crate::peer) fn tick_disk(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        out: &mut Actions<Task>,
    ) {
        if let (Some((_, at)), Some(key)) = (&mut fetch.disk_full, fetch.swarm)
            && *at <= now
        {
            *at = now + DISK_RETRY;
            self.store_again(key);
        }
        let due = now.since(fetch.last_checkpoint) >= CHECKPOINT_EVERY;
        if due && fetch.dirty && !fetch.checkpointing {
            fetch.last_checkpoint = now;
            fetch.dirty = false;
            mark!("checkpoint");
            fetch.checkpointing = true;
            run(out, Task::Checkpoint { fetch: fetch.key });
        }
    }
}
