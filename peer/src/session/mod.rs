//! One connection to another peer: HELLO, channels, requests in both directions, timers.
//!
//! Knows only itself: no other session, no piece, no file, no socket. Bytes go in through
//! [`Session::next`], commands are methods, and what is to be sent collects in one buffer that
//! [`Session::take_output`] empties. Block data passes through by reference and is never kept, or is put
//! where it belongs without passing through at all.
//!
//! Invariant S1: each REQUEST is answered exactly once, by DATA or REJECT, unless its channel ended;
//! this holds for what we send and is demanded of the remote.

mod channels;
mod hello;
mod receive;
mod requests;
mod timers;
mod violation;

use protocol::limits::MAX_BYE;
use protocol::message::{
    Bitmap, Block, Bye, Cancel, Close, DataHead, Have, Holdings, Message, Open, Reject, Request,
    Window,
};
use protocol::{ChannelId, Code, FrameReader, NodeId, ObjectId, PeerAddr};
use reactor::{Rng, Time};

use channels::Channels;
use hello::Grease;
use requests::{Asked, Owed};
use timers::{Due, Timers};

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
pub struct Session {
    side: Side,
    local: Local,
    grease: Grease,
    reader: FrameReader,
    timers: Timers,
    /// Our HELLO is in the output or further.
    greeted: bool,
    /// From their HELLO, if it was a good one.
    remote: Option<NodeId>,
    channels: Channels,
    asked: Asked,
    owed: Owed,
    /// The window that the remote was told.
    told_window: u16,
    /// Refused channels whose CLOSE may still wait to be sent.
    unsent_closes: usize,
    /// Input has no effect any more.
    deaf: bool,
    /// Nothing may be sent any more.
    mute: bool,
    output: Vec<u8>,
    /// What the last message caused, beyond what was told about it.
    second_event: Option<SessionEvent<'static>>,
}

impl Session {
    /// A session on a connection that has just come up. A dialer's HELLO is in the output at once; an
    /// acceptor's follows the remote's.
    pub fn new(side: Side, local: &Local, rng: &mut Rng, now: Time) -> Self {
        let mut session = Self {
            side,
            local: local.clone(),
            grease: Grease::new(rng),
            reader: FrameReader::new(),
            timers: Timers::new(now),
            greeted: false,
            remote: None,
            channels: Channels::new(side),
            asked: Asked::default(),
            owed: Owed::new(local.window),
            told_window: local.window,
            unsent_closes: 0,
            deaf: false,
            mute: false,
            output: Vec::new(),
            second_event: None,
        };
        if side == Side::Dialer {
            // [H-4]
            session.greet(true);
        }
        session
    }

    /// Opens a channel; follow it with [`Session::send_bitmap`]. `None` if the session is not ready or
    /// closing, if there is an open channel for the object (of either side), or no room for one more.
    pub fn open(&mut self, object: ObjectId) -> Option<ChannelId> {
        if !self.is_ready() {
            return None;
        }
        let channel = self.channels.open(object)?;
        self.send(&Message::Open(Open { channel, object }));
        Some(channel)
    }

    /// Tells what we hold; once per channel, ignored afterwards and for channels that are gone.
    pub fn send_bitmap(
        &mut self,
        channel: ChannelId,
        manifest_len: u32,
        piece_count: u32,
        holdings: &Holdings,
    ) {
        let Some(open) = self.channels.get_mut(channel).filter(|open| !open.told) else { return };
        open.told = true;
        let holdings = holdings.clone();
        self.send(&Message::Bitmap(Bitmap { channel, manifest_len, piece_count, holdings }));
    }

    /// Refuses or ends a channel, and voids its open requests in both directions. No event follows.
    pub fn close_channel(&mut self, channel: ChannelId, code: Code) {
        if self.drop_channel(channel) {
            self.unsent_closes += 1;
            self.send(&Message::Close(Close { channel, code }));
        }
    }

    /// Tells of pieces that we hold from now on, in as many frames as it takes. Ignored before our
    /// BITMAP.
    pub fn have(&mut self, channel: ChannelId, pieces: &[u32]) {
        // [P-15]
        if self.channels.get(channel).is_some_and(|open| open.told) {
            for part in pieces.chunks(Have::MAX_PIECES) {
                self.send(&Message::Have(Have { channel, pieces: part.to_vec() }));
            }
        }
    }

    /// Asks for a block. `false`, and nothing is sent, if the remote's window is full, both BITMAPs have
    /// not been exchanged, the block is asked for already, or its length is not 1 to `MAX_BLOCK`.
    #[must_use]
    pub fn request(&mut self, request: Request) -> bool {
        let live = self.channels.get(request.block.channel).is_some_and(|open| open.is_live());
        let asked = live && !self.is_closing() && self.asked.ask(request);
        if asked {
            self.send(&Message::Request(request));
        }
        asked
    }

    /// How many more requests the remote takes now.
    pub fn free_requests(&self) -> usize {
        if self.is_ready() { self.asked.free() } else { 0 }
    }

    /// How many requests of ours are unanswered.
    pub fn open_requests(&self) -> usize {
        self.asked.len()
    }

    /// How many requests of the remote are unanswered.
    pub fn owed_requests(&self) -> usize {
        self.owed.len()
    }

    /// Asks the remote to drop a request of ours. It is still answered, and counts until then.
    pub fn cancel(&mut self, block: Block) {
        if self.asked.cancel(block) {
            self.send(&Message::Cancel(Cancel { block }));
        }
    }

