//! Promise: pull the plug at any moment, and the next run completes; what a checkpoint confirmed is
//! kept, nothing else is believed, and a file that has its final name is right.
//!
//! On a disk in memory that loses power: data that was not synced survives in any combination of 512
//! byte sectors, lengths and times do or don't, and names survive as of any moment since the last
//! sync of a folder (the order of a journaling file system, but without its habit of writing names
//! when a file is synced).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use peer::storage::Storage;
use peer::storage::fs::{Advice, Folder, Fs, FsFile, Kind, Listed, Meta, Open, Rename};
use reactor::{FileStamp, Source};

use crate::objects::{Object, bytes, checkpoint, finish, folder_object, object, prepare, store};

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Clone, Default)]
struct Data {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    ctime: i128,
    durable_ctime: i128,
}

/// Path to inode; folders have no data.
type Names = BTreeMap<PathBuf, (u64, bool)>;

#[derive(Clone, Default)]
struct Disk {
    names: Names,
    /// As they were after each change since the last sync of a folder, oldest first.
    unsynced_names: Vec<Names>,
    data: BTreeMap<u64, Data>,
    next_inode: u64,
    clock_ns: i128,
    operations: usize,
    dies_at: Option<usize>,
}

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn apply(to: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Len(len) => to.resize(*len, 0),
        Change::Write(at, bytes) => {
            to.resize(to.len().max(at + bytes.len()), 0);
            to[*at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

impl Disk {
    fn dead(&self) -> bool {
        self.dies_at.is_some_and(|at| self.operations > at)
    }

    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        self.clock_ns += 1_000_000;
        if self.dead() { Err(io::Error::other("no power")) } else { Ok(()) }
    }

    fn rename_all(&mut self, from: &Path, to: &Path) {
        let moved: Vec<PathBuf> =
            self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let entry = self.names.remove(&path).unwrap();
            let rest = path.strip_prefix(from).unwrap();
            let new = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            self.names.insert(new, entry);
        }
    }

    fn named(&mut self) {
        self.unsynced_names.push(self.names.clone());
    }

    /// What is left when the power is back.
    fn after_power_cut(&self, durable_names: &Names, dice: &mut Dice) -> Self {
        let mut left = self.clone();
        let states = self.unsynced_names.len() + 1;
        left.names = match dice.below(states) {
            0 => durable_names.clone(),
            at => self.unsynced_names[at - 1].clone(),
        };
        for data in left.data.values_mut() {
            let mut content = data.durable.clone();
            for change in &data.unsynced {
                if let Change::Write(at, bytes) = change {
                    for (sector, part) in bytes.chunks(512).enumerate() {
                        if dice.below(3) > 0 {
                            apply(&mut content, &Change::Write(at + sector * 512, part.to_vec()));
                        }
                    }
                } else if dice.below(2) > 0 {
                    apply(&mut content, change);
                }
            }
            if dice.below(2) > 0 {
                data.ctime = data.durable_ctime;
            }
            data.live.clone_from(&content);
            data.durable = content;
            data.unsynced.clear();
        }
        left.unsynced_names.clear();
        left.dies_at = None;
        left.clock_ns += 100_000_000_000;
        left
    }
}

#[derive(Clone)]
struct Machine(Arc<Mutex<(Disk, Names)>>);

impl Machine {
    fn new(disk: Disk) -> Self {
        let names = disk.names.clone();
        Self(Arc::new(Mutex::new((disk, names))))
    }

    fn lock(&self) -> MutexGuard<'_, (Disk, Names)> {
        self.0.lock().unwrap()
    }

    fn step(&self) -> io::Result<MutexGuard<'_, (Disk, Names)>> {
        let mut guard = self.lock();
        guard.0.step()?;
        Ok(guard)
    }

    fn file(&self, inode: u64) -> Arc<dyn FsFile> {
        Arc::new(OpenFile(self.clone(), inode))
    }
}

fn meta_of(disk: &Disk, inode: u64, file: bool) -> Meta {
    let data = disk.data.get(&inode);
    let len = data.map_or(0, |data| data.live.len() as u64);
    let time = data.map_or(0, |data| data.ctime);
    let stamp = FileStamp { device: 1, inode, len, mtime_ns: time, ctime_ns: time };
    let kind = if file { Kind::File } else { Kind::Folder };
    Meta { kind, stamp, allocated: len, executable: false, ours: true }
}

