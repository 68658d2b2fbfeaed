//! How much to ask one peer for at a time, from what it delivers.
//!
//! Knows bytes and times only. Keeps a little more on the way than the peer delivers within a round
//! trip, found by doubling like a slow start, so that neither a fast link runs dry nor a slow one holds
//! pieces that others could send.

use std::time::Duration;

use reactor::Time;

/// Smallest and largest block; a longer one than 5 ms of data would delay what comes behind it.
const MIN_BLOCK: u32 = 16 << 10;
const MAX_BLOCK: u32 = 1 << 20;
const FIRST_BLOCK: u32 = 64 << 10;
const BLOCKS_PER_SECOND: u64 = 200;
/// Most bytes on the way: 16 ms at 1 GB/s, more than any local round trip.
const MAX_TARGET: u64 = 16 << 20;
/// On the way are twice the shortest round trip's bytes. Far less than the lower bound could not bridge
/// a busy moment of either side; the upper bound keeps a bad measurement from growing.
const MIN_AHEAD: Duration = Duration::from_millis(30);
const MAX_AHEAD: Duration = Duration::from_secs(1);
/// A peer that serves many in turn needs something to serve when our turn comes.
const TURN: u64 = 128 << 10;
/// Shortest time over which a rate is measured.
const MIN_EPOCH: Duration = Duration::from_millis(10);
/// Slow start ends after so many epochs without a quarter more than ever before.
const FLAT_EPOCHS: u8 = 3;
/// The shortest round trip is measured again after this, with next to nothing on the way: requests
/// that wait behind our own make every later measurement longer than the path is.
const MIN_RTT_LIFE: Duration = Duration::from_secs(30);
/// Bounds of the silence after which a peer counts as stuck.
const MIN_SNUB: Duration = Duration::from_secs(8);
const MAX_SNUB: Duration = Duration::from_secs(60);
/// How fast an observed silence is forgotten.
const GAP_HALF_LIFE: Duration = Duration::from_secs(30);

/// Request depth and block size towards one peer. One per connection; dies with it.
#[derive(Debug)]
pub struct Pipeline {
    in_flight: u64,
    target: u64,
    /// Bytes per second while something is on the way.
    rate: Option<u64>,
    slow_start: Option<SlowStart>,
    /// The measurement that goes on: since when, and how many bytes came after that.
    epoch: Option<(Time, u64)>,
    timed: Option<Timed>,
    min_rtt: Option<(Duration, Time)>,
    /// `min_rtt` is too old: let the pipe run empty until a request is timed.
    probing: bool,
    /// Data came, or was first waited for.
    progress: Time,
    /// The longest recent silence that ended, and when that was.
    gap: (Duration, Time),
}

#[derive(Debug, Default)]
struct SlowStart {
    best: u64,
    flat: u8,
}

/// One request whose answer is waited for to learn the round trip.
#[derive(Debug)]
struct Timed {
    sent: Time,
    /// Bytes that were asked for before it, and come first.
    ahead: u64,
}

impl Pipeline {
    /// Nothing known yet.
    pub fn new(now: Time) -> Self {
        Self {
            in_flight: 0,
            target: 2 * u64::from(FIRST_BLOCK),
            rate: None,
            slow_start: Some(SlowStart::default()),
            epoch: None,
            timed: None,
            min_rtt: None,
            probing: false,
            progress: now,
            gap: (Duration::ZERO, now),
        }
    }

    /// How long the next block should be, at most `piece_len`: a power of two from 16 KiB to 1 MiB
    /// (about 5 ms of data), or the whole of a shorter piece.
    pub fn block_len(&self, piece_len: u32) -> u32 {
        self.block().min(piece_len)
    }

    /// How many more bytes to ask for now.
    pub fn room(&self) -> usize {
        let target = if self.probing { u64::from(self.block()) } else { self.target };
        usize::try_from(target.saturating_sub(self.in_flight)).expect("at most 16 MiB")
    }

    /// Bytes asked for and not answered.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// A block of `len` bytes was asked for.
    pub fn on_requested(&mut self, now: Time, len: u32) {
        if self.in_flight == 0 {
            // The idle time before says nothing about the peer.
            self.progress = now;
            self.epoch = None;
        }
        // While probing, little can be ahead: there was only room for this once the rest had come.
        if self.timed.is_none() {
            self.timed = Some(Timed { sent: now, ahead: self.in_flight });
        }
        self.in_flight += u64::from(len);
    }

