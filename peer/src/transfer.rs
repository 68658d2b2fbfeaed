//! One object on its way in: which piece comes from whom, and how far it has come.
//!
//! A piece has one source at a time, so that a wrong one has one culprit; in the endgame a second source
//! sends a copy of its own, and the first whole copy wins. Knows links by their ids only; picks through
//! [`Picker`]. Invariant T1: the bytes of all buffers, with links and with the disk, stay below the
//! budget plus one piece.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::{BlockRef, Geometry, PieceIndex, PieceSet};
use reactor::{ConnId, Rng, Time};

use crate::picker::{Picker, PieceState};

/// How long a piece takes from request to last byte, as long as none has shown it.
const FIRST_GUESS: Duration = Duration::from_millis(500);
/// After so many times that, in the endgame, a copy is asked of somebody else.
const LATE: u32 = 3;
/// No piece is called late earlier than this.
const MIN_WAIT: Duration = Duration::from_millis(100);

/// A piece on its way from one link.
#[derive(Debug)]
struct Part {
    piece: PieceIndex,
    asked_at: Time,
    /// The link that would rather be asked, if this one has not begun.
    recalled_for: Option<ConnId>,
    data: Vec<u8>,
    /// Bytes from the start of the piece that were asked for.
    requested: u32,
    /// Where the blocks begin that were asked for.
    asked: Vec<u32>,
    /// Bytes of them that came; blocks may come in any order.
    received: u32,
}

impl Part {
    /// Nothing came, and nobody else is to be asked yet.
    fn waits(&self) -> bool {
        self.received == 0 && self.recalled_for.is_none()
    }
}

