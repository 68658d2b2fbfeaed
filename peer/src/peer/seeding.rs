//! Local files on their way to being served: listed, hashed, published, watched for changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::message::FindKey;
use protocol::{Code, Manifest, PieceSet};
use reactor::{Actions, Time};

use super::making::{build_manifest, hash_jobs, record_of, shared_files};
use super::watching::CHECK_EVERY;
use super::{Peer, Running, run};
use crate::disk::{FileKey, Scan, ScanRequest, ScannedObject, ShareKey, StorageError, Task};
use crate::hashing::{HashedFiles, WorkKey};
use crate::job::SeedJob;
use crate::notice::{Failure, Notice, Phase, Status};
use crate::swarm::{Home, Swarm, SwarmKey};
use crate::tracker_client::{Answer, Ask};

/// A name that the tracker could not take is published again after so long.
const PUBLISH_AGAIN: Duration = Duration::from_secs(10);

/// A seed job, or a create job, which is the same without tracker and serving.
#[derive(Debug)]
pub(super) struct Seeding {
    use_cache: bool,
    publish: bool,
    once: bool,
    pub(super) seed_time: Option<Duration>,
    /// When everything was published.
    pub(super) settled_at: Option<Time>,
    scanning: usize,
    pub(super) shares: BTreeMap<ShareKey, Vec<Local>>,
    asks: BTreeMap<Ask, (WorkKey, Purpose)>,
    /// What the tracker is to be asked as soon as it takes more.
    to_ask: VecDeque<(WorkKey, Purpose)>,
    /// Names that the tracker could not take, and when to try again.
    pub(super) postponed: VecDeque<(Time, WorkKey)>,
    pub(super) over: bool,
}

/// One object of a share.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) scanned: ScannedObject,
    pub(super) state: State,
    pub(super) next_check: Time,
    pub(super) checking: bool,
}

#[derive(Debug)]
pub(super) enum State {
    Hashing,
    Publishing(SwarmKey, Arc<Manifest>),
    /// Published under this version; 0 for a create job, which publishes nothing.
    Serving(SwarmKey, Arc<Manifest>, u32),
    Gone,
}

/// Why the tracker was asked.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// To have the name.
    Publish,
    /// To see whether it still has the name: it may have lost its memory.
    Recheck,
}

impl Seeding {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn stop(&mut self) {
        self.over = true;
    }

    pub(super) fn local(&mut self, key: WorkKey) -> Option<&mut Local> {
        self.shares.get_mut(&key.0)?.get_mut(key.1)
    }

    pub(super) fn is_settled(&self) -> bool {
        let settled = |local: &Local| matches!(local.state, State::Serving(..) | State::Gone);
        self.scanning == 0 && self.shares.values().flatten().all(settled)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shares.values().flatten().all(|local| matches!(local.state, State::Gone))
    }
}

impl Peer {
    pub(super) fn start_seeding(
        &mut self,
        now: Time,
        job: SeedJob,
        out: &mut Actions<Task>,
    ) -> Seeding {
        let mut seeding = Seeding {
            use_cache: job.use_cache,
            publish: true,
            once: job.once,
            seed_time: job.seed_time,
            settled_at: None,
            scanning: 0,
            shares: BTreeMap::new(),
            asks: BTreeMap::new(),
            to_ask: VecDeque::new(),
            postponed: VecDeque::new(),
            over: false,
        };
        for request in job.paths {
            self.scan(&mut seeding, request, out);
        }
        let _ = now;
        seeding
    }

    pub(super) fn start_creating(
        &mut self,
        now: Time,
        request: ScanRequest,
        out: &mut Actions<Task>,
    ) -> Seeding {
        let paths = vec![request];
        let job = SeedJob { paths, use_cache: true, seed_time: None, once: true };
        Seeding { publish: false, ..self.start_seeding(now, job, out) }
    }

    pub(super) fn scan(
        &mut self,
        seeding: &mut Seeding,
        request: ScanRequest,
        out: &mut Actions<Task>,
    ) {
        let share = self.new_share();
        seeding.scanning += 1;
        seeding.shares.insert(share, Vec::new());
        run(out, Task::Scan { share, request });
    }

    /// Runs a step of the seed job that a share belongs to.
    pub(super) fn with_share(
        &mut self,
        share: ShareKey,
        step: impl FnOnce(&mut Self, &mut Seeding, usize),
    ) -> bool {
        let owns = |job: &Running| matches!(job, Running::Seed(seeding) if seeding.shares.contains_key(&share));
        let Some(at) = self.jobs.iter().position(owns) else { return false };
        self.with_job(at, |peer, job| {
            if let Running::Seed(seeding) = job {
                step(peer, seeding, at);
            }
        });
        true
    }

    pub(super) fn on_scanned(
        &mut self,
        now: Time,
        share: ShareKey,
        outcome: Result<Scan, StorageError>,
        out: &mut Actions<Task>,
    ) {
        if self.verify_scanned(now, share, &outcome, out) {
            return;
        }
        self.with_share(share, |peer, seeding, at| {
            seeding.scanning -= 1;
            match outcome {
                Ok(scan) => peer.share_objects(now, at, seeding, share, scan),
                Err(error) => {
                    peer.fail(Failure::Storage(error));
                    seeding.over = true;
                }
            }
        });
    }

