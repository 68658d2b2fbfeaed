//! The disk's two states and the log between them.
//!
//! Invariant: applying the whole log to `durable` gives `now`, unless a sync failed: what it covered is
//! dropped from the log, and only reading anew shows it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use peer::storage::fs::{Kind, Meta, Rename};
use reactor::{FileStamp, Rng};

use super::failed;
use crate::content::Tree;

/// The folder above all others.
pub(super) const ROOT: u64 = 1;
/// Space is given out in such steps.
const BLOCK: u64 = 4096;
/// A power cut tears writes at such borders.
const SECTOR: usize = 512;
/// A moment in 2026; times of files count from here.
const EPOCH_NS: i128 = 1_800_000_000_000_000_000;

/// What is in a file or folder.
#[derive(Clone, Debug)]
pub(super) enum Body {
    File { data: Arc<Vec<u8>>, allocated: u64 },
    Folder(BTreeMap<OsString, u64>),
}

/// A file or folder.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) executable: bool,
    pub(super) mtime: i128,
    pub(super) ctime: i128,
}

/// Something that was changed.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { ino: u64, offset: u64, bytes: Vec<u8>, at: i128 },
    Len { ino: u64, len: u64, at: i128 },
    Reserve { ino: u64, len: u64, at: i128 },
    Make { parent: u64, name: OsString, ino: u64, folder: bool, executable: bool, at: i128 },
    Unlink { parent: u64, name: OsString },
    Move { from: (u64, OsString), to: (u64, OsString), swap: bool, at: i128 },
}

impl Change {
    /// The file whose content changes, if it is not about names.
    fn content_of(&self) -> Option<u64> {
        match self {
            Self::Write { ino, .. } | Self::Len { ino, .. } | Self::Reserve { ino, .. } => {
                Some(*ino)
            }
            Self::Make { .. } | Self::Unlink { .. } | Self::Move { .. } => None,
        }
    }

    fn concerns_folder(&self, folder: u64) -> bool {
        match self {
            Self::Make { parent, .. } | Self::Unlink { parent, .. } => *parent == folder,
            Self::Move { from, to, .. } => from.0 == folder || to.0 == folder,
            _ => false,
        }
    }
}

/// What some work cost, to derive its time from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
}

type Inodes = BTreeMap<u64, Inode>;

#[derive(Debug)]
pub(super) struct State {
    now: Inodes,
    durable: Inodes,
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
    pub(super) failing_syncs: u32,
    pub(super) failing_writes: u32,
    pub(super) rot: u64,
    pub(super) rot_rng: Rng,
    pub(super) changes: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) dark: bool,
    pub(super) tampered: bool,
    pub(super) allowed: Vec<PathBuf>,
    pub(super) strays: Vec<PathBuf>,
    pub(super) cost: Cost,
}

fn folder() -> Inode {
    Inode { body: Body::Folder(BTreeMap::new()), executable: true, mtime: 0, ctime: 0 }
}

impl State {
    pub(super) fn new() -> Self {
        let inodes: Inodes = [(ROOT, folder())].into();
        Self {
            now: inodes.clone(),
            durable: inodes,
            log: Vec::new(),
            next_ino: ROOT + 1,
            clock: 0,
            last_tick: 0,
            process: 0,
            open: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_handle: 0,
            quota: None,
            failing_syncs: 0,
            failing_writes: 0,
            rot: 0,
            rot_rng: Rng::new(0),
            changes: 0,
            cut_at: None,
            dark: false,
            tampered: false,
            allowed: Vec::new(),
            strays: Vec::new(),
            cost: Cost::default(),
        }
    }

    // ---- looking

    pub(super) fn inode(&self, ino: u64) -> Option<&Inode> {
        self.now.get(&ino)
    }

    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Option<u64> {
        child_in(&self.now, parent, name)
    }

    pub(super) fn find(&self, path: &Path) -> Option<u64> {
        find_in(&self.now, path)
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
        let linked = reachable(&self.now);
        let counts = |ino: &u64| linked.contains_key(ino) || self.open.contains_key(ino);
        let used = self.now.iter().filter(|(ino, _)| counts(ino)).map(|(_, inode)| {
            if let Body::File { allocated, .. } = &inode.body { *allocated } else { 0 }
        });
        used.sum()
    }

    pub(super) fn tree(&self, path: &Path, durable: bool) -> Option<Tree> {
        let inodes = if durable { &self.durable } else { &self.now };
        let mut tree = Tree::default();
        collect(inodes, find_in(inodes, path)?, String::new(), &mut tree);
        Some(tree)
    }

