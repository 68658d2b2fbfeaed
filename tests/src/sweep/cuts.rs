//! Which parts of what is not durable a power cut is tried with.

use reactor::Rng;

use crate::disk::{CrashPoint, Fate};

/// How many ways of losing things are tried at one point.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// With up to so many pending operations, every subset of them.
    pub all_up_to: usize,
    /// With up to so many, every pair lost and every pair alone.
    pub pairs_up_to: usize,
    /// So many random ones, with torn writes, if not all subsets were tried.
    pub random: usize,
}

/// Fates for all pending operations of a point, way by way. All lost and all kept are among them; so are
/// all prefixes, each operation lost alone and kept alone, and each write torn in the middle.
pub(super) fn ways(point: &CrashPoint, effort: Effort, rng: &mut Rng) -> Vec<Vec<Fate>> {
    let count = point.pending();
    let mut ways = Vec::new();
    if count <= effort.all_up_to {
        let fate = |bits: usize, at: usize| {
            if bits >> at & 1 == 1 { Fate::Kept } else { Fate::Lost }
        };
        let subset = |bits| (0..count).map(|at| fate(bits, at)).collect();
        ways.extend((0..1 << count).map(subset));
    } else {
        some_subsets(count, effort, &mut ways);
    }
    tears(point, &mut ways);
    if count > 0 {
        ways.extend((0..effort.random).map(|_| (0..count).map(|_| Fate::draw(rng)).collect()));
    }
    ways
}

fn some_subsets(count: usize, effort: Effort, ways: &mut Vec<Vec<Fate>>) {
    let opposite = |of: Fate| if of == Fate::Lost { Fate::Kept } else { Fate::Lost };
    for at in 0..=count {
        let mut prefix = vec![Fate::Kept; at];
        prefix.resize(count, Fate::Lost);
        ways.push(prefix);
    }
    for others in [Fate::Kept, Fate::Lost] {
        for one in 0..count {
            let mut way = vec![others; count];
            way[one] = opposite(others);
            ways.push(way.clone());
            if count > effort.pairs_up_to {
                continue;
            }
            for two in one + 1..count {
                let mut pair = way.clone();
                pair[two] = opposite(others);
                ways.push(pair);
            }
        }
    }
}

/// Each write that has more than one sector: its first half, its second half, every other sector, and
/// all but one, with everything else kept and with everything else lost.
fn tears(point: &CrashPoint, ways: &mut Vec<Vec<Fate>>) {
    for at in 0..point.pending() {
        let sectors = point.sectors(at).min(64);
        if sectors < 2 {
            continue;
        }
        let first = (1u64 << (sectors / 2)) - 1;
        for bits in [first, !first, 0x5555_5555_5555_5555, !1, !(1 << (sectors - 1))] {
            for others in [Fate::Kept, Fate::Lost] {
                let mut way = vec![others; point.pending()];
                way[at] = Fate::Torn(bits);
                ways.push(way);
            }
        }
    }
}
