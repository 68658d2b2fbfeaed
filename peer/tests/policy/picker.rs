//! The picker against a model that looks at every piece each time.

use peer::picker::{Picker, PieceState};
use proptest::prelude::*;
use protocol::{Geometry, PieceIndex, PieceSet};
use reactor::Rng;

fn pieces(count: u32) -> Vec<PieceIndex> {
    let geometry = Geometry::new(12, [u64::from(count) << 12]).unwrap();
    geometry.pieces().collect()
}

fn set(all: &[PieceIndex], of: impl IntoIterator<Item = usize>) -> PieceSet {
    let mut set = PieceSet::empty(u32::try_from(all.len()).unwrap());
    of.into_iter().for_each(|at| {
        set.insert(all[at]);
    });
    set
}

/// Everything wanted, nobody there.
fn picker(all: &[PieceIndex]) -> Picker {
    let mut picker = Picker::new(u32::try_from(all.len()).unwrap());
    all.iter().for_each(|piece| picker.want(*piece));
    picker
}

#[test]
fn the_rarest_go_first_and_ties_are_random() {
    let all = pieces(100);
    let mut first = [0; 100];
    for seed in 0..2000 {
        let mut picker = picker(&all);
        picker.seed_joined();
        // 0..60 are twice there, 60..80 three times, the rest once.
        picker.peer_joined(&set(&all, 0..80));
        picker.peer_joined(&set(&all, 60..80));
        let mut rng = Rng::new(seed);
        let full = PieceSet::full(100);
        let rare = picker.pick(&full, &mut rng).unwrap();
        assert!(rare.index() >= 80);
        first[rare.index()] += 1;
        let of_80 = picker.pick(&set(&all, 0..80), &mut rng).unwrap();
        assert!(of_80.index() < 60);
        picker.peer_left(&set(&all, 60..80));
        assert_eq!(picker.availability(all[70]), 2);
    }
    // 100 each on average; five standard deviations are 49.
    assert!(first[80..].iter().all(|n| (51..150).contains(n)), "{first:?}");
}

#[test]
fn the_largest_object_is_quick() {
    let all = pieces(262_144);
    let mut picker = picker(&all);
    let mut rng = Rng::new(1);
    let half = set(&all, (0..262_144).filter(|at| at % 2 == 0));
    for _ in 0..50 {
        picker.peer_joined(&half);
    }
    picker.seed_joined();
    let mut picked = PieceSet::empty(262_144);
    // Naively this would look at 10^9 pieces.
    for round in 0..4_000 {
        let theirs = if round % 2 == 0 { &half } else { &PieceSet::full(262_144) };
        assert!(picked.insert(picker.pick(theirs, &mut rng).unwrap()));
    }
    assert_eq!(picked.iter().filter(|piece| piece % 2 == 0).count(), 2_000);
}

#[test]
fn duplicates_come_last_and_stay_few() {
    let all = pieces(700);
    let mut picker = picker(&all);
    let mut rng = Rng::new(1);
    let full = PieceSet::full(700);
    for _ in 0..4 {
        picker.seed_joined();
    }
    let mut picked: Vec<_> = (0..699).map(|_| picker.pick(&full, &mut rng).unwrap()).collect();
    assert_eq!(picker.pick_endgame(&full, |_| false, &mut rng), None, "one is missing");
    picked.push(picker.pick(&full, &mut rng).unwrap());
    assert_eq!(picker.pick(&full, &mut rng), None);

    let held = set(&all, [picked[0].index(), picked[1].index()]);
    assert_eq!(picker.pick_endgame(&held, |piece| piece != picked[1], &mut rng), Some(picked[1]));
    assert_eq!(picker.pick_endgame(&held, |_| false, &mut rng), Some(picked[0]), "fewest sources");
    for _ in 0..2 {
        assert!(picker.pick_endgame(&held, |_| false, &mut rng).is_some());
    }
    assert_eq!(picker.state(picked[0]), PieceState::Assigned(3));
    assert_eq!(picker.pick_endgame(&held, |_| false, &mut rng), None, "three sources are enough");
    // 1 % of 700, and one, are 8; a source that is lost gives one back.
    let old = (0..4).filter_map(|_| picker.pick_endgame(&full, |_| false, &mut rng));
    let old: Vec<_> = old.collect();
    assert_eq!(old.len(), 4);
    assert!(old.iter().all(|piece| picked[..360].contains(piece)), "the longer waiting half");
    assert_eq!(picker.pick_endgame(&full, |_| false, &mut rng), None);
    // Twice as many when most of them will come but once.
    let called_off = (0..20).filter_map(|_| picker.pick_called_off(&full, |_| false, &mut rng));
    let called_off: Vec<_> = called_off.collect();
    assert_eq!(called_off.len(), 8);
    called_off.iter().for_each(|piece| picker.release(*piece));
    picker.release(old[0]);
    assert!(picker.pick_endgame(&full, |_| false, &mut rng).is_some());
}