    pub(super) fn walk(&self, ino: u64, path: &Path, found: &mut Vec<PathBuf>) {
        if let Some(Body::Folder(entries)) = self.inode(ino).map(|inode| &inode.body) {
            for (name, child) in entries {
                found.push(path.join(name));
                self.walk(*child, &path.join(name), found);
            }
        }
    }

    // ---- changing

    /// A moment later than any before, so that each change shows in the times.
    pub(super) fn tick(&mut self) -> i128 {
        self.last_tick = self.clock.max(self.last_tick + 1);
        self.last_tick
    }

    pub(super) fn apply(&mut self, change: Change) {
        apply_to(&mut self.now, &change);
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
        self.apply(Change::Make { parent, name, ino, folder, executable, at });
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
        self.apply(Change::Write { ino, offset: 0, bytes, at });
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
        let at = self.tick();
        self.apply(Change::Move { from, to, swap: how == Rename::Swap, at });
        Ok(())
    }

    // ---- durability

    /// Content and length of one file.
    pub(super) fn sync_file(&mut self, ino: u64, fails: bool) {
        let (mine, others) =
            std::mem::take(&mut self.log).into_iter().partition(|c| c.content_of() == Some(ino));
        self.log = others;
        if !fails {
            let mine: Vec<Change> = mine;
            mine.iter().for_each(|change| apply_to(&mut self.durable, change));
        }
    }

    /// The names in one folder, and all that changed before the last of them.
    pub(super) fn sync_folder(&mut self, folder: u64) {
        let last = self.log.iter().rposition(|change| change.concerns_folder(folder));
        let Some(last) = last else { return };
        let mut kept = Vec::new();
        for (at, change) in std::mem::take(&mut self.log).into_iter().enumerate() {
            if at <= last && change.content_of().is_none() {
                apply_to(&mut self.durable, &change);
            } else {
                kept.push(change);
            }
        }
        self.log = kept;
    }

    pub(super) fn sync_everything(&mut self) {
        for change in std::mem::take(&mut self.log) {
            apply_to(&mut self.durable, &change);
        }
    }

    /// Forgets content in memory that is not known to be on its way to the disk.
    pub(super) fn reread(&mut self, ino: u64) {
        let Some(mut inode) = self.durable.get(&ino).cloned() else { return };
        let mut only: Inodes = Inodes::new();
        if let Some(now) = self.now.get(&ino) {
            (inode.mtime, inode.ctime) = (now.mtime, now.ctime);
            let len = if let Body::File { data, .. } = &now.body { data.len() } else { 0 };
            if let Body::File { data, .. } = &mut inode.body {
                Arc::make_mut(data).resize(len, 0);
            }
        }
        only.insert(ino, inode);
        for change in self.log.iter().filter(|change| change.content_of() == Some(ino)) {
            apply_to(&mut only, change);
        }
        self.now.append(&mut only);
    }

    pub(super) fn new_process(&mut self) {
        self.process += 1;
        self.open.clear();
        self.locks.clear();
        self.dark = false;
        self.cut_at = None;
        let linked = reachable(&self.now);
        self.now.retain(|ino, _| linked.contains_key(ino));
    }

    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        let log = std::mem::take(&mut self.log);
        let names = log.iter().filter(|change| change.content_of().is_none()).count();
        // Sometimes all of it is there, sometimes nothing, mostly something.
        let mood = rng.below(4);
        let mut names_left = match mood {
            0 => 0,
            1 => names,
            _ => rng.index(names + 1),
        };
        for change in log {
            let is_name = change.content_of().is_none();
            if is_name && names_left == 0 {
                continue;
            }
            names_left -= usize::from(is_name);
            if is_name || mood == 1 || (mood > 1 && rng.below(2) == 0) {
                apply_to(&mut self.durable, &change);
            } else if mood > 1 {
                tear(&mut self.durable, &change, rng);
            }
        }
        let linked = reachable(&self.durable);
        self.durable.retain(|ino, _| linked.contains_key(ino));
        self.now = self.durable.clone();
        self.new_process();
    }
}

/// Some sectors of a write.
fn tear(inodes: &mut Inodes, change: &Change, rng: &mut Rng) {
    let Change::Write { ino, offset, bytes, at } = change else { return };
    if rng.below(2) == 0 {
        return;
    }
    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
        if rng.below(2) == 0 {
            let offset = offset + (index * SECTOR) as u64;
            let bytes = sector.to_vec();
            apply_to(inodes, &Change::Write { ino: *ino, offset, bytes, at: *at });
        }
    }
}

fn child_in(inodes: &Inodes, parent: u64, name: &OsStr) -> Option<u64> {
    match &inodes.get(&parent)?.body {
        Body::Folder(entries) => entries.get(name).copied(),
        Body::File { .. } => None,
    }
}

