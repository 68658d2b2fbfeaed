//! One fetch from the first stored piece to the last: write, checkpoint, open for serving.
//!
//! Invariants:
//! * S1: a piece is written only after its hash was found right, with one write at its place.
//! * S2: a piece is noted in the journal after it was written, and as durable only after the disk has
//!   confirmed it.
//! * S3: after the disk has failed to confirm a piece it does not count as stored, whatever a read
//!   returns, and the fetch goes no further.
//! * S4: no disk operation that may take long happens while the state is locked.

use std::collections::BTreeSet;
use std::io;
use std::iter::once;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{Digest, PieceIndex, PieceSet, PieceSpan};
use reactor::{FileStamp, Source};

use crate::disk::{FetchSpec, StorageError, StorageErrorKind, StoreOutcome, StoredPiece};

use super::SMALL_FILE;
use super::error::{advise, error, reason, refused};
use super::fs::{Folder, FsFile, Open};
use super::journal::{Fact, Journal};
use super::layout::{Layout, WantedFile};
use super::naming::make_file;
use super::open_files::{MAX_OPEN, OpenFiles};
use super::part::Part;
use super::sha256::{digest, digest_pair};
use super::shared::read_small;
use super::tree::join;

/// One fetch.
pub(super) struct Fetch {
    pub(super) spec: FetchSpec,
    pub(super) layout: Layout,
    pub(super) root: Arc<dyn Folder>,
    state: Mutex<State>,
    /// Held while data is made durable or given its name: one worker must not do the second while another is
    /// at the first. Locked before the state.
    settling: Mutex<()>,
}

/// What changes while a fetch goes on.
pub(super) struct State {
    /// Where the data is, relative to the destination folder.
    pub(super) base: PathBuf,
    /// `None` once there is nothing to clean up any more.
    pub(super) part: Option<Part>,
    /// `None` once nothing more can be stored.
    pub(super) journal: Option<Journal>,
    pub(super) stored: PieceSet,
    /// Stored, and not yet confirmed by the disk.
    pub(super) pending: Vec<PieceIndex>,
    /// Indices of the files that `pending` is in.
    pub(super) dirty: BTreeSet<usize>,
    pub(super) open: OpenFiles,
    /// Indices of the files that will be made when their pieces come.
    pub(super) absent: BTreeSet<usize>,
    /// Folders below `base` in which files were made since the names in them were durable.
    new_names: BTreeSet<PathBuf>,
    /// A dirty file was closed: only syncing everything is sure to report its failures.
    pub(super) lost_track: bool,
    /// The names of all files and folders of the part are durable, but for `new_names`.
    pub(super) names_durable: bool,
    /// Why the fetch can't go on.
    pub(super) failed: Option<StorageError>,
    /// Of the layout's files, in order, once the data has its final name.
    pub(super) stamps: Option<Vec<FileStamp>>,
}

impl State {
    /// Of data at `base` of which `stored` is there.
    pub(super) fn new(base: PathBuf, stored: PieceSet) -> Self {
        Self {
            base,
            part: None,
            journal: None,
            stored,
            pending: Vec::new(),
            dirty: BTreeSet::new(),
            open: OpenFiles::default(),
            absent: BTreeSet::new(),
            new_names: BTreeSet::new(),
            lost_track: false,
            names_durable: false,
            failed: None,
            stamps: None,
        }
    }

    pub(super) fn usable(&self) -> Result<(), StorageError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// A piece is in its place in a file, though maybe not durable. Whether that is news.
    fn count(&mut self, piece: PieceIndex, file: usize) -> bool {
        let news = self.stored.insert(piece);
        if news {
            self.pending.push(piece);
            self.dirty.insert(file);
            self.lost_track |= self.open.get(file).is_none();
        }
        news
    }

    fn keep_open(&mut self, index: usize, file: Arc<dyn FsFile>) {
        let closed = self.open.put(index, file);
        self.lost_track |= closed.is_some_and(|closed| self.dirty.contains(&closed));
    }
}

/// What one checkpoint makes durable.
struct Batch {
    pieces: Vec<PieceIndex>,
    /// `None` to sync everything.
    files: Option<Vec<Arc<dyn FsFile>>>,
    /// Folders below the data in which names are not durable yet.
    folders: Vec<PathBuf>,
    /// Nor are those of the part.
    names: bool,
}

impl Fetch {
    pub(super) fn new(
        spec: FetchSpec,
        layout: Layout,
        root: Arc<dyn Folder>,
        state: State,
    ) -> Self {
        Self { spec, layout, root, state: Mutex::new(state), settling: Mutex::new(()) }
    }

    /// A thread that panicked while it held the lock left nothing half done that matters more than
    /// going on: every claim in the state follows a finished disk operation.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes pieces, and writes those that are right.
    pub(super) fn store(&self, pieces: Vec<(PieceIndex, Vec<u8>)>) -> Vec<StoredPiece> {
        let digests = digests(&pieces);
        let mut written = Vec::with_capacity(pieces.len());
        let store = |((piece, data), digest): ((_, Vec<u8>), _)| {
            let outcome = self.write(piece, &data, digest, &mut written);
            StoredPiece { piece, data, outcome }
        };
        let outcomes = pieces.into_iter().zip(digests).map(store).collect();
        self.note_stored(&written);
        outcomes
    }

