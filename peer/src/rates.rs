//! Averages and limits of bytes per second, over time that is handed in.
//!
//! Whole numbers only, so that a run in virtual time gives the same everywhere.

use std::time::Duration;

use reactor::Time;

/// Between two steps the average does not decay.
const STEP_NANOS: u64 = 250_000_000;
/// How many steps a change of speed takes to show for about two thirds: 4 seconds.
const STEPS: u64 = 16;
/// After so many steps next to nothing is left of the past: 0.94^200 is 2e-6.
const FORGOTTEN_AFTER: u64 = 200;
/// Fixed point of the weights.
const ONE: u64 = 1 << 20;

/// Bytes per second, averaged with weights that fall off exponentially, and the sum of all bytes.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    /// Start of the current step; `None` before the first bytes.
    step: Option<Time>,
    /// Bytes of past steps, decayed, times [`ONE`].
    past: u128,
    /// How many steps those are worth, decayed alike, times [`ONE`]: so the start is not taken for
    /// a standstill.
    weight: u64,
    current: u64,
    total: u64,
}

impl Rate {
    /// Bytes moved.
    pub fn add(&mut self, now: Time, bytes: u64) {
        self.advance(now);
        self.current += bytes;
        self.total += bytes;
    }

    /// Bytes per second, averaged over some seconds.
    pub fn per_second(&self, now: Time) -> u64 {
        let mut at_now = self.clone();
        at_now.advance(now);
        let Some(step) = at_now.step else { return 0 };
        let bytes = at_now.past + u128::from(at_now.current) * u128::from(ONE);
        let past = u128::from(at_now.weight) * u128::from(STEP_NANOS);
        let nanos = past + now.since(step).as_nanos() * u128::from(ONE);
        // The first moments are too short to tell.
        let nanos = nanos.max(u128::from(STEP_NANOS) * u128::from(ONE));
        u64::try_from(bytes * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }

    /// All bytes since the start.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn advance(&mut self, now: Time) {
        let step = *self.step.get_or_insert(now);
        let passed = now.as_nanos().saturating_sub(step.as_nanos()) / STEP_NANOS;
        if passed == 0 {
            return;
        }
        self.step = Some(step + Duration::from_nanos(passed * STEP_NANOS));
        if passed > FORGOTTEN_AFTER {
            (self.past, self.weight, self.current) = (0, STEPS * ONE, 0);
            return;
        }
        for _ in 0..passed {
            self.past += u128::from(std::mem::take(&mut self.current)) * u128::from(ONE);
            self.past -= self.past / u128::from(STEPS);
            self.weight += ONE;
            self.weight -= self.weight / STEPS;
        }
    }
}

/// What may pass at once after a pause, as a time at full rate.
const BURST: Duration = Duration::from_millis(100);

/// Lets a given number of bytes through per second, with short bursts.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u64,
    /// When all that has passed would be paid for at the full rate.
    paid_at: Time,
}

impl TokenBucket {
    /// A full bucket. `per_second` of 0 is taken as 1.
    pub fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1), paid_at: Time::ZERO }
    }

    /// Whether anything may pass now.
    pub fn is_open(&self, now: Time) -> bool {
        self.opens_at() <= now
    }

    /// Takes `bytes` out, even if that leaves a debt: what passes is never cut.
    pub fn take(&mut self, now: Time, bytes: u64) {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.per_second));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now) + cost;
    }

    /// When it is open (again); in the past if it is now.
    pub fn opens_at(&self) -> Time {
        self.paid_at - BURST
    }
}
