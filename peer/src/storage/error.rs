//! Turns what the system says into what a user can act on: what was tried, with which file, and what
//! helps.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::disk::{StorageError, StorageErrorKind};

/// An error that storage itself found.
pub(super) fn error(kind: StorageErrorKind, what: impl Into<String>, path: &Path) -> StorageError {
    StorageError { kind, what: what.into(), path: path.to_owned(), advice: None }
}

/// The same with what the user can do.
pub(super) fn advise(mut error: StorageError, advice: impl Into<String>) -> StorageError {
    error.advice = Some(advice.into());
    error
}

/// The system's refusal of an `action` such as `write piece 7`.
pub(super) fn refused(action: &str, path: &Path, cause: &io::Error) -> StorageError {
    StorageError {
        kind: kind_of(cause),
        what: format!("can't {action}: {}", reason(cause)),
        path: path.to_owned(),
        advice: advice_for(cause).map(str::to_owned),
    }
}

/// The system's reason in words, without the jargon of error numbers where that helps nobody.
pub(super) fn reason(cause: &io::Error) -> String {
    use io::ErrorKind as K;
    if Errno::from_io_error(cause) == Some(Errno::LOOP) {
        return "a symbolic link is in the way".to_owned();
    }
    let words = match cause.kind() {
        K::NotFound => "no such file or folder",
        K::PermissionDenied => "permission denied",
        K::AlreadyExists => "something has that name already",
        K::StorageFull => "no space left on the disk",
        K::QuotaExceeded => "your disk quota is used up",
        K::ReadOnlyFilesystem => "the file system is read-only",
        K::NotADirectory => "a part of the path is not a folder",
        K::InvalidFilename => "the file system does not take such a name",
        _ => return cause.to_string(),
    };
    words.to_owned()
}

fn kind_of(cause: &io::Error) -> StorageErrorKind {
    use io::ErrorKind as K;
    match cause.kind() {
        K::NotFound => StorageErrorKind::NotFound,
        K::StorageFull | K::QuotaExceeded => StorageErrorKind::NoSpace,
        K::AlreadyExists => StorageErrorKind::Exists,
        K::InvalidFilename => StorageErrorKind::BadName,
        _ => StorageErrorKind::Io,
    }
}

fn advice_for(cause: &io::Error) -> Option<&'static str> {
    use io::ErrorKind as K;
    match Errno::from_io_error(cause) {
        Some(Errno::LOOP) => return Some("remove the link, or choose another folder with -o"),
        Some(Errno::MFILE | Errno::NFILE) => {
            return Some("allow more open files, for example: ulimit -n 4096");
        }
        Some(Errno::IO) => return Some("look at the system's log: the disk may be failing"),
        Some(Errno::FBIG) => return Some("this file system can't hold files of that size"),
        _ => {}
    }
    match cause.kind() {
        K::PermissionDenied => Some("check the rights of this path and of the folders above it"),
        K::StorageFull | K::QuotaExceeded => Some("free some space; what is stored is kept"),
        K::ReadOnlyFilesystem => Some("choose another folder with -o"),
        K::InvalidFilename => Some("choose a folder on another file system with -o"),
        _ => None,
    }
}
