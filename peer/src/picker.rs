//! Which piece to ask for next: rarest first, ties at random, duplicates only at the end.
//!
//! Knows pieces and how many peers hold them; no peer, connection or byte. Randomness is handed in.
//!
//! Invariant P1: each piece is in exactly one [`PieceState`].

use protocol::{PieceIndex, PieceSet};
use reactor::Rng;

/// Where a piece is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceState {
    /// Nobody was asked for it.
    Missing,
    /// So many peers are being asked for it, at least one.
    Assigned(u8),
    /// All its bytes are here, and the disk has them to hash and store.
    Received,
    /// Verified and on disk.
    Stored,
}

/// The pieces of one object that is being fetched.
#[derive(Debug)]
pub struct Picker {}

impl Picker {
    /// All pieces missing, none wanted, nobody known.
    pub fn new(piece_count: u32) -> Self {
        let _ = piece_count;
        todo!()
    }

    /// The piece is to be fetched.
    pub fn want(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }

    /// The piece is not to be fetched (any more); what is on its way goes on.
    pub fn unwant(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }

    /// Where a piece is.
    pub fn state(&self, piece: PieceIndex) -> PieceState {
        let _ = piece;
        todo!()
    }

    /// A peer that holds everything is there.
    pub fn seed_joined(&mut self) {
        todo!()
    }

    /// A peer that was counted with [`Picker::seed_joined`] is gone.
    pub fn seed_left(&mut self) {
        todo!()
    }

    /// A peer that holds these pieces is there.
    pub fn peer_joined(&mut self, theirs: &PieceSet) {
        let _ = theirs;
        todo!()
    }

    /// A peer that was counted with [`Picker::peer_joined`] is gone; `theirs` with all that it got since.
    pub fn peer_left(&mut self, theirs: &PieceSet) {
        let _ = theirs;
        todo!()
    }

    /// A peer that was counted with [`Picker::peer_joined`] holds one more piece.
    pub fn peer_have(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }

    /// The rarest missing wanted piece among `theirs`, any of them with the same chance; it is assigned.
    pub fn pick(&mut self, theirs: &PieceSet, rng: &mut Rng) -> Option<PieceIndex> {
        let _ = (theirs, rng);
        todo!()
    }

    /// One more source for a piece that is assigned already: the one that waits longest among `theirs`
    /// and not in `exclude` (what this peer is being asked for). Only when nothing is missing that
    /// anybody holds, at most three sources per piece, and only as long as duplicates stay below 2 % of
    /// all wanted pieces plus one for each peer.
    pub fn pick_endgame(
        &mut self,
        theirs: &PieceSet,
        exclude: impl Fn(PieceIndex) -> bool,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        let _ = (theirs, &exclude, rng);
        todo!()
    }

    /// One source of an assigned piece is lost or cancelled; without another one it is missing again.
    pub fn release(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }

    /// All bytes of an assigned piece are here. Its other sources need no release any more.
    pub fn received(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }

    /// A received piece was wrong or could not be written: it is missing again.
    pub fn rejected(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }

    /// A piece is verified and on disk, now or from an earlier run.
    pub fn stored(&mut self, piece: PieceIndex) {
        let _ = piece;
        todo!()
    }

    /// Whether all wanted pieces are stored.
    pub fn is_done(&self) -> bool {
        todo!()
    }

    /// Wanted pieces that nobody was asked for.
    pub fn missing(&self) -> u32 {
        todo!()
    }

    /// Wanted pieces that are not stored.
    pub fn remaining(&self) -> u32 {
        todo!()
    }

    /// Wanted pieces that are not here and that no peer holds.
    pub fn unavailable(&self) -> u32 {
        todo!()
    }

    /// How many peers hold the rarest wanted piece that is not stored; `None` if all are stored.
    pub fn rarest_availability(&self) -> Option<u32> {
        todo!()
    }
}
