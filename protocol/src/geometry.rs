//! Turns untrusted numbers into pieces and blocks of one object.

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {}

impl Geometry {
    /// The geometry of files of these lengths, or `None` if it breaks a limit.
    pub fn new(piece_log2: u8, file_lens: impl IntoIterator<Item = u64>) -> Option<Self> {
        let _ = (piece_log2, file_lens.into_iter());
        todo!("protocol helper")
    }

    /// Pieces of the object; may be 0.
    pub fn piece_count(&self) -> u32 {
        todo!("protocol helper")
    }

    /// Bytes of all files.
    pub fn total_len(&self) -> u64 {
        todo!("protocol helper")
    }

    /// Bytes of a full piece.
    pub fn piece_size(&self) -> u32 {
        todo!("protocol helper")
    }

    /// The piece with this number, if there is one.
    pub fn piece(&self, raw: u32) -> Option<PieceIndex> {
        let _ = raw;
        todo!("protocol helper")
    }

    /// All pieces, first to last.
    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..0).map(PieceIndex)
    }

    /// The pieces of one file, first to last.
    pub fn pieces_of(&self, file: usize) -> impl Iterator<Item = PieceIndex> + use<> {
        let _ = file;
        (0..0).map(PieceIndex)
    }

    /// Where a piece lies.
    pub fn span(&self, piece: PieceIndex) -> PieceSpan {
        let _ = piece;
        todo!("protocol helper")
    }

    /// The block with these numbers, if it is a non-empty range inside the piece.
    pub fn block(&self, piece: PieceIndex, begin: u32, len: u32) -> Option<BlockRef> {
        let _ = (piece, begin, len);
        todo!("protocol helper")
    }
}
