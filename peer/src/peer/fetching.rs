//! The life of a fetch: find the object, get its manifest, make ready, transfer, put in place, serve on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::message::{FindKey, Swarm as SwarmMessage};
use protocol::{Code, Manifest, PieceIndex, PieceSet, Record, SafePath};
use reactor::{Actions, Time};

use super::verifying::Verification;
use super::{Peer, Running, run};
use crate::disk::{FetchKey, FetchSpec, Prepared, StorageError, Task};
use crate::job::{FetchJob, Linger, Target};
use crate::notice::{Failure, Notice, Phase, StallReason, Status};
use crate::picker::Picker;
use crate::similar::similar_names;
use crate::swarm::{Home, Swarm, SwarmKey};
use crate::tracker_client::{Answer, Ask};
use crate::transfer::Transfer;

/// Peers asked for at once.
const WANT_PEERS: u16 = 50;
/// A name that is waited for is looked up so often.
const WAIT_POLL: Duration = Duration::from_secs(1);
/// The tracker is asked again so often while there are no peers.
const FIND_WHEN_ALONE: Duration = Duration::from_secs(3);
/// The same while there are some.
const FIND_WHEN_FED: Duration = Duration::from_secs(30);
/// A tracker that can't be reached for so long fails a fetch that has only a name.
const TRACKER_PATIENCE: Duration = Duration::from_millis(3_500);
/// Silence is named after so long.
const STALL_AFTER: Duration = Duration::from_millis(4_500);
/// What is stored is made durable so often: at most so much is fetched again after a power cut.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// Storing is tried again so often while the disk is full.
const DISK_RETRY: Duration = Duration::from_secs(2);

/// What a fetch is for.
#[derive(Debug)]
pub(super) enum Goal {
    /// The data.
    Data(FetchJob),
    /// The manifest alone.
    Manifest,
    /// The manifest, to compare local files with it.
    Verify(PathBuf),
}

/// One object on its way to us.
#[derive(Debug)]
pub(super) struct Fetch {
    at: usize,
    key: FetchKey,
    target: Target,
    goal: Goal,
    state: State,
    /// Trailing segments of the name that are taken as a path inside the object.
    inner: usize,
    record: Option<Record>,
    swarm: Option<SwarmKey>,
    ask: Option<(Ask, Asked)>,
    next_find: Time,
    started: Time,
    last_progress: Time,
    stalled: bool,
    stopping: bool,
    wanted: PieceSet,
    total: u64,
    done: u64,
    last_checkpoint: Time,
    checkpointing: bool,
    dirty: bool,
    disk_full: Option<(StorageError, Time)>,
    /// Where it is, once it is there.
    placed: Option<(PathBuf, bool)>,
    pub(super) verification: Option<Verification>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resolving,
    GettingManifest,
    Preparing,
    Transferring,
    Finishing,
    Verifying,
    Lingering(Time),
    Releasing,
    Over,
}

/// What the tracker was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Find,
    Similar,
}

impl Fetch {
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn job(&self) -> Option<&FetchJob> {
        match &self.goal {
            Goal::Data(job) => Some(job),
            Goal::Manifest | Goal::Verify(_) => None,
        }
    }

    fn name(&self) -> &SafePath {
        match &self.target {
            Target::Name { name, .. }
            | Target::Exact { name, .. }
            | Target::Manifest { name, .. } => name,
        }
    }

    /// The name without what is taken as a path inside the object, and that path.
    fn split_name(&self) -> (String, Option<SafePath>) {
        let segments: Vec<_> = self.name().segments().collect();
        let (outer, inner) = segments.split_at(segments.len() - self.inner);
        (outer.join("/"), SafePath::new(&inner.join("/")).ok())
    }

    fn wait(&self) -> Duration {
        self.job().map_or(Duration::ZERO, |job| job.wait)
    }

    fn moves(&mut self, now: Time) {
        self.last_progress = now;
    }
}

