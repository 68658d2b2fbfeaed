//! Messages about names, and about the swarms behind them.

use crate::limits::{MAX_CONTROL, MAX_FIND_WANT, MAX_LIST_LIMIT, MAX_PATH};
use crate::message::{Body, PeerAddr, Record};
use crate::wire::{Reader, Writer};
use crate::{Code, DecodeError, Digest, ObjectId, PublisherKey, RequestId, rules};

/// 0x23 PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Names this request.
    pub rid: RequestId,
    /// Shows that the sender owns the name.
    pub key: PublisherKey,
    /// Wanted copies, 0 = the tracker's default.
    pub copies: u8,
    /// What the name shall mean; `published_at` and `version` are ignored.
    pub record: Record,
}

/// 0x24 UNPUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpublish {
    /// Names this request.
    pub rid: RequestId,
    /// Shows that the sender owns the name.
    pub key: PublisherKey,
    /// Which name; as it came, see [`Record::name`].
    pub name: String,
}

/// What a FIND looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindKey {
    /// Kind 0: a name, in its newest version (0) or an exact one.
    Name {
        /// 0 = the newest.
        version: u32,
        /// Which name; as it came, see [`Record::name`].
        name: String,
    },
    /// Kind 1: an object.
    Object(ObjectId),
    /// Kind 2: the SHA-256 of a single file's content.
    Content(Digest),
}

/// 0x25 FIND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// Names this request.
    pub rid: RequestId,
    /// How many peers are wanted, at most [`crate::limits::MAX_FIND_WANT`]; 0 = the record only.
    pub want: u16,
    /// What is looked for.
    pub key: FindKey,
}

/// 0x26 SWARM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    /// The FIND that it answers; 0 = a push of additional peers.
    pub rid: RequestId,
    /// Peers that hold all of it.
    pub complete: u32,
    /// Peers that hold some of it.
    pub partial: u32,
    /// The object.
    pub record: Record,
    /// A random sample of its peers.
    pub peers: Vec<PeerAddr>,
}

/// 0x27 LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Names this request.
    pub rid: RequestId,
    /// How many records at most, 1 to [`crate::limits::MAX_LIST_LIMIT`].
    pub limit: u16,
    /// Only names that begin so; may be empty.
    pub prefix: String,
    /// Only names after this one, in byte order; may be empty.
    pub after: String,
}

/// One entry of a PAGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEntry {
    /// Peers that hold all of it.
    pub complete: u32,
    /// Peers that hold some of it.
    pub partial: u32,
    /// The newest version of the name.
    pub record: Record,
}

/// 0x28 PAGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The LIST that it answers.
    pub rid: RequestId,
    /// There are more names after the last one here.
    pub more: bool,
    /// In byte order of their names. A tracker puts in only as many as fit a frame.
    pub entries: Vec<PageEntry>,
}

/// 0x2A STATUS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The request that it answers.
    pub rid: RequestId,
    /// [`Code::OK`], or why not.
    pub code: Code,
    /// Do not repeat the request earlier than in so many milliseconds.
    pub retry_ms: u32,
    /// The same for people. On the OK of a PUBLISH: the version in decimal.
    pub text: String,
}

impl Body for Publish {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rid: RequestId(r.u32("rid")?),
            key: PublisherKey(r.array("key")?),
            copies: r.u8("copies")?,
            record: Record::read(r)?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.bytes(&self.key.0);
        w.u8(self.copies);
        self.record.write(w);
    }
}

impl Body for Unpublish {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rid: RequestId(r.u32("rid")?),
            key: PublisherKey(r.array("key")?),
            name: r.str16("name", MAX_PATH)?.to_owned(),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.bytes(&self.key.0);
        w.str16(&self.name, MAX_PATH);
    }
}

