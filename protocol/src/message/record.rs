//! What several tracker messages contain.

use std::net::{IpAddr, SocketAddr};

use crate::frame::RECORD_MIN;
use crate::limits::{MAX_FILES, MAX_MANIFEST, MAX_OBJECT, MAX_PATH, MAX_PIECE_LOG2, MAX_PIECES};
use crate::wire::{Reader, Writer};
use crate::{DecodeError, Digest, ObjectId, rules};

/// One version of a name, as the tracker keeps it. Only maxima are checked: the numbers are what the
/// publisher said, and 0 where the tracker does not know them. The manifest is the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The object that this version is.
    pub object: ObjectId,
    /// SHA-256 of the whole file; zero for a folder.
    pub content: Digest,
    /// Bytes of all files together.
    pub length: u64,
    /// Seconds since 1970; set by the tracker, ignored in PUBLISH.
    pub published_at: u64,
    /// From 1 upwards per name; set by the tracker, ignored in PUBLISH.
    pub version: u32,
    /// Bytes of the manifest.
    pub manifest_len: u32,
    /// Pieces of the object.
    pub piece_count: u32,
    /// Files of the object.
    pub file_count: u32,
    /// Piece size = 2 to this power; at most 24, and below 12 only where it is not known.
    pub piece_log2: u8,
    /// The name, at most 1,024 bytes; empty for an object that has no name. As it came: whoever stores,
    /// shows or uses it as a path puts it through [`crate::check_name`] first.
    pub name: String,
}

/// How much of an object a peer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holding {
    /// 0: nothing (any more).
    Dropped,
    /// 1: some pieces, fetching the rest.
    Partial,
    /// 2: all pieces.
    Complete,
}

/// Where a peer accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr {
    /// How much it holds of the object in question; `Dropped` where no object is in question.
    pub holding: Holding,
    /// Its address.
    pub addr: SocketAddr,
}

impl Record {
    /// Bytes of it on the wire.
    pub fn wire_len(&self) -> usize {
        RECORD_MIN as usize + self.name.len()
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let object = ObjectId(r.array("object")?);
        let content = Digest(r.array("content")?);
        let at = r.offset();
        let length = r.u64("length")?;
        r.check(length <= MAX_OBJECT, at, "length", "more than 4 TiB", rules::RANGE)?;
        Ok(Self {
            object,
            content,
            length,
            published_at: r.u64("published_at")?,
            version: r.u32("version")?,
            manifest_len: r.u32_in("manifest_len", 0..=MAX_MANIFEST, rules::RANGE)?,
            piece_count: r.u32_in("piece_count", 0..=MAX_PIECES, rules::RANGE)?,
            file_count: r.u32_in("file_count", 0..=MAX_FILES, rules::RANGE)?,
            piece_log2: r.u8_in("piece_log2", 0..=MAX_PIECE_LOG2, rules::RANGE)?,
            name: r.str16("name", MAX_PATH)?.to_owned(),
        })
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        debug_assert!(self.length <= MAX_OBJECT && self.manifest_len <= MAX_MANIFEST);
        debug_assert!(self.piece_count <= MAX_PIECES && self.file_count <= MAX_FILES);
        debug_assert!(self.piece_log2 <= MAX_PIECE_LOG2, "{}", self.piece_log2);
        w.bytes(&self.object.0);
        w.bytes(&self.content.0);
        w.u64(self.length);
        w.u64(self.published_at);
        w.u32(self.version);
        w.u32(self.manifest_len);
        w.u32(self.piece_count);
        w.u32(self.file_count);
        w.u8(self.piece_log2);
        w.str16(&self.name, MAX_PATH);
    }
}

impl Holding {
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.offset();
        match r.u8("state")? {
            0 => Ok(Self::Dropped),
            1 => Ok(Self::Partial),
            2 => Ok(Self::Complete),
            _ => Err(Reader::error_at(at, "state", "expected 0, 1 or 2", rules::RANGE)),
        }
    }

    /// Its number on the wire.
    pub fn wire(self) -> u8 {
        match self {
            Self::Dropped => 0,
            Self::Partial => 1,
            Self::Complete => 2,
        }
    }
}

impl PeerAddr {
    /// Bytes on the wire of one with an IPv6 address.
    pub(crate) const MAX_LEN: usize = 20;

    /// Bytes of it on the wire.
    pub fn wire_len(&self) -> usize {
        if self.addr.is_ipv4() { 8 } else { Self::MAX_LEN }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = r.offset();
        let family = r.u8("family")?;
        r.check(matches!(family, 4 | 6), at, "family", "expected 4 or 6", rules::RANGE)?;
        let holding = Holding::read(r)?;
        let port = r.u16("port")?;
        let ip = if family == 4 {
            IpAddr::from(r.array::<4>("ip")?)
        } else {
            IpAddr::from(r.array::<16>("ip")?)
        };
        Ok(Self { holding, addr: SocketAddr::new(ip, port) })
    }

    /// Flow label and scope of an IPv6 address mean something to one host only; they stay here.
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.u8(if self.addr.is_ipv4() { 4 } else { 6 });
        w.u8(self.holding.wire());
        w.u16(self.addr.port());
        match self.addr.ip() {
            IpAddr::V4(ip) => w.bytes(&ip.octets()),
            IpAddr::V6(ip) => w.bytes(&ip.octets()),
        }
    }
}
