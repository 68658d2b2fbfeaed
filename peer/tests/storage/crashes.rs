//! Promise: kill the process at any moment, and the next run completes, having lost nothing that was
//! stored, and having touched nothing else.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use peer::disk::{FetchSpec, IfExists};
use peer::storage::Storage;

use crate::objects::{
    Object, bytes, checkpoint, fetch, finish, folder_object, names, object, part_in, prepare,
    release, store,
};
use crate::unsteady::{Fault, Unsteady};

fn steady() -> Storage {
    Storage::new(Arc::new(Unsteady::new(Fault::None)), None)
}

/// Runs a fetch that dies at operation 0, 1, 2, ... and each time another one after it, until one does
/// not die. Returns how many died.
fn die_everywhere(object: &Object, change: impl Fn(&mut FetchSpec, &Unsteady, &Path)) -> usize {
    for at in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = object.spec(dir.path());
        let disk = Unsteady::new(Fault::Crash(at));
        change(&mut spec, &disk, dir.path());
        let mut acked = Vec::new();
        let storage = Storage::new(Arc::new(disk.clone()), None);
        let first = fetch(&storage, object, &spec, |piece| {
            // A machine that is dead hears nothing any more.
            if !disk.struck() {
                acked.push(piece);
            }
        });
        drop(storage);
        if !disk.struck() {
            object.assert_at(&first.unwrap());
            assert_eq!(names(dir.path()), ["thing"]);
            return at;
        }
        let storage = steady();
        let prepared = prepare(&storage, &spec).unwrap_or_else(|error| panic!("{at}: {error}"));
        for piece in acked {
            assert!(prepared.have.contains(piece), "{at}: piece {piece:?} is lost");
        }
        release(&storage);
        if prepared.finished.is_none() {
            fetch(&storage, object, &spec, |_| {}).unwrap();
        }
        object.assert_at(&dir.path().join("thing"));
        assert_eq!(names(dir.path()), ["thing"], "{at}: something was left behind");
    }
    unreachable!("a fetch ends")
}

#[test]
fn a_folder_survives_death_at_every_operation() {
    assert!(die_everywhere(&folder_object(), |_, _, _| {}) > 50);
}

#[test]
fn a_file_survives_death_at_every_operation() {
    let file = object(&[("", bytes(9_000, 5))]);
    assert!(die_everywhere(&file, |spec, _, _| spec.sync = false) > 20);
    // A finished object is known as our own, even where anything else would be refused.
    die_everywhere(&file, |spec, _, _| spec.if_exists = IfExists::Fail);
}

#[test]
fn replacing_survives_death_at_every_operation() {
    for no_swap in [false, true] {
        die_everywhere(&folder_object(), |spec, disk, folder| {
            spec.if_exists = IfExists::Replace;
            disk.0.no_swap.store(no_swap, Ordering::SeqCst);
            std::fs::create_dir_all(folder.join("thing/old/things")).unwrap();
            std::fs::write(folder.join("thing/old/file"), "old").unwrap();
        });
    }
}

#[test]
fn a_failure_of_any_operation_is_told_or_harmless() {
    let object = folder_object();
    for kind in [ErrorKind::Other, ErrorKind::StorageFull, ErrorKind::NotFound] {
        for at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let spec = object.spec(dir.path());
            let disk = Unsteady::new(Fault::Fail(at, kind));
            let storage = Storage::new(Arc::new(disk.clone()), None);
            if let Ok(path) = fetch(&storage, &object, &spec, |_| {}) {
                object.assert_at(&path);
            }
            drop(storage);
            let path = fetch(&steady(), &object, &spec, |_| {});
            object.assert_at(&path.unwrap_or_else(|error| panic!("{kind} at {at}: {error}")));
            if !disk.struck() {
                break;
            }
        }
    }
}

/// After a failed sync the disk may hold anything, whatever a read returns from memory.
#[test]
fn what_the_disk_did_not_confirm_is_fetched_again() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    let storage = Storage::new(Arc::new(Unsteady::new(Fault::Unsafe)), None);
    prepare(&storage, &spec).unwrap();
    let pieces: Vec<_> = object.manifest.geometry().pieces().collect();
    for piece in &pieces {
        store(&storage, *piece, object.piece(*piece)).unwrap();
    }
    assert!(checkpoint(&storage).unwrap_err().advice.is_some());
    assert!(checkpoint(&storage).is_err(), "a second sync that succeeds proves nothing");
    assert!(store(&storage, pieces[0], object.piece(pieces[0])).is_err());
    assert!(finish(&storage).is_err());
    release(&storage);
    drop(storage);
    let prepared = prepare(&steady(), &spec).unwrap();
    assert!(prepared.have.is_empty(), "{:?}", prepared.have);
    assert!(!names(dir.path()).contains(&"thing".to_owned()));
}

#[test]
fn a_full_disk_stops_a_piece_and_nothing_else() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    release(&{
        let storage = steady();
        prepare(&storage, &spec).unwrap();
        storage
    });
    let storage = Storage::new(Arc::new(Unsteady::new(Fault::Full)), None);
    // Not even the journal can be written: said at the start, with the part left as it was.
    let error = prepare(&storage, &spec).unwrap_err();
    assert_eq!(error.kind, peer::disk::StorageErrorKind::NoSpace);
    assert!(part_in(dir.path()).is_some());
    object.assert_at(&fetch(&steady(), &object, &spec, |_| {}).unwrap());
}
