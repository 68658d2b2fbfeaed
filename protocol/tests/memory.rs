//! Memory follows the bytes that came, never a number in them. One test only: the allocator counts for
//! the whole process.

use peak_alloc::PeakAlloc;
use protocol::limits::{MAX_CONTROL, MAX_FILES, MAX_MANIFEST};
use protocol::message::{Hello, Message, Role};
use protocol::{FrameReader, Manifest, Metafile, NodeId, frame};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What the test harness and small results may take beside.
const CONSTANT: usize = 16 << 10;

/// The most that `work` had allocated at one time beyond what was there before.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    drop(work());
    HEAP.peak_usage().saturating_sub(before)
}

fn hello() -> Vec<u8> {
    Message::Hello(Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Peer,
        node: NodeId([1; 16]),
        listen: 0,
        window: 0,
        tlvs: Vec::new(),
    })
    .to_frame()
}

/// Feeds in small parts, so that everything has to be kept.
fn feed(bytes: &[u8], step: usize) -> FrameReader {
    let mut reader = FrameReader::new();
    let hello = hello();
    for mut part in [hello.as_slice()].into_iter().chain(bytes.chunks(step)) {
        while let Ok(Some(_)) = reader.next(&mut part) {}
    }
    reader
}

fn claims_in_headers() {
    for spec in frame::KINDS {
        let [_, a, b, c] = spec.max.to_be_bytes();
        for came in [0, 1, 100, 4_000, 40_000] {
            let mut bytes = vec![spec.kind, a, b, c];
            bytes.resize(4 + came.min(spec.max as usize), 0);
            let used = peak(|| feed(&bytes, 7));
            // Twice what came, and once more while the buffer moves to a larger place. [F-16]
            assert!(used <= 3 * bytes.len() + CONSTANT, "{}: {came} came, {used} used", spec.name);
        }
    }
    // Every type, every extreme length, nothing behind it.
    for kind in 0..=u8::MAX {
        for len in [[0, 0, 0], [1, 0, 0], [0xFF; 3]] {
            let bytes = [kind, len[0], len[1], len[2]];
            let used = peak(|| feed(&bytes, 1));
            assert!(used <= CONSTANT, "{bytes:?}: {used} used");
        }
    }
}

fn claims_in_bodies() {
    for spec in frame::KINDS.iter().filter(|spec| spec.kind != frame::kind::DATA) {
        for fill in [0xFF, 0x7F, 0x00, 0x01] {
            for len in [spec.min, spec.min + 16, spec.max].map(|len| len.min(spec.max)) {
                let body = vec![fill; len as usize];
                let used = peak(|| Message::decode(spec.kind, &body));
                // Nothing on the wire is more than nine times as big in memory. [F-8]
                assert!(used <= 9 * body.len() + CONSTANT, "{}, {len}: {used}", spec.name);
            }
        }
    }
}

fn a_reader_at_rest_is_small() {
    let status = [[0x2A, 1, 0, 0].as_slice(), &[b'x'; MAX_CONTROL as usize]].concat();
    let before = HEAP.current_usage();
    let reader = feed(&status, 1_000);
    assert!(reader.at_boundary());
    assert!(HEAP.current_usage() - before <= CONSTANT, "the buffer of a big frame is let go");
}

fn claims_in_manifests() {
    let header = |count: u32| {
        let mut bytes = b"SWPM\x01\x12\0\0".to_vec();
        bytes.extend(count.to_be_bytes());
        bytes
    };
    let used = peak(|| Manifest::parse(header(MAX_FILES).into()));
    assert!(used <= CONSTANT, "131,072 files claimed: {used} used");

    // One file of the largest object, no hash behind it; one long path that is not there.
    let mut one = header(1);
    one.extend([0, 0, 0]);
    one.extend((1u64 << 36).to_be_bytes());
    one.extend([0; 32]);
    let used = peak(|| Manifest::parse(one.into()));
    assert!(used <= CONSTANT, "a file of 64 GiB claimed: {used} used");
    let used = peak(|| Manifest::parse([&header(1)[..], &[0xFF; 2], &[b'a'; 41]].concat().into()));
    assert!(used <= CONSTANT, "a path of 65,535 bytes claimed: {used} used");

    // The most entries that there can be, each as short as possible.
    let mut most = header(MAX_FILES);
    for number in 0..MAX_FILES {
        most.extend([0, 5]);
        most.extend(format!("{number:05x}").bytes());
        most.extend([0; 41]);
    }
    let size = most.len();
    let most: std::sync::Arc<[u8]> = most.into();
    let used = peak(|| Manifest::parse(most.clone()).expect("a good manifest"));
    assert!(used <= 6 * size, "{size} bytes of entries: {used} used");

    let long = vec![0; MAX_MANIFEST as usize + 1];
    let used = peak(|| Metafile::parse(&long).is_err());
    assert!(used <= CONSTANT, "zeros: {used} used");
}

#[test]
fn memory_follows_what_came() {
    claims_in_headers();
    claims_in_bodies();
    a_reader_at_rest_is_small();
    claims_in_manifests();
}
