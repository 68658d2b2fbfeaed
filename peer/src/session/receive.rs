//! The receiving half of a session: one incoming frame after the other against the rules.
//!
//! Nothing is decided here that another file of the session keeps books about.

use protocol::limits::MAX_CHANNELS;
use protocol::message::{Bye, Close, DataHead, Hello, Message, Open, Reject, Request};
use protocol::{Code, Incoming};
use reactor::Time;

use super::channels::Opening;
use super::requests::Taken;
use super::{Session, SessionEvent, Side, Violation, hello, printable};

/// Refused channels whose CLOSE the remote does not read: more than it can have open by mistake.
const MAX_UNSENT_CLOSES: usize = 4 * MAX_CHANNELS;

impl Session {
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
        self.timers.tick(now);
        if let Some(event) = self.second_event.take() {
            return Ok(Some(event));
        }
        loop {
            if self.deaf {
                *input = &[];
                return Ok(None);
            }
            match self.next_frame(input) {
                Ok(Some(incoming)) => match self.incoming(incoming) {
                    Ok(None) => {}
                    Ok(event) => return Ok(event),
                    Err(violation) => return Err(self.broken(violation)),
                },
                Ok(None) => return Ok(None),
                Err(violation) => return Err(self.broken(violation)),
            }
        }
    }

    /// The block of which the next bytes are a part, and how many of its bytes came before them, if they are
    /// wanted: whoever reads them may put them where they belong and call [`Session::landed`].
    pub fn data_under_way(&self) -> Option<(DataHead, u32)> {
        let (head, done) = self.reader.data_under_way()?;
        let wanted = !self.deaf && self.channels.is_live(head.block.channel);
        wanted.then_some((head, done))
    }

    /// `len` bytes of the data under way were put where they belong; at most what was left of it counts.
    /// Returns how many that is.
    pub fn landed(&mut self, now: Time, len: u32) -> u32 {
        let Some((head, _)) = self.data_under_way() else { return 0 };
        self.timers.tick(now);
        let len = self.reader.pass_data(len);
        let whole = self.reader.at_boundary();
        self.timers.heard(len as usize, whole, whole);
        if whole {
            self.asked.answered(head.block);
        }
        len
    }

    fn next_frame<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Incoming<'i>>, Violation> {
        let before = input.len();
        let result = self.reader.next(input);
        let between = self.reader.at_boundary();
        let whole = match &result {
            Ok(Some(Incoming::Data { .. })) => between,
            Ok(Some(_)) => true,
            _ => false,
        };
        self.timers.heard(before - input.len(), whole, between);
        result.map_err(|error| {
            // [H-6]: the magic was right, so the remote learns who refuses its HELLO.
            if error.code().is_some() && !self.greeted {
                self.greet(false);
            }
            error.into()
        })
    }

    fn incoming<'i>(
        &mut self,
        incoming: Incoming<'i>,
    ) -> Result<Option<SessionEvent<'i>>, Violation> {
        match incoming {
            // [F-5]
            Incoming::Skipped { .. } => Ok(None),
            Incoming::Data { head, offset, bytes } => self.on_data(head, offset, bytes),
            Incoming::Message(message) => self.on_message(message),
        }
    }

    fn on_message(&mut self, message: Message) -> Result<Option<SessionEvent<'static>>, Violation> {
        let got = message.name();
        if let Message::Hello(hello) = message {
            return self.on_hello(&hello).map(Some);
        }
        if self.remote.is_none() {
            // The reader lets nothing but HELLO through first; a second guard costs nothing. [H-1]
            return Err(Violation::Unexpected { got, expected: "HELLO" });
        }
        match message {
            Message::Noop => Ok(None),
            Message::Bye(bye) => Ok(Some(self.on_bye(&bye))),
            Message::Open(open) => self.on_open(open),
            Message::Close(close) => self.on_close(close),
            Message::Bitmap(bitmap) => {
                let Some(open) = self.channels.named(bitmap.channel, got)? else { return Ok(None) };
                open.hears(&bitmap)?;
                let protocol::message::Bitmap { channel, manifest_len, piece_count, holdings } =
                    bitmap;
                Ok(Some(SessionEvent::Bitmap { channel, manifest_len, piece_count, holdings }))
            }
            Message::Have(have) => {
                let Some(open) = self.channels.live(have.channel, got)? else { return Ok(None) };
                open.check_pieces(&have.pieces)?;
                Ok(Some(SessionEvent::Have { channel: have.channel, pieces: have.pieces }))
            }
            Message::Request(request) => self.on_request(request),
            Message::Reject(reject) => self.on_reject(reject),
            Message::Cancel(cancel) => {
                let block = cancel.block;
                let open = self.channels.live(block.channel, got)?.is_some();
                let news = open && self.owed.cancelled(block);
                Ok(news.then_some(SessionEvent::Cancelled(block)))
            }
            Message::Window(window) => {
                self.asked.set_window(window.requests);
                Ok(Some(SessionEvent::Window))
            }
            // [F-14]: all others are between peers and trackers.
            _ => Err(Violation::Unexpected { got, expected: "a message between peers" }),
        }
    }

    fn on_hello(&mut self, theirs: &Hello) -> Result<SessionEvent<'static>, Violation> {
        if self.remote.is_some() {
            // [H-10]
            return Err(Violation::Unexpected { got: "HELLO", expected: "it once" });
        }
        if self.side == Side::Acceptor {
            // Also when we refuse [H-6], but the token is shown only to who knows it.
            self.greet(hello::knows_token(&self.local, theirs));
        }
        hello::check(&self.local, theirs)?;
        self.remote = Some(theirs.node);
        self.asked.set_window(theirs.window);
        self.timers.greeted();
        //
        self.output.append(&mut self.grease.frame);
        self.tell_window();
        let agent = hello::agent(theirs);
        Ok(SessionEvent::Ready { node: theirs.node, listen: theirs.listen, agent })
    }

    /// Not answered, and nothing follows it in either direction. [F-23]
    fn on_bye(&mut self, bye: &Bye) -> SessionEvent<'static> {
        self.mute = true;
        self.end();
        SessionEvent::Bye { code: bye.code, text: printable(&bye.text) }
    }

    fn on_open(&mut self, open: Open) -> Result<Option<SessionEvent<'static>>, Violation> {
        let Open { channel, object } = open;
        let opened = SessionEvent::Opened { channel, object };
        match self.channels.remote_opens(open)? {
            Opening::New => {}
            Opening::Instead(ours) => {
                let code = Code::DUPLICATE;
                self.asked.void(ours);
                self.owed.void(ours);
                self.send(&Message::Close(Close { channel: ours, code }));
                self.second_event = Some(opened);
                return Ok(Some(SessionEvent::ChannelClosed { channel: ours, code }));
            }
            Opening::Refused(code) => {
                self.unsent_closes += 1;
                self.send(&Message::Close(Close { channel, code }));
                return self.check_unsent_closes().map(|()| None);
            }
        }
        self.check_unsent_closes().map(|()| Some(opened))
    }

    /// A remote that opens and never reads our CLOSE would fill the memory with them.
    fn check_unsent_closes(&self) -> Result<(), Violation> {
        if self.unsent_closes > MAX_UNSENT_CLOSES {
            return Err(Violation::TooMany { what: "refused channels", max: MAX_UNSENT_CLOSES });
        }
        Ok(())
    }

    fn on_close(&mut self, close: Close) -> Result<Option<SessionEvent<'static>>, Violation> {
        let Close { channel, code } = close;
        if self.channels.named(channel, "CLOSE")?.is_none() {
            return Ok(None);
        }
        // [P-9], [P-10]
        self.drop_channel(channel);
        Ok(Some(SessionEvent::ChannelClosed { channel, code }))
    }

    fn on_request(&mut self, request: Request) -> Result<Option<SessionEvent<'static>>, Violation> {
        let Request { block, .. } = request;
        let Some(open) = self.channels.live(block.channel, "REQUEST")? else { return Ok(None) };
        if !open.told {
            // [P-34]
            let problem = "before this side's BITMAP";
            let channel = block.channel;
            return Err(Violation::Channel { got: "REQUEST", channel, problem });
        }
        match self.owed.take(request)? {
            Taken::Booked => Ok(Some(SessionEvent::Requested(request))),
            Taken::Busy => {
                self.send(&Message::Reject(Reject { block, code: Code::BUSY }));
                Ok(None)
            }
        }
    }

    fn on_reject(&mut self, reject: Reject) -> Result<Option<SessionEvent<'static>>, Violation> {
        let Reject { block, code } = reject;
        if self.channels.live(block.channel, "REJECT")?.is_none() {
            return Ok(None);
        }
        let request = self.asked.rejected(block)?;
        Ok(Some(SessionEvent::Rejected { request, code }))
    }

    fn on_data<'i>(
        &mut self,
        head: DataHead,
        offset: u32,
        bytes: &'i [u8],
    ) -> Result<Option<SessionEvent<'i>>, Violation> {
        let block = head.block;
        if self.channels.live(block.channel, "DATA")?.is_none() {
            mark!("data-on-a-closed-channel");
            // What was on its way when the channel ended, or the rest of it. [P-12]
            return Ok(None);
        }
        if offset == 0 {
            self.asked.check_data(head)?;
        }
        let len =
            u32::try_from(bytes.len()).expect("a part of a block is no longer than the block");
        let last = offset + len == head.len;
        if last {
            self.asked.answered(block);
        }
        Ok(Some(SessionEvent::Data { head, offset, bytes, last }))
    }
}
