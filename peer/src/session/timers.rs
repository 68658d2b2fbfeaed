//! When a session speaks because nobody else did, and when it gives up on the remote.
//!
//! Times only; knows no message.

use std::time::Duration;

use protocol::limits::{BYE_LINGER, DEAD_AFTER, FRAME_STALL, HELLO_TIMEOUT, NOOP_AFTER};
use reactor::Time;

use super::Violation;

/// A frame that takes longer than [`FRAME_STALL`] must come at least so fast on average, or a remote
/// could hold a connection for ever by a byte now and then.
const MIN_FRAME_BYTES_PER_SECOND: u64 = 1024;

/// What a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    KeepAlive,
}

#[derive(Debug)]
pub(super) struct Timers {
    up: Time,
    /// The latest time that anybody told.
    now: Time,
    /// A byte came.
    heard: Time,
    /// A frame was queued, or bytes left.
    spoke: Time,
    /// Since when a frame is incomplete, and how many bytes of it came since.
    frame: Option<(Time, u64)>,
    /// We do not read: silence is our doing.
    paused: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until the remote's HELLO.
    Greeting,
    Talking,
    /// BYE is said; from when, as soon as somebody tells the time.
    Leaving(Option<Time>),
    /// Whoever runs the session closes the connection.
    Over,
}

impl Timers {
    pub(super) fn new(now: Time) -> Self {
        let stage = Stage::Greeting;
        Self { up: now, now, heard: now, spoke: now, frame: None, paused: false, stage }
    }

    pub(super) fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// `bytes` came; `whole`: a frame ends with them. Otherwise, unless `between` frames, one goes on.
    pub(super) fn heard(&mut self, bytes: usize, whole: bool, between: bool) {
        if bytes > 0 {
            self.heard = self.now;
        }
        self.frame = match self.frame {
            _ if whole || between => None,
            None => Some((self.now, 0)),
            Some((since, before)) => Some((since, before.saturating_add(to_u64(bytes)))),
        };
    }

    pub(super) fn spoke(&mut self) {
        self.spoke = self.now;
    }

    pub(super) fn greeted(&mut self) {
        self.stage = Stage::Talking;
    }

    pub(super) fn leave(&mut self) {
        self.stage = Stage::Leaving(None);
    }

    pub(super) fn end(&mut self) {
        if !matches!(self.stage, Stage::Leaving(_)) {
            self.stage = Stage::Over;
        }
    }

    pub(super) fn leaving_since(&self) -> Option<Time> {
        match self.stage {
            Stage::Leaving(since) => Some(since.unwrap_or(self.now)),
            _ => None,
        }
    }

    pub(super) fn pause(&mut self, paused: bool) {
        if self.paused && !paused {
            self.heard = self.now;
            self.frame = self.frame.map(|_| (self.now, 0));
        }
        self.paused = paused;
    }

    pub(super) fn deadline(&self) -> Time {
        match self.stage {
            Stage::Greeting => self.up + HELLO_TIMEOUT,
            // At once, to learn the time.
            Stage::Leaving(None) => Time::ZERO,
            Stage::Leaving(Some(since)) => since + BYE_LINGER,
            Stage::Talking if self.paused => self.spoke + NOOP_AFTER,
            Stage::Talking => {
                (self.spoke + NOOP_AFTER).min(self.heard + DEAD_AFTER).min(self.stalls_at())
            }
            Stage::Over => Time::MAX,
        }
    }

    pub(super) fn expire(&mut self) -> Result<Due, Violation> {
        let now = self.now;
        match self.stage {
            // [H-11]
            Stage::Greeting if now >= self.up + HELLO_TIMEOUT => {
                mark!("no-hello");
                Err(Violation::NoHello(HELLO_TIMEOUT))
            }
            // [F-22]
            Stage::Leaving(None) => {
                self.stage = Stage::Leaving(Some(now));
                Ok(Due::Nothing)
            }
            Stage::Leaving(Some(since)) if now >= since + BYE_LINGER => {
                Err(Violation::Lingered(BYE_LINGER))
            }
            Stage::Talking => self.expire_talking(now),
            Stage::Greeting | Stage::Leaving(_) | Stage::Over => Ok(Due::Nothing),
        }
    }

    fn expire_talking(&mut self, now: Time) -> Result<Due, Violation> {
        if !self.paused {
            // [F-19], [F-20]
            if now >= self.heard + DEAD_AFTER {
                mark!("remote-silent");
                return Err(Violation::Silent(DEAD_AFTER));
            }
            if let Some((since, _)) = self.frame
                && now >= self.stalls_at()
            {
                mark!("frame-stalled");
                return Err(Violation::Stalled(now.since(since)));
            }
        }
        // [F-17]
        if now >= self.spoke + NOOP_AFTER {
            mark!("keep-alive");
            self.spoke = now;
            return Ok(Due::KeepAlive);
        }
        Ok(Due::Nothing)
    }

    fn stalls_at(&self) -> Time {
        let Some((since, bytes)) = self.frame else { return Time::MAX };
        let earned = Duration::from_secs(bytes / MIN_FRAME_BYTES_PER_SECOND);
        (self.heard + FRAME_STALL).min(since + FRAME_STALL + earned)
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
