//! Serving local files.

use peer::disk::{
    FileHashes, Scan, ScanRequest, ScannedFile, ScannedObject, StorageError, StorageErrorKind,
    Task, TaskResult,
};
use peer::job::{Job, SeedJob};
use peer::notice::Notice;
use peer::session::SessionEvent;
use protocol::message::Holdings;
use protocol::{Code, Digest, ObjectId};
use reactor::FileStamp;
use std::time::Duration;

use crate::rig::{LARGER, Rig};

fn file(name: &str) -> ScannedObject {
    let stamp = FileStamp { device: 1, inode: 1, len: 5, mtime_ns: 0, ctime_ns: 0 };
    let path = std::path::PathBuf::from("/x").join(name);
    let file = ScannedFile { relative: None, path: path.clone(), stamp, executable: false };
    let (name, files) = (name.to_owned(), vec![file]);
    ScannedObject { name, path, single_file: true, files, empty_folders: Vec::new() }
}

/// Seeding two files of the same content.
fn twins() -> (Rig, ObjectId) {
    let request =
        ScanRequest { path: "/x".into(), name: None, follow_symlinks: false, hidden: false };
    let job = SeedJob { paths: vec![request], use_cache: false, seed_time: None, once: false };
    let mut rig = Rig::new(vec![Job::Seed(job)], None, &[]);
    let Some(Task::Scan { share, .. }) = rig.tasks.pop_front() else { panic!("it is listed") };
    let scan = Scan { objects: vec![file("a"), file("b")], skipped: Vec::new() };
    rig.done(TaskResult::Scanned { share, outcome: Ok(scan) });
    for _ in 0..2 {
        let Some(Task::Hash { object, first, .. }) = rig.tasks.pop_front() else {
            panic!("it is hashed")
        };
        let digest = Digest::of(b"hello");
        let done = vec![Ok(FileHashes { digest, pieces: vec![digest] })];
        rig.done(TaskResult::Hashed { share, object, first, done, unfinished: None, bytes: 5 });
    }
    let hashed = rig.notices.iter().find_map(|notice| match notice {
        Notice::Hashed { manifest, .. } => Some(manifest.id()),
        _ => None,
    });
    (rig, hashed.unwrap())
}

#[test]
fn an_object_with_two_names_is_served_until_both_are_gone() {
    let (mut rig, object) = twins();
    let conn = rig.accept(2, LARGER);
    rig.tell(conn, |session| {
        let channel = session.open(object).unwrap();
        session.send_bitmap(channel, 0, 0, &Holdings::None);
    });
    let closed = |rig: &Rig| {
        let heard = rig.remotes[&conn].heard.iter();
        heard.filter(|event| matches!(event, SessionEvent::ChannelClosed { .. })).count()
    };
    rig.sleep(Duration::from_secs(6));
    let mut checked: Vec<_> = rig.tasks.drain(..).collect();
    checked.retain(|task| matches!(task, Task::CheckFiles { .. }));
    assert_eq!(checked.len(), 2, "each name's own files are looked at");
    for (at, task) in checked.into_iter().enumerate() {
        let Task::CheckFiles { share, object, files } = task else { panic!() };
        assert!(files[0].0.ends_with(["a", "b"][object]));
        let (kind, what) = (StorageErrorKind::Changed, "has changed".to_owned());
        let error = StorageError { kind, what, path: files[0].0.clone(), advice: None };
        rig.done(TaskResult::FilesChecked { share, object, changed: Some(error) });
        assert_eq!(closed(&rig), at, "only with the last name");
    }
}

#[test]
fn a_tracker_that_lost_its_names_is_told_them_again() {
    // It has nothing to ask for: the peer announces all it holds right behind its BEAT.
    let (mut rig, _) = twins();
    rig.sleep(Duration::from_secs(1));
    assert_eq!(rig.published, ["a", "b"]);
    rig.restart_tracker();
    rig.sleep(Duration::from_secs(60));
    assert_eq!(rig.published, ["a", "b", "a", "b"]);
    let known = rig.published.len();
    rig.sleep(Duration::from_secs(600));
    assert_eq!(rig.published.len(), known, "once for each tracker");
}

#[test]
fn a_name_that_the_tracker_has_no_room_for_is_published_again() {
    for code in [Code::FULL, Code::IO] {
        let (mut rig, _) = twins();
        rig.notices.clear();
        rig.published.clear();
        rig.publish_code = code;
        rig.restart_tracker();
        rig.sleep(Duration::from_secs(35));
        let tries = rig.published.len();
        assert!((4..12).contains(&tries), "two names, each again and again, not at once: {tries}");
        rig.publish_code = Code::OK;
        rig.sleep(Duration::from_secs(15));
        assert_eq!(rig.published.len(), tries + 2, "each once more, and that is it");
        rig.sleep(Duration::from_secs(60));
        assert_eq!(rig.published.len(), tries + 2);
        let refused = |notice: &Notice| matches!(notice, Notice::PublishRefused { .. });
        assert!(!rig.notices.iter().any(refused));
    }
}

#[test]
fn a_long_session_with_the_tracker_takes_requests_to_its_end() {
    let (mut rig, _) = twins();
    // A BEAT has 44 bytes or more: all these are more than may wait in a queue.
    for _ in 0..90 {
        rig.sleep(Duration::from_secs(1_800));
    }
    let before = rig.finds.len();
    rig.sync = true;
    rig.sleep(Duration::from_secs(25));
    assert!(rig.finds.len() >= before + 2, "asked to tell all, it looks for its names, too");
}
