//! Lists what a path of the user's would share.
//!
//! Invariant: an object is shared whole or not at all. Links, sockets and the like are left out of it by
//! rule; a name that can't be shared or a folder that can't be read leaves out the whole object, with
//! the reason.

use std::io;
use std::path::{Path, PathBuf};

use protocol::SafePath;
use protocol::limits::MAX_FILES;

use crate::disk::{Scan, ScanRequest, ScannedFile, ScannedObject, StorageError, StorageErrorKind};

use super::error::{advise, error, reason, refused};
use super::fs::{Fs, Kind, Listed, Meta};
use super::part::{PART_PREFIX, PART_SUFFIX};

/// Entries looked at for one object at most, shared or not: followed links can make a small tree huge.
const MAX_VISITED: usize = 4 * MAX_FILES as usize;

/// Lists what `request` would share.
///
/// # Errors
/// When the path can't be read, or can't be shared under the name that was given.
pub(super) fn scan(fs: &dyn Fs, request: &ScanRequest) -> Result<Scan, StorageError> {
    let path = &request.path;
    let meta = fs.meta(path, true).map_err(|cause| refused("look at it", path, &cause))?;
    let mut scanner = Scanner { fs, follow: request.follow_symlinks, scan: Scan::default() };
    match (meta.kind, &request.name) {
        (Kind::Link | Kind::Special, _) => {
            let what = "neither a file nor a folder";
            return Err(error(StorageErrorKind::Io, what, path));
        }
        (_, Some(name)) => {
            protocol::check_name(name).map_err(|broken| bad_name(name, path, &broken))?;
            scanner.add(name.clone(), path, &meta);
        }
        (Kind::File, None) => {
            let own = path.file_name().unwrap_or_default();
            let name =
                own.to_str().ok_or_else(|| bad_name(&own.to_string_lossy(), path, &"not UTF-8"))?;
            protocol::check_name(name).map_err(|broken| bad_name(name, path, &broken))?;
            scanner.add(name.to_owned(), path, &meta);
        }
        (Kind::Folder, None) => {
            let listed = fs.list(path).map_err(|cause| refused("list it", path, &cause))?;
            for entry in listed {
                scanner.top_level(&path.join(&entry.name), &entry, request.hidden);
            }
        }
    }
    scanner.scan.objects.sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    scanner.scan.skipped.sort_unstable();
    Ok(scanner.scan)
}

fn bad_name(name: &str, path: &Path, why: &dyn std::fmt::Display) -> StorageError {
    let what = format!("can't share anything under the name '{name}': {why}");
    advise(error(StorageErrorKind::BadName, what, path), "give it another name with --name")
}

struct Scanner<'a> {
    fs: &'a dyn Fs,
    follow: bool,
    scan: Scan,
}

/// A folder that is still to be listed.
struct Waiting {
    path: PathBuf,
    /// Below the object; empty for the object itself.
    relative: String,
    /// Device and inode of this folder and those above it, where links are followed.
    chain: Vec<(u64, u64)>,
}

/// Why an object can't be shared, and because of which file.
type Refusal = (PathBuf, String);

