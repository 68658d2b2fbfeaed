//! Whole folders: compare the names in one with a layout, remove one. Links are never followed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use super::fs::{Folder, Kind};
use super::layout::Layout;

/// How the names and kinds in a folder differ from what should be there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// The first thing that should not be there.
    pub(super) extra: Option<PathBuf>,
    /// The first thing that should be.
    pub(super) missing: Option<PathBuf>,
}

/// Compares what is at `top` with a layout. Contents and lengths are not looked at.
///
/// # Errors
/// When a folder can't be read.
pub(super) fn differences(
    root: &dyn Folder,
    top: &Path,
    layout: &Layout,
) -> io::Result<Differences> {
    let mut expected: BTreeMap<&Path, Kind> = BTreeMap::new();
    expected.extend(layout.files.iter().map(|file| (file.path.as_path(), Kind::File)));
    expected.extend(layout.folders.iter().map(|folder| (folder.as_path(), Kind::Folder)));
    if !layout.single {
        expected.insert(Path::new(""), Kind::Folder);
    }
    let mut found = Differences::default();
    let mut waiting = VecDeque::new();
    match root.meta(top) {
        Ok(meta) => waiting.push_back((PathBuf::new(), meta.kind)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Each turn takes one name out of `expected`, or ends the loop: a huge foreign tree costs nothing.
    while let Some((path, kind)) = waiting.pop_front() {
        if expected.remove(path.as_path()) != Some(kind) {
            found.extra = Some(path);
            return Ok(found);
        }
        if kind == Kind::Folder {
            let mut listed = root.list(&join(top, &path))?;
            listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            for entry in listed {
                let below = path.join(&entry.name);
                if !expected.contains_key(below.as_path()) {
                    found.extra = Some(below);
                    return Ok(found);
                }
                waiting.push_back((below, entry.kind));
            }
        }
    }
    found.missing = expected.into_keys().next().map(Path::to_owned);
    Ok(found)
}

/// Removes whatever is at `top`, with all that is in it, but nothing of another file system that is
/// mounted there. Nothing there is fine.
///
/// # Errors
/// When something can't be removed; what was removed by then is gone.
pub(super) fn remove_tree(root: &dyn Folder, top: &Path) -> io::Result<()> {
    let device = match root.meta(top) {
        Ok(meta) => meta.stamp.device,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut open = vec![(top.to_owned(), false)];
    while let Some((path, emptied)) = open.pop() {
        if emptied {
            root.remove_folder(&path)?;
            continue;
        }
        let meta = root.meta(&path)?;
        if meta.kind != Kind::Folder {
            root.remove_file(&path)?;
            continue;
        }
        if meta.stamp.device != device {
            return Err(io::Error::other("another file system is mounted in it"));
        }
        open.push((path.clone(), true));
        open.extend(root.list(&path)?.into_iter().map(|entry| (path.join(entry.name), false)));
    }
    Ok(())
}

/// `top` itself for an empty `path`; `Path::join` would leave a separator at the end.
pub(super) fn join(top: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { top.to_owned() } else { top.join(path) }
}
