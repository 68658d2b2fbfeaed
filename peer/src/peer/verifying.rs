//! Compares local files with a manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::{Digest, Entry, EntryKind, Manifest, SafePath};
use reactor::Actions;

use super::fetching::{Fetch, is_below};
use super::{Peer, Running, run};
use crate::disk::{
    FileHashes, HashJob, Scan, ScanRequest, ScannedObject, ShareKey, StorageError, Task,
};
use crate::hashing::{HashedFiles, WorkKey};
use crate::notice::{Failure, Notice, VerifyProblem};

/// A comparison under way.
#[derive(Debug)]
pub(super) struct Verification {
    share: ShareKey,
    path: PathBuf,
    manifest: Arc<Manifest>,
    part: Option<SafePath>,
    problems: Vec<VerifyProblem>,
    /// Entries of the manifest whose files are being hashed, in the order of the jobs.
    hashing: Vec<usize>,
}

impl Peer {
    /// Begins to compare `path` with a manifest, or with the part of it below `part`.
    pub(super) fn start_verifying(
        &mut self,
        fetch: &mut Fetch,
        manifest: Arc<Manifest>,
        part: Option<SafePath>,
        path: PathBuf,
        out: &mut Actions<Task>,
    ) {
        let share = self.new_share();
        let request = ScanRequest {
            path: path.clone(),
            name: Some("verify".into()),
            follow_symlinks: false,
            hidden: true,
        };
        let (problems, hashing) = (Vec::new(), Vec::new());
        fetch.verification = Some(Verification { share, path, manifest, part, problems, hashing });
        run(out, Task::Scan { share, request });
    }

    fn with_verification<T>(
        &mut self,
        share: ShareKey,
        step: impl FnOnce(&mut Self, &mut Fetch, Verification) -> T,
    ) -> Option<T> {
        let owns = |job: &Running| match job {
            Running::Fetch(fetch) => fetch.verification.as_ref().is_some_and(|v| v.share == share),
            _ => false,
        };
        let at = self.jobs.iter().position(owns)?;
        self.with_job(at, |peer, job| match job {
            Running::Fetch(fetch) => {
                fetch.verification.take().map(|verification| step(peer, fetch, verification))
            }
            _ => None,
        })
        .flatten()
    }

    /// Takes the listing of what is verified; `false` if the share is somebody else's.
    pub(super) fn verify_scanned(
        &mut self,
        now: reactor::Time,
        share: ShareKey,
        outcome: &Result<Scan, StorageError>,
        out: &mut Actions<Task>,
    ) -> bool {
        let step = |peer: &mut Self, fetch: &mut Fetch, mut verification: Verification| {
            let scan = match outcome {
                Ok(scan) => scan,
                Err(error) => {
                    peer.fail_fetch(fetch, Failure::Storage(error.clone()), out);
                    return;
                }
            };
            for (path, why) in &scan.skipped {
                let path = path.display().to_string();
                verification.problems.push(VerifyProblem { path, what: why.clone() });
            }
            let jobs = verification.compare(scan.objects.first());
            let key = (share, 0);
            match peer.hashing.add(key, jobs, false) {
                Some(files) => peer.verified(now, fetch, verification, &files, out),
                None => fetch.verification = Some(verification),
            }
        };
        self.with_verification(share, step).is_some()
    }

    /// Takes the hashes of what is verified; `false` if the share is somebody else's.
    pub(super) fn verify_hashed(
        &mut self,
        now: reactor::Time,
        key: WorkKey,
        files: &HashedFiles,
        out: &mut Actions<Task>,
    ) -> bool {
        let step = |peer: &mut Self, fetch: &mut Fetch, verification: Verification| {
            peer.verified(now, fetch, verification, files, out);
        };
        self.with_verification(key.0, step).is_some()
    }

    fn verified(
        &mut self,
        now: reactor::Time,
        fetch: &mut Fetch,
        mut verification: Verification,
        files: &HashedFiles,
        out: &mut Actions<Task>,
    ) {
        verification.compare_hashes(files);
        let Verification { path, manifest, problems, .. } = verification;
        let text = format!("{} of {}", problems.len(), path.display());
        let wrong = !problems.is_empty();
        self.tell(Notice::Verified { path, manifest, problems });
        if wrong {
            self.fail_fetch(
                fetch,
                Failure::Integrity { text: format!("differences: {text}") },
                out,
            );
        } else {
            self.fetch_done(now, fetch);
        }
    }
}

