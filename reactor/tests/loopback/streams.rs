//! Bytes in both directions, and the ways in which a stream ends.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use reactor::{Action, CloseCause, CloseReason, Options};

use crate::rig::{Rig, Seen, fill, noise, send};

#[test]
fn flushed_comes_once_each_time_the_queue_becomes_empty() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.act(move |out| {
        out.send(conn, b"one ".to_vec());
        out.send(conn, Vec::new());
        out.send(conn, b"two".to_vec());
    });
    assert_eq!(rig.read(&mut remote, 7, 7), b"one two");
    rig.until(|probe| probe.has(Seen::Flushed(conn)));
    rig.settle();
    assert_eq!(rig.probe().count(|seen| *seen == Seen::Flushed(conn)), 1);
    let big = noise(6 << 20);
    let sent = big.clone();
    rig.act(move |out| out.send(conn, sent));
    for _ in 0..5 {
        rig.turn();
        assert_eq!(rig.probe().count(|seen| *seen == Seen::Flushed(conn)), 1, "nobody reads yet");
    }
    let (turns, begun) = (rig.reactor.stats().turns, rig.reactor.now());
    while rig.reactor.now().since(begun) < Duration::from_millis(60) {
        rig.turn();
    }
    assert!(rig.reactor.stats().turns - turns < 10, "a full socket keeps the loop busy");
    assert!(rig.read(&mut remote, big.len(), 100_000) == big);
    rig.settle();
    assert_eq!(rig.probe().count(|seen| *seen == Seen::Flushed(conn)), 2);
}

#[test]
fn paused_bytes_wait_and_come_without_a_new_event() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.act(move |out| out.push(Action::PauseReading { conn }));
    rig.settle();
    remote.write_all(b"later").unwrap();
    rig.settle();
    assert_eq!(rig.probe().received(conn), b"");
    rig.act(move |out| out.push(Action::ResumeReading { conn }));
    rig.until(|probe| probe.received(conn) == b"later");
}

#[test]
fn a_pause_in_the_middle_of_reading_holds_at_once() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.react(move |seen, _, out| {
        if seen == Seen::Received(conn) {
            out.push(Action::PauseReading { conn });
        }
    });
    let chunk = noise(1 << 16);
    let mut sent = fill(&mut remote, &chunk);
    for n in 1..4 {
        rig.until(|probe| probe.count(|seen| *seen == Seen::Received(conn)) == n);
        rig.settle();
        sent += fill(&mut remote, &chunk);
        rig.settle();
        assert_eq!(rig.probe().count(|seen| *seen == Seen::Received(conn)), n);
        rig.act(move |out| out.push(Action::ResumeReading { conn }));
    }
    rig.react(|_, _, _| {});
    rig.act(move |out| out.push(Action::ResumeReading { conn }));
    rig.until(|probe| probe.received(conn).len() == sent);
}

#[test]
fn the_remote_finishes_first_and_still_gets_everything() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    let data = noise(5 << 20);
    let answer = data.clone();
    rig.react(move |seen, _, out| {
        if seen == Seen::RemoteFinished(conn) {
            out.send(conn, answer.clone());
            out.push(Action::Finish { conn });
            // Nothing may follow our end; the driver ignores it.
            out.send(conn, b"too late".to_vec());
        }
    });
    remote.write_all(b"question").unwrap();
    remote.shutdown(Shutdown::Write).unwrap();
    assert!(rig.read_to_end(&mut remote) == data);
    rig.until(|probe| probe.has(Seen::Closed(conn, CloseCause::Finished)));
    let tail: Vec<_> =
        rig.probe().seen.iter().skip_while(|s| **s != Seen::Received(conn)).collect();
    let order = [
        Seen::Received(conn),
        Seen::RemoteFinished(conn),
        Seen::Flushed(conn),
        Seen::Closed(conn, CloseCause::Finished),
    ];
    assert!(tail.iter().copied().eq(&order), "{tail:?}");
}

#[test]
fn the_machine_finishes_first_and_still_hears_everything() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.act(move |out| {
        out.send(conn, b"that is all".to_vec());
        out.push(Action::Finish { conn });
    });
    assert_eq!(rig.read_to_end(&mut remote), b"that is all");
    let data = noise(3 << 20);
    let mut left = &data[..];
    rig.drive(|_| {
        if let Ok(count) = remote.write(left) {
            left = &left[count..];
        }
        left.is_empty()
    });
    drop(remote);
    rig.until(|probe| probe.has(Seen::Closed(conn, CloseCause::Finished)));
    assert!(rig.probe().received(conn) == data);
    assert_eq!(rig.probe().count(|seen| *seen == Seen::RemoteFinished(conn)), 1);
}

#[test]
fn a_reset_is_told_after_the_last_words() {
    // Too little for all of them in one turn, so that writing meets the reset before they are read.
    let mut rig = Rig::with(Options { read_budget: 3, ..Options::default() });
    let (mut remote, conn) = rig.accept();
    rig.act(move |out| out.send(conn, b"never read".to_vec()));
    rig.until(|probe| probe.has(Seen::Flushed(conn)));
    remote.write_all(b"last words").unwrap();
    // Closing with unread bytes resets the connection.
    drop(remote);
    rig.act(move |out| out.send(conn, noise(1 << 20)));
    rig.until(|probe| probe.has(Seen::Closed(conn, CloseCause::Reset)));
    assert_eq!(rig.probe().received(conn), b"last words");
    rig.settle();
    assert_eq!(rig.probe().seen.last(), Some(&Seen::Closed(conn, CloseCause::Reset)));
    assert!(!rig.probe().has(Seen::RemoteFinished(conn)), "a reset is not an end in order");
}

#[test]
fn after_close_nothing_is_heard_of_a_connection() {
    let mut rig = Rig::new();
    let (mut one, a) = rig.accept();
    let (mut two, b) = rig.accept();
    // Whoever is heard first closes both; the other's event is in the same batch.
    rig.react(move |seen, _, out| {
        if matches!(seen, Seen::Received(_)) {
            out.close(b, CloseReason::Done);
            out.close(a, CloseReason::Done);
            out.push(send(a, b"to nobody"));
        }
    });
    one.write_all(b"1").unwrap();
    two.write_all(b"2").unwrap();
    rig.until(|probe| probe.count(|seen| matches!(seen, Seen::Received(_))) > 0);
    rig.settle();
    assert!(matches!(rig.probe().seen.last(), Some(Seen::Received(_))));
    assert_eq!(rig.probe().count(|seen| matches!(seen, Seen::Received(_))), 1);
    assert_eq!(rig.reactor.stats().stale_actions, 1);
    // The slots are used again; the ids are not.
    let (_remote, c) = rig.accept();
    assert!(c > a && c > b);
}
