//! One connection to another peer: HELLO, channels, requests in both directions, timers.
//!
//! Knows only itself: no other session, no piece, no file, no socket. Bytes go in through
//! [`Session::next`], commands are methods, and what is to be sent collects in one buffer that
//! [`Session::take_output`] empties. Block data passes through by reference and is never kept.
//!
//! Invariant S1: each REQUEST is answered exactly once, by DATA or REJECT, unless its channel ended;
//! this holds for what we send and is demanded of the remote.

mod violation;

use protocol::message::{Block, DataHead, Holdings, Request};
use protocol::{ChannelId, Code, NodeId, ObjectId, PeerAddr};
use reactor::{Rng, Time};

pub use violation::Violation;

/// What a session tells the remote about us.
#[derive(Clone, Debug)]
pub struct Local {
    /// Identity of this process.
    pub node: NodeId,
    /// TCP port where we accept connections, 0 for none.
    pub listen: u16,
    /// How many REQUESTs the remote may have open at us.
    pub window: u16,
    /// Secret of the cluster; the remote must know the same one, or none if we have none.
    pub token: Option<Vec<u8>>,
    /// Name and version of this program, at most 64 bytes.
    pub agent: String,
    /// Address to use instead of the observed one.
    pub advertise: Option<PeerAddr>,
}

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We connected: we speak first, and our channels have even numbers.
    Dialer,
    /// The remote connected: we answer, and our channels have odd numbers.
    Acceptor,
}

/// What the remote did, checked against every rule that the session can check by itself. `'i` is the
/// input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent<'i> {
    /// Both HELLOs are exchanged; channels can be opened. Comes once, first.
    Ready {
        /// Who the remote is; not ourselves.
        node: NodeId,
        /// Its TCP port for connections, 0 for none.
        listen: u16,
        /// Its program, printable, at most 64 bytes; empty if it does not say.
        agent: String,
    },
    /// The remote opened a channel. Answer with [`Session::send_bitmap`] or
    /// [`Session::close_channel`].
    Opened {
        /// Its number.
        channel: ChannelId,
        /// What it is for. There is no other open channel for it.
        object: ObjectId,
    },
    /// What the remote holds. Comes once per channel, before all else that concerns it, except its end.
    Bitmap {
        /// Which channel.
        channel: ChannelId,
        /// Length of the manifest that the remote can serve, 0 if it can't yet.
        manifest_len: u32,
        /// Pieces of the object as the remote says; 0 if it can't serve the manifest.
        piece_count: u32,
        /// Which of them it holds.
        holdings: Holdings,
    },
    /// The remote holds more pieces.
    Have {
        /// Which channel.
        channel: ChannelId,
        /// Numbers below `MAX_PIECES`, and below the piece count if its BITMAP named one. May repeat.
        pieces: Vec<u32>,
    },
    /// The remote asks for a block. Inside our window and not open already; the range is not checked
    /// against the piece.
    Requested(Request),
    /// The remote does not want an open request any more. It still has to be answered.
    Cancelled(Block),
    /// A part of the answer to an open request of ours. Parts come in order and without gaps.
    Data {
        /// Which request.
        head: DataHead,
        /// Where in the block these bytes begin.
        offset: u32,
        /// At least one byte.
        bytes: &'i [u8],
        /// The block ends here; the request is off the books.
        last: bool,
    },
    /// The remote does not serve a request of ours. It is off the books.
    Rejected {
        /// Which request.
        request: Request,
        /// Why.
        code: Code,
    },
    /// [`Session::free_requests`] may be different now.
    Window,
    /// A channel is gone, and so are its open requests in both directions.
    ChannelClosed {
        /// Which.
        channel: ChannelId,
        /// Why.
        code: Code,
    },
    /// The remote ends the connection: close it at once. Nothing comes after it.
    Bye {
        /// Why.
        code: Code,
        /// The same for people, printable.
        text: String,
    },
}

