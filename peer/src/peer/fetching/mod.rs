//! The life of a fetch: find the object, get its manifest, make ready, transfer, put in place, serve on.

use std::path::PathBuf;
use std::time::Duration;

use protocol::message::Swarm as SwarmMessage;
use protocol::{Manifest, ObjectId, PieceSet, Record, SafePath};
use reactor::{Actions, Time};

mod ending;
mod resolving;
mod stalls;
mod transferring;

use super::verifying::Verification;
use super::{Peer, Running, run};
use crate::disk::{FetchKey, StorageError, Task};
use crate::job::{FetchJob, Target};
use crate::notice::{Failure, Phase, Status};
use crate::swarm::{Home, Swarm, SwarmKey};
use crate::tracker_client::Ask;

/// Peers asked for at once.
const WANT_PEERS: u16 = 50;
/// A name that is waited for is looked up so often.
const WAIT_POLL: Duration = Duration::from_secs(1);
/// The tracker is asked again so often while there are no peers.
const FIND_WHEN_ALONE: Duration = Duration::from_secs(3);
/// The same while there are some. At first sooner, in pauses that double: of those that started with us
/// the first answer names nobody, and everybody's first pieces need many takers.
const FIND_WHEN_FED: Duration = Duration::from_secs(30);
const FIND_AGAIN: Duration = Duration::from_millis(50);
/// A tracker that can't be reached for so long fails a fetch that has only a name.
const TRACKER_PATIENCE: Duration = Duration::from_millis(3_500);
/// Silence is named after so long.
const STALL_AFTER: Duration = Duration::from_millis(4_500);
/// What is stored is made durable so often: at most so much is fetched again after a power cut.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// Whoever wants a manifest only gives up after so much silence.
const MANIFEST_PATIENCE: Duration = Duration::from_secs(30);
/// Storing is tried again so often while the disk is full.
const DISK_RETRY: Duration = Duration::from_secs(2);

/// What a fetch is for.
#[derive(Debug)]
pub(in crate::peer) enum Goal {
    /// The data.
    Data(FetchJob),
    /// The manifest alone.
    Manifest,
    /// The manifest, to compare local files with it.
    Verify(PathBuf),
}

