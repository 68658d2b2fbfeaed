//! Counters of the driver. Nothing depends on them.

use std::time::Duration;

/// What a reactor has done since it was made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Turns of the loop.
    pub turns: u64,
    /// Readiness events taken from the system.
    pub events: u64,
    /// Polls that returned as many events as fit, so that more may have been waiting.
    pub full_polls: u64,
    /// Events for connections that had ended already.
    pub stale_events: u64,
    /// Actions on connections that had ended already.
    pub stale_actions: u64,
    /// Connections that came in.
    pub accepted: u64,
    /// Times that accepting was put off for want of descriptors or memory.
    pub accept_failures: u64,
    /// Connections that we opened.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub connect_failures: u64,
    /// Connections that ended, by whichever side.
    pub closed: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Those of them that were read straight to where they belong.
    pub bytes_landed: u64,
    /// Bytes handed to the system.
    pub bytes_out: u64,
    /// Ranges that were not sent because their source had changed.
    pub failed_ranges: u64,
    /// Connections given up because a source failed in the middle of a range.
    pub failed_sources: u64,
    /// Ranges that were brought into memory before they were sent.
    pub loads: u64,
    /// Task results delivered.
    pub tasks_done: u64,
    /// How long the turns kept new events waiting.
    pub lag: Lag,
}

/// How long turns took, without the waiting: what an event that came at the start of one had to wait at
/// the most. A histogram with two steps per octave of microseconds.
#[derive(Clone, Debug)]
pub struct Lag {
    counts: [u64; STEPS],
    max: Duration,
}

/// Up to 2^32 microseconds, more than an hour.
const STEPS: usize = 64;

impl Default for Lag {
    fn default() -> Self {
        Self { counts: [0; STEPS], max: Duration::ZERO }
    }
}

impl Lag {
    pub(crate) fn add(&mut self, turn: Duration) {
        self.max = self.max.max(turn);
        let micros = u64::try_from(turn.as_micros()).unwrap_or(u64::MAX).max(1);
        let octave = micros.ilog2();
        let upper_half = octave > 0 && micros >> (octave - 1) & 1 == 1;
        let step = octave as usize * 2 + usize::from(upper_half);
        self.counts[step.min(STEPS - 1)] += 1;
    }

    /// The longest turn.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// A duration that this share of the turns, in percent, did not exceed; zero without turns. At most
    /// half again as much as the exact value, and never more than the longest turn.
    pub fn percentile(&self, percent: u8) -> Duration {
        let total: u64 = self.counts.iter().sum();
        let wanted = (u128::from(total) * u128::from(percent)).div_ceil(100);
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted && seen > 0 {
                return step_end(step).min(self.max);
            }
        }
        Duration::ZERO
    }
}

/// The first duration that is too long for a step.
fn step_end(step: usize) -> Duration {
    let octave = 1_u64 << (step / 2);
    Duration::from_micros(if step % 2 == 1 { octave * 2 } else { octave + octave.div_ceil(2) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_bracket_the_truth() {
        let mut lag = Lag::default();
        assert_eq!(lag.percentile(99), Duration::ZERO);
        for micros in 1..=1000 {
            lag.add(Duration::from_micros(micros));
        }
        for (percent, exact) in [(1, 10), (50, 500), (90, 900), (99, 990), (100, 1000)] {
            let exact = Duration::from_micros(exact);
            let told = lag.percentile(percent);
            assert!(told >= exact && told <= exact * 3 / 2, "{percent} %: {told:?} for {exact:?}");
        }
        lag.add(Duration::from_secs(1 << 40));
        assert_eq!(lag.max(), Duration::from_secs(1 << 40));
    }
}
