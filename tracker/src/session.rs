//! One connection: HELLO and BYE, replies in the order of their requests, what is queued towards the
//! remote, and how long silence is tolerated. Knows no other session, no name and no swarm.
//!
//! Invariant C1: at most one BYE, and nothing after it. Invariant C2: a reply leaves only after those to
//! all earlier requests. Invariant C3: `unsent` never exceeds [`HIGH_WATER`] by more than one reply.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::limits::{BYE_LINGER, DEAD_AFTER, FRAME_STALL, HELLO_TIMEOUT, NOOP_AFTER};
use protocol::message::Bye;
use protocol::{Code, FrameReader, Message, NodeId, RequestId};
use reactor::{Action, Actions, CloseReason, ConnId, Time};

use crate::contact::Contact;
use crate::ledger::Ticket;
use crate::swarms::PeerKey;

/// Bytes queued towards one remote beyond which its requests have to wait.
pub(crate) const HIGH_WATER: usize = 256 << 10;

/// Requests of one session that may wait for the disk before the next ones have to wait.
const MAX_WAITING: usize = 1_024;

/// A remote that leaves replies unread for so long is gone or means harm.
const UNREAD_FOR: Duration = Duration::from_secs(30);

/// A whole control frame must have come after so long, however steadily it drips: 64 KiB at about
/// 1 KiB per second.
const FRAME_TIME: Duration = Duration::from_secs(60);

/// Bytes that may have to wait because the remote does not read. A driver delivers no more than it
/// reads at once, and nothing while reading is paused.
const MAX_BACKLOG: usize = 4 << 20;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The remote's HELLO is not here yet.
    Greeting,
    /// Both HELLOs are through.
    Ready,
    /// Our BYE or our end is out; the remote has until then to close.
    Leaving(Time),
    /// To be dropped by whoever drives this session.
    Dead(CloseReason),
}

/// A request or reply that can't go yet.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A reply to come, when this ticket comes up.
    Commit {
        /// Which one.
        ticket: Ticket,
        /// The request that it answers.
        rid: RequestId,
    },
    /// A finished frame behind such a reply.
    Done(Vec<u8>),
    /// A request that must see the outcome of what it comes behind.
    Request(Box<Message>),
}

/// Who the remote says it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote {
    pub(crate) node: NodeId,
    pub(crate) contact: Option<Contact>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    /// Where it comes from, never an IPv4 address in IPv6 clothes.
    pub(crate) addr: SocketAddr,
    pub(crate) phase: Phase,
    pub(crate) reader: FrameReader,
    /// Known from HELLO on.
    pub(crate) remote: Option<Remote>,
    /// Its lease, from the first BEAT on.
    pub(crate) peer: Option<PeerKey>,
    /// There is no room for it: it gets HELLO and BYE.
    pub(crate) refused: Option<&'static str>,
    /// Received, but not looked at, because of C2 or C3.
    pub(crate) backlog: Vec<u8>,
    pub(crate) waiting: VecDeque<Waiting>,
    /// The remote sends no more.
    pub(crate) remote_finished: bool,
    /// When its driver is to look at it again; owned by the driver.
    pub(crate) wake: Time,
    paused: bool,
    finished: bool,
    /// Frames of this step, sent together at its end.
    outbox: Vec<u8>,
    unsent: usize,
    unsent_since: Option<Time>,
    last_received: Time,
    last_sent: Time,
    frame_since: Option<Time>,
}

impl Session {
    pub(crate) fn new(conn: ConnId, addr: SocketAddr, now: Time) -> Self {
        Self {
            conn,
            addr,
            phase: Phase::Greeting,
            reader: FrameReader::new(),
            remote: None,
            peer: None,
            refused: None,
            backlog: Vec::new(),
            waiting: VecDeque::new(),
            remote_finished: false,
            wake: now + HELLO_TIMEOUT,
            paused: false,
            finished: false,
            outbox: Vec::new(),
            unsent: 0,
            unsent_since: None,
            last_received: now,
            last_sent: now,
            frame_since: None,
        }
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    // ---- what goes out

    /// A frame that no request asked for.
    pub(crate) fn send(&mut self, message: &Message) {
        if !matches!(self.phase, Phase::Leaving(_) | Phase::Dead(_)) {
            message.encode(&mut self.outbox);
        }
    }

    /// As [`Session::send`], for bytes that are a frame already.
    pub(crate) fn send_raw(&mut self, frame: &[u8]) {
        if !matches!(self.phase, Phase::Leaving(_) | Phase::Dead(_)) {
            self.outbox.extend_from_slice(frame);
        }
    }

    /// The reply to a request, behind those to earlier ones.
    pub(crate) fn reply(&mut self, message: &Message) {
        if self.waiting.is_empty() {
            self.send(message);
        } else {
            self.waiting.push_back(Waiting::Done(message.to_frame()));
        }
    }

    /// The last words [F-21]: what waits is dropped, what was queued is still sent.
    pub(crate) fn bye(&mut self, now: Time, code: Code, text: &str) {
        log::debug!("bye conn={} remote={} code={code} text={text:?}", self.conn.0, self.addr);
        self.send(&Message::Bye(Bye { code, text: text.to_owned() }));
        self.leave(now);
    }

    /// Ends our direction after what is queued.
    pub(crate) fn leave(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Leaving(_) | Phase::Dead(_)) {
            self.phase = Phase::Leaving(now + BYE_LINGER);
            self.waiting.clear();
            self.backlog = Vec::new();
        }
    }

    /// Whether requests have to wait: for the remote to read, or for the disk.
    pub(crate) fn blocked(&self) -> bool {
        self.full() || self.waiting.len() >= MAX_WAITING
    }

