//! The blocking work of a peer on real files: carries out the tasks of [`crate::disk`].
//!
//! Everything that touches files goes through the traits of [`mod@fs`], so that a simulated disk can
//! take the place of the real one. No sockets, no threads, no protocol decisions: what to store and when
//! to finish is the machine's business.
//!
//! How a fetch survives crashes, and why no piece is ever believed that is not there, is told by the
//! invariants in the private modules `fetch` (S1 to S4), `journal` (J1), `part` (P1), `resume` and
//! `prepare` and `recheck` (R1), `finish` (F1).

mod beneath;
mod error;
mod existing;
mod fetch;
mod finish;
pub mod fs;
mod hash_cache;
mod hasher;
mod journal;
pub mod keys;
mod layout;
mod naming;
mod open_files;
mod os_fs;
mod part;
mod prepare;
#[doc(hidden)]
pub mod probe;
mod recall;
mod recheck;
mod resume;
mod scan;
pub mod sha256;
mod shared;
mod tree;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::PieceIndex;

use crate::disk::{
    FetchKey, FileKey, StorageError, StorageErrorKind, StoredPiece, Task, TaskResult,
};

pub use hash_cache::HashCache;
pub use os_fs::OsFs;

use fetch::Fetch;
use fs::Fs;

/// Files up to this long, in bytes, are served from memory instead of a mapping.
const SMALL_FILE: u64 = 64 << 10;

/// Carries out tasks, on as many threads at once as there are. Lives as long as the process.
pub struct Storage {
    fs: Arc<dyn Fs>,
    cache: Option<Mutex<HashCache>>,
    fetches: Mutex<BTreeMap<FetchKey, Arc<Fetch>>>,
}

impl Storage {
    /// On this file system, with this memory of earlier hashing, if any.
    pub fn new(fs: Arc<dyn Fs>, cache: Option<HashCache>) -> Self {
        Self { fs, cache: cache.map(Mutex::new), fetches: Mutex::new(BTreeMap::new()) }
    }

    /// Carries out one task. Blocks; tasks of the same fetch may run at the same time.
    pub fn run(&self, task: Task) -> TaskResult {
        match task {
            Task::Resolve { address } => {
                let outcome = resolve(&address);
                TaskResult::Resolved { address, outcome }
            }
            Task::Scan { share, request } => {
                TaskResult::Scanned { share, outcome: scan::scan(&*self.fs, &request) }
            }
            Task::Hash { share, object, first, jobs, resume, use_cache } => {
                let cache = self.cache.as_ref().filter(|_| use_cache);
                let now = reactor::clock::unix_time();
                let step = hasher::hash_step(&*self.fs, cache, &jobs, resume, now);
                let hasher::HashStep { done, unfinished, bytes } = step;
                TaskResult::Hashed { share, object, first, done, unfinished, bytes }
            }
            Task::CheckFiles { share, object, files } => {
                let changed = shared::check_files(&*self.fs, &files);
                TaskResult::FilesChecked { share, object, changed }
            }
            Task::OpenShared { key, path, stamp } => {
                TaskResult::Opened { key, outcome: shared::open_shared(&*self.fs, &path, stamp) }
            }
            Task::Recall { fetch, object, folder, part } => {
                let manifest = recall::recall(&*self.fs, &folder, object, part.as_ref());
                TaskResult::Recalled { fetch, manifest }
            }
            other => self.run_fetch(other),
        }
    }

    fn run_fetch(&self, task: Task) -> TaskResult {
        match task {
            Task::Prepare { fetch, spec } => {
                let outcome = prepare::prepare(&*self.fs, *spec).map(|(prepared, made)| {
                    self.fetches().insert(fetch, Arc::new(made));
                    prepared
                });
                TaskResult::Prepared { fetch, outcome }
            }
            Task::Store { fetch, pieces } => {
                let pieces = match self.find(fetch) {
                    Ok(found) => found.store(pieces),
                    Err(error) => refuse(pieces, &error),
                };
                TaskResult::Stored { fetch, pieces }
            }
            Task::Recheck { fetch, pieces } => {
                let outcome = self.find(fetch).and_then(|found| found.recheck(&pieces));
                TaskResult::Rechecked { fetch, outcome }
            }
            Task::Checkpoint { fetch } => {
                let outcome = self.find(fetch).and_then(|found| found.checkpoint());
                TaskResult::Checkpointed { fetch, outcome }
            }
            Task::OpenFetched { key } => {
                let outcome = match key {
                    FileKey::Fetched { fetch, file } => {
                        self.find(fetch).and_then(|found| found.open(file))
                    }
                    FileKey::Shared { .. } => Err(not_ours("a seeded file was asked of a fetch")),
                };
                TaskResult::Opened { key, outcome }
            }
            Task::Finish { fetch } => {
                let outcome = self.find(fetch).and_then(|found| found.finish());
                TaskResult::Finished { fetch, outcome }
            }
            Task::Release { fetch } => {
                let released = self.fetches().remove(&fetch);
                if let Some(released) = released {
                    released.release();
                }
                TaskResult::Released { fetch }
            }
            Task::Resolve { .. }
            | Task::Scan { .. }
            | Task::Hash { .. }
            | Task::CheckFiles { .. }
            | Task::OpenShared { .. }
            | Task::Recall { .. } => unreachable!("`run` carries these out itself"),
        }
    }

    fn find(&self, fetch: FetchKey) -> Result<Arc<Fetch>, StorageError> {
        let found = self.fetches().get(&fetch).cloned();
        found.ok_or_else(|| not_ours("the fetch is not prepared, or was released"))
    }

    /// The map is whole whatever a thread that held it did: single calls change it.
    fn fetches(&self) -> MutexGuard<'_, BTreeMap<FetchKey, Arc<Fetch>>> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(pieces: Vec<(PieceIndex, Vec<u8>)>, error: &StorageError) -> Vec<StoredPiece> {
    let refused = |(piece, data)| StoredPiece { piece, data, outcome: Err(error.clone()) };
    pieces.into_iter().map(refused).collect()
}

fn not_ours(what: &str) -> StorageError {
    error::error(StorageErrorKind::Io, what, Path::new(""))
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    let found: Vec<SocketAddr> = match address.to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(cause) => return Err(cause.to_string()),
    };
    if found.is_empty() { Err(format!("no address is known for '{address}'")) } else { Ok(found) }
}
