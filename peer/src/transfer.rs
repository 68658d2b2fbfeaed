//! One object on its way in: which piece comes from whom, and how far it has come.
//!
//! A piece has one source at a time, so that a wrong one has one culprit; in the endgame a second source
//! sends a copy of its own, and the first whole copy wins. Knows links by their ids only; picks through
//! [`Picker`]. Invariant T1: the bytes of all buffers, with links and with the disk, stay below the
//! budget plus one piece.

use std::collections::BTreeMap;

use protocol::{BlockRef, Geometry, PieceIndex, PieceSet};
use reactor::{ConnId, Rng};

use crate::picker::Picker;

/// A piece on its way from one link.
#[derive(Debug)]
struct Part {
    piece: PieceIndex,
    data: Vec<u8>,
    /// Bytes from the start of the piece that were asked for.
    requested: u32,
    /// Where the blocks begin that were asked for.
    asked: Vec<u32>,
    /// Bytes of them that came; blocks may come in any order.
    received: u32,
}

/// What a block's bytes led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Nobody waits for this piece from this link any more.
    Unwanted,
    /// The piece is not whole yet.
    Partly,
    /// The piece is whole; these are its bytes.
    Whole(Vec<u8>),
}

/// The pieces of one object on their way in.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// Decides what is fetched next.
    pub(crate) picker: Picker,
    parts: BTreeMap<ConnId, Vec<Part>>,
    pool: Vec<Vec<u8>>,
    /// Bytes of pieces with links and with the disk.
    buffered: usize,
    budget: usize,
    piece_size: usize,
    /// Bytes that came of pieces that were given up before they were whole.
    pub(crate) discarded: u64,
}

impl Transfer {
    /// Nothing fetched yet; `budget` bytes of pieces may be on their way at once, at least two pieces.
    pub(crate) fn new(picker: Picker, geometry: &Geometry, budget: usize) -> Self {
        let piece_size = geometry.piece_size() as usize;
        Self {
            picker,
            parts: BTreeMap::new(),
            pool: Vec::new(),
            buffered: 0,
            budget: budget.max(2 * piece_size),
            piece_size,
            discarded: 0,
        }
    }

    /// The next block to ask this link for. `block_len` says how much to ask for at once in a piece of
    /// that length.
    pub(crate) fn next_block(
        &mut self,
        conn: ConnId,
        theirs: &PieceSet,
        geometry: &Geometry,
        block_len: impl Fn(u32) -> u32,
        rng: &mut Rng,
    ) -> Option<BlockRef> {
        let begun = self.parts.get(&conn).and_then(|parts| {
            parts.iter().position(|part| (part.requested as usize) < part.data.len())
        });
        let at = match begun {
            Some(at) => at,
            None => self.begin_piece(conn, theirs, geometry, rng)?,
        };
        let part = self.parts.get_mut(&conn)?.get_mut(at)?;
        let piece_len = geometry.span(part.piece).len;
        let len = block_len(piece_len).clamp(1, piece_len - part.requested);
        let block = geometry.block(part.piece, part.requested, len)?;
        part.asked.push(part.requested);
        part.requested += len;
        Some(block)
    }

    fn begin_piece(
        &mut self,
        conn: ConnId,
        theirs: &PieceSet,
        geometry: &Geometry,
        rng: &mut Rng,
    ) -> Option<usize> {
        // Counts whole pieces, so that many small ones do not pile up without bound either.
        if self.buffered + self.piece_size > self.budget {
            return None;
        }
        let parts = self.parts.entry(conn).or_default();
        let piece = self.picker.pick(theirs, rng).or_else(|| {
            let mine = |piece| parts.iter().any(|part: &Part| part.piece == piece);
            self.picker.pick_endgame(theirs, mine, rng)
        })?;
        let len = geometry.span(piece).len as usize;
        let mut data = self.pool.pop().unwrap_or_default();
        data.resize(len, 0);
        self.buffered += len;
        parts.push(Part { piece, data, requested: 0, asked: Vec::new(), received: 0 });
        Some(parts.len() - 1)
    }

    /// Puts bytes where they belong: `offset` counts from `begin`, where their block begins. The session
    /// vouches that they were asked for at some time and that no byte of an answer comes twice; answers
    /// to what was asked for before this piece was given up and begun anew do not count, because it is
    /// asked for again.
    pub(crate) fn on_data(
        &mut self,
        conn: ConnId,
        piece: PieceIndex,
        begin: u32,
        offset: u32,
        bytes: &[u8],
    ) -> Arrived {
        let Some(parts) = self.parts.get_mut(&conn) else { return Arrived::Unwanted };
        let Some(index) = parts.iter().position(|part| part.piece == piece) else {
            return Arrived::Unwanted;
        };
        let part = &mut parts[index];
        if !part.asked.contains(&begin) {
            return Arrived::Unwanted;
        }
        let start = begin as usize + offset as usize;
        let Some(room) = part.data.get_mut(start..start + bytes.len()) else {
            return Arrived::Unwanted;
        };
        room.copy_from_slice(bytes);
        let len = u32::try_from(bytes.len()).expect("bytes of a piece");
        part.received += len;
        if (part.received as usize) < part.data.len() {
            return Arrived::Partly;
        }
        let part = parts.swap_remove(index);
        self.picker.received(piece);
        Arrived::Whole(part.data)
    }

