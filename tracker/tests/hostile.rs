//! Sessions that break the rules, stall, flood, or do not listen.

mod common;

use std::time::Duration;

use common::{NODE, World, hello, object, publish, quiet, raw_hello};
use protocol::message::{Bye, Find, FindKey, Hello, Role, Tlv, TlvTag};
use protocol::{Code, Holding, Message, RequestId};
use reactor::{Event, Rng};
use tracker::{Config, Secret};

#[test]
fn strangers_get_no_byte() {
    let mut world = World::new(quiet());
    let mut wrong_magic = hello(1).to_frame();
    wrong_magic[5] ^= 1;
    let first_bytes: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-x\r\n",
        b"\x01\x00\x00\x1b",
        b"\x01\x00\x04\x01",
        &wrong_magic,
    ];
    for bytes in first_bytes {
        let conn = world.accept("192.0.2.1:1");
        world.bytes(conn, bytes);
        assert!(world.wires[&conn].closed, "{bytes:?}");
        assert_eq!(world.wires[&conn].bytes, 0, "{bytes:?}");
    }
    assert_eq!(world.tracker.summary(world.now).connections, 0);
}

#[test]
fn a_hello_that_does_not_fit_is_answered_with_ours_and_a_reason() {
    let mut world = World::new(Config { token: Secret::new(b"sesame".to_vec()), ..quiet() });
    let token = |value: &[u8]| vec![Tlv { tag: TlvTag::CLUSTER_TOKEN, value: value.to_vec() }];
    let good = Hello { tlvs: token(b"sesame"), ..raw_hello(1) };
    let cases = [
        (Hello { version_min: 2, version_max: 254, ..good.clone() }, Some(Code::VERSION)),
        (Hello { role: Role::Tracker, ..good.clone() }, Some(Code::WRONG_ROLE)),
        (Hello { node: NODE, ..good.clone() }, Some(Code::DUPLICATE)),
        (raw_hello(1), Some(Code::DENIED)),
        (Hello { tlvs: token(b"sesamE"), ..raw_hello(1) }, Some(Code::DENIED)),
        (Hello { tlvs: token(b""), ..raw_hello(1) }, Some(Code::DENIED)),
        (Hello { version_max: 254, ..good.clone() }, None),
        (good, None),
    ];
    for (hello, expected) in cases {
        let conn = world.accept("192.0.2.1:1");
        world.say(conn, &Message::Hello(hello.clone()));
        let mut replies = world.take(conn);
        assert!(matches!(replies.remove(0), Message::Hello(h) if h.role == Role::Tracker));
        let code = replies.pop().map(|reply| match reply {
            Message::Bye(bye) => {
                assert_eq!(bye.code == Code::VERSION, bye.text.contains("version 1"));
                bye.code
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(code, expected, "{hello:?}");
        assert_eq!(world.wires[&conn].finished, expected.is_some());
    }
    let mut open = World::new(quiet());
    let conn = open.accept("192.0.2.1:1");
    open.say(conn, &Message::Hello(Hello { tlvs: token(b"sesame"), ..raw_hello(1) }));
    assert_eq!(open.bye_code(conn), Some(Code::DENIED), "it believes to be in a closed cluster");
}

#[test]
fn grease_is_sent_and_harmless() {
    let mut world = World::new(Config::default());
    let conn = world.accept("192.0.2.1:1");
    world.say(conn, &hello(1));
    let Message::Hello(ours) = world.one(conn) else { panic!() };
    assert_eq!(ours.agent(), Some(tracker::AGENT));
    assert!(ours.tlvs.iter().any(|tlv| (0xEE00..=0xEEFF).contains(&tlv.tag.0)));
    let hello_len = Message::Hello(ours).to_frame().len();
    assert!(world.wires[&conn].bytes > hello_len, "and a frame that nobody knows");
}

#[test]
fn violations_end_the_session_with_one_reason() {
    let mut world = World::new(quiet());
    let open = protocol::message::Open { channel: protocol::ChannelId(0), object: object(1) };
    let cases: Vec<(Vec<u8>, Code)> = vec![
        (hello(1).to_frame(), Code::BAD_STATE),
        (Message::Open(open).to_frame(), Code::BAD_STATE),
        (vec![0x7F, 0, 0, 0], Code::UNKNOWN_TYPE),
        (vec![0x29, 0, 0, 0], Code::UNKNOWN_TYPE),
        (vec![0x20, 0, 0, 1, 0], Code::LIMIT),
        (vec![0x23, 0xFF, 0xFF, 0xFF], Code::LIMIT),
        (vec![0x27, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], Code::MALFORMED),
        (vec![0x2A, 0, 0, 10, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0], Code::BAD_STATE),
        (publish(0, 1, "x", 1).to_frame(), Code::BAD_STATE),
    ];
    for (index, (bytes, code)) in cases.into_iter().enumerate() {
        let conn = world.peer(10 + u8::try_from(index).unwrap());
        world.bytes(conn, &bytes);
        assert_eq!(world.bye_code(conn), Some(code), "{bytes:?}");
        assert!(world.wires[&conn].finished);
        // Deaf from now on, and gone after two seconds.
        world.bytes(conn, &publish(1, 1, "x", 1).to_frame());
        assert_eq!(world.take(conn), []);
        world.pass(Duration::from_secs(2));
        assert!(world.wires[&conn].closed);
    }
    let summary = world.tracker.summary(world.now);
    assert_eq!((summary.connections, summary.names), (0, 0));
}

#[test]
fn what_is_tolerated_is_not_punished() {
    let mut world = World::new(quiet());
    let conn = world.peer(1);
    world.bytes(conn, &[0x80, 0, 0, 3, 1, 2, 3]);
    world.bytes(conn, &[0xEE, 0, 0, 0]);
    world.say(conn, &Message::Noop);
    assert_eq!(world.take(conn), []);
    assert_eq!(world.find_name(conn, "x", 0), Err(Code::NOT_FOUND), "and it goes on");
}

#[test]
fn silence_and_dripping_have_deadlines() {
    let mut world = World::new(quiet());
    let mute = world.accept("192.0.2.1:1");
    let dripper = world.accept("192.0.2.2:1");
    for byte in &hello(2).to_frame()[..9] {
        world.bytes(dripper, &[*byte]);
        world.pass(Duration::from_secs(1));
    }
    assert!(!world.wires[&mute].closed && !world.wires[&dripper].closed);
    world.pass(Duration::from_secs(1));
    assert!(world.wires[&mute].closed && world.wires[&dripper].closed, "ten seconds for HELLO");
    assert_eq!(world.wires[&mute].bytes + world.wires[&dripper].bytes, 0);

    // A frame that stops, and one that drips for ever.
    let (stalled, drips, quiet) = (world.peer(3), world.peer(4), world.peer(5));
    world.bytes(stalled, &[0x22, 0, 1, 0]);
    world.bytes(drips, &[0x22, 0, 1, 0]);
    for second in 0..60 {
        assert!(!world.wires[&drips].finished, "{second}");
        world.pass(Duration::from_secs(1));
        world.bytes(drips, &[0]);
        let ended = world.wires[&stalled].finished;
        assert_eq!(ended, second >= 29, "{second}");
    }
    assert_eq!(world.bye_code(stalled), Some(Code::TIMEOUT));
    assert_eq!(world.bye_code(drips), Some(Code::TIMEOUT));

    // Whoever is merely quiet hears NOOPs, and is dead after ninety seconds.
    world.pass(Duration::from_secs(29));
    let noops = world.take(quiet);
    assert!(noops.iter().all(|message| *message == Message::Noop) && noops.len() == 2);
    assert!(!world.wires[&quiet].finished);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.bye_code(quiet), Some(Code::TIMEOUT));
}

#[test]
fn a_peer_that_does_not_read_is_held_back_and_then_closed() {
    let mut world = World::new(quiet());
    for node in 1..=100 {
        world.holder(node, &[(object(1), Holding::Partial)]);
    }
    let conn = world.peer(200);
    world.wires.get_mut(&conn).unwrap().stuck = true;
    let key = FindKey::Object(object(1));
    let find = Message::Find(Find { rid: RequestId(1), want: 100, key }).to_frame();
    let flood = find.repeat(5_000);
    world.bytes(conn, &flood);
    let sent = world.wires[&conn].bytes;
    assert!(sent > 200 << 10 && sent < 300 << 10, "{sent} bytes for {} asked", flood.len());
    assert!(world.wires[&conn].paused, "[T-6]");
    // Reading for a while lets it go on where it was.
    world.event(Event::Flushed { conn });
    let more = world.wires[&conn].bytes;
    assert!(more > sent + (200 << 10) && more < sent + (300 << 10));
    world.pass(Duration::from_secs(29));
    assert!(!world.wires[&conn].closed);
    world.pass(Duration::from_secs(1));
    assert!(world.wires[&conn].closed, "[T-52]");

    // Somebody who reads gets all of it.
    let conn = world.peer(201);
    world.bytes(conn, &flood);
    assert_eq!(world.take(conn).len(), 5_000);
    assert!(!world.wires[&conn].paused);
}

#[test]
fn publishes_without_end_wait_for_the_disk_not_in_memory() {
    let mut world = World::new(quiet());
    world.commit = false;
    let conn = world.peer(1);
    let flood: Vec<u8> =
        (1..=3_000).flat_map(|n| publish(n, 1, &format!("n{n}"), 1).to_frame()).collect();
    world.bytes(conn, &flood);
    assert!(world.wires[&conn].paused);
    assert_eq!(world.tasks[0].1.writes.len(), 1_024);
    while !world.tasks.is_empty() {
        world.commit_one();
    }
    assert!(!world.wires[&conn].paused);
    let rids: Vec<_> = world
        .take(conn)
        .into_iter()
        .map(|reply| match reply {
            Message::Status(status) => (status.rid.0, status.code),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: Vec<_> = (1..=3_000).map(|n| (n, Code::OK)).collect();
    assert_eq!(rids, expected);
}

#[test]
fn too_many_connections_get_a_reason_and_then_nothing() {
    let mut world = World::new(Config { max_conns: 3, max_per_ip: 2, ..quiet() });
    let _served = [world.peer_from(1, "192.0.2.1:1"), world.peer_from(2, "192.0.2.1:2")];
    let same_ip = world.accept("192.0.2.1:3");
    world.say(same_ip, &hello(3));
    assert!(
        matches!(world.wires[&same_ip].inbox[..], [Message::Hello(_), Message::Bye(_)]),
        "[T-7]"
    );
    assert_eq!(world.bye_code(same_ip), Some(Code::OVERLOADED));
    world.event(Event::Closed { conn: same_ip, cause: reactor::CloseCause::Finished });
    let other_ip = world.peer_from(4, "192.0.2.2:1");
    let too_many = world.accept("192.0.2.3:1");
    world.say(too_many, &hello(5));
    assert_eq!(world.bye_code(too_many), Some(Code::OVERLOADED));
    // Those who are told why count too, but not without end.
    let mut dropped = 0;
    for port in 1..100 {
        let conn = world.accept(&format!("192.0.2.1:{port}"));
        dropped += usize::from(world.wires[&conn].closed);
    }
    assert_eq!(dropped, 99 - 8);
    // Room comes back, also within one IPv6 network.
    world.say(other_ip, &Message::Bye(Bye { code: Code::OK, text: String::new() }));
    world.pass(Duration::from_secs(12));
    assert!(world.tracker.summary(world.now).connections <= 3);
    world.peer_from(6, "[2001:db8::1]:1");
}

#[test]
fn a_clean_stop_waits_for_the_disk_and_says_goodbye() {
    let mut world = World::new(quiet());
    world.commit = false;
    let (writer, other, fresh) = (world.peer(1), world.peer(2), world.accept("192.0.2.9:1"));
    world.say(writer, &publish(1, 1, "a", 1));
    world.event(Event::ShutdownRequested);
    assert!(!world.exited);
    world.commit_one();
    assert!(world.exited);
    let last = world.take(writer);
    assert!(matches!(&last[0], Message::Status(status) if status.code == Code::OK));
    assert!(matches!(&last[1], Message::Bye(bye) if bye.code == Code::SHUTDOWN));
    assert_eq!(world.bye_code(other), Some(Code::SHUTDOWN));
    assert_eq!(world.wires[&fresh].bytes, 0);

    // A disk that hangs does not hold it for more than a moment.
    let mut world = World::new(quiet());
    world.commit = false;
    let writer = world.peer(1);
    world.say(writer, &publish(1, 1, "a", 1));
    world.event(Event::ShutdownRequested);
    world.now = world.now + Duration::from_millis(1_500);
    world.event(Event::Deadline);
    assert!(world.exited);
    assert_eq!(world.bye_code(writer), Some(Code::SHUTDOWN), "and no OK");
}

#[test]
fn any_bytes_cut_anywhere_end_in_replies_or_an_end() {
    // Valid requests, mutated and cut at random: no panic, every reply decodes, nothing stays behind.
    let mut rng = Rng::new(11);
    let valid: Vec<u8> = [
        hello(1),
        common::announce(true, &[(object(1), Holding::Complete)]),
        publish(3, 1, "some/name", 1),
        common::unpublish(4, 1, "some/name"),
        Message::Noop,
        Message::Find(Find { rid: RequestId(5), want: 9, key: FindKey::Object(object(1)) }),
    ]
    .iter()
    .flat_map(Message::to_frame)
    .collect();
    let mut world = World::new(Config::default());
    for round in 0..3_000 {
        let conn = world.accept("192.0.2.1:1");
        let mut bytes = valid.clone();
        for _ in 0..rng.index(4) {
            let at = 36 + rng.index(bytes.len() - 36);
            bytes[at] = u8::try_from(rng.below(256)).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && !world.wires[&conn].closed {
            let (head, tail) = rest.split_at(1 + rng.index(rest.len().min(80)));
            world.bytes(conn, head);
            rest = tail;
        }
        if !world.wires[&conn].closed && round % 2 == 0 {
            world.event(Event::RemoteFinished { conn });
        }
        world.pass(Duration::from_secs(1));
        world.wires.get_mut(&conn).unwrap().inbox.clear();
    }
    world.pass(Duration::from_secs(300));
    assert_eq!(world.tracker.summary(world.now).connections, 0);
}
