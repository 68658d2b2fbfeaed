//! How many sessions are served at the same time.
//!
//! Nobody can pass on half a piece. A piece that shares the way out with a hundred others takes a hundred
//! times as long until its receiver begins to help, so only a few sessions are served at a time: just
//! enough to fill the way out. Nobody tells how many those are. A session holds a slot while bytes that it
//! was handed have not gone to the system; if more slots make more bytes go, they stay, and if not, they
//! close again. Whoever takes its bytes far more slowly than all together go out holds a slot that
//! somebody else may use, and the next time it takes none. As long as nobody can tell what is slow, others
//! pass one holder after a moment.
//!
//! Knows sessions, bytes and times only. Invariant U2: who holds a slot was handed bytes that did not go
//! yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reactor::Time;

use super::SessionKey;

/// The system still has some bytes to send when the next session's turn comes.
const MIN_SLOTS: usize = 1;
/// More than any swarm needs; a bound for what a misjudged measurement can do.
const MAX_SLOTS: usize = 4_096;
/// Who holds its slot for so many times as long as all that is handed out should take at the usual pace
/// does not read, or is slower than we are. That all have to share the way out makes nobody late.
const LATE: u32 = 4;
/// Nobody is late before the first, since systems take and send in spurts, and everybody after the second.
const SHORTEST_HOLD: Duration = Duration::from_millis(100);
const LONGEST_HOLD: Duration = Duration::from_secs(60);
/// How long each holder may take as long as the pace is not known, or it is called late: a seeder whose
/// readers all are, for being no faster than they are, takes longer to find how many it should serve.
const FIRST_HOLD: Duration = Duration::from_millis(200);
/// How long others wait for a holder as long as the pace is not known, and no other one was passed like
/// that. If they waited longer, a slow one would leave the way out idle in the first second of a swarm. A
/// little more than 256 KiB take at 100 Mbit/s, so that over such links one is served after the other.
const FIRST_WAIT: Duration = Duration::from_millis(30);
/// The pace is known, and what went before counts half, after so long: the system takes the first bytes
/// at once, whatever the way out is like.
const PACE: Duration = Duration::from_millis(500);
/// A rate is measured over so many bytes per slot, or over the longest time if they are fewer.
const MEASURED_PER_SLOT: u64 = 1 << 20;
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(4);
/// So much goes to each further session at once, into the system's buffer and no farther.
const BUFFERED: u64 = 256 << 10;
/// Pause before the next attempt after one that changed nothing; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(4);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Holder {
    /// Handed and not gone.
    bytes: u64,
    /// When it was handed the first of them.
    at: Time,
    /// It is late when it holds its slot for longer.
    patience: Duration,
    /// It was late the last time, or is now, or nobody can tell yet: its slot is open to somebody else.
    open: bool,
}

impl Holder {
    fn is_late(&self, now: Time) -> bool {
        now >= self.at + self.patience
    }

    /// When its slot opens to somebody else, if others wait no longer than that.
    fn opens_at(&self, wait: Duration) -> Time {
        self.at + self.patience.min(wait)
    }
}

/// Who is being served.
#[derive(Debug)]
pub(super) struct Slots {
    holders: BTreeMap<SessionKey, Holder>,
    /// Who was late the last time, and so takes no slot from others.
    slow: BTreeSet<SessionKey>,
    /// The holder for which others waited no longer, though nobody can tell yet whether it is slow.
    passed: Option<SessionKey>,
    /// Who held a slot before shared the way out with one more holder than there are slots.
    passed_until: Time,
    count: usize,
    /// Bytes that went, to all.
    gone: u64,
    /// When some of them last did, or the first were handed.
    progress: Time,
    /// Bytes that went lately, and in which time.
    pace: (u64, Duration),
    /// The measurement that goes on: since when, and what had gone before.
    epoch: Option<(Time, u64)>,
    attempt: Option<Attempt>,
    /// The next attempt is to do with fewer.
    downwards: bool,
    next_attempt: Time,
    pause: Duration,
}

