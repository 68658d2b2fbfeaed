//! Who is told about newcomers without asking: peers that are still fetching, a few per newcomer, and
//! each of them once per object and five seconds at most. // [T-46]
//!
//! Invariant Q1: `due` holds one time for each entry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::ObjectId;
use protocol::limits::MAX_PUSH;
use reactor::Time;

use crate::swarms::PeerKey;

/// Receivers that one newcomer is pushed to. It gets a sample itself when it asks, and connections work
/// both ways, so a push only mixes swarms that would stay apart.
pub(crate) const FANOUT: usize = 4;

/// Shortest time between two pushes of one object to one receiver.
const QUIET: Duration = Duration::from_secs(5);

/// Newcomers that wait for a receiver's quiet time to end. Keys of peers in here may be stale: whoever
/// sends checks that the receiver fetches and the newcomer holds the object. Objects go by their ids: one
/// that everybody drops and somebody holds again soon after has another key, but no new quiet time.
#[derive(Debug, Default)]
pub(crate) struct Pushes {
    entries: BTreeMap<(PeerKey, ObjectId), Vec<PeerKey>>,
    due: BTreeSet<(Time, PeerKey, ObjectId)>,
}

impl Pushes {
    /// A newcomer for a receiver; true if it may be sent at once, else it is kept for later.
    pub(crate) fn offer(
        &mut self,
        now: Time,
        receiver: PeerKey,
        object: ObjectId,
        newcomer: PeerKey,
    ) -> bool {
        if let Some(newcomers) = self.entries.get_mut(&(receiver, object)) {
            if newcomers.len() < MAX_PUSH && !newcomers.contains(&newcomer) {
                newcomers.push(newcomer);
            }
            return false;
        }
        self.put(now + QUIET, receiver, object);
        true
    }

    /// Newcomers for a receiver whose quiet time is over. Call until there is none.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<(PeerKey, ObjectId, Vec<PeerKey>)> {
        while let Some(&(due, receiver, object)) = self.due.first() {
            if due > now {
                return None;
            }
            self.due.pop_first();
            let newcomers = self.entries.remove(&(receiver, object)).expect("Q1");
            if !newcomers.is_empty() {
                self.put(now + QUIET, receiver, object);
                return Some((receiver, object, newcomers));
            }
        }
        None
    }

    /// When somebody's quiet time is over.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(due, _, _)| *due)
    }

    fn put(&mut self, due: Time, receiver: PeerKey, object: ObjectId) {
        self.due.insert((due, receiver, object));
        self.entries.insert((receiver, object), Vec::new());
    }
}