/// The protocol state of one connection. The machine makes one when a connection is up, feeds it, and
/// drops it with the connection.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// A session on a connection that has just come up. A dialer's HELLO is in the output at once; an
    /// acceptor's follows the remote's.
    pub fn new(side: Side, local: &Local, rng: &mut Rng, now: Time) -> Self {
        let _ = (side, local, rng, now);
        todo!()
    }

    /// Takes bytes from the front of `input` until something is worth telling; `None` when the input is
    /// used up. Call it until then, even for an empty input.
    ///
    /// # Errors
    /// The remote broke a rule: if [`Violation::code`] names a code, [`Session::bye`] with it; else
    /// close at once. Later input is swallowed.
    pub fn next<'i>(
        &mut self,
        now: Time,
        input: &mut &'i [u8],
    ) -> Result<Option<SessionEvent<'i>>, Violation> {
        let _ = (now, input);
        todo!()
    }

    /// Opens a channel; follow it with [`Session::send_bitmap`]. `None` if the session is not ready or
    /// closing, if there is an open channel for the object (of either side), or no room for one more.
    pub fn open(&mut self, object: ObjectId) -> Option<ChannelId> {
        let _ = object;
        todo!()
    }

    /// Tells what we hold; once per channel, ignored afterwards and for channels that are gone.
    pub fn send_bitmap(
        &mut self,
        channel: ChannelId,
        manifest_len: u32,
        piece_count: u32,
        holdings: &Holdings,
    ) {
        let _ = (channel, manifest_len, piece_count, holdings);
        todo!()
    }

    /// Refuses or ends a channel, and voids its open requests in both directions. No event follows.
    pub fn close_channel(&mut self, channel: ChannelId, code: Code) {
        let _ = (channel, code);
        todo!()
    }

    /// Tells of pieces that we hold from now on, in as many frames as it takes. Ignored before our
    /// BITMAP.
    pub fn have(&mut self, channel: ChannelId, pieces: &[u32]) {
        let _ = (channel, pieces);
        todo!()
    }

    /// Asks for a block. `false`, and nothing is sent, if the remote's window is full, both BITMAPs have
    /// not been exchanged, the block is asked for already, or its length is not 1 to `MAX_BLOCK`.
    #[must_use]
    pub fn request(&mut self, request: Request) -> bool {
        let _ = request;
        todo!()
    }

    /// How many more requests the remote takes now.
    pub fn free_requests(&self) -> usize {
        todo!()
    }

    /// How many requests of ours are unanswered.
    pub fn open_requests(&self) -> usize {
        todo!()
    }

    /// Asks the remote to drop a request of ours. It is still answered, and counts until then.
    pub fn cancel(&mut self, block: Block) {
        let _ = block;
        todo!()
    }

    /// Answers a request of the remote with a refusal. Does nothing if it is not open.
    ///
    /// # Errors
    /// The remote asked out of range ([`Code::BAD_RANGE`]) too often.
    pub fn reject(&mut self, block: Block, code: Code) -> Result<(), Violation> {
        let _ = (block, code);
        todo!()
    }

    /// Answers a request of the remote with data: the bytes to send in front of the data, or `None` if no
    /// such request is open. They are not in the output: take and queue the output first, then these
    /// bytes and the data together.
    pub fn data_head(&mut self, head: DataHead) -> Option<Vec<u8>> {
        let _ = head;
        todo!()
    }

    /// The answer begun with [`Session::data_head`] never left, so the request is refused instead.
    pub fn range_failed(&mut self, block: Block, code: Code) {
        let _ = (block, code);
        todo!()
    }

    /// Changes how many requests the remote may have open at us (at most `MAX_WINDOW`).
    pub fn set_window(&mut self, requests: u16) {
        let _ = requests;
        todo!()
    }

    /// Ends the connection politely, once. Afterwards input is swallowed and commands do nothing;
    /// [`Session::on_deadline`] fails when it is time to close.
    pub fn bye(&mut self, code: Code, text: &str) {
        let _ = (code, text);
        todo!()
    }

    /// All frames to be sent since the last call, or `None` if there are none.
    pub fn take_output(&mut self) -> Option<Vec<u8>> {
        todo!()
    }

    /// When [`Session::on_deadline`] wants to be called.
    pub fn deadline(&self) -> Time {
        todo!()
    }

    /// Deals with whatever is due: keep-alives, remotes that are silent or too slow, the end after BYE.
    /// Does nothing if it is called early.
    ///
    /// # Errors
    /// As for [`Session::next`].
    pub fn on_deadline(&mut self, now: Time) -> Result<(), Violation> {
        let _ = now;
        todo!()
    }

    /// Bytes of this connection left (its queue was flushed, say): no keep-alive is needed for a while.
    pub fn note_progress_out(&mut self, now: Time) {
        let _ = now;
        todo!()
    }

    /// Whether both HELLOs are exchanged and nobody is leaving.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Who the remote is, once it has said so.
    pub fn remote_node(&self) -> Option<NodeId> {
        todo!()
    }

    /// Which end we are.
    pub fn side(&self) -> Side {
        todo!()
    }

    /// All open channels, ascending.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, ObjectId)> + '_ {
        std::iter::empty()
    }

    /// Whether the conversation is over: we said BYE, the remote did, or it broke a rule.
    pub fn is_closing(&self) -> bool {
        todo!()
    }

    /// Since when we wait for our BYE to be flushed and the remote to close.
    pub fn closing_since(&self) -> Option<Time> {
        todo!()
    }
}
