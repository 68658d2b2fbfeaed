//! Which piece to ask for next: rarest first, ties at random, duplicates only at the end.
//!
//! Knows pieces and how many peers hold them; no peer, connection or byte. Randomness is handed in.
//!
//! Invariant P1: each piece is in exactly one [`PieceState`].
//! Invariant P2: what can be picked is what is wanted and missing, no more and no less.

mod bits;

use std::collections::BTreeMap;

use protocol::{PieceIndex, PieceSet};
use reactor::Rng;

use bits::{Bits, Candidates, Counters};

/// Sources of one piece at the same time, in the endgame.
const MAX_SOURCES: u8 = 3;
/// One duplicate is allowed for so many wanted pieces, besides the spare ones.
const WANTED_PER_DUPLICATE: u32 = 100;
/// So many are allowed of the smallest object, too.
const SPARE_DUPLICATES: u32 = 1;

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

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The piece's checked number; known once the piece was named to us, as every wanted one was.
    index: Option<PieceIndex>,
    state: PieceState,
}

/// The pieces of one object that is being fetched. A transfer makes it with its geometry, tells it what
/// every member of the swarm holds, and drops it when the fetch ends.
#[derive(Debug)]
pub struct Picker {
    slots: Vec<Slot>,
    wanted: Bits,
    /// Wanted and missing.
    pickable: Bits,
    wanted_count: u32,
    pickable_count: u32,
    /// Wanted and not stored.
    remaining: u32,
    /// Assigned pieces by the order of their assignment, and the reverse.
    by_age: BTreeMap<u64, PieceIndex>,
    ages: BTreeMap<PieceIndex, u64>,
    next_age: u64,
    /// Peers that hold a part, counted piece by piece, and those that hold all.
    counters: Counters,
    partial_peers: u32,
    seeds: u32,
    /// Second and third sources that are on their way, or sent what another had sent already.
    duplicates: u32,
    scratch: Candidates,
}

impl Picker {
    /// All pieces missing, none wanted, nobody known.
    pub fn new(piece_count: u32) -> Self {
        let slot = Slot { index: None, state: PieceState::Missing };
        Self {
            slots: vec![slot; piece_count as usize],
            wanted: Bits::empty(piece_count),
            pickable: Bits::empty(piece_count),
            wanted_count: 0,
            pickable_count: 0,
            remaining: 0,
            by_age: BTreeMap::new(),
            ages: BTreeMap::new(),
            next_age: 0,
            counters: Counters::new(piece_count),
            partial_peers: 0,
            seeds: 0,
            duplicates: 0,
            scratch: Candidates::default(),
        }
    }

    /// The piece is to be fetched.
    pub fn want(&mut self, piece: PieceIndex) {
        let at = piece.index();
        self.slots[at].index = Some(piece);
        if !self.wanted.insert(at) {
            return;
        }
        self.wanted_count += 1;
        let state = self.slots[at].state;
        self.remaining += u32::from(state != PieceState::Stored);
        if state == PieceState::Missing {
            self.set_pickable(at, true);
        }
    }

    /// The piece is not to be fetched (any more); what is on its way goes on.
    pub fn unwant(&mut self, piece: PieceIndex) {
        let at = piece.index();
        if self.wanted.remove(at) {
            self.wanted_count -= 1;
            self.remaining -= u32::from(self.slots[at].state != PieceState::Stored);
            self.set_pickable(at, false);
        }
    }

    /// Where a piece is.
    pub fn state(&self, piece: PieceIndex) -> PieceState {
        self.slots[piece.index()].state
    }

    /// A peer that holds everything is there.
    pub fn seed_joined(&mut self) {
        self.seeds += 1;
    }

    /// A peer that was counted with [`Picker::seed_joined`] is gone.
    pub fn seed_left(&mut self) {
        debug_assert!(self.seeds > 0, "a seed left that never came");
        self.seeds = self.seeds.saturating_sub(1);
    }

    /// A peer that holds these pieces is there.
    pub fn peer_joined(&mut self, theirs: &PieceSet) {
        self.partial_peers += 1;
        self.counters.add(theirs);
    }

