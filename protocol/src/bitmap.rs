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
        let mut bits = vec![0xFF; len.div_ceil(8) as usize];
        if let Some(last) = bits.last_mut() {
            *last &= !spare_mask(len);
        }
        Self { bits, len, count: len }
    }

    /// From the bytes of a BITMAP: `None` if their number is wrong or a spare bit is set.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Option<Self> {
        let right_size = bytes.len() == len.div_ceil(8) as usize;
        let spare = bytes.last().is_some_and(|last| last & spare_mask(len) != 0);
        if !right_size || spare {
            return None;
        }
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Some(Self { bits: bytes.to_vec(), len, count })
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
        self.bits.get(piece.index() / 8).is_some_and(|byte| byte & mask(piece) != 0)
    }

    /// Adds `piece`; whether it is new. A piece of a larger object is a caller's mistake, and ignored.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        debug_assert!(piece.get() < self.len, "piece {} of {}", piece.get(), self.len);
        if piece.get() >= self.len || self.contains(piece) {
            return false;
        }
        self.bits[piece.index() / 8] |= mask(piece);
        self.count += 1;
        true
    }

    /// Takes `piece` out; whether it was in.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.contains(piece) {
            return false;
        }
        self.bits[piece.index() / 8] &= !mask(piece);
        self.count -= 1;
        true
    }

    /// Numbers of the pieces in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).step_by(8).zip(&self.bits).flat_map(|(first, byte)| {
            let byte = *byte;
            (0..8).filter(move |i| byte & (0x80 >> i) != 0).map(move |i| first + i)
        })
    }
}

/// The bit of `piece` in its byte.
fn mask(piece: PieceIndex) -> u8 {
    0x80 >> (piece.get() % 8)
}

/// The bits without a meaning in the last byte of a set of `len` pieces.
fn spare_mask(len: u32) -> u8 {
    match len % 8 {
        0 => 0,
        used => 0xFF >> used,
    }
}
