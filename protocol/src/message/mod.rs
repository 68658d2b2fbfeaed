//! All messages of version 1: types, decoding, encoding.
//!
//! One [`Message`] is the payload of one frame. Layouts are in `spec/PROTOCOL.md`; each type here names
//! its section there. DATA is special: only its 12-byte head is a message body, because its payload
//! goes straight from the receive buffer into the piece it belongs to (see [`crate::FrameReader`]).

mod common;
mod peer;
mod record;
mod tracker;

pub use common::{Bye, Hello, Role, Tlv, TlvTag};
pub use peer::{Bitmap, Block, Cancel, Close, DataHead, Have, Holdings, Open, Reject, Request, Window};
pub use record::{Holding, PeerAddr, Record};
pub use tracker::{
    Announce, AnnounceEntry, Beat, Find, FindKey, Lease, List, Page, PageEntry, Publish, Status,
    Summary, SummaryRequest, Swarm, Unpublish,
};

use crate::DecodeError;

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
        let _ = (kind, body);
        todo!("protocol helper")
    }

    /// Appends the whole frame, header included.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!("protocol helper")
    }

    /// The whole frame, header included.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}
