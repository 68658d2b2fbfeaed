//! The SHA-256 block function on two independent messages at once, through the SHA instructions of x86.
//!
//! One message is one chain in which each instruction waits for the one before, so the unit that carries
//! out the SHA instructions is idle half of the time. The rounds of a second message fill the gaps.
//!
//! Invariant X1: [`Sha`] exists only on a processor that has the instructions used here. Nothing else
//! about this file is unsafe: blocks and states go in and out by value, never by address.

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi8, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::{Block, State};

/// Says that the processor has the SHA instructions, and what comes with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sha(());

impl Sha {
    /// Asks the processor; the answer is remembered by the standard library.
    pub(super) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        there.then_some(Self(()))
    }

    /// Takes each pair of blocks into the two states: the first of `a` and the first of `b`, and so on,
    /// as long as both have one.
    #[allow(unsafe_code, reason = "the SHA instructions are not on every x86 processor")]
    pub(super) fn compress_pair(self, a: (&mut State, &[Block]), b: (&mut State, &[Block])) {
        // SAFETY: `compress_pair` is safe but for needing a processor with `sha`, `ssse3` and `sse4.1`;
        // `self` was made by `detect`, which found all three (X1).
        unsafe { compress_pair(a.0, a.1, b.0, b.1) }
    }
}

/// A state in the order in which the instructions want it.
#[derive(Clone, Copy)]
struct Lane {
    abef: __m128i,
    cdgh: __m128i,
}

/// Sixteen words of the message schedule, of which the oldest four are replaced in turn.
type Words = [__m128i; 4];

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress_pair(a: &mut State, a_blocks: &[Block], b: &mut State, b_blocks: &[Block]) {
    let (mut a_lane, mut b_lane) = (load(a), load(b));
    for (a_block, b_block) in a_blocks.iter().zip(b_blocks) {
        let (a_before, b_before) = (a_lane, b_lane);
        let (mut a_words, mut b_words) = (words(a_block), words(b_block));
        // Written out by a macro, since a loop that is not unrolled keeps the words in memory.
        macro_rules! four_rounds {
            ($($index:literal)*) => {$(
                if $index >= 4 {
                    extend::<$index>(&mut a_words);
                    extend::<$index>(&mut b_words);
                }
                let a_sum = _mm_add_epi32(a_words[$index % 4], constant(&K[$index]));
                let b_sum = _mm_add_epi32(b_words[$index % 4], constant(&K[$index]));
                two_rounds(&mut a_lane, a_sum);
                two_rounds(&mut b_lane, b_sum);
                two_rounds(&mut a_lane, _mm_shuffle_epi32::<UPPER_HALF>(a_sum));
                two_rounds(&mut b_lane, _mm_shuffle_epi32::<UPPER_HALF>(b_sum));
            )*};
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        a_lane = add(a_lane, a_before);
        b_lane = add(b_lane, b_before);
    }
    *a = store(a_lane);
    *b = store(b_lane);
}

/// Brings the upper two words of four down.
const UPPER_HALF: i32 = 0b_00_00_11_10;

/// Two rounds with the lower two words of `sum`, which are words of the schedule plus their constants.
/// After them, what was `abef` is `cdgh`.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn two_rounds(lane: &mut Lane, sum: __m128i) {
    let abef = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, sum);
    *lane = Lane { abef, cdgh: lane.abef };
}

/// Replaces the four oldest words by the four that follow the newest. `INDEX` counts in fours.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn extend<const INDEX: usize>(words: &mut Words) {
    let [oldest, older, newer, newest] =
        [words[INDEX % 4], words[(INDEX + 1) % 4], words[(INDEX + 2) % 4], words[(INDEX + 3) % 4]];
    let sum = _mm_sha256msg1_epu32(oldest, older);
    let sum = _mm_add_epi32(sum, _mm_alignr_epi8::<4>(newest, newer));
    words[INDEX % 4] = _mm_sha256msg2_epu32(sum, newest);
}

/// A block's sixteen words, which are big-endian.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn words(block: &Block) -> Words {
    let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let mut words = [swap; 4];
    for (words, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
        // The compiler makes one load of it.
        let (halves, _) = bytes.as_chunks::<8>();
        let four = _mm_set_epi64x(i64::from_le_bytes(halves[1]), i64::from_le_bytes(halves[0]));
        *words = _mm_shuffle_epi8(four, swap);
    }
    words
}

/// Four words, the lowest first.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn constant(four: &[u32; 4]) -> __m128i {
    let [a, b, c, d] = four.map(u32::cast_signed);
    _mm_set_epi32(d, c, b, a)
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn add(one: Lane, other: Lane) -> Lane {
    Lane { abef: _mm_add_epi32(one.abef, other.abef), cdgh: _mm_add_epi32(one.cdgh, other.cdgh) }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load(state: &State) -> Lane {
    let [a, b, c, d, e, f, g, h] = *state;
    Lane { abef: constant(&[f, e, b, a]), cdgh: constant(&[h, g, d, c]) }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn store(lane: Lane) -> State {
    let [f, e, b, a] = take(lane.abef);
    let [h, g, d, c] = take(lane.cdgh);
    [a, b, c, d, e, f, g, h]
}

/// The words of four, the lowest first.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn take(four: __m128i) -> [u32; 4] {
    [
        _mm_extract_epi32::<0>(four),
        _mm_extract_epi32::<1>(four),
        _mm_extract_epi32::<2>(four),
        _mm_extract_epi32::<3>(four),
    ]
    .map(i32::cast_unsigned)
}

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes, by fours.
#[rustfmt::skip]
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];
