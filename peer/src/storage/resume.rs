//! What an earlier run left of a fetch: weigh it, withdraw what can't be believed, name what may be
//! there and is to be hashed, reserve space for the rest. A fetch that begins is one that left nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use protocol::PieceSet;

use crate::disk::{FetchSpec, StorageError, StorageErrorKind};

use super::error::{advise, error, refused};
use super::fetch::State;
use super::fs::{Folder, Kind, Meta, Open};
use super::journal::{Claims, Journal, MAX_JOURNAL};
use super::layout::{Layout, WantedFile};
use super::naming::{bad_name, make_file, same_name};
use super::part::{Part, read_file};
use super::tree::{differences, join, remove_tree};

/// Data that changed this much later than the journal was changed by somebody else: after a write, the
/// journal is written next. Both times are from the clock of the same file system.
const SLACK_NS: i128 = 2_000_000_000;

/// What it takes to see to a part.
pub(super) struct Resume<'a> {
    pub(super) root: &'a dyn Folder,
    pub(super) spec: &'a FetchSpec,
    pub(super) layout: &'a Layout,
    pub(super) part: &'a Part,
}

impl Resume<'_> {
    /// Leaves the data with its full length and the journal with what can be believed. Also says which
    /// pieces have to be hashed before they are.
    ///
    /// # Errors
    /// `NoSpace`, or the disk refuses something.
    pub(super) fn run(&self) -> Result<(State, PieceSet), StorageError> {
        let (mut inode, mut created) = self.data_root()?;
        let mut old = self.read_claims()?.filter(|old| old.claims.inode == inode);
        if created {
            old = None;
        } else if !self.clear_strangers(old.is_some())? {
            old = None;
            self.set_aside("data", "replaced")?;
            (inode, created) = self.data_root()?;
        }
        let files = self.survey(created)?;
        let claims = self.weigh(inode, old.as_ref(), &files);
        self.check_space(&files)?;
        let path = self.part.path("journal");
        // [J1] What is withdrawn is withdrawn for good before anything else changes.
        let journal = Journal::create(self.root, &path, self.spec.manifest.id(), &claims)
            .map_err(|cause| self.refused("write the journal", &path, &cause))?;
        self.make_all(&files)?;
        let mut state = State::new(self.part.path("data"), claims.durable);
        let late = self.layout.files.iter().zip(&files);
        state.absent = late.filter(|file| is_late(*file)).map(|(file, _)| file.index).collect();
        state.journal = Some(journal);
        Ok((state, claims.written))
    }

    /// The inode of the file or folder that holds the data, made if need be, and whether it was.
    fn data_root(&self) -> Result<(u64, bool), StorageError> {
        let path = self.part.path("data");
        let kind = if self.layout.single { Kind::File } else { Kind::Folder };
        let refused = |cause| self.refused("make a place for the data", &path, &cause);
        let created = match self.root.meta(&path) {
            Ok(meta) if meta.kind == kind => return Ok((meta.stamp.inode, false)),
            Ok(_) => {
                self.set_aside("data", "replaced")?;
                self.make_data(&path)
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => self.make_data(&path),
            Err(cause) => Err(cause),
        };
        created.map_err(refused)?;
        let meta = self.root.meta(&path).map_err(refused)?;
        Ok((meta.stamp.inode, true))
    }

    fn make_data(&self, path: &Path) -> io::Result<()> {
        match self.layout.files.first() {
            Some(file) if self.layout.single => {
                self.root.open(path, Open::New { executable: file.executable }).map(drop)
            }
            _ => self.root.make_folder(path, false),
        }
    }

    /// The journal of an earlier run; one that makes no sense is set aside.
    fn read_claims(&self) -> Result<Option<Old>, StorageError> {
        let path = self.part.path("journal");
        let refused = |cause| self.refused("read the journal", &path, &cause);
        let Some(bytes) = read_file(self.root, &path, MAX_JOURNAL + 1).map_err(refused)? else {
            return Ok(None);
        };
        let changed_ns = self.root.meta(&path).map_err(refused)?.stamp.ctime_ns;
        let manifest = &self.spec.manifest;
        let claims = Claims::read(&bytes, manifest.id(), manifest.geometry())
            .filter(|_| self.part.trusted && bytes.len() as u64 <= MAX_JOURNAL);
        if claims.is_none() {
            mark!("journal-reset");
            log::warn!("set aside a journal that is not of this fetch path={}", path.display());
            self.set_aside("journal", "journal.bad")?;
        }
        Ok(claims.map(|claims| Old { claims, changed_ns }))
    }

    /// Sees to it that the data holds nothing that is not of this object, since all of it will get the
    /// final name. Removes single strangers from data that has its journal; other data with strangers
    /// is not of our making (or is what the finished object replaced): `false`.
    fn clear_strangers(&self, ours: bool) -> Result<bool, StorageError> {
        const MAX_STRANGERS: usize = 16;
        let path = self.part.path("data");
        for _ in 0..MAX_STRANGERS {
            let found = differences(self.root, &path, self.layout)
                .map_err(|cause| self.refused("look through the data", &path, &cause))?;
            let Some(extra) = found.extra else { return Ok(true) };
            if !ours {
                return Ok(false);
            }
            let extra = join(&path, &extra);
            log::warn!("removes what is not part of the fetch path={}", extra.display());
            remove_tree(self.root, &extra)
                .map_err(|cause| self.refused("remove what is not ours", &extra, &cause))?;
        }
        Ok(false)
    }

    /// What is there of each file of the layout, in order.
    fn survey(&self, created: bool) -> Result<Vec<Option<Meta>>, StorageError> {
        if created && !self.layout.single {
            return Ok(vec![None; self.layout.files.len()]);
        }
        let data = self.part.path("data");
        let mut by_inode: BTreeMap<u64, &WantedFile> = BTreeMap::new();
        let mut found = Vec::with_capacity(self.layout.files.len());
        for file in &self.layout.files {
            let path = join(&data, &file.path);
            let meta = match self.root.meta(&path) {
                Ok(meta) => meta,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    found.push(None);
                    continue;
                }
                Err(cause) => return Err(self.refused("see it", &path, &cause)),
            };
            if meta.kind != Kind::File {
                let what = "something else has the place of a file of the fetch";
                let error = error(StorageErrorKind::Io, what, &self.shown(&path));
                return Err(advise(error, "remove it, and run the same command again"));
            }
            if let Some(other) = by_inode.insert(meta.stamp.inode, file) {
                let path = self.shown(&file.path);
                return Err(same_name(&other.path, &path));
            }
            found.push(Some(meta));
        }
        Ok(found)
    }

    /// Sorts the pieces: durable, to be hashed (as `written`), or not there. (R1)
    fn weigh(&self, inode: u64, old: Option<&Old>, files: &[Option<Meta>]) -> Claims {
        let geometry = self.spec.manifest.geometry();
        let none = PieceSet::empty(geometry.piece_count());
        let mut new = Claims { inode, durable: none.clone(), written: none, torn: false };
        for (file, meta) in self.layout.files.iter().zip(files) {
            let Some(meta) = meta else { continue };
            let intact = old.is_some_and(|old| {
                meta.stamp.len == file.len && meta.stamp.ctime_ns <= old.changed_ns + SLACK_NS
            });
            for piece in geometry.pieces_of(file.index) {
                let span = geometry.span(piece);
                if span.offset + u64::from(span.len) > meta.stamp.len {
                    break;
                }
                match old.map(|old| &old.claims) {
                    Some(claims) if claims.durable.contains(piece) && intact => {
                        mark!("journal-believed");
                        new.durable.insert(piece);
                    }
                    Some(claims)
                        if !claims.torn
                            && !claims.durable.contains(piece)
                            && !claims.written.contains(piece) => {}
                    _ => {
                        new.written.insert(piece);
                    }
                }
            }
        }
        new
    }

    fn check_space(&self, files: &[Option<Meta>]) -> Result<(), StorageError> {
        let folder = &self.spec.folder;
        let there = |meta: &Option<Meta>| meta.as_ref().map_or(0, |meta| meta.allocated);
        let need: u64 = self
            .layout
            .files
            .iter()
            .zip(files)
            .map(|(file, meta)| file.len.saturating_sub(there(meta)))
            .sum();
        let free = self
            .root
            .free_space()
            .map_err(|cause| refused("ask for the free space", folder, &cause))?;
        if need == 0 || need.saturating_add(self.spec.reserve) <= free {
            return Ok(());
        }
        mark!("no-space-at-the-start");
        let keep = match self.spec.reserve {
            0 => String::new(),
            reserve => format!(" of which {} are to stay free", human(reserve)),
        };
        let what = format!("not enough space: need {}, {} free{keep}", human(need), human(free));
        let advice = "free some space, choose another folder with -o, or fetch a part of it";
        Err(advise(error(StorageErrorKind::NoSpace, what, folder), advice))
    }

    /// Makes all folders and the larger files, with their full lengths: names that this file system
    /// refuses show now, and so does a lack of space.
    fn make_all(&self, files: &[Option<Meta>]) -> Result<(), StorageError> {
        let data = self.part.path("data");
        for folder in &self.layout.folders {
            let path = data.join(folder);
            match self.root.make_folder(&path, false) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(bad_name("make the folder", &self.shown(&path), &cause));
                }
                _ => {}
            }
        }
        for (file, meta) in self.layout.files.iter().zip(files) {
            if is_late((file, meta)) || meta.as_ref().is_some_and(|meta| meta.stamp.len == file.len)
            {
                continue;
            }
            self.make_file(&join(&data, &file.path), file, meta.as_ref())?;
        }
        Ok(())
    }

    fn make_file(
        &self,
        path: &Path,
        file: &WantedFile,
        there: Option<&Meta>,
    ) -> Result<(), StorageError> {
        let handle = if there.is_some() {
            self.root.open(path, Open::Write).map_err(|cause| self.refused("open it", path, &cause))
        } else {
            make_file(self.root, path, file.executable, &self.shown(path))
        }?;
        let reserve = || {
            if there.is_some_and(|meta| meta.stamp.len > file.len) {
                handle.set_len(file.len)?;
            }
            if file.len > 0 && !handle.reserve(file.len)? {
                handle.set_len(file.len)?;
            }
            Ok(())
        };
        reserve().map_err(|cause| self.refused("reserve space", path, &cause))
    }

    fn set_aside(&self, name: &str, to: &str) -> Result<(), StorageError> {
        let done = self.part.set_aside(self.root, name, to);
        done.map_err(|cause| self.refused("set it aside", &self.part.path(name), &cause))
    }

    fn refused(&self, action: &str, path: &Path, cause: &io::Error) -> StorageError {
        refused(action, &self.shown(path), cause)
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.spec.folder.join(path)
    }
}

/// A file that is not there, and need not be yet.
fn is_late((file, there): (&WantedFile, &Option<Meta>)) -> bool {
    file.made_late && there.is_none()
}

/// A journal that was found.
struct Old {
    claims: Claims,
    /// When it was written last.
    changed_ns: i128,
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10 / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}
