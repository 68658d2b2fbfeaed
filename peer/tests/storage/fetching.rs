//! Fetches that go well, and those that must not begin.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use peer::disk::{FetchKey, FetchSpec, IfExists, StorageErrorKind, StoreOutcome, Task, TaskResult};
use peer::storage::{OsFs, Storage};
use protocol::SafePath;

use crate::objects::{
    all_of, bytes, checkpoint, fetch, finish, folder_object, names, object, open, part_in, prepare,
    release, store,
};
use crate::unsteady::{Fault, Unsteady};

fn steady() -> Storage {
    Storage::new(Arc::new(OsFs), None)
}

fn kind_of(spec: &FetchSpec) -> StorageErrorKind {
    prepare(&steady(), spec).unwrap_err().kind
}

#[test]
fn a_wrong_piece_is_not_written() {
    let object = object(&[("", bytes(5_000, 1))]);
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(&dir.path().join("made/on/the/way"));
    let storage = steady();
    prepare(&storage, &spec).unwrap();
    let piece = object.manifest.geometry().piece(0).unwrap();
    let mut wrong = object.piece(piece);
    wrong[77] ^= 4;
    assert_eq!(store(&storage, piece, wrong).unwrap(), StoreOutcome::Mismatch);
    assert_eq!(store(&storage, piece, vec![1, 2]).unwrap(), StoreOutcome::Mismatch);
    let data = fs::read(part_in(&spec.folder).unwrap().join("data")).unwrap();
    assert_eq!(data, [0; 5_000]);
    assert!(finish(&storage).is_err(), "nothing incomplete gets the name");
}

#[test]
fn files_are_served_before_during_and_after_the_end() {
    let object = object(&[("big", bytes(100_000, 1)), ("small", bytes(100, 2)), ("zero", vec![])]);
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    let storage = steady();
    prepare(&storage, &spec).unwrap();
    let early = open(&storage, 0).unwrap();
    for piece in object.manifest.geometry().pieces() {
        store(&storage, piece, object.piece(piece)).unwrap();
    }
    assert_eq!(all_of(&early), bytes(100_000, 1), "sees what is stored after it was opened");
    assert_eq!(all_of(&open(&storage, 1).unwrap()), bytes(100, 2));
    let path = finish(&storage).unwrap();
    assert_eq!(all_of(&early), bytes(100_000, 1));
    assert_eq!(all_of(&open(&storage, 0).unwrap()), bytes(100_000, 1));
    assert_eq!(all_of(&open(&storage, 2).unwrap()), b"");
    // What is changed after the end is not served any more.
    fs::write(path.join("small"), bytes(100, 3)).unwrap();
    assert_eq!(open(&storage, 1).unwrap_err().kind, StorageErrorKind::Changed);
    assert_eq!(finish(&storage).unwrap(), path, "once more is harmless");
}

/// Two workers: one still makes durable what is stored when the other one is to give it its name.
#[test]
fn the_end_waits_for_a_checkpoint() {
    let object = object(&[("", bytes(50_000, 1))]);
    for sync in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let spec = FetchSpec { sync, ..object.spec(dir.path()) };
        let disk = Unsteady::new(Fault::Slow);
        let storage = Storage::new(Arc::new(disk.clone()), None);
        prepare(&storage, &spec).unwrap();
        for piece in object.manifest.geometry().pieces() {
            store(&storage, piece, object.piece(piece)).unwrap();
        }
        std::thread::scope(|scope| {
            disk.0.struck.store(false, Ordering::SeqCst);
            let other = scope.spawn(|| checkpoint(&storage));
            while !disk.struck() {
                std::thread::yield_now();
            }
            finish(&storage).unwrap();
            other.join().unwrap().unwrap();
        });
        checkpoint(&storage).unwrap();
        assert_eq!(part_in(dir.path()), None);
    }
}

#[test]
fn what_is_there_already_is_compared() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    let mut spec = object.spec(dir.path());
    let path = fetch(&steady(), &object, &spec, |_| {}).unwrap();
    let again = prepare(&steady(), &spec).unwrap();
    assert_eq!(again.finished, Some(path.clone()));
    assert!(again.have.is_full());
    spec.if_exists = IfExists::Fail;
    assert_eq!(kind_of(&spec), StorageErrorKind::Exists);
    // A byte, a file more, a file less.
    spec.if_exists = IfExists::Verify;
    let mut other = bytes(10_000, 1);
    other[9_999] ^= 1;
    fs::write(path.join("a.txt"), &other).unwrap();
    assert_eq!(kind_of(&spec), StorageErrorKind::Exists);
    spec.if_exists = IfExists::Skip;
    assert!(prepare(&steady(), &spec).unwrap().have.is_empty(), "not read, so not offered");
    assert_eq!(fs::read(path.join("a.txt")).unwrap(), other);
    spec.if_exists = IfExists::Verify;
    fs::write(path.join("a.txt"), bytes(10_000, 1)).unwrap();
    fs::write(path.join("extra"), "").unwrap();
    assert_eq!(kind_of(&spec), StorageErrorKind::Exists);
    fs::remove_file(path.join("extra")).unwrap();
    fs::remove_dir(path.join("leer")).unwrap();
    let error = prepare(&steady(), &spec).unwrap_err();
    assert!(error.what.contains("'leer' is missing") && error.advice.is_some(), "{error:?}");
    assert_eq!(names(dir.path()), ["thing"]);
}

