//! Open files to serve from, by key; the least recently used are closed first.

use std::collections::BTreeMap;

use reactor::Source;

use crate::disk::FileKey;

/// Files kept open at most. Each costs a descriptor and a mapping; both are limited per process.
const MAX_OPEN: usize = 512;

/// The open files.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    open: BTreeMap<FileKey, (Source, u64)>,
    clock: u64,
}

impl Sources {
    /// The file, if it is open.
    pub(crate) fn get(&mut self, key: &FileKey) -> Option<Source> {
        self.clock += 1;
        let (source, used) = self.open.get_mut(key)?;
        *used = self.clock;
        Some(source.clone())
    }

    /// Keeps an open file, and closes another one if there are too many.
    pub(crate) fn put(&mut self, key: FileKey, source: Source) {
        self.clock += 1;
        self.open.insert(key, (source, self.clock));
        if self.open.len() > MAX_OPEN {
            let oldest = self.open.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.open.remove(&key);
            }
        }
    }

    /// Closes every file for which `which` holds.
    pub(crate) fn close(&mut self, which: impl Fn(&FileKey) -> bool) {
        self.open.retain(|key, _| !which(key));
    }
}
