//! Sets of pieces as words, and a counter per piece as bit planes over the same words.
//!
//! Numbers only. Adding a whole set to all counters and finding the smallest ones among some pieces
//! take a pass over the words for each plane, about log2(peers) of them, whatever the sets are: some
//! microseconds for the largest object, and no per-piece bookkeeping that could go stale.

use protocol::PieceSet;
use reactor::Rng;

const WORD: usize = 64;

/// A set of pieces. Piece 0 is the most significant bit of the first word, as in a BITMAP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn empty(len: u32) -> Self {
        Self(vec![0; (len as usize).div_ceil(WORD)])
    }

    pub(super) fn contains(&self, at: usize) -> bool {
        self.0.get(at / WORD).is_some_and(|word| word & bit(at) != 0)
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, at: usize) -> bool {
        let word = &mut self.0[at / WORD];
        let new = *word & bit(at) == 0;
        *word |= bit(at);
        new
    }

    /// Whether it was in.
    pub(super) fn remove(&mut self, at: usize) -> bool {
        let word = &mut self.0[at / WORD];
        let was_in = *word & bit(at) != 0;
        *word &= !bit(at);
        was_in
    }

    fn words(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.iter().copied().enumerate().filter(|(_, word)| *word != 0)
    }
}

/// Some pieces in play: only the words that are not empty.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<(usize, u64)>);

impl Candidates {
    /// What is in both sets.
    pub(super) fn collect(&mut self, ours: &Bits, theirs: &PieceSet) {
        self.0.clear();
        let theirs = theirs.as_bytes();
        let both = ours.words().map(|(at, word)| (at, word & word_of(theirs, at)));
        self.0.extend(both.filter(|(_, word)| *word != 0));
    }

    pub(super) fn collect_all(&mut self, ours: &Bits) {
        self.0.clear();
        self.0.extend(ours.words());
    }

    /// One of them, each with the same chance.
    pub(super) fn choose(&self, rng: &mut Rng) -> Option<usize> {
        let count: usize = self.0.iter().map(|(_, word)| word.count_ones() as usize).sum();
        if count == 0 {
            return None;
        }
        let mut nth = rng.index(count);
        for &(at, word) in &self.0 {
            let here = word.count_ones() as usize;
            if nth < here {
                let rest = (0..nth).fold(word, |word, _| word & !first_bit(word));
                return Some(at * WORD + rest.leading_zeros() as usize);
            }
            nth -= here;
        }
        None
    }

    pub(super) fn first(&self) -> Option<usize> {
        self.0.first().map(|(at, word)| at * WORD + word.leading_zeros() as usize)
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|(_, word)| word.count_ones()).sum()
    }

    /// All of them, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flat_map(|(at, word)| {
            let (at, word) = (*at, *word);
            (0..WORD).filter(move |i| word & bit(*i) != 0).map(move |i| at * WORD + i)
        })
    }

    /// Keeps those that are not in `plane`; `only_if_any`: unless that leaves none.
    fn keep_outside(&mut self, plane: &[u64], only_if_any: bool) {
        if only_if_any && !self.0.iter().any(|(at, word)| word & !plane[*at] != 0) {
            return;
        }
        self.0.retain_mut(|(at, word)| {
            *word &= !plane[*at];
            *word != 0
        });
    }
}

/// How often each piece was counted. Plane `k` holds bit `k` of every piece's number.
#[derive(Debug)]
pub(super) struct Counters {
    planes: Vec<Vec<u64>>,
    words: usize,
}

impl Counters {
    pub(super) fn new(len: u32) -> Self {
        Self { planes: Vec::new(), words: (len as usize).div_ceil(WORD) }
    }

    /// Counts each piece of the set once more.
    pub(super) fn add(&mut self, set: &PieceSet) {
        for at in 0..self.words {
            self.add_word(at, word_of(set.as_bytes(), at));
        }
    }

    pub(super) fn add_one(&mut self, at: usize) {
        self.add_word(at / WORD, bit(at));
    }

    /// Counts each piece of the set once less; what was never counted stays at nothing.
    pub(super) fn subtract(&mut self, set: &PieceSet) {
        for at in 0..self.words {
            let mut borrow = word_of(set.as_bytes(), at);
            for plane in &mut self.planes {
                if borrow == 0 {
                    break;
                }
                let digit = plane[at];
                plane[at] = digit ^ borrow;
                borrow &= !digit;
            }
            debug_assert_eq!(borrow, 0, "a piece left that never came, word {at}");
            if borrow != 0 {
                self.planes.iter_mut().for_each(|plane| plane[at] &= !borrow);
            }
        }
    }

    pub(super) fn get(&self, at: usize) -> u32 {
        let digits = self.planes.iter().enumerate();
        digits.map(|(k, plane)| u32::from(plane[at / WORD] & bit(at) != 0) << k).sum()
    }

    /// Keeps the candidates that were counted least.
    pub(super) fn keep_rarest(&self, among: &mut Candidates) {
        for plane in self.planes.iter().rev() {
            among.keep_outside(plane, true);
        }
    }

    /// Keeps the candidates that were never counted.
    pub(super) fn keep_uncounted(&self, among: &mut Candidates) {
        for plane in &self.planes {
            among.keep_outside(plane, false);
        }
    }

    fn add_word(&mut self, at: usize, mut carry: u64) {
        let mut k = 0;
        while carry != 0 {
            if k == self.planes.len() {
                self.planes.push(vec![0; self.words]);
            }
            let digit = &mut self.planes[k][at];
            let overflow = *digit & carry;
            *digit ^= carry;
            carry = overflow;
            k += 1;
        }
    }
}

fn bit(at: usize) -> u64 {
    (1 << (WORD - 1)) >> (at % WORD)
}

fn first_bit(word: u64) -> u64 {
    (1_u64 << (WORD - 1)).checked_shr(word.leading_zeros()).unwrap_or(0)
}

/// A word of a BITMAP's bytes; nothing beyond their end.
fn word_of(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at * 8..).unwrap_or(&[]);
    match bytes.first_chunk::<8>() {
        Some(whole) => u64::from_be_bytes(*whole),
        None => {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(word)
        }
    }
}
