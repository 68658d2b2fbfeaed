//! Messages between peers.

use crate::{ChannelId, Code, ObjectId};

/// 0x10 OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The number of the new channel.
    pub channel: ChannelId,
    /// Which object it is for.
    pub object: ObjectId,
}

/// 0x11 CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// Which channel ends.
    pub channel: ChannelId,
    /// Why.
    pub code: Code,
}

/// The pieces in a BITMAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holdings {
    /// Kind 0.
    None,
    /// Kind 1.
    All,
    /// Kind 2: one bit per piece, most significant first, spare bits zero.
    Bits(Vec<u8>),
}

/// 0x12 BITMAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Which channel.
    pub channel: ChannelId,
    /// Length of the manifest that the sender can serve; 0 = it can't yet.
    pub manifest_len: u32,
    /// Pieces of the object; 0 while `manifest_len` is 0.
    pub piece_count: u32,
    /// Which of them the sender holds.
    pub holdings: Holdings,
}

/// 0x13 HAVE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have {
    /// Which channel.
    pub channel: ChannelId,
    /// At least one piece, each below [`crate::limits::MAX_PIECES`].
    pub pieces: Vec<u32>,
}

/// Where a block begins: what a request and all its answers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    /// Which channel.
    pub channel: ChannelId,
    /// Which piece, or [`crate::limits::MANIFEST_PIECE`] for the manifest's bytes. Not yet checked
    /// against an object.
    pub piece: u32,
    /// First byte, counted from the start of the piece.
    pub begin: u32,
}

/// 0x14 REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it begins.
    pub block: Block,
    /// How many bytes, 1 to [`crate::limits::MAX_BLOCK`].
    pub len: u32,
}

/// The first 12 payload bytes of 0x15 DATA; the rest of the payload is the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataHead {
    /// Which block this is.
    pub block: Block,
    /// How many bytes of data follow, 1 to [`crate::limits::MAX_BLOCK`].
    pub len: u32,
}

/// 0x16 REJECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Which request.
    pub block: Block,
    /// Why.
    pub code: Code,
}

/// 0x17 CANCEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Which request.
    pub block: Block,
}

/// 0x18 WINDOW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many requests may be open at the sender, over all channels; 0 = paused.
    pub requests: u16,
}