/// One object on its way to us.
#[derive(Debug)]
pub(in crate::peer) struct Fetch {
    at: usize,
    key: FetchKey,
    target: Target,
    goal: Goal,
    state: State,
    /// Trailing segments of the name that are taken as a path inside the object.
    inner: usize,
    record: Option<Record>,
    /// What the tracker said of the object, while it is [`State::Recalling`].
    found: Option<SwarmMessage>,
    swarm: Option<SwarmKey>,
    ask: Option<(Ask, Asked)>,
    next_find: Time,
    /// How long after the next question the one after it is due.
    find_pause: Duration,
    started: Time,
    last_progress: Time,
    /// Bytes of use that had come when we last looked.
    useful: u64,
    /// Nothing comes, and this is what was told of it.
    stall: Option<stalls::Told>,
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
    pub(in crate::peer) verification: Option<Verification>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resolving,
    /// Waits for its own disk to say whether it has the manifest.
    Recalling,
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
    pub(in crate::peer) fn is_over(&self) -> bool {
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

    /// Which object it is, as far as we know.
    fn object(&self) -> Option<ObjectId> {
        match &self.target {
            Target::Name { .. } => self.record.as_ref().map(|record| record.object),
            Target::Exact { object, .. } => Some(*object),
            Target::Manifest { manifest, .. } => Some(manifest.id()),
        }
    }

    fn wait(&self) -> Duration {
        self.job().map_or(Duration::ZERO, |job| job.wait)
    }

    /// All wanted pieces are stored.
    fn finish(&mut self, out: &mut Actions<Task>) {
        self.state = State::Finishing;
        run(out, Task::Finish { fetch: self.key });
    }

    /// Ends it; what is stored stays for a resume.
    fn release(&mut self, out: &mut Actions<Task>) {
        match self.state {
            State::Preparing | State::Transferring | State::Finishing => {
                mark!("part-kept");
                self.state = State::Releasing;
                run(out, Task::Release { fetch: self.key });
            }
            _ => self.state = State::Over,
        }
    }

    /// Somebody wants the process to end. A fetch that is being prepared or put in place is let finish
    /// that step.
    pub(in crate::peer) fn stop(&mut self, out: &mut Actions<Task>) {
        self.stopping = true;
        if !matches!(self.state, State::Preparing | State::Finishing | State::Releasing) {
            self.release(out);
        }
    }

    /// Has the disk asked for the manifest, if what is wanted is data. Whoever has the manifest already
    /// needs no disk for it.
    fn recalls(&mut self, out: &mut Actions<Task>) -> bool {
        let (Goal::Data(job), Some(record)) = (&self.goal, &self.record) else { return false };
        if matches!(self.target, Target::Manifest { .. }) {
            return false;
        }
        let (folder, part) = (job.folder.clone(), self.split_name().1);
        run(out, Task::Recall { fetch: self.key, object: record.object, folder, part });
        self.state = State::Recalling;
        true
    }

    fn moves(&mut self, now: Time) {
        self.last_progress = now;
    }
}

impl Peer {
    pub(in crate::peer) fn start_fetch(
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
            found: None,
            swarm: None,
            ask: None,
            next_find: now,
            find_pause: FIND_AGAIN,
            started: now,
            last_progress: now,
            useful: 0,
            stall: None,
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

    pub(in crate::peer) fn with_fetch(
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

    pub(in crate::peer) fn swarm_of_fetch(&self, key: FetchKey) -> Option<SwarmKey> {
        let is_home = |swarm: &Swarm| matches!(swarm.home, Home::Fetched(fetch) if fetch == key);
        self.swarms.iter().find(|(_, swarm)| is_home(swarm)).map(|(key, _)| *key)
    }

    pub(in crate::peer) fn fail_fetch(
        &mut self,
        fetch: &mut Fetch,
        failure: Failure,
        out: &mut Actions<Task>,
    ) {
        if matches!(fetch.state, State::Releasing | State::Over) {
            return;
        }
        self.fail(failure);
        fetch.release(out);
    }

    pub(in crate::peer) fn on_released(&mut self, key: FetchKey) {
        self.with_fetch(|fetch| fetch.key == key, |_, fetch| fetch.state = State::Over);
    }

    pub(in crate::peer) fn tick_fetch(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        out: &mut Actions<Task>,
    ) {
        match fetch.state {
            State::Lingering(until) if until <= now => {
                mark!("lingered");
                fetch.state = State::Over;
            }
            State::Resolving | State::GettingManifest | State::Transferring => {
                self.tick_search(now, fetch, out);
                self.tick_disk(now, fetch, out);
                self.check_stall(now, fetch, out);
            }
            _ => {}
        }
    }

    /// The tracker will not have us.
    pub(in crate::peer) fn fetch_refused(
        &mut self,
        fetch: &mut Fetch,
        failure: Failure,
        out: &mut Actions<Task>,
    ) {
        if fetch.state == State::Resolving {
            self.fail_fetch(fetch, failure, out);
        }
    }

    pub(in crate::peer) fn fetch_status(&self, fetch: &Fetch, status: &mut Status) {
        (status.total, status.done) = (fetch.total, fetch.done);
        status.phase = match fetch.state {
            State::Resolving | State::Recalling | State::GettingManifest => Phase::Resolve,
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
pub(in crate::peer) fn is_below(path: &SafePath, part: &SafePath) -> bool {
    let rest = path.as_str().strip_prefix(part.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Stands for an object that the tracker does not know.
fn unnamed_record(manifest: &Manifest, name: &SafePath) -> Record {
    Record { name: name.to_string(), ..super::making::record_of("", manifest) }
}
