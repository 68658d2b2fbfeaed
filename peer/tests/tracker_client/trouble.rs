//! Trackers that are broken, hostile, silent, or none at all.

use std::time::Duration;

use peer::tracker_client::{MAX_TOKEN, Settings, TrackerEvent};
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::message::{
    Beat, Bye, FindKey, Hello, Page, PageEntry, Role, Status, Swarm, Tlv, TlvTag,
};
use protocol::{Code, Holding, Message, NodeId, RequestId, limits};

use crate::script::{Script, TRACKER, US, hello, lease, object, record, settings, status};

/// The code of the BYE that was heard last of all.
fn bye(script: &mut Script) -> Option<Code> {
    match script.heard().pop() {
        Some(Message::Bye(bye)) => Some(bye.code),
        _ => None,
    }
}

#[test]
fn what_breaks_the_protocol_gets_its_code_and_some_rest() {
    let beat = Beat { rid: RequestId(1), objects: 0, digest: 0, free: 0, sent: 0, received: 0 };
    let cases: [(&[u8], Code); 7] = [
        (&[0x21, 0, 0, 16], Code::LIMIT),
        (&[0x7F, 0, 0, 0], Code::UNKNOWN_TYPE),
        (&[0x80, 1, 0, 1], Code::LIMIT),
        (&[0x2A, 0, 0, 11, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xFF], Code::MALFORMED),
        (&Message::Hello(hello(TRACKER)).to_frame(), Code::BAD_STATE),
        (&Message::Beat(beat).to_frame(), Code::BAD_STATE),
        (&[0x15, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], Code::BAD_STATE),
    ];
    for (bytes, code) in cases {
        let mut script = Script::in_session();
        let conn = script.conn();
        script.say_bytes(bytes);
        assert_eq!(bye(&mut script), Some(code), "{bytes:x?}");
        assert_eq!((script.finished.as_slice(), script.closed.len()), (&[conn][..], 0));
        let (_, why) = script.downs().remove(0);
        assert!(why.starts_with("it breaks the protocol: "), "{why}");
        script.say_bytes(bytes); // Dropped.
        let waited = script.redial();
        assert!(waited >= Duration::from_secs(2), "{waited:?}");
        assert_eq!(script.closed, [conn]);
    }
}

// [T-58]
#[test]
fn answers_that_can_not_be_right_end_the_session() {
    let record = record("b");
    let entry = PageEntry { complete: 0, partial: 0, record: record.clone() };
    let page = |more, entries| Message::Page(Page { rid: RequestId(3), more, entries });
    let swarm = Swarm { rid: RequestId(2), complete: 0, partial: 0, record, peers: vec![] };
    let list_swarm = Message::Swarm(Swarm { rid: RequestId(3), ..swarm.clone() });
    let cases = [
        status(RequestId(2), Code::OK, 0),       // for FIND
        status(RequestId(3), Code::OK, 0),       // for LIST
        page(true, vec![]),                      // pages for ever
        page(false, vec![entry.clone(); 2]),     // does not ascend
        page(false, vec![entry.clone(), entry]), // more than asked for, too
        list_swarm,
        lease(RequestId(2), false),
        Message::Swarm(Swarm { rid: RequestId(4), ..swarm }), // for ANNOUNCE
    ];
    for case in cases {
        let mut script = Script::in_session();
        // Request ids: 1 was the BEAT.
        let find = script.client.find(FindKey::Object(object(1)), 0);
        script.pump();
        let list = script.client.list(String::new(), "a".to_owned(), 1);
        script.pump();
        script.client.set_holding(object(1), Holding::Complete);
        script.pump();
        script.heard();
        script.say(&case);
        assert_eq!(bye(&mut script), Some(Code::BAD_STATE), "{case:?}");
        // Nothing is lost by it.
        script.redial();
        script.greet(TRACKER);
        let heard = script.heard();
        let names: Vec<_> = heard.iter().map(Message::name).collect();
        assert_eq!(names, ["BEAT", "ANNOUNCE", "FIND", "LIST"]);
        assert!(script.events().iter().all(|event| !matches!(
            event,
            TrackerEvent::Answer { ask, .. } if *ask == find || *ask == list
        )));
    }
}

#[test]
fn answers_that_nobody_asked_for_are_ignored() {
    let mut script = Script::in_session();
    let find = script.client.find(FindKey::Object(object(1)), 0);
    script.pump();
    script.heard();
    let swarm = |rid| Swarm {
        rid: RequestId(rid),
        complete: 9,
        partial: 0,
        record: record("b"),
        peers: vec![],
    };
    // 1 was the BEAT, and is answered; 2 is the FIND.
    for rid in [1, 3, 77, u32::MAX] {
        script.say(&Message::Swarm(swarm(rid)));
        script.say(&status(RequestId(rid), Code::IO, 0));
        script.say(&lease(RequestId(rid), true));
    }
    assert_eq!((script.heard(), script.events().len()), (vec![], 0), "[T-4]");
    script.say(&Message::Swarm(swarm(2)));
    let answered =
        |event: &TrackerEvent| matches!(event, TrackerEvent::Answer { ask, .. } if *ask == find);
    assert!(script.events().iter().any(answered), "the session goes on");
}

