//! What a path shares, and what is said of the rest; and opening what is shared.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use peer::disk::{
    FileKey, HASH_STEP, HashJob, Scan, ScanRequest, ShareKey, StorageError, StorageErrorKind, Task,
    TaskResult,
};
use peer::storage::{OsFs, Storage};
use protocol::{Digest, ObjectId};
use reactor::{FileStamp, Source};

use crate::objects::{all_of, bytes};

const SHARE: ShareKey = ShareKey(1);

fn run(task: Task) -> TaskResult {
    Storage::new(Arc::new(OsFs), None).run(task)
}

fn scan(path: &Path, change: impl Fn(&mut ScanRequest)) -> Result<Scan, StorageError> {
    let path = path.to_owned();
    let mut request = ScanRequest { path, name: None, follow_symlinks: false, hidden: false };
    change(&mut request);
    match run(Task::Scan { share: SHARE, request }) {
        TaskResult::Scanned { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

fn stamp(path: &Path) -> FileStamp {
    FileStamp::of(&fs::metadata(path).unwrap())
}

fn open(path: &Path, stamp: FileStamp) -> Result<Source, StorageError> {
    let key = FileKey::Shared { object: ObjectId([0; 32]), file: 0 };
    match run(Task::OpenShared { key, path: path.to_owned(), stamp }) {
        TaskResult::Opened { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_entry_is_an_object_or_has_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("фото.jpg"), "x").unwrap();
    fs::create_dir_all(at("folder/sub/empty")).unwrap();
    fs::write(at("folder/sub.txt"), "1").unwrap();
    fs::write(at("folder/sub/.hidden-inside"), "2").unwrap();
    fs::set_permissions(at("folder/sub.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("sub.txt", at("folder/link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::write(at(".hidden"), "").unwrap();
    fs::create_dir(at("nothing")).unwrap();
    fs::create_dir(at(".starling-0011223344556677.part")).unwrap();
    fs::create_dir(at("bad")).unwrap();
    fs::write(at("bad/good"), "").unwrap();
    fs::write(at("bad").join(OsStr::from_bytes(b"\xff")), "").unwrap();
    fs::write(at("back\\slash"), "").unwrap();
    fs::write(at("name@3"), "").unwrap();

    let found = scan(dir.path(), |_| {}).unwrap();
    let objects: Vec<&str> = found.objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(objects, ["folder", "фото.jpg"]);
    let files: Vec<_> = found.objects[0]
        .files
        .iter()
        .map(|file| (file.relative.as_ref().unwrap().as_str(), file.executable))
        .collect();
    assert_eq!(files, [("sub.txt", true), ("sub/.hidden-inside", false)]);
    assert_eq!(found.objects[0].empty_folders[0].as_str(), "sub/empty");
    assert!(found.objects[1].single_file && found.objects[1].files[0].relative.is_none());
    let skipped: Vec<String> = found
        .skipped
        .iter()
        .map(|(path, _)| path.strip_prefix(dir.path()).unwrap().display().to_string())
        .collect();
    let expected = [
        ".hidden",
        ".starling-0011223344556677.part",
        "back\\slash",
        "bad",
        "folder/link",
        "name@3",
        "nothing",
        "pipe",
    ];
    assert_eq!(skipped, expected);
    assert!(found.skipped[3].1.contains("UTF-8"), "{:?}", found.skipped[3]);

    let all = scan(dir.path(), |request| request.hidden = true).unwrap();
    assert!(all.objects.iter().any(|object| object.name == ".hidden"));
    let one = scan(&at("folder"), |request| request.name = Some("ns/other".to_owned())).unwrap();
    assert_eq!((one.objects.len(), one.objects[0].name.as_str()), (1, "ns/other"));
    let one = scan(&at("фото.jpg"), |_| {}).unwrap();
    assert_eq!(one.objects[0].name, "фото.jpg");
    for (path, name) in [("none", None), ("pipe", None), ("folder", Some("a/../b".to_owned()))] {
        assert!(scan(&at(path), |request| request.name.clone_from(&name)).is_err(), "{path}");
    }
}

#[test]
fn followed_links_do_not_loop() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("o/a")).unwrap();
    fs::write(dir.path().join("o/file"), "x").unwrap();
    symlink("..", dir.path().join("o/a/up")).unwrap();
    symlink("../file", dir.path().join("o/a/file")).unwrap();
    symlink("nowhere", dir.path().join("o/broken")).unwrap();
    let found = scan(dir.path(), |request| request.follow_symlinks = true).unwrap();
    let files: Vec<_> = found.objects[0]
        .files
        .iter()
        .map(|file| file.relative.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(files, ["a/file", "file"]);
    assert_eq!(found.skipped.len(), 2);
}

#[test]
fn files_are_hashed_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let big = dir.path().join("big");
    let len = HASH_STEP + 5_000;
    fs::File::create(&big).unwrap().set_len(len).unwrap();
    let small = dir.path().join("small");
    fs::write(&small, bytes(100, 7)).unwrap();
    let job = |path: &Path| HashJob { path: path.to_owned(), stamp: stamp(path), piece_log2: 22 };
    let hash = |jobs, resume| {
        let task = Task::Hash { share: SHARE, object: 0, first: 0, jobs, resume, use_cache: true };
        match run(task) {
            TaskResult::Hashed { done, unfinished, bytes, .. } => (done, unfinished, bytes),
            other => panic!("{other:?}"),
        }
    };
    let jobs = vec![job(&big), job(&small)];
    let (done, unfinished, count) = hash(jobs.clone(), None);
    assert_eq!((done.len(), count), (0, HASH_STEP));
    let (done, unfinished, count) = hash(jobs, unfinished);
    assert!(unfinished.is_none());
    assert_eq!(count, 5_100);
    let zeros = vec![0; usize::try_from(len).unwrap()];
    let first = done[0].as_ref().unwrap();
    assert_eq!(first.digest, Digest::of(&zeros));
    assert_eq!(first.pieces.len(), 17);
    assert_eq!(first.pieces[0], Digest::of(&zeros[..1 << 22]));
    assert_eq!(first.pieces[16], Digest::of(&zeros[..5_000]));
    let second = done[1].as_ref().unwrap();
    assert_eq!(second.pieces, [Digest::of(&bytes(100, 7))]);
    // A file that is no longer what was listed is an error, and the next is hashed all the same.
    let old = job(&small);
    fs::write(&small, "changed").unwrap();
    let (done, ..) = hash(vec![old, job(&small)], None);
    assert_eq!(done[0].as_ref().unwrap_err().kind, StorageErrorKind::Changed);
    assert_eq!(done[1].as_ref().unwrap().digest, Digest::of(b"changed"));
}

#[test]
fn only_what_was_hashed_is_served() {
    let dir = tempfile::tempdir().unwrap();
    for len in [0, 100, 70_000] {
        let path = dir.path().join(len.to_string());
        fs::write(&path, bytes(len, 1)).unwrap();
        let was = stamp(&path);
        assert_eq!(all_of(&open(&path, was).unwrap()), bytes(len, 1));
        let check = |files: Vec<_>| match run(Task::CheckFiles {
            share: SHARE,
            object: 0,
            files: files.into(),
        }) {
            TaskResult::FilesChecked { changed, .. } => changed,
            other => panic!("{other:?}"),
        };
        assert!(check(vec![(path.clone(), was)]).is_none());
        fs::write(&path, bytes(len + 1, 1)).unwrap();
        assert_eq!(open(&path, was).unwrap_err().kind, StorageErrorKind::Changed);
        assert!(check(vec![(path.clone(), was)]).is_some());
        fs::remove_file(&path).unwrap();
        assert_eq!(open(&path, was).unwrap_err().kind, StorageErrorKind::Changed);
        // A pipe in its place does not hang anybody.
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(open(&path, was).is_err());
    }
}
