//! The start of a fetch: look at what is there, decide what of it can be believed, reserve the space.
//!
//! Invariant R1: a piece counts as stored only if (a) an intact journal calls it durable, the data is
//! the one that the journal was written for, has its full length, and was not changed later than the
//! journal, or (b) it was hashed again by this run, from the disk where that matters. The second is left to
//! later tasks (`recheck`), so that what is surely missing can be fetched meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::SafePath;

use crate::disk::{FetchSpec, IfExists, Prepared, StorageError, StorageErrorKind};

use super::error::{advise, error, refused};
use super::existing::{Existing, compare};
use super::fetch::{Fetch, State};
use super::finish::exists;
use super::fs::{Folder, Fs};
use super::layout::Layout;
use super::part::{PART_PREFIX, PART_SUFFIX, Part, part_folder, remove_leftover};
use super::resume::Resume;

/// Makes ready to fetch.
///
/// # Errors
/// As the kinds of [`StorageError`] say. What this call made is removed again then.
pub(super) fn prepare(fs: &dyn Fs, spec: FetchSpec) -> Result<(Prepared, Fetch), StorageError> {
    let layout = Layout::new(&spec)?;
    check_file_name(&spec)?;
    let root = fs
        .folder(&spec.folder)
        .map_err(|cause| refused("use the destination folder", &spec.folder, &cause))?;
    if let Some(state) = settle(&*root, &spec, &layout)? {
        return Ok(finished(spec, layout, root, state));
    }
    let part = Part::enter(&*root, &spec)?;
    // Another process may have finished while this one came to the lock.
    match settle(&*root, &spec, &layout) {
        Ok(None) => {}
        Ok(Some(state)) => {
            discard(part, &*root);
            return Ok(finished(spec, layout, root, state));
        }
        Err(error) => {
            if part.fresh {
                discard(part, &*root);
            }
            return Err(error);
        }
    }
    let fresh = part.fresh;
    let resume = Resume { root: &*root, spec: &spec, layout: &layout, part: &part };
    match resume.run() {
        Ok((mut state, doubtful)) => {
            state.part = Some(part);
            let prepared = Prepared {
                have: state.stored.clone(),
                wanted: layout.wanted.clone(),
                doubtful,
                finished: None,
            };
            Ok((prepared, Fetch::new(spec, layout, root, state)))
        }
        Err(error) => {
            if fresh {
                discard(part, &*root);
            }
            Err(error)
        }
    }
}

fn finished(
    spec: FetchSpec,
    layout: Layout,
    root: Arc<dyn Folder>,
    state: State,
) -> (Prepared, Fetch) {
    let prepared = Prepared {
        have: state.stored.clone(),
        wanted: layout.wanted.clone(),
        doubtful: protocol::PieceSet::empty(layout.wanted.len()),
        finished: Some(spec.folder.join(&spec.file_name)),
    };
    (prepared, Fetch::new(spec, layout, root, state))
}

fn discard(part: Part, root: &dyn Folder) {
    if let Err(cause) = part.remove(root) {
        log::warn!("could not remove the part folder: {cause}");
    }
}

/// Deals with something that has the final name already. `None`: nothing does, or it is to be replaced.
fn settle(
    root: &dyn Folder,
    spec: &FetchSpec,
    layout: &Layout,
) -> Result<Option<State>, StorageError> {
    let top = PathBuf::from(&spec.file_name);
    let shown = spec.folder.join(&top);
    match root.meta(&top) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(refused("see what is there", &shown, &cause)),
        Ok(_) => {}
    }
    let pieces = layout.wanted.len();
    if spec.if_exists == IfExists::Skip {
        // Whatever it is: it was not read, so nothing of it can be offered to others.
        return Ok(Some(State::new(top, protocol::PieceSet::empty(pieces))));
    }
    if spec.if_exists == IfExists::Fail && !renamed_by_us(root, spec) {
        return Err(exists(&shown, "and --if-exists fail was given"));
    }
    let found = compare(root, &top, layout, &spec.manifest).map_err(|(path, cause)| {
        refused("compare it with the object", &spec.folder.join(path), &cause)
    })?;
    match (found, spec.if_exists) {
        (Existing::Same { stamps }, _) => {
            mark!("same-file-is-there");
            // An earlier run may have been killed between giving it its name and making that durable.
            // What it replaced is in the part folder: if that went first, a power cut could leave the
            // old thing with holes.
            if root.meta(&part_folder(spec)).is_ok() {
                root.sync_folder(Path::new(""))
                    .map_err(|cause| refused("make sure that its name is kept", &shown, &cause))?;
            }
            remove_leftover(root, spec);
            let mut state = State::new(top, layout.wanted.clone());
            state.stamps = Some(stamps);
            Ok(Some(state))
        }
        (Existing::Differs(_), IfExists::Replace) => Ok(None),
        (Existing::Differs(how), _) => Err(exists(&shown, &how)),
    }
}

/// An earlier run got as far as the rename: there is a part folder, and the data has left it.
fn renamed_by_us(root: &dyn Folder, spec: &FetchSpec) -> bool {
    let part = part_folder(spec);
    let gone =
        |path: &Path| root.meta(path).is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound);
    root.meta(&part).is_ok_and(|meta| meta.ours) && gone(&part.join("data"))
}

fn check_file_name(spec: &FetchSpec) -> Result<(), StorageError> {
    let name = &spec.file_name;
    let problem = match SafePath::new(name) {
        Err(broken) => broken.to_string(),
        Ok(path) if path.segments().count() > 1 => "it has more than one segment".to_owned(),
        Ok(_) if name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX) => {
            "names like this are kept for unfinished fetches".to_owned()
        }
        Ok(_) => return Ok(()),
    };
    let what = format!("can't save anything under the name '{name}': {problem}");
    let error = error(StorageErrorKind::BadName, what, &spec.folder);
    Err(advise(error, "fetch it under another name"))
}
