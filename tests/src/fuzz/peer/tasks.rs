//! Blocking work as a disk could do it: right, or failing, but never lying about what it stored.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use peer::disk::{
    FileHashes, FileKey, HashJob, Prepared, Scan, ScannedFile, ScannedObject, StorageError,
    StorageErrorKind, StoreOutcome, StoredPiece, Task, TaskResult,
};
use protocol::{Digest, Entry, EntryKind, Manifest, PieceIndex, PieceSet, SafePath};
use reactor::{FileStamp, Source};

use super::super::Bytes;

/// Pieces of the object that is fetched.
pub(super) const PIECES: u32 = 5;
const PIECE: usize = 4_096;

/// The file that is fetched, and the one that is seeded.
pub(super) fn content() -> Vec<u8> {
    (0..PIECES as usize * PIECE - 96).map(|at| (at / 97 + at / PIECE).to_le_bytes()[0]).collect()
}

/// What is fetched.
pub(super) static FETCHED: LazyLock<Arc<Manifest>> = LazyLock::new(|| Arc::new(manifest_of(12)));
/// The same as a seeder describes it.
pub(super) static SEEDED: LazyLock<Arc<Manifest>> = LazyLock::new(|| Arc::new(manifest_of(18)));

fn manifest_of(piece_log2: u8) -> Manifest {
    let bytes = content();
    let kind =
        EntryKind::File { executable: false, len: bytes.len() as u64, digest: Digest::of(&bytes) };
    let hashes = bytes.chunks(1 << piece_log2).map(Digest::of).collect();
    Manifest::build(piece_log2, vec![(Entry { path: None, kind }, hashes)]).expect("a manifest")
}

fn error(bytes: &mut Bytes<'_>) -> StorageError {
    use StorageErrorKind::{BadName, Changed, Exists, Io, Locked, NoSpace, NotFound};
    let kinds = [Io, NoSpace, Changed, Locked, NotFound, Exists, BadName];
    let kind = kinds[bytes.below(kinds.len())];
    StorageError { kind, what: "it failed".to_owned(), path: "/x".into(), advice: None }
}

fn scanned(path: &Path, bytes: &mut Bytes<'_>) -> Scan {
    let len = content().len() as u64;
    let count = 1 + bytes.below(3);
    let object = |n: usize| {
        let stamp = FileStamp { device: 1, inode: n as u64, len, mtime_ns: 0, ctime_ns: 0 };
        let at = |name: &str| path.join(format!("{name}{n}"));
        let file = |name: Option<&str>| ScannedFile {
            relative: name.map(|name| SafePath::new(name).expect("a path")),
            path: at(name.unwrap_or("f")),
            stamp,
            executable: false,
        };
        let single_file = n != 1;
        let files =
            if single_file { vec![file(None)] } else { vec![file(Some("a")), file(Some("b"))] };
        ScannedObject {
            name: format!("f{n}"),
            path: at("f"),
            single_file,
            files,
            empty_folders: vec![],
        }
    };
    Scan { objects: (0..count).map(object).collect(), skipped: Vec::new() }
}

fn hashes(job: &HashJob) -> FileHashes {
    let bytes = content();
    let size = 1_usize << job.piece_log2.clamp(12, 24);
    FileHashes { digest: Digest::of(&bytes), pieces: bytes.chunks(size).map(Digest::of).collect() }
}

/// What comes of `task`; `fails` if it does not work.
pub(super) fn outcome(task: Task, fails: bool, bytes: &mut Bytes<'_>) -> TaskResult {
    match task {
        Task::Resolve { address } => {
            let outcome = if fails {
                Err("no such host".to_owned())
            } else {
                Ok(vec![super::TRACKER.parse().expect("an address")])
            };
            TaskResult::Resolved { address, outcome }
        }
        Task::Scan { share, request } => {
            let outcome = if fails { Err(error(bytes)) } else { Ok(scanned(&request.path, bytes)) };
            TaskResult::Scanned { share, outcome }
        }
        Task::Hash { share, object, first, jobs, .. } => {
            let count = 1 + bytes.below(jobs.len());
            let mut done: Vec<Result<FileHashes, StorageError>> =
                jobs.iter().take(count).map(|job| Ok(hashes(job))).collect();
            if fails && let Some(last) = done.last_mut() {
                *last = Err(error(bytes));
            }
            let moved = jobs.iter().take(count).map(|job| job.stamp.len).sum();
            TaskResult::Hashed { share, object, first, done, unfinished: None, bytes: moved }
        }
        Task::CheckFiles { share, object, .. } => {
            TaskResult::FilesChecked { share, object, changed: fails.then(|| error(bytes)) }
        }
        Task::OpenShared { key, .. } | Task::OpenFetched { key } => opened(key, fails, bytes),
        // Rare, as failures are.
        Task::Recall { fetch, object, .. } => {
            let manifest = (fails && object == FETCHED.id()).then(|| FETCHED.clone());
            TaskResult::Recalled { fetch, manifest }
        }
        Task::Prepare { fetch, spec } => {
            let outcome =
                if fails { Err(error(bytes)) } else { Ok(prepared(&spec.manifest, bytes)) };
            TaskResult::Prepared { fetch, outcome }
        }
        Task::Store { fetch, pieces } => {
            let mut store = |(piece, data): (PieceIndex, Vec<u8>)| {
                let right = Digest::of(&data) == FETCHED.piece_hash(piece);
                let outcome = match (fails, right) {
                    (true, _) => Err(error(bytes)),
                    (false, true) => Ok(StoreOutcome::Stored),
                    (false, false) => Ok(StoreOutcome::Mismatch),
                };
                StoredPiece { piece, data, outcome }
            };
            TaskResult::Stored { fetch, pieces: pieces.into_iter().map(&mut store).collect() }
        }
        Task::Recheck { fetch, pieces } => {
            let outcome = if fails {
                Err(error(bytes))
            } else {
                Ok(pieces.into_iter().map(|piece| (piece, bytes.flag())).collect())
            };
            TaskResult::Rechecked { fetch, outcome }
        }
        Task::Checkpoint { fetch } => TaskResult::Checkpointed {
            fetch,
            outcome: if fails { Err(error(bytes)) } else { Ok(()) },
        },
        Task::Finish { fetch } => {
            let outcome = if fails { Err(error(bytes)) } else { Ok(PathBuf::from("/x/f")) };
            TaskResult::Finished { fetch, outcome }
        }
        Task::Release { fetch } => TaskResult::Released { fetch },
    }
}

fn opened(key: FileKey, fails: bool, bytes: &mut Bytes<'_>) -> TaskResult {
    let outcome = if fails { Err(error(bytes)) } else { Ok(Source::from_bytes(content())) };
    TaskResult::Opened { key, outcome }
}

fn prepared(manifest: &Manifest, bytes: &mut Bytes<'_>) -> Prepared {
    let count = manifest.geometry().piece_count();
    let some = |bits: u8| {
        let mut set = PieceSet::empty(count);
        for piece in manifest.geometry().pieces().filter(|p| bits & (1 << (p.get() % 8)) != 0) {
            set.insert(piece);
        }
        set
    };
    let there = bytes.u8();
    let maybe = if there & 0x20 != 0 { bytes.u8() & !there } else { 0 };
    let finished = (there == 0xFF).then(|| PathBuf::from("/x/f"));
    let (have, doubtful) = (some(there), some(maybe));
    Prepared { have, doubtful, wanted: PieceSet::full(count), finished }
}
