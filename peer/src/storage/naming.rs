//! Makes the files of a fetch, and says what it means for the user when a file system refuses a name.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{StorageError, StorageErrorKind};

use super::error::{advise, error, refused};
use super::fs::{Folder, FsFile, Open};

/// Makes an empty file at `path`; `shown` is that path as the user knows it.
///
/// # Errors
/// `BadName` if the file system does not take the name, or takes it for that of another file; or the
/// file can't be made.
pub(super) fn make_file(
    root: &dyn Folder,
    path: &Path,
    executable: bool,
    shown: &Path,
) -> Result<Arc<dyn FsFile>, StorageError> {
    root.open(path, Open::New { executable }).map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => same_name(shown, shown),
        _ => bad_name("make the file", shown, &cause),
    })
}

/// Two names of an object, the path of the later of which is `shown`, are one to the file system.
pub(super) fn same_name(one: &Path, shown: &Path) -> StorageError {
    let what = format!(
        "the file system takes the name of '{}' for that of another file of the object",
        one.display(),
    );
    let error = error(StorageErrorKind::BadName, what, shown);
    advise(error, "choose a folder on a file system that tells upper from lower case")
}

/// A file or folder could not be made, maybe because of its name.
pub(super) fn bad_name(action: &str, shown: &Path, cause: &io::Error) -> StorageError {
    let mut error = refused(action, shown, cause);
    if cause.kind() == io::ErrorKind::InvalidInput {
        error.kind = StorageErrorKind::BadName;
        error.advice = Some("choose a folder on another file system with -o".to_owned());
    }
    error
}