    pub(super) fn share_objects(
        &mut self,
        now: Time,
        at: usize,
        seeding: &mut Seeding,
        share: ShareKey,
        scan: Scan,
    ) {
        let files = scan.objects.iter().map(|object| object.files.len()).sum();
        let lens = scan.objects.iter().flat_map(|object| &object.files).map(|file| file.stamp.len);
        let bytes = lens.sum();
        let objects = scan.objects.len();
        self.tell(Notice::Scanned { objects, files, bytes, skipped: scan.skipped });
        let mut ready = Vec::new();
        for (index, scanned) in scan.objects.into_iter().enumerate() {
            let key = (share, index);
            let mut state = State::Hashing;
            match hash_jobs(&scanned, self.config.piece_log2) {
                Ok(jobs) => {
                    let done = self.hashing.add(key, jobs, seeding.use_cache);
                    ready.extend(done.map(|files| (key, files)));
                }
                Err(error) => {
                    self.withdrawn(&scanned.name, None, error);
                    state = State::Gone;
                }
            }
            let next_check = now + CHECK_EVERY;
            let local = Local { scanned, state, next_check, checking: false };
            seeding.shares.entry(share).or_default().push(local);
        }
        for (key, files) in ready {
            self.object_hashed(seeding, key, files);
        }
        self.pump_asks(at, seeding);
        self.settle_seeding(now, seeding);
    }

    pub(super) fn on_files_hashed(
        &mut self,
        now: Time,
        key: WorkKey,
        files: HashedFiles,
        out: &mut Actions<Task>,
    ) {
        if self.verify_hashed(now, key, &files, out) {
            return;
        }
        self.with_share(key.0, |peer, seeding, at| {
            peer.object_hashed(seeding, key, files);
            peer.pump_asks(at, seeding);
            peer.settle_seeding(now, seeding);
        });
    }

    pub(super) fn object_hashed(
        &mut self,
        seeding: &mut Seeding,
        key: WorkKey,
        files: HashedFiles,
    ) {
        let publish = seeding.publish;
        let Some(local) = seeding.local(key) else { return };
        let hashes: Result<Vec<_>, _> = files.files.into_iter().collect();
        match hashes
            .and_then(|hashes| build_manifest(&local.scanned, hashes, self.config.piece_log2))
        {
            Ok(manifest) => {
                let manifest = Arc::new(manifest);
                let name = local.scanned.name.clone();
                let path = local.scanned.path.clone();
                self.tell(Notice::Hashed { name, path, manifest: manifest.clone() });
                let swarm = self.share_swarm(key, &local.scanned, &manifest);
                if publish {
                    local.state = State::Publishing(swarm, manifest);
                    seeding.to_ask.push_back((key, Purpose::Publish));
                    self.announce(swarm);
                } else {
                    local.state = State::Serving(swarm, manifest, 0);
                }
            }
            Err(error) => {
                let name = local.scanned.name.clone();
                local.state = State::Gone;
                self.withdrawn(&name, None, error);
            }
        }
    }

    /// The swarm of a local object: a new one, or the one that another name for it has made.
    pub(super) fn share_swarm(
        &mut self,
        key: WorkKey,
        scanned: &ScannedObject,
        manifest: &Arc<Manifest>,
    ) -> SwarmKey {
        if let Some(swarm) = self.by_object.get(&manifest.id()) {
            mark!("two-names-one-object");
            return *swarm;
        }
        let shared = shared_files(key, scanned, manifest);
        let mut swarm = Swarm::new(manifest.id(), Home::Shared(Arc::new(shared)), None);
        swarm.set_manifest(manifest.clone());
        swarm.have = PieceSet::full(manifest.geometry().piece_count());
        self.add_swarm(swarm)
    }

    pub(super) fn add_swarm(&mut self, swarm: Swarm) -> SwarmKey {
        let key = SwarmKey(self.next_swarm);
        self.next_swarm += 1;
        self.by_object.insert(swarm.object, key);
        self.swarms.insert(key, swarm);
        key
    }

    /// Publishes again what could not be published for a while.
    pub(super) fn publish_postponed(now: Time, seeding: &mut Seeding) {
        while seeding.postponed.front().is_some_and(|(at, _)| *at <= now) {
            let due = seeding.postponed.pop_front();
            seeding.to_ask.extend(due.map(|(_, key)| (key, Purpose::Publish)));
        }
    }

    /// Asks the tracker what is waiting to be asked, as far as it takes more.
    pub(super) fn pump_asks(&mut self, at: usize, seeding: &mut Seeding) {
        while self.tracker.room() > 0 {
            let Some((key, purpose)) = seeding.to_ask.pop_front() else { return };
            let Some(local) = seeding.local(key) else { continue };
            let name = local.scanned.name.clone();
            let (State::Publishing(_, manifest) | State::Serving(_, manifest, _)) = &local.state
            else {
                continue;
            };
            let ask = match purpose {
                Purpose::Publish => {
                    let record = record_of(&name, manifest);
                    self.tracker.publish(record, self.config.publisher, 0)
                }
                Purpose::Recheck => self.tracker.find(FindKey::Name { version: 0, name }, 0),
            };
            self.asks.insert(ask, at);
            seeding.asks.insert(ask, (key, purpose));
        }
    }

