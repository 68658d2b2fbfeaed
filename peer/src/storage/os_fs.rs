//! The real file system, through rustix. See [`super::beneath`] for how paths are kept inside a folder.

use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use reactor::{FileStamp, Source};
use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags,
};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::fs::{Advice, Folder, Fs, FsFile, Kind, Listed, MAX_LISTED, Meta, Open, Rename};

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

impl Fs for OsFs {
    fn folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        make_durably(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Arc::new(OsFolder { root: Beneath::new(fd) }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            push_bounded(
                &mut listed,
                Listed { name: entry.file_name(), kind: kind_of(entry.file_type()?) },
            )?;
        }
        Ok(listed)
    }

    fn meta(&self, path: &Path, follow: bool) -> io::Result<Meta> {
        let found = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
        Ok(meta_of(&found?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        regular(rustix::fs::open(path, flags, Mode::empty())?)
    }
}

/// Makes a folder and those above it, each one's name durable before the next is made: else a power cut
/// could take the folder away with everything that was fetched into it. A process that was killed may
/// have made the last of them only, so that one is seen to even if it is there already.
fn make_durably(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    let new = !path.is_dir();
    if new {
        make_durably(parent)?;
        // It is no mistake if somebody else made it just now.
        std::fs::create_dir_all(path)?;
    }
    match File::open(parent).and_then(|parent| parent.sync_all()) {
        // Who may not read the folder above can't sync it; who did not change it need not.
        Err(cause) if new => Err(cause),
        _ => Ok(()),
    }
}

/// An open folder of the real file system.
struct OsFolder {
    root: Beneath,
}

impl Folder for OsFolder {
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let fd = self.root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut dir = Dir::read_from(&fd)?;
        let mut listed = Vec::new();
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let name = std::ffi::OsStr::from_bytes(bytes).to_owned();
            let kind = match entry.file_type() {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Folder,
                FileType::Symlink => Kind::Link,
                FileType::Unknown => self.meta(&path.join(&name))?.kind,
                _ => Kind::Special,
            };
            push_bounded(&mut listed, Listed { name, kind })?;
        }
        Ok(listed)
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let fd = self.root.open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(meta_of(&File::from(fd).metadata()?))
    }

    fn make_folder(&self, path: &Path, private: bool) -> io::Result<()> {
        let (parent, name) = self.root.parent(path)?;
        let mode = Mode::from_raw_mode(if private { 0o700 } else { 0o777 });
        Ok(rustix::fs::mkdirat(parent.as_fd(), name, mode)?)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn FsFile>> {
        let common = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let (flags, mode) = match how {
            Open::Read => (OFlags::RDONLY, 0),
            Open::Write => (OFlags::RDWR, 0),
            Open::New { executable } => {
                let mode = if executable { 0o777 } else { 0o666 };
                (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode)
            }
        };
        let fd = self.root.open(path, flags | common, Mode::from_raw_mode(mode))?;
        match how {
            Open::New { .. } => Ok(Arc::new(OsFile { file: File::from(fd) })),
            Open::Read | Open::Write => regular(fd),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.root.parent(path)?;
        Ok(rustix::fs::unlinkat(parent.as_fd(), name, AtFlags::empty())?)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.root.parent(path)?;
        Ok(rustix::fs::unlinkat(parent.as_fd(), name, AtFlags::REMOVEDIR)?)
    }

    fn rename(&self, from: &Path, to: &Path, how: Rename) -> io::Result<()> {
        let (from_parent, from_name) = self.root.parent(from)?;
        let (to_parent, to_name) = self.root.parent(to)?;
        let (old, new) = (from_parent.as_fd(), to_parent.as_fd());
        let flags = match how {
            Rename::Replace => return Ok(rustix::fs::renameat(old, from_name, new, to_name)?),
            Rename::Keep => RenameFlags::NOREPLACE,
            Rename::Swap => RenameFlags::EXCHANGE,
        };
        match rustix::fs::renameat_with(old, from_name, new, to_name, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if how == Rename::Keep => {
                self.rename_by_steps(from, to)
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            other => Ok(other?),
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let fd = self.root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        match rustix::fs::fsync(fd) {
            // Some file systems have nothing to sync in a folder, and say so.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.root.as_fd())?)
    }

    fn free_space(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(self.root.as_fd())?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl OsFolder {
    /// [`Rename::Keep`] where the file system can't do it in one call (NFS, some FUSE).
    fn rename_by_steps(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_parent, from_name) = self.root.parent(from)?;
        let (to_parent, to_name) = self.root.parent(to)?;
        let (old, new) = (from_parent.as_fd(), to_parent.as_fd());
        if self.meta(from)?.kind == Kind::Folder {
            // A rename replaces an empty folder at most: nothing can be lost to it.
            if self.meta(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            return Ok(rustix::fs::renameat(old, from_name, new, to_name)?);
        }
        match rustix::fs::linkat(old, from_name, new, to_name, AtFlags::empty()) {
            Ok(()) => Ok(rustix::fs::unlinkat(old, from_name, AtFlags::empty())?),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                // Without hard links: take the name with a file of our own, then replace that.
                drop(self.open(to, Open::New { executable: false })?);
                Ok(rustix::fs::renameat(old, from_name, new, to_name)?)
            }
            Err(other) => Err(other.into()),
        }
    }
}

/// An open file of the real file system.
struct OsFile {
    file: File,
}

impl FsFile for OsFile {
    fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&self.file.metadata()?))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<bool> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
                Err(other) => return Err(other.into()),
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Err(other) => Err(other.into()),
        }
    }

    fn advise(&self, advice: Advice) {
        let (at, len, advice) = match advice {
            Advice::Sequential => (0, None, rustix::fs::Advice::Sequential),
            Advice::Reread { at, len } => (at, NonZeroU64::new(len), rustix::fs::Advice::DontNeed),
        };
        // Only a hint: nothing follows from its failure.
        let _ = rustix::fs::fadvise(&self.file, at, len, advice);
    }

    fn source(&self, len: u64, stamp: Option<FileStamp>) -> io::Result<Source> {
        Source::map(self.file.try_clone()?, len, stamp)
    }
}

fn push_bounded(listed: &mut Vec<Listed>, entry: Listed) -> io::Result<()> {
    if listed.len() >= MAX_LISTED {
        return Err(io::Error::other(format!("more than {MAX_LISTED} entries")));
    }
    listed.push(entry);
    Ok(())
}

fn regular(fd: OwnedFd) -> io::Result<Arc<dyn FsFile>> {
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(Arc::new(OsFile { file }))
}

fn kind_of(kind: std::fs::FileType) -> Kind {
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Link
    } else {
        debug_assert!(
            kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device(),
            "there are no other kinds"
        );
        Kind::Special
    }
}

/// The user who runs this process; asked for once, because it is compared for every file.
fn our_user() -> u32 {
    static USER: OnceLock<u32> = OnceLock::new();
    *USER.get_or_init(|| rustix::process::geteuid().as_raw())
}

fn meta_of(found: &Metadata) -> Meta {
    Meta {
        kind: kind_of(found.file_type()),
        stamp: FileStamp::of(found),
        allocated: found.blocks().saturating_mul(512),
        executable: found.permissions().mode() & 0o111 != 0,
        ours: found.uid() == our_user(),
    }
}
