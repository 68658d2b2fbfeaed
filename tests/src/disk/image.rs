//! Files and folders as they are at one moment: what reads show, or what the platter holds.

use super::change::Change;
use super::chunks::Chunks;
use crate::content::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

/// The folder above all others.
pub(super) const ROOT: u64 = 1;
/// Space is given out in such steps.
const BLOCK: u64 = 4096;

/// What is in a file or folder.
#[derive(Clone, Debug, Hash)]
pub(super) enum Body {
    File { data: Chunks, allocated: u64 },
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

impl Inode {
    pub(super) fn new(folder: bool, executable: bool, at: i128) -> Self {
        let body = if folder {
            Body::Folder(BTreeMap::new())
        } else {
            Body::File { data: Chunks::default(), allocated: 0 }
        };
        Self { body, executable, mtime: at, ctime: at }
    }
}

/// Everything on a disk. Inodes that no folder names may be in it: whoever looks by name does not see
/// them.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) inodes: BTreeMap<u64, Inode>,
}

impl Image {
    pub(super) fn new() -> Self {
        Self { inodes: [(ROOT, Inode::new(true, true, 0))].into() }
    }

    // ---- looking

    pub(super) fn get(&self, ino: u64) -> Option<&Inode> {
        self.inodes.get(&ino)
    }

    pub(super) fn child(&self, parent: u64, name: &OsStr) -> Option<u64> {
        match &self.get(parent)?.body {
            Body::Folder(entries) => entries.get(name).copied(),
            Body::File { .. } => None,
        }
    }

    pub(super) fn find(&self, path: &Path) -> Option<u64> {
        let mut ino = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir => {}
                Component::Normal(name) => ino = self.child(ino, name)?,
                _ => return None,
            }
        }
        Some(ino)
    }

    /// What can be reached by names.
    pub(super) fn linked(&self) -> BTreeSet<u64> {
        let mut found = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(ino) = open.pop() {
            if let Some(Body::Folder(entries)) = self.get(ino).map(|inode| &inode.body) {
                open.extend(entries.values().filter(|child| found.insert(**child)));
            }
        }
        found
    }

    /// All files and empty folders below `path`; `None` if nothing is there.
    pub(super) fn tree(&self, path: &Path) -> Option<Tree> {
        let mut tree = Tree::default();
        self.collect(self.find(path)?, String::new(), &mut tree);
        Some(tree)
    }

    fn collect(&self, ino: u64, path: String, tree: &mut Tree) {
        let Some(inode) = self.get(ino) else { return };
        match &inode.body {
            Body::File { data, .. } => {
                if inode.executable {
                    tree.executable.insert(path.clone());
                }
                tree.files.insert(path, data.to_vec());
            }
            Body::Folder(entries) => {
                if entries.is_empty() {
                    tree.folders.insert(path.clone());
                }
                for (name, child) in entries {
                    let name = name.to_string_lossy();
                    let below =
                        if path.is_empty() { name.into() } else { format!("{path}/{name}") };
                    self.collect(*child, below, tree);
                }
            }
        }
    }

    // ---- changing

    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { ino, offset, bytes, at } => self.with(*ino, *at, |data, allocated| {
                data.write(small(*offset), bytes);
                let end = *offset + bytes.len() as u64;
                *allocated = (*allocated).max(end.next_multiple_of(BLOCK));
            }),
            Change::Len { ino, len, at } => self.with(*ino, *at, |data, allocated| {
                data.resize(small(*len));
                *allocated = (*allocated).min(len.next_multiple_of(BLOCK));
            }),
            Change::Reserve { ino, len, at } => self.with(*ino, *at, |data, allocated| {
                if data.len() < small(*len) {
                    data.resize(small(*len));
                }
                *allocated = (*allocated).max(len.next_multiple_of(BLOCK));
            }),
            Change::Make { parent, name, ino } => self.link(*parent, name, *ino),
            Change::Unlink { parent, name, ino } => self.unlink(*parent, name, *ino),
            Change::Move { ino, from, to, swapped, at } => {
                self.unlink(from.0, &from.1, *ino);
                self.link(to.0, &to.1, *ino);
                if let Some(other) = swapped {
                    self.link(from.0, &from.1, *other);
                }
                if let Some(inode) = self.inodes.get_mut(ino) {
                    inode.ctime = *at;
                }
            }
        }
    }

    fn with(&mut self, ino: u64, at: i128, act: impl FnOnce(&mut Chunks, &mut u64)) {
        let Some(inode) = self.inodes.get_mut(&ino) else { return };
        if let Body::File { data, allocated } = &mut inode.body {
            act(data, allocated);
            (inode.mtime, inode.ctime) = (at, at);
        }
    }

    fn link(&mut self, parent: u64, name: &OsStr, ino: u64) {
        if let Some(Body::Folder(entries)) = self.inodes.get_mut(&parent).map(|i| &mut i.body) {
            entries.insert(name.to_owned(), ino);
        }
    }

    /// Takes the name away, unless it is something else's by now.
    fn unlink(&mut self, parent: u64, name: &OsStr, ino: u64) {
        if let Some(Body::Folder(entries)) = self.inodes.get_mut(&parent).map(|i| &mut i.body)
            && entries.get(name) == Some(&ino)
        {
            entries.remove(name);
        }
    }
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("simulated files are small")
}
