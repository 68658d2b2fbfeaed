//! The peer's side of its connection to the tracker: finds it, stays connected, says what we hold,
//! asks and matches the answers.
//!
//! Pure: no I/O, no clock; it works through [`Actions`] like the machine that owns it. It knows nothing
//! of fetches or shares, only of questions ([`Ask`]) and holdings. Invariants: at most one session at a
//! time; each [`Ask`] gets at most one [`TrackerEvent::Answer`], and keeps being asked over any number
//! of sessions until it has one or is forgotten; memory is bounded by what the owner told it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::message::{FindKey, Holding, Lease, Page, Record, Status, Summary, Swarm};
use protocol::{Code, NodeId, ObjectId, PublisherKey};
use reactor::{Actions, ConnId, ConnectError, Rng, Time};

use crate::disk::Task;

/// Asks that may be waiting for their answers; see [`TrackerClient::room`].
pub const MAX_ASKS: usize = 4_096;
/// Longest cluster token, bytes.
pub const MAX_TOKEN: usize = 256;

/// Who we are, and where trackers may be.
#[derive(Clone)]
pub struct Settings {
    /// Identity of this process.
    pub node: NodeId,
    /// Port where we accept peers, 0 for none. See [`TrackerClient::set_listen`].
    pub listen: u16,
    /// Secret of the cluster, at most [`MAX_TOKEN`] bytes.
    pub token: Option<Vec<u8>>,
    /// Address to be handed to others instead of the one that the tracker sees.
    pub advertise: Option<SocketAddr>,
    /// Name and version of this program; more than 64 bytes are cut off.
    pub agent: String,
    /// Trackers as `host:port`, in order of preference. None: nothing is ever sent or answered.
    pub addresses: Vec<String>,
}

impl fmt::Debug for Settings {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("node", &self.node)
            .field("listen", &self.listen)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// One question to the tracker, for as long as it has no answer. Not the number on the wire: that
/// changes with each session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask(pub u32);

/// What the tracker said to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a `find` that found something.
    Swarm(Swarm),
    /// To a `list`.
    Page(Page),
    /// To a `summary`.
    Summary(Summary),
    /// To `publish` and `unpublish` (OK or not), and to anything that is refused (never OK). Never
    /// OVERLOADED from the tracker: such asks are repeated here.
    Status(Status),
}

/// What the owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerEvent {
    /// A session works: the tracker took us in.
    Up {
        /// Which tracker, as in [`Settings::addresses`].
        address: String,
    },
    /// This tracker can't be used. Once per outage, and again when the reason changes.
    Down {
        /// Which tracker, as in [`Settings::addresses`].
        address: String,
        /// Why, in words.
        why: String,
        /// The next attempt, with this or another tracker, comes after so long.
        retry: Duration,
    },
    /// The answer to an ask. The ask is over.
    Answer {
        /// Which ask.
        ask: Ask,
        /// What came.
        answer: Answer,
    },
    /// More peers of an object that we are fetching, unasked. At most
    /// [`protocol::limits::MAX_PUSH`].
    Peers(Swarm),
    /// The tracker believes us for so long, and sees us so.
    Lease(Lease),
    /// No tracker takes us, and one said that it never will: another version (VERSION), not allowed
    /// (DENIED), or not a tracker at all (WRONG_ROLE). It is tried again, but rarely. Once per outage,
    /// and again when the code changes.
    Refused {
        /// Why.
        code: Code,
        /// In words, naming the tracker.
        text: String,
    },
}

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
}

impl TrackerClient {
    /// One that does nothing yet.
    pub fn new(settings: Settings, rng: Rng) -> Self {
        Self { settings, rng }
    }

    /// Begins to look for a tracker. Once.
    pub fn start(&mut self, now: Time, out: &mut Actions<Task>) {
        let _ = (now, out);
        todo!()
    }

    /// The port to announce in later sessions; best set before [`start`](Self::start).
    pub fn set_listen(&mut self, port: u16) {
        self.settings.listen = port;
    }

    /// Whether events of this connection are for the client.
    pub fn owns(&self, conn: ConnId) -> bool {
        let _ = conn;
        todo!()
    }

    /// Whether a tracker has taken us in and the session still stands.
    pub fn is_up(&self) -> bool {
        todo!()
    }

    /// How many more asks are taken now. Asks beyond it are answered at once with STATUS BUSY.
    pub fn room(&self) -> usize {
        todo!()
    }

