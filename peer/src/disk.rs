//! The blocking work that the peer's machine asks its workers for, and what comes of it.
//!
//! Plain data only: open files, locks and caches live in [`crate::storage`], under the keys used here.
//! The simulator carries out the same tasks on a simulated disk. Results carry the keys of their tasks,
//! so the machine never needs to remember task ids.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::{Digest, Manifest, ObjectId, PieceIndex, PieceSet, SafePath};
use reactor::{FileStamp, Source};
use thiserror::Error;

use crate::storage::sha256::Hasher;

/// One path that is being seeded, created or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareKey(pub u32);

/// One fetch in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchKey(pub u32);

/// Where the bytes of one file of an object are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKey {
    /// A file that is seeded in place.
    Shared {
        /// The object that it belongs to.
        object: ObjectId,
        /// Index in the manifest's entries.
        file: usize,
    },
    /// A file of an unfinished or just finished fetch.
    Fetched {
        /// Which fetch.
        fetch: FetchKey,
        /// Index in the manifest's entries.
        file: usize,
    },
}

/// Blocking work.
#[derive(Clone, Debug)]
pub enum Task {
    /// Look up `host:port`.
    Resolve {
        /// As the user wrote it.
        address: String,
    },
    /// List what a path would share.
    Scan {
        /// Names the request.
        share: ShareKey,
        /// What to list.
        request: ScanRequest,
    },
    /// Hash files, in order, until about [`HASH_STEP`] bytes are done.
    Hash {
        /// Names the request.
        share: ShareKey,
        /// Which object of the share.
        object: usize,
        /// Index of the first job among the object's files.
        first: usize,
        /// What to hash.
        jobs: Vec<HashJob>,
        /// Where an earlier step stopped inside the first job.
        resume: Option<Box<HashState>>,
        /// Look results up in, and add them to, the memory of earlier runs.
        use_cache: bool,
    },
    /// Say which files are no longer as they were hashed.
    CheckFiles {
        /// Names the request.
        share: ShareKey,
        /// Which object of the share.
        object: usize,
        /// Paths with the stamps that they had.
        files: Arc<[(PathBuf, FileStamp)]>,
    },
    /// Open a seeded file for serving, if it still is as it was hashed.
    OpenShared {
        /// Comes back with the result.
        key: FileKey,
        /// Where it is.
        path: PathBuf,
        /// What it was.
        stamp: FileStamp,
    },
    /// Look for the manifest that an earlier run of this fetch kept.
    Recall {
        /// Which fetch.
        fetch: FetchKey,
        /// Of what.
        object: ObjectId,
        /// As [`FetchSpec::folder`]; not made.
        folder: PathBuf,
        /// As [`FetchSpec::part`].
        part: Option<SafePath>,
    },
    /// Make ready to fetch: lock, compare with what is there, reserve space, read the journal.
    Prepare {
        /// Names the fetch in all later tasks.
        fetch: FetchKey,
        /// What to fetch and where to.
        spec: Box<FetchSpec>,
    },
    /// Hash pieces, two at once where the processor can, and write those that are right.
    Store {
        /// Which fetch.
        fetch: FetchKey,
        /// Each with all its bytes.
        pieces: Vec<(PieceIndex, Vec<u8>)>,
    },
    /// Hash pieces that an earlier run wrote and may have lost; those that are right count as stored.
    Recheck {
        /// Which fetch.
        fetch: FetchKey,
        /// Some of [`Prepared::doubtful`].
        pieces: Vec<PieceIndex>,
    },
    /// Make everything stored so far durable, and note that in the journal.
    Checkpoint {
        /// Which fetch.
        fetch: FetchKey,
    },
    /// Open a file of a fetch for serving its stored pieces.
    OpenFetched {
        /// Comes back with the result; always [`FileKey::Fetched`].
        key: FileKey,
    },
    /// All wanted pieces are stored: make it durable, set modes, move it into place, clean up. Files of
    /// the fetch opened with `OpenFetched` stay valid, and can still be opened.
    Finish {
        /// Which fetch.
        fetch: FetchKey,
    },
    /// Make durable what is stored, and let go of the fetch: unlock, close. The part stays for a resume.
    Release {
        /// Which fetch.
        fetch: FetchKey,
    },
}