    /// Links other than `conn` that are sending copies of `piece`; they stop being waited for.
    pub(crate) fn drop_copies(&mut self, conn: ConnId, piece: PieceIndex) -> Vec<ConnId> {
        let mut dropped = Vec::new();
        let others: Vec<_> = self.parts.keys().copied().filter(|other| *other != conn).collect();
        for other in others {
            if self.take_part(other, piece) {
                dropped.push(other);
            }
        }
        dropped
    }

    /// This link will not send this piece: somebody else may. Whether it was waited for.
    pub(crate) fn drop_piece(&mut self, conn: ConnId, piece: PieceIndex) -> bool {
        let dropped = self.take_part(conn, piece);
        if dropped {
            self.picker.release(piece);
        }
        dropped
    }

    /// Whether a piece was asked of a link that has sent nothing of it yet.
    pub(crate) fn is_untouched(&self, conn: ConnId, piece: PieceIndex) -> bool {
        let parts = self.parts.get(&conn).into_iter().flatten();
        parts.into_iter().any(|part| part.piece == piece && part.received == 0)
    }

    /// This link will send nothing more. The pieces that it was sending.
    pub(crate) fn drop_link(&mut self, conn: ConnId) -> Vec<PieceIndex> {
        let pieces: Vec<_> =
            self.parts.get(&conn).into_iter().flatten().map(|part| part.piece).collect();
        for piece in &pieces {
            self.drop_piece(conn, *piece);
        }
        self.parts.remove(&conn);
        pieces
    }

    fn take_part(&mut self, conn: ConnId, piece: PieceIndex) -> bool {
        let Some(parts) = self.parts.get_mut(&conn) else { return false };
        let Some(index) = parts.iter().position(|part| part.piece == piece) else { return false };
        let part = parts.swap_remove(index);
        self.discarded += u64::from(part.received);
        self.recycle(part.data);
        true
    }

    /// Takes a piece's buffer back.
    pub(crate) fn recycle(&mut self, data: Vec<u8>) {
        self.buffered = self.buffered.saturating_sub(data.len());
        // Keep no more than the budget may use again.
        if self.pool.len() * self.piece_size < self.budget {
            self.pool.push(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_what_was_called_off_does_not_count() {
        let geometry = Geometry::new(17, [1 << 17]).expect("one piece");
        let piece = geometry.piece(0).expect("the piece");
        let mut picker = Picker::new(1);
        picker.want(piece);
        picker.seed_joined();
        let mut transfer = Transfer::new(picker, &geometry, 1 << 20);
        let (conn, theirs, mut rng) = (ConnId(1), PieceSet::full(1), Rng::new(1));
        let mut ask = |transfer: &mut Transfer| {
            transfer.next_block(conn, &theirs, &geometry, |_| 1 << 16, &mut rng)
        };
        let half = vec![1; 1 << 16];
        ask(&mut transfer).expect("the first half");
        ask(&mut transfer).expect("the second half");
        transfer.drop_link(conn);
        ask(&mut transfer).expect("the first half again");
        let late = transfer.on_data(conn, piece, 1 << 16, 0, &half);
        assert_eq!(late, Arrived::Unwanted, "it will be asked for again");
        assert_eq!(transfer.on_data(conn, piece, 0, 0, &half), Arrived::Partly);
        ask(&mut transfer).expect("the second half again");
        let whole = transfer.on_data(conn, piece, 1 << 16, 0, &half);
        assert_eq!(whole, Arrived::Whole(vec![1; 1 << 17]));
        assert_eq!(transfer.discarded, 0, "nothing had come when it was called off");
    }

    #[test]
    fn bytes_of_what_is_called_off_are_counted() {
        let geometry = Geometry::new(17, [1 << 17]).expect("one piece");
        let piece = geometry.piece(0).expect("the piece");
        let mut picker = Picker::new(1);
        picker.want(piece);
        picker.seed_joined();
        let mut transfer = Transfer::new(picker, &geometry, 1 << 20);
        let (conn, theirs, mut rng) = (ConnId(1), PieceSet::full(1), Rng::new(1));
        transfer.next_block(conn, &theirs, &geometry, |_| 1 << 16, &mut rng).expect("a block");
        assert_eq!(transfer.on_data(conn, piece, 0, 0, &[1; 100]), Arrived::Partly);
        transfer.drop_link(conn);
        assert_eq!(transfer.discarded, 100);
    }
}
