//! Small objects to fetch, and a fetch as the machine would drive it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peer::disk::{
    FetchKey, FetchSpec, FileKey, IfExists, Prepared, StorageError, StoreOutcome, Task, TaskResult,
};
use peer::storage::Storage;
use protocol::{Digest, Entry, EntryKind, Manifest, PieceIndex, SafePath};
use reactor::Source;

pub(crate) const FETCH: FetchKey = FetchKey(1);
const PIECE_LOG2: u8 = 12;

/// An object with its bytes: `None` for an empty folder. The key is empty for a file object.
pub(crate) struct Object {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) contents: BTreeMap<String, Option<Vec<u8>>>,
}

/// Bytes that differ from piece to piece.
pub(crate) fn bytes(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 7 + at / 4096 * 31) % 251).unwrap() ^ salt).collect()
}

/// `name*` is executable, `name/` an empty folder.
pub(crate) fn object(files: &[(&str, Vec<u8>)]) -> Object {
    let mut entries = Vec::new();
    let mut contents = BTreeMap::new();
    for (name, bytes) in files {
        let path = name.trim_end_matches(['*', '/']);
        let safe = (!path.is_empty()).then(|| SafePath::new(path).unwrap());
        if name.ends_with('/') {
            contents.insert(path.to_owned(), None);
            entries.push((Entry { path: safe, kind: EntryKind::EmptyFolder }, Vec::new()));
            continue;
        }
        contents.insert(path.to_owned(), Some(bytes.clone()));
        let kind = EntryKind::File {
            executable: name.ends_with('*'),
            len: bytes.len() as u64,
            digest: Digest::of(bytes),
        };
        let hashes = bytes.chunks(1 << PIECE_LOG2).map(Digest::of).collect();
        entries.push((Entry { path: safe, kind }, hashes));
    }
    Object { manifest: Arc::new(Manifest::build(PIECE_LOG2, entries).unwrap()), contents }
}

/// A bit of everything.
pub(crate) fn folder_object() -> Object {
    object(&[
        ("a.txt", bytes(10_000, 1)),
        ("a/b/c/deep*", bytes(4_096, 2)),
        ("empty", Vec::new()),
        ("leer/", Vec::new()),
        ("Ünï/файл/名前 x.dat", bytes(4_097, 3)),
    ])
}

impl Object {
    pub(crate) fn spec(&self, folder: &Path) -> FetchSpec {
        FetchSpec {
            manifest: Arc::clone(&self.manifest),
            folder: folder.to_owned(),
            file_name: "thing".to_owned(),
            part: None,
            if_exists: IfExists::Verify,
            sync: true,
            reserve: 0,
        }
    }

    pub(crate) fn piece(&self, piece: PieceIndex) -> Vec<u8> {
        let span = self.manifest.geometry().span(piece);
        let path = self.manifest.entries()[span.file].path.as_ref();
        let all = self.contents[path.map_or("", SafePath::as_str)].as_ref().unwrap();
        let start = usize::try_from(span.offset).unwrap();
        all[start..start + span.len as usize].to_vec()
    }

    /// Panics unless `top` is exactly this object.
    pub(crate) fn assert_at(&self, top: &Path) {
        let mut found = BTreeMap::new();
        read_tree(top, "", &mut found);
        assert!(found == self.contents, "{top:?} holds {:?}", found.keys());
        for entry in self.manifest.entries() {
            let Entry { path, kind: EntryKind::File { executable, .. } } = entry else { continue };
            let path = path.as_ref().map_or_else(|| top.to_owned(), |path| top.join(path.as_str()));
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o100 != 0, *executable, "{path:?} has mode {mode:o}");
        }
    }
}

fn read_tree(path: &Path, relative: &str, found: &mut BTreeMap<String, Option<Vec<u8>>>) {
    if !path.is_dir() {
        found.insert(relative.to_owned(), Some(std::fs::read(path).unwrap()));
        return;
    }
    let entries: Vec<_> = std::fs::read_dir(path).unwrap().map(Result::unwrap).collect();
    if entries.is_empty() {
        found.insert(relative.to_owned(), None);
    }
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        let below = if relative.is_empty() { name } else { format!("{relative}/{name}") };
        read_tree(&entry.path(), &below, found);
    }
}

