//! Averages and limits of bytes per second, over time that is handed in.

use std::time::Duration;

use reactor::Time;

/// Bytes per second, averaged with weights that fall off exponentially, and the sum of all bytes.
#[derive(Clone, Debug)]
pub struct Rate {}

impl Rate {
    /// Nothing yet. `window`: how long a change takes to show for about two thirds.
    pub fn new(now: Time, window: Duration) -> Self {
        let _ = (now, window);
        todo!()
    }

    /// Bytes moved.
    pub fn add(&mut self, now: Time, bytes: u64) {
        let _ = (now, bytes);
        todo!()
    }

    /// Bytes per second.
    pub fn per_second(&self, now: Time) -> u64 {
        let _ = now;
        todo!()
    }

    /// All bytes since the start.
    pub fn total(&self) -> u64 {
        todo!()
    }
}

/// Lets a given number of bytes through per second, with short bursts.
#[derive(Clone, Debug)]
pub struct TokenBucket {}

impl TokenBucket {
    /// A full bucket. `per_second` of 0 is taken as 1.
    pub fn new(now: Time, per_second: u64) -> Self {
        let _ = (now, per_second);
        todo!()
    }

    /// Whether anything may pass now.
    pub fn is_open(&self, now: Time) -> bool {
        let _ = now;
        todo!()
    }

    /// Takes `bytes` out, even if that leaves a debt: what passes is never cut.
    pub fn take(&mut self, now: Time, bytes: u64) {
        let _ = (now, bytes);
        todo!()
    }

    /// When it is open (again); in the past if it is now.
    pub fn opens_at(&self) -> Time {
        todo!()
    }
}
