//! Messages between peers.

use byteorder::{BigEndian, ByteOrder};

use crate::frame::{Header, kind};
use crate::limits::{MANIFEST_PIECE, MAX_BLOCK, MAX_MANIFEST, MAX_PIECES};
use crate::message::Body;
use crate::wire::{Reader, Writer};
use crate::{ChannelId, Code, DecodeError, ObjectId, PieceSet, rules};

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

impl Holdings {
    /// What a BITMAP says about a set, in its shortest form.
    pub fn of(set: &PieceSet) -> Self {
        if set.is_full() {
            Self::All
        } else if set.is_empty() {
            Self::None
        } else {
            Self::Bits(set.as_bytes().to_vec())
        }
    }

    /// The set that it is for an object of `piece_count` pieces; `None` if bits and count disagree.
    pub fn to_set(&self, piece_count: u32) -> Option<PieceSet> {
        match self {
            Self::None => Some(PieceSet::empty(piece_count)),
            Self::All => Some(PieceSet::full(piece_count)),
            Self::Bits(bits) => PieceSet::from_bytes(piece_count, bits),
        }
    }
}

impl Block {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            channel: ChannelId(r.u32("ch")?),
            piece: r.u32("piece")?,
            begin: r.u32("begin")?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.channel.0);
        w.u32(self.piece);
        w.u32(self.begin);
    }

    /// Whether it is a block of the manifest rather than of a piece.
    pub fn is_manifest(&self) -> bool {
        self.piece == MANIFEST_PIECE
    }
}

impl DataHead {
    /// Bytes of it on the wire.
    pub(crate) const LEN: u32 = 12;

    /// From the first bytes of a payload of `payload_len` bytes, a length that is known to be allowed.
    pub(crate) fn read(head: &[u8], payload_len: u32) -> Result<Self, DecodeError> {
        let mut r = Reader::new(head);
        let block = Block::read(&mut r)?;
        r.finish()?;
        Ok(Self { block, len: payload_len - Self::LEN })
    }

    /// Frame header and head of a DATA frame, to be followed by the data.
    pub fn to_frame_head(&self) -> [u8; 16] {
        debug_assert!((1..=MAX_BLOCK).contains(&self.len), "a DATA of {} bytes", self.len);
        let mut head = [0; 16];
        Header { kind: kind::DATA, len: self.len.clamp(1, MAX_BLOCK) + Self::LEN }.write(&mut head);
        let Block { channel, piece, begin } = self.block;
        BigEndian::write_u32_into(&[channel.0, piece, begin], &mut head[4..]);
        head
    }
}

impl Body for Open {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { channel: ChannelId(r.u32("ch")?), object: ObjectId(r.array("object")?) })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.channel.0);
        w.bytes(&self.object.0);
    }
}

impl Body for Close {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { channel: ChannelId(r.u32("ch")?), code: Code(r.u16("code")?) })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.channel.0);
        w.u16(self.code.0);
    }
}

impl Bitmap {
    /// Whoever can't serve the manifest yet knows of no piece.
    fn is_consistent(&self) -> bool {
        self.manifest_len > 0 || (self.piece_count == 0 && self.holdings == Holdings::None)
    }
}

impl Body for Bitmap {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let channel = ChannelId(r.u32("ch")?);
        let manifest_len = r.u32_in("manifest_len", 0..=MAX_MANIFEST, rules::RANGE)?;
        let piece_count = r.u32_in("piece_count", 0..=MAX_PIECES, rules::RANGE)?;
        let at = r.offset();
        let kind = r.u8("kind")?;
        r.check(kind <= 2, at, "kind", "expected 0, 1 or 2", rules::RANGE)?;
        let at = r.offset();
        let bits = r.bytes("bits", r.remaining())?;
        // [P-16]
        let expected = if kind == 2 { piece_count.div_ceil(8) as usize } else { 0 };
        r.check(bits.len() == expected, at, "bits", "wrong length", rules::BITMAP_LEN)?;
        let holdings = match kind {
            0 => Holdings::None,
            1 => Holdings::All,
            _ => {
                // [P-17]
                let spare = PieceSet::from_bytes(piece_count, bits).is_some();
                let problem = "a bit beyond the last piece is set";
                r.check(spare, at, "bits", problem, rules::BITMAP_SPARE)?;
                Holdings::Bits(bits.to_vec())
            }
        };
        let bitmap = Self { channel, manifest_len, piece_count, holdings };
        // [P-18]
        let problem = "pieces without a manifest";
        r.check(bitmap.is_consistent(), 4, "manifest_len", problem, rules::BITMAP_EMPTY)?;
        Ok(bitmap)
    }

    fn write(&self, w: &mut Writer<'_>) {
        debug_assert!(self.is_consistent(), "a BITMAP with pieces, without a manifest");
        w.u32(self.channel.0);
        w.u32(self.manifest_len);
        w.u32(self.piece_count);
        match &self.holdings {
            Holdings::None => w.u8(0),
            Holdings::All => w.u8(1),
            Holdings::Bits(bits) => {
                debug_assert!(PieceSet::from_bytes(self.piece_count, bits).is_some(), "{bits:?}");
                w.u8(2);
                w.bytes(&bits[..bits.len().min(w.room())]);
            }
        }
    }
}

impl Have {
    /// Most pieces in one frame.
    pub const MAX_PIECES: usize = (65_536 - 4) / 4;
}

impl Body for Have {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let channel = ChannelId(r.u32("ch")?);
        // [P-21]
        let whole = !r.is_empty() && r.remaining().is_multiple_of(4);
        r.check(whole, 4, "pieces", "expected one or more times 4 bytes", rules::HAVE_LEN)?;
        let mut pieces = Vec::with_capacity(r.remaining() / 4);
        while !r.is_empty() {
            pieces.push(r.u32_in("piece", 0..=MAX_PIECES - 1, rules::HAVE_PIECE)?);
        }
        Ok(Self { channel, pieces })
    }

    fn write(&self, w: &mut Writer<'_>) {
        debug_assert!((1..=Self::MAX_PIECES).contains(&self.pieces.len()), "pieces in a HAVE");
        w.u32(self.channel.0);
        for piece in self.pieces.iter().take(Self::MAX_PIECES) {
            debug_assert!(*piece < MAX_PIECES, "piece {piece}");
            w.u32(*piece);
        }
    }
}

impl Body for Request {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            block: Block::read(r)?,
            len: r.u32_in("len", 1..=MAX_BLOCK, rules::REQUEST_LEN)?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        debug_assert!((1..=MAX_BLOCK).contains(&self.len), "a REQUEST of {} bytes", self.len);
        self.block.write(w);
        w.u32(self.len.clamp(1, MAX_BLOCK));
    }
}

impl Body for Reject {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { block: Block::read(r)?, code: Code(r.u16("code")?) })
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.block.write(w);
        w.u16(self.code.0);
    }
}

impl Body for Cancel {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { block: Block::read(r)? })
    }

    fn write(&self, w: &mut Writer<'_>) {
        self.block.write(w);
    }
}

impl Body for Window {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { requests: r.u16("requests")? })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u16(self.requests);
    }
}