    /// What happened since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<TrackerEvent> {
        todo!()
    }

    /// A connection that the client asked for is up.
    pub fn on_connected(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        let _ = (now, conn, out);
        todo!()
    }

    /// A connection that the client asked for did not come about.
    pub fn on_connect_failed(
        &mut self,
        now: Time,
        conn: ConnId,
        error: ConnectError,
        out: &mut Actions<Task>,
    ) {
        let _ = (now, conn, error, out);
        todo!()
    }

    /// Bytes from the tracker.
    pub fn on_received(&mut self, now: Time, conn: ConnId, bytes: &[u8], out: &mut Actions<Task>) {
        let _ = (now, conn, bytes, out);
        todo!()
    }

    /// All that was sent is out.
    pub fn on_flushed(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        let _ = (now, conn, out);
        todo!()
    }

    /// The tracker will send no more.
    pub fn on_remote_finished(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        let _ = (now, conn, out);
        todo!()
    }

    /// The connection is gone.
    pub fn on_closed(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        let _ = (now, conn, out);
        todo!()
    }

    /// What came of a [`Task::Resolve`]. Addresses that are not the client's are ignored.
    pub fn on_resolved(
        &mut self,
        now: Time,
        address: &str,
        outcome: Result<Vec<SocketAddr>, String>,
        out: &mut Actions<Task>,
    ) {
        let _ = (now, address, outcome, out);
        todo!()
    }

    /// The time that [`deadline`](Self::deadline) named has come. Early or repeated calls change
    /// nothing.
    pub fn on_deadline(&mut self, now: Time, out: &mut Actions<Task>) {
        let _ = (now, out);
        todo!()
    }

    /// When the client wants [`on_deadline`](Self::on_deadline) at the latest.
    pub fn deadline(&self) -> Option<Time> {
        todo!()
    }

    /// Asks for a record and up to `want` peers (at most [`protocol::limits::MAX_FIND_WANT`]; 0 = the
    /// record only).
    pub fn find(&mut self, key: FindKey, want: u16) -> Ask {
        let _ = (key, want);
        todo!()
    }

    /// Asks for up to `limit` names (1 to [`protocol::limits::MAX_LIST_LIMIT`]) with this prefix, after
    /// this name.
    pub fn list(&mut self, prefix: String, after: String, limit: u16) -> Ask {
        let _ = (prefix, after, limit);
        todo!()
    }

    /// Binds the record's name to its object. `copies` = wanted copies, 0 = the tracker's default.
    pub fn publish(&mut self, record: Record, key: PublisherKey, copies: u8) -> Ask {
        let _ = (record, key, copies);
        todo!()
    }

    /// Removes a name.
    pub fn unpublish(&mut self, name: String, key: PublisherKey) -> Ask {
        let _ = (name, key);
        todo!()
    }

    /// Asks for the tracker's totals.
    pub fn summary(&mut self) -> Ask {
        todo!()
    }

    /// Gives up an ask: no answer to it is told any more. One that is out already may still take effect.
    pub fn forget(&mut self, ask: Ask) {
        let _ = ask;
        todo!()
    }

    /// What we hold of an object from now on. Told at the next [`pump`](Self::pump) with a session.
    pub fn set_holding(&mut self, object: ObjectId, holding: Holding) {
        let _ = (object, holding);
        todo!()
    }

    /// Figures for the next BEATs: bytes that we could still store; payload bytes sent to and received
    /// from peers since the start.
    pub fn set_totals(&mut self, free: u64, sent: u64, received: u64) {
        let _ = (free, sent, received);
        todo!()
    }

    /// Sends what commands left behind, as far as session and limits allow. The client calls it itself
    /// at the end of each `on_...`.
    pub fn pump(&mut self, now: Time, out: &mut Actions<Task>) {
        let _ = (now, out);
        todo!()
    }

    /// Ends the session politely; the tracker forgets our holdings at once. Nothing is sent or told
    /// afterwards. What was pumped before is still sent.
    pub fn leave(&mut self, now: Time, out: &mut Actions<Task>) {
        let _ = (now, out);
        todo!()
    }

    /// Whether, after [`leave`](Self::leave), nothing is left to wait for. At most
    /// [`protocol::limits::BYE_LINGER`] later.
    pub fn has_left(&self) -> bool {
        todo!()
    }
}
