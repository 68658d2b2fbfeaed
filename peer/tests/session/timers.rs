//! When a session speaks by itself and when it gives up, second by second.

use std::time::Duration;

use protocol::Code;
use protocol::message::Window;

use super::*;

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// Wakes the session whenever it wants until `end`; when it gave up.
fn run(session: &mut Session, mut now: Time, end: Time) -> Option<(Time, Violation)> {
    while session.deadline() <= end {
        now = now.max(session.deadline());
        if let Err(violation) = session.on_deadline(now) {
            return Some((now, violation));
        }
        assert!(session.deadline() > now, "a deadline that does not move at {now:?}");
    }
    None
}

#[test]
fn a_hello_is_waited_for_ten_seconds() {
    for side in [Side::Dialer, Side::Acceptor] {
        let mut session = session(side);
        feed_bytes(&mut session, at(9), &[0x01, 0, 0]).unwrap();
        let (when, violation) = run(&mut session, Time::ZERO, at(60)).unwrap();
        assert_eq!((when, violation.code()), (at(10), None), "[H-11]");
    }
}

#[test]
fn silence_of_ours_is_filled_and_of_theirs_punished() {
    let mut session = ready();
    let (when, violation) = run(&mut session, Time::ZERO, at(1000)).unwrap();
    assert_eq!((when, violation.code()), (at(90), Some(Code::TIMEOUT)), "[F-19]");
    assert_eq!(sent(&mut session), [Message::Noop, Message::Noop], "[F-17], at 30 and 60 seconds");

    let mut session = ready();
    session.note_progress_out(at(20));
    assert_eq!(run(&mut session, Time::ZERO, at(49)), None);
    assert_eq!(session.take_output(), None);
    assert_eq!(run(&mut session, Time::ZERO, at(50)), None);
    assert_eq!(sent(&mut session), [Message::Noop]);
}

#[test]
fn frames_must_go_on() {
    let mut session = ready();
    feed_bytes(&mut session, at(5), &[0x12, 0]).unwrap();
    let (when, violation) = run(&mut session, at(5), at(1000)).unwrap();
    assert_eq!((when, violation.code()), (at(35), Some(Code::TIMEOUT)), "[F-20]");
}

#[test]
fn frames_must_not_trickle() {
    let mut session = ready();
    // A HAVE of 64 KiB, of which a byte comes each second.
    feed_bytes(&mut session, at(1), &[0x13, 0, 0xFF, 0xFC]).unwrap();
    let gave_up = (2..200).find_map(|second| {
        feed_bytes(&mut session, at(second), &[0]).unwrap();
        run(&mut session, at(second), at(second))
    });
    let (when, violation) = gave_up.unwrap();
    assert_eq!((when, violation.code()), (at(31), Some(Code::TIMEOUT)), "[F-27]");
}

#[test]
fn frames_that_come_at_the_least_speed_are_not_ended() {
    let mut session = live();
    let mut frame = vec![0x13, 0, 0xFF, 0xFC, 0, 0, 0, 1];
    frame.resize(4 + 0xFFFC, 0);
    // 2,048 bytes a second take longer than a frame may stand still.
    for (second, part) in (0..).zip(frame.chunks(2_048)) {
        assert!(feed_bytes(&mut session, at(second), part).is_ok());
        assert_eq!(run(&mut session, at(second), at(second + 1)), None, "[F-27], {second} s");
    }
}

#[test]
fn slow_but_steady_data_is_fine() {
    let mut session = live();
    let len = 1 << 20;
    assert!(session.request(Request { block: block(1), len }));
    let frame = data(block(1), &vec![0; len as usize]);
    // 4 KiB a second: over four minutes for one block.
    for (second, part) in frame.chunks(4096).enumerate() {
        let now = at(second as u64);
        feed_bytes(&mut session, now, part).unwrap();
        assert_eq!(run(&mut session, now, now), None);
    }
    assert_eq!(session.open_requests(), 0);
}

#[test]
fn while_we_do_not_read_nobody_is_silent() {
    let mut session = ready();
    feed_bytes(&mut session, at(5), &[0x12, 0]).unwrap();
    session.note_reading_paused(at(6), true);
    assert_eq!(run(&mut session, at(6), at(500)), None);
    session.note_reading_paused(at(500), false);
    let (when, _) = run(&mut session, at(500), at(1000)).unwrap();
    assert_eq!(when, at(530));
}

#[test]
fn bye_is_given_two_seconds() {
    let mut session = ready();
    session.bye(Code::OK, "");
    assert_eq!(session.on_deadline(at(100)), Ok(()));
    assert_eq!(session.closing_since(), Some(at(100)));
    let (when, violation) = run(&mut session, at(100), at(200)).unwrap();
    assert_eq!((when, violation.code()), (at(102), None), "[F-22]");
}

#[test]
fn early_and_repeated_wake_ups_change_nothing() {
    let mut session = live();
    for second in 0..30 {
        assert_eq!(session.on_deadline(at(second)), Ok(()));
    }
    assert_eq!(session.take_output(), None);
    feed(&mut session, &[Message::Window(Window { requests: 1 })]).unwrap();
    assert_eq!(session.deadline(), at(30));
}
