//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Time;

/// A monotonic clock whose zero is its own creation.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[allow(clippy::disallowed_methods, reason = "the one place where real time enters")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time since this clock was started.
    #[allow(clippy::disallowed_methods, reason = "the one place where real time enters")]
    pub fn now(&self) -> Time {
        Time::ZERO + Instant::now().duration_since(self.start)
    }
}

/// Time since 1970-01-01 00:00 UTC, zero if the system clock is set before that. For texts and records
/// that people read; never for a decision about who is alive.
#[allow(clippy::disallowed_methods, reason = "the one place where calendar time enters")]
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
