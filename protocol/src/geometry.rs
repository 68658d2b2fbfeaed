//! Turns untrusted numbers into pieces and blocks of one object.

use crate::limits::{MAX_FILES, MAX_PIECE_LOG2, MAX_PIECES, MIN_PIECE_LOG2};

/// A piece that exists in its object. Only [`Geometry`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The number on the wire.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The same as an index into a slice with one entry per piece.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A non-empty range inside one piece. Only [`Geometry`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    piece: PieceIndex,
    begin: u32,
    len: u32,
}

impl BlockRef {
    /// Which piece.
    pub fn piece(self) -> PieceIndex {
        self.piece
    }

    /// First byte, counted from the start of the piece.
    pub fn begin(self) -> u32 {
        self.begin
    }

    /// Number of bytes, at least 1.
    pub fn len(self) -> u32 {
        self.len
    }

    /// Never true; here because Rust expects it beside `len`.
    pub fn is_empty(self) -> bool {
        false
    }
}

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceSpan {
    /// Index of its file in the manifest.
    pub file: usize,
    /// First byte in that file.
    pub offset: u64,
    /// Number of bytes, at least 1.
    pub len: u32,
}

/// How an object is cut into pieces: file by file, no piece spans two files, the last of a file may be
/// short.
///
/// Invariant: `first[i]` is the number of pieces in all files before file `i`; all counts are within the
/// limits, so nothing below can overflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    piece_log2: u8,
    /// First piece of each file; a file without bytes shares it with the file behind it.
    first: Vec<u32>,
    lens: Vec<u64>,
    pieces: u32,
    total: u64,
}

impl Geometry {
    /// The geometry of files of these lengths, or `None` if it breaks a limit.
    pub fn new(piece_log2: u8, file_lens: impl IntoIterator<Item = u64>) -> Option<Self> {
        if !(MIN_PIECE_LOG2..=MAX_PIECE_LOG2).contains(&piece_log2) {
            return None;
        }
        let mut geometry =
            Self { piece_log2, first: Vec::new(), lens: Vec::new(), pieces: 0, total: 0 };
        for len in file_lens {
            if geometry.lens.len() >= MAX_FILES as usize {
                return None;
            }
            geometry.first.push(geometry.pieces);
            geometry.lens.push(len);
            let pieces = u64::from(geometry.pieces) + len.div_ceil(1 << piece_log2);
            geometry.pieces = u32::try_from(pieces).ok().filter(|pieces| *pieces <= MAX_PIECES)?;
            geometry.total += len;
        }
        Some(geometry)
    }

    /// Pieces of the object; may be 0.
    pub fn piece_count(&self) -> u32 {
        self.pieces
    }

    /// Bytes of all files.
    pub fn total_len(&self) -> u64 {
        self.total
    }

    /// Files, as many as lengths were given.
    pub fn file_count(&self) -> usize {
        self.lens.len()
    }

    /// Bytes of a full piece.
    pub fn piece_size(&self) -> u32 {
        1 << self.piece_log2
    }

    /// Bytes of a full piece, as a power of two.
    pub fn piece_log2(&self) -> u8 {
        self.piece_log2
    }

    /// The piece with this number, if there is one.
    pub fn piece(&self, raw: u32) -> Option<PieceIndex> {
        (raw < self.pieces).then_some(PieceIndex(raw))
    }

    /// All pieces, first to last.
    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.pieces).map(PieceIndex)
    }

    /// The pieces of one file, first to last; none if there is no such file.
    pub fn pieces_of(&self, file: usize) -> impl Iterator<Item = PieceIndex> + use<> {
        let start = self.first.get(file).copied().unwrap_or(self.pieces);
        let end = self.first.get(file.saturating_add(1)).copied().unwrap_or(self.pieces);
        (start..end).map(PieceIndex)
    }

    /// Where a piece lies.
    ///
    /// # Panics
    /// If `piece` is of another, larger object.
    pub fn span(&self, piece: PieceIndex) -> PieceSpan {
        assert!(piece.0 < self.pieces, "piece {} of an object of {}", piece.0, self.pieces);
        // Of files that begin at the same piece only the last has bytes.
        let file = self.first.partition_point(|first| *first <= piece.0) - 1;
        let offset = u64::from(piece.0 - self.first[file]) << self.piece_log2;
        let left = self.lens[file] - offset;
        let len =
            u32::try_from(left.min(u64::from(self.piece_size()))).expect("a piece size is a u32");
        PieceSpan { file, offset, len }
    }

    /// The block with these numbers, if it is a non-empty range inside the piece.
    ///
    /// # Panics
    /// If `piece` is of another, larger object.
    pub fn block(&self, piece: PieceIndex, begin: u32, len: u32) -> Option<BlockRef> {
        let end = u64::from(begin) + u64::from(len);
        let inside = len > 0 && end <= u64::from(self.span(piece).len);
        inside.then_some(BlockRef { piece, begin, len })
    }
}
