//! Sessions in which nothing goes wrong.

use std::time::Duration;

use peer::tracker_client::{Answer, MAX_ASKS, Settings, TrackerClient, TrackerEvent};
use protocol::message::{FindKey, Page, PageEntry, Status, Summary, Swarm, TlvTag};
use protocol::{
    Code, Holding, Message, PeerAddr, PublisherKey, RequestId, holdings_digest, limits,
};

use crate::script::{Script, TRACKER, lease, object, record, settings, status};

const KEY: PublisherKey = PublisherKey([3; 16]);

#[test]
fn says_hello_then_beats_then_tells_all_it_holds() {
    let mut script = Script::with(
        Settings {
            token: Some(b"secret".to_vec()),
            advertise: Some("10.0.0.1:5".parse().unwrap()),
            agent: format!("{}ä", "x".repeat(63)),
            ..settings(&["127.0.0.1:7000"])
        },
        1,
    );
    script.client.set_holding(object(1), Holding::Complete);
    script.start();
    assert_eq!(script.dialed[0].1, "127.0.0.1:7000");
    script.connected();
    let Message::Hello(hello) = script.heard().remove(0) else { panic!("no HELLO") };
    assert_eq!((hello.listen, hello.tlv(TlvTag::CLUSTER_TOKEN)), (4_000, Some(&b"secret"[..])));
    assert_eq!(hello.agent().unwrap(), "x".repeat(63));
    assert_eq!(hello.advertised().unwrap().addr, "10.0.0.1:5".parse().unwrap());
    assert!(hello.tlvs.last().unwrap().tag >= TlvTag(0xEE00), "no grease");
    script.say(&Message::Hello(crate::script::hello(TRACKER)));
    assert_eq!(script.skipped, 1, "no grease frame");
    let heard = script.heard();
    let [Message::Beat(beat), Message::Announce(announce)] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert!(announce.reset && announce.entries.len() == 1);
    assert_eq!(script.events(), [TrackerEvent::Stranger], "up before the tracker took us in");
    script.say(&lease(beat.rid, false));
    let events = script.events();
    let up = TrackerEvent::Up { address: "127.0.0.1:7000".to_owned() };
    assert!(matches!(events.as_slice(), [first, TrackerEvent::Lease(_)] if *first == up));
    assert!(script.client.is_up());
}

#[test]
fn beats_at_the_given_interval_with_a_digest_of_what_was_told() {
    let mut script = Script::in_session();
    for _ in 0..20 {
        let waited = script.wake();
        let beat = script.beats()[0];
        script.heard();
        assert!((16..24).contains(&waited.as_secs()), "[T-12]: {waited:?}");
        script.say(&lease(beat.rid, false));
    }
    script.client.set_holding(object(1), Holding::Partial);
    script.client.set_totals(1, 2, 3);
    script.pump();
    let announce = script.announces().remove(0);
    assert!(!announce.reset);
    script.say(&status(announce.rid, Code::OK, 0));
    script.wake();
    let beat = script.beats()[0];
    assert_eq!((beat.free, beat.sent, beat.received), (1, 2, 3));
    let digest = holdings_digest([(object(1), Holding::Partial)]);
    assert_eq!((beat.objects, beat.digest), (1, digest));
}

#[test]
fn a_long_interval_is_filled_with_noops_and_a_mad_one_is_bounded() {
    let mut script = Script::in_session();
    script.sleep(Duration::from_secs(18));
    if script.beats().is_empty() {
        script.wake();
    }
    let rid = script.beats()[0].rid;
    let Message::Lease(mut bad) = lease(rid, false) else { unreachable!() };
    script.heard();
    bad.interval_s = 300;
    script.say(&Message::Lease(bad));
    assert_eq!(script.wake(), limits::NOOP_AFTER);
    assert_eq!(script.heard(), [Message::Noop]);
    // An interval of 0 is taken for the shortest.
    let mut script = Script::new(&["127.0.0.1:7000"]);
    script.start();
    script.greet(TRACKER);
    bad.interval_s = 0;
    bad.rid = script.beats()[0].rid;
    script.say(&Message::Lease(bad));
    assert!(script.wake() >= Duration::from_secs(12));
}