/// What came of a [`Task`].
#[derive(Debug)]
pub enum TaskResult {
    /// Of [`Task::Resolve`].
    Resolved {
        /// As the user wrote it.
        address: String,
        /// At least one address, or why there is none.
        outcome: Result<Vec<SocketAddr>, String>,
    },
    /// Of [`Task::Scan`].
    Scanned {
        /// Names the request.
        share: ShareKey,
        /// What is there.
        outcome: Result<Scan, StorageError>,
    },
    /// Of [`Task::Hash`].
    Hashed {
        /// Names the request.
        share: ShareKey,
        /// Which object of the share.
        object: usize,
        /// Index of the first job among the object's files.
        first: usize,
        /// One result for each job that was finished, in order.
        done: Vec<Result<FileHashes, StorageError>>,
        /// Where it stopped inside the next job.
        unfinished: Option<Box<HashState>>,
        /// Bytes dealt with in this step, from files or from memory.
        bytes: u64,
    },
    /// Of [`Task::CheckFiles`].
    FilesChecked {
        /// Names the request.
        share: ShareKey,
        /// Which object of the share.
        object: usize,
        /// The first file that is no longer as it was, if any.
        changed: Option<StorageError>,
    },
    /// Of [`Task::OpenShared`] and [`Task::OpenFetched`].
    Opened {
        /// Which file.
        key: FileKey,
        /// The whole file, readable.
        outcome: Result<Source, StorageError>,
    },
    /// Of [`Task::Recall`].
    Recalled {
        /// Which fetch.
        fetch: FetchKey,
        /// It, if it is there and is the object's.
        manifest: Option<Arc<Manifest>>,
    },
    /// Of [`Task::Prepare`].
    Prepared {
        /// Which fetch.
        fetch: FetchKey,
        /// What is there already.
        outcome: Result<Prepared, StorageError>,
    },
    /// Of [`Task::Store`].
    Stored {
        /// Which fetch.
        fetch: FetchKey,
        /// All pieces of the task, in order.
        pieces: Vec<StoredPiece>,
    },
    /// Of [`Task::Recheck`].
    Rechecked {
        /// Which fetch.
        fetch: FetchKey,
        /// Whether it is there, for each piece of the task.
        outcome: Result<Vec<(PieceIndex, bool)>, StorageError>,
    },
    /// Of [`Task::Checkpoint`].
    Checkpointed {
        /// Which fetch.
        fetch: FetchKey,
        /// Whether it is durable.
        outcome: Result<(), StorageError>,
    },
    /// Of [`Task::Finish`].
    Finished {
        /// Which fetch.
        fetch: FetchKey,
        /// Where it is now.
        outcome: Result<PathBuf, StorageError>,
    },
    /// Of [`Task::Release`].
    Released {
        /// Which fetch.
        fetch: FetchKey,
    },
}

/// Bytes that one [`Task::Hash`] step deals with, so that progress shows and no worker is held long.
pub const HASH_STEP: u64 = 64 << 20;

/// What to list.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// File or folder.
    pub path: PathBuf,
    /// `Some`: share the path itself under this name. `None`: share each entry of the folder under its
    /// own name.
    pub name: Option<String>,
    /// Follow symbolic links instead of leaving them out. Never out of a loop.
    pub follow_symlinks: bool,
    /// Share top-level entries whose names begin with a dot, too.
    pub hidden: bool,
}

/// What a path would share.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Ascending by name.
    pub objects: Vec<ScannedObject>,
    /// What is left out, and why, in words for the user.
    pub skipped: Vec<(PathBuf, String)>,
}

/// One future object.
#[derive(Clone, Debug)]
pub struct ScannedObject {
    /// Its name.
    pub name: String,
    /// The file or folder.
    pub path: PathBuf,
    /// Whether it is one file.
    pub single_file: bool,
    /// Ascending by the bytes of their relative paths.
    pub files: Vec<ScannedFile>,
    /// Folders without any entry, relative.
    pub empty_folders: Vec<SafePath>,
}