impl Peer {
    pub(super) fn start_fetch(
        &mut self,
        now: Time,
        at: usize,
        target: Target,
        goal: Goal,
    ) -> Fetch {
        let mut fetch = Fetch {
            at,
            key: self.new_fetch(),
            goal,
            state: State::Resolving,
            inner: 0,
            record: None,
            swarm: None,
            ask: None,
            next_find: now,
            started: now,
            last_progress: now,
            stalled: false,
            stopping: false,
            wanted: PieceSet::empty(0),
            total: 0,
            done: 0,
            last_checkpoint: now,
            checkpointing: false,
            dirty: false,
            disk_full: None,
            placed: None,
            verification: None,
            target,
        };
        self.find(now, &mut fetch);
        fetch
    }

    /// Asks the tracker for the object and its peers.
    fn find(&mut self, now: Time, fetch: &mut Fetch) {
        let key = match &fetch.target {
            Target::Name { version, .. } => {
                FindKey::Name { version: *version, name: fetch.split_name().0 }
            }
            Target::Exact { object, .. } => FindKey::Object(*object),
            Target::Manifest { manifest, .. } => FindKey::Object(manifest.id()),
        };
        let ask = self.tracker.find(key, WANT_PEERS);
        self.set_ask(fetch, ask, Asked::Find);
        fetch.next_find = now + FIND_WHEN_FED;
    }

    fn set_ask(&mut self, fetch: &mut Fetch, ask: Ask, asked: Asked) {
        if let Some((old, _)) = fetch.ask.replace((ask, asked)) {
            self.tracker.forget(old);
            self.asks.remove(&old);
        }
        self.asks.insert(ask, fetch.at);
    }

    pub(super) fn fetch_answered(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        ask: Ask,
        answer: Answer,
        out: &mut Actions<Task>,
    ) {
        let Some((_, asked)) = fetch.ask.take_if(|(expected, _)| *expected == ask) else { return };
        match (asked, answer) {
            (Asked::Find, Answer::Swarm(found)) => self.found(now, fetch, found, out),
            (Asked::Find, Answer::Status(status)) if status.code == Code::NOT_FOUND => {
                self.not_found(now, fetch, out);
            }
            (Asked::Similar, Answer::Page(page)) => {
                let names: Vec<_> =
                    page.entries.into_iter().map(|entry| entry.record.name).collect();
                let name = fetch.name().to_string();
                let similar = similar_names(&name, &names);
                self.fail_fetch(fetch, Failure::NotFound { name, similar }, out);
            }
            (_, Answer::Status(status)) => {
                let failure = Failure::Refused { code: status.code, text: status.text };
                self.fail_fetch(fetch, failure, out);
            }
            (_, Answer::Swarm(_) | Answer::Page(_) | Answer::Summary(_)) => {}
        }
    }

    fn found(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        found: SwarmMessage,
        out: &mut Actions<Task>,
    ) {
        if fetch.state == State::Resolving {
            fetch.state = State::GettingManifest;
            fetch.moves(now);
            fetch.record = Some(found.record.clone());
            self.tell(Notice::Found { swarm: found.clone() });
            self.enter_swarm(now, fetch, &found.record, out);
        }
        self.add_peers(&found);
        if found.peers.is_empty() {
            fetch.next_find = now + FIND_WHEN_ALONE;
        }
        self.dial(now, out);
    }

    /// Peers that the tracker names, asked for or not.
    pub(super) fn add_peers(&mut self, found: &SwarmMessage) {
        let Some(key) = self.by_object.get(&found.record.object) else { return };
        let Some(swarm) = self.swarms.get_mut(key) else { return };
        for peer in &found.peers {
            swarm.candidates.add(peer.addr);
        }
    }

    fn enter_swarm(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        record: &Record,
        out: &mut Actions<Task>,
    ) {
        if self.by_object.contains_key(&record.object) {
            let text = "this process shares that object already".into();
            self.fail_fetch(fetch, Failure::Refused { code: Code::DUPLICATE, text }, out);
            return;
        }
        let hint = Some(record.manifest_len).filter(|len| *len > 0);
        let mut swarm = Swarm::new(record.object, Home::Fetched(fetch.key), hint);
        swarm.dialing = true;
        let key = self.add_swarm(swarm);
        fetch.swarm = Some(key);
        if let Goal::Data(_) = fetch.goal {
            self.announce(key);
        }
        if let Target::Manifest { manifest, .. } = &fetch.target {
            let manifest = manifest.clone();
            if let Some(swarm) = self.swarms.get_mut(&key) {
                swarm.set_manifest(manifest.clone());
            }
            self.use_manifest(now, fetch, manifest, out);
        }
    }

