//! Bytes that are read from disk: manifests, metafiles, journals, remembered hashes, unfinished fetches.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use peer::disk::{
    FetchKey, FetchSpec, HashJob, IfExists, StoreOutcome, StoredPiece, Task, TaskResult,
};
use peer::storage::fs::Fs;
use peer::storage::{Storage, probe};
use protocol::limits::{MAX_FILES, MAX_PIECES};
use protocol::{
    Digest, Entry, EntryKind, Geometry, Manifest, Metafile, ObjectId, PieceIndex, PieceSet,
};
use reactor::FileStamp;

use super::Bytes;
use super::memory::bounded;
use crate::content::Tree;
use crate::disk::Disk;

/// A manifest. What is accepted is what a maker of these files would write, and its pieces cover its
/// files exactly.
pub(super) fn manifest(data: &[u8]) {
    let bytes: Arc<[u8]> = data.into();
    if let Ok(manifest) = bounded(data.len(), 6, || Manifest::parse(Arc::clone(&bytes))) {
        check_manifest(&manifest, data);
    }
}

fn check_manifest(manifest: &Manifest, data: &[u8]) {
    assert_eq!((&**manifest.bytes(), manifest.id()), (data, ObjectId(Digest::of(data).0)), "[M-1]");
    let geometry = manifest.geometry();
    assert!((1..=MAX_FILES as usize).contains(&manifest.entries().len()), "[M-4]");
    assert!(geometry.piece_count() <= MAX_PIECES, "[M-13]");
    let mut hashes: Vec<Vec<Digest>> = vec![Vec::new(); manifest.entries().len()];
    let mut covered = vec![0; manifest.entries().len()];
    for piece in geometry.pieces() {
        let span = geometry.span(piece);
        assert_eq!(covered[span.file], span.offset, "pieces follow each other");
        assert!((1..=geometry.piece_size()).contains(&span.len));
        assert_eq!(geometry.block(piece, 0, span.len).map(|block| block.len()), Some(span.len));
        assert!(
            geometry.block(piece, 1, span.len).is_none() && geometry.block(piece, 0, 0).is_none()
        );
        assert!(geometry.block(piece, u32::MAX, u32::MAX).is_none(), "[P-30]");
        covered[span.file] += u64::from(span.len);
        hashes[span.file].push(manifest.piece_hash(piece));
    }
    let lens: Vec<u64> = manifest.entries().iter().map(Entry::len).collect();
    assert_eq!(covered, lens);
    assert!(Manifest::default_piece_log2(&lens).is_some_and(|log2| (18..=24).contains(&log2)));
    let entries = manifest.entries().iter().cloned().zip(hashes).collect();
    let built = Manifest::build(manifest.piece_log2(), entries);
    assert_eq!(built.as_ref(), Ok(manifest), "one object, one manifest");
}

/// A metafile. What is accepted has one encoding: the one that came.
pub(super) fn metafile(data: &[u8]) {
    if let Ok(metafile) = bounded(data.len(), 9, || Metafile::parse(data)) {
        assert_eq!(metafile.to_bytes(), data, "[M-28]");
        assert!(protocol::check_name(&metafile.name).is_ok(), "[M-25]");
        check_manifest(&metafile.manifest, metafile.manifest.bytes());
    }
}

const OBJECT: ObjectId = ObjectId([9; 32]);

