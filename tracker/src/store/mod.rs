//! What must survive: batches of writes go in, and come back committed or failed.
//!
//! The machine asks for a [`Batch`] to be committed, and a worker does it through the [`Committer`];
//! nobody else touches a store after it was opened. This is the only folder of the crate that names
//! files. Invariant S1: a batch that is reported committed is durable as a whole; one that is not may be
//! there or not, but never in part.

mod memory;
mod sqlite;

use std::sync::{Arc, Mutex, PoisonError};

use protocol::Digest;
use reactor::TaskRunner;
use thiserror::Error;

pub use memory::MemoryStore;
pub use sqlite::{OpenError, SqliteStore};

use crate::catalog::Version;
use crate::tracker::Tracker;

/// Writes that become durable together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they were accepted.
    pub writes: Vec<Write>,
}

/// One change of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which name.
    pub name: Arc<str>,
    /// What happens to it.
    pub kind: WriteKind,
}

/// What happens to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// It gets a new version, which is above all it ever had.
    Publish {
        /// SHA-256 of the publisher's key; of the first one, if the name is known.
        owner: Digest,
        /// Wanted copies.
        copies: u8,
        /// The version; the store fills in `published_at`.
        version: Version,
    },
    /// All its versions go; its owner and counter stay.
    Unpublish,
}

/// A store that failed. Whether what it failed at is durable is not known, so nothing is retried.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("can't make names durable: {what}")]
pub struct StoreError {
    /// There is no space left.
    pub full: bool,
    /// In the words of whoever failed.
    pub what: String,
}

/// What came of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Committed {
    /// The batch itself, to be taken over.
    pub batch: Batch,
    /// Seconds since 1970 that its versions got as `published_at`, or why it is not durable.
    pub outcome: Result<u64, StoreError>,
}

/// Where batches go.
pub trait Store: Send {
    /// Makes a batch durable and returns the `published_at` of its versions, seconds since 1970. Blocks.
    ///
    /// # Errors
    /// When the batch may not be durable. Nothing more is asked of this store then.
    fn commit(&mut self, batch: &Batch) -> Result<u64, StoreError>;
}

/// Carries out the tracker's tasks on one store.
pub struct Committer {
    store: Mutex<Box<dyn Store>>,
}

impl Committer {
    /// A runner for `store`.
    pub fn new(store: impl Store + 'static) -> Self {
        Self { store: Mutex::new(Box::new(store)) }
    }

    /// Commits one batch; blocks.
    pub fn commit(&self, batch: Batch) -> Committed {
        // The tracker has one batch under way at most, so nobody ever waits here; and a store that
        // panicked was left by its own transaction guard.
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = store.commit(&batch);
        Committed { batch, outcome }
    }
}

impl TaskRunner<Tracker> for Committer {
    fn run(&self, task: Batch) -> Committed {
        self.commit(task)
    }
}
