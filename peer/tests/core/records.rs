//! What a tracker says of objects: hints, and text of a stranger.

use std::time::Duration;

use peer::disk::Task;
use peer::job::Job;
use peer::notice::Notice;
use protocol::message::{Holdings, Page, PageEntry, Swarm};
use protocol::{Code, Holding, Message, ObjectId, PeerAddr, Record, RequestId};

use crate::rig::{LARGER, Rig, SMALLER, addr, by_name, fetch, manifest, record};

#[test]
fn wrong_numbers_of_a_record_are_nobodys_fault_and_no_harm() {
    let manifest = manifest(4);
    let wrong = Record {
        length: 1,
        manifest_len: 7,
        piece_count: 99,
        file_count: 55,
        piece_log2: 12,
        ..record(&manifest)
    };
    let mut rig = Rig::new(vec![Job::Fetch(fetch(by_name()))], Some(wrong), &[addr(2)]);
    let conn = rig.connect(LARGER);
    rig.seed(conn, &manifest);
    rig.give_manifest(conn, &manifest);
    rig.prepared(&manifest);
    assert_eq!(rig.bye(conn), None, "[T-8]");
    assert!(!rig.requests(conn).is_empty(), "[T-8]: the manifest is the truth");
}

#[test]
fn who_serves_what_a_wrong_record_asks_for_is_not_blamed() {
    // It gets the manifest later, so only the record says how long it is.
    let manifest = manifest(4);
    let len = u32::try_from(manifest.bytes().len()).unwrap();
    let wrong = Record { manifest_len: len - 1, ..record(&manifest) };
    let peers = [addr(2), addr(3)];
    let mut rig = Rig::new(vec![Job::Fetch(fetch(by_name()))], Some(wrong), &peers);
    let late = rig.connect(LARGER);
    let channel = rig.opened(late).unwrap();
    rig.tell(late, |session| session.send_bitmap(channel, 0, 0, &Holdings::None));
    rig.tell(late, |session| session.have(channel, &[2]));
    let asked = rig.requests(late);
    assert_eq!(asked[0].len, len - 1);
    for request in asked {
        rig.data(late, request, &manifest.bytes()[..request.len as usize]);
    }
    assert_eq!(rig.bye(late), None, "[T-8]");
    assert!(!rig.notices.iter().any(|notice| matches!(notice, Notice::PeerCorrupt { .. })));
    // Somebody who says how long it is can be asked.
    let seed = rig.connect(SMALLER);
    rig.seed(seed, &manifest);
    rig.give_manifest(seed, &manifest);
    rig.prepared(&manifest);
    assert_eq!((rig.bye(late), rig.bye(seed)), (None, None));
}

#[test]
fn who_takes_no_requests_keeps_nobody_from_being_asked() {
    let manifest = manifest(4);
    let len = u32::try_from(manifest.bytes().len()).unwrap();
    let wrong = Record { manifest_len: len + 1, ..record(&manifest) };
    let peers = [addr(2), addr(3)];
    let mut rig = Rig::new(vec![Job::Fetch(fetch(by_name()))], Some(wrong), &peers);
    let busy = rig.connect(LARGER);
    rig.tell(busy, |session| session.set_window(0));
    let channel = rig.opened(busy).unwrap();
    // Just as long as the tracker says, so it would be asked first.
    rig.tell(busy, |session| session.send_bitmap(channel, len + 1, 4, &Holdings::All));
    let seed = rig.connect(SMALLER);
    rig.seed(seed, &manifest);
    assert!(rig.requests(busy).is_empty(), "[P-31]");
    assert!(!rig.requests(seed).is_empty(), "[T-8]: the other one is asked");
}

/// A record of an object that no name points to: only its id is known. [T-42]
fn nameless(manifest: &protocol::Manifest) -> Record {
    Record {
        content: protocol::Digest([0; 32]),
        length: 0,
        manifest_len: 0,
        piece_count: 0,
        file_count: 0,
        piece_log2: 0,
        name: String::new(),
        ..record(manifest)
    }
}

