//! A fixed-length set of pieces.

use crate::PieceIndex;

/// Which pieces of an object somebody holds. Knows how many there are, so that "all" is a fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PieceSet {
    bits: Vec<u8>,
    len: u32,
    count: u32,
}

impl PieceSet {
    /// No piece of `len`.
    pub fn empty(len: u32) -> Self {
        Self { bits: vec![0; len.div_ceil(8) as usize], len, count: 0 }
    }

    /// All pieces of `len`.
    pub fn full(len: u32) -> Self {
        let _ = len;
        todo!("protocol helper")
    }

    /// From the bytes of a BITMAP: `None` if their number is wrong or a spare bit is set.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Option<Self> {
        let _ = (len, bytes);
        todo!("protocol helper")
    }

    /// As in a BITMAP: most significant bit first, spare bits zero.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Number of pieces that could be in it.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Number of pieces in it.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether no piece is in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether all pieces are in it; true for an object without pieces.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// Whether `piece` is in it.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!("protocol helper")
    }

    /// Adds `piece`; whether it is new.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!("protocol helper")
    }

    /// Takes `piece` out; whether it was in.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        let _ = piece;
        todo!("protocol helper")
    }

    /// Numbers of the pieces in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|i| self.bits[(i / 8) as usize] & (0x80 >> (i % 8)) != 0)
    }
}
