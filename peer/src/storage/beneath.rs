//! Opens paths below a folder and nowhere else.
//!
//! With `openat2` the kernel refuses to leave the folder or to follow any link; where that call is
//! missing (before Linux 5.6, or filtered), the path is walked one segment at a time with `O_NOFOLLOW`,
//! which refuses the same. Segments like `..` are refused before either.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A folder below which paths are opened.
pub(super) struct Beneath {
    root: OwnedFd,
    /// False once the kernel has refused `openat2`.
    openat2: AtomicBool,
}

/// The folder that something is in: the root itself, or opened for the occasion.
pub(super) enum Parent<'a> {
    Root(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Beneath {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, openat2: AtomicBool::new(true) }
    }

    /// Opens `path`; empty for the folder itself.
    pub(super) fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain relative path"));
        }
        if path.as_os_str().is_empty() {
            return Ok(rustix::fs::openat(&self.root, ".", flags, mode)?);
        }
        if self.openat2.load(Ordering::Relaxed) {
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match self.open_in_one(path, flags, mode, resolve) {
                Err(Errno::NOSYS | Errno::PERM) => self.openat2.store(false, Ordering::Relaxed),
                other => return Ok(other?),
            }
        }
        self.walk(path, flags, mode)
    }

    /// The folder that holds `path`, and the last segment of it.
    pub(super) fn parent<'p>(&self, path: &'p Path) -> io::Result<(Parent<'_>, &'p OsStr)> {
        let refused = || io::Error::new(io::ErrorKind::InvalidInput, "a path without a name");
        let name = path.file_name().ok_or_else(refused)?;
        match path.parent() {
            None => Err(refused()),
            Some(above) if above.as_os_str().is_empty() => {
                Ok((Parent::Root(self.root.as_fd()), name))
            }
            Some(above) => {
                let fd = self.open(above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
                Ok((Parent::Opened(fd), name))
            }
        }
    }

    fn open_in_one(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        // The kernel asks for another try when renames elsewhere kept it from being sure.
        const TRIES: usize = 64;
        for _ in 0..TRIES {
            // With O_PATH and O_NOFOLLOW, a link as the last segment is opened itself.
            match rustix::fs::openat2(&self.root, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    fn walk(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let mut folder: Option<OwnedFd> = None;
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            let here = folder.as_ref().map_or_else(|| self.root.as_fd(), AsFd::as_fd);
            let name = part.as_os_str();
            if parts.peek().is_none() {
                return Ok(rustix::fs::openat(here, name, flags | OFlags::NOFOLLOW, mode)?);
            }
            let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = Some(rustix::fs::openat(here, name, through, Mode::empty())?);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "a path without a name"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_reached_with_either_way_of_opening() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::write(inside.join("a/b/file"), "x").unwrap();
        fs::write(dir.path().join("outside"), "x").unwrap();
        symlink("b", inside.join("a/link")).unwrap();
        symlink("../outside", inside.join("out")).unwrap();
        for openat2 in [true, false] {
            let fd = fs::File::open(&inside).unwrap().into();
            let root = Beneath { root: fd, openat2: AtomicBool::new(openat2) };
            let open =
                |path: &str| root.open(Path::new(path), OFlags::RDONLY, Mode::empty()).is_ok();
            assert!(open("a/b/file") && open("a/b") && open(""));
            for bad in ["..", "../outside", "a/../../outside", "/etc/passwd", "out", "a/link/file"]
            {
                assert!(!open(bad), "{bad} with openat2: {openat2}");
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            assert!(root.open(Path::new("out"), flags, Mode::empty()).is_ok(), "the link itself");
            assert!(root.parent(Path::new("a/link/x")).is_err());
        }
    }

    #[test]
    fn a_folder_that_becomes_a_link_is_not_followed_with_either_way_of_opening() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
        fs::create_dir_all(inside.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        for openat2 in [true, false] {
            let fd = fs::File::open(&inside).unwrap().into();
            let root = Beneath { root: fd, openat2: AtomicBool::new(openat2) };
            let (link, folder) = (dir.path().join("link"), inside.join("a"));
            symlink(&outside, &link).unwrap();
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let (cwd, swap) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                        rustix::fs::renameat_with(cwd, &link, cwd, &folder, swap).unwrap();
                    }
                });
                let flags = OFlags::RDWR | OFlags::CREATE;
                let (mut tried, mut made) = (0, 0);
                while tried < 5_000 || made == 0 {
                    let path = if tried % 2 == 0 { "a/b" } else { "a" };
                    let file = Path::new(path).join(format!("file{tried}"));
                    made += u32::from(root.open(&file, flags, Mode::from_raw_mode(0o600)).is_ok());
                    tried += 1;
                }
                over.store(true, Ordering::Relaxed);
            });
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "with openat2: {openat2}");
            if fs::symlink_metadata(&link).unwrap().is_dir() {
                fs::remove_file(&folder).unwrap();
                fs::rename(&link, &folder).unwrap();
            } else {
                fs::remove_file(&link).unwrap();
            }
        }
    }
}
