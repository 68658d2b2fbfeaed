//! Local files on their way to being served: listed, hashed, published, watched for changes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::message::FindKey;
use protocol::{Code, Entry, EntryKind, Manifest, PieceSet, Record};
use reactor::{Actions, Time};

use super::watching::CHECK_EVERY;
use super::{Peer, Running, run};
use crate::disk::{
    FileHashes, HashJob, Scan, ScanRequest, ScannedObject, ShareKey, StorageError,
    StorageErrorKind, Task,
};
use crate::hashing::{HashedFiles, WorkKey};
use crate::job::SeedJob;
use crate::notice::{Failure, Notice, Phase, Status};
use crate::swarm::{Home, SharedFiles, Swarm, SwarmKey};
use crate::tracker_client::{Answer, Ask};

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
                Ok(scan) => peer.share_objects(now, at, seeding, share, scan, out),
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
        out: &mut Actions<Task>,
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
            match hash_jobs(&scanned) {
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
            self.object_hashed(now, seeding, key, files, out);
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
            peer.object_hashed(now, seeding, key, files, out);
            peer.pump_asks(at, seeding);
            peer.settle_seeding(now, seeding);
        });
    }

    pub(super) fn object_hashed(
        &mut self,
        now: Time,
        seeding: &mut Seeding,
        key: WorkKey,
        files: HashedFiles,
        out: &mut Actions<Task>,
    ) {
        let publish = seeding.publish;
        let Some(local) = seeding.local(key) else { return };
        let hashes: Result<Vec<_>, _> = files.files.into_iter().collect();
        match hashes.and_then(|hashes| build_manifest(&local.scanned, hashes)) {
            Ok(manifest) => {
                let manifest = Arc::new(manifest);
                let name = local.scanned.name.clone();
                let path = local.scanned.path.clone();
                self.tell(Notice::Hashed { name, path, manifest: manifest.clone() });
                let swarm = self.share_swarm(now, key, &local.scanned, &manifest, out);
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
        now: Time,
        key: WorkKey,
        scanned: &ScannedObject,
        manifest: &Arc<Manifest>,
        out: &mut Actions<Task>,
    ) -> SwarmKey {
        if let Some(swarm) = self.by_object.get(&manifest.id()) {
            return *swarm;
        }
        let files = scanned.files.iter().map(|file| (file.path.clone(), file.stamp)).collect();
        let mut next = 0;
        let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File { .. });
        let of_entry = manifest.entries().iter().map(|entry| {
            next += usize::from(is_file(entry));
            is_file(entry).then(|| next - 1)
        });
        let of_entry = of_entry.collect();
        let shared = SharedFiles { share: key.0, object: key.1, files, of_entry };
        let mut swarm = Swarm::new(manifest.id(), Home::Shared(Arc::new(shared)), None);
        swarm.set_manifest(manifest.clone());
        swarm.have = PieceSet::full(manifest.geometry().piece_count());
        let _ = (now, out);
        self.add_swarm(swarm)
    }

    pub(super) fn add_swarm(&mut self, swarm: Swarm) -> SwarmKey {
        let key = SwarmKey(self.next_swarm);
        self.next_swarm += 1;
        self.by_object.insert(swarm.object, key);
        self.swarms.insert(key, swarm);
        key
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
            (Purpose::Publish, Answer::Status(status)) if status.code != Code::BUSY => {
                self.publish_answered(now, seeding, key, status.code, &status.text, out);
            }
            (Purpose::Recheck, Answer::Status(status)) if status.code == Code::NOT_FOUND => {
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
        self.tell(Notice::PublishRefused { name, code, text: text.to_owned() });
        let serves = |local: &Local| matches!(&local.state, State::Publishing(other, _) | State::Serving(other, ..) if *other == swarm);
        if !seeding.shares.values().flatten().any(serves) {
            self.stop_serving(now, swarm, Code::GONE, out);
        }
    }

    /// The tracker does not remember what we hold, so it may have lost its names as well.
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

fn hash_jobs(scanned: &ScannedObject) -> Result<Vec<HashJob>, StorageError> {
    let lens: Vec<_> = scanned.files.iter().map(|file| file.stamp.len).collect();
    let Some(piece_log2) = Manifest::default_piece_log2(&lens) else {
        return Err(StorageError {
            kind: StorageErrorKind::BadName,
            what: format!(
                "{} files of {} bytes are more than one object may have",
                lens.len(),
                lens.iter().sum::<u64>()
            ),
            path: scanned.path.clone(),
            advice: Some("share its sub-folders one by one: peer seed FOLDER".into()),
        });
    };
    let job = |file: &crate::disk::ScannedFile| HashJob {
        path: file.path.clone(),
        stamp: file.stamp,
        piece_log2,
    };
    Ok(scanned.files.iter().map(job).collect())
}

fn build_manifest(
    scanned: &ScannedObject,
    hashes: Vec<FileHashes>,
) -> Result<Manifest, StorageError> {
    let lens: Vec<_> = scanned.files.iter().map(|file| file.stamp.len).collect();
    let files = scanned.files.iter().zip(hashes).map(|(file, hashes)| {
        let kind = EntryKind::File {
            executable: file.executable,
            len: file.stamp.len,
            digest: hashes.digest,
        };
        (Entry { path: file.relative.clone(), kind }, hashes.pieces)
    });
    let folders = scanned
        .empty_folders
        .iter()
        .map(|path| (Entry { path: Some(path.clone()), kind: EntryKind::EmptyFolder }, Vec::new()));
    let piece_log2 = Manifest::default_piece_log2(&lens);
    Manifest::build(piece_log2.unwrap_or_default(), files.chain(folders).collect()).map_err(
        |error| StorageError {
            kind: StorageErrorKind::BadName,
            what: format!("can't be shared: {error}"),
            path: scanned.path.clone(),
            advice: None,
        },
    )
}

pub(super) fn record_of(name: &str, manifest: &Manifest) -> Record {
    let count = |len: usize| u32::try_from(len).expect("limited when the manifest was built");
    Record {
        object: manifest.id(),
        content: manifest.content(),
        length: manifest.geometry().total_len(),
        published_at: 0,
        version: 0,
        manifest_len: count(manifest.bytes().len()),
        piece_count: manifest.geometry().piece_count(),
        file_count: count(manifest.entries().len()),
        piece_log2: manifest.piece_log2(),
        name: name.to_owned(),
    }
}
