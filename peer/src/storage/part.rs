//! The private folder in which a fetch lives until it is complete: `.starling-<16 hex digits>.part` in
//! the destination folder, so that the last step is a rename inside one file system.
//!
//! In it: `lock` (held while a process works here), `manifest`, `journal`, `data` (the file or folder
//! to be), `replaced` (what had the final name before, about to be removed), and `*.bad` (files that
//! did not make sense, set aside).
//!
//! Invariant P1: nothing in it is believed unless the folder belongs to us and its manifest is ours.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Digest, ObjectId, SafePath};
use reactor::FileStamp;

use crate::disk::{FetchSpec, StorageError, StorageErrorKind};

use super::error::{advise, error, refused};
use super::fs::{Folder, FsFile, Kind, Open, Rename};
use super::tree::remove_tree;

/// How the names of part folders begin and end; such folders are never shared.
pub(super) const PART_PREFIX: &str = ".starling-";
pub(super) const PART_SUFFIX: &str = ".part";

/// A part folder that this process holds the lock of.
pub(super) struct Part {
    /// Its name in the destination folder.
    folder: PathBuf,
    /// Did not exist before.
    pub(super) fresh: bool,
    /// Its manifest was ours, so what else is in it is about this object.
    pub(super) trusted: bool,
    lock: Arc<dyn FsFile>,
}

/// The name of the part folder of a fetch: of the object, and of what is wanted of it.
pub(super) fn part_folder(spec: &FetchSpec) -> PathBuf {
    part_folder_of(spec.manifest.id(), spec.part.as_ref())
}

/// The same for who does not have the manifest yet.
pub(super) fn part_folder_of(object: ObjectId, part: Option<&SafePath>) -> PathBuf {
    let key = part.map_or(object.0, |part| {
        let mut both = object.0.to_vec();
        both.extend_from_slice(part.as_str().as_bytes());
        Digest::of(&both).0
    });
    let hex: String = key[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    PathBuf::from(format!("{PART_PREFIX}{hex}{PART_SUFFIX}"))
}

impl Part {
    /// Makes the folder if need be, locks it, and sees to its manifest.
    ///
    /// # Errors
    /// `Locked`, or it can't be used.
    pub(super) fn enter(root: &dyn Folder, spec: &FetchSpec) -> Result<Self, StorageError> {
        // A process that just finished may remove the folder between any two of these steps.
        const TRIES: usize = 16;
        let folder = part_folder(spec);
        let shown = spec.folder.join(&folder);
        let mut fresh = false;
        for _ in 0..TRIES {
            fresh |= make_private(root, &folder, &shown)?;
            let path = folder.join("lock");
            let lock = match open_or_make(root, &path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|cause| refused("open the lock", &shown, &cause))?,
            };
            take(&*lock, &shown)?;
            let same = |a: FileStamp, b: FileStamp| (a.device, a.inode) == (b.device, b.inode);
            let held = lock.meta().map_err(|cause| refused("see the lock", &shown, &cause))?;
            if root.meta(&path).is_ok_and(|there| same(there.stamp, held.stamp)) {
                let mut part = Self { folder, fresh, trusted: true, lock };
                part.note_pid();
                let seen = part.see_to_manifest(root, spec);
                return match seen {
                    Ok(()) => Ok(part),
                    Err(cause) => {
                        if fresh && let Err(left) = part.remove(root) {
                            log::warn!("could not remove the part folder: {left}");
                        }
                        Err(refused("write the manifest", &shown, &cause))
                    }
                };
            }
        }
        Err(locked(&shown, None))
    }

    /// A path in the folder, relative to the destination folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder itself, relative to the destination folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the folder with all that is in it; the lock goes last.
    ///
    /// # Errors
    /// When something can't be removed.
    pub(super) fn remove(self, root: &dyn Folder) -> io::Result<()> {
        for entry in root.list(&self.folder)? {
            if entry.name != "lock" {
                remove_tree(root, &self.folder.join(entry.name))?;
            }
        }
        root.remove_file(&self.path("lock"))?;
        root.remove_folder(&self.folder)?;
        drop(self.lock);
        Ok(())
    }

    /// Gives a file or folder a name that says that it is not to be used.
    ///
    /// # Errors
    /// When it can't be renamed.
    pub(super) fn set_aside(&self, root: &dyn Folder, name: &str, to: &str) -> io::Result<()> {
        let to = self.path(to);
        remove_tree(root, &to)?;
        match root.rename(&self.path(name), &to, Rename::Keep) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// For whoever wonders who holds the lock. Nothing depends on it.
    fn note_pid(&self) {
        // Always as long, so that a simulated run does not depend on the process that it is in.
        let pid = format!("{:>10}\n", std::process::id());
        let noted = self.lock.set_len(0).and_then(|()| self.lock.write_all_at(pid.as_bytes(), 0));
        if let Err(cause) = noted {
            log::debug!("could not note the process id in the lock: {cause}");
        }
    }

    fn see_to_manifest(&mut self, root: &dyn Folder, spec: &FetchSpec) -> io::Result<()> {
        let path = self.path("manifest");
        let ours = &**spec.manifest.bytes();
        let there = read_file(root, &path, ours.len() as u64 + 1)?;
        if there.as_deref() == Some(ours) {
            return Ok(());
        }
        self.trusted = self.fresh;
        if there.is_some() {
            log::warn!("set aside a manifest that is not of this object path={}", path.display());
            self.set_aside(root, "manifest", "manifest.bad")?;
        }
        replace_file(root, &path, ours, false)
    }
}

/// Removes the part folder of a fetch that is complete without it, unless another process is in it.
pub(super) fn remove_leftover(root: &dyn Folder, spec: &FetchSpec) {
    if root.meta(&part_folder(spec)).is_err() {
        return;
    }
    let removed = Part::enter(root, spec).map(|part| part.remove(root));
    match removed {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => log::warn!("could not remove what an earlier run left: {cause}"),
        Err(error) => log::warn!("could not remove what an earlier run left: {error}"),
    }
}

/// Puts `bytes` in the place of a file in one step. If `durable`, they are when this returns.
///
/// # Errors
/// When they can't be written; the old file is intact then.
pub(super) fn replace_file(
    root: &dyn Folder,
    path: &Path,
    bytes: &[u8],
    durable: bool,
) -> io::Result<()> {
    let new = path.with_extension("tmp");
    remove_tree(root, &new)?;
    let file = root.open(&new, Open::New { executable: false })?;
    file.write_all_at(bytes, 0)?;
    if durable {
        file.sync()?;
    }
    root.rename(&new, path, Rename::Replace)?;
    match path.parent() {
        Some(parent) if durable => root.sync_folder(parent),
        _ => Ok(()),
    }
}

/// A whole file, but at most `max` bytes of it. `None` if there is none.
///
/// # Errors
/// When it is not a regular file or can't be read.
pub(super) fn read_file(root: &dyn Folder, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match root.open(path, Open::Read) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let len = usize::try_from(file.meta()?.stamp.len.min(max)).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Reads until the buffer is full or the file ends; how many bytes.
///
/// # Errors
/// When the disk fails.
pub(super) fn read_full(file: &dyn FsFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64)? {
            0 => break,
            some => read += some,
        }
    }
    Ok(read)
}

