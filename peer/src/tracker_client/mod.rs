//! The peer's side of its connection to the tracker: finds it, stays connected, says what we hold,
//! asks and matches the answers.
//!
//! Pure: no I/O, no clock; it works through [`Actions`] like the machine that owns it. It knows nothing
//! of fetches or shares, only of questions ([`Ask`]) and holdings. Invariants: at most one session at a
//! time; each [`Ask`] gets at most one [`TrackerEvent::Answer`], and keeps being asked over any number
//! of sessions until it has one or is forgotten; memory is bounded by what the owner told it.

mod asks;
mod commands;
mod drains;
mod ending;
mod hello;
mod holdings;
mod link;
mod route;
mod session;
mod types;

use std::net::SocketAddr;
use std::time::Duration;

use protocol::message::Bye;
use protocol::{Code, Message, NodeId};
use reactor::{Action, Actions, CloseReason, ConnId, ConnectError, Rng, TaskId, Time};

use crate::disk::Task;
use asks::Asks;
use drains::Drains;
use ending::{Ending, connect_failure};
use holdings::Holdings;
use link::{Flight, Link, Stage};
use route::{Failure, FailureKind, Route, Step};

pub use types::{Answer, Ask, MAX_ASKS, MAX_TOKEN, Settings, TrackerEvent};

/// Names are looked up for so long before the next tracker gets its turn.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(10);
/// After a session of this length the next outage begins with short waits again.
const STEADY: Duration = Duration::from_secs(30);

/// The connection to the tracker; see the module.
///
/// Use: `new`, `start`, then pass on every event whose connection it [`owns`](Self::owns), every
/// [`TaskResult::Resolved`](crate::disk::TaskResult::Resolved), and deadlines. After each call to it,
/// [`take_events`](Self::take_events). After commands (`find` ... `set_holding`), one
/// [`pump`](Self::pump).
#[derive(Debug)]
pub struct TrackerClient {
    settings: Settings,
    rng: Rng,
    route: Route,
    state: State,
    drains: Drains,
    asks: Asks,
    holdings: Holdings,
    /// No ANNOUNCE earlier: the tracker asked for patience.
    announce_from: Time,
    totals: Totals,
    /// Who knows what we hold, if it still lives.
    last_tracker: Option<NodeId>,
    /// The refusal that was told in this outage.
    told_refusal: Option<Code>,
    events: Vec<TrackerEvent>,
}

#[derive(Debug)]
enum State {
    /// Not started, left, or nowhere to go.
    Idle,
    /// A name is being looked up.
    LookingUp { until: Time },
    /// Between two rounds.
    Waiting { until: Time },
    /// There is a connection, or will be.
    Linked(Box<Link>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    free: u64,
    sent: u64,
    received: u64,
}

impl TrackerClient {
    /// One that does nothing yet.
    pub fn new(settings: Settings, rng: Rng) -> Self {
        Self {
            route: Route::new(&settings.addresses),
            settings,
            rng,
            state: State::Idle,
            drains: Drains::default(),
            asks: Asks::default(),
            holdings: Holdings::default(),
            announce_from: Time::ZERO,
            totals: Totals::default(),
            last_tracker: None,
            told_refusal: None,
            events: Vec::new(),
        }
    }

    /// Begins to look for a tracker. Once.
    pub fn start(&mut self, now: Time, out: &mut Actions<Task>) {
        if self.route.is_empty() {
            return;
        }
        let len = self.settings.token.as_ref().map_or(0, Vec::len);
        if len > MAX_TOKEN {
            let text =
                format!("the cluster token has {len} bytes, at most {MAX_TOKEN} are allowed");
            self.events.push(TrackerEvent::Refused { code: Code::DENIED, text });
            return;
        }
        self.route.begin_round();
        self.advance(now, out);
    }

    /// The port to announce in later sessions; best set before [`start`](Self::start).
    pub fn set_listen(&mut self, port: u16) {
        self.settings.listen = port;
    }

    /// Whether events of this connection are for the client.
    pub fn owns(&self, conn: ConnId) -> bool {
        matches!(&self.state, State::Linked(link) if link.conn == conn)
            || self.drains.contains(conn)
    }

    /// Whether a tracker has taken us in and the session still stands.
    pub fn is_up(&self) -> bool {
        matches!(&self.state, State::Linked(link) if link.up_since.is_some())
    }