    /// `len` bytes of data came: a block or a part of one.
    pub fn on_data(&mut self, now: Time, len: u32) {
        let len = u64::from(len);
        let silence = now.since(self.progress);
        if silence >= self.remembered_gap(now) {
            self.gap = (silence, now);
        }
        self.progress = now;
        self.in_flight = self.in_flight.saturating_sub(len);
        self.time(now, len);
        if self.min_rtt.is_some_and(|(_, at)| now.since(at) >= MIN_RTT_LIFE) && !self.probing {
            self.probing = true;
            self.timed = None;
        }
        if self.slow_start.is_some() {
            self.target = (self.target + len).min(MAX_TARGET);
        }
        match &mut self.epoch {
            // These bytes came in a time that nobody measured.
            None => self.epoch = Some((now, 0)),
            Some((since, bytes)) => {
                *bytes += len;
                let elapsed = now.since(*since);
                let bytes = *bytes;
                if elapsed >= self.min_rtt().unwrap_or_default().max(MIN_EPOCH) {
                    self.epoch = Some((now, 0));
                    self.measured(bytes, elapsed);
                }
            }
        }
    }

    /// `len` bytes that were asked for will not come: rejected, or their channel is gone.
    pub fn on_reject(&mut self, now: Time, len: u32) {
        // An answer is a sign of life, too; but it says nothing about round trips in order.
        self.progress = now;
        self.timed = None;
        self.in_flight = self.in_flight.saturating_sub(u64::from(len));
    }

    /// Whether the peer owes data and has sent none for much longer than it used to.
    pub fn is_snubbed(&self, now: Time) -> bool {
        self.snub_deadline().is_some_and(|at| at <= now)
    }

    /// When [`Pipeline::is_snubbed`] becomes true if nothing comes; `None` if nothing is owed.
    pub fn snub_deadline(&self) -> Option<Time> {
        let patience = (self.remembered_gap(self.progress) * 3).clamp(MIN_SNUB, MAX_SNUB);
        (self.in_flight > 0).then(|| self.progress + patience)
    }

    /// Bytes per second that come while something is asked for; 0 if not known.
    pub fn rate(&self) -> u64 {
        self.rate.unwrap_or(0)
    }

    /// The shortest recent time from a request to the first byte of its answer, once known.
    pub fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.map(|(rtt, _)| rtt)
    }

    fn block(&self) -> u32 {
        let Some(rate) = self.rate else { return FIRST_BLOCK };
        // The nearest power of two, at a factor of 1.5 rather than the square root of 2.
        let ideal = (rate / BLOCKS_PER_SECOND).saturating_mul(3) / 2;
        let ideal = u32::try_from(ideal).unwrap_or(u32::MAX).clamp(MIN_BLOCK, MAX_BLOCK);
        1 << ideal.ilog2()
    }

    fn two_blocks(&self) -> u64 {
        2 * u64::from(self.block())
    }

    fn time(&mut self, now: Time, len: u64) {
        let Some(timed) = &mut self.timed else { return };
        if timed.ahead > 0 {
            timed.ahead = timed.ahead.saturating_sub(len);
            return;
        }
        let rtt = now.since(timed.sent);
        self.timed = None;
        if self.probing || self.min_rtt().is_none_or(|min| rtt <= min) {
            self.min_rtt = Some((rtt, now));
            self.probing = false;
        }
    }

    /// An epoch is over.
    fn measured(&mut self, bytes: u64, elapsed: Duration) {
        if self.probing {
            return;
        }
        let nanos = elapsed.as_nanos().max(1);
        let sample = u128::from(bytes) * 1_000_000_000 / nanos;
        let sample = u64::try_from(sample).unwrap_or(u64::MAX);
        let rate = match self.rate {
            None => sample,
            Some(rate) if sample > rate => rate.midpoint(sample),
            Some(rate) => rate - (rate - sample) / 8,
        };
        self.rate = Some(rate);
        let ahead = (self.min_rtt().unwrap_or_default() * 2).clamp(MIN_AHEAD, MAX_AHEAD);
        let bytes = u128::from(rate) * ahead.as_nanos() / 1_000_000_000;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let turn = (rate / 2).min(TURN);
        let steady = bytes.max(turn).max(self.two_blocks()).min(MAX_TARGET);
        let over = self.slow_start.as_mut().is_none_or(|slow_start| slow_start.is_over(sample));
        if over {
            self.slow_start = None;
            self.target = steady;
        } else {
            // Room to double, and no more: the end of the growth shows only some round trips later.
            self.target = self.target.min(2 * steady);
        }
    }

    fn remembered_gap(&self, now: Time) -> Duration {
        let (gap, at) = self.gap;
        let halvings = now.since(at).as_nanos() / GAP_HALF_LIFE.as_nanos();
        u32::try_from(halvings)
            .ok()
            .and_then(|n| 2_u32.checked_pow(n))
            .map_or(Duration::ZERO, |n| gap / n)
    }
}

impl SlowStart {
    fn is_over(&mut self, sample: u64) -> bool {
        if sample > self.best.saturating_add(self.best / 4) {
            self.best = sample;
            self.flat = 0;
        } else {
            self.flat += 1;
        }
        self.flat >= FLAT_EPOCHS
    }
}
