//! The end of a fetch: make it durable, give it its name, clean up.
//!
//! Invariant F1: the final name is given in one step, to complete and verified data, and never takes the
//! place of something that the user did not want replaced. A crash before that step leaves the part, a
//! crash after it leaves the object; what else is left then is removed by the next run.

use std::io;
use std::path::{Path, PathBuf};

use reactor::FileStamp;

use crate::disk::{IfExists, StorageError, StorageErrorKind};

use super::error::{advise, error, reason, refused};
use super::fetch::{Fetch, State};
use super::fs::{Kind, Rename};
use super::layout::WantedFile;
use super::tree::{differences, join, remove_tree};

impl Fetch {
    /// Gives the data its final name. Can be called again if it failed.
    pub(super) fn finish(&self) -> Result<PathBuf, StorageError> {
        let _turn = self.settling();
        let shown = self.shown(Path::new(&self.spec.file_name));
        if self.state().stamps.is_none() {
            self.ready()?;
            if self.spec.sync && !canary!("rename-before-sync") {
                self.confirm(false)?;
            }
            let stamps = self.stamps()?;
            self.place(stamps)?;
        }
        if self.spec.sync {
            self.root
                .sync_folder(Path::new(""))
                .map_err(|cause| refused("make sure that its name is kept", &shown, &cause))?;
        }
        let part = {
            let mut state = self.state();
            state.journal = None;
            state.part.take()
        };
        if let Some(Err(cause)) = part.map(|part| part.remove(&*self.root)) {
            let folder = self.spec.folder.display();
            log::warn!("could not remove the part folder in {folder}: {}", reason(&cause));
        }
        Ok(shown)
    }

    /// Makes durable what is stored; for the end without [`Fetch::finish`].
    pub(super) fn release(&self) {
        if let Err(error) = self.checkpoint() {
            log::warn!("what was stored last may be lost: {error}");
        }
        self.state().open.clear();
    }

    fn ready(&self) -> Result<(), StorageError> {
        let state = self.state();
        state.usable()?;
        let missing = self.layout.wanted.iter().filter_map(|raw| {
            let piece = self.spec.manifest.geometry().piece(raw)?;
            (!state.stored.contains(piece)).then_some(piece)
        });
        match missing.count() {
            0 => Ok(()),
            count => {
                let what = format!("{count} pieces are not stored yet");
                Err(error(StorageErrorKind::Io, what, &self.shown(&state.base)))
            }
        }
    }

    /// What the files are, once they are complete; and a last look at whether they are all that is
    /// about to get the name.
    fn stamps(&self) -> Result<Vec<FileStamp>, StorageError> {
        let base = self.state().base.clone();
        let found = differences(&*self.root, &base, &self.layout)
            .map_err(|cause| refused("look through the data", &self.shown(&base), &cause))?;
        if let Some(stranger) = found.extra.or(found.missing) {
            return Err(disturbed("was added or removed", &self.shown(&join(&base, &stranger))));
        }
        let stamp = |file: &WantedFile| {
            let path = join(&base, &file.path);
            let shown = self.shown(&path);
            let meta = self.root.meta(&path).map_err(|cause| refused("see it", &shown, &cause))?;
            if meta.kind == Kind::File && meta.stamp.len == file.len {
                return Ok(meta.stamp);
            }
            let what = format!("has {} bytes, {} were written", meta.stamp.len, file.len);
            Err(disturbed(&what, &shown))
        };
        self.layout.files.iter().map(stamp).collect()
    }

    /// Renames, and looks for the files under the new name from then on.
    fn place(&self, stamps: Vec<FileStamp>) -> Result<(), StorageError> {
        let to = PathBuf::from(&self.spec.file_name);
        let shown = self.shown(&to);
        let mut state = self.state();
        match self.root.rename(&state.base, &to, Rename::Keep) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                if self.spec.if_exists != IfExists::Replace {
                    return Err(exists(&shown, "appeared while the object was fetched"));
                }
                self.replace(&state, &to).map_err(|cause| refused("replace it", &shown, &cause))?;
            }
            Err(cause) => return Err(refused("give the object its name", &shown, &cause)),
        }
        state.base = to;
        state.stamps = Some(stamps);
        Ok(())
    }

    /// The old thing goes into the part folder, and away with it.
    fn replace(&self, state: &State, to: &Path) -> io::Result<()> {
        match self.root.rename(&state.base, to, Rename::Swap) {
            Err(cause) if cause.kind() == io::ErrorKind::Unsupported => {}
            other => return other,
        }
        let Some(part) = &state.part else { return Err(io::ErrorKind::Unsupported.into()) };
        let aside = part.path("replaced");
        remove_tree(&*self.root, &aside)?;
        self.root.rename(to, &aside, Rename::Keep)?;
        self.root.rename(&state.base, to, Rename::Keep)
    }
}

fn disturbed(what: &str, shown: &Path) -> StorageError {
    let error = error(StorageErrorKind::Changed, what, shown);
    advise(error, "something else writes to the unfinished fetch; run the same command again")
}

/// Something else has the final name.
pub(super) fn exists(shown: &Path, why: &str) -> StorageError {
    advise(
        error(StorageErrorKind::Exists, format!("something is there already: {why}"), shown),
        "--if-exists replace replaces it; -o chooses another folder",
    )
}
