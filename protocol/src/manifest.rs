//! The manifest: sizes, paths, per-file SHA-256 and per-piece SHA-256 of an object, in canonical bytes.

use std::sync::Arc;

use thiserror::Error;

use crate::{Digest, Geometry, ObjectId, PieceIndex, SafePath};

/// Why bytes are not a manifest, or files can't be described by one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem} [{rule}]")]
pub struct ManifestError {
    /// What is wrong, in words.
    pub problem: String,
    /// Requirement id in the spec.
    pub rule: &'static str,
}

/// What an entry of a manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// May be executed.
        executable: bool,
        /// Bytes; may be 0.
        len: u64,
        /// SHA-256 of all its bytes.
        digest: Digest,
    },
    /// A folder with nothing in it.
    EmptyFolder,
}

/// One file or empty folder of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the object's folder; `None` only for the one file of a file object.
    pub path: Option<SafePath>,
    /// What it is.
    pub kind: EntryKind,
}

impl Entry {
    /// Bytes of its content; 0 for an empty folder.
    pub fn len(&self) -> u64 {
        match self.kind {
            EntryKind::File { len, .. } => len,
            EntryKind::EmptyFolder => 0,
        }
    }

    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A checked manifest with its bytes and identity. Cheap to share: keep it in an [`Arc`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    bytes: Arc<[u8]>,
    id: ObjectId,
    entries: Vec<Entry>,
    geometry: Geometry,
    hashes_at: usize,
}

impl Manifest {
    /// Checks bytes that came from outside. Memory and time are linear in their length.
    ///
    /// # Errors
    /// [`ManifestError`] names the rule that is broken.
    pub fn parse(bytes: Arc<[u8]>) -> Result<Self, ManifestError> {
        let _ = bytes;
        todo!("protocol helper")
    }

    /// Describes files: entries in any order (they are sorted here), and each file's piece hashes in the
    /// order of `entries` as given.
    ///
    /// # Errors
    /// When a limit or a path rule is broken, or the number of hashes does not fit the lengths.
    pub fn build(
        piece_log2: u8,
        entries: Vec<(Entry, Vec<Digest>)>,
    ) -> Result<Self, ManifestError> {
        let _ = (piece_log2, entries);
        todo!("protocol helper")
    }

    /// The power of two that the default rule gives for files of these lengths, so that independent
    /// seeders of the same files agree; `None` if no piece size fits the limits.
    pub fn default_piece_log2(file_lens: &[u64]) -> Option<u8> {
        let _ = file_lens;
        todo!("protocol helper")
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// SHA-256 of the canonical bytes.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Files and empty folders, ascending by the bytes of their paths.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether it is one file rather than a folder.
    pub fn is_single_file(&self) -> bool {
        self.entries.len() == 1 && self.entries[0].path.is_none()
    }

    /// How it is cut into pieces.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The hash that a piece must have.
    pub fn piece_hash(&self, piece: PieceIndex) -> Digest {
        let at = self.hashes_at + 32 * piece.index();
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.bytes[at..at + 32]);
        Digest(hash)
    }

    /// SHA-256 of the content of a file object; zero for a folder.
    pub fn content(&self) -> Digest {
        match self.entries.as_slice() {
            [Entry { path: None, kind: EntryKind::File { digest, .. } }] => *digest,
            _ => Digest::ZERO,
        }
    }

    /// Piece size as a power of two.
    pub fn piece_log2(&self) -> u8 {
        todo!("protocol helper")
    }
}