/// Names in a folder, hidden ones too.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The part folder in `folder`, if there is one.
pub(crate) fn part_in(folder: &Path) -> Option<PathBuf> {
    let name = names(folder).into_iter().find(|name| name.starts_with(".starling-"))?;
    Some(folder.join(name))
}

/// Prepares a fetch, and checks what is doubtful: `have` is all that turns out to be there.
pub(crate) fn prepare(storage: &Storage, spec: &FetchSpec) -> Result<Prepared, StorageError> {
    let mut prepared =
        match storage.run(Task::Prepare { fetch: FETCH, spec: Box::new(spec.clone()) }) {
            TaskResult::Prepared { outcome, .. } => outcome?,
            other => panic!("{other:?}"),
        };
    let geometry = spec.manifest.geometry();
    let pieces: Vec<_> = geometry.pieces().filter(|one| prepared.doubtful.contains(*one)).collect();
    assert!(pieces.iter().all(|piece| !prepared.have.contains(*piece)), "believed and doubted");
    match storage.run(Task::Recheck { fetch: FETCH, pieces: pieces.clone() }) {
        TaskResult::Rechecked { outcome, .. } => {
            let outcome = outcome?;
            assert!(outcome.iter().map(|(piece, _)| piece).eq(&pieces), "each is answered for");
            for (piece, _) in outcome.iter().filter(|(_, holds)| *holds) {
                prepared.have.insert(*piece);
            }
        }
        other => panic!("{other:?}"),
    }
    Ok(prepared)
}

pub(crate) fn store(
    storage: &Storage,
    piece: PieceIndex,
    data: Vec<u8>,
) -> Result<StoreOutcome, StorageError> {
    let sent = data.clone();
    match storage.run(Task::Store { fetch: FETCH, pieces: vec![(piece, data)] }) {
        TaskResult::Stored { mut pieces, .. } => {
            let stored = pieces.pop().unwrap();
            assert_eq!((stored.piece, stored.data), (piece, sent), "the buffer comes back");
            stored.outcome
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn checkpoint(storage: &Storage) -> Result<(), StorageError> {
    match storage.run(Task::Checkpoint { fetch: FETCH }) {
        TaskResult::Checkpointed { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn finish(storage: &Storage) -> Result<PathBuf, StorageError> {
    match storage.run(Task::Finish { fetch: FETCH }) {
        TaskResult::Finished { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn release(storage: &Storage) {
    storage.run(Task::Release { fetch: FETCH });
}

pub(crate) fn open(storage: &Storage, file: usize) -> Result<Source, StorageError> {
    let key = FileKey::Fetched { fetch: FETCH, file };
    match storage.run(Task::OpenFetched { key }) {
        TaskResult::Opened { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn all_of(source: &Source) -> Vec<u8> {
    let mut out = Vec::new();
    source.read_range(0..source.len(), &mut out).unwrap();
    out
}

/// Fetches everything, with a checkpoint after each second piece. `acked` gets each piece that was
/// stored as far as the machine could know.
pub(crate) fn fetch(
    storage: &Storage,
    object: &Object,
    spec: &FetchSpec,
    mut acked: impl FnMut(PieceIndex),
) -> Result<PathBuf, StorageError> {
    let prepared = prepare(storage, spec)?;
    if let Some(path) = prepared.finished {
        release(storage);
        return Ok(path);
    }
    let wanted = prepared.wanted.iter().filter_map(|raw| object.manifest.geometry().piece(raw));
    for (count, piece) in wanted.filter(|piece| !prepared.have.contains(*piece)).enumerate() {
        assert_eq!(store(storage, piece, object.piece(piece))?, StoreOutcome::Stored);
        acked(piece);
        if count % 2 == 1 {
            checkpoint(storage)?;
        }
    }
    let path = finish(storage)?;
    release(storage);
    Ok(path)
}