    /// As [`Session::cancel`], for every open request of one piece.
    pub fn cancel_piece(&mut self, channel: ChannelId, piece: u32) {
        for block in self.asked.of_piece(channel, piece) {
            self.cancel(block);
        }
    }

    /// Answers a request of the remote with a refusal. Does nothing if it is not open.
    ///
    /// # Errors
    /// The remote asked out of range ([`Code::BAD_RANGE`]) too often.
    pub fn reject(&mut self, block: Block, code: Code) -> Result<(), Violation> {
        match self.owed.reject(block, code) {
            Ok(true) => self.send(&Message::Reject(Reject { block, code })),
            Ok(false) => {}
            Err(violation) => return Err(self.broken(violation)),
        }
        Ok(())
    }

    /// Answers a request of the remote with data: the bytes to send in front of the data, or `None` if no
    /// such request is open. They are not in the output: take and queue the output first, then these
    /// bytes and the data together.
    pub fn data_head(&mut self, head: DataHead) -> Option<Vec<u8>> {
        if self.mute || !self.owed.serve(head) {
            return None;
        }
        self.timers.spoke();
        Some(head.to_frame_head().to_vec())
    }

    /// The answer begun with [`Session::data_head`] never left, so the request is refused instead.
    pub fn range_failed(&mut self, block: Block, code: Code) {
        // [P-37]; nothing more on a channel that is gone [P-11].
        if self.channels.get(block.channel).is_some() {
            self.send(&Message::Reject(Reject { block, code }));
        }
    }

    /// Changes how many requests the remote may have open at us (at most `MAX_WINDOW`).
    pub fn set_window(&mut self, requests: u16) {
        self.local.window = requests;
        self.owed.set_window(requests);
        if self.remote.is_some() {
            self.tell_window();
        }
    }

    /// Ends the connection politely, once. Afterwards input is swallowed and commands do nothing;
    /// [`Session::on_deadline`] fails when it is time to close.
    pub fn bye(&mut self, code: Code, text: &str) {
        if self.mute {
            return;
        }
        // [F-25]: an acceptor that has not been greeted just closes.
        if self.greeted {
            let text = cut(text, MAX_BYE as usize - 2).to_owned();
            self.send(&Message::Bye(Bye { code, text }));
        }
        // [F-21]
        self.mute = true;
        self.timers.leave();
        self.end();
    }

    /// All frames to be sent since the last call, or `None` if there are none.
    pub fn take_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// When [`Session::on_deadline`] wants to be called.
    pub fn deadline(&self) -> Time {
        self.timers.deadline()
    }

    /// Deals with whatever is due: keep-alives, remotes that are silent or too slow, the end after BYE.
    /// Does nothing if it is called early.
    ///
    /// # Errors
    /// As for [`Session::next`].
    pub fn on_deadline(&mut self, now: Time) -> Result<(), Violation> {
        self.timers.tick(now);
        match self.timers.expire() {
            Ok(Due::KeepAlive) => self.send(&Message::Noop),
            Ok(Due::Nothing) => {}
            Err(violation) => return Err(self.broken(violation)),
        }
        Ok(())
    }

    /// All that was queued on this connection has left: to be called each time that happens.
    pub fn note_progress_out(&mut self, now: Time) {
        self.timers.tick(now);
        self.timers.spoke();
        self.owed.flushed();
        self.unsent_closes = 0;
    }

    /// We stop reading this connection, or go on. While we don't read, silence is not the remote's fault.
    pub fn note_reading_paused(&mut self, now: Time, paused: bool) {
        self.timers.tick(now);
        self.timers.pause(paused);
    }

    /// Whether both HELLOs are exchanged and nobody is leaving.
    pub fn is_ready(&self) -> bool {
        self.remote.is_some() && !self.deaf
    }

    /// Who the remote is, once it has said so and passed for a good peer.
    pub fn remote_node(&self) -> Option<NodeId> {
        self.remote
    }

    /// Which end we are.
    pub fn side(&self) -> Side {
        self.side
    }

    /// All open channels, ascending.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, ObjectId)> + '_ {
        self.channels.iter()
    }

    /// The open channel for an object, if there is one.
    pub fn channel_of(&self, object: ObjectId) -> Option<ChannelId> {
        self.channels.of(object)
    }

    /// Whether the conversation is over: we said BYE, the remote did, or it broke a rule.
    pub fn is_closing(&self) -> bool {
        self.deaf
    }

    /// Since when we wait for our BYE to be flushed and the remote to close.
    pub fn closing_since(&self) -> Option<Time> {
        self.timers.leaving_since()
    }

    fn greet(&mut self, with_token: bool) {
        let hello = hello::ours(&self.local, &self.grease, with_token);
        self.told_window = self.local.window;
        self.greeted = true;
        self.send(&hello);
    }

    fn tell_window(&mut self) {
        let requests = self.local.window;
        if std::mem::replace(&mut self.told_window, requests) != requests {
            self.send(&Message::Window(Window { requests }));
        }
    }

    /// Takes a channel off all books; whether it was open.
    fn drop_channel(&mut self, channel: ChannelId) -> bool {
        self.asked.void(channel);
        self.owed.void(channel);
        self.channels.close(channel)
    }

    fn broken(&mut self, violation: Violation) -> Violation {
        self.end();
        violation
    }

    /// Input has no effect from here on.
    fn end(&mut self) {
        self.deaf = true;
        self.second_event = None;
        self.timers.end();
    }

    fn send(&mut self, message: &Message) {
        if !self.mute {
            message.encode(&mut self.output);
            self.timers.spoke();
        }
    }
}

/// As much of `text` as fits `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// A stranger's text for logs and people.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