fn unused<T>() -> io::Result<T> {
    Err(ErrorKind::Unsupported.into())
}

impl Fs for Machine {
    fn folder(&self, _: &Path) -> io::Result<Arc<dyn Folder>> {
        drop(self.step()?);
        Ok(Arc::new(self.clone()))
    }
    fn list(&self, _: &Path) -> io::Result<Vec<Listed>> {
        unused()
    }
    fn meta(&self, _: &Path, _: bool) -> io::Result<Meta> {
        unused()
    }
    fn open(&self, _: &Path) -> io::Result<Arc<dyn FsFile>> {
        unused()
    }
}

impl Folder for Machine {
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let guard = self.step()?;
        let below = guard.0.names.iter().filter(|(at, _)| at.parent() == Some(path));
        let listed = below.map(|(at, (_, file))| Listed {
            name: at.file_name().unwrap().to_owned(),
            kind: if *file { Kind::File } else { Kind::Folder },
        });
        Ok(listed.collect())
    }
    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let guard = self.step()?;
        let (inode, file) = guard.0.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(meta_of(&guard.0, *inode, *file))
    }
    fn make_folder(&self, path: &Path, _: bool) -> io::Result<()> {
        let mut guard = self.step()?;
        if guard.0.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        guard.0.next_inode += 1;
        let inode = guard.0.next_inode;
        guard.0.names.insert(path.to_owned(), (inode, false));
        guard.0.named();
        Ok(())
    }
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn FsFile>> {
        let mut guard = self.step()?;
        let there = guard.0.names.get(path).copied();
        match (there, how) {
            (Some(_), Open::New { .. }) => Err(ErrorKind::AlreadyExists.into()),
            (Some((inode, true)), _) => Ok(self.file(inode)),
            (Some((_, false)), _) => Err(ErrorKind::InvalidInput.into()),
            (None, Open::New { .. }) => {
                guard.0.next_inode += 1;
                let (inode, ctime) = (guard.0.next_inode, guard.0.clock_ns);
                let data = Data { ctime, durable_ctime: ctime, ..Data::default() };
                guard.0.data.insert(inode, data);
                guard.0.names.insert(path.to_owned(), (inode, true));
                guard.0.named();
                Ok(self.file(inode))
            }
            (None, _) => Err(ErrorKind::NotFound.into()),
        }
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut guard = self.step()?;
        guard.0.names.remove(path).ok_or(ErrorKind::NotFound)?;
        guard.0.named();
        Ok(())
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.remove_file(path)
    }
    fn rename(&self, from: &Path, to: &Path, how: Rename) -> io::Result<()> {
        let mut guard = self.step()?;
        if !guard.0.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        match (how, guard.0.names.contains_key(to)) {
            (Rename::Keep, true) => return Err(ErrorKind::AlreadyExists.into()),
            (Rename::Swap, _) => return unused(),
            (Rename::Replace, true) => drop(guard.0.names.remove(to)),
            (_, false) => {}
        }
        guard.0.rename_all(from, to);
        guard.0.named();
        Ok(())
    }
    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut guard = self.step()?;
        guard.0.unsynced_names.clear();
        guard.1 = guard.0.names.clone();
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        let inodes: Vec<u64> = self.lock().0.data.keys().copied().collect();
        inodes.into_iter().try_for_each(|inode| OpenFile(self.clone(), inode).sync())?;
        self.sync_folder(Path::new(""))
    }
    fn free_space(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

struct OpenFile(Machine, u64);

impl OpenFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut guard = self.0.lock();
        let stepped = guard.0.step();
        let now = guard.0.clock_ns;
        let data = guard.0.data.get_mut(&self.1).unwrap();
        // What is under way when the power fails may still reach the disk.
        apply(&mut data.live, &change);
        data.ctime = now;
        data.unsynced.push(change);
        stepped
    }
}