#[test]
fn those_who_can_not_be_our_tracker_are_refused() {
    let token = |value: &[u8]| vec![Tlv { tag: TlvTag::CLUSTER_TOKEN, value: value.to_vec() }];
    let ours = |token: Option<&[u8]>| Settings {
        token: token.map(<[u8]>::to_vec),
        ..settings(&["127.0.0.1:7000"])
    };
    let base = hello(TRACKER);
    let cases = [
        (ours(None), Hello { version_min: 2, version_max: 9, ..base.clone() }, Code::VERSION),
        (ours(None), Hello { role: Role::Peer, ..base.clone() }, Code::WRONG_ROLE),
        (ours(None), Hello { tlvs: token(b"x"), ..base.clone() }, Code::DENIED),
        (ours(Some(b"y")), Hello { tlvs: token(b"x"), ..base.clone() }, Code::DENIED),
    ];
    for (settings, theirs, code) in cases {
        let mut script = Script::with(settings, 3);
        script.start();
        for _ in 0..3 {
            script.connected();
            script.say(&Message::Hello(theirs.clone()));
            assert_eq!(bye(&mut script), Some(code));
            let waited = script.redial();
            assert!(waited >= Duration::from_secs(15), "{waited:?}");
        }
        let events = script.events();
        let [TrackerEvent::Down { .. }, TrackerEvent::Refused { code: told, text }] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(*told, code);
        assert!(text.starts_with("tracker 127.0.0.1:7000: "), "{text}");
    }
    let mut script = Script::with(ours(Some(b"x")), 3);
    script.start();
    script.connected();
    script.say(&Message::Hello(Hello { tlvs: token(b"x"), ..base }));
    assert_eq!(script.beats().len(), 1);
    // Itself.
    let mut script = Script::new(&["127.0.0.1:7000"]);
    script.start();
    script.connected();
    script.say(&Message::Hello(hello(US)));
    assert_eq!(bye(&mut script), Some(Code::DUPLICATE));
    // A token that no HELLO has room for.
    let mut script = Script::with(ours(Some(&[b'x'; MAX_TOKEN + 1])), 3);
    script.start();
    assert!(script.dialed.is_empty());
    assert!(matches!(&script.events()[..], [TrackerEvent::Refused { code: Code::DENIED, .. }]));
}

#[test]
fn a_refusal_by_one_tracker_is_no_refusal_by_all() {
    let mut script = Script::new(&["127.0.0.1:1", "127.0.0.1:2"]);
    let refusal = Message::Bye(Bye { code: Code::DENIED, text: "no".to_owned() });
    script.start();
    script.connected();
    script.say(&Message::Hello(hello(TRACKER)));
    script.say(&refusal);
    assert_eq!(script.dialed.len(), 2);
    script.refuse();
    assert_eq!(script.downs().len(), 2);
    script.redial();
    script.connected();
    script.say(&Message::Hello(hello(TRACKER)));
    script.say(&refusal);
    script.connected();
    script.say(&Message::Hello(hello(NodeId([8; 16]))));
    script.say(&refusal);
    let events = script.events();
    assert!(matches!(events.last(), Some(TrackerEvent::Refused { code: Code::DENIED, .. })));
    // One that lets us in and then does not is left for the other at once.
    script.redial();
    script.refuse();
    script.welcome(TRACKER);
    script.say(&refusal);
    script.redial();
    assert_eq!(script.dialed.last().unwrap().1, "127.0.0.1:1");
}

#[test]
fn some_other_service_is_closed_without_a_word() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"SSH-2.0-", b"\x15\x03\x01\0\x02\x02F"] {
        let mut script = Script::new(&["127.0.0.1:80"]);
        script.start();
        script.connected();
        script.heard();
        let conn = script.conn();
        script.say_bytes(bytes);
        assert_eq!((script.heard().len(), script.closed.as_slice()), (0, &[conn][..]));
        assert_eq!(script.downs().len(), 1);
    }
}

#[test]
fn silence_of_each_kind_ends_at_its_time() {
    let second = Duration::from_secs(1);
    // No connection.
    let mut script = Script::new(&["127.0.0.1:7000"]);
    script.start();
    assert_eq!(script.wake(), 10 * second);
    assert_eq!(script.closed.len(), 1);
    // No HELLO.
    script.redial();
    script.connected();
    assert_eq!(script.parting(), (limits::HELLO_TIMEOUT, Code::TIMEOUT));
    // No LEASE.
    script.redial();
    script.greet(TRACKER);
    assert_eq!(script.parting(), (10 * second, Code::TIMEOUT));
    // A frame that stops halfway: its answer is overdue first.
    let mut script = Script::in_session();
    script.client.summary();
    script.pump();
    script.say_bytes(&[0x2C, 0]);
    assert_eq!(script.parting(), (10 * second, Code::TIMEOUT));
    // The same when nothing is asked.
    let mut script = Script::in_session();
    let Message::Lease(mut long) = lease(RequestId(0), false) else { unreachable!() };
    script.wake();
    long.rid = script.beats()[0].rid;
    long.interval_s = 300;
    script.say(&Message::Lease(long));
    script.say_bytes(&[0x2C, 0]);
    assert_eq!(script.parting(), (limits::FRAME_STALL, Code::TIMEOUT));
    // Nothing at all for long, and then the machine had slept.
    let mut script = Script::in_session();
    script.now = script.now + Duration::from_secs(6 * 3_600);
    script.wake();
    assert_eq!(bye(&mut script), Some(Code::TIMEOUT));
    assert!(script.redial() < second, "nothing is wrong with that tracker");
}

