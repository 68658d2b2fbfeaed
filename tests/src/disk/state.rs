//! The disk's two states and the log between them.
//!
//! Invariant: applying the whole log to `durable` gives `now`, unless a sync failed: what it covered is
//! dropped from the log, and only reading anew shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use peer::storage::fs::{Kind, Meta, Rename};
use reactor::{FileStamp, Rng};

use super::change::Change;
use super::chunks::CHUNK;
use super::crash::{CrashPoint, Fate};
use super::failed;
use super::image::{Body, Image, Inode, ROOT};
use crate::content::Tree;

/// A moment in 2026; times of files count from here.
const EPOCH_NS: i128 = 1_800_000_000_000_000_000;

/// What some work cost, to derive its time from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
}

#[derive(Debug)]
pub(super) struct State {
    now: Image,
    durable: Image,
    /// Files that a sync failed for: what is durable of them is not what shows.
    doubtful: BTreeSet<u64>,
    log: Vec<Change>,
    next_ino: u64,
    pub(super) clock: i128,
    last_tick: i128,
    /// Handles of earlier processes are dead.
    pub(super) process: u64,
    /// How many handles hold a file open; it keeps its space so long.
    pub(super) open: BTreeMap<u64, u32>,
    pub(super) locks: BTreeMap<u64, u64>,
    pub(super) next_handle: u64,
    pub(super) quota: Option<u64>,
    pub(super) no_swap: bool,
    pub(super) lies_about_files: bool,
    pub(super) lies_about_folders: bool,
    pub(super) failing_syncs: u32,
    pub(super) syncs_until_cut: Option<u32>,
    /// What failed so far: syncs, writes, growth.
    pub(super) failures: (u64, u64, u64),
    pub(super) failing_writes: u32,
    pub(super) sparse: bool,
    pub(super) rot: u64,
    pub(super) rot_rng: Rng,
    pub(super) changes: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) dark: bool,
    pub(super) tampered: bool,
    pub(super) allowed: Vec<PathBuf>,
    pub(super) strays: Vec<PathBuf>,
    pub(super) cost: Cost,
    /// Content that is elsewhere in memory anyway, in chunks.
    pub(super) known: Arc<[Arc<[u8]>]>,
    /// What a power cut would find after each operation, if that is kept.
    pub(super) points: Option<Vec<CrashPoint>>,
    /// What processes wrote, if that is noted: inode, offset, length.
    pub(super) written: Option<Vec<(u64, u64, usize)>>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            now: Image::new(),
            durable: Image::new(),
            doubtful: BTreeSet::new(),
            log: Vec::new(),
            next_ino: ROOT + 1,
            clock: 0,
            last_tick: 0,
            process: 0,
            open: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_handle: 0,
            quota: None,
            no_swap: false,
            lies_about_files: false,
            lies_about_folders: false,
            failing_syncs: 0,
            syncs_until_cut: None,
            failures: (0, 0, 0),
            failing_writes: 0,
            sparse: false,
            rot: 0,
            rot_rng: Rng::new(0),
            changes: 0,
            cut_at: None,
            dark: false,
            tampered: false,
            allowed: Vec::new(),
            strays: Vec::new(),
            cost: Cost::default(),
            known: Arc::default(),
            points: None,
            written: None,
        }
    }

    // ---- looking

    pub(super) fn inode(&self, ino: u64) -> Option<&Inode> {
        self.now.get(ino)
    }

    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Option<u64> {
        self.now.child(parent, name)
    }

    pub(super) fn find(&self, path: &Path) -> Option<u64> {
        self.now.find(path)
    }

    /// Below `start`, by plain segments only.
    pub(super) fn find_below(&self, start: u64, path: &Path) -> io::Result<u64> {
        let mut ino = start;
        for part in path.components() {
            let Component::Normal(name) = part else {
                return Err(failed(io::ErrorKind::InvalidInput));
            };
            match self.inode(ino).map(|inode| &inode.body) {
                Some(Body::Folder(entries)) => {
                    ino = *entries.get(name).ok_or_else(|| failed(io::ErrorKind::NotFound))?;
                }
                Some(Body::File { .. }) => return Err(failed(io::ErrorKind::NotADirectory)),
                None => return Err(failed(io::ErrorKind::NotFound)),
            }
        }
        Ok(ino)
    }

    pub(super) fn meta(&self, ino: u64) -> io::Result<Meta> {
        let inode = self.inode(ino).ok_or_else(|| failed(io::ErrorKind::NotFound))?;
        let (kind, len, allocated) = match &inode.body {
            Body::File { data, allocated } => (Kind::File, data.len() as u64, *allocated),
            Body::Folder(_) => (Kind::Folder, 0, 0),
        };
        let stamp = FileStamp {
            device: 1,
            inode: ino,
            len,
            mtime_ns: EPOCH_NS + inode.mtime,
            ctime_ns: EPOCH_NS + inode.ctime,
        };
        Ok(Meta { kind, stamp, allocated, executable: inode.executable, ours: true })
    }

    pub(super) fn used(&self) -> u64 {
        let linked = self.now.linked();
        let counts = |ino: &u64| linked.contains(ino) || self.open.contains_key(ino);
        let used = self.now.inodes.iter().filter(|(ino, _)| counts(ino)).map(|(_, inode)| {
            if let Body::File { allocated, .. } = &inode.body { *allocated } else { 0 }
        });
        used.sum()
    }

    pub(super) fn tree(&self, path: &Path, durable: bool) -> Option<Tree> {
        if durable { self.durable.tree(path) } else { self.now.tree(path) }
    }

    pub(super) fn walk(&self, ino: u64, path: &Path, found: &mut Vec<PathBuf>) {
        if let Some(Body::Folder(entries)) = self.inode(ino).map(|inode| &inode.body) {
            for (name, child) in entries {
                found.push(path.join(name));
                self.walk(*child, &path.join(name), found);
            }
        }
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = (&u64, &Inode)> {
        self.now.inodes.iter()
    }

    /// Bytes to be written, without a copy if all of them are known.
    pub(super) fn known_or_new(&self, offset: u64, bytes: &[u8]) -> Arc<[u8]> {
        let index = usize::try_from(offset / CHUNK as u64).unwrap_or(usize::MAX);
        let aligned = offset.is_multiple_of(CHUNK as u64);
        let known = self.known.get(index).filter(|known| aligned && known[..] == *bytes);
        known.map_or_else(|| bytes.into(), Arc::clone)
    }

    // ---- changing

    /// A moment later than any before, so that each change shows in the times.
    pub(super) fn tick(&mut self) -> i128 {
        self.last_tick = self.clock.max(self.last_tick + 1);
        self.last_tick
    }

    pub(super) fn apply(&mut self, change: Change) {
        self.now.apply(&change);
        self.log.push(change);
    }

    pub(super) fn make(
        &mut self,
        parent: u64,
        name: OsString,
        folder: bool,
        executable: bool,
    ) -> io::Result<u64> {
        if self.child(parent, &name).is_some() {
            return Err(failed(io::ErrorKind::AlreadyExists));
        }
        let (ino, at) = (self.next_ino, self.tick());
        self.next_ino += 1;
        // Without a name nobody sees it: which folder names it is what a power cut decides.
        for image in [&mut self.now, &mut self.durable] {
            image.inodes.insert(ino, Inode::new(folder, executable, at));
        }
        self.apply(Change::Make { parent, name, ino });
        Ok(ino)
    }

    pub(super) fn make_path(&mut self, path: &Path) -> u64 {
        let mut ino = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                ino = match self.child(ino, name) {
                    Some(child) => child,
                    None => self.make(ino, name.to_owned(), true, true).expect("the name is free"),
                };
            }
        }
        ino
    }

    pub(super) fn overwrite(&mut self, ino: u64, bytes: Vec<u8>) {
        let at = self.tick();
        self.apply(Change::Len { ino, len: 0, at });
        self.apply(Change::Write { ino, offset: 0, bytes: bytes.into(), at });
    }

    pub(super) fn rename(
        &mut self,
        from: (u64, OsString),
        to: (u64, OsString),
        how: Rename,
    ) -> io::Result<()> {
        let source = self.child(from.0, &from.1).ok_or_else(|| failed(io::ErrorKind::NotFound))?;
        let there = self.child(to.0, &to.1);
        let is_folder = |ino| matches!(self.inode(ino).map(|i| &i.body), Some(Body::Folder(_)));
        match (how, there) {
            (Rename::Keep, Some(_)) => return Err(failed(io::ErrorKind::AlreadyExists)),
            (Rename::Swap, None) => return Err(failed(io::ErrorKind::NotFound)),
            (Rename::Replace, Some(there)) if is_folder(there) != is_folder(source) => {
                return Err(failed(io::ErrorKind::IsADirectory));
            }
            _ => {}
        }
        let swapped = there.filter(|_| how == Rename::Swap);
        let at = self.tick();
        self.apply(Change::Move { ino: source, from, to, swapped, at });
        Ok(())
    }

    pub(super) fn unlink(&mut self, parent: u64, name: OsString, ino: u64) {
        self.apply(Change::Unlink { parent, name, ino });
    }

    // ---- durability

    /// Content and length of one file; of its name nothing.
    pub(super) fn sync_file(&mut self, ino: u64, fails: bool) {
        if self.lies_about_files {
            return;
        }
        let mine: Vec<Change> = self.log.extract_if(.., |c| c.content_of() == Some(ino)).collect();
        if fails {
            self.doubtful.insert(ino);
        } else if self.doubtful.contains(&ino) {
            mine.iter().for_each(|change| self.durable.apply(change));
        } else if let Some(inode) = self.now.get(ino) {
            // The same, in memory that both share.
            self.durable.inodes.insert(ino, inode.clone());
        }
    }

    /// The names in one folder, with what else happened to whatever they name: a rename shows in both
    /// of its folders or in none. Names in other folders stay as uncertain as they were.
    pub(super) fn sync_folder(&mut self, folder: u64) {
        if self.lies_about_folders {
            return;
        }
        let mut due = vec![false; self.log.len()];
        let mut concerned = BTreeSet::new();
        for (at, change) in self.log.iter().enumerate().rev() {
            if change.names_in(folder) || change.named().any(|ino| concerned.contains(&ino)) {
                due[at] = true;
                concerned.extend(change.named());
            }
        }
        let mut due = due.into_iter();
        for change in self.log.extract_if(.., |_| due.next() == Some(true)) {
            self.durable.apply(&change);
        }
    }

    pub(super) fn sync_everything(&mut self) {
        for change in self.log.drain(..) {
            self.durable.apply(&change);
        }
    }

    /// Forgets what memory holds of these bytes, unless it is known to be on its way to the disk.
    pub(super) fn reread(&mut self, ino: u64, at: u64, len: u64) {
        let (Some(now), Some(durable)) = (self.now.get(ino).cloned(), self.durable.get(ino)) else {
            return;
        };
        let Body::File { data: in_memory, .. } = &now.body else { return };
        let mut on_disk = durable.clone();
        if let Body::File { data, .. } = &mut on_disk.body {
            data.resize(in_memory.len());
        }
        self.now.inodes.insert(ino, on_disk);
        for change in self.log.iter().filter(|change| change.content_of() == Some(ino)) {
            self.now.apply(change);
        }
        let on_disk = self.now.inodes.insert(ino, now);
        let now = self.now.inodes.get_mut(&ino).map(|inode| &mut inode.body);
        let (Some(Body::File { data, .. }), Some(Body::File { data: on_disk, .. })) =
            (now, on_disk.map(|inode| inode.body))
        else {
            return;
        };
        let (at, len) = (usize::try_from(at), usize::try_from(len));
        let (Ok(at), Ok(len)) = (at, len) else { return };
        let len = len.min(on_disk.len().min(data.len()).saturating_sub(at));
        let mut bytes = vec![0; len];
        on_disk.read(at, &mut bytes);
        data.write(at, &bytes.into());
    }

    pub(super) fn new_process(&mut self) {
        self.process += 1;
        self.open.clear();
        self.locks.clear();
        self.dark = false;
        self.cut_at = None;
        let linked = self.now.linked();
        self.now.inodes.retain(|ino, _| linked.contains(ino));
        let mut wanted = self.durable.linked();
        wanted.extend(linked);
        wanted.extend(self.log.iter().flat_map(Change::named));
        self.durable.inodes.retain(|ino, _| wanted.contains(ino));
    }

    // ---- power cuts

    /// Changes that are not durable.
    pub(super) fn unsaved(&self) -> usize {
        self.log.len()
    }

    /// What a power cut right now would find.
    pub(super) fn crash_point(&self) -> CrashPoint {
        CrashPoint {
            operation: self.changes,
            durable: self.durable.clone(),
            pending: self.log.clone(),
            next_ino: self.next_ino,
            last_tick: self.last_tick,
        }
    }

    pub(super) fn note_point(&mut self) {
        if self.points.is_some() {
            let point = self.crash_point();
            self.points.get_or_insert_default().push(point);
        }
    }

    /// The disk as it is when the power is back, in a new process.
    pub(super) fn wake_up_with(&mut self, image: Image, next_ino: u64, last_tick: i128) {
        self.durable = image.clone();
        self.now = image;
        self.log.clear();
        self.doubtful.clear();
        (self.next_ino, self.last_tick) = (next_ino, last_tick);
        self.new_process();
    }

    /// Makes uncertain again what was so at `point`, which shows already.
    pub(super) fn take_back(&mut self, point: &CrashPoint) {
        self.durable = point.durable.clone();
        self.log.clone_from(&point.pending);
    }

    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        let point = self.crash_point();
        // Sometimes all of it is there, sometimes nothing, mostly something.
        let fates: Vec<Fate> = match rng.below(5) {
            0 => vec![Fate::Lost; point.pending.len()],
            1 => vec![Fate::Kept; point.pending.len()],
            // A system writes out one file after another: what shares sectors goes together.
            2 => {
                let mut files = BTreeMap::new();
                let fate = |change: &Change| match change.content_of() {
                    Some(ino) => *files.entry(ino).or_insert_with(|| Fate::of_a_file(rng)),
                    None => Fate::Kept,
                };
                point.pending.iter().map(fate).collect()
            }
            _ => point.pending.iter().map(|_| Fate::draw(rng)).collect(),
        };
        let image = point.image(&fates);
        self.wake_up_with(image, point.next_ino, point.last_tick);
    }
}
