//! What one connection still has to send: bytes, and ranges of sources behind a header.
//!
//! It does no I/O beyond asking a source whether it is unchanged, and never looks at mapped bytes: they
//! leave as addresses in [`IoSlice`]s.
//!
//! Invariant S1: no byte of a range's header leaves before its source was found unchanged in the same
//! write. Invariant S2: an entry of which a byte has left is only removed when all of it has. Invariant
//! S3: no byte of a range's header leaves before its data was seen in memory, or brought there: the loop
//! must not wait for a disk. (What is forgotten again between that and the end of the write still makes it
//! wait; the system forgets what was used longest ago.)

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use crate::options::SLICES_PER_WRITE;
use crate::{RangeError, RangeTag, Source};

/// A range that could not be sent while the stream stayed intact.
pub(crate) type FailedRange = (RangeTag, RangeError);

/// A range to be brought into memory.
#[derive(Debug)]
pub(crate) struct ColdRange {
    source: Source,
    range: Range<usize>,
}

impl ColdRange {
    /// Does it; blocks.
    pub(crate) fn load(&self) {
        self.source.load(&self.range);
    }
}

/// Entries in the order in which they leave.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    entries: VecDeque<Entry>,
    /// Bytes of the first entry that have left.
    sent_of_front: usize,
}

#[derive(Debug)]
enum Entry {
    Bytes(Vec<u8>),
    Range { tag: RangeTag, header: Vec<u8>, source: Source, range: Range<usize>, data: Data },
}

/// Where the data of a range is, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    Unknown,
    /// On its way into memory.
    Loading,
    InMemory,
}

impl Entry {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Range { header, range, .. } => header.len().saturating_add(range.len()),
        }
    }

    /// Why this entry cannot be sent, if so. Costs one `fstat` for a stamped file.
    fn failure(&self) -> Option<FailedRange> {
        let Self::Range { tag, source, range, .. } = self else { return None };
        if range.start > range.end || range.end as u64 > source.len() {
            return Some((*tag, RangeError::OutOfBounds));
        }
        (!source.is_unchanged()).then_some((*tag, RangeError::Changed))
    }

    /// Looks whether the data is in memory. If not, it is to be brought there first.
    fn look(&mut self) -> Option<ColdRange> {
        let Self::Range { source, range, data: data @ Data::Unknown, .. } = self else {
            return None;
        };
        let resident = source.is_resident(range);
        *data = if resident { Data::InMemory } else { Data::Loading };
        (!resident).then(|| ColdRange { source: source.clone(), range: range.clone() })
    }

    fn is_loading(&self) -> bool {
        matches!(self, Self::Range { data: Data::Loading, .. })
    }

    /// The parts that are to leave, in order.
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::Bytes(bytes) => [bytes, &[]],
            // Only `check` lets a range come this far, and it has compared the bounds.
            Self::Range { header, source, range, .. } => [header, &source.bytes()[range.clone()]],
        }
    }
}

