//! All messages of version 1: types, decoding, encoding.
//!
//! One [`Message`] is the payload of one frame. Layouts are in `spec/PROTOCOL.md`; each type here names
//! its section there. DATA is special: only its 12-byte head is a message body, because its payload
//! goes straight from the receive buffer into the piece it belongs to (see [`crate::FrameReader`]).

mod common;
mod names;
mod peer;
mod presence;
mod record;

pub use common::{Bye, Hello, Role, Tlv, TlvTag, negotiate};
pub use names::{Find, FindKey, List, Page, PageEntry, Publish, Status, Swarm, Unpublish};
pub use peer::{
    Bitmap, Block, Cancel, Close, DataHead, Have, Holdings, Open, Reject, Request, Window,
};
pub use presence::{Announce, AnnounceEntry, Beat, Lease, Summary, SummaryRequest};
pub use record::{Holding, PeerAddr, Record};

use crate::DecodeError;
use crate::frame::{self, Header, kind};
use crate::wire::{Reader, Writer};

/// The payload of one frame type. `read` leaves trailing bytes to the caller; `write` clips what would
/// make a frame that no receiver accepts.
trait Body: Sized {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer<'_>);
}

macro_rules! bodies {
    ($($variant:ident = $kind:ident;)*) => {
        /// The payload of a type that has one and is not streamed.
        fn read_body(kind: u8, r: &mut Reader<'_>) -> Result<Message, DecodeError> {
            match kind {
                kind::NOOP => Ok(Message::Noop),
                $(kind::$kind => Body::read(r).map(Message::$variant),)*
                _ => Err(DecodeError::UnknownType { kind }),
            }
        }

        impl Message {
            /// The type of its frame.
            pub fn kind(&self) -> u8 {
                match self {
                    Self::Noop => kind::NOOP,
                    $(Self::$variant(_) => kind::$kind,)*
                }
            }

            fn write_body(&self, w: &mut Writer<'_>) {
                match self {
                    Self::Noop => {}
                    $(Self::$variant(body) => body.write(w),)*
                }
            }
        }
    };
}

bodies! {
    Hello = HELLO;
    Bye = BYE;
    Open = OPEN;
    Close = CLOSE;
    Bitmap = BITMAP;
    Have = HAVE;
    Request = REQUEST;
    Reject = REJECT;
    Cancel = CANCEL;
    Window = WINDOW;
    Beat = BEAT;
    Lease = LEASE;
    Announce = ANNOUNCE;
    Publish = PUBLISH;
    Unpublish = UNPUBLISH;
    Find = FIND;
    Swarm = SWARM;
    List = LIST;
    Page = PAGE;
    Status = STATUS;
    SummaryRequest = SUMMARY_REQUEST;
    Summary = SUMMARY;
}

/// One decoded control message (every type but DATA, which is streamed, and ORDER, which is reserved).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// 0x00: keep-alive.
    Noop,
    /// 0x01: first frame in each direction.
    Hello(Hello),
    /// 0x02: last frame.
    Bye(Bye),
    /// 0x10: a channel for an object.
    Open(Open),
    /// 0x11: ends or refuses a channel.
    Close(Close),
    /// 0x12: what the sender holds.
    Bitmap(Bitmap),
    /// 0x13: pieces that the sender holds from now on.
    Have(Have),
    /// 0x14: asks for a range of a piece, or of the manifest.
    Request(Request),
    /// 0x16: the answer to a request that is not served.
    Reject(Reject),
    /// 0x17: asks to drop a request.
    Cancel(Cancel),
    /// 0x18: how many requests may be open at the sender.
    Window(Window),
    /// 0x20: a peer is alive.
    Beat(Beat),
    /// 0x21: how long the tracker believes it.
    Lease(Lease),
    /// 0x22: what a peer holds.
    Announce(Announce),
    /// 0x23: binds a name to an object.
    Publish(Publish),
    /// 0x24: removes a name.
    Unpublish(Unpublish),
    /// 0x25: looks for an object.
    Find(Find),
    /// 0x26: an object's record and some of its swarm.
    Swarm(Swarm),
    /// 0x27: asks for names.
    List(List),
    /// 0x28: some names.
    Page(Page),
    /// 0x2A: the outcome of a request.
    Status(Status),
    /// 0x2B: asks for the tracker's totals.
    SummaryRequest(SummaryRequest),
    /// 0x2C: the tracker's totals.
    Summary(Summary),
}

impl Message {
    /// Decodes the payload of a frame of type `kind`; strict: no field missing, none trailing, one
    /// encoding per value.
    ///
    /// # Errors
    /// [`DecodeError`] names the field, its offset, and the rule of the spec.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        if !(Header { kind, len }.check()?) {
            return Err(DecodeError::UnknownType { kind });
        }
        let mut r = Reader::new(body);
        let message = read_body(kind, &mut r)?;
        r.finish()?;
        Ok(message)
    }

    /// Its name in the spec, for logs.
    pub fn name(&self) -> &'static str {
        frame::spec(self.kind()).map_or("", |spec| spec.name)
    }

    /// Appends the whole frame, header included. The frame is always one that a receiver's limits
    /// allow: text is cut to fit; lists that are too long are a mistake of the caller, caught in debug
    /// builds and cut otherwise.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::frame(out, self.kind());
        self.write_body(&mut w);
        w.finish_frame();
    }

    /// The whole frame, header included.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}
