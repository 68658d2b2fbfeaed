//! A store that is gone with its process: for tests, the simulator, and `--data-dir :memory:`.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Batch, Store, StoreError};
use crate::catalog::{Catalog, Snapshot};

/// Keeps names in memory. Clones share them, so that a test can start a second tracker on the same
/// names, and make commits fail.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    clock: fn() -> u64,
}

#[derive(Debug, Default)]
struct Inner {
    catalog: Catalog,
    failure: Option<StoreError>,
}

impl MemoryStore {
    /// An empty store; `clock` gives the seconds since 1970 that versions get.
    pub fn new(clock: fn() -> u64) -> Self {
        Self { inner: Arc::default(), clock }
    }

    /// What a tracker that starts now finds.
    pub fn snapshot(&self) -> Snapshot {
        self.with(|inner| inner.catalog.snapshot())
    }

    /// Lets all commits from now on fail so; `None`: work again.
    pub fn fail_with(&self, failure: Option<StoreError>) {
        self.with(|inner| inner.failure = failure);
    }

    fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, batch: &Batch) -> Result<u64, StoreError> {
        let now = (self.clock)();
        self.with(|inner| match &inner.failure {
            Some(failure) => Err(failure.clone()),
            None => {
                batch.writes.iter().for_each(|write| inner.catalog.apply(write.clone(), now));
                Ok(now)
            }
        })
    }
}