impl Body for Find {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let rid = RequestId(r.u32("rid")?);
        let want = r.u16_in("want", 0..=MAX_FIND_WANT, rules::RANGE)?;
        let at = r.offset();
        let key = match r.u8("kind")? {
            0 => FindKey::Name { version: r.u32("version")?, name: r.text("name")?.to_owned() },
            1 => FindKey::Object(ObjectId(r.array("object")?)),
            2 => FindKey::Content(Digest(r.array("content")?)),
            _ => return Err(Reader::error_at(at, "kind", "expected 0, 1 or 2", rules::RANGE)),
        };
        Ok(Self { rid, want, key })
    }

    fn write(&self, w: &mut Writer<'_>) {
        debug_assert!(self.want <= MAX_FIND_WANT, "want {}", self.want);
        w.u32(self.rid.0);
        w.u16(self.want.min(MAX_FIND_WANT));
        match &self.key {
            FindKey::Name { version, name } => {
                debug_assert!(name.len() <= MAX_PATH, "a name of {} bytes", name.len());
                w.u8(0);
                w.u32(*version);
                w.text(name);
            }
            FindKey::Object(object) => {
                w.u8(1);
                w.bytes(&object.0);
            }
            FindKey::Content(content) => {
                w.u8(2);
                w.bytes(&content.0);
            }
        }
    }
}

impl Body for Swarm {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let rid = RequestId(r.u32("rid")?);
        let complete = r.u32("complete")?;
        let partial = r.u32("partial")?;
        let record = Record::read(r)?;
        let mut peers = Vec::with_capacity(r.remaining() / 8);
        while !r.is_empty() {
            peers.push(PeerAddr::read(r)?);
        }
        Ok(Self { rid, complete, partial, record, peers })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.u32(self.complete);
        w.u32(self.partial);
        self.record.write(w);
        for peer in &self.peers {
            debug_assert!(peer.wire_len() <= w.room(), "{} peers in a SWARM", self.peers.len());
            if peer.wire_len() > w.room() {
                break;
            }
            peer.write(w);
        }
    }
}

impl Body for List {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rid: RequestId(r.u32("rid")?),
            limit: r.u16_in("limit", 1..=MAX_LIST_LIMIT, rules::RANGE)?,
            prefix: r.str16("prefix", MAX_PATH)?.to_owned(),
            after: r.str16("after", MAX_PATH)?.to_owned(),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        debug_assert!((1..=MAX_LIST_LIMIT).contains(&self.limit), "limit {}", self.limit);
        w.u32(self.rid.0);
        w.u16(self.limit.clamp(1, MAX_LIST_LIMIT));
        w.str16(&self.prefix, MAX_PATH);
        w.str16(&self.after, MAX_PATH);
    }
}

impl PageEntry {
    /// Bytes of it on the wire.
    pub fn wire_len(&self) -> usize {
        8 + self.record.wire_len()
    }
}

impl Page {
    /// Bytes of entries ([`PageEntry::wire_len`]) that fit one frame.
    pub const ROOM: usize = MAX_CONTROL as usize - 5;
}

impl Body for Page {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let rid = RequestId(r.u32("rid")?);
        let more = r.flag("more")?;
        let mut entries = Vec::new();
        while !r.is_empty() {
            entries.push(PageEntry {
                complete: r.u32("complete")?,
                partial: r.u32("partial")?,
                record: Record::read(r)?,
            });
        }
        Ok(Self { rid, more, entries })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.u8(u8::from(self.more));
        for entry in &self.entries {
            debug_assert!(entry.wire_len() <= w.room(), "{} entries", self.entries.len());
            if entry.wire_len() > w.room() {
                break;
            }
            w.u32(entry.complete);
            w.u32(entry.partial);
            entry.record.write(w);
        }
    }
}

impl Body for Status {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rid: RequestId(r.u32("rid")?),
            code: Code(r.u16("code")?),
            retry_ms: r.u32("retry_ms")?,
            text: r.text("text")?.to_owned(),
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.u16(self.code.0);
        w.u32(self.retry_ms);
        w.text(&self.text);
    }
}
