//! What goes into the tracker client and what comes out of it. Plain data, no behaviour.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::message::{Lease, Page, Status, Summary, Swarm};
use protocol::{Code, NodeId};

/// Asks that may be waiting for their answers; see
/// [`TrackerClient::room`](super::TrackerClient::room).
pub const MAX_ASKS: usize = 4_096;
/// Longest cluster token, bytes.
pub const MAX_TOKEN: usize = 512;

/// Who we are, and where trackers may be.
#[derive(Clone)]
pub struct Settings {
    /// Identity of this process.
    pub node: NodeId,
    /// Port where we accept peers, 0 for none. See
    /// [`TrackerClient::set_listen`](super::TrackerClient::set_listen).
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

/// What the tracker said to an [`Ask`]. Request ids inside are those of the wire, and mean nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a `find` that found something. At most as many peers as wanted.
    Swarm(Swarm),
    /// To a `list`. Its names are ascending, above the cursor, and some are there if there are `more`:
    /// paging always comes to an end.
    Page(Page),
    /// To a `summary`.
    Summary(Summary),
    /// To `publish` and `unpublish` (OK or not), and to anything that is refused (never OK). Never
    /// OVERLOADED: such asks are repeated here.
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
    /// The tracker is another one than before, or was started anew: it may not know the names that were
    /// published.
    Stranger,
    /// This tracker can't be used. Once per outage, and again when the reason changes.
    Down {
        /// Which tracker, as in [`Settings::addresses`].
        address: String,
        /// Why, in words, without control characters.
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
    /// Every tracker refuses us for a reason that will last: another version (VERSION), not allowed
    /// (DENIED), or not a tracker at all (WRONG_ROLE). They are tried again, but rarely. Comes after
    /// their `Down`, once per outage, and again when the code changes.
    Refused {
        /// Why the first one does.
        code: Code,
        /// In words, naming that tracker, without control characters.
        text: String,
    },
}