/// One file of a future object.
#[derive(Clone, Debug)]
pub struct ScannedFile {
    /// Below the object's folder; `None` if the object is this file.
    pub relative: Option<SafePath>,
    /// Where it is.
    pub path: PathBuf,
    /// What it was when it was listed.
    pub stamp: FileStamp,
    /// Somebody may execute it.
    pub executable: bool,
}

/// One file to hash.
#[derive(Clone, Debug)]
pub struct HashJob {
    /// Where it is.
    pub path: PathBuf,
    /// What it was when it was listed; anything else is an error.
    pub stamp: FileStamp,
    /// Piece size as a power of two.
    pub piece_log2: u8,
}

/// What a file hashes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashes {
    /// SHA-256 of all its bytes.
    pub digest: Digest,
    /// SHA-256 of each piece.
    pub pieces: Vec<Digest>,
}

/// A file half hashed.
#[derive(Clone)]
pub struct HashState {
    /// Bytes done, a multiple of the piece size.
    pub offset: u64,
    /// Hashes of the pieces so far.
    pub pieces: Vec<Digest>,
    /// The file's digest so far.
    pub content: Hasher,
    /// The file was old enough when hashing began for its times to show any change since; else its
    /// hashes are not remembered.
    pub settled: bool,
}

impl std::fmt::Debug for HashState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashState").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// What to fetch and where to.
#[derive(Clone, Debug)]
pub struct FetchSpec {
    /// The object.
    pub manifest: Arc<Manifest>,
    /// The folder to put it in; made if it does not exist.
    pub folder: PathBuf,
    /// Its name in that folder.
    pub file_name: String,
    /// Only entries at or below this path of a folder object.
    pub part: Option<SafePath>,
    /// What to do if something has that name already.
    pub if_exists: IfExists,
    /// Make the data durable before it gets its name.
    pub sync: bool,
    /// Bytes to leave free on the disk.
    pub reserve: u64,
}

/// What to do if something has the final name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IfExists {
    /// If it is the object, be done; else fail.
    #[default]
    Verify,
    /// Fail.
    Fail,
    /// Be done, whatever it is.
    Skip,
    /// Put the object in its place when it is complete.
    Replace,
}

/// What is there already.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Pieces stored by an earlier run. If `finished`, all wanted ones; none with [`IfExists::Skip`],
    /// which reads nothing.
    pub have: PieceSet,
    /// Pieces that are wanted at all; fewer than all if only a part is.
    pub wanted: PieceSet,
    /// Pieces that may be there too, but have to be hashed to be believed: see [`Task::Recheck`].
    pub doubtful: PieceSet,
    /// It is in its place already, complete; nothing to do.
    pub finished: Option<PathBuf>,
}

/// What came of storing a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Right, and written.
    Stored,
    /// Wrong; nothing was written.
    Mismatch,
}

/// What came of one piece of a [`Task::Store`].
#[derive(Debug)]
pub struct StoredPiece {
    /// Which.
    pub piece: PieceIndex,
    /// The buffer, to be used again.
    pub data: Vec<u8>,
    /// Whether it was right, and is written.
    pub outcome: Result<StoreOutcome, StorageError>,
}

/// What went wrong with a file, said so that the user can act on it.
#[derive(Clone, Debug, Error)]
#[error("{what}: {}", path.display())]
pub struct StorageError {
    /// Decides what happens next.
    pub kind: StorageErrorKind,
    /// What was tried and what came of it: `can't write piece 7: no space left on device`.
    pub what: String,
    /// With which file.
    pub path: PathBuf,
    /// What the user can do, if we know.
    pub advice: Option<String>,
}

/// Kinds of storage errors that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// The file is not what it was when it was hashed.
    Changed,
    /// Another process uses the same destination.
    Locked,
    /// No space left.
    NoSpace,
    /// Nothing there.
    NotFound,
    /// Something else has the name.
    Exists,
    /// A name or path that can't be used.
    BadName,
    /// The system says no for another reason.
    Io,
}
