//! Trackers that are not there, go away, and come back.

use std::time::Duration;

use peer::tracker_client::{Answer, TrackerClient, TrackerEvent};
use protocol::message::{Bye, FindKey};
use protocol::{Code, Holding, Message, NodeId, PublisherKey};

use crate::script::{Script, TRACKER, lease, object, record, status};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_tracker_that_comes_back_soon_is_found_soon_and_knows_us() {
    let mut script = Script::in_session();
    script.client.set_holding(object(1), Holding::Complete);
    script.pump();
    let announce = script.announces().remove(0);
    script.say(&status(announce.rid, Code::OK, 0));
    script.client.set_holding(object(2), Holding::Complete);
    script.pump();
    assert_eq!(script.announces().len(), 1); // Not acknowledged.
    script.cut();
    assert!(!script.client.is_up());
    let events = script.events();
    let [TrackerEvent::Down { retry, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert!(*retry < SECOND);
    assert_eq!(script.redial(), *retry);
    script.client.set_holding(object(3), Holding::Partial);
    script.greet(TRACKER);
    let beat = script.beats()[0];
    // It may have forgotten nothing: it hears what it may have missed, and what is new.
    assert_eq!(beat.objects, 1);
    let announces = script.announces();
    assert!(announces.len() == 1 && !announces[0].reset);
    let objects: Vec<_> = announces[0].entries.iter().map(|entry| entry.object).collect();
    assert_eq!(objects, [object(2), object(3)]);
    script.say(&lease(beat.rid, false));
    assert!(matches!(&script.events()[..], [TrackerEvent::Up { .. }, TrackerEvent::Lease(_)]));
}

#[test]
fn a_tracker_that_was_started_anew_is_told_everything() {
    let mut script = Script::in_session();
    script.client.set_holding(object(1), Holding::Complete);
    script.client.set_holding(object(2), Holding::Complete);
    script.pump();
    let announce = script.announces().remove(0);
    script.say(&status(announce.rid, Code::OK, 0));
    script.cut();
    script.redial();
    script.greet(NodeId([8; 16]));
    let announces = script.announces();
    assert!(announces.len() == 1 && announces[0].reset && announces[0].entries.len() == 2);
}

#[test]
fn open_asks_are_sent_again_once_and_answered_once() {
    let mut script = Script::new(&["127.0.0.1:7000"]);
    let early = script.client.find(FindKey::Object(object(1)), 0);
    script.start();
    script.welcome(TRACKER);
    let late = script.client.publish(record("a"), PublisherKey([1; 16]), 0);
    let gone = script.client.summary();
    script.pump();
    script.client.forget(gone);
    assert_eq!(script.heard().len(), 4); // BEAT, FIND, PUBLISH, SUMMARY_REQUEST
    script.cut();
    script.redial();
    script.welcome(TRACKER);
    script.pump();
    script.events();
    let heard = script.heard();
    let [Message::Beat(_), Message::Find(find), Message::Publish(publish)] = heard.as_slice()
    else {
        panic!("{heard:?}")
    };
    for rid in [find.rid, publish.rid, find.rid] {
        script.say(&status(rid, Code::NOT_FOUND, 0));
    }
    let asks: Vec<_> = script.events().into_iter().map(answered).collect();
    assert_eq!(asks, [early, late]);
    script.pump();
    assert!(script.heard().is_empty());
}

fn answered(event: TrackerEvent) -> peer::tracker_client::Ask {
    match event {
        TrackerEvent::Answer { ask, answer: Answer::Status(_) } => ask,
        other => panic!("{other:?}"),
    }
}

#[test]
fn waits_grow_to_half_a_minute_and_shrink_after_a_steady_session() {
    let mut script = Script::new(&["127.0.0.1:7000"]);
    script.start();
    let ranges = [(0, 1_000), (500, 1_000), (1_000, 2_000), (2_000, 4_000), (4_000, 8_000)];
    let last = [(8_000, 16_000), (15_000, 30_000), (15_000, 30_000), (15_000, 30_000)];
    for (low, high) in ranges.into_iter().chain(last) {
        script.refuse();
        let waited = script.redial().as_millis();
        assert!((low..=high).contains(&waited), "[T-23]: {waited} ms, not {low} to {high}");
    }
    assert_eq!(script.downs().len(), 1, "an outage is told once");
    // A session that lasted changes that, one that did not does not.
    script.welcome(TRACKER);
    script.cut();
    assert!(script.redial() >= 15 * SECOND);
    script.welcome(TRACKER);
    for _ in 0..2 {
        script.wake();
        let beat = script.beats().pop().unwrap();
        script.say(&lease(beat.rid, false));
    }
    script.cut();
    assert!(script.redial() < SECOND);
    // A new outage, and a new reason in it, are told again.
    script.refuse();
    let downs = script.downs();
    assert_eq!(downs.len(), 3, "{downs:?}");
    assert_eq!(downs[2].1, "nobody listens there");
}

#[test]
fn a_crowd_does_not_come_back_at_once() {
    let mut waits: Vec<_> = (0..200)
        .map(|seed| {
            let mut script = Script::with(crate::script::settings(&["127.0.0.1:7000"]), seed);
            script.start();
            script.welcome(TRACKER);
            script.cut();
            script.redial()
        })
        .collect();
    waits.sort();
    for tenth in 0..10 {
        let range = SECOND * tenth / 10..SECOND * (tenth + 1) / 10;
        let count = waits.iter().filter(|wait| range.contains(wait)).count();
        assert!((8..=35).contains(&count), "{count} in {range:?}");
    }
}

#[test]
fn all_addresses_of_all_trackers_are_tried_in_order() {
    let mut script = Script::new(&["one:1", "two:2", "one:1"]);
    script.start();
    assert_eq!(script.looked_up, ["one:1"]);
    script.resolved("other:9", Ok(&["10.0.0.9:9"]));
    script.resolved("one:1", Ok(&["10.0.0.1:1", "[::1]:1"]));
    script.refuse();
    script.refuse();
    assert_eq!(script.looked_up, ["one:1", "two:2"]);
    script.resolved("two:2", Err("no such host"));
    let down = |address: &str, why: &str| (address.to_owned(), why.to_owned());
    let expected = [down("one:1", "nobody listens there"), down("two:2", "no such host")];
    assert_eq!(script.downs(), expected);
    // The next round asks for the names again, and the one that works is kept.
    script.wake();
    script.resolved("one:1", Ok(&[]));
    script.resolved("two:2", Ok(&["10.0.0.2:2"]));
    script.welcome(TRACKER);
    assert!(script.events().contains(&TrackerEvent::Up { address: "two:2".to_owned() }));
    script.cut();
    script.wake();
    assert_eq!(script.looked_up[2..], ["one:1", "two:2", "two:2"]);
    let dialed: Vec<_> = script.dialed.iter().map(|(_, address)| address.as_str()).collect();
    assert_eq!(dialed, ["10.0.0.1:1", "[::1]:1", "10.0.0.2:2"]);
}

#[test]
fn a_lookup_that_hangs_is_not_repeated_and_counts_when_it_comes() {
    let mut script = Script::new(&["slow:1", "127.0.0.1:7000"]);
    script.start();
    assert_eq!(script.wake(), 10 * SECOND);
    assert_eq!(script.dialed.len(), 1); // The second one has its turn.
    script.refuse();
    script.wake();
    assert_eq!(script.wake(), 10 * SECOND);
    assert_eq!(script.looked_up, ["slow:1"]);
    script.refuse();
    script.resolved("slow:1", Ok(&["10.0.0.1:1"]));
    assert_eq!(script.dialed.len(), 2);
    script.wake();
    assert_eq!(script.dialed[2].1, "10.0.0.1:1");
    assert_eq!(script.looked_up, ["slow:1"]);
}

#[test]
fn without_trackers_nothing_happens() {
    let mut script = Script::new(&[]);
    script.client.summary();
    script.start();
    script.pump();
    assert!(script.dialed.is_empty() && script.client.deadline().is_none());
    script.call(TrackerClient::leave);
    assert!(script.client.has_left());
}

#[test]
fn one_that_says_bye_is_left_alone_for_as_long_as_it_means() {
    for (code, low, high) in
        [(Code::SHUTDOWN, 0, 1_000), (Code::OVERLOADED, 2_000, 4_000), (Code(999), 0, 1_000)]
    {
        let mut script = Script::in_session();
        let conn = script.conn();
        script.say(&Message::Bye(Bye { code, text: "x\ny".to_owned() }));
        assert_eq!(script.closed, [conn]);
        assert!(script.heard().is_empty(), "BYE is not answered");
        let why = script.downs().remove(0).1;
        assert!(why.contains("x y"), "{why}");
        let waited = script.redial().as_millis();
        assert!((low..=high).contains(&waited), "{waited} ms after {code}");
    }
}
