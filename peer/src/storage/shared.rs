//! Files that are served from where the user keeps them: open one only as long as it is what was hashed.

use std::path::{Path, PathBuf};

use reactor::{FileStamp, Source};

use crate::disk::{StorageError, StorageErrorKind};

use super::SMALL_FILE;
use super::error::{advise, error, refused};
use super::fs::{Fs, FsFile};
use super::part::read_full;

/// Opens a seeded file for serving.
///
/// # Errors
/// `Changed` if it is not what it was, or is gone.
pub(super) fn open_shared(
    fs: &dyn Fs,
    path: &Path,
    stamp: FileStamp,
) -> Result<Source, StorageError> {
    let file = fs.open(path).map_err(|cause| gone_or(refused("open it", path, &cause)))?;
    let now = file.meta().map_err(|cause| refused("see it", path, &cause))?.stamp;
    if !stamp.same_content(&now) {
        return Err(changed(path, &stamp, &now));
    }
    match stamp.len {
        0 => Ok(Source::from_bytes(Vec::new())),
        1..=SMALL_FILE => read_small(&*file, stamp.len, Some(stamp), path),
        len => file.source(len, Some(stamp)).map_err(|cause| refused("open it", path, &cause)),
    }
}

/// The first of some files that is no longer what it was.
pub(super) fn check_files(fs: &dyn Fs, files: &[(PathBuf, FileStamp)]) -> Option<StorageError> {
    files.iter().find_map(|(path, stamp)| match fs.meta(path, true) {
        Ok(now) if stamp.same_content(&now.stamp) => None,
        Ok(now) => Some(changed(path, stamp, &now.stamp)),
        Err(cause) => Some(gone_or(refused("see it", path, &cause))),
    })
}

/// A whole small file in memory: a mapping and a descriptor each would cost more than its bytes.
///
/// # Errors
/// `Changed` if it does not fit `stamp` after it was read, or ends early.
pub(super) fn read_small(
    file: &dyn FsFile,
    len: u64,
    stamp: Option<FileStamp>,
    path: &Path,
) -> Result<Source, StorageError> {
    let size = usize::try_from(len.min(SMALL_FILE)).expect("64 KiB fit any address space");
    let mut bytes = vec![0; size];
    let read = read_full(file, &mut bytes, 0).map_err(|cause| refused("read it", path, &cause))?;
    let now = file.meta().map_err(|cause| refused("see it", path, &cause))?.stamp;
    if let Some(stamp) = stamp.filter(|stamp| !stamp.same_content(&now)) {
        return Err(changed(path, &stamp, &now));
    }
    if read < size {
        let what = format!("has {read} bytes, {len} were expected");
        return Err(error(StorageErrorKind::Changed, what, path));
    }
    Ok(Source::from_bytes(bytes))
}

/// A file is no longer what it was, and how that shows.
pub(super) fn changed(path: &Path, was: &FileStamp, now: &FileStamp) -> StorageError {
    let how = if was.len != now.len {
        format!("size {} → {}", was.len, now.len)
    } else if (was.device, was.inode) != (now.device, now.inode) {
        "another file has its name".to_owned()
    } else {
        "it was written to".to_owned()
    };
    let error =
        error(StorageErrorKind::Changed, format!("changed since it was listed ({how})"), path);
    advise(error, "seed it again to publish what it is now")
}

/// A file that is gone has changed, too.
pub(super) fn gone_or(mut error: StorageError) -> StorageError {
    if error.kind == StorageErrorKind::NotFound {
        error.kind = StorageErrorKind::Changed;
        error.what = "is gone since it was listed".to_owned();
        error.advice = Some("seed the rest again to publish it without this file".to_owned());
    }
    error
}
