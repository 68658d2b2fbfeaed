//! What we hold, and what the tracker has been told of it.
//!
//! Knows nothing of connections or time. The full set is here; beside it stand, for each object that
//! the tracker has yet to hear of, what it was told last. Invariant: `full` seen through `untold` is
//! exactly what a tracker knows that has taken in everything sent so far; [`Holdings::told`] is its
//! count and digest, so that a BEAT between two parts of an ANNOUNCE causes no needless SYNC.

use std::collections::BTreeMap;

use protocol::limits::MAX_ANNOUNCE_ENTRIES;
use protocol::message::AnnounceEntry;
use protocol::{Holding, ObjectId, holdings_digest};

#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Never has [`Holding::Dropped`].
    full: BTreeMap<ObjectId, Holding>,
    /// Objects of which the tracker knows something else: what it was told last.
    untold: BTreeMap<ObjectId, Holding>,
    /// The next part makes the tracker forget everything before.
    reset: bool,
}

/// One ANNOUNCE to send, and what it takes to undo it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) reset: bool,
    pub(super) entries: Vec<AnnounceEntry>,
    pub(super) undo: Undo,
}

/// What the tracker knew before a part that may not have reached it.
#[derive(Debug, Default)]
pub(super) struct Undo {
    reset: bool,
    before: Vec<(ObjectId, Holding)>,
}

impl Holdings {
    /// We hold so much of it from now on.
    pub(super) fn set(&mut self, object: ObjectId, holding: Holding) {
        let old = match holding {
            Holding::Dropped => self.full.remove(&object),
            _ => self.full.insert(object, holding),
        };
        let old = old.unwrap_or(Holding::Dropped);
        if old != holding {
            self.untold.entry(object).or_insert(old);
        }
        if self.untold.get(&object) == Some(&holding) {
            self.untold.remove(&object);
        }
    }

    /// The tracker shall forget everything and be told everything.
    pub(super) fn tell_all(&mut self) {
        self.untold = self.full.keys().map(|object| (*object, Holding::Dropped)).collect();
        self.reset = true;
    }

    /// As [`tell_all`](Self::tell_all), for a tracker that never heard of us: if there is nothing to
    /// tell, there is nothing to forget either.
    pub(super) fn tell_stranger(&mut self) {
        self.tell_all();
        self.reset = !self.full.is_empty();
    }

    /// Whether there is something to tell.
    pub(super) fn is_pending(&self) -> bool {
        self.reset || !self.untold.is_empty()
    }

    /// Takes the next part of what there is to tell.
    pub(super) fn take_part(&mut self) -> Option<Part> {
        if !self.is_pending() {
            return None;
        }
        let reset = std::mem::take(&mut self.reset);
        let mut part =
            Part { reset, entries: Vec::new(), undo: Undo { reset, before: Vec::new() } };
        while part.entries.len() < MAX_ANNOUNCE_ENTRIES
            && let Some((object, before)) = self.untold.pop_first()
        {
            let holding = self.full.get(&object).copied().unwrap_or(Holding::Dropped);
            part.entries.push(AnnounceEntry { object, holding });
            part.undo.before.push((object, before));
        }
        Some(part)
    }

    /// A part may not have reached the tracker. Of several, the newest comes first.
    pub(super) fn undo(&mut self, undo: Undo) {
        if undo.reset {
            return self.tell_all();
        }
        if !self.reset {
            self.untold.extend(undo.before);
        }
    }

    /// What the tracker was told: the number of objects, and their digest.
    pub(super) fn told(&self) -> (u32, u64) {
        let unchanged = self.full.iter().filter(|(object, _)| !self.untold.contains_key(*object));
        let told = unchanged.chain(&self.untold).filter(|(_, told)| **told != Holding::Dropped);
        let mut count = 0;
        let digest = holdings_digest(told.map(|(object, told)| {
            count += 1;
            (*object, *told)
        }));
        (count, digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ObjectId = ObjectId([1; 32]);
    const B: ObjectId = ObjectId([2; 32]);

    fn entries(part: &Part) -> Vec<(ObjectId, Holding)> {
        part.entries.iter().map(|entry| (entry.object, entry.holding)).collect()
    }

    #[test]
    fn a_change_that_is_taken_back_is_not_told() {
        let mut holdings = Holdings::default();
        holdings.set(A, Holding::Partial);
        holdings.set(A, Holding::Dropped);
        assert!(holdings.take_part().is_none());
        holdings.set(A, Holding::Partial);
        holdings.set(A, Holding::Complete);
        assert_eq!(entries(&holdings.take_part().unwrap()), [(A, Holding::Complete)]);
        assert!(holdings.take_part().is_none());
    }

    #[test]
    fn told_follows_what_was_sent_and_undo_takes_it_back() {
        let mut holdings = Holdings::default();
        holdings.set(A, Holding::Complete);
        assert_eq!(holdings.told(), (0, 0));
        let first = holdings.take_part().unwrap();
        assert_eq!(holdings.told(), (1, holdings_digest([(A, Holding::Complete)])));
        holdings.set(A, Holding::Dropped);
        holdings.set(B, Holding::Partial);
        let second = holdings.take_part().unwrap();
        assert_eq!(entries(&second), [(A, Holding::Dropped), (B, Holding::Partial)]);
        assert_eq!(holdings.told(), (1, holdings_digest([(B, Holding::Partial)])));
        holdings.undo(second.undo);
        assert_eq!(holdings.told(), (1, holdings_digest([(A, Holding::Complete)])));
        holdings.undo(first.undo);
        assert_eq!(holdings.told(), (0, 0));
        // It may or may not have heard of A, so it is told again.
        let again = holdings.take_part().unwrap();
        assert_eq!(entries(&again), [(A, Holding::Dropped), (B, Holding::Partial)]);
    }

    #[test]
    fn everything_is_told_in_parts_of_which_the_first_resets() {
        let mut holdings = Holdings::default();
        for number in 0..4_000_u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            holdings.set(ObjectId(id), Holding::Complete);
        }
        holdings.tell_all();
        let parts: Vec<_> = std::iter::from_fn(|| holdings.take_part()).collect();
        let shape: Vec<_> = parts.iter().map(|part| (part.reset, part.entries.len())).collect();
        assert_eq!(shape, [(true, 1_985), (false, 1_985), (false, 30)]);
        assert_eq!(holdings.told().0, 4_000);
        // The tail is lost: only that is told again.
        holdings.undo(parts.into_iter().next_back().unwrap().undo);
        assert_eq!(holdings.take_part().unwrap().entries.len(), 30);
    }

    #[test]
    fn with_nothing_to_tell_only_a_stranger_is_not_reset() {
        let mut holdings = Holdings::default();
        holdings.tell_stranger();
        assert!(holdings.take_part().is_none());
        holdings.tell_all();
        let part = holdings.take_part().unwrap();
        assert!(part.reset && part.entries.is_empty());
    }
}