    /// Whether replies have to wait for the remote to read.
    pub(crate) fn full(&self) -> bool {
        self.unsent + self.outbox.len() >= HIGH_WATER
    }

    /// Puts the reply to a ticket that came up into its place. `reply` makes it from the request's id.
    pub(crate) fn resolve(&mut self, ticket: Ticket, reply: impl FnOnce(RequestId) -> Message) {
        // Tickets of one session come up in order, so the first that waits is the one.
        for waiting in &mut self.waiting {
            if let Waiting::Commit { ticket: other, rid } = *waiting
                && other == ticket
            {
                *waiting = Waiting::Done(reply(rid).to_frame());
                return;
            }
        }
    }

    /// Hands everything of this step to the driver. Call once at the end of each.
    pub(crate) fn flush<T>(&mut self, now: Time, out: &mut Actions<T>) {
        if let Phase::Dead(reason) = self.phase {
            out.close(self.conn, reason);
            return;
        }
        if !self.outbox.is_empty() {
            self.unsent += self.outbox.len();
            self.unsent_since.get_or_insert(now);
            self.last_sent = now;
            out.send(self.conn, std::mem::take(&mut self.outbox));
        }
        if matches!(self.phase, Phase::Leaving(_)) {
            if !self.finished {
                self.finished = true;
                out.push(Action::Finish { conn: self.conn });
            }
            self.pause(now, false, out);
            return;
        }
        self.pause(now, !self.backlog.is_empty(), out);
    }

    /// What is queued has left.
    pub(crate) fn flushed(&mut self) {
        self.unsent = 0;
        self.unsent_since = None;
    }

    // ---- what comes in

    /// Takes note of received bytes; whether they are to be looked at now.
    pub(crate) fn arrived(&mut self, now: Time, bytes: &[u8]) -> bool {
        self.last_received = now;
        match self.phase {
            Phase::Leaving(_) | Phase::Dead(_) => false,
            Phase::Greeting | Phase::Ready if self.backlog.is_empty() => true,
            Phase::Greeting | Phase::Ready => {
                self.keep(bytes);
                false
            }
        }
    }

    /// Keeps received bytes for later.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.backlog.extend_from_slice(bytes);
        if self.backlog.len() > MAX_BACKLOG {
            self.phase = Phase::Dead(CloseReason::Overload);
        }
    }

    /// Takes note of where the stream stands after bytes were looked at; `whole` says whether a frame
    /// was completed by them.
    pub(crate) fn looked_at(&mut self, now: Time, whole: bool) {
        if self.reader.at_boundary() {
            self.frame_since = None;
        } else if whole || self.frame_since.is_none() {
            self.frame_since = Some(now);
        }
    }

    fn pause<T>(&mut self, now: Time, pause: bool, out: &mut Actions<T>) {
        if self.paused != pause {
            self.paused = pause;
            // Silence while we did not listen is not the remote's.
            self.last_received = now;
            self.frame_since = self.frame_since.map(|_| now);
            let conn = self.conn;
            out.push(if pause {
                Action::PauseReading { conn }
            } else {
                Action::ResumeReading { conn }
            });
        }
    }

    // ---- time

    /// When something is due at the earliest. `awake_since`: silence before that was ours.
    pub(crate) fn due(&self, awake_since: Time) -> Time {
        let received = self.last_received.max(awake_since);
        let frame_since = self.frame_since.filter(|_| !self.paused);
        match self.phase {
            Phase::Greeting => self.last_hello_time(),
            Phase::Leaving(until) => until,
            Phase::Dead(_) => Time::ZERO,
            Phase::Ready => [
                Some(self.last_sent + NOOP_AFTER),
                (!self.paused).then_some(received + DEAD_AFTER),
                frame_since.map(|_| received + FRAME_STALL),
                frame_since.map(|since| since.max(awake_since) + FRAME_TIME),
                self.unsent_since.map(|since| since.max(awake_since) + UNREAD_FOR),
            ]
            .into_iter()
            .flatten()
            .fold(Time::MAX, Time::min),
        }
    }

    /// Does what is due. // [F-17, F-19, F-20]
    pub(crate) fn check(&mut self, now: Time, awake_since: Time) {
        let received = self.last_received.max(awake_since);
        let over = |since: Time, limit| now.since(since.max(awake_since)) >= limit;
        match self.phase {
            Phase::Dead(_) => {}
            // [H-11] Whoever has not said HELLO gets nothing, not even a BYE.
            Phase::Greeting if now >= self.last_hello_time() => {
                mark!("session-without-hello");
                self.phase = Phase::Dead(CloseReason::Timeout);
            }
            Phase::Greeting => {}
            Phase::Leaving(until) if now >= until => self.phase = Phase::Dead(CloseReason::Done),
            Phase::Leaving(_) => {}
            Phase::Ready => {
                let silent = !self.paused && now.since(received) >= DEAD_AFTER;
                let frame_since = self.frame_since.filter(|_| !self.paused);
                let stalled = frame_since.is_some_and(|since| {
                    now.since(received) >= FRAME_STALL || over(since, FRAME_TIME)
                });
                if self.unsent_since.is_some_and(|since| over(since, UNREAD_FOR)) {
                    mark!("replies-unread");
                    // It does not read, so it would not read a BYE.
                    self.phase = Phase::Dead(CloseReason::Timeout);
                } else if silent || stalled {
                    mark!("session-silent");
                    let text = if silent { "silent for too long" } else { "frame takes too long" };
                    self.bye(now, Code::TIMEOUT, text);
                } else if now.since(self.last_sent) >= NOOP_AFTER {
                    self.send(&Message::Noop);
                }
            }
        }
    }

    /// The greeting's deadline counts from the accept on; nothing was sent before.
    fn last_hello_time(&self) -> Time {
        self.last_sent + HELLO_TIMEOUT
    }
}
