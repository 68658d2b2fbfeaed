//! Names: who may bind them, which version they get, and when they count as bound.

mod common;

use std::sync::Mutex;
use std::time::Duration;

use common::{NOW, World, object, publish, quiet, record, unpublish};
use protocol::message::{Find, FindKey, List, Status, SummaryRequest};
use protocol::{Code, Digest, Holding, Message, PublisherKey, RequestId};
use tracker::Config;
use tracker::store::StoreError;

#[test]
fn publish_find_and_list() {
    let mut world = World::new(quiet());
    let seed = world.holder(1, &[(object(3), Holding::Complete)]);
    let status = world.publish(seed, 1, "llama", 3);
    assert_eq!((status.code, status.text.as_str(), status.rid), (Code::OK, "1", RequestId(9)));

    let asker = world.peer(2);
    let by_name = world.find_name(asker, "llama", 0).unwrap();
    assert_eq!((by_name.complete, by_name.partial, by_name.peers.len()), (1, 0, 1));
    assert_eq!(by_name.peers[0].addr, "192.0.2.1:9001".parse().unwrap());
    assert_eq!(by_name.peers[0].holding, Holding::Complete);
    let mut expected = record("llama", 3);
    (expected.version, expected.published_at) = (1, NOW);
    assert_eq!(by_name.record, expected, "version and time are the tracker's");

    assert_eq!(world.find(asker, 50, FindKey::Object(object(3))).as_ref(), Ok(&by_name));
    let content = FindKey::Content(Digest([3 ^ 0xFF; 32]));
    assert_eq!(world.find(asker, 50, content).as_ref(), Ok(&by_name));
    assert_eq!(world.find(asker, 0, FindKey::Object(object(3))).unwrap().peers, []);

    let page = world.list(asker, 10, "", "");
    assert_eq!((page.entries.len(), page.more), (1, false));
    assert_eq!((page.entries[0].complete, &page.entries[0].record), (1, &expected));

    for missing in [FindKey::Object(object(9)), FindKey::Content(Digest::ZERO)] {
        assert_eq!(world.find(asker, 1, missing), Err(Code::NOT_FOUND));
    }
    assert_eq!(world.find_name(asker, "lama", 0), Err(Code::NOT_FOUND));
    assert_eq!(world.find_name(asker, "llama", 2), Err(Code::NOT_FOUND));
}

#[test]
fn an_object_without_a_name_is_found_by_its_id() {
    let mut world = World::new(quiet());
    world.holder(1, &[(object(3), Holding::Partial)]);
    let asker = world.peer(2);
    let swarm = world.find(asker, 5, FindKey::Object(object(3))).unwrap();
    assert_eq!((swarm.record.name.as_str(), swarm.partial, swarm.peers.len()), ("", 1, 1));
}

#[test]
fn versions_ascend_and_identical_content_is_the_same_version() {
    let mut world = World::new(quiet());
    let conn = world.peer(1);
    let mut version = |content| world.publish(conn, 1, "a", content).text;
    assert_eq!(
        [version(1), version(1), version(2), version(2), version(1)],
        ["1", "1", "2", "2", "3"]
    );
    assert_eq!(world.commits, 3, "what is there already is not written again");
    let object_of = |found: Result<protocol::message::Swarm, Code>| found.unwrap().record.object;
    assert_eq!(object_of(world.find_name(conn, "a", 2)), object(2));
    assert_eq!(object_of(world.find_name(conn, "a", 0)), object(1));
}

