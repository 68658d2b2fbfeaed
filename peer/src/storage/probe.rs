//! Doors for fuzzers to parsers of bytes on disk that have no public one, or only a slow one. Programs
//! have no use for them.

use protocol::{Geometry, ObjectId, PieceSet};

use crate::disk::{FileHashes, HashJob};

use super::hash_cache;
use super::journal::Claims;

/// What a journal claims.
#[derive(Debug)]
pub struct JournalClaims {
    /// Pieces that the disk has confirmed.
    pub durable: PieceSet,
    /// Pieces that were written, and may have been lost.
    pub written: PieceSet,
    /// Not all records could be read.
    pub torn: bool,
}

/// Reads a journal; `None` if it is not one of this object.
pub fn journal(bytes: &[u8], object: ObjectId, geometry: &Geometry) -> Option<JournalClaims> {
    let Claims { inode: _, durable, written, torn } = Claims::read(bytes, object, geometry)?;
    Some(JournalClaims { durable, written, torn })
}

/// The CRC and the hashes of a row of the hash cache: `None` if they are not those of `job`'s file.
pub fn cache_row(job: &HashJob, crc: u32, digest: &[u8], pieces: &[u8]) -> Option<FileHashes> {
    hash_cache::read_row(job, crc, digest.to_vec(), pieces.to_vec())
}

/// The CRC that makes a row whole; `None` for a file that is never remembered.
pub fn cache_crc(job: &HashJob, digest: &[u8], pieces: &[u8]) -> Option<u32> {
    hash_cache::row_crc(job, digest, pieces)
}
