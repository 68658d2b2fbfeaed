//! Messages by which a tracker knows who is there and what they hold.

use crate::limits::MAX_ANNOUNCE_ENTRIES;
use crate::message::{Body, Holding, PeerAddr};
use crate::wire::{Reader, Writer};
use crate::{DecodeError, ObjectId, RequestId};

/// 0x20 BEAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Names this request.
    pub rid: RequestId,
    /// How many objects the sender holds in part or whole.
    pub objects: u32,
    /// Digest of its holdings: see [`crate::holdings_digest`].
    pub digest: u64,
    /// Bytes that it could still store.
    pub free: u64,
    /// Payload bytes sent to peers since it started.
    pub sent: u64,
    /// Payload bytes received from peers since it started.
    pub received: u64,
}

/// 0x21 LEASE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The BEAT that it answers.
    pub rid: RequestId,
    /// Seconds until the next BEAT is expected, give or take a fifth.
    pub interval_s: u16,
    /// Seconds for which the tracker believes the peer without another.
    pub lease_s: u16,
    /// The tracker's picture of the peer's holdings differs: send a full ANNOUNCE.
    pub sync: bool,
    /// The peer's address as the tracker hands it out.
    pub you: PeerAddr,
}

/// One entry of an ANNOUNCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceEntry {
    /// Which object.
    pub object: ObjectId,
    /// How much of it.
    pub holding: Holding,
}

/// 0x22 ANNOUNCE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Names this request.
    pub rid: RequestId,
    /// Forget what you knew; this starts the full list.
    pub reset: bool,
    /// What changed, at most [`crate::limits::MAX_ANNOUNCE_ENTRIES`].
    pub entries: Vec<AnnounceEntry>,
}

/// 0x2B SUMMARY_REQUEST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SummaryRequest {
    /// Names this request.
    pub rid: RequestId,
}

/// 0x2C SUMMARY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The request that it answers.
    pub rid: RequestId,
    /// Seconds since the tracker started.
    pub uptime_s: u64,
    /// Open connections.
    pub connections: u32,
    /// Peers with a lease.
    pub peers: u32,
    /// Published names.
    pub names: u32,
    /// Published versions over all names.
    pub versions: u32,
    /// Objects that some live peer holds.
    pub objects: u32,
    /// Pairs of live peer and object that it holds.
    pub holdings: u64,
    /// Bytes of the newest versions of all names.
    pub bytes: u64,
}

impl Body for Beat {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rid: RequestId(r.u32("rid")?),
            objects: r.u32("objects")?,
            digest: r.u64("digest")?,
            free: r.u64("free")?,
            sent: r.u64("sent")?,
            received: r.u64("received")?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.u32(self.objects);
        w.u64(self.digest);
        w.u64(self.free);
        w.u64(self.sent);
        w.u64(self.received);
    }
}

impl Body for Lease {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rid: RequestId(r.u32("rid")?),
            interval_s: r.u16("interval_s")?,
            lease_s: r.u16("lease_s")?,
            sync: r.flag("flags")?,
            you: PeerAddr::read(r)?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.u16(self.interval_s);
        w.u16(self.lease_s);
        w.u8(u8::from(self.sync));
        self.you.write(w);
    }
}

impl Body for Announce {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let rid = RequestId(r.u32("rid")?);
        let reset = r.flag("flags")?;
        let mut entries = Vec::with_capacity(r.remaining() / 33);
        while !r.is_empty() {
            let object = ObjectId(r.array("object")?);
            entries.push(AnnounceEntry { object, holding: Holding::read(r)? });
        }
        Ok(Self { rid, reset, entries })
    }

    fn write(&self, w: &mut Writer<'_>) {
        debug_assert!(self.entries.len() <= MAX_ANNOUNCE_ENTRIES, "{}", self.entries.len());
        w.u32(self.rid.0);
        w.u8(u8::from(self.reset));
        for entry in self.entries.iter().take(MAX_ANNOUNCE_ENTRIES) {
            w.bytes(&entry.object.0);
            w.u8(entry.holding.wire());
        }
    }
}

impl Body for SummaryRequest {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { rid: RequestId(r.u32("rid")?) })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
    }
}

impl Body for Summary {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rid: RequestId(r.u32("rid")?),
            uptime_s: r.u64("uptime_s")?,
            connections: r.u32("connections")?,
            peers: r.u32("peers")?,
            names: r.u32("names")?,
            versions: r.u32("versions")?,
            objects: r.u32("objects")?,
            holdings: r.u64("holdings")?,
            bytes: r.u64("bytes")?,
        })
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.u32(self.rid.0);
        w.u64(self.uptime_s);
        w.u32(self.connections);
        w.u32(self.peers);
        w.u32(self.names);
        w.u32(self.versions);
        w.u32(self.objects);
        w.u64(self.holdings);
        w.u64(self.bytes);
    }
}