impl Scanner<'_> {
    fn top_level(&mut self, path: &Path, entry: &Listed, hidden: bool) {
        let skip = |why: &str| Some((path.to_owned(), why.to_owned()));
        let name = match entry.name.to_str() {
            None => Err(skip("its name is not UTF-8; --name gives it another one")),
            Some(name) if is_part(name) => Err(skip("an unfinished fetch")),
            Some(name) if name.starts_with('.') && !hidden => {
                Err(skip("hidden; --hidden shares it, too"))
            }
            Some(name) => match protocol::check_name(name) {
                Ok(_) => Ok(name),
                Err(broken) => {
                    let why = format!("can't be a name: {broken}; --name gives it another one");
                    Err(skip(&why))
                }
            },
        };
        match name {
            Err(skipped) => self.scan.skipped.extend(skipped),
            Ok(name) => match self.look(path, entry.kind) {
                Ok(Some(meta)) => self.add(name.to_owned(), path, &meta),
                Ok(None) => {}
                Err(refusal) => self.scan.skipped.push(refusal),
            },
        }
    }

    /// What an entry is, or `None` if it is left out by rule.
    fn look(&mut self, path: &Path, listed: Kind) -> Result<Option<Meta>, Refusal> {
        if listed == Kind::Link && !self.follow {
            self.leave_out(path, "a symbolic link; --follow-symlinks shares what it points to");
            return Ok(None);
        }
        match self.fs.meta(path, self.follow) {
            Ok(meta) if matches!(meta.kind, Kind::File | Kind::Folder) => Ok(Some(meta)),
            Ok(_) => {
                self.leave_out(path, "neither a file nor a folder");
                Ok(None)
            }
            Err(cause) if listed == Kind::Link && cause.kind() == io::ErrorKind::NotFound => {
                self.leave_out(path, "a symbolic link to nothing");
                Ok(None)
            }
            Err(cause) => Err((path.to_owned(), format!("can't look at it: {}", reason(&cause)))),
        }
    }

    fn leave_out(&mut self, path: &Path, why: &str) {
        self.scan.skipped.push((path.to_owned(), why.to_owned()));
    }

    /// Adds one object, or the reason why not.
    fn add(&mut self, name: String, path: &Path, meta: &Meta) {
        let mut object = ScannedObject {
            name,
            path: path.to_owned(),
            single_file: meta.kind == Kind::File,
            files: Vec::new(),
            empty_folders: Vec::new(),
        };
        if object.single_file {
            object.files.push(scanned_file(None, path, meta));
            self.scan.objects.push(object);
            return;
        }
        match self.fill(&mut object, meta) {
            Ok(()) if object.files.is_empty() && object.empty_folders.is_empty() => {
                self.leave_out(path, "nothing in it to share");
            }
            Ok(()) => self.scan.objects.push(object),
            Err((file, why)) if file == path => self.leave_out(path, &why),
            Err((file, why)) => {
                let why = format!("not shared because of {}: {why}", file.display());
                self.leave_out(path, &why);
            }
        }
    }

    /// Lists a folder object.
    fn fill(&mut self, object: &mut ScannedObject, meta: &Meta) -> Result<(), Refusal> {
        let chain = vec![(meta.stamp.device, meta.stamp.inode)];
        let top = Waiting { path: object.path.clone(), relative: String::new(), chain };
        let mut waiting = vec![top];
        let mut visited = 0;
        while let Some(folder) = waiting.pop() {
            let listed = self.fs.list(&folder.path).map_err(|cause| {
                (folder.path.clone(), format!("can't list it: {}", reason(&cause)))
            })?;
            visited += listed.len();
            let mut empty = true;
            for entry in &listed {
                empty &= !self.entry(object, &folder, entry, &mut waiting)?;
            }
            let count = object.files.len() + object.empty_folders.len();
            if count > MAX_FILES as usize || visited > MAX_VISITED {
                let why = format!("more than {MAX_FILES} files, which is all an object can have");
                return Err((object.path.clone(), why));
            }
            if empty && !folder.relative.is_empty() {
                object.empty_folders.push(safe(&folder.relative, &folder.path)?);
            }
        }
        object.files.sort_unstable_by(|a, b| a.relative.cmp(&b.relative));
        object.empty_folders.sort_unstable();
        Ok(())
    }

    /// Adds one entry of a folder; whether it is part of the object.
    fn entry(
        &mut self,
        object: &mut ScannedObject,
        folder: &Waiting,
        entry: &Listed,
        waiting: &mut Vec<Waiting>,
    ) -> Result<bool, Refusal> {
        let path = folder.path.join(&entry.name);
        if entry.name.to_str().is_some_and(is_part) && entry.kind == Kind::Folder {
            self.leave_out(&path, "an unfinished fetch");
            return Ok(false);
        }
        let Some(meta) = self.look(&path, entry.kind)? else { return Ok(false) };
        let Some(name) = entry.name.to_str() else {
            return Err((path, "its name is not UTF-8".to_owned()));
        };
        let relative = match folder.relative.as_str() {
            "" => name.to_owned(),
            above => format!("{above}/{name}"),
        };
        let checked = safe(&relative, &path)?;
        if meta.kind == Kind::File {
            object.files.push(scanned_file(Some(checked), &path, &meta));
            return Ok(true);
        }
        let this = (meta.stamp.device, meta.stamp.inode);
        if folder.chain.contains(&this) {
            self.leave_out(&path, "a symbolic link to a folder that it is in");
            return Ok(false);
        }
        let mut chain = Vec::new();
        if self.follow {
            chain.clone_from(&folder.chain);
            chain.push(this);
        }
        waiting.push(Waiting { path, relative, chain });
        Ok(true)
    }
}

fn scanned_file(relative: Option<SafePath>, path: &Path, meta: &Meta) -> ScannedFile {
    let (stamp, executable) = (meta.stamp, meta.executable);
    ScannedFile { relative, path: path.to_owned(), stamp, executable }
}

fn safe(relative: &str, path: &Path) -> Result<SafePath, Refusal> {
    SafePath::new(relative).map_err(|broken| {
        (path.to_owned(), format!("its path can't be shared: {broken}; rename it"))
    })
}

fn is_part(name: &str) -> bool {
    name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX)
}