    /// What happened since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<TrackerEvent> {
        std::mem::take(&mut self.events)
    }

    /// A connection that the client asked for is up.
    pub fn on_connected(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        let State::Linked(link) = &mut self.state else { return };
        if link.conn != conn || !matches!(link.stage, Stage::Connecting { .. }) {
            return;
        }
        link.greet(now);
        // [H-4] The dialer speaks first.
        let frame = Message::Hello(hello::ours(&self.settings, &mut self.rng)).to_frame();
        link.sent(now, frame.len());
        out.send(conn, frame);
    }

    /// A connection that the client asked for did not come about.
    pub fn on_connect_failed(
        &mut self,
        now: Time,
        conn: ConnId,
        error: ConnectError,
        out: &mut Actions<Task>,
    ) {
        if let Some(link) = self.take_link(conn) {
            self.settle(now, *link, connect_failure(error), out);
        }
    }

    /// Bytes from the tracker.
    pub fn on_received(&mut self, now: Time, conn: ConnId, bytes: &[u8], out: &mut Actions<Task>) {
        let Some(mut link) = self.take_link(conn) else { return };
        link.received(now);
        match self.read(now, &mut link, bytes) {
            Ok(()) => self.keep(now, link, out),
            Err(ending) => self.end(now, *link, ending, out),
        }
    }

    /// All that was sent is out.
    pub fn on_flushed(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        if let Some(mut link) = self.take_link(conn) {
            link.flushed();
            self.keep(now, link, out);
        }
    }

    /// The tracker will send no more.
    pub fn on_remote_finished(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        self.drains.finished(conn, out);
        if let Some(link) = self.take_link(conn) {
            self.end(now, *link, Ending::lost("it closed the connection"), out);
        }
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        self.drains.gone(conn);
        if let Some(link) = self.take_link(conn) {
            self.settle(now, *link, Ending::lost("the connection broke").failure, out);
        }
    }

    /// What came of a [`Task::Resolve`]. Addresses that are not the client's are ignored.
    pub fn on_resolved(
        &mut self,
        now: Time,
        address: &str,
        outcome: Result<Vec<SocketAddr>, String>,
        out: &mut Actions<Task>,
    ) {
        let waiting = matches!(self.state, State::LookingUp { .. });
        if self.route.resolved(address, outcome, waiting) {
            self.advance(now, out);
        }
    }

    /// The time that [`deadline`](Self::deadline) named has come. Early or repeated calls change
    /// nothing.
    pub fn on_deadline(&mut self, now: Time, out: &mut Actions<Task>) {
        self.drains.on_deadline(now, out);
        match &self.state {
            State::Waiting { until } if *until <= now => {
                self.route.begin_round();
                self.advance(now, out);
            }
            State::LookingUp { until } if *until <= now => {
                let why = "looking up its name takes too long".to_owned();
                self.route.failed(Failure { why, kind: FailureKind::Network });
                self.advance(now, out);
            }
            State::Linked(link) => {
                let conn = link.conn;
                let expired = link.expired(now);
                let link = self.take_link(conn).expect("just seen");
                match expired {
                    Some(ending) => self.end(now, *link, ending, out),
                    None => self.keep(now, link, out),
                }
            }
            State::Idle | State::Waiting { .. } | State::LookingUp { .. } => {}
        }
    }

