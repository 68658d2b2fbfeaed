//! SHA-256, of one stream of bytes or of two at once.
//!
//! Where the processor has instructions for SHA-256, two independent streams take little longer than
//! one; the private module `x86` says why. Everything else, and every single stream, goes through the
//! block function of the crate `sha2`. What is here besides is the cutting of streams into blocks, and
//! the padding.
//!
//! Invariant H1: between calls, `state` has taken in all whole blocks of the stream, and `open` begins
//! with the `len % 64` bytes that came after them.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    //! Stands in for instructions that this kind of processor never has.

    use super::{Block, State};

    #[derive(Clone, Copy, Debug)]
    pub(super) enum Sha {}

    impl Sha {
        pub(super) fn detect() -> Option<Self> {
            None
        }

        pub(super) fn compress_pair(self, _: (&mut State, &[Block]), _: (&mut State, &[Block])) {
            match self {}
        }
    }
}

use protocol::Digest;
use sha2::block_api::compress256;

use x86::Sha;

const BLOCK: usize = 64;
type Block = [u8; BLOCK];
type State = [u32; 8];

/// The first 32 bits of the fractional parts of the square roots of the first 8 primes.
#[rustfmt::skip]
const START: State = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a,
    0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];

/// A stream of bytes on its way to its digest.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    open: Block,
    /// Bytes so far. SHA-256 ends at 2^61, which no disk holds.
    len: u64,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Of a stream that begins.
    pub fn new() -> Self {
        Self { state: START, open: [0; BLOCK], len: 0 }
    }

    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, tail) = self.complete(bytes);
        compress256(&mut self.state, blocks);
        self.keep(tail);
    }

    /// The digest of all bytes so far.
    pub fn finish(mut self) -> Digest {
        let (last, count) = self.last_blocks();
        compress256(&mut self.state, &last[..count]);
        self.digest()
    }

    /// Counts `bytes`, and takes in the open block if they complete it. What is left: the whole blocks
    /// of the stream that follow, and the beginning of another.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> (&'a [Block], &'a [u8]) {
        let begun = self.begun();
        self.len = self.len.wrapping_add(bytes.len() as u64);
        if begun == 0 {
            return bytes.as_chunks();
        }
        let missing = &mut self.open[begun..];
        let Some((head, rest)) = bytes.split_at_checked(missing.len()) else {
            missing[..bytes.len()].copy_from_slice(bytes);
            return (&[], &[]);
        };
        missing.copy_from_slice(head);
        compress256(&mut self.state, &[self.open]);
        rest.as_chunks()
    }

    /// Begins the open block with what [`Self::complete`] left.
    fn keep(&mut self, tail: &[u8]) {
        self.open[..tail.len()].copy_from_slice(tail);
    }

    fn begun(&self) -> usize {
        usize::try_from(self.len % BLOCK as u64).expect("less than a block")
    }

    /// The open block, padded, and how many blocks that makes: 1 or 2.
    fn last_blocks(&self) -> ([Block; 2], usize) {
        let begun = self.begun();
        let mut last = [[0; BLOCK]; 2];
        let bytes = last.as_flattened_mut();
        bytes[..begun].copy_from_slice(&self.open[..begun]);
        bytes[begun] = 0x80;
        // A bit and eight bytes of length have to follow the message.
        let count = if begun + 9 <= BLOCK { 1 } else { 2 };
        let end = count * BLOCK;
        bytes[end - 8..end].copy_from_slice(&(self.len << 3).to_be_bytes());
        (last, count)
    }

    fn digest(&self) -> Digest {
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Digest(digest)
    }
}

/// Goes on with two streams at once. It is best if both have equally many bytes to come; what one has
/// more takes its time alone.
pub fn update_pair(a: &mut Hasher, a_bytes: &[u8], b: &mut Hasher, b_bytes: &[u8]) {
    let (a_blocks, a_tail) = a.complete(a_bytes);
    let (b_blocks, b_tail) = b.complete(b_bytes);
    compress_pair(Sha::detect(), (&mut a.state, a_blocks), (&mut b.state, b_blocks));
    a.keep(a_tail);
    b.keep(b_tail);
}