#[test]
fn who_gets_the_manifest_later_is_asked_though_nobody_says_how_long_it_is() {
    let manifest = manifest(4);
    let job = Job::Fetch(fetch(by_name()));
    let mut rig = Rig::new(vec![job], Some(nameless(&manifest)), &[addr(2)]);
    let conn = rig.connect(LARGER);
    let first = rig.opened(conn).unwrap();
    rig.tell(conn, |session| session.send_bitmap(first, 0, 0, &Holdings::None));
    rig.tell(conn, |session| session.have(first, &[2]));
    let second = rig.opened(conn).unwrap();
    assert_ne!(first, second, "[P-26]: a new channel");
    // A remote that still does not say it is not asked for ever.
    rig.tell(conn, |session| session.send_bitmap(second, 0, 0, &Holdings::None));
    rig.tell(conn, |session| session.have(second, &[2]));
    assert_eq!(rig.opened(conn), Some(second));
    assert!(rig.requests(conn).is_empty());

    let mut rig =
        Rig::new(vec![Job::Fetch(fetch(by_name()))], Some(nameless(&manifest)), &[addr(2)]);
    let conn = rig.connect(LARGER);
    let first = rig.opened(conn).unwrap();
    rig.tell(conn, |session| session.send_bitmap(first, 0, 0, &Holdings::None));
    rig.tell(conn, |session| session.have(first, &[2]));
    rig.seed(conn, &manifest);
    rig.give_manifest(conn, &manifest);
    rig.prepared(&manifest);
    assert!(!rig.requests(conn).is_empty(), "[P-26]");
}

#[test]
fn who_refuses_a_length_that_was_guessed_is_asked_for_the_right_one() {
    let manifest = manifest(4);
    let len = u32::try_from(manifest.bytes().len()).unwrap();
    let wrong = Record { manifest_len: len + 9, ..record(&manifest) };
    let mut rig = Rig::new(vec![Job::Fetch(fetch(by_name()))], Some(wrong), &[addr(2)]);
    let conn = rig.connect(LARGER);
    let first = rig.opened(conn).unwrap();
    rig.tell(conn, |session| session.send_bitmap(first, 0, 0, &Holdings::None));
    rig.tell(conn, |session| session.have(first, &[0, 1, 2, 3]));
    for request in rig.requests(conn) {
        rig.tell(conn, |session| session.reject(request.block, Code::BAD_RANGE)).expect("open");
    }
    rig.seed(conn, &manifest);
    assert_ne!(rig.opened(conn), Some(first), "[P-26] [T-8]");
    rig.give_manifest(conn, &manifest);
    rig.prepared(&manifest);
    assert_eq!(rig.bye(conn), None, "[T-8]");
}

#[test]
fn a_name_that_is_none_is_neither_a_path_nor_shown() {
    let manifest = manifest(4);
    for name in ["../../etc/passwd", "/abs", "a/../b", "x\u{1b}[2J", "a@7"] {
        let hostile = Record { name: name.to_owned(), ..record(&manifest) };
        let job = Job::Fetch(fetch(by_name()));
        let mut rig = Rig::new(vec![job], Some(hostile.clone()), &[addr(2)]);
        let conn = rig.connect(LARGER);
        rig.seed(conn, &manifest);
        rig.give_manifest(conn, &manifest);
        let spec = rig.tasks.iter().find_map(|task| match task {
            Task::Prepare { spec, .. } => Some(spec),
            _ => None,
        });
        assert_eq!(spec.unwrap().file_name, "a", "[T-9]: it is called what was asked for");
        rig.prepared(&manifest);
        let shown = format!("{:?}", rig.notices);
        assert!(!shown.contains(&format!("{name:?}")), "[T-9]: {shown}");

        let list = Job::List { prefix: String::new() };
        let mut rig = Rig::new(vec![list], None, &[]);
        let entry = |name: &str| PageEntry {
            complete: 1,
            partial: 0,
            record: Record { name: name.to_owned(), ..record(&manifest) },
        };
        let mut entries = vec![entry("A good one"), entry(name), entry("z")];
        entries.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        rig.tracker_says(&Message::Page(Page { rid: RequestId(2), more: false, entries }));
        let names: Vec<_> = rig
            .notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::Page(page) => Some(page.entries.iter().map(|e| e.record.name.as_str())),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(names, ["A good one", "z"], "[T-9]");
    }
}

#[test]
fn peers_that_the_tracker_tells_of_are_more_peers_not_other_ones() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    rig.seed(conn, &manifest);
    let push = |object, host| {
        let peers = vec![PeerAddr { holding: Holding::Complete, addr: addr(host) }];
        let record = Record { object, ..record(&manifest) };
        Message::Swarm(Swarm { rid: RequestId(0), complete: 1, partial: 0, record, peers })
    };
    rig.tracker_says(&push(ObjectId([0xAB; 32]), 3));
    rig.sleep(Duration::from_secs(5));
    assert!(rig.dialed.is_empty(), "[T-47]: an object that is not fetched");
    rig.tracker_says(&push(manifest.id(), 4));
    rig.sleep(Duration::from_secs(5));
    assert_eq!(
        rig.dialed.iter().map(|(_, remote)| *remote).collect::<Vec<_>>(),
        [addr(4)],
        "[T-47]"
    );
    assert_eq!(rig.bye(conn), None, "[T-47]: who was there stays");
    rig.give_manifest(conn, &manifest);
}
