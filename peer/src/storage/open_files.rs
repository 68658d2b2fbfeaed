//! A bounded number of open files, so that an object of 131,072 files works with 1,024 descriptors.

use std::sync::Arc;

use super::fs::FsFile;

/// Files that one fetch keeps open at most.
pub(super) const MAX_OPEN: usize = 64;

/// The files used last.
#[derive(Default)]
pub(super) struct OpenFiles {
    slots: Vec<Slot>,
    clock: u64,
}

struct Slot {
    index: usize,
    file: Arc<dyn FsFile>,
    used: u64,
}

impl OpenFiles {
    /// The file with this index, if it is open.
    pub(super) fn get(&mut self, index: usize) -> Option<Arc<dyn FsFile>> {
        self.clock += 1;
        let slot = self.slots.iter_mut().find(|slot| slot.index == index)?;
        slot.used = self.clock;
        Some(Arc::clone(&slot.file))
    }

    /// Keeps a file open; says which one was let go of for it.
    pub(super) fn put(&mut self, index: usize, file: Arc<dyn FsFile>) -> Option<usize> {
        self.clock += 1;
        let slot = Slot { index, file, used: self.clock };
        if self.slots.len() < MAX_OPEN {
            self.slots.push(slot);
            return None;
        }
        let oldest = self.slots.iter_mut().min_by_key(|slot| slot.used)?;
        Some(std::mem::replace(oldest, slot).index)
    }

    /// Closes all that nobody else uses.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
    }
}