/// The digests of two streams, as [`Hasher::finish`].
pub fn finish_pair(mut a: Hasher, mut b: Hasher) -> (Digest, Digest) {
    let (a_last, a_count) = a.last_blocks();
    let (b_last, b_count) = b.last_blocks();
    let (a_blocks, b_blocks) = (&a_last[..a_count], &b_last[..b_count]);
    compress_pair(Sha::detect(), (&mut a.state, a_blocks), (&mut b.state, b_blocks));
    (a.digest(), b.digest())
}

/// The digest of these bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// The digest of either, computed side by side.
pub fn digest_pair(a: &[u8], b: &[u8]) -> (Digest, Digest) {
    let (mut one, mut other) = (Hasher::new(), Hasher::new());
    update_pair(&mut one, a, &mut other, b);
    finish_pair(one, other)
}

/// Takes all of these blocks in: side by side as long as there are two.
fn compress_pair(sha: Option<Sha>, a: (&mut State, &[Block]), b: (&mut State, &[Block])) {
    let both = a.1.len().min(b.1.len());
    let (a_both, a_rest) = a.1.split_at(both);
    let (b_both, b_rest) = b.1.split_at(both);
    match sha {
        Some(sha) => sha.compress_pair((a.0, a_both), (b.0, b_both)),
        None => {
            compress256(a.0, a_both);
            compress256(b.0, b_both);
        }
    }
    compress256(a.0, a_rest);
    compress256(b.0, b_rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::*;

    fn reference(bytes: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// Bytes without a pattern that blocks could share.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let byte = |_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_be_bytes()[0]
        };
        (0..len).map(byte).collect()
    }

    fn hex(digest: Digest) -> String {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// From FIPS 180-2 and NIST's examples and short-message vectors.
    #[test]
    fn published_vectors() {
        let million = vec![b'a'; 1_000_000];
        let vectors: [(&[u8], &str); 8] = [
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq\
                  klmnopqrlmnopqrsmnopqrstnopqrstu",
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
            ),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
            (&[0xd3], "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"),
            (&[0xbd], "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b"),
            (&[0; 64], "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"),
        ];
        for (a, a_digest) in vectors {
            assert_eq!(hex(digest(a)), a_digest);
            for (b, b_digest) in vectors {
                let (a, b) = digest_pair(a, b);
                assert_eq!((hex(a).as_str(), hex(b).as_str()), (a_digest, b_digest));
            }
        }
    }

    #[test]
    fn every_pair_of_short_lengths() {
        let (a, b) = (noise(300, 1), noise(300, 2));
        let digests = |bytes: &[u8]| -> Vec<Digest> {
            (0..=bytes.len()).map(|len| reference(&bytes[..len])).collect()
        };
        let (a_digests, b_digests) = (digests(&a), digests(&b));
        for a_len in 0..=a.len() {
            assert_eq!(digest(&a[..a_len]), a_digests[a_len], "length {a_len}");
            for b_len in 0..=b.len() {
                let both = digest_pair(&a[..a_len], &b[..b_len]);
                assert_eq!(both, (a_digests[a_len], b_digests[b_len]), "{a_len} and {b_len}");
            }
        }
    }

    /// All three ways to take blocks in, from any state.
    #[test]
    fn the_paths_agree() {
        let (a, b) = (noise(64 * 40, 3), noise(64 * 40, 4));
        let (a, b) = (a.as_chunks().0, b.as_chunks().0);
        for (a_count, b_count) in [(0, 0), (1, 1), (40, 40), (3, 17), (17, 3), (0, 5), (5, 0)] {
            for turn in 0..32 {
                let from = |at: u32| START.map(|word| word.rotate_left(turn).wrapping_mul(at | 1));
                let (mut a_right, mut b_right) = (from(turn), from(turn + 100));
                compress256(&mut a_right, &a[..a_count]);
                compress256(&mut b_right, &b[..b_count]);
                for sha in [None, Sha::detect()] {
                    let (mut a_state, mut b_state) = (from(turn), from(turn + 100));
                    let one = (&mut a_state, &a[..a_count]);
                    compress_pair(sha, one, (&mut b_state, &b[..b_count]));
                    assert_eq!((a_state, b_state), (a_right, b_right));
                }
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        One(usize),
        Other(usize),
        Both(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let len = prop_oneof![0..200usize, Just(64), Just(128), 0..20_000usize];
        let step = prop_oneof![
            len.clone().prop_map(Step::One),
            len.clone().prop_map(Step::Other),
            (len.clone(), len.clone()).prop_map(|(a, b)| Step::Both(a, b)),
            len.prop_map(|both| Step::Both(both, both)),
        ];
        prop::collection::vec(step, 0..12)
    }

    proptest! {
        /// However two streams are cut up, and whether they go on alone or together.
        #[test]
        fn any_split_of_two_streams(steps in steps(), seed: u64) {
            let (mut a, mut b) = (Hasher::new(), Hasher::new());
            let (mut a_all, mut b_all) = (Vec::new(), Vec::new());
            for (at, step) in (seed..).zip(&steps) {
                let (a_len, b_len) = match *step {
                    Step::One(len) => (len, 0),
                    Step::Other(len) => (0, len),
                    Step::Both(a_len, b_len) => (a_len, b_len),
                };
                let (a_bytes, b_bytes) = (noise(a_len, at), noise(b_len, !at));
                match step {
                    Step::One(_) => a.update(&a_bytes),
                    Step::Other(_) => b.update(&b_bytes),
                    Step::Both(..) => update_pair(&mut a, &a_bytes, &mut b, &b_bytes),
                }
                a_all.extend(a_bytes);
                b_all.extend(b_bytes);
            }
            let right = (reference(&a_all), reference(&b_all));
            prop_assert_eq!((a.clone().finish(), b.clone().finish()), right);
            prop_assert_eq!(finish_pair(a, b), right);
        }

        #[test]
        fn long_pairs(a_len in 0..300_000usize, b_len in 0..300_000usize, seed: u32) {
            let (a, b) = (noise(a_len, seed.into()), noise(b_len, !u64::from(seed)));
            prop_assert_eq!(digest_pair(&a, &b), (reference(&a), reference(&b)));
        }
    }

    /// What two at once bring on this machine, best of many short turns:
    /// `cargo test --release -p peer --lib two_at_once -- --ignored --nocapture`.
    #[test]
    #[ignore = "prints speeds, which are to be looked at"]
    fn how_fast_are_two_at_once() {
        const LEN: usize = 1 << 20;
        let (a, b) = (noise(LEN, 5), noise(LEN, 6));
        let clock = reactor::clock::Clock::start();
        let fastest = |work: &dyn Fn() -> (Digest, Digest)| {
            let turn = |_| {
                let start = clock.now();
                std::hint::black_box(work());
                clock.now().since(start)
            };
            (0..100).map(turn).min().unwrap().as_secs_f64()
        };
        let crates = fastest(&|| (reference(&a), reference(&b)));
        let single = fastest(&|| (digest(&a), digest(&b)));
        let pair = fastest(&|| digest_pair(&a, &b));
        let same = fastest(&|| digest_pair(&a, &a));
        let speed = |seconds: f64| 2.0 * f64::from(1 << 20) / seconds / 1e9;
        println!("GB/s: {:.2} sha2, {:.2} one by one", speed(crates), speed(single));
        println!("GB/s: {:.2} pairs, {:.2} of the same bytes", speed(pair), speed(same));
        println!("sha2 takes {:.2} times as long as pairs", crates / pair);
    }
}