fn find_in(inodes: &Inodes, path: &Path) -> Option<u64> {
    let mut ino = ROOT;
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => ino = child_in(inodes, ino, name)?,
            _ => return None,
        }
    }
    Some(ino)
}

fn reachable(inodes: &Inodes) -> BTreeMap<u64, ()> {
    let mut found = BTreeMap::from([(ROOT, ())]);
    let mut open = vec![ROOT];
    while let Some(ino) = open.pop() {
        if let Some(Body::Folder(entries)) = inodes.get(&ino).map(|inode| &inode.body) {
            for child in entries.values() {
                if found.insert(*child, ()).is_none() {
                    open.push(*child);
                }
            }
        }
    }
    found
}

fn collect(inodes: &Inodes, ino: u64, path: String, tree: &mut Tree) {
    match inodes.get(&ino).map(|inode| &inode.body) {
        Some(Body::File { data, .. }) => {
            tree.files.insert(path, data.to_vec());
        }
        Some(Body::Folder(entries)) => {
            if entries.is_empty() {
                tree.folders.insert(path.clone());
            }
            for (name, child) in entries {
                let name = name.to_string_lossy();
                let below = if path.is_empty() { name.into() } else { format!("{path}/{name}") };
                collect(inodes, *child, below, tree);
            }
        }
        None => {}
    }
}

/// One change of one of the two states.
fn apply_to(inodes: &mut Inodes, change: &Change) {
    match change {
        Change::Write { ino, offset, bytes, at } => {
            with_file(inodes, *ino, *at, |data, allocated| {
                let start = usize::try_from(*offset).expect("simulated files are small");
                let end = start + bytes.len();
                if data.len() < end {
                    data.resize(end, 0);
                }
                data[start..end].copy_from_slice(bytes);
                *allocated = (*allocated).max((end as u64).next_multiple_of(BLOCK));
            });
        }
        Change::Len { ino, len, at } => with_file(inodes, *ino, *at, |data, allocated| {
            data.resize(usize::try_from(*len).expect("simulated files are small"), 0);
            *allocated = (*allocated).min(len.next_multiple_of(BLOCK));
        }),
        Change::Reserve { ino, len, at } => with_file(inodes, *ino, *at, |data, allocated| {
            let len_now = usize::try_from(*len).expect("simulated files are small");
            if data.len() < len_now {
                data.resize(len_now, 0);
            }
            *allocated = (*allocated).max(len.next_multiple_of(BLOCK));
        }),
        Change::Make { parent, name, ino, folder: is_folder, executable, at } => {
            let body = if *is_folder {
                Body::Folder(BTreeMap::new())
            } else {
                Body::File { data: Arc::default(), allocated: 0 }
            };
            let new = Inode { body, executable: *executable, mtime: *at, ctime: *at };
            inodes.entry(*ino).or_insert(new).executable = *executable;
            link(inodes, *parent, name, *ino);
        }
        Change::Unlink { parent, name } => {
            unlink(inodes, *parent, name);
        }
        Change::Move { from, to, swap, at } => {
            let Some(moved) = unlink(inodes, from.0, &from.1) else { return };
            let there = unlink(inodes, to.0, &to.1);
            link(inodes, to.0, &to.1, moved);
            if let Some(there) = there.filter(|_| *swap) {
                link(inodes, from.0, &from.1, there);
            }
            if let Some(inode) = inodes.get_mut(&moved) {
                inode.ctime = *at;
            }
        }
    }
}

fn with_file(inodes: &mut Inodes, ino: u64, at: i128, act: impl FnOnce(&mut Vec<u8>, &mut u64)) {
    // Content may become durable before the name of its file does.
    let blank = || Inode {
        body: Body::File { data: Arc::default(), allocated: 0 },
        executable: false,
        mtime: at,
        ctime: at,
    };
    let inode = inodes.entry(ino).or_insert_with(blank);
    if let Body::File { data, allocated } = &mut inode.body {
        act(Arc::make_mut(data), allocated);
        (inode.mtime, inode.ctime) = (at, at);
    }
}

fn link(inodes: &mut Inodes, parent: u64, name: &OsStr, ino: u64) {
    if let Some(Body::Folder(entries)) = inodes.get_mut(&parent).map(|inode| &mut inode.body) {
        entries.insert(name.to_owned(), ino);
    }
}

fn unlink(inodes: &mut Inodes, parent: u64, name: &OsStr) -> Option<u64> {
    match inodes.get_mut(&parent).map(|inode| &mut inode.body) {
        Some(Body::Folder(entries)) => entries.remove(name),
        _ => None,
    }
}
