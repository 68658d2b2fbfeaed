//! Piece sets, geometry, manifests and metafiles against the simplest models of them.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{config, digest};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use protocol::limits::*;
use protocol::message::Holdings;
use protocol::{
    Digest, Entry, EntryKind, Geometry, Holding, Manifest, Metafile, ObjectId, PieceSet, SafePath,
    check_name, holdings_digest,
};

/// File lengths around the borders of pieces of `2^12` bytes.
fn lens() -> impl Strategy<Value = Vec<u64>> {
    let len = prop_oneof![Just(0), Just(1), Just(4_095), Just(4_096), Just(4_097), 0..50_000u64];
    vec(len, 0..12)
}

/// A path of few and similar segments, so that paths meet each other.
fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "a-", "a.", "ä", "A"]);
    vec(segment, 1..4).prop_map(|segments| segments.join("/"))
}

fn hashes(len: u64, log2: u8) -> Vec<Digest> {
    (0..len.div_ceil(1 << log2)).map(|piece| Digest::of(&piece.to_be_bytes())).collect()
}

/// Entries that keep all rules, in some order.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let kind = prop_oneof![
        4 => (any::<bool>(), 0..20_000u64, digest())
            .prop_map(|(executable, len, digest)| EntryKind::File { executable, len, digest }),
        1 => Just(EntryKind::EmptyFolder),
    ];
    btree_map(path(), kind, 1..12).prop_map(|kinds| {
        let taken: BTreeSet<String> = kinds.keys().cloned().collect();
        let is_free = |path: &str| {
            let slashes = path.match_indices('/').map(|(at, _)| &path[..at]);
            slashes.into_iter().all(|above| !taken.contains(above))
        };
        let free = kinds.into_iter().filter(|(path, _)| is_free(path));
        // Not in the order of paths.
        let mut entries: Vec<Entry> = free
            .map(|(path, kind)| Entry { path: Some(SafePath::new(&path).unwrap()), kind })
            .collect();
        entries.sort_by_key(|entry| (entry.len(), entry.path.clone()));
        entries
    })
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let single = (any::<bool>(), 0..20_000u64, digest()).prop_map(|(executable, len, digest)| {
        vec![Entry { path: None, kind: EntryKind::File { executable, len, digest } }]
    });
    (12..=24u8, prop_oneof![entries(), single]).prop_map(|(log2, entries)| {
        let with_hashes = entries.into_iter().map(|entry| {
            let hashes = hashes(entry.len(), log2);
            (entry, hashes)
        });
        Manifest::build(log2, with_hashes.collect()).expect("entries that keep the rules")
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn piece_sets_are_sets(
        len in 1u32..200,
        steps in vec((any::<bool>(), any::<prop::sample::Index>()), 0..100),
    ) {
        let geometry = Geometry::new(12, [u64::from(len) << 12]).unwrap();
        let mut set = PieceSet::empty(len);
        let mut model = BTreeSet::new();
        for (add, which) in steps {
            let piece = geometry.pieces().nth(which.index(len as usize)).unwrap();
            if add {
                prop_assert_eq!(set.insert(piece), model.insert(piece.get()));
            } else {
                prop_assert_eq!(set.remove(piece), model.remove(&piece.get()));
            }
            prop_assert_eq!(set.contains(piece), model.contains(&piece.get()));
        }
        prop_assert_eq!(set.count() as usize, model.len());
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!((set.is_empty(), set.is_full()), (model.is_empty(), model.len() as u32 == len));
        prop_assert_eq!(PieceSet::from_bytes(len, set.as_bytes()), Some(set.clone()));
        prop_assert_eq!(Holdings::of(&set).to_set(len), Some(set));
    }

    #[test]
    fn piece_sets_take_only_clean_bytes(len in 0u32..100, bytes in vec(any::<u8>(), 0..16)) {
        let spare = (0..bytes.len() as u32 * 8)
            .filter(|bit| *bit >= len)
            .any(|bit| bytes[bit as usize / 8] & (0x80 >> (bit % 8)) != 0);
        let right = bytes.len() as u32 == len.div_ceil(8);
        let set = PieceSet::from_bytes(len, &bytes);
        prop_assert_eq!(set.is_some(), right && !spare);
        prop_assert!(set.is_none_or(|set| set.as_bytes() == bytes));
        let full = PieceSet::full(len);
        prop_assert_eq!(full.iter().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
        prop_assert_eq!(PieceSet::from_bytes(len, full.as_bytes()), Some(full));
    }

    #[test]
    fn pieces_cover_all_files_once(lens in lens()) {
        let geometry = Geometry::new(12, lens.iter().copied()).unwrap();
        prop_assert_eq!(geometry.total_len(), lens.iter().sum::<u64>());
        prop_assert_eq!(geometry.pieces().count(), geometry.piece_count() as usize);
        prop_assert_eq!(geometry.piece(geometry.piece_count()), None);
        let mut next = geometry.pieces();
        for (file, len) in lens.iter().enumerate() {
            let mut offset = 0;
            for piece in geometry.pieces_of(file) {
                prop_assert_eq!(Some(piece), next.next());
                let span = geometry.span(piece);
                prop_assert_eq!((span.file, span.offset), (file, offset));
                offset += u64::from(span.len);
                prop_assert!(span.len == geometry.piece_size() || offset == *len);
                prop_assert!(span.len > 0);
            }
            prop_assert_eq!(offset, *len);
        }
        prop_assert_eq!(next.next(), None);
        prop_assert_eq!(geometry.pieces_of(lens.len()).count(), 0);
        prop_assert_eq!(geometry.pieces_of(usize::MAX).count(), 0);
    }

    #[test]
    fn blocks_lie_inside_their_piece(
        file in 1u64..10_000,
        which in any::<prop::sample::Index>(),
        begin in prop_oneof![0u32..5_000, Just(u32::MAX)],
        len in prop_oneof![0u32..5_000, Just(u32::MAX)],
    ) {
        let geometry = Geometry::new(12, [file]).unwrap();
        let piece = geometry.pieces().nth(which.index(geometry.piece_count() as usize)).unwrap();
        let end = u64::from(begin) + u64::from(len);
        let inside = len > 0 && end <= u64::from(geometry.span(piece).len);
        let block = geometry.block(piece, begin, len);
        prop_assert_eq!(block.is_some(), inside);
        prop_assert!(block.is_none_or(|b| (b.piece(), b.begin(), b.len()) == (piece, begin, len)));
        let whole = geometry.span(piece).len;
        prop_assert!(geometry.block(piece, 0, whole).is_some());
        prop_assert!(geometry.block(piece, whole - 1, 1).is_some());
        prop_assert!(geometry.block(piece, 1, whole).is_none());
        prop_assert!(geometry.block(piece, whole, 1).is_none());
    }

    #[test]
    fn geometry_never_overflows(log2 in any::<u8>(), lens in vec(any::<u64>(), 0..5)) {
        let total: u128 = lens.iter().map(|len| u128::from(*len)).sum();
        if let Some(geometry) = Geometry::new(log2, lens) {
            prop_assert!((12..=24).contains(&log2));
            prop_assert_eq!(u128::from(geometry.total_len()), total);
            prop_assert!(geometry.total_len() <= MAX_OBJECT);
        }
    }

    #[test]
    fn manifests_are_their_bytes(manifest in manifest()) {
        let again = Manifest::parse(manifest.bytes().clone()).unwrap();
        prop_assert_eq!(again.id().0, Digest::of(manifest.bytes()).0);
        for (file, entry) in again.entries().iter().enumerate() {
            let pieces = again.geometry().pieces_of(file);
            let got: Vec<Digest> = pieces.map(|piece| again.piece_hash(piece)).collect();
            prop_assert_eq!(got, hashes(entry.len(), again.piece_log2()));
        }
        // A manifest has one encoding: built again from what it says, it is the same bytes.
        let entries = again.entries().iter().rev().map(|entry| {
            (entry.clone(), hashes(entry.len(), again.piece_log2()))
        });
        prop_assert_eq!(&Manifest::build(again.piece_log2(), entries.collect()), &Ok(again));
    }

    #[test]
    fn cut_and_longer_manifests_are_refused(manifest in manifest(), end in any::<prop::sample::Index>()) {
        let bytes = manifest.bytes();
        let front = &bytes[..end.index(bytes.len())];
        prop_assert_eq!(Manifest::parse(front.into()).map_err(|error| error.rule), Err("M-6"));
        let longer = [bytes, &[0][..]].concat();
        prop_assert_eq!(Manifest::parse(longer.into()).map_err(|error| error.rule), Err("M-6"));
    }

    #[test]
    fn mutated_manifests_are_refused_or_canonical(
        manifest in manifest(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = manifest.bytes().to_vec();
        for (at, value) in flips {
            // Not only in hashes, which can be anything.
            let at = at.index(bytes.len().min(200));
            bytes[at] = value;
        }
        let bytes: Arc<[u8]> = bytes.into();
        if let Ok(manifest) = Manifest::parse(bytes.clone()) {
            let entries = manifest.entries().iter().enumerate().map(|(file, entry)| {
                let pieces = manifest.geometry().pieces_of(file);
                (entry.clone(), pieces.map(|piece| manifest.piece_hash(piece)).collect())
            });
            let again = Manifest::build(manifest.piece_log2(), entries.collect()).unwrap();
            prop_assert_eq!(again.bytes(), &bytes);
        }
    }

    #[test]
    fn no_entry_is_inside_another(paths in btree_set(path(), 1..8), folders in any::<u8>()) {
        let is_folder = |at: usize| folders & (1 << at) != 0;
        let entries: Vec<_> = paths.iter().enumerate().map(|(at, path)| {
            let file = EntryKind::File { executable: false, len: 0, digest: Digest::ZERO };
            let kind = if is_folder(at) { EntryKind::EmptyFolder } else { file };
            (Entry { path: Some(SafePath::new(path).unwrap()), kind }, Vec::new())
        }).collect();
        let clash = paths.iter().any(|path| {
            path.match_indices('/').any(|(at, _)| paths.contains(&path[..at]))
        });
        let built = Manifest::build(12, entries);
        prop_assert_eq!(built.map(|_| ()).map_err(|e| e.rule), if clash { Err("M-12") } else { Ok(()) });
    }

    #[test]
    fn the_default_piece_size_is_the_rule(lens in vec(0u64..1 << 43, 0..4)) {
        let pieces = |log2: u8| lens.iter().map(|len| len.div_ceil(1 << log2)).sum::<u64>();
        let total: u64 = lens.iter().sum();
        let start = if total <= 1 << 30 { 18 } else if total <= 1 << 32 { 19 } else { 20 };
        match Manifest::default_piece_log2(&lens) {
            Some(log2) => {
                prop_assert!(log2 >= start && pieces(log2) <= 262_144);
                prop_assert!(log2 == start || pieces(log2 - 1) > 262_144);
            }
            None => prop_assert!(pieces(24) > 262_144),
        }
    }

    #[test]
    fn metafiles_are_their_bytes(
        manifest in manifest(),
        name in path(),
        trackers in vec("[a-z0-9.:\\[\\]]{1,40}", 0..=16),
        end in any::<prop::sample::Index>(),
    ) {
        let metafile = Metafile { name, trackers, manifest: Arc::new(manifest) };
        let bytes = metafile.to_bytes();
        prop_assert!(Metafile::parse(&bytes[..end.index(bytes.len())]).is_err());
        prop_assert_eq!(Metafile::parse(&bytes), Ok(metafile));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        for magic in [&b""[..], b"SWPM\x01\x12\0\0\0\0\0", b"SWPF\x01\0\0\x01\0\x01n"] {
            let bytes = [magic, &bytes].concat();
            let _refused = Metafile::parse(&bytes);
            let _refused = Manifest::parse(bytes.into());
        }
    }

    #[test]
    fn what_is_accepted_stays_below_its_folder(
        segments in vec(prop_oneof![path(), Just("..".into()), Just(".".into()), Just(String::new()),
            any::<String>()], 0..6),
    ) {
        let text = segments.join("/");
        if let Ok(path) = SafePath::new(&text) {
            prop_assert_eq!(path.as_str(), &text);
            prop_assert!(path.segments().all(|s| !matches!(s, "" | "." | "..") && s.len() <= 255));
            prop_assert!(path.segments().count() <= MAX_DEPTH && text.len() <= MAX_PATH);
            prop_assert!(!text.bytes().any(|b| b < 0x20 || b == 0x7F || b == b'\\'));
            prop_assert_eq!(path.segments().last(), Some(path.file_name()));
        }
    }
}

/// Path, flags, length, and the byte that fills the digest.
type RawEntry<'a> = (&'a [u8], u8, u64, u8);

/// The bytes of a manifest by hand, to break one rule each.
struct Raw {
    log2: u8,
    count: u32,
    entries: Vec<u8>,
    hashes: usize,
}

impl Raw {
    fn of(entries: &[RawEntry<'_>]) -> Self {
        let mut bytes = Vec::new();
        for (path, flags, len, digest) in entries {
            bytes.extend(u16::try_from(path.len()).unwrap().to_be_bytes());
            bytes.extend(*path);
            bytes.push(*flags);
            bytes.extend(len.to_be_bytes());
            bytes.extend([*digest; 32]);
        }
        let hashes = entries.iter().map(|entry| entry.2.div_ceil(4_096)).sum::<u64>().min(9);
        let count = u32::try_from(entries.len()).unwrap();
        Self { log2: 12, count, entries: bytes, hashes: usize::try_from(hashes).unwrap() }
    }

    fn rule(&self) -> Option<&'static str> {
        let mut bytes = b"SWPM\x01".to_vec();
        bytes.push(self.log2);
        bytes.extend([0, 0]);
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(&self.entries);
        bytes.resize(bytes.len() + 32 * self.hashes, 0);
        Manifest::parse(bytes.into()).err().map(|error| error.rule)
    }
}

#[test]
fn broken_manifests_name_their_rule() {
    let long = [b"x/".repeat(4), vec![b'y'; 1_017]].concat();
    let edge = ["s".repeat(255), "s".repeat(255), "s".repeat(255), "s".repeat(256)].join("/");
    let deepest = ["d"; 64].join("/");
    let deeper = ["d"; 65].join("/");
    let fits = [
        ["s".repeat(255), "s".repeat(255), "s".repeat(255)].join("/"),
        "s".repeat(255),
        "/".into(),
    ];
    let fits = [&fits[0], "/", &fits[1], &fits[2]].concat();
    assert_eq!(fits.len(), 1_024);
    let table: &[(&[RawEntry<'_>], Option<&str>)] = &[
        (&[(b"", 0, 5, 1)], None),
        (&[(b"", 1, 0, 1)], None),
        (&[(b"a", 0, 5, 1)], None),
        (&[(b"a", 0, 5, 1), (b"b/", 0, 0, 0)], None),
        (&[(b"a", 0, 0, 1), (b"a-b", 0, 0, 1), (b"ab/c", 0, 0, 1)], None),
        (&[(fits.as_bytes(), 0, 0, 0)], None),
        (&[(deepest.as_bytes(), 0, 0, 0)], None),
        (&[(b"a", 0, 5, 1), (b"a", 0, 5, 1)], Some("M-7")),
        (&[(b"b", 0, 5, 1), (b"a", 0, 5, 1)], Some("M-7")),
        (&[(b"a", 2, 5, 1)], Some("M-8")),
        (&[(b"a", 0x80, 5, 1)], Some("M-8")),
        (&[(b"a/", 1, 0, 0)], Some("M-9")),
        (&[(b"a/", 0, 1, 0)], Some("M-9")),
        (&[(b"a/", 0, 0, 1)], Some("M-9")),
        (&[(b"", 0, 0, 1), (b"a", 0, 0, 1)], Some("M-10")),
        (&[(b"a", 0, 0, 1), (b"a/b", 0, 0, 1)], Some("M-12")),
        (&[(b"a", 0, 0, 1), (b"a-b", 0, 0, 1), (b"a/c", 0, 0, 1)], Some("M-12")),
        (&[(b"a", 0, 0, 1), (b"a/", 0, 0, 0)], Some("M-12")),
        (&[(b"a/", 0, 0, 0), (b"a/b", 0, 0, 1)], Some("M-12")),
        (&[(b"a/", 0, 0, 0), (b"a/b/", 0, 0, 0)], Some("M-12")),
        (&[(b"a", 0, 4_096 * 262_145, 1)], Some("M-13")),
        (&[(b"a", 0, u64::MAX, 1)], Some("M-13")),
        (&[(b"a", 0, u64::MAX, 1), (b"b", 0, u64::MAX, 1)], Some("M-13")),
        (&[(b"/", 0, 0, 0)], Some("M-16")),
        (&[(b"\xFF", 0, 0, 1)], Some("M-16")),
        (&[(&long, 0, 0, 1)], Some("M-16")),
        (&[(b"a//", 0, 0, 0)], Some("M-17")),
        (&[(b"/a", 0, 0, 0)], Some("M-17")),
        (&[(deeper.as_bytes(), 0, 0, 0)], Some("M-17")),
        (&[(&edge.as_bytes()[256..], 0, 0, 1)], Some("M-18")),
        (&[(b"../a", 0, 0, 1)], Some("M-19")),
        (&[(b"./", 0, 0, 0)], Some("M-19")),
        (&[(b"a\\b", 0, 0, 1)], Some("M-20")),
        (&[(b"a\0", 0, 0, 1)], Some("M-20")),
    ];
    for (entries, expected) in table {
        assert_eq!(Raw::of(entries).rule(), *expected, "{entries:?}");
    }
    let good = || Raw::of(&[(b"a", 0, 5, 1)]);
    assert_eq!(Raw { log2: 11, ..good() }.rule(), Some("M-3"));
    assert_eq!(Raw { log2: 25, ..good() }.rule(), Some("M-3"));
    assert_eq!(Raw { count: 0, ..good() }.rule(), Some("M-4"));
    assert_eq!(Raw { count: 131_073, ..good() }.rule(), Some("M-4"));
    assert_eq!(Raw { count: 2, ..good() }.rule(), Some("M-6"));
    assert_eq!(Raw { hashes: 0, ..good() }.rule(), Some("M-6"));
    assert_eq!(Raw { hashes: 2, ..good() }.rule(), Some("M-6"));
    let header = |bytes: &[u8]| Manifest::parse(bytes.into()).unwrap_err().rule;
    assert_eq!(header(b"SWPN\x01\x0C\0\0\0\0\0\x01"), "M-2");
    assert_eq!(header(b"SWPM\x02\x0C\0\0\0\0\0\x01"), "M-2");
    assert_eq!(header(b"SWPM\x01\x0C\0\x01\0\0\0\x01"), "M-2");
    assert_eq!(header(&vec![0; MAX_MANIFEST as usize + 1]), "M-5");
}

#[test]
fn build_refuses_what_parse_refuses() {
    let file = |len| EntryKind::File { executable: false, len, digest: Digest::ZERO };
    let entry =
        |path: Option<&str>, kind| Entry { path: path.map(|p| SafePath::new(p).unwrap()), kind };
    let rule = |entries| Manifest::build(12, entries).unwrap_err().rule;
    assert_eq!(rule(vec![]), "M-4");
    assert_eq!(rule(vec![(entry(None, file(1)), vec![])]), "M-6");
    assert_eq!(
        rule(vec![(entry(None, file(0)), vec![]), (entry(Some("a"), file(0)), vec![])]),
        "M-10"
    );
    assert_eq!(rule(vec![(entry(None, EntryKind::EmptyFolder), vec![])]), "M-16");
    let twice = vec![(entry(Some("a"), file(0)), vec![]); 2];
    assert_eq!(rule(twice), "M-7");
    let full = vec![(entry(Some("a"), file(0)), vec![]); MAX_FILES as usize + 1];
    assert_eq!(rule(full), "M-4");
}

#[test]
fn default_piece_sizes_change_at_their_borders() {
    let table = [
        (0, Some(18)),
        (1 << 30, Some(18)),
        ((1 << 30) + 1, Some(19)),
        (1 << 32, Some(19)),
        ((1 << 32) + 1, Some(20)),
        (1 << 38, Some(20)),
        ((1 << 38) + 1, Some(21)),
        (1 << 42, Some(24)),
        ((1 << 42) + 1, None),
        (u64::MAX, None),
    ];
    for (len, expected) in table {
        assert_eq!(Manifest::default_piece_log2(&[len]), expected, "{len}");
    }
    assert_eq!(Manifest::default_piece_log2(&[u64::MAX, 1]), None);
    assert_eq!(Manifest::default_piece_log2(&vec![1; 262_144]), Some(18));
    assert_eq!(Manifest::default_piece_log2(&vec![1; 262_145]), None);
}

#[test]
fn the_digest_of_holdings_is_over_the_set() {
    let partial = (ObjectId([0x81; 32]), Holding::Partial);
    let complete = (ObjectId([0x01; 32]), Holding::Complete);
    assert_eq!(holdings_digest([]), 0);
    assert_eq!(holdings_digest([partial]), 0x0303_0303_0303_0303);
    assert_eq!(holdings_digest([complete]), 0x0404_0404_0404_0404);
    assert_eq!(holdings_digest([partial, complete]), 0x0707_0707_0707_0707);
    assert_eq!(holdings_digest([complete, partial]), 0x0707_0707_0707_0707);
}

/// Time is linear: paths that are fronts of each other, as many and as long as a manifest holds.
#[test]
fn nested_fronts_are_checked_in_linear_time() {
    let mut entries: BTreeMap<String, ()> = BTreeMap::new();
    for group in 0..60 {
        for len in 1..250 {
            entries.insert(format!("{group:02}{}", "a".repeat(len)), ());
        }
    }
    let file = EntryKind::File { executable: false, len: 0, digest: Digest::ZERO };
    let entries = entries.into_keys().map(|path| {
        (Entry { path: Some(SafePath::new(&path).unwrap()), kind: file.clone() }, Vec::new())
    });
    assert_eq!(Manifest::build(12, entries.collect()).unwrap().entries().len(), 60 * 249);
}

#[test]
fn hostile_names() {
    let good = [
        "a",
        "a/b",
        "llama-70b",
        "x@",
        "x@v3",
        "3@x",
        "x@sha256",
        "x@sha256:",
        "x@sha256:xyz",
        "x@3/y",
        "ä/日本",
        "...",
        "..a",
        "a..",
        ".hidden",
        "con",
        "a b",
        "-rf",
        "~",
        "$HOME",
        "%2e%2e",
        "a:b",
        "C:",
        "x@3.0",
        "@",
        "x@SHA256:ab",
    ];
    for name in good {
        assert_eq!(check_name(name).map(|path| path.to_string()), Ok(name.to_owned()));
    }
    let bad = [
        ("", "M-16"),
        ("/", "M-17"),
        ("/etc/passwd", "M-17"),
        ("a/", "M-17"),
        ("a//b", "M-17"),
        (".", "M-19"),
        ("..", "M-19"),
        ("../a", "M-19"),
        ("a/../b", "M-19"),
        ("a/.", "M-19"),
        ("a/..", "M-19"),
        ("a\\b", "M-20"),
        ("..\\a", "M-20"),
        ("a\0b", "M-20"),
        ("a\nb", "M-20"),
        ("\u{1b}[31m", "M-20"),
        ("a\u{7f}", "M-20"),
        ("a\t", "M-20"),
        ("x@3", "M-22"),
        ("x@03", "M-22"),
        ("@0", "M-22"),
        ("a/b@12345678901234567890", "M-22"),
        ("x@sha256:9f", "M-22"),
        ("x@sha256:9F", "M-22"),
        ("x@1@2", "M-22"),
    ];
    for (name, rule) in bad {
        assert_eq!(check_name(name).map_err(|error| error.rule), Err(rule), "{name:?}");
    }
    let of = |segment: usize, count: usize| vec!["s".repeat(segment); count].join("/");
    assert_eq!(check_name(&of(255, 4)).map_err(|e| e.rule).map(|_| ()), Ok(()));
    assert_eq!(check_name(&of(256, 1)).map_err(|e| e.rule), Err("M-18"));
    assert_eq!(check_name(&of(204, 5)).map_err(|e| e.rule).map(|_| ()), Ok(()));
    assert_eq!(check_name(&of(205, 5)).map_err(|e| e.rule), Err("M-16"));
    assert_eq!(check_name(&of(1, 64)).map_err(|e| e.rule).map(|_| ()), Ok(()));
    assert_eq!(check_name(&of(1, 65)).map_err(|e| e.rule), Err("M-17"));
}

#[test]
fn broken_metafiles_name_their_rule() {
    let file = EntryKind::File { executable: false, len: 0, digest: Digest::ZERO };
    let manifest = Manifest::build(12, vec![(Entry { path: None, kind: file }, vec![])]).unwrap();
    let bytes = |head: &[u8]| [head, manifest.bytes()].concat();
    let rule = |head: &[u8]| Metafile::parse(&bytes(head)).err().map(|error| error.rule);
    assert_eq!(rule(b"SWPF\x01\0\0\0\0\x01n"), None);
    assert_eq!(rule(b"SWPF\x01\0\0\x01\0\x01n\0\x01t"), None);
    assert_eq!(rule(b"SWPM\x01\0\0\0\0\x01n"), Some("M-23"));
    assert_eq!(rule(b"SWPF\x02\0\0\0\0\x01n"), Some("M-23"));
    assert_eq!(rule(b"SWPF\x01\x01\0\0\0\x01n"), Some("M-23"));
    assert_eq!(rule(b"SWPF\x01\0\0\x11\0\x01n"), Some("M-24"));
    assert_eq!(rule(b"SWPF\x01\0\0\0\0\x00"), Some("M-16"));
    assert_eq!(rule(b"SWPF\x01\0\0\0\0\x03x@3"), Some("M-22"));
    assert_eq!(rule(b"SWPF\x01\0\0\x01\0\x01n\0\x00"), Some("M-26"));
    assert_eq!(rule(b"SWPF\x01\0\0\x01\0\x01n\0\x03a b"), Some("M-26"));
    assert_eq!(rule(b"SWPF\x01\0\0\0\0\x01n0"), Some("M-2"));
    assert_eq!(rule(b"SWPF\x01\0\0\x01\0\x01n\xFF\xFF"), Some("M-28"));
    assert_eq!(Metafile::parse(&bytes(b"SWPF\x01\0\0\0\0\x01n")[..30]).unwrap_err().rule, "M-6");
    assert_eq!(Metafile::parse(&vec![0; Metafile::MAX_LEN + 1]).unwrap_err().rule, "M-28");
}