#[test]
fn only_the_owner_changes_a_name_and_counters_outlive_it() {
    let mut world = World::new(quiet());
    let conn = world.peer(1);
    assert_eq!(world.publish(conn, 1, "a", 1).code, Code::OK);
    assert_eq!(world.publish(conn, 2, "a", 2).code, Code::NAME_TAKEN);
    assert_eq!(
        world.publish(conn, 2, "a", 1).code,
        Code::OK,
        "who seeds the newest version under its name joins its swarm"
    );
    let code = |reply| match reply {
        Message::Status(Status { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(world.ask(conn, &unpublish(1, 2, "a"))), Code::NOT_OWNER);
    assert_eq!(code(world.ask(conn, &unpublish(1, 1, "b"))), Code::NOT_FOUND);
    assert_eq!(code(world.ask(conn, &unpublish(1, 1, "a"))), Code::OK);
    assert_eq!(code(world.ask(conn, &unpublish(1, 1, "a"))), Code::NOT_FOUND);
    assert_eq!(world.find_name(conn, "a", 0), Err(Code::NOT_FOUND));
    assert_eq!(world.list(conn, 10, "", "").entries, []);
    assert_eq!(world.publish(conn, 2, "a", 2).code, Code::NAME_TAKEN);
    // Versions never go back, for the same content neither.
    assert_eq!(world.publish(conn, 1, "a", 1).text, "2");
}

#[test]
fn records_that_no_manifest_can_have_are_refused() {
    let mut world = World::new(quiet());
    let conn = world.peer(1);
    let breaks: [fn(&mut protocol::Record); 3] =
        [|r| r.manifest_len = 0, |r| r.file_count = 0, |r| r.piece_log2 = 0];
    for (index, damage) in breaks.into_iter().enumerate() {
        let Message::Publish(mut wish) = publish(1, 1, "a", 1) else { panic!() };
        damage(&mut wish.record);
        world.say(conn, &Message::Publish(wish));
        match world.one(conn) {
            Message::Status(status) => assert_eq!(status.code, Code::MALFORMED, "{index}"),
            // The codec refuses this one by itself.
            Message::Bye(bye) => assert_eq!((bye.code, index), (Code::MALFORMED, 2)),
            other => panic!("{other:?}"),
        }
    }
    let conn = world.peer(2);
    assert_eq!(world.find_name(conn, "a", 0), Err(Code::NOT_FOUND));
}

#[test]
fn a_restart_keeps_names_owners_and_counters() {
    let mut world = World::new(quiet());
    let conn = world.peer(1);
    for (name, content) in [("a", 1), ("a", 2), ("b", 3)] {
        world.publish(conn, 1, name, content);
    }
    world.say(conn, &unpublish(1, 1, "b"));
    let mut world = World::with_store(quiet(), world.store.clone());
    let conn = world.peer(1);
    assert_eq!(world.find_name(conn, "a", 1).unwrap().record.object, object(1));
    assert_eq!(world.find_name(conn, "b", 0), Err(Code::NOT_FOUND));
    assert_eq!(world.publish(conn, 2, "b", 3).code, Code::NAME_TAKEN);
    assert_eq!(world.publish(conn, 1, "b", 3).text, "2");
    let summary = world.tracker.summary(world.now);
    assert_eq!((summary.names, summary.versions, summary.bytes), (2, 3, 2_000));
}

#[test]
fn nothing_is_acknowledged_or_shown_before_it_is_durable() {
    let mut world = World::new(quiet());
    world.commit = false;
    let (writer, reader) = (world.peer(1), world.peer(2));
    let find = |name: &str| {
        let key = FindKey::Name { version: 0, name: name.to_owned() };
        Message::Find(Find { rid: RequestId(12), want: 0, key })
    };
    // One request behind the other, without waiting for answers.
    let wishes = [
        publish(10, 1, "a", 1),
        publish(11, 1, "a", 2),
        find("a"),
        publish(13, 1, "a", 2),
        publish(14, 2, "a", 3),
        unpublish(15, 1, "a"),
    ];
    let bytes: Vec<u8> = wishes.iter().flat_map(Message::to_frame).collect();
    world.bytes(writer, &bytes);
    // [T-36]
    assert_eq!(world.take(writer), [], "not even the refusal overtakes what is under way");
    assert_eq!(world.find_name(reader, "a", 0), Err(Code::NOT_FOUND));
    assert_eq!(world.tasks.len(), 1, "one batch at a time");

    while !world.tasks.is_empty() {
        world.commit_one();
    }
    assert_eq!(world.commits, 1, "requests that came together are committed together");
    let replies = world.take(writer);
    let brief: Vec<_> = replies
        .iter()
        .map(|reply| match reply {
            Message::Status(status) => (status.rid.0, status.code, status.text.as_str()),
            Message::Swarm(swarm) => (swarm.rid.0, Code::OK, "found"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(brief[0], (10, Code::OK, "1"));
    assert_eq!(brief[1], (11, Code::OK, "2"));
    assert_eq!((brief[2].0, brief[3]), (12, (13, Code::OK, "2")));
    assert_eq!((brief[4].0, brief[4].1), (14, Code::NAME_TAKEN));
    assert_eq!((brief[5].0, brief[5].1), (15, Code::OK));
}

#[test]
fn while_one_batch_is_committed_the_next_one_gathers() {
    let mut world = World::new(quiet());
    world.commit = false;
    let conns: Vec<_> = (1..=4).map(|node| world.peer(node)).collect();
    for (index, conn) in conns.iter().enumerate() {
        world.say(*conn, &publish(1, 1, &format!("name-{index}"), 1));
    }
    world.commit_one();
    assert_eq!(world.tasks.len(), 1);
    assert_eq!(world.tasks[0].1.writes.len(), 3);
    assert_eq!(world.take(conns[0]).len(), 1);
    assert_eq!(world.take(conns[1]).len(), 0);
    world.commit_one();
    conns[1..].iter().for_each(|conn| assert_eq!(world.take(*conn).len(), 1));
}

#[test]
fn a_store_that_fails_ends_writing_not_reading_and_then_the_process() {
    let mut world = World::new(quiet());
    let conn = world.peer(1);
    world.publish(conn, 1, "a", 1);
    world.store.fail_with(Some(StoreError { full: false, what: "fsync failed".to_owned() }));
    assert_eq!(world.publish(conn, 1, "a", 2).code, Code::IO);
    // What failed once is not tried again, even if it would work.
    world.store.fail_with(None);
    let refused = world.publish(conn, 1, "b", 2);
    assert_eq!(refused.code, Code::IO);
    assert!(refused.retry_ms > 0);
    assert_eq!(world.find_name(conn, "a", 0).unwrap().record.version, 1);
    assert_eq!(world.find_name(conn, "b", 0), Err(Code::NOT_FOUND));
    world.pass(Duration::from_secs(29));
    assert!(!world.exited);
    world.now = world.now + Duration::from_secs(1);
    world.event(reactor::Event::Deadline);
    assert!(world.exited && world.tracker.failure().is_some());
}

#[test]
fn pages_fit_a_frame_and_the_cursor_sees_every_name_once() {
    let mut world = World::new(quiet());
    let conn = world.peer(1);
    // Names as long as they may be: about 55 of them fill a frame.
    let names: Vec<String> = (0..2_000)
        .map(|n| {
            format!("{n:04}/{}/{}/{}", "x".repeat(250), "y".repeat(250), "z".repeat(n % 250 + 1))
        })
        .collect();
    let bytes: Vec<u8> = names.iter().flat_map(|name| publish(1, 1, name, 1).to_frame()).collect();
    bytes.chunks(100_000).for_each(|chunk| world.bytes(conn, chunk));
    let replies = world.take(conn);
    assert!(replies.iter().all(|r| matches!(r, Message::Status(s) if s.code == Code::OK)));
    assert_eq!(replies.len(), 2_000);

    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.list(conn, 500, "", &after);
        assert!(page.entries.len() > 50);
        seen.extend(page.entries.into_iter().map(|entry| entry.record.name));
        after.clone_from(seen.last().unwrap());
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, names);
    let page = world.list(conn, 500, "019", "");
    assert_eq!((page.entries.len(), page.more), (10, false));
    assert_eq!(world.list(conn, 3, "019", &names[194]).entries[0].record.name, names[195]);
    assert_eq!(world.list(conn, 3, "019", "02").entries, []);
}

#[test]
fn the_number_of_names_is_limited() {
    let mut world = World::new(Config { max_names: 2, ..quiet() });
    let conn = world.peer(1);
    assert_eq!(world.publish(conn, 1, "a", 1).code, Code::OK);
    assert_eq!(world.publish(conn, 1, "b", 1).code, Code::OK);
    let refused = world.publish(conn, 1, "c", 1);
    assert_eq!(refused.code, Code::OVERLOADED);
    assert!(refused.retry_ms > 0);
    assert_eq!(world.publish(conn, 1, "a", 2).code, Code::OK, "known names go on");
}

/// Everything that is logged while these tests run.
struct Log(Mutex<String>);

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().expect("nobody panics with it").push_str(&format!("{}\n", record.args()));
    }

    fn flush(&self) {}
}

static LOG: Log = Log(Mutex::new(String::new()));

#[test]
fn keys_are_told_to_nobody() {
    log::set_logger(&LOG).expect("no other test logs");
    log::set_max_level(log::LevelFilter::Trace);
    let mut world = World::new(quiet());
    let (owner, other) = (world.peer(1), world.peer(2));
    let key = 0xC7;
    assert_eq!(world.publish(owner, key, "a", 1).code, Code::OK);
    assert_eq!(world.publish(other, 1, "a", 2).code, Code::NAME_TAKEN);
    // Each answer there is, to the owner and to somebody else.
    let questions = |rid| {
        let key = FindKey::Name { version: 0, name: "a".to_owned() };
        let (prefix, after) = (String::new(), String::new());
        [
            Message::Find(Find { rid, want: 9, key }),
            Message::List(List { rid, limit: 9, prefix, after }),
            Message::SummaryRequest(SummaryRequest { rid }),
            publish(5, 0xC7, "a", 1),
            publish(6, 0xC7, "a", 3),
            publish(7, 2, "a", 4),
            publish(8, 0xC7, "a@1", 4),
            unpublish(9, 2, "a"),
            unpublish(10, 0xC7, "b"),
        ]
    };
    let mut told = String::new();
    for conn in [owner, other] {
        for question in questions(RequestId(1)) {
            let answer = world.ask(conn, &question).to_frame();
            told.extend(answer.iter().map(|byte| format!("{byte:02x}")));
        }
    }
    let secret = |text: &str| text.to_lowercase().contains(&"c7".repeat(8));
    assert!(!secret(&told), "[T-39]: {told}");
    let shown = format!("{:?} {:?}", PublisherKey([key; 16]), publish(1, key, "a", 1));
    assert!(!secret(&shown) && !shown.contains("199, 199"), "[T-39]: {shown}");
    let logged = LOG.0.lock().unwrap().clone();
    assert!(!secret(&logged) && !logged.contains("199, 199"), "[T-39]: {logged}");
}