/// A journal of an object of 1 to 256 pieces: records with right CRCs as the first bytes say, then bytes
/// changed as the rest says. No piece is claimed that no record names.
pub(super) fn journal(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let count = 1 + u32::from(bytes.u8());
    let geometry = Geometry::new(12, [u64::from(count) << 12]).expect("within all limits");
    let mut file = Vec::with_capacity(4 * data.len() + 64);
    file.extend_from_slice(b"SWPJ\0\0\0\x01");
    file.extend_from_slice(&OBJECT.0);
    file.extend_from_slice(&count.to_be_bytes());
    file.extend_from_slice(&bytes.u64().to_be_bytes());
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&crc32fast::hash(&file).to_be_bytes());
    let mut named = PieceSet::empty(count);
    for position in 0..u32::from(bytes.u8()) {
        let (fact, piece) = (u32::from(bytes.u8()), u32::from(bytes.u8()));
        let record = [fact.to_be_bytes(), piece.to_be_bytes(), position.to_be_bytes()].concat();
        file.extend_from_slice(&record);
        file.extend_from_slice(&crc32fast::hash(&record).to_be_bytes());
        if let Some(piece) = geometry.piece(piece) {
            named.insert(piece);
        }
    }
    let whole = file.len();
    while !bytes.is_empty() {
        let (at, change) = (usize::from(bytes.u16()), bytes.u8());
        if at < file.len() {
            file[at] ^= change;
        } else {
            file.truncate(whole.saturating_sub(at % 16));
            file.extend_from_slice(bytes.slice());
        }
    }
    let claims = bounded(file.len(), 2, || probe::journal(&file, OBJECT, &geometry));
    let Some(claims) = claims else { return };
    let claimed = claims.durable.iter().chain(claims.written.iter());
    let odd: Vec<u32> = claimed
        .filter(|piece| geometry.piece(*piece).is_none_or(|piece| !named.contains(piece)))
        .collect();
    assert!(odd.is_empty(), "{odd:?} are in no record");
    assert!(!claims.torn || whole != file.len() || named.is_empty() || whole > 64);
    assert!(probe::journal(&file, ObjectId([8; 32]), &geometry).is_none(), "another object's");
}

/// A row of the hash cache: a file, and hashes that are whole or not. What is believed is what came, one
/// hash for each piece of the file.
pub(super) fn cache_row(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let whole = bytes.flag();
    let piece_log2 = bytes.u8();
    let stamp = FileStamp {
        device: bytes.u64(),
        inode: bytes.u64(),
        len: if bytes.flag() { bytes.u64() } else { u64::from(bytes.u16()) },
        mtime_ns: i128::from(bytes.u64()),
        ctime_ns: i128::from(bytes.u64()).wrapping_sub(1 << 62),
    };
    let job = HashJob { path: "x".into(), stamp, piece_log2 };
    let digest = if bytes.flag() { bytes.take(32) } else { bytes.slice() };
    let claimed = bytes.u32();
    let pieces = bytes.rest();
    let crc = probe::cache_crc(&job, digest, pieces);
    let crc = crc.filter(|_| whole).unwrap_or(claimed);
    let row = bounded(data.len(), 6, || probe::cache_row(&job, crc, digest, pieces));
    let Some(hashes) = row else { return };
    assert_eq!(hashes.digest.0, *digest);
    assert!(hashes.pieces.iter().flat_map(|piece| piece.0).eq(pieces.iter().copied()));
    assert_eq!(hashes.pieces.len() as u64, stamp.len.div_ceil(1 << piece_log2));
}

const FETCH: FetchKey = FetchKey(1);
const PIECES: u32 = 6;

/// An unfinished fetch: three of six pieces are stored, two of them durable.
struct HalfDone {
    manifest: Arc<Manifest>,
    /// What is in the part folder.
    files: Tree,
    part: String,
}

static HALF_DONE: LazyLock<HalfDone> = LazyLock::new(half_done);

fn piece_bytes(piece: u32) -> Vec<u8> {
    vec![u8::try_from(piece + 1).expect("a few pieces"); 4_096]
}

fn spec(manifest: &Arc<Manifest>) -> Box<FetchSpec> {
    Box::new(FetchSpec {
        manifest: Arc::clone(manifest),
        folder: "/to".into(),
        file_name: "thing".to_owned(),
        part: None,
        if_exists: IfExists::Verify,
        sync: false,
        reserve: 0,
    })
}

fn store(storage: &Storage, piece: PieceIndex) {
    let pieces = vec![(piece, piece_bytes(piece.get()))];
    let TaskResult::Stored { pieces, .. } = storage.run(Task::Store { fetch: FETCH, pieces })
    else {
        panic!("it was to be stored");
    };
    assert!(matches!(pieces[..], [StoredPiece { outcome: Ok(StoreOutcome::Stored), .. }]));
}