#[test]
fn what_appears_meanwhile_is_not_overwritten() {
    let object = object(&[("", bytes(10, 1))]);
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    let storage = steady();
    prepare(&storage, &spec).unwrap();
    let piece = object.manifest.geometry().piece(0).unwrap();
    store(&storage, piece, object.piece(piece)).unwrap();
    fs::write(dir.path().join("thing"), "mine").unwrap();
    assert_eq!(finish(&storage).unwrap_err().kind, StorageErrorKind::Exists);
    assert_eq!(fs::read(dir.path().join("thing")).unwrap(), b"mine");
    fs::remove_file(dir.path().join("thing")).unwrap();
    object.assert_at(&finish(&storage).unwrap());
}

#[test]
fn a_part_of_a_folder_is_fetched_under_its_own_name() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    for (part, inside) in [("a", "b/c/deep"), ("a/b/c/deep", ""), ("Ünï/файл", "名前 x.dat")]
    {
        let mut spec = object.spec(dir.path());
        spec.part = Some(SafePath::new(part).unwrap());
        spec.file_name = part.rsplit('/').next().unwrap().to_owned();
        let path = fetch(&steady(), &object, &spec, |_| {}).unwrap();
        let full = if inside.is_empty() { part.to_owned() } else { format!("{part}/{inside}") };
        let file = if inside.is_empty() { path } else { path.join(inside) };
        assert_eq!(fs::read(file).unwrap(), *object.contents[&full].as_ref().unwrap());
    }
    let mut spec = object.spec(dir.path());
    spec.part = Some(SafePath::new("a/b/nothing").unwrap());
    assert_eq!(kind_of(&spec), StorageErrorKind::NotFound);
}

#[test]
fn two_fetches_do_not_share_a_part() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    let first = steady();
    prepare(&first, &spec).unwrap();
    let error = prepare(&steady(), &spec).unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Locked);
    assert!(error.what.contains(&std::process::id().to_string()), "{error}");
    let other = Task::Prepare { fetch: FetchKey(2), spec: Box::new(spec.clone()) };
    assert!(matches!(first.run(other), TaskResult::Prepared { outcome: Err(_), .. }));
    release(&first);
    object.assert_at(&fetch(&steady(), &object, &spec, |_| {}).unwrap());
}

#[test]
fn too_little_space_and_bad_names_leave_nothing() {
    let object = folder_object();
    let dir = tempfile::tempdir().unwrap();
    let mut spec = object.spec(dir.path());
    spec.reserve = u64::MAX;
    let error = prepare(&steady(), &spec).unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::NoSpace);
    assert!(error.what.contains("free"), "{error}");
    spec.reserve = 0;
    for name in ["", ".", "..", "a/b", "/a", "a\0", ".starling-0000.part", "x\n"] {
        name.clone_into(&mut spec.file_name);
        assert_eq!(kind_of(&spec), StorageErrorKind::BadName, "{name:?}");
    }
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn more_files_than_can_be_open() {
    let files: Vec<_> =
        (0..300u16).map(|at| (format!("f{at}"), bytes(50, at.to_le_bytes()[0]))).collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let object = object(&files);
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(dir.path());
    let storage = steady();
    prepare(&storage, &spec).unwrap();
    for piece in object.manifest.geometry().pieces() {
        store(&storage, piece, object.piece(piece)).unwrap();
    }
    object.assert_at(&finish(&storage).unwrap());
}

#[test]
fn the_manifest_of_an_unfinished_fetch_is_found_again_if_it_is_sound() {
    let object = object(&[("a", bytes(5_000, 1)), ("b", bytes(100, 2))]);
    let dir = tempfile::tempdir().unwrap();
    let spec = object.spec(&dir.path().join("in"));
    let recall = |part: Option<SafePath>| {
        let (fetch, object) = (FetchKey(9), object.manifest.id());
        let task = Task::Recall { fetch, object, folder: spec.folder.clone(), part };
        match steady().run(task) {
            TaskResult::Recalled { fetch: FetchKey(9), manifest } => manifest,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(recall(None), None);
    assert!(!spec.folder.exists(), "looking makes nothing");
    let storage = steady();
    prepare(&storage, &spec).unwrap();
    assert_eq!(recall(None).as_ref(), Some(&object.manifest), "though somebody holds the lock");
    assert_eq!(recall(SafePath::new("a").ok()), None, "another part has a folder of its own");
    release(&storage);
    let kept = part_in(&spec.folder).unwrap().join("manifest");
    let mut wrong = object.manifest.bytes().to_vec();
    wrong[9] ^= 1;
    fs::write(&kept, wrong).unwrap();
    assert_eq!(recall(None), None);
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    assert_eq!(recall(None), None, "nor does a folder of that name do harm");
}
