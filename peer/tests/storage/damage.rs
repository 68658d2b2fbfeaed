//! Promise: whatever happened to the files of an unfinished fetch, no wrong byte gets the final name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use peer::disk::{FetchSpec, IfExists, StorageErrorKind};
use peer::storage::Storage;

use crate::objects::{
    Object, bytes, checkpoint, fetch, folder_object, names, object, part_in, prepare, release,
    store,
};
use crate::unsteady::{Fault, Unsteady};

fn steady() -> Storage {
    Storage::new(Arc::new(Unsteady::new(Fault::None)), None)
}

/// A fetch that stored its first pieces: the first two durable, the third only written, as after a kill.
fn half_done(object: &Object, spec: &FetchSpec) -> PathBuf {
    // It dies without a release.
    let storage = steady();
    prepare(&storage, spec).unwrap();
    for (count, piece) in object.manifest.geometry().pieces().take(3).enumerate() {
        store(&storage, piece, object.piece(piece)).unwrap();
        if count == 1 {
            checkpoint(&storage).unwrap();
        }
    }
    part_in(&spec.folder).unwrap()
}

#[test]
fn resume_believes_what_is_durable_and_hashes_what_was_written() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    half_done(&object, &spec);
    let storage = steady();
    let prepared = prepare(&storage, &spec).unwrap();
    assert_eq!((prepared.have.count(), prepared.doubtful.count()), (3, 1));
    release(&storage);
    let prepared = prepare(&storage, &spec).unwrap();
    assert_eq!(
        (prepared.have.count(), prepared.doubtful.count()),
        (3, 0),
        "a release makes it durable"
    );
}

#[test]
fn every_damage_to_the_journal_is_harmless() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    let part = half_done(&object, &spec);
    let journal = fs::read(part.join("journal")).unwrap();
    for at in 0..2 * journal.len() {
        let mut damaged = journal.clone();
        if at < journal.len() {
            damaged[at] ^= 0x55;
        } else {
            damaged.truncate(at - journal.len());
        }
        fs::write(part.join("journal"), damaged).unwrap();
        let storage = steady();
        let have = prepare(&storage, &spec).unwrap().have;
        let truth: Vec<u32> = (0..3).filter(|raw| have.iter().any(|piece| piece == *raw)).collect();
        assert_eq!(truth.len(), have.count() as usize, "{at}: {have:?} is not there");
        // Cut at the end of a record, it looks whole; all other damage costs nothing but a hash.
        assert!(have.count() == 3 || at >= journal.len(), "{at}: {have:?}");
        drop(storage);
        fs::remove_file(part.join("journal.bad")).ok();
    }
    fs::write(part.join("manifest"), "nonsense").unwrap();
    object.assert_at(&fetch(&steady(), &object, &spec, |_| {}).unwrap());
    assert_eq!(names(dir.path()), ["thing"]);
}

#[test]
fn data_that_changed_after_the_journal_is_hashed() {
    let object = object(&[("", bytes(20_000, 9))]);
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    let part = half_done(&object, &spec);
    let mut data = fs::read(part.join("data")).unwrap();
    data[5] ^= 1;
    fs::write(part.join("data"), data).unwrap();
    let disk = Unsteady::new(Fault::None);
    disk.0.late.store(10, Ordering::SeqCst);
    let storage = Storage::new(Arc::new(disk), None);
    let prepared = prepare(&storage, &spec).unwrap();
    assert_eq!((prepared.have.iter().collect(), prepared.doubtful.count()), (vec![1, 2], 3));
    release(&storage);
    object.assert_at(&fetch(&steady(), &object, &spec, |_| {}).unwrap());
}

#[test]
fn shortened_removed_and_swapped_data_is_fetched_again() {
    let object = folder_object();
    for damage in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let spec = object.spec(dir.path());
        let data = half_done(&object, &spec).join("data");
        match damage {
            0 => fs::write(data.join("a.txt"), "short").unwrap(),
            1 => fs::remove_file(data.join("a.txt")).unwrap(),
            2 => fs::remove_dir_all(&data).unwrap(),
            3 => {
                // Another folder in its place, with things that are not of the object.
                fs::remove_dir_all(&data).unwrap();
                fs::create_dir_all(data.join("foreign")).unwrap();
                fs::write(data.join("foreign/file"), "x").unwrap();
            }
            4 => fs::write(data.join("a/stranger"), "x").unwrap(),
            _ => {
                fs::remove_dir_all(&data).unwrap();
                fs::write(&data, "a file").unwrap();
            }
        }
        object.assert_at(&fetch(&steady(), &object, &spec, |_| {}).unwrap());
        assert_eq!(names(dir.path()), ["thing"], "damage {damage}");
    }
}

#[test]
fn links_are_never_followed() {
    let object = folder_object();
    let victim = tempfile::tempdir().unwrap();
    fs::write(victim.path().join("a.txt"), "precious").unwrap();
    for place in ["", "data", "data/a", "data/a.txt", "manifest", "journal", "lock"] {
        let dir = tempfile::tempdir().unwrap();
        let spec = object.spec(dir.path());
        let part = half_done(&object, &spec);
        let path = if place.is_empty() { part.clone() } else { part.join(place) };
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let to = victim.path();
        symlink(if path.ends_with("data/a") { to.to_owned() } else { to.join("a.txt") }, &path)
            .unwrap();
        if let Ok(path) = fetch(&steady(), &object, &spec, |_| {}) {
            object.assert_at(&path);
        }
        assert_eq!(names(to), ["a.txt"], "{place}");
        assert_eq!(fs::read(to.join("a.txt")).unwrap(), b"precious", "{place}");
    }
    // As the final name, a link is something that is there already.
    let dir = tempfile::tempdir().unwrap();
    let mut spec = object.spec(dir.path());
    symlink(victim.path(), dir.path().join("thing")).unwrap();
    let error = prepare(&steady(), &spec).unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Exists);
    spec.if_exists = IfExists::Replace;
    object.assert_at(&fetch(&steady(), &object, &spec, |_| {}).unwrap());
    assert_eq!(names(victim.path()), ["a.txt"]);
}
