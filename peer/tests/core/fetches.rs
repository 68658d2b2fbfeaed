//! The life of a fetch, and what must not end it.

use std::sync::Arc;
use std::time::Duration;

use peer::disk::{
    FileKey, Prepared, StorageError, StorageErrorKind, StoreOutcome, Task, TaskResult,
};
use peer::job::{Job, Target};
use peer::notice::{Failure, Notice};
use peer::session::SessionEvent;
use protocol::message::{Block, FindKey, Holdings, Request};
use protocol::{Code, Digest, ObjectId, PieceSet, SafePath};

use crate::rig::{LARGER, Rig, SMALLER, addr, by_name, fetch, manifest, record};

fn failures(rig: &Rig) -> Vec<&Failure> {
    let failed = rig.notices.iter().filter_map(|notice| match notice {
        Notice::Failed(failure) => Some(failure),
        _ => None,
    });
    failed.collect()
}

fn begun(pieces: u32) -> (Rig, reactor::ConnId) {
    Rig::begun(&manifest(pieces), |_| {})
}

#[test]
fn a_bad_manifest_with_the_right_hash_is_nobodys_fault() {
    let bytes = b"not a manifest".to_vec();
    let mut wrong = record(&manifest(1));
    wrong.object = ObjectId(Digest::of(&bytes).0);
    wrong.manifest_len = u32::try_from(bytes.len()).unwrap();
    let mut rig = Rig::new(vec![Job::Fetch(fetch(by_name()))], Some(wrong), &[addr(2)]);
    let conn = rig.connect(LARGER);
    let channel = rig.opened(conn).unwrap();
    rig.tell(conn, |session| session.send_bitmap(channel, 14, 1, &Holdings::All));
    for request in rig.requests(conn) {
        rig.data(conn, request, &bytes);
    }
    // [P-52]
    assert!(!rig.notices.iter().any(|notice| matches!(notice, Notice::PeerCorrupt { .. })));
    assert!(matches!(failures(&rig)[..], [Failure::Integrity { .. }]), "{:?}", failures(&rig));
    let heard = &rig.remotes[&conn].heard;
    let closed = |event: &SessionEvent<'_>| {
        matches!(event, SessionEvent::ChannelClosed { code: Code::BAD_DATA, .. })
    };
    assert!(heard.iter().any(closed), "{heard:?}");
}

#[test]
fn who_serves_the_manifest_and_lies_about_its_pieces_is_told() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    let channel = rig.opened(conn).unwrap();
    let len = u32::try_from(manifest.bytes().len()).unwrap();
    rig.tell(conn, |session| session.send_bitmap(channel, len, 5, &Holdings::All));
    rig.give_manifest(conn, &manifest);
    assert_eq!(rig.bye(conn), Some(Code::BAD_DATA));
}

#[test]
fn who_gets_the_manifest_later_is_asked_for_it() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    let channel = rig.opened(conn).unwrap();
    rig.tell(conn, |session| session.send_bitmap(channel, 0, 0, &Holdings::None));
    assert!(rig.requests(conn).is_empty());
    // [P-26]
    rig.tell(conn, |session| session.have(channel, &[2]));
    rig.give_manifest(conn, &manifest);
    rig.prepared(&manifest);
    let request = rig.requests(conn);
    assert!(request.iter().all(|request| request.block.piece == 2) && !request.is_empty());
}

#[test]
fn a_file_that_does_not_open_does_not_end_the_fetch() {
    let (mut rig, conn) = begun(4);
    let first = rig.requests(conn);
    let piece = first[0].block.piece;
    for request in first {
        rig.data(conn, request, &vec![7; request.len as usize]);
    }
    rig.store(StoreOutcome::Stored);
    let channel = rig.opened(conn).unwrap();
    let block = Block { channel, piece, begin: 0 };
    assert!(rig.tell(conn, |session| session.request(Request { block, len: 5 })));
    let Some(Task::OpenFetched { key }) = rig.tasks.pop_back() else { panic!("it is opened") };
    assert!(matches!(key, FileKey::Fetched { .. }));
    let (kind, what) = (StorageErrorKind::Io, "too many open files".to_owned());
    let error = StorageError { kind, what, path: "/x/a".into(), advice: None };
    rig.done(TaskResult::Opened { key, outcome: Err(error) });
    let rejected = |event: &SessionEvent<'_>| matches!(event, SessionEvent::Rejected { .. });
    assert!(rig.remotes[&conn].heard.iter().any(rejected));
    rig.sleep(Duration::from_secs(1));
    for _ in 0..4 {
        for request in rig.requests(conn) {
            rig.data(conn, request, &vec![7; request.len as usize]);
        }
        rig.store(StoreOutcome::Stored);
    }
    assert!(rig.tasks.iter().any(|task| matches!(task, Task::Finish { .. })), "it goes on");
}