// [T-59]
#[test]
fn a_slow_tracker_that_answers_one_by_one_is_not_dead_but_one_that_skips_is() {
    let mut script = Script::in_session();
    for _ in 0..5 {
        script.client.summary();
    }
    script.pump();
    let rids: Vec<_> = script.heard().iter().filter_map(rid).collect();
    for rid in &rids[1..] {
        script.sleep(Duration::from_secs(9));
        script.say(&status(*rid, Code::BUSY, 0));
        for beat in script.beats() {
            script.say(&lease(beat.rid, false));
        }
        assert!(script.client.is_up());
    }
    script.heard();
    // The first one is never answered, whatever else is.
    for _ in 0..6 {
        if let Some(beat) = script.beats().last() {
            let rid = beat.rid;
            script.heard();
            script.say(&lease(rid, false));
        }
        if script.client.is_up() {
            script.wake();
        }
    }
    assert!(!script.client.is_up());
}

fn rid(message: &Message) -> Option<RequestId> {
    match message {
        Message::SummaryRequest(request) => Some(request.rid),
        _ => None,
    }
}

#[test]
fn a_beat_that_is_refused_is_repeated_or_ends_the_session() {
    let mut script = Script::new(&["127.0.0.1:7000"]);
    script.start();
    script.greet(TRACKER);
    let first = script.beats()[0].rid;
    script.heard();
    script.say(&status(first, Code::OVERLOADED, 4_000));
    assert!(!script.client.is_up());
    let waited = script.wake().as_millis();
    assert!((4_000..=5_000).contains(&waited), "{waited}");
    let second = script.beats()[0].rid;
    let full = Status { rid: second, code: Code::FULL, retry_ms: 0, text: "full".to_owned() };
    script.say(&Message::Status(full));
    assert_eq!(bye(&mut script), Some(Code::OK));
    assert_eq!(script.downs()[0].1, "it refuses us (FULL: full)");
}

/// Something that a broken or hostile tracker may send.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let frame = (any::<u8>(), vec(any::<u8>(), 0..60)).prop_map(|(kind, body)| {
        let len = u8::try_from(body.len()).unwrap();
        [vec![kind % 0x30, 0, 0, len], body].concat()
    });
    let answer = (0_u32..6, any::<u16>(), any::<u32>())
        .prop_map(|(rid, code, ms)| status(RequestId(rid), Code(code), ms).to_frame());
    let lease =
        (0_u32..6, any::<bool>()).prop_map(|(rid, sync)| lease(RequestId(rid), sync).to_frame());
    let hello = Just(Message::Hello(hello(TRACKER)).to_frame());
    prop_oneof![vec(any::<u8>(), 1..40), frame, answer, lease, hello]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes, cut anywhere, with time passing in between: no panic, no spinning, and without
    /// a living tracker it ends with no connection and a time for the next attempt.
    #[test]
    fn noise_never_harms(
        parts in vec((noise(), 0_u64..40, any::<prop::sample::Index>()), 0..12),
        greeted in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut script = Script::with(settings(&["127.0.0.1:7000"]), seed);
        script.client.find(FindKey::Object(object(1)), 3);
        script.client.list(String::new(), String::new(), 2);
        script.client.set_holding(object(1), Holding::Partial);
        script.start();
        script.connected();
        if greeted {
            script.say(&Message::Hello(hello(TRACKER)));
        }
        for (bytes, seconds, cut) in parts {
            let (front, back) = bytes.split_at(cut.index(bytes.len()));
            for bytes in [front, back].into_iter().filter(|bytes| !bytes.is_empty()) {
                if script.client.owns(script.conn()) {
                    script.say_bytes(bytes);
                }
            }
            let dialed = script.dialed.len();
            script.sleep(Duration::from_secs(seconds));
            if script.dialed.len() > dialed {
                script.connected();
            }
        }
        script.sleep(Duration::from_secs(200));
        prop_assert!(!script.client.is_up());
        prop_assert!(script.client.deadline().is_some());
        prop_assert_eq!(script.client.room(), peer::tracker_client::MAX_ASKS - 2
            + script.events().iter().filter(|e| matches!(e, TrackerEvent::Answer { .. })).count());
    }
}