    fn not_found(&mut self, now: Time, fetch: &mut Fetch, out: &mut Actions<Task>) {
        if fetch.state != State::Resolving {
            // The name is gone, or nobody holds it now; links that we have go on.
            fetch.next_find = now + FIND_WHEN_ALONE;
            return;
        }
        let segments = fetch.name().segments().count();
        let by_name = matches!(fetch.target, Target::Name { .. });
        if by_name && fetch.job().is_some() && fetch.inner + 1 < segments {
            fetch.inner += 1;
            self.find(now, fetch);
            return;
        }
        fetch.inner = 0;
        if let Target::Manifest { manifest, .. } = &fetch.target {
            // We know what it is, and wait for somebody who has it.
            let record = unnamed_record(manifest, fetch.name());
            fetch.state = State::GettingManifest;
            fetch.record = Some(record.clone());
            fetch.next_find = now + FIND_WHEN_ALONE;
            self.enter_swarm(now, fetch, &record, out);
        } else if now.since(fetch.started) < fetch.wait() {
            fetch.next_find = now + WAIT_POLL;
        } else if by_name {
            let limit = protocol::limits::MAX_LIST_LIMIT;
            let ask = self.tracker.list(String::new(), String::new(), limit);
            self.set_ask(fetch, ask, Asked::Similar);
        } else {
            let failure = Failure::NotFound { name: fetch.name().to_string(), similar: Vec::new() };
            self.fail_fetch(fetch, failure, out);
        }
    }

    fn with_fetch(
        &mut self,
        which: impl Fn(&Fetch) -> bool,
        step: impl FnOnce(&mut Self, &mut Fetch),
    ) {
        let owns = |job: &Running| matches!(job, Running::Fetch(fetch) if which(fetch));
        let Some(at) = self.jobs.iter().position(owns) else { return };
        self.with_job(at, |peer, job| {
            if let Running::Fetch(fetch) = job {
                step(peer, fetch);
            }
        });
    }

    pub(super) fn swarm_of_fetch(&self, key: FetchKey) -> Option<SwarmKey> {
        let is_home = |swarm: &Swarm| matches!(swarm.home, Home::Fetched(fetch) if fetch == key);
        self.swarms.iter().find(|(_, swarm)| is_home(swarm)).map(|(key, _)| *key)
    }

    /// The manifest of a swarm has come.
    pub(super) fn fetch_has_manifest(
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

    fn use_manifest(
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

    pub(super) fn on_prepared(
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
                Ok(_) if fetch.stopping => peer.release(fetch, out),
                Ok(prepared) => peer.begin_transfer(now, fetch, prepared, out),
            },
        );
    }

