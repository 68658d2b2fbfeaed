//! Messages between a peer and a tracker.

use crate::message::{Holding, PeerAddr, Record};
use crate::{Code, Digest, ObjectId, PublisherKey, RequestId};

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
    /// Which name.
    pub name: String,
}

/// What a FIND looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindKey {
    /// Kind 0: a name, in its newest version (0) or an exact one.
    Name {
        /// 0 = the newest.
        version: u32,
        /// Which name.
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