#[test]
fn sync_is_answered_with_everything_unless_that_is_on_its_way() {
    let mut script = Script::new(&["127.0.0.1:7000"]);
    script.client.set_holding(object(1), Holding::Complete);
    script.start();
    script.greet(TRACKER);
    let first = script.beats()[0].rid;
    assert_eq!(script.answer_announces().len(), 1);
    script.say(&lease(first, true));
    assert!(script.answer_announces().is_empty(), "told twice");
    script.wake();
    let second = script.beats()[0].rid;
    script.heard();
    script.say(&lease(second, true));
    let announces = script.answer_announces();
    assert!(announces.len() == 1 && announces[0].reset);
    // A tracker that believes in holdings that we do not have hears so.
    script.client.set_holding(object(1), Holding::Dropped);
    script.pump();
    script.answer_announces();
    script.wake();
    let third = script.beats()[0].rid;
    script.heard();
    script.say(&lease(third, true));
    let announces = script.answer_announces();
    assert!(announces[0].reset && announces[0].entries.is_empty());
}

#[test]
fn every_ask_gets_its_own_answer() {
    let mut script = Script::in_session();
    let key = FindKey::Name { version: 0, name: "a".to_owned() };
    let find = script.client.find(key, 2);
    let list = script.client.list("p".to_owned(), "pa".to_owned(), 9_999);
    let publish = script.client.publish(record("a"), KEY, 0);
    let unpublish = script.client.unpublish("b".to_owned(), KEY);
    let summary = script.client.summary();
    let forgotten = script.client.summary();
    script.pump();
    script.client.forget(forgotten);
    let rids: Vec<RequestId> = script.heard().iter().map(rid_of).collect();
    assert!(rids.is_sorted_by(|a, b| a < b) && rids[0] != RequestId(0));
    let peer = PeerAddr { holding: Holding::Complete, addr: "10.0.0.1:5".parse().unwrap() };
    let mut swarm =
        Swarm { rid: rids[0], complete: 3, partial: 0, record: record("a"), peers: vec![peer; 3] };
    script.say(&Message::Swarm(swarm.clone()));
    let entry = PageEntry { complete: 1, partial: 0, record: record("pb") };
    let page = Page { rid: rids[1], more: true, entries: vec![entry] };
    script.say(&Message::Page(page.clone()));
    let ok = Status { rid: rids[2], code: Code::OK, retry_ms: 0, text: "4".to_owned() };
    script.say(&Message::Status(ok.clone()));
    let no =
        Status { rid: rids[3], code: Code::NOT_OWNER, retry_ms: 0, text: "no\u{1b}[2J".into() };
    script.say(&Message::Status(no.clone()));
    let totals = Summary {
        rid: rids[4],
        uptime_s: 1,
        connections: 1,
        peers: 1,
        names: 1,
        versions: 1,
        objects: 1,
        holdings: 1,
        bytes: 1,
    };
    script.say(&Message::Summary(totals));
    script.say(&Message::Summary(Summary { rid: rids[5], ..totals }));
    script.say(&Message::Summary(Summary { rid: RequestId(77), ..totals }));
    swarm.peers.truncate(2); // As many as wanted.
    let clean = Status { text: "no [2J".to_owned(), ..no };
    let expected = [
        (find, Answer::Swarm(swarm)),
        (list, Answer::Page(page)),
        (publish, Answer::Status(ok)),
        (unpublish, Answer::Status(clean)),
        (summary, Answer::Summary(totals)),
    ];
    let expected = expected.map(|(ask, answer)| TrackerEvent::Answer { ask, answer });
    assert_eq!(script.events(), expected);
    assert!(script.client.is_up());
}

