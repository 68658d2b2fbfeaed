//! What several tracker messages contain.

use std::net::SocketAddr;

use crate::{Digest, ObjectId};

/// One version of a name, as the tracker keeps it.
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
    /// Piece size = 2 to this power.
    pub piece_log2: u8,
    /// The name, 1 to 1,024 bytes, rules as for paths. Empty in a SWARM for an object that has no name.
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