fn has(parts: &[Part], piece: PieceIndex) -> bool {
    parts.iter().any(|part| part.piece == piece)
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
    /// How long a piece takes from request to last byte, on the average of the last ones.
    usual: Duration,
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
            usual: FIRST_GUESS,
        }
    }

    /// The next block to ask this link for. `block_len` says how much to ask for at once in a piece of
    /// that length.
    pub(crate) fn next_block(
        &mut self,
        now: Time,
        conn: ConnId,
        theirs: &PieceSet,
        geometry: &Geometry,
        block_len: impl Fn(u32) -> u32,
        rng: &mut Rng,
    ) -> Option<BlockRef> {
        let at = match self.begun(conn) {
            Some(at) => at,
            None => {
                if !self.has_room() {
                    mark!("buffers-full");
                    return None;
                }
                let piece = self.picker.pick(theirs, rng)?;
                self.begin(now, conn, piece, geometry)
            }
        };
        let part = self.parts.get_mut(&conn)?.get_mut(at)?;
        let piece_len = geometry.span(part.piece).len;
        let len = block_len(piece_len).clamp(1, piece_len - part.requested);
        let block = geometry.block(part.piece, part.requested, len)?;
        part.asked.push(part.requested);
        part.requested += len;
        Some(block)
    }

    /// Whether a part of a piece was asked of this link, and the rest was not yet.
    pub(crate) fn has_begun(&self, conn: ConnId) -> bool {
        self.begun(conn).is_some()
    }

    fn begun(&self, conn: ConnId) -> Option<usize> {
        let parts = self.parts.get(&conn)?;
        parts.iter().position(|part| (part.requested as usize) < part.data.len())
    }

    /// Whether another piece fits into the budget.
    fn has_room(&self) -> bool {
        // Counts whole pieces, so that many small ones do not pile up without bound either.
        self.buffered + self.piece_size <= self.budget
    }

    fn begin(&mut self, now: Time, conn: ConnId, piece: PieceIndex, geometry: &Geometry) -> usize {
        let len = geometry.span(piece).len as usize;
        let mut data = self.pool.pop().unwrap_or_default();
        data.resize(len, 0);
        self.buffered += len;
        let parts = self.parts.entry(conn).or_default();
        let asked = Vec::new();
        let (requested, received) = (0, 0);
        let recalled_for = None;
        parts.push(Part { piece, asked_at: now, recalled_for, data, requested, asked, received });
        parts.len() - 1
    }

    /// For a link that has nothing to do: a piece that it holds, and that waits for its turn at another
    /// link for half of the usual time or longer; the one that waits longest, and where.
    pub(crate) fn longest_waiting(
        &self,
        now: Time,
        conn: ConnId,
        theirs: &PieceSet,
    ) -> Option<(ConnId, PieceIndex)> {
        if self.parts.values().flatten().any(|part| part.recalled_for == Some(conn)) {
            return None;
        }
        let others = self.parts.iter().filter(|(other, _)| **other != conn);
        let parts = others.flat_map(|(other, parts)| parts.iter().map(move |part| (*other, part)));
        parts
            .filter(|(_, part)| part.waits() && theirs.contains(part.piece))
            .filter(|(_, part)| now.since(part.asked_at) >= (self.usual / 2).max(MIN_WAIT))
            .filter(|(_, part)| self.picker.state(part.piece) == PieceState::Assigned(1))
            .min_by_key(|(_, part)| part.asked_at)
            .map(|(other, part)| (other, part.piece))
    }

    /// Notes that a piece is to be asked of `heir` instead, if `conn` says that it has not begun.
    pub(crate) fn recall(&mut self, conn: ConnId, piece: PieceIndex, heir: ConnId) {
        let mut parts = self.parts.get_mut(&conn).into_iter().flatten();
        if let Some(part) = parts.find(|part| part.piece == piece) {
            part.recalled_for = Some(heir);
        }
    }

    /// A link does not send a block of a recalled piece. If it has begun the piece, and so goes on with it,
    /// that block and those behind it are to be asked for again; whether it is so.
    pub(crate) fn goes_on(&mut self, conn: ConnId, piece: PieceIndex, begin: u32) -> bool {
        let mut parts = self.parts.get_mut(&conn).into_iter().flatten();
        let recalled = |part: &&mut Part| part.piece == piece && part.recalled_for.is_some();
        // Blocks are refused in order, so the first one is on its way if another one is refused first.
        let Some(part) = parts.find(recalled).filter(|_| begin > 0) else { return false };
        part.requested = part.requested.min(begin);
        part.asked.retain(|asked| *asked < begin);
        true
    }

    /// Who is to be asked for a piece instead of `conn`, if anybody.
    pub(crate) fn heir(&self, conn: ConnId, piece: PieceIndex) -> Option<ConnId> {
        let mut parts = self.parts.get(&conn)?.iter();
        parts.find(|part| part.piece == piece)?.recalled_for
    }

    /// Asks this link for a copy of a piece that is late, or that was called off at a link which has not
    /// even answered that, at the end when nothing else is left to ask for. Whether there is one.
    pub(crate) fn begin_copy(
        &mut self,
        now: Time,
        conn: ConnId,
        theirs: &PieceSet,
        geometry: &Geometry,
        rng: &mut Rng,
    ) -> bool {
        if !self.has_room() {
            return false;
        }
        let called_off = |part: &Part| part.received == 0 && part.recalled_for.is_some();
        let called_off = self.asked_before(now, self.usual, conn, called_off);
        let late = self.asked_before(now, self.usual * LATE, conn, |_| true);
        let mut piece = None;
        if !called_off.is_empty() {
            piece = self.picker.pick_called_off(theirs, |piece| !called_off.contains(&piece), rng);
        }
        if piece.is_none() && !late.is_empty() {
            piece = self.picker.pick_endgame(theirs, |piece| !late.contains(&piece), rng);
        }
        let Some(piece) = piece else { return false };
        self.begin(now, conn, piece, geometry);
        true
    }

    /// Pieces that are awaited for so long, or [`MIN_WAIT`] if that is longer, and not from `conn`.
    fn asked_before(
        &self,
        now: Time,
        wait: Duration,
        conn: ConnId,
        which: impl Fn(&Part) -> bool,
    ) -> BTreeSet<PieceIndex> {
        let asked = |part: &&Part| now.since(part.asked_at) >= wait.max(MIN_WAIT) && which(part);
        let asked = self.parts.values().flatten().filter(asked).map(|part| part.piece);
        let mine = |piece| self.parts.get(&conn).is_some_and(|parts| has(parts, piece));
        asked.filter(|piece| !mine(*piece)).collect()
    }

    /// Where bytes belong: `offset` counts from `begin`, where their block begins. `None` if nobody waits for
    /// them any more. The session vouches that they were asked for at some time and that no byte of an answer
    /// comes twice; answers to what was asked for before this piece was given up and begun anew do not count,
    /// because it is asked for again.
    pub(crate) fn place(
        &mut self,
        conn: ConnId,
        piece: PieceIndex,
        begin: u32,
        offset: u32,
        len: usize,
    ) -> Option<&mut [u8]> {
        let part = self.parts.get_mut(&conn)?.iter_mut().find(|part| part.piece == piece)?;
        let start = begin as usize + offset as usize;
        let place = part.data.get_mut(start..start + len)?;
        part.asked.contains(&begin).then_some(place)
    }

    /// Puts bytes where they belong, see [`Transfer::place`].
    pub(crate) fn on_data(
        &mut self,
        now: Time,
        conn: ConnId,
        piece: PieceIndex,
        begin: u32,
        offset: u32,
        bytes: &[u8],
    ) -> Arrived {
        let Some(place) = self.place(conn, piece, begin, offset, bytes.len()) else {
            return Arrived::Unwanted;
        };
        place.copy_from_slice(bytes);
        let len = u32::try_from(bytes.len()).expect("bytes of a piece");
        self.on_placed(now, conn, piece, len)
    }

    /// So many bytes were put in their [`Transfer::place`].
    pub(crate) fn on_placed(
        &mut self,
        now: Time,
        conn: ConnId,
        piece: PieceIndex,
        len: u32,
    ) -> Arrived {
        let Some(parts) = self.parts.get_mut(&conn) else { return Arrived::Unwanted };
        let Some(index) = parts.iter().position(|part| part.piece == piece) else {
            return Arrived::Unwanted;
        };
        let part = &mut parts[index];
        part.received += len;
        if (part.received as usize) < part.data.len() {
            return Arrived::Partly;
        }
        let part = parts.swap_remove(index);
        self.usual = (self.usual * 7 + now.since(part.asked_at)) / 8;
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

    /// The only link that a piece was asked of, if that has sent nothing of it yet.
    pub(crate) fn waits_at(&self, piece: PieceIndex) -> Option<ConnId> {
        if self.picker.state(piece) != PieceState::Assigned(1) {
            return None;
        }
        let mut parts = self.parts.iter();
        let waits = |part: &Part| part.piece == piece && part.waits();
        parts.find(|(_, parts)| parts.iter().any(waits)).map(|(conn, _)| *conn)
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

    /// Of an object of one piece of 128 KiB, which one seed holds.
    fn one_piece() -> (Transfer, Geometry, PieceIndex) {
        let geometry = Geometry::new(17, [1 << 17]).expect("one piece");
        let piece = geometry.piece(0).expect("the piece");
        let mut picker = Picker::new(1);
        picker.want(piece);
        picker.seed_joined();
        let transfer = Transfer::new(picker, &geometry, 1 << 20);
        (transfer, geometry, piece)
    }

    #[test]
    fn an_answer_to_what_was_called_off_does_not_count() {
        let (mut transfer, geometry, piece) = one_piece();
        let (conn, theirs, mut rng) = (ConnId(1), PieceSet::full(1), Rng::new(1));
        let mut ask = |transfer: &mut Transfer| {
            transfer.next_block(Time::ZERO, conn, &theirs, &geometry, |_| 1 << 16, &mut rng)
        };
        let half = vec![1; 1 << 16];
        ask(&mut transfer).expect("the first half");
        ask(&mut transfer).expect("the second half");
        transfer.drop_link(conn);
        ask(&mut transfer).expect("the first half again");
        let late = transfer.on_data(Time::ZERO, conn, piece, 1 << 16, 0, &half);
        assert_eq!(late, Arrived::Unwanted, "it will be asked for again");
        assert_eq!(transfer.on_data(Time::ZERO, conn, piece, 0, 0, &half), Arrived::Partly);
        ask(&mut transfer).expect("the second half again");
        let whole = transfer.on_data(Time::ZERO, conn, piece, 1 << 16, 0, &half);
        assert_eq!(whole, Arrived::Whole(vec![1; 1 << 17]));
        assert_eq!(transfer.discarded, 0, "nothing had come when it was called off");
    }

    #[test]
    fn who_does_not_answer_a_cancel_is_not_waited_for() {
        let (mut transfer, geometry, piece) = one_piece();
        let (slow, idle, theirs, mut rng) = (ConnId(1), ConnId(2), PieceSet::full(1), Rng::new(1));
        let block =
            transfer.next_block(Time::ZERO, slow, &theirs, &geometry, |_| 1 << 17, &mut rng);
        assert!(block.is_some());
        let mut copies_at = |transfer: &mut Transfer, wait| {
            transfer.begin_copy(Time::ZERO + wait, idle, &theirs, &geometry, &mut rng)
        };
        assert!(!copies_at(&mut transfer, FIRST_GUESS), "that is the usual time");
        transfer.recall(slow, piece, idle);
        assert!(!copies_at(&mut transfer, FIRST_GUESS / 2), "the answer may be on its way");
        assert!(copies_at(&mut transfer, FIRST_GUESS));
        assert!(!copies_at(&mut transfer, FIRST_GUESS * 9), "it is asked for here already");
        // Its answer comes after all: the copy is the only one now.
        assert!(transfer.drop_piece(slow, piece));
        assert_eq!(transfer.picker.state(piece), PieceState::Assigned(1));
    }

    #[test]
    fn bytes_of_what_is_called_off_are_counted() {
        let (mut transfer, geometry, piece) = one_piece();
        let (conn, theirs, mut rng) = (ConnId(1), PieceSet::full(1), Rng::new(1));
        let (now, len) = (Time::ZERO, |_| 1 << 16);
        transfer.next_block(now, conn, &theirs, &geometry, len, &mut rng).expect("a block");
        assert_eq!(transfer.on_data(now, conn, piece, 0, 0, &[1; 100]), Arrived::Partly);
        transfer.drop_link(conn);
        assert_eq!(transfer.discarded, 100);
    }
}