    /// A peer that was counted with [`Picker::peer_joined`] is gone; `theirs` with all that it got since.
    pub fn peer_left(&mut self, theirs: &PieceSet) {
        debug_assert!(self.partial_peers > 0, "a peer left that never came");
        self.partial_peers = self.partial_peers.saturating_sub(1);
        self.counters.subtract(theirs);
    }

    /// A peer that was counted with [`Picker::peer_joined`] holds one more piece.
    pub fn peer_have(&mut self, piece: PieceIndex) {
        self.counters.add_one(piece.index());
    }

    /// How many peers hold a piece.
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.seeds + self.counters.get(piece.index())
    }

    /// The rarest missing wanted piece among `theirs`, any of them with the same chance; it is assigned.
    pub fn pick(&mut self, theirs: &PieceSet, rng: &mut Rng) -> Option<PieceIndex> {
        if self.pickable_count == 0 {
            return None;
        }
        self.scratch.collect(&self.pickable, theirs);
        self.counters.keep_rarest(&mut self.scratch);
        let at = self.scratch.choose(rng)?;
        let piece = self.slots[at].index.expect("a wanted piece was named when it was wanted");
        self.set_state(piece, PieceState::Assigned(1));
        Some(piece)
    }

    /// One more source for a piece that is assigned already, among `theirs` and not in `exclude` (what
    /// this peer is being asked for, and what may soon be here anyway): any of the longer waiting half of
    /// those with the fewest sources. Only when nothing is missing that anybody holds, at most three
    /// sources per piece, and only as long as duplicates stay below 1 % of all wanted pieces plus one.
    /// The last piece of all may have its sources anyway: a source that is far slower than the rest would
    /// otherwise keep the fetch for itself, with all others idle.
    pub fn pick_endgame(
        &mut self,
        theirs: &PieceSet,
        exclude: impl Fn(PieceIndex) -> bool,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        if !self.may_double(self.duplicates_allowed()) {
            return None;
        }
        self.one_more_source(theirs, exclude, rng)
    }

    /// As [`Picker::pick_endgame`], of pieces that were called off at their source, which has sent nothing
    /// and not answered: as most of them will come but once, there may be twice as many.
    pub fn pick_called_off(
        &mut self,
        theirs: &PieceSet,
        exclude: impl Fn(PieceIndex) -> bool,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        if !self.may_double(2 * self.duplicates_allowed()) {
            return None;
        }
        let piece = self.one_more_source(theirs, exclude, rng)?;
        mark!("called-off-asked-elsewhere");
        Some(piece)
    }

    fn may_double(&self, most: u32) -> bool {
        self.duplicates < most || self.remaining == 1
    }

    fn duplicates_allowed(&self) -> u32 {
        self.wanted_count / WANTED_PER_DUPLICATE + SPARE_DUPLICATES
    }

    fn one_more_source(
        &mut self,
        theirs: &PieceSet,
        exclude: impl Fn(PieceIndex) -> bool,
        rng: &mut Rng,
    ) -> Option<PieceIndex> {
        if self.by_age.is_empty() || self.anything_pickable() {
            return None;
        }
        let open: Vec<(u8, PieceIndex)> = self
            .by_age
            .values()
            .filter_map(|piece| match self.state(*piece) {
                PieceState::Assigned(sources) if sources < MAX_SOURCES => Some((sources, *piece)),
                _ => None,
            })
            .filter(|(_, piece)| self.wanted.contains(piece.index()))
            .filter(|(_, piece)| theirs.contains(*piece) && !exclude(*piece))
            .collect();
        let fewest = open.iter().map(|(sources, _)| *sources).min()?;
        let waiting: Vec<_> = open.iter().filter(|(sources, _)| *sources == fewest).collect();
        // Not simply the oldest: peers answer in order, so that one is the next to come by itself.
        let (sources, piece) = *waiting[rng.index(waiting.len().div_ceil(2))];
        mark!("endgame-duplicate");
        self.duplicates += 1;
        self.slots[piece.index()].state = PieceState::Assigned(sources + 1);
        Some(piece)
    }

    /// One source of an assigned piece is lost or cancelled; without another one it is missing again.
    pub fn release(&mut self, piece: PieceIndex) {
        match self.state(piece) {
            PieceState::Assigned(1) => self.set_state(piece, PieceState::Missing),
            PieceState::Assigned(sources) => {
                // The rest of them is no duplicate of anything.
                self.duplicates -= 1;
                self.slots[piece.index()].state = PieceState::Assigned(sources - 1);
            }
            PieceState::Missing | PieceState::Received | PieceState::Stored => {}
        }
    }

    /// All bytes of an assigned piece are here. Its other sources need no release any more.
    pub fn received(&mut self, piece: PieceIndex) {
        if matches!(self.state(piece), PieceState::Missing | PieceState::Assigned(_)) {
            self.set_state(piece, PieceState::Received);
        }
    }

    /// A received piece was wrong or could not be written: it is missing again.
    pub fn rejected(&mut self, piece: PieceIndex) {
        if self.state(piece) == PieceState::Received {
            self.set_state(piece, PieceState::Missing);
        }
    }

    /// A piece is verified and on disk, now or from an earlier run.
    pub fn stored(&mut self, piece: PieceIndex) {
        if self.state(piece) != PieceState::Stored {
            self.set_state(piece, PieceState::Stored);
            self.remaining -= u32::from(self.wanted.contains(piece.index()));
        }
    }

    /// Whether all wanted pieces are stored.
    pub fn is_done(&self) -> bool {
        self.remaining == 0
    }

    /// Wanted pieces that nobody was asked for.
    pub fn missing(&self) -> u32 {
        self.pickable_count
    }

    /// Wanted pieces that are not stored.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Wanted pieces that are not here and that no peer holds.
    pub fn unavailable(&self) -> PieceSet {
        let len = u32::try_from(self.slots.len()).expect("no more than pieces");
        let mut unavailable = PieceSet::empty(len);
        if self.seeds > 0 {
            return unavailable;
        }
        let mut nowhere = Candidates::default();
        nowhere.collect_all(&self.pickable);
        self.counters.keep_uncounted(&mut nowhere);
        let missing = nowhere.iter().filter_map(|at| self.slots[at].index);
        let assigned = self.wanted_assigned().filter(|piece| self.availability(*piece) == 0);
        for piece in missing.chain(assigned) {
            unavailable.insert(piece);
        }
        unavailable
    }

    /// How many peers hold the rarest wanted piece that is not here; `None` if all are.
    pub fn rarest_availability(&self) -> Option<u32> {
        let mut rarest = Candidates::default();
        rarest.collect_all(&self.pickable);
        self.counters.keep_rarest(&mut rarest);
        let missing = rarest.first().map(|at| self.seeds + self.counters.get(at));
        let assigned = self.wanted_assigned().map(|piece| self.availability(piece)).min();
        missing.into_iter().chain(assigned).min()
    }

    /// Whether there are missing wanted pieces that peers with everything hold, and nobody else.
    pub fn only_seeds_hold_some(&mut self) -> bool {
        if self.seeds == 0 || self.pickable_count == 0 {
            return false;
        }
        self.scratch.collect_all(&self.pickable);
        self.counters.keep_uncounted(&mut self.scratch);
        self.scratch.count() > 0
    }

    fn wanted_assigned(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.by_age.values().copied().filter(|piece| self.wanted.contains(piece.index()))
    }

    fn anything_pickable(&mut self) -> bool {
        if self.pickable_count == 0 || self.seeds > 0 {
            return self.pickable_count > 0;
        }
        self.scratch.collect_all(&self.pickable);
        self.counters.keep_uncounted(&mut self.scratch);
        self.scratch.count() < self.pickable_count
    }

    /// The only way from one state to another, but for the number of sources. (P1)
    fn set_state(&mut self, piece: PieceIndex, state: PieceState) {
        let at = piece.index();
        self.slots[at] = Slot { index: Some(piece), state };
        if let Some(age) = self.ages.remove(&piece) {
            self.by_age.remove(&age);
        }
        if matches!(state, PieceState::Assigned(_)) {
            self.ages.insert(piece, self.next_age);
            self.by_age.insert(self.next_age, piece);
            self.next_age += 1;
        }
        self.set_pickable(at, state == PieceState::Missing && self.wanted.contains(at));
    }

    fn set_pickable(&mut self, at: usize, pickable: bool) {
        if pickable {
            self.pickable_count += u32::from(self.pickable.insert(at));
        } else {
            self.pickable_count -= u32::from(self.pickable.remove(at));
        }
    }
}