impl Verification {
    /// Path of an entry as the files being verified have it; `None` if it is not among them.
    fn local_path(&self, entry: &Entry) -> Option<String> {
        match (&entry.path, &self.part) {
            (None, _) => Some(String::new()),
            (Some(path), None) => Some(path.to_string()),
            (Some(path), Some(part)) if is_below(path, part) => {
                Some(path.as_str()[part.as_str().len()..].trim_start_matches('/').to_owned())
            }
            (Some(_), Some(_)) => None,
        }
    }

    /// Notes what differs without reading, and says what has to be read.
    fn compare(&mut self, found: Option<&ScannedObject>) -> Vec<HashJob> {
        let mut files: BTreeMap<String, _> = BTreeMap::new();
        let mut folders: Vec<String> = Vec::new();
        if let Some(object) = found {
            let path = |path: &Option<SafePath>| {
                path.as_ref().map_or_else(String::new, SafePath::to_string)
            };
            files.extend(object.files.iter().map(|file| (path(&file.relative), file)));
            folders.extend(object.empty_folders.iter().map(SafePath::to_string));
        }
        let manifest = self.manifest.clone();
        let mut jobs = Vec::new();
        for (index, entry) in manifest.entries().iter().enumerate() {
            let Some(path) = self.local_path(entry) else { continue };
            match (&entry.kind, files.remove(&path)) {
                (EntryKind::EmptyFolder, _) if folders.contains(&path) => {}
                (EntryKind::EmptyFolder, _) => self.problem(path, "missing empty folder".into()),
                (EntryKind::File { .. }, None) => self.problem(path, "missing".into()),
                (EntryKind::File { len, .. }, Some(file)) if file.stamp.len != *len => {
                    let what = format!("has {} bytes, expected {len}", file.stamp.len);
                    self.problem(path, what);
                }
                (EntryKind::File { executable, .. }, Some(file)) => {
                    if file.executable != *executable {
                        let what = if *executable { "is not executable" } else { "is executable" };
                        self.problem(path, what.into());
                    }
                    let (path, stamp) = (file.path.clone(), file.stamp);
                    jobs.push(HashJob { path, stamp, piece_log2: manifest.piece_log2() });
                    self.hashing.push(index);
                }
            }
        }
        for path in files.into_keys() {
            self.problem(path, "is not part of the object".into());
        }
        jobs
    }

    fn compare_hashes(&mut self, files: &HashedFiles) {
        let manifest = self.manifest.clone();
        for (index, result) in std::mem::take(&mut self.hashing).into_iter().zip(&files.files) {
            let entry = &manifest.entries()[index];
            let path = self.local_path(entry).unwrap_or_default();
            match result {
                Err(error) => self.problem(path, error.what.clone()),
                Ok(hashes) => {
                    if let Some(what) = difference(&manifest, index, entry, hashes) {
                        self.problem(path, what);
                    }
                }
            }
        }
    }

    fn problem(&mut self, path: String, what: String) {
        self.problems.push(VerifyProblem { path, what });
    }
}

fn difference(
    manifest: &Manifest,
    index: usize,
    entry: &Entry,
    hashes: &FileHashes,
) -> Option<String> {
    let EntryKind::File { digest, .. } = entry.kind else { return None };
    let expected: Vec<Digest> =
        manifest.geometry().pieces_of(index).map(|piece| manifest.piece_hash(piece)).collect();
    let wrong = expected.iter().zip(&hashes.pieces).filter(|(a, b)| a != b).count();
    if wrong > 0 || expected.len() != hashes.pieces.len() {
        return Some(format!("differs in {wrong} of {} pieces", expected.len()));
    }
    // The pieces prove every byte; if only this differs, its publisher's manifest is inconsistent.
    (digest != hashes.digest).then(|| "does not have the SHA-256 that the manifest names".into())
}