fn rid_of(message: &Message) -> RequestId {
    match message {
        Message::Find(m) => m.rid,
        Message::List(m) => {
            assert_eq!(m.limit, limits::MAX_LIST_LIMIT);
            m.rid
        }
        Message::Publish(m) => m.rid,
        Message::Unpublish(m) => m.rid,
        Message::SummaryRequest(m) => m.rid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pushed_peers_are_told() {
    let mut script = Script::in_session();
    let peer = PeerAddr { holding: Holding::Partial, addr: "10.0.0.1:5".parse().unwrap() };
    let peers = vec![peer; 40];
    let record = record("a");
    script.say(&Message::Swarm(Swarm {
        rid: RequestId(0),
        complete: 1,
        partial: 1,
        record,
        peers,
    }));
    let events = script.events();
    let [TrackerEvent::Peers(swarm)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(swarm.peers.len(), limits::MAX_PUSH);
}

#[test]
fn an_ask_that_the_tracker_has_no_time_for_is_repeated_later() {
    let mut script = Script::in_session();
    let ask = script.client.find(FindKey::Object(object(1)), 0);
    script.pump();
    for retry_ms in [3_000, 0, u32::MAX] {
        let Message::Find(find) = script.heard().remove(0) else { panic!("no FIND") };
        script.say(&status(find.rid, Code::OVERLOADED, retry_ms));
        assert!(script.events().is_empty());
        let wait = match retry_ms {
            0 => 1_000,
            ms => u64::from(ms).min(300_000),
        };
        let waited = script.listen();
        let range = Duration::from_millis(wait)..=Duration::from_millis(wait + wait / 4 + 1);
        assert!(range.contains(&waited), "{waited:?} for {retry_ms}");
        script.events();
    }
    let Message::Find(find) = script.heard().remove(0) else { panic!("no FIND") };
    script.say(&status(find.rid, Code::NOT_FOUND, 0));
    let events = script.events();
    assert!(matches!(&events[..], [TrackerEvent::Answer { ask: of, .. }] if *of == ask));
}

#[test]
fn holdings_that_the_tracker_has_no_room_for_are_told_later() {
    let mut script = Script::in_session();
    script.client.set_holding(object(1), Holding::Complete);
    script.pump();
    let announce = script.announces().remove(0);
    script.say(&status(announce.rid, Code::OVERLOADED, 2_000));
    let waited = script.wake();
    assert!((2_000..=2_500).contains(&waited.as_millis()), "{waited:?}");
    let again = script.announces().remove(0);
    assert_eq!(again.entries, announce.entries);
    assert_ne!(again.rid, announce.rid);
}

#[test]
fn what_is_too_much_waits_its_turn() {
    let mut script = Script::in_session();
    for number in 0..MAX_ASKS {
        script.client.find(FindKey::Object(object(u32::try_from(number).unwrap())), 0);
    }
    assert_eq!(script.client.room(), 0);
    let refused = script.client.summary();
    let events = script.events();
    let [TrackerEvent::Answer { ask, answer: Answer::Status(busy) }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((*ask, busy.code), (refused, Code::BUSY));
    script.pump();
    let mut heard = script.heard();
    assert_eq!(heard.len(), 256);
    let mut answered = 0;
    while !heard.is_empty() {
        for message in &heard {
            script.say(&status(rid_of(message), Code::NOT_FOUND, 0));
            script.flush();
        }
        answered += heard.len();
        heard = script.heard();
    }
    assert_eq!((answered, script.events().len()), (MAX_ASKS, MAX_ASKS));
    // As long as the tracker does not read, little is queued.
    for number in 0..100_000 {
        script.client.set_holding(object(number), Holding::Complete);
    }
    script.pump();
    script.pump();
    let announces = script.announces();
    let mut entries: usize = announces.iter().map(|announce| announce.entries.len()).sum();
    assert!((1_985..=5 * 1_985).contains(&entries), "{entries}");
    while entries < 100_000 {
        script.flush();
        let announces = script.announces();
        assert!(!announces.is_empty(), "stuck");
        entries += announces.iter().map(|announce| announce.entries.len()).sum::<usize>();
        for announce in announces {
            script.say(&status(announce.rid, Code::OK, 0));
        }
    }
    assert_eq!(entries, 100_000);
}

#[test]
fn what_can_not_be_a_name_is_answered_at_once() {
    let mut script = Script::in_session();
    script.client.find(FindKey::Name { version: 0, name: "../x".to_owned() }, 1);
    script.client.unpublish(String::new(), KEY);
    script.client.publish(record("a@3"), KEY, 0);
    script.client.list("x".repeat(1_025), String::new(), 1);
    script.pump();
    assert!(script.heard().is_empty());
    let events = script.events();
    assert_eq!(events.len(), 4);
    for event in events {
        let TrackerEvent::Answer { answer: Answer::Status(status), .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!(status.code, Code::BAD_NAME);
    }
}

#[test]
fn leaves_with_a_word_and_waits_for_the_other_side() {
    let mut script = Script::in_session();
    let conn = script.conn();
    script.call(TrackerClient::leave);
    assert!(matches!(&script.heard()[..], [Message::Bye(bye)] if bye.code == Code::OK));
    assert_eq!(script.finished, [conn]);
    assert!(!script.client.has_left() && script.client.owns(conn));
    script.call(|client, now, out| client.on_remote_finished(now, conn, out));
    assert_eq!(script.closed, [conn]);
    assert!(script.client.has_left() && script.client.deadline().is_none());
    // A tracker that does not close its side is not waited for.
    let mut script = Script::in_session();
    script.call(TrackerClient::leave);
    assert_eq!(script.wake(), limits::BYE_LINGER);
    assert_eq!(script.closed.len(), 1);
    assert!(script.client.has_left() && script.events().is_empty());
    // Nothing is said to one that is not there yet.
    let mut script = Script::new(&["127.0.0.1:7000"]);
    script.start();
    script.call(TrackerClient::leave);
    assert!(script.heard().is_empty() && script.closed.len() == 1 && script.client.has_left());
}
