//! A real file system that fails, or dies, at a chosen operation. Syncs only pretend: killed processes
//! do not need them, and they take most of the time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use peer::storage::OsFs;
use peer::storage::fs::{Advice, Folder, Fs, FsFile, Kind, Listed, Meta, Open, Rename};
use reactor::{FileStamp, Source};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The process dies in the middle of this operation: half of a write is done, nothing else, and
    /// nothing afterwards.
    Crash(usize),
    /// This operation fails, once.
    Fail(usize, io::ErrorKind),
    /// All writes fail.
    Full,
    /// All syncs fail.
    Unsafe,
    /// Syncs go well, and let others work for a long time.
    Slow,
}

pub(crate) struct Control {
    pub(crate) fault: Fault,
    count: AtomicUsize,
    pub(crate) struck: AtomicBool,
    /// Added to the change times of files called `data`, in seconds.
    pub(crate) late: AtomicU64,
    /// Swapping names is not supported.
    pub(crate) no_swap: AtomicBool,
}

impl Control {
    fn dead(&self) -> bool {
        matches!(self.fault, Fault::Crash(_)) && self.struck.load(Ordering::SeqCst)
    }

    /// Lets an operation through, or not. `Ok(true)`: die after half of it.
    fn gate(&self, writes: bool, syncs: bool) -> io::Result<bool> {
        if self.dead() {
            return Err(io::Error::other("dead"));
        }
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Crash(at) if count >= at => {
                self.struck.store(true, Ordering::SeqCst);
                if writes { Ok(true) } else { Err(io::Error::other("dead")) }
            }
            Fault::Fail(at, kind) if count == at => {
                self.struck.store(true, Ordering::SeqCst);
                Err(kind.into())
            }
            Fault::Full if writes => Err(io::ErrorKind::StorageFull.into()),
            Fault::Unsafe if syncs => Err(io::Error::other("input/output error")),
            Fault::Slow if syncs => {
                self.struck.store(true, Ordering::SeqCst);
                (0..20_000).for_each(|_| std::thread::yield_now());
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn pass(&self) -> io::Result<()> {
        self.gate(false, false).map(drop)
    }
}

#[derive(Clone)]
pub(crate) struct Unsteady(pub(crate) Arc<Control>);

impl Unsteady {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(Arc::new(Control {
            fault,
            count: AtomicUsize::new(0),
            struck: AtomicBool::new(false),
            late: AtomicU64::new(0),
            no_swap: AtomicBool::new(false),
        }))
    }

    pub(crate) fn struck(&self) -> bool {
        self.0.struck.load(Ordering::SeqCst)
    }
}

impl Fs for Unsteady {
    fn folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        self.0.pass()?;
        Ok(Arc::new(ShakyFolder(OsFs.folder(path)?, Arc::clone(&self.0))))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        OsFs.list(path)
    }
    fn meta(&self, path: &Path, follow: bool) -> io::Result<Meta> {
        OsFs.meta(path, follow)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        OsFs.open(path)
    }
}

struct ShakyFolder(Arc<dyn Folder>, Arc<Control>);

impl Folder for ShakyFolder {
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        self.1.pass()?;
        self.0.list(path)
    }
    fn meta(&self, path: &Path) -> io::Result<Meta> {
        self.1.pass()?;
        let mut meta = self.0.meta(path)?;
        if path.ends_with("data") && meta.kind == Kind::File {
            meta.stamp.ctime_ns += i128::from(self.1.late.load(Ordering::SeqCst)) * 1_000_000_000;
        }
        Ok(meta)
    }
    fn make_folder(&self, path: &Path, private: bool) -> io::Result<()> {
        self.1.pass()?;
        self.0.make_folder(path, private)
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn FsFile>> {
        self.1.pass()?;
        Ok(Arc::new(ShakyFile(self.0.open(path, how)?, Arc::clone(&self.1))))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.1.pass()?;
        self.0.remove_file(path)
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.1.pass()?;
        self.0.remove_folder(path)
    }
    fn rename(&self, from: &Path, to: &Path, how: Rename) -> io::Result<()> {
        self.1.pass()?;
        if how == Rename::Swap && self.1.no_swap.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.0.rename(from, to, how)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.1.gate(false, true)?;
        self.0.meta(path).map(drop)
    }
    fn sync_all(&self) -> io::Result<()> {
        self.1.gate(false, true).map(drop)
    }
    fn free_space(&self) -> io::Result<u64> {
        self.1.pass()?;
        self.0.free_space()
    }
}

struct ShakyFile(Arc<dyn FsFile>, Arc<Control>);

impl FsFile for ShakyFile {
    fn meta(&self) -> io::Result<Meta> {
        self.1.pass()?;
        self.0.meta()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.pass()?;
        self.0.read_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.gate(true, false)? {
            self.0.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::other("dead"));
        }
        self.0.write_all_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.pass()?;
        self.0.set_len(len)
    }
    fn reserve(&self, len: u64) -> io::Result<bool> {
        self.1.pass()?;
        self.0.reserve(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.gate(false, true).map(drop)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.1.pass()?;
        self.0.try_lock()
    }
    fn advise(&self, advice: Advice) {
        self.0.advise(advice);
    }
    fn source(&self, len: u64, stamp: Option<FileStamp>) -> io::Result<Source> {
        self.1.pass()?;
        self.0.source(len, stamp)
    }
}