impl SendQueue {
    /// Appends bytes.
    pub(crate) fn push_bytes(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.entries.push_back(Entry::Bytes(bytes));
        }
    }

    /// Appends a header and a range.
    pub(crate) fn push_range(
        &mut self,
        tag: RangeTag,
        header: Vec<u8>,
        source: Source,
        range: &Range<u64>,
    ) {
        // A bound that does not fit an address is far outside of every source, and so is the maximum.
        let bound = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let range = bound(range.start)..bound(range.end);
        self.entries.push_back(Entry::Range { tag, header, source, range, data: Data::Unknown });
    }

    /// Whether everything has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether nothing can leave before a range has been brought into memory.
    pub(crate) fn is_waiting(&self) -> bool {
        self.entries.front().is_some_and(Entry::is_loading)
    }

    /// The range that [`SendQueue::check`] found missing in memory has been brought there.
    pub(crate) fn loaded(&mut self) {
        for entry in &mut self.entries {
            if let Entry::Range { data: data @ Data::Loading, .. } = entry {
                *data = Data::InMemory;
            }
        }
    }

    /// Removes the entries among the next `limit` bytes (and `entries_max` entries) that cannot be
    /// sent, and says which. Returns how many entries are good to go; if there are fewer because a range
    /// has to be brought into memory, that is the value of `cold` afterwards.
    pub(crate) fn check(
        &mut self,
        limit: usize,
        entries_max: usize,
        failed: &mut Vec<FailedRange>,
        cold: &mut Option<ColdRange>,
    ) -> usize {
        let mut good = 0;
        let mut bytes = 0;
        while good < entries_max.min(SLICES_PER_WRITE / 2) && bytes < limit {
            let Some(entry) = self.entries.get_mut(good) else { break };
            let started = good == 0 && self.sent_of_front > 0;
            if !started && let Some(failure) = entry.failure() {
                failed.push(failure);
                self.entries.remove(good);
                continue;
            }
            *cold = entry.look();
            if entry.is_loading() {
                break;
            }
            bytes += entry.len();
            good += 1;
        }
        good
    }

    /// The unsent bytes of the first `entries` entries, at most `limit`, none of them empty. Returns
    /// how many slices were filled.
    pub(crate) fn slices<'a>(
        &'a self,
        entries: usize,
        limit: usize,
        out: &mut [IoSlice<'a>; SLICES_PER_WRITE],
    ) -> usize {
        let mut skip = self.sent_of_front;
        let mut left = limit;
        let mut filled = 0;
        for part in self.entries.iter().take(entries).flat_map(Entry::parts) {
            let skipped = skip.min(part.len());
            skip -= skipped;
            let len = (part.len() - skipped).min(left);
            if len > 0 {
                out[filled] = IoSlice::new(&part[skipped..skipped + len]);
                filled += 1;
                left -= len;
            }
        }
        filled
    }

    /// Notes that `written` bytes have left.
    pub(crate) fn advance(&mut self, written: usize) {
        self.sent_of_front += written;
        while let Some(front) = self.entries.front()
            && self.sent_of_front >= front.len()
        {
            self.sent_of_front -= front.len();
            self.entries.pop_front();
        }
        assert!(!self.is_empty() || self.sent_of_front == 0, "more bytes left than were queued");
    }

    /// Removes the first entry, which turned out to be unreadable, if it is a range of which no byte
    /// has left.
    pub(crate) fn drop_unstarted_range(&mut self) -> Option<FailedRange> {
        let Some(Entry::Range { tag, .. }) = self.entries.front() else { return None };
        let failure = (*tag, RangeError::Changed);
        (self.sent_of_front == 0).then(|| {
            self.entries.pop_front();
            failure
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut SendQueue, step: usize) -> (Vec<u8>, Vec<FailedRange>) {
        let (mut out, mut failed) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let good = queue.check(step, usize::MAX, &mut failed, &mut None);
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let count = queue.slices(good, step, &mut slices);
            let before = out.len();
            slices[..count].iter().for_each(|slice| out.extend_from_slice(slice));
            let written = out.len() - before;
            queue.advance(written);
            if queue.is_empty() {
                return (out, failed);
            }
        }
        panic!("the queue never became empty: {queue:?}");
    }

    #[test]
    fn any_step_gives_the_same_stream() {
        for step in 1..40 {
            let mut queue = SendQueue::default();
            let source = Source::from_bytes((0..100).collect());
            let range = |queue: &mut SendQueue, tag, header: &[u8], start, end| {
                queue.push_range(RangeTag(tag), header.to_vec(), source.clone(), &(start..end));
            };
            queue.push_bytes(b"abc".to_vec());
            range(&mut queue, 1, b"head", 10, 20);
            range(&mut queue, 2, b"lost", 90, 101);
            range(&mut queue, 3, b"", 5, 5);
            range(&mut queue, 4, b"turned", 6, 5);
            range(&mut queue, 5, b"far", u64::MAX, u64::MAX);
            queue.push_bytes(b"z".to_vec());
            range(&mut queue, 6, b"", 99, 100);
            let (out, failed) = drain(&mut queue, step);
            assert_eq!(out, b"abchead\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13z\x63");
            let bad = |tag| (RangeTag(tag), RangeError::OutOfBounds);
            assert_eq!(failed, [bad(2), bad(4), bad(5)]);
        }
    }

    /// Whatever the system says of a file: what is to be loaded holds back itself and what follows, once.
    #[test]
    fn a_range_that_is_being_loaded_holds_the_queue() {
        let mut queue = SendQueue::default();
        let source = Source::from_bytes(vec![1; 10]);
        queue.push_bytes(b"first".to_vec());
        queue.push_range(RangeTag(1), b"head".to_vec(), source, &(0..10));
        let Some(Entry::Range { data, .. }) = queue.entries.back_mut() else { panic!() };
        *data = Data::Loading;
        let check =
            |queue: &mut SendQueue| queue.check(usize::MAX, usize::MAX, &mut Vec::new(), &mut None);
        assert_eq!((check(&mut queue), queue.is_waiting()), (1, false));
        queue.advance(5);
        assert_eq!((check(&mut queue), queue.is_waiting()), (0, true));
        queue.loaded();
        assert_eq!((check(&mut queue), queue.is_waiting()), (1, false));
    }

    #[test]
    fn more_entries_than_slices() {
        let mut queue = SendQueue::default();
        for n in 0..200 {
            queue.push_bytes(vec![n; 3]);
        }
        let (out, _) = drain(&mut queue, 1 << 20);
        assert_eq!(out, (0..200).flat_map(|n| [n; 3]).collect::<Vec<u8>>());
    }
}