#[test]
fn the_last_piece_waits_for_nobody_even_when_all_duplicates_are_spent() {
    let all = pieces(128);
    let mut picker = picker(&all);
    let mut rng = Rng::new(1);
    let full = PieceSet::full(128);
    picker.seed_joined();
    while picker.pick(&full, &mut rng).is_some() {}
    // As many are on their way as there may be.
    while picker.pick_called_off(&full, |piece| piece == all[5], &mut rng).is_some() {}
    let got = |picker: &mut Picker, pieces: &[PieceIndex]| {
        for piece in pieces {
            picker.received(*piece);
            picker.stored(*piece);
        }
    };
    got(&mut picker, &all[7..]);
    got(&mut picker, &all[..5]);
    assert_eq!(picker.pick_called_off(&full, |_| false, &mut rng), None, "another one is not here");
    got(&mut picker, &[all[6]]);
    assert_eq!(picker.pick_called_off(&full, |_| false, &mut rng), Some(all[5]));
    assert_eq!(picker.pick_endgame(&full, |_| false, &mut rng), Some(all[5]));
    assert_eq!(picker.state(all[5]), PieceState::Assigned(3));
    assert_eq!(picker.pick_endgame(&full, |_| false, &mut rng), None, "three sources are enough");
}

#[test]
fn the_endgame_begins_when_the_rest_is_nowhere() {
    let all = pieces(3);
    let mut picker = picker(&all);
    let mut rng = Rng::new(1);
    let theirs = set(&all, [0]);
    picker.peer_joined(&theirs);
    picker.peer_joined(&theirs);
    picker.pick(&theirs, &mut rng).unwrap();
    assert_eq!((picker.missing(), picker.unavailable()), (2, set(&all, [1, 2])));
    assert_eq!(picker.rarest_availability(), Some(0));
    assert_eq!(picker.pick_endgame(&theirs, |_| false, &mut rng), Some(all[0]));
    picker.seed_joined();
    assert_eq!((picker.unavailable().count(), picker.rarest_availability()), (0, Some(1)));
    assert_eq!(picker.pick_endgame(&theirs, |_| false, &mut rng), None);
}

/// Every piece's state by itself.
struct Model {
    wanted: Vec<bool>,
    state: Vec<PieceState>,
    peers: Vec<Option<PieceSet>>,
}

impl Model {
    fn availability(&self, piece: PieceIndex) -> u32 {
        let holds = |peer: &&Option<PieceSet>| peer.as_ref().is_none_or(|set| set.contains(piece));
        u32::try_from(self.peers.iter().filter(holds).count()).unwrap()
    }

