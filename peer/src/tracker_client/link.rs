//! One connection to a tracker: its stage, its clocks, and the requests that are out on it.
//!
//! Knows nothing of what the requests mean to anybody. Invariants: at most [`MAX_FLIGHTS`] requests
//! are out, and little more than [`MAX_UNFLUSHED`] bytes are queued, however much there is to say.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::limits::{DEAD_AFTER, FRAME_STALL, HELLO_TIMEOUT, NOOP_AFTER};
use protocol::{FrameReader, Message, RequestId};
use reactor::{ConnId, Time};

use super::ending::Ending;
use super::holdings::Undo;
use super::types::Ask;

/// Time for a TCP connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A tracker that answers nothing for so long while requests are out is dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// One that leaves a request unanswered for so long is broken, whatever else it answers.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests that are out at most; enough to keep a distant tracker busy.
const MAX_FLIGHTS: usize = 256;
/// No new request is queued behind so many unsent bytes.
const MAX_UNFLUSHED: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not up yet.
    Connecting { until: Time },
    /// Our HELLO is sent, the tracker's has not come.
    Greeting { until: Time },
    /// Both HELLOs are exchanged.
    Ready,
}

/// What a request on the wire was for.
#[derive(Debug)]
pub(super) enum Flight {
    Beat,
    Announce(Undo),
    Ask(Ask),
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) conn: ConnId,
    pub(super) stage: Stage,
    pub(super) reader: FrameReader,
    /// Since when the tracker has taken us in.
    pub(super) up_since: Option<Time>,
    /// When the next BEAT is due; `None` while one is out.
    pub(super) next_beat: Option<Time>,
    /// The last BEAT, for the time of the next.
    pub(super) last_beat: Time,
    /// The last ANNOUNCE with RESET; 0 if there was none.
    pub(super) last_reset: u32,
    /// The grease frame is sent.
    pub(super) greased: bool,
    flights: BTreeMap<u32, (Time, Flight)>,
    last_rid: u32,
    last_answer: Time,
    last_sent: Time,
    last_received: Time,
    unflushed: usize,
}

impl Link {
    pub(super) fn connecting(now: Time, conn: ConnId) -> Self {
        Self {
            conn,
            stage: Stage::Connecting { until: now + CONNECT_TIMEOUT },
            reader: FrameReader::new(),
            up_since: None,
            next_beat: None,
            last_beat: now,
            last_reset: 0,
            greased: false,
            flights: BTreeMap::new(),
            last_rid: 0,
            last_answer: now,
            last_sent: now,
            last_received: now,
            unflushed: 0,
        }
    }

    /// It is up, and our HELLO goes out.
    pub(super) fn greet(&mut self, now: Time) {
        self.stage = Stage::Greeting { until: now + HELLO_TIMEOUT };
        self.last_received = now;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Whether a request may be queued behind `queued` bytes that are about to be.
    pub(super) fn has_room(&self, queued: usize) -> bool {
        self.flights.len() < MAX_FLIGHTS && self.unflushed + queued < MAX_UNFLUSHED
    }

    /// Appends a request to `bytes`; it is out from here on.
    pub(super) fn request(
        &mut self,
        now: Time,
        bytes: &mut Vec<u8>,
        flight: Flight,
        message: impl FnOnce(RequestId) -> Message,
    ) -> u32 {
        // 0 would mean: unasked. [T-1]
        self.last_rid = self.last_rid.wrapping_add(1).max(1);
        message(RequestId(self.last_rid)).encode(bytes);
        self.flights.insert(self.last_rid, (now, flight));
        self.last_rid
    }

    /// The request that this answer is for; `None` if nobody asked. [T-4]
    pub(super) fn answered(&mut self, now: Time, rid: RequestId) -> Option<Flight> {
        let (_, flight) = self.flights.remove(&rid.0)?;
        self.last_answer = now;
        Some(flight)
    }

    /// The requests that are out, newest first. None is any more.
    pub(super) fn take_flights(&mut self) -> impl Iterator<Item = Flight> + use<> {
        std::mem::take(&mut self.flights).into_values().rev().map(|(_, flight)| flight)
    }

    /// So many bytes were queued.
    pub(super) fn sent(&mut self, now: Time, bytes: usize) {
        self.last_sent = now;
        self.unflushed += bytes;
    }

    /// Nothing is queued any more.
    pub(super) fn flushed(&mut self) {
        self.unflushed = 0;
    }

    /// The tracker lives.
    pub(super) fn received(&mut self, now: Time) {
        self.last_received = now;
    }

    /// From when on it has been silent for so long on our side that a NOOP is due. [F-17]
    pub(super) fn noop_at(&self) -> Time {
        self.last_sent + NOOP_AFTER
    }

    /// When patience ends unless something comes, and how the connection ends then.
    fn patience(&self) -> (Time, fn() -> Ending) {
        match self.stage {
            Stage::Connecting { until } => (until, || Ending::lost("no answer")),
            Stage::Greeting { until } => {
                (until, || Ending::timeout("it accepts connections but does not say HELLO")) // [H-11]
            }
            Stage::Ready => {
                let silence = if self.reader.at_boundary() { DEAD_AFTER } else { FRAME_STALL };
                let silent = self.last_received + silence; // [F-19] [F-20]
                let unanswered = self.answer_deadline();
                if unanswered < silent {
                    (unanswered, || Ending::timeout("it does not answer"))
                } else {
                    (silent, || Ending::timeout("it has fallen silent"))
                }
            }
        }
    }

    fn answer_deadline(&self) -> Time {
        // Answers come in order, so the oldest request is the next to be answered.
        let Some((_, (asked, _))) = self.flights.first_key_value() else { return Time::MAX };
        (self.last_answer.max(*asked) + ANSWER_TIMEOUT).min(*asked + LAST_ANSWER_TIMEOUT)
    }

    /// How it ends if patience is at an end.
    pub(super) fn expired(&self, now: Time) -> Option<Ending> {
        let (until, ending) = self.patience();
        (until <= now).then(ending)
    }

    /// When it wants to be looked at at the latest, apart from what others have to say on it.
    pub(super) fn deadline(&self) -> Time {
        let (until, _) = self.patience();
        match self.stage {
            Stage::Ready => until.min(self.noop_at()).min(self.next_beat.unwrap_or(Time::MAX)),
            _ => until,
        }
    }
}
