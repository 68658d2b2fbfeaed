//! The manifest that an earlier run of a fetch kept. With it a fetch knows what it has and what it still
//! wants without asking anybody, and can give the manifest to others: a swarm in which everybody was
//! restarted goes on, though whoever brought the object is gone.

use std::io;
use std::path::Path;
use std::sync::Arc;

use protocol::limits::MAX_MANIFEST;
use protocol::{Manifest, ObjectId, SafePath};

use super::fs::Fs;
use super::part::{part_folder_of, read_file};

/// The manifest of `object` in the part folder below `folder`, if a sound one is there. Makes nothing.
pub(super) fn recall(
    fs: &dyn Fs,
    folder: &Path,
    object: ObjectId,
    part: Option<&SafePath>,
) -> Option<Arc<Manifest>> {
    // `Fs::folder` would make it.
    fs.meta(folder, true).ok()?;
    let bytes = match read_kept(fs, folder, object, part) {
        Ok(bytes) => bytes?,
        Err(cause) => {
            log::debug!("could not read a kept manifest folder={} {cause}", folder.display());
            return None;
        }
    };
    // The id is the hash of the bytes: whoever wrote them, they are the object's or nothing.
    let manifest = Manifest::parse(bytes.into()).ok().filter(|kept| kept.id() == object)?;
    mark!("manifest-recalled");
    Some(Arc::new(manifest))
}

fn read_kept(
    fs: &dyn Fs,
    folder: &Path,
    object: ObjectId,
    part: Option<&SafePath>,
) -> io::Result<Option<Vec<u8>>> {
    let path = part_folder_of(object, part).join("manifest");
    read_file(&*fs.folder(folder)?, &path, u64::from(MAX_MANIFEST) + 1)
}