    fn count(&self, of: impl Fn(usize) -> bool) -> u32 {
        u32::try_from((0..self.state.len()).filter(|at| self.wanted[*at] && of(*at)).count())
            .unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_picker_is_its_model(
        count in 1_u32..150,
        ops in prop::collection::vec((0_u8..13, any::<prop::sample::Index>(), any::<u64>()), 0..300),
    ) {
        let all = pieces(count);
        let mut picker = Picker::new(count);
        let len = all.len();
        let mut model = Model { wanted: vec![false; len], state: vec![PieceState::Missing; len], peers: vec![] };
        let mut rng = Rng::new(7);
        for (op, at, bits) in ops {
            let piece = all[at.index(len)];
            let state = &mut model.state[piece.index()];
            let some = || set(&all, (0..len).filter(|at| bits >> (at % 61) & 1 == 1));
            match op {
                0 | 1 => { picker.want(piece); model.wanted[piece.index()] = true; }
                2 => { picker.unwant(piece); model.wanted[piece.index()] = false; }
                3 => { picker.seed_joined(); model.peers.push(None); }
                4 => { picker.peer_joined(&some()); model.peers.push(Some(some())); }
                5 if !model.peers.is_empty() => {
                    match model.peers.swap_remove(at.index(model.peers.len())) {
                        None => picker.seed_left(),
                        Some(theirs) => picker.peer_left(&theirs),
                    }
                }
                6 => if let Some(theirs) = model.peers.iter_mut().flatten().next()
                    && theirs.insert(piece) { picker.peer_have(piece); },
                7 | 8 => {
                    let theirs = if bits % 2 == 0 { PieceSet::full(count) } else { some() };
                    let possible = || all.iter().copied().filter(|p| theirs.contains(*p)
                        && model.wanted[p.index()] && model.state[p.index()] == PieceState::Missing);
                    let least = possible().map(|p| model.availability(p)).min();
                    let picked = picker.pick(&theirs, &mut rng);
                    prop_assert!(picked.is_none_or(|p| possible().any(|q| p == q)));
                    prop_assert_eq!(picked.map(|p| model.availability(p)), least);
                    if let Some(p) = picked { model.state[p.index()] = PieceState::Assigned(1); }
                }
                9 => {
                    let picked = picker.pick_endgame(&PieceSet::full(count), |p| p == piece, &mut rng);
                    let Some(p) = picked else { continue };
                    prop_assert!(p != piece && model.wanted[p.index()]);
                    prop_assert_eq!(model.count(|at| model.state[at] == PieceState::Missing
                        && model.availability(all[at]) > 0), 0);
                    let PieceState::Assigned(n @ 1..=2) = model.state[p.index()] else { panic!("{p:?}") };
                    model.state[p.index()] = PieceState::Assigned(n + 1);
                }
                10 => {
                    picker.release(piece);
                    *state = match *state {
                        PieceState::Assigned(1) => PieceState::Missing,
                        PieceState::Assigned(n) => PieceState::Assigned(n - 1),
                        other => other,
                    };
                }
                11 => {
                    picker.received(piece);
                    if *state != PieceState::Stored { *state = PieceState::Received; }
                }
                12 if bits % 2 == 0 => {
                    picker.rejected(piece);
                    if *state == PieceState::Received { *state = PieceState::Missing; }
                }
                12 => { picker.stored(piece); *state = PieceState::Stored; }
                _ => {}
            }
            // [P1], and all that is counted.
            for piece in &all {
                prop_assert_eq!(picker.state(*piece), model.state[piece.index()]);
                prop_assert_eq!(picker.availability(*piece), model.availability(*piece));
            }
            let lacks = |at: usize| matches!(model.state[at], PieceState::Missing | PieceState::Assigned(_));
            prop_assert_eq!(picker.missing(), model.count(|at| model.state[at] == PieceState::Missing));
            prop_assert_eq!(picker.remaining(), model.count(|at| model.state[at] != PieceState::Stored));
            prop_assert_eq!(picker.is_done(), picker.remaining() == 0);
            let nowhere = (0..len).filter(|at| model.wanted[*at] && lacks(*at) && model.availability(all[*at]) == 0);
            prop_assert_eq!(picker.unavailable(), set(&all, nowhere));
            let rarest = (0..len).filter(|at| model.wanted[*at] && lacks(*at)).map(|at| model.availability(all[at])).min();
            prop_assert_eq!(picker.rarest_availability(), rarest);
        }
    }
}