    pub(super) fn seeding_answered(
        &mut self,
        now: Time,
        at: usize,
        seeding: &mut Seeding,
        ask: Ask,
        answer: &Answer,
        out: &mut Actions<Task>,
    ) {
        let Some((key, purpose)) = seeding.asks.remove(&ask) else { return };
        match (purpose, answer) {
            // The tracker's disk is full or broken: that is nobody's last word.
            (Purpose::Publish, Answer::Status(status))
                if matches!(status.code, Code::FULL | Code::IO) =>
            {
                mark!("publish-postponed");
                log::warn!("the tracker can't take names now: {}", status.text);
                seeding.postponed.push_back((now + PUBLISH_AGAIN, key));
            }
            (Purpose::Publish, Answer::Status(status)) if status.code != Code::BUSY => {
                self.publish_answered(now, seeding, key, status.code, &status.text, out);
            }
            (Purpose::Recheck, Answer::Status(status)) if status.code == Code::NOT_FOUND => {
                mark!("name-published-again");
                seeding.to_ask.push_back((key, Purpose::Publish));
            }
            (_, Answer::Status(status)) if status.code == Code::BUSY => {
                seeding.to_ask.push_back((key, purpose));
            }
            _ => {}
        }
        self.pump_asks(at, seeding);
        self.settle_seeding(now, seeding);
    }

    pub(super) fn publish_answered(
        &mut self,
        now: Time,
        seeding: &mut Seeding,
        key: WorkKey,
        code: Code,
        text: &str,
        out: &mut Actions<Task>,
    ) {
        let Some(local) = seeding.local(key) else { return };
        let name = local.scanned.name.clone();
        let (State::Publishing(swarm, manifest) | State::Serving(swarm, manifest, _)) =
            &local.state
        else {
            return;
        };
        let (swarm, manifest) = (*swarm, manifest.clone());
        let version = text.trim().parse().unwrap_or(0);
        if code == Code::OK {
            local.state = State::Serving(swarm, manifest.clone(), version);
            self.tell(Notice::Published { name, version, manifest });
            return;
        }
        local.state = State::Gone;
        mark!("publish-refused");
        self.tell(Notice::PublishRefused { name, code, text: text.to_owned() });
        self.drop_name(now, seeding, swarm, out);
    }

    /// An object has lost a name: it is served from the files of another one, or no more.
    pub(super) fn drop_name(
        &mut self,
        now: Time,
        seeding: &Seeding,
        swarm: SwarmKey,
        out: &mut Actions<Task>,
    ) {
        let locals = seeding.shares.iter().flat_map(|(share, locals)| {
            locals.iter().enumerate().map(|(index, local)| ((*share, index), local))
        });
        let mut others = locals.filter_map(|(key, local)| match &local.state {
            State::Publishing(of, manifest) | State::Serving(of, manifest, _) if *of == swarm => {
                Some(shared_files(key, &local.scanned, manifest))
            }
            _ => None,
        });
        match (others.next(), self.swarms.get_mut(&swarm)) {
            (Some(files), Some(swarm)) => {
                mark!("second-name-takes-over");
                swarm.home = Home::Shared(Arc::new(files));
                let ours = swarm.object;
                self.sources
                    .close(|key| matches!(key, FileKey::Shared { object, .. } if *object == ours));
            }
            _ => self.stop_serving(now, swarm, Code::GONE, out),
        }
    }

    /// The tracker does not know us, or not what we hold, so it may have lost its names as well.
    pub(super) fn recheck_names(&mut self, at: usize, seeding: &mut Seeding) {
        for (share, locals) in &seeding.shares {
            for (index, local) in locals.iter().enumerate() {
                if matches!(local.state, State::Serving(..)) && seeding.publish {
                    seeding.to_ask.push_back(((*share, index), Purpose::Recheck));
                }
            }
        }
        self.pump_asks(at, seeding);
    }

    /// Sees whether there is anything left to do.
    pub(super) fn settle_seeding(&mut self, now: Time, seeding: &mut Seeding) {
        if seeding.over || !seeding.is_settled() {
            return;
        }
        if seeding.is_empty() {
            self.fail(Failure::NothingToShare);
            seeding.over = true;
        } else if seeding.once {
            seeding.over = true;
        }
        seeding.settled_at.get_or_insert(now);
    }

    pub(super) fn seed_status(&self, seeding: &Seeding, status: &mut Status) {
        let (total, done) = self.hashing.progress();
        status.total = total;
        status.done = done;
        status.phase = if seeding.scanning > 0 {
            Phase::Scan
        } else if self.hashing.is_busy() {
            Phase::Hash
        } else {
            Phase::Seed
        };
    }
}