    /// When the client wants [`on_deadline`](Self::on_deadline) at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let next = match &self.state {
            State::Idle => None,
            State::Waiting { until } | State::LookingUp { until } => Some(*until),
            State::Linked(link) => Some(link.deadline().min(self.work_at(link))),
        };
        next.into_iter().chain(self.drains.deadline()).min()
    }

    /// Sends what commands left behind, as far as session and limits allow. The client calls it itself
    /// at the end of each `on_...`.
    pub fn pump(&mut self, now: Time, out: &mut Actions<Task>) {
        if let State::Linked(link) = &self.state {
            let conn = link.conn;
            let link = self.take_link(conn).expect("just seen");
            self.keep(now, link, out);
        }
    }

    /// Ends the session politely; the tracker forgets our holdings at once. Nothing is sent or told
    /// afterwards. What was pumped before is still sent.
    pub fn leave(&mut self, now: Time, out: &mut Actions<Task>) {
        if let State::Linked(link) = std::mem::replace(&mut self.state, State::Idle) {
            let bye = Some((Code::OK, String::new()));
            self.part(now, &link, bye, CloseReason::Done, out);
        }
    }

    /// Whether, after [`leave`](Self::leave), nothing is left to wait for. At most
    /// [`protocol::limits::BYE_LINGER`] later.
    pub fn has_left(&self) -> bool {
        matches!(self.state, State::Idle) && self.drains.is_empty()
    }

    // ---- connections come and go

    /// The next step of this round.
    fn advance(&mut self, now: Time, out: &mut Actions<Task>) {
        match self.route.step() {
            Step::Dial(addr) => {
                let conn = out.connect(addr);
                log::debug!("tracker dialed conn={} remote={addr}", conn.0);
                self.state = State::Linked(Box::new(Link::connecting(now, conn)));
            }
            Step::LookUp(address) => {
                out.run(TaskId(0), Task::Resolve { address });
                self.state = State::LookingUp { until: now + LOOKUP_PATIENCE };
            }
            Step::AwaitLookup => self.state = State::LookingUp { until: now + LOOKUP_PATIENCE },
            Step::RoundOver => self.rest(now),
        }
    }

    /// Nobody to talk to: tells, and waits for the next round.
    fn rest(&mut self, now: Time) {
        mark!("tracker-away");
        let retry = self.route.wait(&mut self.rng);
        for (address, why) in self.route.take_news() {
            log::debug!("tracker down address={address} retry_ms={} why={why}", retry.as_millis());
            self.events.push(TrackerEvent::Down { address, why, retry });
        }
        if let Some((code, text)) = self.route.refusal()
            && self.told_refusal != Some(code)
        {
            self.told_refusal = Some(code);
            self.events.push(TrackerEvent::Refused { code, text });
        }
        self.state = State::Waiting { until: now + retry };
    }

    /// The link, if it is this connection. It must be kept or settled.
    fn take_link(&mut self, conn: ConnId) -> Option<Box<Link>> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Linked(link) if link.conn == conn => Some(link),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The link goes on; sends what there is to send.
    fn keep(&mut self, now: Time, mut link: Box<Link>, out: &mut Actions<Task>) {
        self.fill(now, &mut link, out);
        self.state = State::Linked(link);
    }

    /// Ends the link from our side.
    fn end(&mut self, now: Time, link: Link, ending: Ending, out: &mut Actions<Task>) {
        self.part(now, &link, ending.bye, ending.reason, out);
        self.settle(now, link, ending.failure, out);
    }

    /// Says BYE if there is something to say, and closes the connection now or soon.
    fn part(
        &mut self,
        now: Time,
        link: &Link,
        bye: Option<(Code, String)>,
        reason: CloseReason,
        out: &mut Actions<Task>,
    ) {
        match bye {
            // [F-25] A dialer that is connected has sent its HELLO.
            Some((code, text)) if !matches!(link.stage, Stage::Connecting { .. }) => {
                out.send(link.conn, Message::Bye(Bye { code, text }).to_frame());
                out.push(Action::Finish { conn: link.conn });
                self.drains.add(now, link.conn, reason, out);
            }
            _ => out.close(link.conn, reason),
        }
    }

    /// The link is no more: what was out on it is undone, and the next step follows.
    fn settle(&mut self, now: Time, mut link: Link, failure: Failure, out: &mut Actions<Task>) {
        for flight in link.take_flights() {
            if let Flight::Announce(undo) = flight {
                mark!("announce-undone");
                self.holdings.undo(undo);
            }
        }
        self.asks.requeue();
        self.announce_from = Time::ZERO;
        if failure.kind == FailureKind::Violation {
            mark!("tracker-breaks-rules");
            log::warn!("tracker violation address={} why={}", self.route.address(), failure.why);
        }
        let elsewhere = matches!(failure.kind, FailureKind::Violation | FailureKind::Refused(_));
        self.route.failed(failure);
        let Some(since) = link.up_since else { return self.advance(now, out) };
        if now.since(since) >= STEADY {
            self.route.calm();
        }
        if elsewhere {
            self.route.avoid();
        }
        self.rest(now);
    }
}