#[test]
fn a_piece_that_did_not_fit_is_tried_again_though_another_fits() {
    let (mut rig, conn) = begun(4);
    let give = |rig: &mut Rig| {
        for request in rig.requests(conn) {
            rig.data(conn, request, &vec![7; request.len as usize]);
        }
    };
    give(&mut rig);
    let (kind, what) = (StorageErrorKind::NoSpace, "no space left on the disk".to_owned());
    let full = StorageError { kind, what, path: "/x/a".into(), advice: None };
    assert!(rig.store_once(&Err(full)) > 0, "it came first");
    for _ in 0..4 {
        give(&mut rig);
        rig.store(StoreOutcome::Stored);
    }
    rig.sleep(Duration::from_secs(10));
    rig.store(StoreOutcome::Stored);
    assert!(rig.tasks.iter().any(|task| matches!(task, Task::Finish { .. })), "it goes on");
}

#[test]
fn what_was_not_read_is_not_announced() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    rig.seed(conn, &manifest);
    rig.give_manifest(conn, &manifest);
    let (have, wanted) = (PieceSet::empty(4), PieceSet::full(4));
    rig.prepare(Prepared {
        doubtful: PieceSet::empty(4),
        have,
        wanted,
        finished: Some("/x/a".into()),
    });
    rig.sleep(Duration::from_secs(3));
    assert!(rig.notices.iter().any(|notice| matches!(notice, Notice::FetchDone { .. })));
    assert!(rig.exited, "there is nothing to serve");
}

#[test]
fn what_was_complete_already_is_announced_to_members() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    let channel = rig.opened(conn).unwrap();
    let len = u32::try_from(manifest.bytes().len()).unwrap();
    rig.tell(conn, |session| session.send_bitmap(channel, len, 4, &Holdings::None));
    rig.give_manifest(conn, &manifest);
    let (have, wanted) = (PieceSet::full(4), PieceSet::full(4));
    rig.prepare(Prepared {
        doubtful: PieceSet::empty(4),
        have,
        wanted,
        finished: Some("/x/a".into()),
    });
    rig.sleep(Duration::from_secs(1));
    let have = |event: &SessionEvent<'_>| matches!(event, SessionEvent::Have { .. });
    assert!(rig.remotes[&conn].heard.iter().any(have));
}

#[test]
fn a_tracker_that_refuses_to_say_more_does_not_end_a_fetch() {
    let (mut rig, _) = begun(4);
    rig.find_code = Some(Code::FULL);
    rig.sleep(Duration::from_secs(60));
    assert!(failures(&rig).is_empty(), "{:?}", failures(&rig));
    let object = manifest(4).id();
    assert_eq!(rig.finds.last(), Some(&FindKey::Object(object)), "the name may have moved on");
}

#[test]
fn the_tracker_can_not_pass_off_another_object() {
    let (right, wrong) = (manifest(4), manifest(5));
    let name = SafePath::new("a").unwrap();
    let exact = Target::Exact { name: name.clone(), object: right.id() };
    let known = Target::Manifest { name, manifest: Arc::clone(&right) };
    for target in [exact, known] {
        let mut rig = Rig::new(vec![Job::Fetch(fetch(target))], Some(record(&wrong)), &[addr(2)]);
        rig.sleep(Duration::from_secs(5));
        for (conn, _) in rig.dialed.clone() {
            let _ = conn;
            let conn = rig.connect(SMALLER);
            let opened = |event: &SessionEvent<'_>| matches!(event, SessionEvent::Opened { object, .. } if *object == wrong.id());
            assert!(!rig.remotes[&conn].heard.iter().any(opened));
        }
    }
}
