//! The journal of a fetch: which pieces its data holds, written so that no crash can make it claim a
//! piece that is not there.
//!
//! A header names the object and the inode of the data, then come records of 16 bytes, each with a CRC
//! that covers its position, so that a record in the wrong place is as wrong as a torn one:
//!
//! * `written`: the piece was verified and handed to the system. Enough after `kill -9`, not after a
//!   power cut, so a later run hashes it again.
//! * `durable`: the disk has confirmed the piece. Appended only after that, so it can be believed.
//! * `revoked`: the disk failed to confirm a written piece. It counts as not there, even if it still
//!   reads right from memory.
//!
//! Invariant J1: records are appended after the fact they state, and withdrawn (by a whole new journal,
//! durable before anything else happens) before the data changes so that they would no longer hold.

use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::{Geometry, ObjectId, PieceIndex, PieceSet};

use super::fs::{Folder, FsFile, Open};
use super::part::replace_file;

const MAGIC: [u8; 4] = *b"SWPJ";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const RECORD: usize = 16;
/// A journal is rewritten by each run with at most one record per piece, and a run appends at most
/// three more per piece; anything longer than this is not ours.
pub(super) const MAX_JOURNAL: u64 = 32 << 20;

/// What a record says of its piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Written,
    Durable,
    Revoked,
}

impl Fact {
    fn code(self) -> u32 {
        match self {
            Self::Written => 1,
            Self::Durable => 2,
            Self::Revoked => 3,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Written, Self::Durable, Self::Revoked].into_iter().find(|fact| fact.code() == code)
    }
}

/// What an earlier run left written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// Inode of the data that is described.
    pub(super) inode: u64,
    /// Pieces that the disk has confirmed.
    pub(super) durable: PieceSet,
    /// Pieces that were written, and may have been lost.
    pub(super) written: PieceSet,
    /// Not all records could be read: any other piece may be there too.
    pub(super) torn: bool,
}

impl Claims {
    /// Reads a journal; `None` if it is not one of this object.
    pub(super) fn read(bytes: &[u8], object: ObjectId, geometry: &Geometry) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let inode = u64::from_be_bytes(header[44..52].try_into().ok()?);
        if header != encode_header(object, geometry.piece_count(), inode).as_slice() {
            return None;
        }
        let none = PieceSet::empty(geometry.piece_count());
        let mut claims = Self { inode, durable: none.clone(), written: none, torn: false };
        for (position, record) in (0u32..).zip(bytes[HEADER..].chunks(RECORD)) {
            match decode_record(position, record, geometry) {
                Some((Fact::Written, piece)) => {
                    claims.written.insert(piece);
                }
                Some((Fact::Durable, piece)) => {
                    claims.durable.insert(piece);
                }
                Some((Fact::Revoked, piece)) => {
                    mark!("journal-revokes");
                    claims.written.remove(piece);
                }
                None => {
                    claims.torn = true;
                    break;
                }
            }
        }
        Some(claims)
    }
}

/// A journal that is being written.
pub(super) struct Journal {
    file: Arc<dyn FsFile>,
    records: u32,
}

impl Journal {
    /// Puts a new journal in the place of an old one, if there is one. With claims it is durable when
    /// this returns; without any there is nothing to lose.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn create(
        folder: &dyn Folder,
        path: &Path,
        object: ObjectId,
        claims: &Claims,
    ) -> io::Result<Self> {
        let mut bytes = encode_header(object, claims.durable.len(), claims.inode).to_vec();
        let durable = claims.durable.iter().map(|piece| (Fact::Durable, piece));
        let written = claims.written.iter().map(|piece| (Fact::Written, piece));
        let mut records = 0;
        for (fact, piece) in durable.chain(written) {
            bytes.extend_from_slice(&encode_record(records, fact, piece));
            records += 1;
        }
        let withdraws = folder.meta(path).is_ok();
        replace_file(folder, path, &bytes, withdraws || records > 0)?;
        Ok(Self { file: folder.open(path, Open::Write)?, records })
    }

    /// Appends one record per piece. If that fails, nothing was appended.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn append(&mut self, fact: Fact, pieces: &[PieceIndex]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(pieces.len() * RECORD);
        let mut position = self.records;
        for piece in pieces {
            bytes.extend_from_slice(&encode_record(position, fact, piece.get()));
            position += 1;
        }
        let at = HEADER as u64 + u64::from(self.records) * RECORD as u64;
        if at + bytes.len() as u64 > MAX_JOURNAL {
            return Err(io::Error::other("the journal has outgrown its limit"));
        }
        self.file.write_all_at(&bytes, at)?;
        self.records = position;
        Ok(())
    }

    /// To make what was appended durable.
    pub(super) fn file(&self) -> Arc<dyn FsFile> {
        Arc::clone(&self.file)
    }
}

/// `magic, version, object, piece count, inode, 8 zero bytes, CRC`.
fn encode_header(object: ObjectId, pieces: u32, inode: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_be_bytes());
    header[8..40].copy_from_slice(&object.0);
    header[40..44].copy_from_slice(&pieces.to_be_bytes());
    header[44..52].copy_from_slice(&inode.to_be_bytes());
    let crc = crc32fast::hash(&header[..60]);
    header[60..].copy_from_slice(&crc.to_be_bytes());
    header
}

/// `fact, piece, position, CRC of these`.
fn encode_record(position: u32, fact: Fact, piece: u32) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&fact.code().to_be_bytes());
    record[4..8].copy_from_slice(&piece.to_be_bytes());
    record[8..12].copy_from_slice(&position.to_be_bytes());
    let crc = crc32fast::hash(&record[..12]);
    record[12..].copy_from_slice(&crc.to_be_bytes());
    record
}

fn decode_record(position: u32, bytes: &[u8], geometry: &Geometry) -> Option<(Fact, PieceIndex)> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let fact = Fact::from_code(word(0)?)?;
    let piece = word(4)?;
    if bytes != encode_record(position, fact, piece).as_slice() {
        return None;
    }
    Some((fact, geometry.piece(piece)?))
}
