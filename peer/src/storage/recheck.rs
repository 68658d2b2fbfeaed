//! Hashes again what an earlier run wrote and the disk may have lost: invariant R1 (b) of `prepare`.
//!
//! Two pieces are read side by side, a little of each at a time: that hashes them in not much more time
//! than one, and needs the same memory for pieces of any size.

use std::sync::Arc;

use protocol::{Digest, PieceIndex};

use crate::disk::StorageError;

use super::fetch::Fetch;
use super::fs::{Advice, FsFile};
use super::part::read_full;
use super::sha256::{Hasher, update_pair};

/// Bytes read of each piece at a time.
const READ: u64 = 256 << 10;

impl Fetch {
    /// Says for each of these pieces whether the data holds it. Then it counts as stored from now on,
    /// though not yet as durable.
    ///
    /// # Errors
    /// When a file can't be opened.
    pub(super) fn recheck(
        &self,
        pieces: &[PieceIndex],
    ) -> Result<Vec<(PieceIndex, bool)>, StorageError> {
        let mut outcomes = Vec::with_capacity(pieces.len());
        for pair in pieces.chunks(2) {
            let checks = pair.iter().map(|piece| self.begin_check(*piece));
            let mut checks: Vec<Check> = checks.collect::<Result<_, _>>()?;
            read_through(&mut checks);
            for check in checks {
                let (piece, file) = (check.piece, check.of_file);
                let holds = check.is_right();
                if holds {
                    self.take_back(piece, file);
                }
                outcomes.push((piece, holds));
            }
        }
        Ok(outcomes)
    }

    fn begin_check(&self, piece: PieceIndex) -> Result<Check, StorageError> {
        let (span, wanted) = self.place_of(piece)?;
        let mut state = self.state();
        state.usable()?;
        let (file, _) = self.handle(&mut state, wanted)?;
        // [S3] After a failed sync, memory may hold what the disk does not. All at once before anything is
        // fetched would be simpler, but with gigabytes that are not written yet it takes seconds.
        file.advise(Advice::Reread { at: span.offset, len: u64::from(span.len) });
        Ok(Check {
            piece,
            of_file: span.file,
            file,
            at: span.offset,
            end: span.offset + u64::from(span.len),
            right: self.spec.manifest.piece_hash(piece),
            hasher: Hasher::new(),
            buffer: Vec::new(),
        })
    }
}

/// A piece that is being read.
struct Check {
    piece: PieceIndex,
    of_file: usize,
    file: Arc<dyn FsFile>,
    at: u64,
    end: u64,
    right: Digest,
    hasher: Hasher,
    /// What was read last.
    buffer: Vec<u8>,
}

impl Check {
    /// Reads on, into `buffer`; nothing at the end.
    fn read(&mut self) {
        let want = (self.end - self.at).min(READ);
        self.buffer.resize(usize::try_from(want).expect("256 KiB fit any address space"), 0);
        let read = read_full(&*self.file, &mut self.buffer, self.at).unwrap_or_else(|cause| {
            // Not readable is not there: it is fetched again, into the same place.
            log::warn!("piece {} can't be read again: {cause}", self.piece.get());
            0
        });
        self.buffer.truncate(read);
        self.at += read as u64;
    }

    fn is_right(&self) -> bool {
        self.at == self.end && self.hasher.clone().finish() == self.right
    }
}

fn read_through(checks: &mut [Check]) {
    loop {
        checks.iter_mut().for_each(Check::read);
        if checks.iter().all(|check| check.buffer.is_empty()) {
            return;
        }
        match checks {
            [a, b] => update_pair(&mut a.hasher, &a.buffer, &mut b.hasher, &b.buffer),
            _ => checks.iter_mut().for_each(|check| check.hasher.update(&check.buffer)),
        }
    }
}