impl FsFile for OpenFile {
    fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&self.0.step()?.0, self.1, true))
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let guard = self.0.step()?;
        let live = &guard.0.data[&self.1].live;
        let rest = live.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), bytes.to_vec()))
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(usize::try_from(len).unwrap()))
    }
    fn reserve(&self, _: u64) -> io::Result<bool> {
        Ok(false)
    }
    fn sync(&self) -> io::Result<()> {
        let mut guard = self.0.step()?;
        let data = guard.0.data.get_mut(&self.1).unwrap();
        data.durable.clone_from(&data.live);
        data.durable_ctime = data.ctime;
        data.unsynced.clear();
        Ok(())
    }
    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
    fn advise(&self, _: Advice) {}
    fn source(&self, _: u64, _: Option<FileStamp>) -> io::Result<Source> {
        unused()
    }
}

/// Panics if something has the final name and is not the object.
fn assert_right_or_absent(disk: &Disk, object: &Object, at: usize, must: bool) {
    let top = Path::new("thing");
    if !disk.names.contains_key(top) {
        assert!(!must, "{at}: the object is not there");
        return;
    }
    for (path, content) in &object.contents {
        let full = if path.is_empty() { top.to_owned() } else { top.join(path) };
        let there = disk.names.get(&full).map(|(inode, _)| disk.data.get(inode).map(|d| &d.live));
        assert!(there == Some(content.as_ref()), "{at}: {path:?} is wrong");
    }
    let below = disk.names.iter().filter(|(path, (_, file))| *file && path.starts_with(top));
    assert_eq!(below.count(), object.contents.values().flatten().count(), "{at}: extra files");
}

/// One run, until the power fails or it is done. Which pieces a checkpoint confirmed.
fn run(machine: &Machine, object: &Object) -> (Vec<u32>, bool) {
    let storage = Storage::new(Arc::new(machine.clone()), None);
    let spec = object.spec(Path::new("unused"));
    let Ok(prepared) = prepare(&storage, &spec) else { return (Vec::new(), false) };
    if prepared.finished.is_some() {
        return (Vec::new(), true);
    }
    let mut stored: Vec<u32> = prepared.have.iter().collect();
    let mut confirmed = Vec::new();
    for piece in object.manifest.geometry().pieces() {
        if !prepared.have.contains(piece) {
            if store(&storage, piece, object.piece(piece)).is_err() {
                return (confirmed, false);
            }
            stored.push(piece.get());
        }
        if stored.len().is_multiple_of(2) {
            if checkpoint(&storage).is_err() {
                return (confirmed, false);
            }
            confirmed.clone_from(&stored);
        }
    }
    (confirmed, finish(&storage).is_ok())
}

fn cut_everywhere(object: &Object) {
    let mut dice = Dice(7);
    for at in 0.. {
        let mut disk = Disk { clock_ns: 1_000_000_000_000, ..Disk::default() };
        let mut confirmed = Vec::new();
        // The second run dies, too; the third does not.
        for (cut, steps) in [at, at / 3 + 1].into_iter().enumerate() {
            disk.dies_at = Some(disk.operations + steps);
            let machine = Machine::new(disk);
            let (kept, done) = run(&machine, object);
            confirmed = if kept.is_empty() { confirmed } else { kept };
            let guard = machine.lock();
            let never_died = done && cut == 0 && !guard.0.dead();
            disk = guard.0.after_power_cut(&guard.1, &mut dice);
            assert_right_or_absent(&disk, object, at, done);
            check_kept(&disk, object, &confirmed, at);
            if never_died {
                return;
            }
        }
        let machine = Machine::new(disk);
        assert!(run(&machine, object).1, "{at}: the last run does not complete");
        assert_right_or_absent(&machine.lock().0, object, at, true);
    }
}

/// What was confirmed is there, and what is said to be there is.
fn check_kept(disk: &Disk, object: &Object, confirmed: &[u32], at: usize) {
    let machine = Machine::new(disk.clone());
    let storage = Storage::new(Arc::new(machine), None);
    let prepared = prepare(&storage, &object.spec(Path::new("unused"))).unwrap();
    for raw in confirmed {
        assert!(prepared.have.iter().any(|have| have == *raw), "{at}: piece {raw} is lost");
    }
}

#[test]
fn a_folder_survives_power_cuts() {
    cut_everywhere(&folder_object());
}

#[test]
fn a_file_survives_power_cuts() {
    cut_everywhere(&object(&[("", bytes(20_000, 5))]));
}
