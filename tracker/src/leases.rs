//! When peers stop being believed.
//!
//! Leases run on a clock of their own, which stands still while this process does: after a suspended
//! machine or a stopped process, everybody gets the time back that we slept through, and one interval
//! more, so that no live peer is expired by our own pause.
//!
//! Invariant L1: a peer with a lease has exactly one entry in `order`.

use std::collections::BTreeSet;
use std::time::Duration;

use reactor::Time;

use crate::swarms::PeerKey;

/// A moment on the lease clock. Not comparable with [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeaseTime(Time);

/// How far the lease clock is set ahead at the start, so that it can be set back: a hundred years.
const HEADROOM: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// All leases, in the order in which they end.
#[derive(Debug)]
pub(crate) struct Leases {
    order: BTreeSet<(LeaseTime, PeerKey)>,
    /// Time that does not count.
    slept: Duration,
    last: Option<Time>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self { order: BTreeSet::new(), slept: Duration::ZERO, last: None }
    }

    /// Takes note of the time; whether we must have been asleep since the last call. To be called at
    /// least once per `interval` while there are leases; see [`Leases::deadline`].
    pub(crate) fn tick(&mut self, now: Time, interval: Duration) -> bool {
        let gap = self.last.map_or(Duration::ZERO, |last| now.since(last));
        self.last = Some(now);
        let slept = !self.order.is_empty() && gap > interval * 2;
        if slept {
            self.slept += gap + interval;
        }
        slept
    }

    /// Gives a peer a lease of `len` from `now`, in place of the one that it had.
    pub(crate) fn renew(
        &mut self,
        peer: PeerKey,
        old: Option<LeaseTime>,
        now: Time,
        len: Duration,
    ) -> LeaseTime {
        if let Some(old) = old {
            self.order.remove(&(old, peer));
        }
        let ends = LeaseTime(now + HEADROOM - self.slept + len);
        self.order.insert((ends, peer));
        ends
    }

    /// Takes a peer's lease away.
    pub(crate) fn end(&mut self, peer: PeerKey, ends: LeaseTime) {
        self.order.remove(&(ends, peer));
    }

    /// A peer whose lease is over, if there is one. // [T-15]
    /// It keeps its entry until [`Leases::end`].
    pub(crate) fn expired(&self, now: Time) -> Option<PeerKey> {
        let (ends, peer) = self.order.first()?;
        if canary!("leases-never-end") {
            return None;
        }
        (ends.0 <= now + HEADROOM - self.slept).then_some(*peer)
    }

    /// When [`Leases::tick`] must be called again at the latest: when a lease ends, but at least once
    /// per interval, because a longer silence is taken for sleep.
    pub(crate) fn deadline(&self, interval: Duration) -> Option<Time> {
        let (ends, _) = self.order.first()?;
        let ends = ends.0 + self.slept - HEADROOM;
        if canary!("leases-never-end") {
            return Some(self.last.map_or(ends, |last| last + interval));
        }
        Some(self.last.map_or(ends, |last| ends.min(last + interval)))
    }
}
