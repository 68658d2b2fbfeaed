//! The file operations that storage is built on, as traits, so that a simulated disk can stand in for
//! the real one and fail, tear, fill up or lose power wherever it likes.
//!
//! No policy lives here: names, orders and checks are the callers'. What an implementation keeps to:
//!
//! **No operation of a [`Folder`] ever leaves the folder or follows a symbolic link below it**, whoever
//! else is renaming things in it meanwhile. Paths are relative and made of plain segments; an empty path
//! is the folder itself.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use reactor::{FileStamp, Source};

/// Entries of one folder that are listed at most; more is an error. Bounds memory, not use: an object
/// has at most 131,072 files.
pub const MAX_LISTED: usize = 1 << 20;

/// What something in a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, pipe or device.
    Special,
}

/// What the system knows about a file or folder.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Its identity, length and times.
    pub stamp: FileStamp,
    /// Bytes that it takes up on the disk; fewer than its length if it has holes.
    pub allocated: u64,
    /// Somebody may execute it.
    pub executable: bool,
    /// It belongs to the user who runs this process.
    pub ours: bool,
}

/// One entry of a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: OsString,
    /// What it is; links are not followed.
    pub kind: Kind,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// What is there, to read.
    Read,
    /// What is there, to read and write.
    Write,
    /// A file that is not there yet, to read and write, with the rights that the user's umask leaves.
    New {
        /// Everybody who may read it may execute it.
        executable: bool,
    },
}

/// What happens to what has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It stays, and the rename fails with `AlreadyExists`.
    Keep,
    /// It is gone, in one step. Files only.
    Replace,
    /// The two change places in one step. `Unsupported` where the system can't.
    Swap,
}

/// A file system.
pub trait Fs: Send + Sync {
    /// Opens a folder that the user named, making it and those above it if they are missing; their names
    /// are durable then. Links in the path are followed.
    ///
    /// # Errors
    /// When it can't be made or opened.
    fn folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>>;

    /// Lists a folder of the user's, in any order.
    ///
    /// # Errors
    /// When it can't be read, or has more than [`MAX_LISTED`] entries.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;

    /// What a path of the user's is.
    ///
    /// # Errors
    /// When nothing is there, or it can't be seen.
    fn meta(&self, path: &Path, follow: bool) -> io::Result<Meta>;

    /// Opens a file of the user's for reading. Never blocks.
    ///
    /// # Errors
    /// When it is not a regular file or can't be opened.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>>;
}

/// An open folder. Stays the same one even if it is renamed.
pub trait Folder: Send + Sync {
    /// Lists a folder, in any order.
    ///
    /// # Errors
    /// When it can't be read, or has more than [`MAX_LISTED`] entries.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;

    /// What is there; a link is a link.
    ///
    /// # Errors
    /// `NotFound`, or it can't be seen.
    fn meta(&self, path: &Path) -> io::Result<Meta>;

    /// Makes a folder; `private` for its owner only, else with the rights that the user's umask leaves.
    ///
    /// # Errors
    /// `AlreadyExists`, or it can't be made.
    fn make_folder(&self, path: &Path, private: bool) -> io::Result<()>;

    /// Opens a regular file. Never blocks.
    ///
    /// # Errors
    /// When it is not a regular file or can't be opened; `AlreadyExists` for [`Open::New`].
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn FsFile>>;

    /// Removes a file, link or special file.
    ///
    /// # Errors
    /// When it can't be removed.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// When it can't be removed.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or folder another name inside this folder.
    ///
    /// # Errors
    /// As [`Rename`] says, or it can't be renamed.
    fn rename(&self, from: &Path, to: &Path, how: Rename) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// When the disk fails.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes everything that was written to this folder's file system durable. Reports failures since
    /// this handle was opened.
    ///
    /// # Errors
    /// When the disk fails.
    fn sync_all(&self) -> io::Result<()>;

    /// Bytes that this user can still write.
    ///
    /// # Errors
    /// When the system can't say.
    fn free_space(&self) -> io::Result<u64>;
}

/// What an open file will be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It is read from start to end.
    Sequential,
    /// What memory holds of these bytes is not to be trusted to be what the disk holds: read them anew.
    Reread {
        /// Where they begin.
        at: u64,
        /// How many they are, at least 1.
        len: u64,
    },
}

/// An open regular file.
pub trait FsFile: Send + Sync {
    /// What it is now.
    ///
    /// # Errors
    /// When the system can't say.
    fn meta(&self) -> io::Result<Meta>;

    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// When the disk fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes, or leaves an unknown part of the range written.
    ///
    /// # Errors
    /// When the disk fails or is full.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts it, or fills it up with a hole.
    ///
    /// # Errors
    /// When the disk fails.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes it at least `len` bytes long with space for all of them. `Ok(false)`, without effect, where
    /// the file system can't.
    ///
    /// # Errors
    /// When there is not enough space.
    fn reserve(&self, len: u64) -> io::Result<bool>;

    /// Makes its content and length durable.
    ///
    /// # Errors
    /// When the disk fails. What was written since the last success must then be taken for lost, even
    /// if it still reads right.
    fn sync(&self) -> io::Result<()>;

    /// Locks it until it is closed; `Ok(false)` if another handle holds it.
    ///
    /// # Errors
    /// `Unsupported` where there are no locks.
    fn try_lock(&self) -> io::Result<bool>;

    /// A hint; may do nothing.
    fn advise(&self, advice: Advice);

    /// Its first `len` bytes, at least 1, to serve from, with what is written to them later. With a
    /// stamp, only as long as that fits.
    ///
    /// # Errors
    /// When it can't be mapped.
    fn source(&self, len: u64, stamp: Option<FileStamp>) -> io::Result<Source>;
}
