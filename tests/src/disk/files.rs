//! The disk as storage sees it: the traits of `peer::storage::fs`, with every fault in their way.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use peer::storage::fs::{Advice, Folder, Fs, FsFile, Kind, Listed, Meta, Open, Rename};
use reactor::{FileStamp, Source, SourceBytes};

use super::change::Change;
use super::image::{Body, ROOT};
use super::state::State;
use super::{Disk, failed};

fn dark() -> io::Error {
    io::Error::other("the power is out")
}

impl Disk {
    /// For a call that only looks.
    fn looking(&self, process: u64) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.cost.calls += 1;
        if state.dark || state.process != process { Err(dark()) } else { Ok(state) }
    }

    /// For a call that changes something at `path`. The power may go out during this very call: then it
    /// happened, as far as anything happened that is not durable, and nobody hears of it.
    fn changing<T>(
        &self,
        process: u64,
        path: &Path,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.looking(process)?;
        state.changes += 1;
        if !state.allowed.is_empty() && !state.allowed.iter().any(|ok| path.starts_with(ok)) {
            state.strays.push(path.to_owned());
        }
        let result = act(&mut state);
        state.note_point();
        state.dark |= state.cut_at == Some(state.changes);
        if state.dark { Err(dark()) } else { result }
    }

    /// For a call that makes something durable: one that the power goes out in does nothing.
    fn syncing(&self, process: u64, act: impl FnOnce(&mut State, bool)) -> io::Result<()> {
        let mut state = self.looking(process)?;
        state.changes += 1;
        state.cost.syncs += 1;
        let cut = state.syncs_until_cut.take();
        if state.cut_at == Some(state.changes) || cut == Some(0) {
            state.dark = true;
            return Err(dark());
        }
        state.syncs_until_cut = cut.map(|left| left - 1);
        let fails = state.failing_syncs > 0;
        state.failing_syncs -= u32::from(fails);
        state.failures.0 += u64::from(fails);
        act(&mut state, fails);
        state.note_point();
        if fails { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn process(&self) -> u64 {
        self.state().process
    }

    fn handle(&self, ino: u64, path: PathBuf) -> io::Result<Arc<dyn FsFile>> {
        let mut state = self.state();
        if !matches!(state.inode(ino).map(|inode| &inode.body), Some(Body::File { .. })) {
            return Err(failed(io::ErrorKind::InvalidInput));
        }
        *state.open.entry(ino).or_insert(0) += 1;
        state.next_handle += 1;
        let (process, handle) = (state.process, state.next_handle);
        Ok(Arc::new(SimFile { disk: self.clone(), ino, path, process, handle }))
    }
}

fn listed(state: &State, ino: u64) -> io::Result<Vec<Listed>> {
    match state.inode(ino).map(|inode| &inode.body) {
        Some(Body::Folder(entries)) => entries
            .iter()
            .map(|(name, child)| Ok(Listed { name: name.clone(), kind: state.meta(*child)?.kind }))
            .collect(),
        Some(Body::File { .. }) => Err(failed(io::ErrorKind::NotADirectory)),
        None => Err(failed(io::ErrorKind::NotFound)),
    }
}

fn absolute(path: &Path) -> io::Result<&Path> {
    path.strip_prefix("/").map_err(|_| failed(io::ErrorKind::InvalidInput))
}

impl Fs for Disk {
    fn folder(&self, path: &Path) -> io::Result<Arc<dyn Folder>> {
        let process = self.process();
        let mut parent = ROOT;
        let mut so_far = PathBuf::from("/");
        let mut names = absolute(path)?.components().peekable();
        while let Some(name) = names.next() {
            so_far.push(name);
            let there = self.looking(process)?.child(parent, name.as_os_str());
            let ino = there.map_or_else(
                || {
                    self.changing(process, &so_far, |state| {
                        state.make(parent, name.as_os_str().to_owned(), true, true)
                    })
                },
                Ok,
            )?;
            if there.is_none() || names.peek().is_none() {
                self.syncing(process, |state, fails| {
                    if !fails {
                        state.sync_folder(parent);
                    }
                })?;
            }
            parent = ino;
        }
        let ino = self.looking(process)?.find_below(ROOT, absolute(path)?)?;
        Ok(Arc::new(SimFolder { disk: self.clone(), ino, path: path.to_owned(), process }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let state = self.looking(self.process())?;
        listed(&state, state.find_below(ROOT, absolute(path)?)?)
    }

    fn meta(&self, path: &Path, _follow: bool) -> io::Result<Meta> {
        let state = self.looking(self.process())?;
        state.meta(state.find_below(ROOT, absolute(path)?)?)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let ino = self.looking(self.process())?.find_below(ROOT, absolute(path)?)?;
        self.handle(ino, path.to_owned())
    }
}

#[derive(Debug)]
struct SimFolder {
    disk: Disk,
    ino: u64,
    path: PathBuf,
    process: u64,
}

impl SimFolder {
    /// The folder that holds `path`, and its name there.
    fn place(&self, state: &State, path: &Path) -> io::Result<(u64, OsString)> {
        let refused = || failed(io::ErrorKind::InvalidInput);
        let name = path.file_name().ok_or_else(refused)?.to_owned();
        let parent = state.find_below(self.ino, path.parent().ok_or_else(refused)?)?;
        Ok((parent, name))
    }
}

impl Folder for SimFolder {
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let state = self.disk.looking(self.process)?;
        listed(&state, state.find_below(self.ino, path)?)
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let state = self.disk.looking(self.process)?;
        state.meta(state.find_below(self.ino, path)?)
    }

    fn make_folder(&self, path: &Path, _private: bool) -> io::Result<()> {
        self.disk.changing(self.process, &self.path.join(path), |state| {
            let (parent, name) = self.place(state, path)?;
            state.make(parent, name, true, true).map(drop)
        })
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn FsFile>> {
        let full = self.path.join(path);
        if let Open::New { executable } = how {
            self.disk.changing(self.process, &full, |state| {
                let (parent, name) = self.place(state, path)?;
                state.make(parent, name, false, executable).map(drop)
            })?;
        }
        let ino = self.disk.looking(self.process)?.find_below(self.ino, path)?;
        self.disk.handle(ino, full)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.changing(self.process, &self.path.join(path), |state| {
            let (parent, name) = self.place(state, path)?;
            let ino = state.find_below(self.ino, path)?;
            if state.meta(ino)?.kind == Kind::Folder {
                return Err(failed(io::ErrorKind::IsADirectory));
            }
            state.unlink(parent, name, ino);
            Ok(())
        })
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.changing(self.process, &self.path.join(path), |state| {
            let (parent, name) = self.place(state, path)?;
            let ino = state.find_below(self.ino, path)?;
            if !listed(state, ino)?.is_empty() {
                return Err(failed(io::ErrorKind::DirectoryNotEmpty));
            }
            state.unlink(parent, name, ino);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path, how: Rename) -> io::Result<()> {
        self.disk.changing(self.process, &self.path.join(to), |state| {
            if how == Rename::Swap && state.no_swap {
                return Err(failed(io::ErrorKind::Unsupported));
            }
            let (from, to) = (self.place(state, from)?, self.place(state, to)?);
            state.rename(from, to, how)
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let ino = self.disk.looking(self.process)?.find_below(self.ino, path)?;
        self.disk.syncing(self.process, |state, fails| {
            if !fails {
                state.sync_folder(ino);
            }
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.syncing(self.process, |state, fails| {
            if !fails {
                state.sync_everything();
            }
        })
    }

    fn free_space(&self) -> io::Result<u64> {
        let state = self.disk.looking(self.process)?;
        Ok(state.quota.map_or(1 << 50, |quota| quota.saturating_sub(state.used())))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: Disk,
    ino: u64,
    path: PathBuf,
    process: u64,
    handle: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.process != self.process {
            return;
        }
        if state.locks.get(&self.ino) == Some(&self.handle) {
            state.locks.remove(&self.ino);
        }
        if let Some(count) = state.open.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.ino);
            }
        }
    }
}

/// Refuses what would take more space than there is.
fn grow(state: &mut State, ino: u64, end: u64) -> io::Result<()> {
    let Some(quota) = state.quota else { return Ok(()) };
    let has = state.meta(ino)?.allocated;
    let more = end.next_multiple_of(4096).saturating_sub(has);
    if more > 0 && state.used() + more > quota {
        state.failures.2 += 1;
        return Err(failed(io::ErrorKind::StorageFull));
    }
    Ok(())
}

impl FsFile for SimFile {
    fn meta(&self) -> io::Result<Meta> {
        self.disk.looking(self.process)?.meta(self.ino)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.looking(self.process)?;
        state.cost.bytes += buffer.len() as u64;
        let Some(Body::File { data, .. }) = state.inode(self.ino).map(|inode| &inode.body) else {
            return Err(failed(io::ErrorKind::NotFound));
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let count = buffer.len().min(data.len() - start);
        data.read(start, &mut buffer[..count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.changing(self.process, &self.path, |state| {
            state.cost.bytes += bytes.len() as u64;
            if state.failing_writes > 0 {
                state.failing_writes -= 1;
                state.failures.1 += 1;
                return Err(io::Error::from_raw_os_error(5));
            }
            grow(state, self.ino, offset + bytes.len() as u64)?;
            let at = state.tick();
            if let Some(written) = &mut state.written {
                written.push((self.ino, offset, bytes.len()));
            }
            let bytes = state.known_or_new(offset, bytes);
            state.apply(Change::Write { ino: self.ino, offset, bytes, at });
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.changing(self.process, &self.path, |state| {
            let at = state.tick();
            state.apply(Change::Len { ino: self.ino, len, at });
            Ok(())
        })
    }

    fn reserve(&self, len: u64) -> io::Result<bool> {
        if self.disk.looking(self.process)?.sparse {
            return Ok(false);
        }
        let done = self.disk.changing(self.process, &self.path, |state| {
            grow(state, self.ino, len)?;
            let at = state.tick();
            state.apply(Change::Reserve { ino: self.ino, len, at });
            Ok(())
        });
        done.map(|()| true)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.syncing(self.process, |state, fails| state.sync_file(self.ino, fails))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.looking(self.process)?;
        Ok(*state.locks.entry(self.ino).or_insert(self.handle) == self.handle)
    }

    fn advise(&self, advice: Advice) {
        if let Advice::Reread { at, len } = advice
            && let Ok(mut state) = self.disk.looking(self.process)
        {
            state.reread(self.ino, at, len);
        }
    }

    fn source(&self, len: u64, stamp: Option<FileStamp>) -> io::Result<Source> {
        let (disk, ino, process) = (self.disk.clone(), self.ino, self.process);
        Ok(Source::from_elsewhere(SimSource { disk, ino, process, len, stamp }))
    }
}

/// A mapping of a simulated file.
#[derive(Debug)]
struct SimSource {
    disk: Disk,
    ino: u64,
    process: u64,
    len: u64,
    stamp: Option<FileStamp>,
}

impl SourceBytes for SimSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn is_unchanged(&self) -> bool {
        let Ok(state) = self.disk.looking(self.process) else { return false };
        self.stamp.is_none_or(|stamp| {
            state.meta(self.ino).is_ok_and(|now| stamp.same_content(&now.stamp))
        })
    }

    fn read_range(&self, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        let mut state = self.disk.looking(self.process)?;
        let ended = || failed(io::ErrorKind::UnexpectedEof);
        let Some(Body::File { data, .. }) = state.inode(self.ino).map(|inode| &inode.body) else {
            return Err(ended());
        };
        let start = usize::try_from(range.start).map_err(|_| ended())?;
        let end = usize::try_from(range.end).map_err(|_| ended())?;
        let from = out.len();
        data.append_to(out, start..end).ok_or_else(ended)?;
        if state.rot > 0 && end > start {
            let (odds, len) = (state.rot, end - start);
            if state.rot_rng.below(1_000_000) < odds {
                let at = from + state.rot_rng.index(len);
                out[at] ^= 1;
            }
        }
        Ok(())
    }
}
