//! What a block is served from: a read-only mapping of a file that is not to change, or bytes in memory.
//!
//! Nobody in user space touches a mapping: if its file is cut short, a system call on the missing part
//! fails with EFAULT (one closed connection), while a load instruction would raise SIGBUS (a dead
//! process). So [`Source`] hands mapped bytes out inside this crate only, to be passed to `writev`.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use memmap2::Mmap;
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

/// Memory is looked into at every such step: files are mostly read, and forgotten, in longer runs, and a
/// look costs as much as sending some ten kilobytes.
const LOOK_EVERY: usize = 512 << 10;
/// Bytes per read when a range is brought into memory.
const LOAD: usize = 256 << 10;

/// What identifies one state of a file's content: if none of this changed, the content is believed
/// unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileStamp {
    /// Device of the file system.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub len: u64,
    /// Last change of the content, nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Last change of content or attributes, nanoseconds since 1970.
    pub ctime_ns: i128,
}

impl FileStamp {
    /// The stamp in a file's metadata.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        const SECOND: i128 = 1_000_000_000;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            mtime_ns: i128::from(metadata.mtime()) * SECOND + i128::from(metadata.mtime_nsec()),
            ctime_ns: i128::from(metadata.ctime()) * SECOND + i128::from(metadata.ctime_nsec()),
        }
    }

    /// Whether content written under `self` is still what a file stamped `other` holds. Attributes and
    /// links may have changed in between, so the change time does not count.
    pub fn same_content(&self, other: &Self) -> bool {
        (self.device, self.inode, self.len, self.mtime_ns)
            == (other.device, other.inode, other.len, other.mtime_ns)
    }
}

/// Immutable bytes to serve ranges from; cheap to clone.
#[derive(Clone, Debug)]
pub struct Source(Arc<Inner>);

/// Bytes that neither lie in memory nor can be mapped: what a driver without sockets serves from. The mio
/// loop finds such a source empty.
pub trait SourceBytes: Send + Sync + std::fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Source::is_unchanged`].
    fn is_unchanged(&self) -> bool;

    /// As [`Source::read_range`].
    ///
    /// # Errors
    /// As there.
    fn read_range(&self, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()>;
}

#[derive(Debug)]
enum Inner {
    Memory(Vec<u8>),
    Elsewhere(Box<dyn SourceBytes>),
    Mapped { file: File, stamp: Option<FileStamp>, map: Mmap },
}

impl Source {
    /// Bytes in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner::Memory(bytes)))
    }

    /// Bytes that only [`Source::read_range`] reaches.
    pub fn from_elsewhere(bytes: impl SourceBytes + 'static) -> Self {
        Self(Arc::new(Inner::Elsewhere(Box::new(bytes))))
    }

    /// A read-only mapping of the first `len` bytes of `file`.
    ///
    /// With a `stamp`, [`Source::is_unchanged`] compares the file with it: for files that belong to the
    /// user. Without one the file may still be written to, by this process only, as a fetch does while
    /// it serves the pieces that it has stored already.
    ///
    /// # Errors
    /// When `len` is 0 or the file can't be mapped.
    #[allow(unsafe_code, reason = "mapping a file is unsafe because others may change it")]
    pub fn map(file: File, len: u64, stamp: Option<FileStamp>) -> io::Result<Self> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        if len == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot map an empty range"));
        }
        // SAFETY: the bytes of the mapping are never read by this process's own instructions, only
        // handed to `writev` by address, which answers EFAULT where the file has shrunk. No `&[u8]` of
        // a mapping leaves this crate, and nothing inside it looks at one.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(&file) }?;
        Ok(Self(Arc::new(Inner::Mapped { file, stamp, map })))
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match &*self.0 {
            Inner::Elsewhere(bytes) => bytes.len(),
            Inner::Memory(_) | Inner::Mapped { .. } => self.bytes().len() as u64,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the file behind it is, as far as its stamp tells, the one that was opened. One `fstat`.
    pub fn is_unchanged(&self) -> bool {
        match &*self.0 {
            Inner::Memory(_) | Inner::Mapped { stamp: None, .. } => true,
            Inner::Elsewhere(bytes) => bytes.is_unchanged(),
            Inner::Mapped { file, stamp: Some(stamp), .. } => {
                file.metadata().is_ok_and(|now| FileStamp::of(&now).same_content(stamp))
            }
        }
    }

    /// Reads exactly `range` into `out` with ordinary reads; for drivers without sockets, and tests.
    ///
    /// # Errors
    /// When the range is not wholly there (any more), or the read fails.
    pub fn read_range(&self, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        let outside = || io::Error::new(io::ErrorKind::UnexpectedEof, "range outside the source");
        let start = usize::try_from(range.start).map_err(|_| outside())?;
        let end = usize::try_from(range.end).map_err(|_| outside())?;
        match &*self.0 {
            Inner::Memory(bytes) => {
                out.extend_from_slice(bytes.get(start..end).ok_or_else(outside)?);
            }
            Inner::Elsewhere(bytes) => bytes.read_range(range, out)?,
            Inner::Mapped { file, .. } => {
                let len = end.checked_sub(start).ok_or_else(outside)?;
                let old = out.len();
                out.resize(old + len, 0);
                file.read_exact_at(&mut out[old..], range.start)?;
            }
        }
        Ok(())
    }

    /// Whether all of `range` seems to be in memory, so that sending it will not wait for a disk. A few
    /// microseconds per megabyte. Where the system can't tell, it says yes.
    pub(crate) fn is_resident(&self, range: &Range<usize>) -> bool {
        let Inner::Mapped { file, .. } = &*self.0 else { return true };
        let last = range.end.checked_sub(1).filter(|last| *last > range.start);
        range.clone().step_by(LOOK_EVERY).chain(last).all(|at| {
            let mut byte = [0];
            let into = &mut [IoSliceMut::new(&mut byte)];
            let looked = rustix::io::preadv2(file, into, at as u64, ReadWriteFlags::NOWAIT);
            looked != Err(Errno::AGAIN)
        })
    }

    /// Brings `range` into memory, as far as it can be read: for a worker, since it waits for the disk.
    /// What can't be read will show when it is sent.
    pub(crate) fn load(&self, range: &Range<usize>) {
        let Inner::Mapped { file, .. } = &*self.0 else { return };
        let len = std::num::NonZeroU64::new(range.len() as u64);
        // The disk sees one large read. Only a hint: nothing follows from its failure.
        let _ = rustix::fs::fadvise(file, range.start as u64, len, Advice::WillNeed);
        let mut buffer = vec![0; LOAD.min(range.len())];
        let mut at = range.start;
        while at < range.end {
            let want = buffer.len().min(range.end - at);
            match file.read_at(&mut buffer[..want], at as u64) {
                Ok(0) => return,
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// All bytes, for `writev` only: see the module's text for why nobody may look at them.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &*self.0 {
            Inner::Memory(bytes) => bytes,
            Inner::Elsewhere(_) => &[],
            Inner::Mapped { map, .. } => map,
        }
    }
}