    /// Writes a piece if its digest is right, and adds it to `written`, with its file.
    fn write(
        &self,
        piece: PieceIndex,
        data: &[u8],
        digest: Digest,
        written: &mut Vec<(PieceIndex, usize)>,
    ) -> Result<StoreOutcome, StorageError> {
        let (span, file) = self.place_of(piece)?;
        let right = self.spec.manifest.piece_hash(piece);
        let unchecked = canary!("skip-the-hash");
        if data.len() != span.len as usize || (digest != right && !unchecked) {
            return Ok(StoreOutcome::Mismatch);
        }
        let (handle, path) = {
            let mut state = self.state();
            state.usable()?;
            if state.stored.contains(piece) {
                return Ok(StoreOutcome::Stored);
            }
            self.handle(&mut state, file)?
        };
        let last = span.offset + u64::from(span.len) == file.len;
        let short = usize::from(last && canary!("last-byte"));
        handle
            .write_all_at(&data[..data.len() - short], span.offset)
            .map_err(|cause| refused(&format!("write piece {}", piece.get()), &path, &cause))?;
        written.push((piece, span.file));
        Ok(StoreOutcome::Stored)
    }

    /// Where a piece of this fetch lies.
    pub(super) fn place_of(
        &self,
        piece: PieceIndex,
    ) -> Result<(PieceSpan, &WantedFile), StorageError> {
        let geometry = self.spec.manifest.geometry();
        let span = geometry.piece(piece.get()).map(|piece| geometry.span(piece));
        span.and_then(|span| Some((span, self.layout.file(span.file)?))).ok_or_else(|| {
            let what = format!("piece {} is not part of this fetch", piece.get());
            error(StorageErrorKind::Io, what, &self.spec.folder)
        })
    }

    fn note_stored(&self, written: &[(PieceIndex, usize)]) {
        let mut state = self.state();
        let news = written.iter().filter(|(piece, file)| state.count(*piece, *file));
        let news: Vec<PieceIndex> = news.map(|(piece, _)| *piece).collect();
        if let Some(journal) = state.journal.as_mut().filter(|_| !news.is_empty())
            && let Err(cause) = journal.append(Fact::Written, &news)
        {
            // The pieces are there all the same; without the note, a crash loses them at worst.
            log::debug!("could not note {} pieces in the journal: {cause}", news.len());
        }
    }

    /// A piece that was written by an earlier run is right. The journal has it as written already.
    pub(super) fn take_back(&self, piece: PieceIndex, file: usize) {
        self.state().count(piece, file);
    }