fn half_done() -> HalfDone {
    let all: Vec<u8> = (0..PIECES).flat_map(piece_bytes).collect();
    let kind =
        EntryKind::File { executable: false, len: all.len() as u64, digest: Digest::of(&all) };
    let hashes = (0..PIECES).map(|piece| Digest::of(&piece_bytes(piece))).collect();
    let manifest = Manifest::build(12, vec![(Entry { path: None, kind }, hashes)]);
    let manifest = Arc::new(manifest.expect("a good manifest"));
    let disk = Disk::default();
    disk.put("/to", &Tree::default());
    let storage = Storage::new(Arc::new(disk.clone()), None);
    storage.run(Task::Prepare { fetch: FETCH, spec: spec(&manifest) });
    for piece in manifest.geometry().pieces().take(3) {
        store(&storage, piece);
        if piece.get() == 1 {
            storage.run(Task::Checkpoint { fetch: FETCH });
        }
    }
    let part = disk.paths().into_iter().find(|path| path.ends_with("journal"));
    let part = part.and_then(|path| Some(path.parent()?.display().to_string())).expect("a part");
    let files = disk.tree(Path::new(&part)).expect("a part folder");
    HalfDone { manifest, files, part }
}

/// Changes to the files of an unfinished fetch, as after a crash of the disk: each is a file, an offset,
/// and bytes or a cut. Resuming believes no piece that is not there, unless the journal itself was
/// forged, and what is finished then is right.
pub(super) fn resume(data: &[u8]) {
    let half = &*HALF_DONE;
    let mut bytes = Bytes::new(data);
    let mut files = half.files.clone();
    let mut forged = false;
    while !bytes.is_empty() {
        let names: Vec<String> = files.files.keys().cloned().collect();
        let Some(name) = bytes.choose(&names) else { break };
        let file = files.files.get_mut(name).expect("it is there");
        match bytes.below(4) {
            0 => file.truncate(usize::from(bytes.u16())),
            1 => {
                files.files.remove(name);
            }
            _ => {
                let at = usize::from(bytes.u16()) % (file.len() + 1);
                let change = bytes.slice();
                let end = (at + change.len()).max(file.len());
                file.resize(end, 0);
                file[at..at + change.len()].copy_from_slice(change);
            }
        }
        forged |= name == "data";
    }
    let disk = Disk::default();
    disk.put("/to", &Tree::default());
    disk.put(&half.part, &files);
    let storage = Storage::new(Arc::new(disk.clone()) as Arc<dyn Fs>, None);
    let result = storage.run(Task::Prepare { fetch: FETCH, spec: spec(&half.manifest) });
    let TaskResult::Prepared { outcome, .. } = result else { panic!("it was to be prepared") };
    let Ok(prepared) = outcome else { return };
    // A change of the data that leaves its times and the journal as they were is beyond any rule.
    if forged {
        return;
    }
    let geometry = half.manifest.geometry();
    let pieces = prepared.doubtful.iter().filter_map(|piece| geometry.piece(piece)).collect();
    let TaskResult::Rechecked { outcome, .. } = storage.run(Task::Recheck { fetch: FETCH, pieces })
    else {
        panic!("it was to look again");
    };
    let mut have = prepared.have;
    for (piece, _) in outcome.expect("it can be read").into_iter().filter(|(_, there)| *there) {
        have.insert(piece);
    }
    let lost: Vec<u32> = have.iter().filter(|piece| *piece >= 3).collect();
    assert!(lost.is_empty(), "{lost:?} were never stored");
    for piece in geometry.pieces().filter(|piece| !have.contains(*piece)) {
        store(&storage, piece);
    }
    let TaskResult::Finished { outcome, .. } = storage.run(Task::Finish { fetch: FETCH }) else {
        panic!("it was to be finished");
    };
    let path = outcome.expect("nothing is in its way");
    let all: Vec<u8> = (0..PIECES).flat_map(piece_bytes).collect();
    assert_eq!(disk.read(&path, 0, all.len()), Some(all));
}