/// Makes the part folder; whether it is new. One that is there must be a folder of our own, or somebody
/// else could have put data and a journal there for us to believe.
fn make_private(root: &dyn Folder, folder: &Path, shown: &Path) -> Result<bool, StorageError> {
    match root.make_folder(folder, true) {
        Ok(()) => return Ok(true),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
        Err(cause) => return Err(refused("make a folder for the fetch", shown, &cause)),
    }
    let problem = match root.meta(folder) {
        // It was removed just now: the caller's loop makes it.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(cause) => return Err(refused("see the folder of the fetch", shown, &cause)),
        Ok(meta) if meta.kind != Kind::Folder => "is not a folder",
        Ok(meta) if !meta.ours => "belongs to another user",
        Ok(_) => return Ok(false),
    };
    let what = format!("the place for the unfinished fetch {problem}");
    let error = error(StorageErrorKind::Io, what, shown);
    Err(advise(error, "remove it, or choose another folder with -o"))
}

fn open_or_make(root: &dyn Folder, path: &Path) -> io::Result<Arc<dyn FsFile>> {
    match root.open(path, Open::Write) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            match root.open(path, Open::New { executable: false }) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                    root.open(path, Open::Write)
                }
                other => other,
            }
        }
        other => other,
    }
}

fn take(lock: &dyn FsFile, shown: &Path) -> Result<(), StorageError> {
    match lock.try_lock() {
        Ok(true) => Ok(()),
        Ok(false) => {
            let mut pid = [0; 20];
            let read = read_full(lock, &mut pid, 0).unwrap_or(0);
            let text = std::str::from_utf8(&pid[..read]).unwrap_or_default();
            Err(locked(shown, text.trim().parse().ok()))
        }
        Err(cause) if cause.kind() == io::ErrorKind::Unsupported => {
            log::warn!("no locks on this file system: run one fetch of this object at a time only");
            Ok(())
        }
        Err(cause) => Err(refused("lock the fetch", shown, &cause)),
    }
}

fn locked(shown: &Path, pid: Option<u32>) -> StorageError {
    let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    let what = format!("another peer{who} is fetching the same object to the same folder");
    let error = error(StorageErrorKind::Locked, what, shown);
    advise(error, "wait for it, stop it, or choose another folder with -o")
}