    /// Waits for a checkpoint that is under way, and holds up the next one.
    pub(super) fn settling(&self) -> MutexGuard<'_, ()> {
        self.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everything stored so far durable, and notes that. After the end there is nothing to do.
    pub(super) fn checkpoint(&self) -> Result<(), StorageError> {
        let _turn = self.settling();
        if !self.confirm(true)? {
            return Ok(());
        }
        let journal = self.state().journal.as_ref().map(Journal::file);
        match journal.map(|journal| journal.sync()) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(cause)) => Err(self.fail(&cause)),
        }
    }

    /// Waits until the disk has confirmed what is pending, and the names of the files if that was not
    /// done yet (`all_names`: those of the part, too); appends that to the journal. Whether there was
    /// anything to do.
    pub(super) fn confirm(&self, all_names: bool) -> Result<bool, StorageError> {
        let Some(batch) = self.take_batch()? else { return Ok(false) };
        if canary!("journal-before-sync")
            && let Some(journal) = &mut self.state().journal
        {
            journal.append(Fact::Durable, &batch.pieces).ok();
        }
        if let Err(cause) = self.sync_batch(&batch, all_names) {
            mark!("disk-did-not-confirm");
            self.revoke(&batch.pieces);
            return Err(self.fail(&cause));
        }
        let mut state = self.state();
        state.names_durable |= all_names;
        let appended = match &mut state.journal {
            Some(journal) => journal.append(Fact::Durable, &batch.pieces),
            None => Ok(()),
        };
        if let Err(cause) = appended {
            state.pending.extend(batch.pieces);
            return Err(refused("write the journal", &self.shown(&state.base), &cause));
        }
        Ok(true)
    }

    fn take_batch(&self) -> Result<Option<Batch>, StorageError> {
        let mut state = self.state();
        state.usable()?;
        if state.journal.is_none() || (state.pending.is_empty() && state.names_durable) {
            return Ok(None);
        }
        let pieces = std::mem::take(&mut state.pending);
        let dirty = std::mem::take(&mut state.dirty);
        let lost_track = std::mem::take(&mut state.lost_track);
        let files = if lost_track || dirty.len() > MAX_OPEN {
            None
        } else {
            dirty.iter().map(|index| state.open.get(*index)).collect()
        };
        let new_names = std::mem::take(&mut state.new_names);
        let names = !state.names_durable;
        let folders = match (names, self.layout.single) {
            (true, true) => Vec::new(),
            (true, false) => {
                once(PathBuf::new()).chain(self.layout.folders.iter().cloned()).collect()
            }
            (false, _) => new_names.into_iter().collect(),
        };
        Ok(Some(Batch { pieces, files, folders, names }))
    }

    fn sync_batch(&self, batch: &Batch, all_names: bool) -> io::Result<()> {
        let Some(files) = &batch.files else {
            // One pass over the file system is far cheaper than one per small file. Names, too.
            return self.root.sync_all();
        };
        files.iter().try_for_each(|file| file.sync())?;
        let (base, part) = {
            let state = self.state();
            let part = state.part.as_ref();
            (state.base.clone(), part.map(|part| (part.folder().to_owned(), part.path("manifest"))))
        };
        for folder in &batch.folders {
            self.root.sync_folder(&join(&base, folder))?;
        }
        if let Some((folder, manifest)) = part.filter(|_| batch.names && all_names) {
            self.root.open(&manifest, Open::Write)?.sync()?;
            self.root.sync_folder(&folder)?;
            self.root.sync_folder(Path::new(""))?;
        }
        Ok(())
    }

    /// The disk did not confirm these pieces: they are not stored, now or in any later run (S3).
    fn revoke(&self, pieces: &[PieceIndex]) {
        let mut state = self.state();
        for piece in pieces {
            state.stored.remove(*piece);
        }
        let Some(journal) = &mut state.journal else { return };
        let appended = journal.append(Fact::Revoked, pieces);
        let file = journal.file();
        drop(state);
        if let Err(cause) = appended.and_then(|()| file.sync()) {
            // A later run hashes them from the disk itself, not from memory, before it believes them.
            log::warn!("could not note lost pieces in the journal: {cause}");
        }
    }

    pub(super) fn fail(&self, cause: &io::Error) -> StorageError {
        let mut state = self.state();
        let what = format!("the disk failed to save what was written: {}", reason(cause));
        let error = advise(
            error(StorageErrorKind::Io, what, &self.shown(&state.base)),
            "look at the system's log; then run the same command again: what is safe is kept",
        );
        state.failed = Some(error.clone());
        error
    }

    /// Opens a file for serving its stored pieces.
    pub(super) fn open(&self, index: usize) -> Result<Source, StorageError> {
        let Some(file) = self.layout.file(index) else {
            let what = format!("file {index} is not part of this fetch");
            return Err(error(StorageErrorKind::NotFound, what, &self.spec.folder));
        };
        if file.len == 0 {
            return Ok(Source::from_bytes(Vec::new()));
        }
        let mut state = self.state();
        if state.absent.contains(&index) {
            let what = "nothing of this file is stored yet";
            return Err(error(StorageErrorKind::NotFound, what, &self.shown(&file.path)));
        }
        let (handle, path) = self.handle(&mut state, file)?;
        let at = self.layout.files.binary_search_by_key(&index, |file| file.index).ok();
        let stamp = at.and_then(|at| state.stamps.as_ref()?.get(at).copied());
        let mut pieces = self.spec.manifest.geometry().pieces_of(index);
        let complete = pieces.all(|piece| state.stored.contains(piece));
        drop(state);
        if file.len <= SMALL_FILE && complete {
            return read_small(&*handle, file.len, stamp, &path);
        }
        handle.source(file.len, stamp).map_err(|cause| refused("open it", &path, &cause))
    }

    /// A file, open, and made if it is time; and its path for messages.
    pub(super) fn handle(
        &self,
        state: &mut State,
        file: &WantedFile,
    ) -> Result<(Arc<dyn FsFile>, PathBuf), StorageError> {
        let path = join(&state.base, &file.path);
        let shown = self.shown(&path);
        if let Some(open) = state.open.get(file.index) {
            return Ok((open, shown));
        }
        let opened = if state.absent.contains(&file.index) {
            let made = make_file(&*self.root, &path, file.executable, &shown)?;
            state.absent.remove(&file.index);
            state.new_names.extend(file.path.parent().map(Path::to_owned));
            made
        } else {
            let how = if state.journal.is_some() { Open::Write } else { Open::Read };
            self.root.open(&path, how).map_err(|cause| refused("open it", &shown, &cause))?
        };
        state.keep_open(file.index, Arc::clone(&opened));
        Ok((opened, shown))
    }

    /// A path as the user knows it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        self.spec.folder.join(path)
    }
}

/// The digest of each piece. Two are hashed side by side, which takes little longer than one.
fn digests(pieces: &[(PieceIndex, Vec<u8>)]) -> Vec<Digest> {
    let mut digests = Vec::with_capacity(pieces.len());
    let (pairs, last) = pieces.as_chunks();
    for [(_, a), (_, b)] in pairs {
        digests.extend(<[Digest; 2]>::from(digest_pair(a, b)));
    }
    digests.extend(last.iter().map(|(_, data)| digest(data)));
    digests
}