/// Another number of slots, tried to see whether the rate follows.
#[derive(Debug)]
struct Attempt {
    from: usize,
    /// Bytes per second with so many.
    rate: u128,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            holders: BTreeMap::new(),
            slow: BTreeSet::new(),
            passed: None,
            passed_until: Time::ZERO,
            count: MIN_SLOTS,
            gone: 0,
            progress: Time::ZERO,
            pace: (0, Duration::ZERO),
            epoch: None,
            attempt: None,
            downwards: false,
            next_attempt: Time::ZERO,
            pause: FIRST_PAUSE,
        }
    }

    /// Whether somebody who holds no slot may be served.
    pub(super) fn is_open(&self) -> bool {
        self.counting().count() < self.count
    }

    /// Opens to others the slots of those who have held them for too long.
    pub(super) fn open_overdue(&mut self, now: Time) {
        let mut found = false;
        let wait = self.wait();
        for (session, holder) in self.holders.iter_mut().filter(|(_, holder)| !holder.open) {
            holder.open = now >= holder.opens_at(wait);
            found |= holder.open;
            if holder.open && !holder.is_late(now) {
                self.passed = Some(*session);
            }
        }
        if found {
            // The time in which others waited for it says nothing about the number of slots.
            self.not_needed();
        }
    }

    /// When one more slot will be open to others than its holder, if none is before.
    pub(super) fn opens_at(&self) -> Option<Time> {
        let wait = self.wait();
        let mut open_at: Vec<_> = self.counting().map(|holder| holder.opens_at(wait)).collect();
        open_at.sort_unstable();
        open_at.get(open_at.len().checked_sub(self.count)?).copied()
    }

    /// Those whose slots are not open to others.
    fn counting(&self) -> impl Iterator<Item = &Holder> {
        self.holders.values().filter(|holder| !holder.open)
    }

    /// How long others wait for a holder at most, whatever it may take.
    fn wait(&self) -> Duration {
        if self.passed.is_some() || self.knows_pace() { LONGEST_HOLD } else { FIRST_WAIT }
    }

    fn knows_pace(&self) -> bool {
        self.pace.1 >= PACE
    }

    /// How long all that is handed out should take at most.
    fn patience(&self) -> Duration {
        if !self.knows_pace() {
            let holders = u32::try_from(self.holders.len()).unwrap_or(u32::MAX);
            return FIRST_HOLD.saturating_mul(holders).min(LONGEST_HOLD);
        }
        let (gone, time) = self.pace;
        let handed: u64 = self.holders.values().map(|holder| holder.bytes).sum();
        let nanos = time.as_nanos() * u128::from(handed) / u128::from(gone.max(1));
        let usual = u64::try_from(nanos).map_or(LONGEST_HOLD, Duration::from_nanos);
        usual.saturating_mul(LATE).clamp(SHORTEST_HOLD, LONGEST_HOLD)
    }

    /// Whether a session was late the last time, or is now.
    pub(super) fn is_slow(&self, now: Time, session: SessionKey) -> bool {
        let late = |holder: &Holder| holder.is_late(now);
        self.slow.contains(&session) || self.holders.get(&session).is_some_and(late)
    }

    pub(super) fn holds(&self, session: SessionKey) -> bool {
        self.holders.contains_key(&session)
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = SessionKey> + '_ {
        self.holders.keys().copied()
    }

    /// `bytes` were handed to a session: it holds a slot until all that it was handed is gone.
    pub(super) fn handed(&mut self, now: Time, session: SessionKey, bytes: u64) {
        if self.holders.is_empty() {
            self.progress = now;
        }
        let open = self.slow.contains(&session);
        let new = Holder { bytes: 0, at: now, patience: Duration::ZERO, open };
        self.holders.entry(session).or_insert(new).bytes += bytes;
        let patience = self.patience();
        for holder in self.holders.values_mut() {
            holder.patience = holder.patience.max(patience);
        }
    }

    /// All that a session was handed has gone to the system, or will never go.
    pub(super) fn release(&mut self, now: Time, session: SessionKey) {
        let Some(holder) = self.holders.remove(&session) else { return };
        if self.passed.take_if(|passed| *passed == session).is_some() {
            self.passed_until = now;
            self.not_needed();
        }
        if holder.is_late(now) {
            mark!("slow-reader");
            self.slow.insert(session);
        } else {
            self.slow.remove(&session);
        }
        let bytes = holder.bytes;
        self.gone += bytes;
        let (lately, time) = (self.pace.0 + bytes, self.pace.1 + now.since(self.progress));
        self.pace = if time > PACE * 2 { (lately / 2, time / 2) } else { (lately, time) };
        self.progress = now;
    }

    /// A session is gone, and what it was handed.
    pub(super) fn forget(&mut self, session: SessionKey) {
        self.holders.remove(&session);
        self.slow.remove(&session);
        self.passed.take_if(|passed| *passed == session);
    }

    /// There is nobody to serve, though there is a slot: nothing can be learned from the rate.
    pub(super) fn not_needed(&mut self) {
        self.epoch = None;
        if let Some(attempt) = self.attempt.take() {
            self.count = attempt.from;
        }
    }

    /// All slots are held, and others wait: whether that is the right number shows over time.
    pub(super) fn all_held(&mut self, now: Time) {
        let Some((since, before)) = self.epoch else {
            if self.counting().all(|holder| holder.at >= self.passed_until) {
                self.epoch = Some((now, self.gone));
            }
            return;
        };
        let (elapsed, gone) = (now.since(since), self.gone - before);
        let enough = gone >= MEASURED_PER_SLOT * self.count as u64 && elapsed >= SHORTEST;
        if !enough && elapsed < LONGEST {
            return;
        }
        self.epoch = Some((now, self.gone));
        let further =
            self.attempt.as_ref().map_or(0, |attempt| self.count.saturating_sub(attempt.from));
        let gone = gone.saturating_sub(BUFFERED * further as u64);
        self.measured(now, u128::from(gone) * 1_000_000_000 / elapsed.as_nanos().max(1));
    }

    fn measured(&mut self, now: Time, rate: u128) {
        if let Some(attempt) = self.attempt.take() {
            // More are worth it if the rate follows at least half of the way; fewer if it stays.
            let more = self.count > attempt.from;
            let worth_it = if more {
                let (count, from) = (self.count as u128, attempt.from as u128);
                rate * 2 * from >= attempt.rate * (from + count)
            } else {
                rate * 10 >= attempt.rate * 9
            };
            if !worth_it {
                self.count = attempt.from;
            }
            // Few that do as well are better than many: after more were of no use, fewer are tried.
            self.downwards = self.count > MIN_SLOTS && more != worth_it;
            if worth_it || self.downwards {
                (self.next_attempt, self.pause) = (now, FIRST_PAUSE);
            } else {
                self.next_attempt = now + self.pause;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            return;
        }
        if now < self.next_attempt {
            return;
        }
        self.attempt = Some(Attempt { from: self.count, rate });
        self.count = if self.downwards {
            self.count - self.count.div_ceil(4)
        } else {
            (self.count + self.count.div_ceil(2)).min(MAX_SLOTS)
        };
    }
}