    fn begin_transfer(
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
            }
        }
        let kept = geometry
            .pieces()
            .filter(|piece| prepared.wanted.contains(*piece) && prepared.have.contains(*piece));
        fetch.done = kept.map(|piece| u64::from(geometry.span(piece).len)).sum();
        fetch.total = bytes(&prepared.wanted);
        fetch.wanted = prepared.wanted;
        fetch.last_checkpoint = now;
        fetch.moves(now);
        if let Some(path) = prepared.finished {
            fetch.placed = Some((path, true));
            self.fetch_placed(now, fetch, out);
            return;
        }
        let done = picker.is_done();
        swarm.begin_transfer(Transfer::new(picker, geometry, self.config.buffer_bytes));
        self.haves_due.get_or_insert(now);
        self.tell_started(fetch, &manifest, prepared.rechecked);
        fetch.state = State::Transferring;
        if done {
            self.finish(fetch, out);
        } else {
            self.dial(now, out);
            self.fill_swarm(now, key, out);
        }
    }

    fn tell_started(&mut self, fetch: &Fetch, manifest: &Manifest, rechecked: u32) {
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
    pub(super) fn fetch_progressed(
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
                fetch.disk_full = None;
                fetch.moves(now);
                if std::mem::take(&mut fetch.stalled) {
                    peer.tell(Notice::Resumed);
                }
                if fetch.state == State::Transferring && done {
                    peer.finish(fetch, out);
                }
            },
        );
    }

    fn finish(&mut self, fetch: &mut Fetch, out: &mut Actions<Task>) {
        fetch.state = State::Finishing;
        run(out, Task::Finish { fetch: fetch.key });
    }

    pub(super) fn fetch_disk_full(&mut self, now: Time, key: FetchKey, error: StorageError) {
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

    pub(super) fn fetch_failed_to_store(
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

    pub(super) fn on_checkpointed(
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

    pub(super) fn on_finished(
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
    fn fetch_placed(&mut self, now: Time, fetch: &mut Fetch, out: &mut Actions<Task>) {
        let Some((path, _)) = fetch.placed.clone() else { return };
        let Some(key) = fetch.swarm else { return };
        self.announce(key);
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
    pub(super) fn fetch_done(&mut self, now: Time, fetch: &mut Fetch) {
        let Some((path, already)) = fetch.placed.clone() else {
            fetch.state = State::Over;
            return;
        };
        let Some(swarm) = fetch.swarm.and_then(|key| self.swarms.get_mut(&key)) else { return };
        let (Some(manifest), Some(record)) = (swarm.manifest.clone(), fetch.record.clone()) else {
            return;
        };
        let (received, wasted, sent) = (swarm.received, swarm.wasted, swarm.sent);
        let sources = swarm.sources.len();
        swarm.dialing = false;
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
            _ if self.shutting_down => State::Over,
            Linger::No => State::Over,
            Linger::For(time) => State::Lingering(now + time),
            Linger::Forever => State::Lingering(Time::MAX),
        };
    }

    pub(super) fn fail_fetch(
        &mut self,
        fetch: &mut Fetch,
        failure: Failure,
        out: &mut Actions<Task>,
    ) {
        if matches!(fetch.state, State::Releasing | State::Over) {
            return;
        }
        self.fail(failure);
        self.release(fetch, out);
    }

    /// Ends a fetch; what is stored stays for a resume.
    fn release(&mut self, fetch: &mut Fetch, out: &mut Actions<Task>) {
        match fetch.state {
            State::Preparing | State::Transferring | State::Finishing => {
                fetch.state = State::Releasing;
                run(out, Task::Release { fetch: fetch.key });
            }
            _ => fetch.state = State::Over,
        }
    }

    pub(super) fn on_released(&mut self, key: FetchKey) {
        self.with_fetch(|fetch| fetch.key == key, |_, fetch| fetch.state = State::Over);
    }

    /// Somebody wants the process to end.
    pub(super) fn stop_fetch(&mut self, fetch: &mut Fetch, out: &mut Actions<Task>) {
        fetch.stopping = true;
        // A fetch that is being prepared or put in place is let finish that step.
        if !matches!(fetch.state, State::Preparing | State::Finishing | State::Releasing) {
            self.release(fetch, out);
        }
    }

    pub(super) fn tick_fetch(&mut self, now: Time, fetch: &mut Fetch, out: &mut Actions<Task>) {
        match fetch.state {
            State::Lingering(until) if until <= now => fetch.state = State::Over,
            State::Resolving | State::GettingManifest | State::Transferring => {
                self.tick_search(now, fetch, out);
                self.tick_disk(now, fetch, out);
                self.check_stall(now, fetch, out);
            }
            _ => {}
        }
    }

    fn tick_search(&mut self, now: Time, fetch: &mut Fetch, out: &mut Actions<Task>) {
        let alone = fetch
            .swarm
            .and_then(|key| self.swarms.get(&key))
            .is_none_or(|swarm| swarm.members.is_empty());
        let soon = now + FIND_WHEN_ALONE;
        if alone && fetch.swarm.is_some() && fetch.next_find > soon {
            fetch.next_find = soon;
        }
        if fetch.next_find <= now && fetch.ask.is_none() && !self.config.trackers.is_empty() {
            self.find(now, fetch);
        }
        let Some((address, why, since)) = self.tracker_down.clone() else { return };
        let named_only = !matches!(fetch.target, Target::Manifest { .. });
        let patience = TRACKER_PATIENCE.max(fetch.wait());
        if fetch.state == State::Resolving && named_only && now.since(since) >= patience {
            self.fail_fetch(fetch, Failure::NoTracker { address, why }, out);
        }
    }

    fn tick_disk(&mut self, now: Time, fetch: &mut Fetch, out: &mut Actions<Task>) {
        if let (Some((_, at)), Some(key)) = (&mut fetch.disk_full, fetch.swarm) {
            if *at <= now {
                *at = now + DISK_RETRY;
                self.store_again(key, out);
            }
        }
        let due = now.since(fetch.last_checkpoint) >= CHECKPOINT_EVERY;
        if due && fetch.dirty && !fetch.checkpointing {
            fetch.last_checkpoint = now;
            fetch.dirty = false;
            fetch.checkpointing = true;
            run(out, Task::Checkpoint { fetch: fetch.key });
        }
    }

    /// Names silence, and ends it when it has lasted as long as the user allows.
    fn check_stall(&mut self, now: Time, fetch: &mut Fetch, out: &mut Actions<Task>) {
        let quiet = now.since(fetch.last_progress);
        let resolving = fetch.state == State::Resolving;
        if quiet >= STALL_AFTER && !fetch.stalled && !resolving {
            fetch.stalled = true;
            let (reason, missing) = self.why_stalled(fetch);
            self.tell(Notice::Stalled { since: quiet, reason, missing });
        }
        let Some(job) = fetch.job() else { return };
        let over_time = job.timeout.is_some_and(|limit| now.since(fetch.started) >= limit);
        let stalled = !resolving && job.stall_timeout.is_some_and(|limit| quiet >= limit);
        if !over_time && !stalled {
            return;
        }
        let (reason, missing) = self.why_stalled(fetch);
        let failure = match (&fetch.disk_full, reason) {
            (Some((error, _)), _) => Failure::Storage(error.clone()),
            (None, StallReason::NoPeers | StallReason::NoSourceForPieces) if missing > 0 => {
                Failure::MissingPieces { pieces: missing }
            }
            _ => Failure::TimedOut { what: fetch.name().to_string() },
        };
        self.fail_fetch(fetch, failure, out);
    }

    fn why_stalled(&mut self, fetch: &Fetch) -> (StallReason, u32) {
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

    /// The tracker will not have us.
    pub(super) fn fetch_refused(
        &mut self,
        fetch: &mut Fetch,
        failure: Failure,
        out: &mut Actions<Task>,
    ) {
        if fetch.state == State::Resolving {
            self.fail_fetch(fetch, failure, out);
        }
    }

    pub(super) fn fetch_status(&self, fetch: &Fetch, status: &mut Status) {
        (status.total, status.done) = (fetch.total, fetch.done);
        status.phase = match fetch.state {
            State::Resolving | State::GettingManifest => Phase::Resolve,
            State::Preparing => Phase::Prepare,
            State::Transferring => Phase::Transfer,
            State::Finishing | State::Releasing => Phase::Finish,
            State::Verifying => {
                (status.total, status.done) = self.hashing.progress();
                Phase::Verify
            }
            State::Lingering(_) | State::Over => Phase::Seed,
        };
    }
}

/// Whether `path` is `part` or lies below it.
pub(super) fn is_below(path: &SafePath, part: &SafePath) -> bool {
    let rest = path.as_str().strip_prefix(part.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Stands for an object that the tracker does not know.
fn unnamed_record(manifest: &Manifest, name: &SafePath) -> Record {
    Record { name: name.to_string(), ..super::seeding::record_of("", manifest) }
}
