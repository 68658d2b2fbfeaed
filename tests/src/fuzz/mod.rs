//! What fuzzers do with bytes: one function per target, which panics if a promise is broken.
//!
//! The same functions run under libFuzzer (`fuzz/`, coverage-guided, for as long as one likes) and in a
//! plain test (`tests/fuzz_corpora.rs`: the committed corpora and seeded mutations of them). Everything
//! goes through doors that programs use, too, except for the `probe` modules of the peer, which open parsers
//! that have none.

mod bytes;
mod codec;
mod files;
mod memory;
mod peer;
mod tracker;
mod words;

pub use bytes::Bytes;
pub use memory::Heap;

/// Something that takes any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the binary in `fuzz/fuzz_targets` and of the folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Bytes that are enough to reach everything.
    pub max_len: usize,
}

/// Every target. The text of each function says what the bytes are taken for.
pub const TARGETS: &[Target] = &[
    Target { name: "frames", run: codec::frames, max_len: 4_096 },
    Target { name: "messages", run: codec::messages, max_len: 2_048 },
    Target { name: "manifest", run: files::manifest, max_len: 2_048 },
    Target { name: "metafile", run: files::metafile, max_len: 2_048 },
    Target { name: "paths", run: words::paths, max_len: 1_200 },
    Target { name: "words", run: words::words, max_len: 256 },
    Target { name: "journal", run: files::journal, max_len: 1_024 },
    Target { name: "cache_row", run: files::cache_row, max_len: 512 },
    Target { name: "resume", run: files::resume, max_len: 512 },
    Target { name: "tracker", run: tracker::tracker, max_len: 2_048 },
    Target { name: "peer", run: peer::peer, max_len: 2_048 },
];

/// The target with this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}
