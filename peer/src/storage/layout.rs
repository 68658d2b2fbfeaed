//! Which files and folders a fetch makes, and which pieces it wants: the whole object, or the entries at
//! or below one path of it. Pure data, no I/O.

use std::path::{Path, PathBuf};

use protocol::{Entry, EntryKind, Manifest, PieceSet, SafePath};

use crate::disk::{FetchSpec, StorageError, StorageErrorKind};

use super::error::{advise, error};

/// One file that a fetch makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedFile {
    /// Index in the manifest's entries.
    pub(super) index: usize,
    /// Below the fetched thing; empty if that is this file.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) len: u64,
    /// May be executed.
    pub(super) executable: bool,
    /// One of the files of a folder that is written whole with its only piece, and not made before:
    /// making thousands of small files takes longer than fetching them.
    pub(super) made_late: bool,
}

/// What a fetch makes.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// It is one file rather than a folder.
    pub(super) single: bool,
    /// Ascending by index.
    pub(super) files: Vec<WantedFile>,
    /// All folders below the fetched one, each after the one that holds it.
    pub(super) folders: Vec<PathBuf>,
    /// The pieces of `files`.
    pub(super) wanted: PieceSet,
}

impl Layout {
    /// What `spec` asks for.
    ///
    /// # Errors
    /// When the object has nothing at the path that is asked for.
    pub(super) fn new(spec: &FetchSpec) -> Result<Self, StorageError> {
        let manifest = &*spec.manifest;
        let geometry = manifest.geometry();
        let mut layout = Self {
            single: manifest.is_single_file(),
            files: Vec::new(),
            folders: Vec::new(),
            wanted: PieceSet::empty(geometry.piece_count()),
        };
        let mut found = false;
        for (index, entry) in manifest.entries().iter().enumerate() {
            let Some(path) = path_in(entry, spec.part.as_ref()) else { continue };
            found = true;
            let file = matches!(entry.kind, EntryKind::File { .. });
            layout.single |= file && path.as_os_str().is_empty();
            layout.add_folders(if file { path.parent() } else { Some(&path) });
            if let EntryKind::File { executable, len, .. } = entry.kind {
                let made_late = !layout.single && (1..=geometry.piece_size().into()).contains(&len);
                layout.files.push(WantedFile { index, path, len, executable, made_late });
                for piece in geometry.pieces_of(index) {
                    layout.wanted.insert(piece);
                }
            }
        }
        layout.folders.sort_unstable();
        layout.folders.dedup();
        match &spec.part {
            Some(part) if !found => Err(no_such_part(manifest, part)),
            _ => Ok(layout),
        }
    }

    /// The file with this index in the manifest's entries.
    pub(super) fn file(&self, index: usize) -> Option<&WantedFile> {
        let at = self.files.binary_search_by_key(&index, |file| file.index).ok()?;
        self.files.get(at)
    }

    fn add_folders(&mut self, innermost: Option<&Path>) {
        let mut folder = innermost;
        while let Some(path) = folder.filter(|path| !path.as_os_str().is_empty()) {
            // Entries are in order: if it was the last one added, so were those above it.
            if self.folders.last().is_some_and(|last| last == path) {
                break;
            }
            self.folders.push(path.to_owned());
            folder = path.parent();
        }
    }
}

/// Where an entry lies below what is fetched; `None` if it is not part of that.
fn path_in(entry: &Entry, part: Option<&SafePath>) -> Option<PathBuf> {
    match (&entry.path, part) {
        (None, None) => Some(PathBuf::new()),
        (None, Some(_)) => None,
        (Some(path), None) => Some(PathBuf::from(path.as_str())),
        (Some(path), Some(part)) => {
            let rest = path.as_str().strip_prefix(part.as_str())?;
            if rest.is_empty() {
                return Some(PathBuf::new());
            }
            rest.strip_prefix('/').map(PathBuf::from)
        }
    }
}

fn no_such_part(manifest: &Manifest, part: &SafePath) -> StorageError {
    let what = if manifest.is_single_file() {
        "the object is one file and has nothing inside it"
    } else {
        "the object has no such file or folder"
    };
    advise(
        error(StorageErrorKind::NotFound, what, Path::new(part.as_str())),
        "`peer info NAME --files` lists what is in it",
    )
}
