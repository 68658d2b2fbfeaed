//! Fair turns, fresh pieces first, limits that hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peer::uploads::{SessionKey, Uploads};
use proptest::prelude::*;
use protocol::ChannelId;
use protocol::limits::MANIFEST_PIECE;
use protocol::message::{Block, Request};
use reactor::Time;

use super::millis;

const BLOCK: u32 = 64 << 10;
/// One channel per session is enough here, and the swarm is the same for all.
const CHANNEL: ChannelId = ChannelId(0);
const SWARM: u32 = 1;

fn request(piece: u32, block: u32) -> Request {
    Request { block: Block { channel: CHANNEL, piece, begin: block * BLOCK }, len: BLOCK }
}

/// Queues all four blocks of a piece.
fn push_piece(uploads: &mut Uploads, session: u64, piece: u32) {
    (0..4).for_each(|block| uploads.push(SessionKey(session), SWARM, request(piece, block)));
}

/// Serves one block, which leaves at once.
fn next(uploads: &mut Uploads) -> Option<(u64, Request)> {
    let (session, swarm, request) = uploads.next(Time::ZERO, &mut |_| true)?;
    assert_eq!(swarm, SWARM);
    uploads.drained(Time::ZERO, session);
    Some((session.0, request))
}

fn drain(uploads: &mut Uploads) -> Vec<(u64, u32)> {
    std::iter::from_fn(|| next(uploads))
        .map(|(session, request)| (session, request.block.piece))
        .collect()
}

#[test]
fn each_piece_is_sent_once_before_any_is_sent_twice() {
    let mut uploads = Uploads::new(None);
    // Ten peers that all ask for the same twenty pieces, each in another order.
    for session in 0..10 {
        (0..20).for_each(|n| push_piece(&mut uploads, session, (n * 7 + session as u32) % 20));
    }
    let order = drain(&mut uploads);
    assert_eq!(order.len(), 10 * 20 * 4);
    let firsts: BTreeSet<_> = order[..20 * 4].iter().map(|(_, piece)| *piece).collect();
    assert_eq!(firsts.len(), 20, "the first twenty pieces that leave are all different");
    for four in order.chunks(4) {
        assert!(four.iter().all(|block| *block == four[0]), "a piece is not cut apart: {four:?}");
    }
}

/// Session 1 was sent a hundred pieces, and session 2 waits for the same.
fn one_ahead_one_behind() -> Uploads {
    let mut uploads = Uploads::new(None);
    (0..100).for_each(|piece| push_piece(&mut uploads, 1, piece));
    drain(&mut uploads);
    (0..100).for_each(|piece| push_piece(&mut uploads, 2, piece));
    uploads
}

/// Bytes that one session may be ahead of another, to take what was never sent.
const FIRST_LEAD: u64 = 1 << 20;

#[test]
fn who_wants_what_was_never_sent_does_not_wait_for_those_who_want_it_again() {
    let mut uploads = one_ahead_one_behind();
    // The first one asks for what is new.
    (100..104).for_each(|piece| push_piece(&mut uploads, 1, piece));
    let order = drain(&mut uploads);
    assert!(order[..4 * 4].iter().all(|(session, _)| *session == 1), "{:?}", &order[..4 * 4]);
}

#[test]
fn what_somebody_else_was_sent_meanwhile_hides_nothing_that_was_never_sent() {
    let mut uploads = one_ahead_one_behind();
    (100..104).for_each(|piece| push_piece(&mut uploads, 1, piece));
    (0..2 * 4).for_each(|_| assert_eq!(next(&mut uploads).unwrap().0, 1));
    push_piece(&mut uploads, 3, 102);
    let order = drain(&mut uploads);
    assert_eq!((order[0], order[4]), ((3, 102), (1, 103)), "{:?}", &order[..8]);
}

#[test]
fn what_was_never_sent_takes_no_more_than_its_lead() {
    let mut uploads = one_ahead_one_behind();
    (100..300).for_each(|piece| push_piece(&mut uploads, 1, piece));
    let mut shares = BTreeMap::from([(1, 0_u64), (2, 0)]);
    for _ in 0..400 {
        let (session, request) = next(&mut uploads).unwrap();
        *shares.entry(session).or_default() += u64::from(request.len);
        let ahead = shares[&1].saturating_sub(shares[&2]);
        assert!(ahead <= FIRST_LEAD + u64::from(BLOCK), "{shares:?}");
    }
    assert!(shares[&2] >= 190 * u64::from(BLOCK), "{shares:?}");
}

#[test]
fn a_begun_piece_goes_on_when_its_blocks_come_late() {
    let mut uploads = Uploads::new(None);
    uploads.push(SessionKey(1), SWARM, request(5, 0));
    push_piece(&mut uploads, 1, 6);
    let served: Vec<_> =
        (0..2).filter_map(|_| next(&mut uploads)).map(|(_, r)| r.block.piece).collect();
    assert_eq!(served, [5, 6]);
    (1..4).for_each(|block| uploads.push(SessionKey(1), SWARM, request(5, block)));
    push_piece(&mut uploads, 1, 7);
    let order: Vec<_> = drain(&mut uploads).into_iter().map(|(_, piece)| piece).collect();
    assert_eq!(order, [6, 6, 6, 5, 5, 5, 7, 7, 7, 7]);
}

#[test]
fn the_manifest_goes_first() {
    let mut uploads = Uploads::new(None);
    push_piece(&mut uploads, 1, 0);
    push_piece(&mut uploads, 2, 1);
    uploads.push(SessionKey(2), SWARM, request(MANIFEST_PIECE, 0));
    assert_eq!(drain(&mut uploads)[0], (2, MANIFEST_PIECE));
}

fn jain(shares: &BTreeMap<u64, u64>) -> f64 {
    let n = shares.len() as f64;
    let sum: f64 = shares.values().map(|share| *share as f64).sum();
    let squares: f64 = shares.values().map(|share| (*share as f64).powi(2)).sum();
    sum * sum / (n * squares)
}

#[test]
fn turns_are_fair_whatever_is_asked_for() {
    let mut uploads = Uploads::new(None);
    let mut shares = BTreeMap::new();
    let mut pieces = 0;
    for _ in 0..4_000 {
        // Some ask for one small block at a time, some for a whole lot, some for what all want.
        for session in 0..8_u64 {
            while uploads.queued(SessionKey(session)) < [1, 2, 4, 200][session as usize % 4] {
                let piece = if session < 4 { pieces % 100 } else { pieces };
                let len = if session % 2 == 0 { 16 << 10 } else { 1 << 20 };
                let block = Block { channel: CHANNEL, piece, begin: 0 };
                uploads.push(SessionKey(session), SWARM, Request { block, len });
                pieces += 1;
            }
        }
        let (session, request) = next(&mut uploads).unwrap();
        *shares.entry(session).or_default() += u64::from(request.len);
    }
    assert_eq!(shares.len(), 8);
    assert!(jain(&shares) >= 0.99, "{shares:?}");
}

#[test]
fn who_cannot_send_is_passed_over_and_saves_nothing_up() {
    let mut uploads = Uploads::new(None);
    (0..40).for_each(|piece| {
        push_piece(&mut uploads, 1, piece);
        push_piece(&mut uploads, 2, 100 + piece);
    });
    let mut only_2 = |session| session == SessionKey(2);
    for _ in 0..80 {
        assert_eq!(uploads.next(Time::ZERO, &mut only_2).unwrap().0, SessionKey(2));
        uploads.drained(Time::ZERO, SessionKey(2));
    }
    let mut shares: BTreeMap<u64, u64> = BTreeMap::new();
    (0..64)
        .filter_map(|_| next(&mut uploads))
        .for_each(|(session, _)| *shares.entry(session).or_default() += 1);
    assert!(shares[&1].abs_diff(shares[&2]) <= 8, "{shares:?}");
    assert_eq!(uploads.next(Time::ZERO, &mut |_| false), None);
    // A newcomer starts where the others are.
    push_piece(&mut uploads, 3, 500);
    push_piece(&mut uploads, 3, 501);
    let turns: Vec<_> =
        (0..24).filter_map(|_| next(&mut uploads)).map(|(session, _)| session).collect();
    assert!(turns.iter().filter(|session| **session == 3).count() == 8, "{turns:?}");
}

#[test]
fn the_limit_holds_within_five_percent() {
    let limit = 10_000_000;
    let mut uploads = Uploads::new(Some(limit));
    assert_eq!(uploads.deadline(Time::ZERO), None);
    let (mut now, mut sent, mut pieces) = (millis(1_000), 0, 0);
    let end = now + Duration::from_secs(20);
    while now < end {
        if uploads.queued(SessionKey(1)) == 0 {
            push_piece(&mut uploads, 1, pieces);
            pieces += 1;
        }
        match uploads.next(now, &mut |_| true) {
            Some((_, _, request)) => sent += u64::from(request.len),
            None => {
                let due = uploads.deadline(now).unwrap();
                assert!(due > now);
                now = due;
            }
        }
    }
    assert!(sent.abs_diff(limit * 20) <= limit, "{sent}");
}

/// Sessions that are served a block at `now`, until there is no slot or nobody left.
fn served(uploads: &mut Uploads, now: Time) -> Vec<u64> {
    let next = |uploads: &mut Uploads| uploads.next(now, &mut |_| true);
    std::iter::from_fn(|| next(uploads)).map(|(session, _, _)| session.0).collect()
}

#[test]
fn a_piece_leaves_as_a_whole_before_the_next_session_gets_one() {
    let mut uploads = Uploads::new(None);
    for session in 1..=3 {
        push_piece(&mut uploads, session, session as u32);
        push_piece(&mut uploads, session, 10 + session as u32);
    }
    assert_eq!(served(&mut uploads, Time::ZERO), [1; 4]);
    uploads.push(SessionKey(3), SWARM, request(MANIFEST_PIECE, 0));
    assert_eq!(served(&mut uploads, Time::ZERO), [3], "a manifest waits for no slot");
    uploads.drained(Time::ZERO, SessionKey(3));
    assert!(served(&mut uploads, Time::ZERO).is_empty(), "one piece at a time");
    uploads.drained(Time::ZERO, SessionKey(1));
    assert_eq!(served(&mut uploads, Time::ZERO), [2; 4]);
    // Who is gone holds no slot.
    uploads.drop_session(SessionKey(2));
    assert_eq!(served(&mut uploads, Time::ZERO), [3; 4]);
}

#[test]
fn who_does_not_read_holds_nobody_up_for_long() {
    let mut uploads = Uploads::new(None);
    push_piece(&mut uploads, 1, 0);
    assert_eq!(served(&mut uploads, millis(1_000)), [1; 4]);
    for piece in 0..10 {
        push_piece(&mut uploads, 2, piece);
        push_piece(&mut uploads, 3, 10 + piece);
    }
    let due = uploads.deadline(millis(1_000)).expect("others wait");
    assert_eq!(due, millis(1_030), "a piece that goes out over a usual link is not cut apart");
    assert!(served(&mut uploads, millis(1_029)).is_empty());
    // Nothing has gone for a moment: somebody else may, and then one after the other.
    assert_eq!(served(&mut uploads, due), [2; 4]);
    for turn in 1..6 {
        let (last, next) = if turn % 2 == 0 { (3, 2) } else { (2, 3) };
        // All before it is tried whether two at a time would be more.
        let now = due + Duration::from_millis(15 * turn);
        uploads.drained(now, SessionKey(last));
        assert_eq!(served(&mut uploads, now), [next; 4]);
    }
}

#[test]
fn who_is_passed_in_the_first_moment_is_not_called_slow() {
    for (took, slow) in [(199, false), (401, true)] {
        let mut uploads = Uploads::new(None);
        for session in 1..=3 {
            (0..4).for_each(|piece| push_piece(&mut uploads, session, 10 * session as u32 + piece));
        }
        assert_eq!(served(&mut uploads, millis(1_000)), [1; 4]);
        assert_eq!(served(&mut uploads, millis(1_030)), [2; 4], "nobody can tell what is slow yet");
        let now = millis(1_000 + took);
        assert_eq!(uploads.is_slow(now, SessionKey(1)), slow, "{took} ms");
        uploads.drained(now, SessionKey(1));
        uploads.drained(now, SessionKey(2));
        assert_eq!(uploads.is_slow(now, SessionKey(1)), slow, "{took} ms");
        assert!(!uploads.is_slow(now, SessionKey(2)), "{took} ms");
    }
}

#[test]
fn who_takes_far_longer_than_usual_holds_nobody_up() {
    let mut uploads = Uploads::new(None);
    for piece in 0..100 {
        (2..6).for_each(|session| push_piece(&mut uploads, session, 100 * session as u32 + piece));
    }
    // One after the other, 20 ms each; now and then two, to see whether that is more.
    let mut begun = millis(1_000);
    for turn in 0.. {
        let mut busy = served(&mut uploads, begun);
        busy.dedup();
        if busy == [1] {
            break;
        }
        assert!(turn < 60 && !busy.is_empty(), "{turn} {busy:?}");
        begun = begun + Duration::from_millis(20 * busy.len() as u64);
        busy.iter().for_each(|session| uploads.drained(begun, SessionKey(*session)));
        if turn == 40 {
            // The next one takes its turn like anybody, but does not read.
            push_piece(&mut uploads, 1, 500);
            push_piece(&mut uploads, 1, 501);
        }
    }
    let due = uploads.deadline(begun).expect("its slot will not be held for ever");
    assert_eq!(due, begun + Duration::from_millis(100), "nobody is late earlier");
    assert!(served(&mut uploads, due - Duration::from_millis(1)).is_empty());
    let next = served(&mut uploads, due)[0];
    assert_ne!(next, 1);
    // At last it has read. It is known now: its next piece holds nobody up at all.
    let now = due + Duration::from_millis(100);
    uploads.drained(now, SessionKey(next));
    uploads.drained(now, SessionKey(1));
    for turn in 1.. {
        let now = now + Duration::from_millis(20 * turn);
        let mut busy = served(&mut uploads, now);
        busy.dedup();
        if busy.contains(&1) {
            assert!(busy.len() > 1, "{busy:?}");
            break;
        }
        assert!(turn < 10, "turns are fair");
        busy.iter().for_each(|session| uploads.drained(now, SessionKey(*session)));
    }
}

#[test]
fn a_slow_way_out_is_not_taken_for_slow_readers() {
    // A piece takes longer than it takes until somebody who reads nothing is noticed at first.
    let (busy, bytes) = served_over(30, 60, 200_000, 10_000_000);
    assert!(busy <= 2 && bytes >= 11_000_000, "{busy} {bytes}");
}

/// Serves `sessions` for so many seconds, with a way out of `up` bytes per second that they share, and
/// none of them taking more than `each`. How many were served at a time in the end, and the bytes.
fn served_over(sessions: u64, seconds: u64, up: u64, each: u64) -> (usize, u64) {
    let mut uploads = Uploads::new(None);
    let mut left: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut pieces, mut bytes) = (0, 0);
    for ms in 0..seconds * 1_000 {
        for session in
            (0..sessions).filter(|at| uploads.queued(SessionKey(*at)) == 0).collect::<Vec<_>>()
        {
            push_piece(&mut uploads, session, pieces % 1_000);
            pieces += 1;
        }
        let now = millis(1_000 + ms);
        let busy = left.len().max(1) as u64;
        for (session, left) in &mut left {
            let gone = (up / busy).min(each) / 1_000;
            *left = left.saturating_sub(gone);
            if *left == 0 {
                uploads.drained(now, SessionKey(*session));
            }
        }
        left.retain(|_, left| *left > 0);
        while let Some((session, _, request)) =
            uploads.next(now, &mut |session| left.get(&session.0).is_none_or(|left| *left < 65_536))
        {
            *left.entry(session.0).or_default() += u64::from(request.len);
            bytes += u64::from(request.len);
        }
    }
    (left.len(), bytes)
}

#[test]
fn as_many_are_served_as_fill_the_way_out() {
    // One alone takes all that we have: there is nothing to win by serving two.
    let (busy, bytes) = served_over(30, 30, 10_000_000, 10_000_000);
    assert!(busy <= 2 && bytes >= 290_000_000, "{busy} {bytes}");
    // It takes eight to fill the way out.
    let (busy, bytes) = served_over(30, 30, 16_000_000, 2_000_000);
    assert!((6..=14).contains(&busy) && bytes >= 380_000_000, "{busy} {bytes}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// What is pushed leaves exactly once, through one of the doors. [U1]
    #[test]
    fn nothing_is_lost_or_served_twice(ops in prop::collection::vec((0_u8..10, 0_u64..4, 0_u32..6, 0_u32..3), 0..300)) {
        let mut uploads = Uploads::new(None);
        let mut waiting: BTreeSet<(u64, Block)> = BTreeSet::new();
        for (op, session, piece, at) in ops {
            let block = Block { channel: ChannelId(at), piece, begin: at * BLOCK };
            let key = SessionKey(session);
            match op {
                0..=3 => if waiting.insert((session, block)) {
                    uploads.push(key, at, Request { block, len: BLOCK });
                },
                4 => prop_assert_eq!(uploads.cancel(key, block), waiting.remove(&(session, block))),
                5 if piece == 0 => {
                    uploads.drop_session(key);
                    waiting.retain(|(of, _)| *of != session);
                }
                6 if piece == 0 => {
                    uploads.drop_channel(key, ChannelId(at));
                    waiting.retain(|(of, block)| *of != session || block.channel.0 != at);
                }
                7 if piece == 0 => uploads.drop_swarm(at),
                _ => {
                    let mut can_send = |session: SessionKey| session.0 != u64::from(piece);
                    let served = uploads.next(Time::ZERO, &mut can_send);
                    let could = waiting.iter().any(|(of, _)| *of != u64::from(piece));
                    prop_assert_eq!(served.is_some(), could);
                    if let Some((of, swarm, request)) = served {
                        uploads.drained(Time::ZERO, of);
                        prop_assert_eq!(swarm, request.block.channel.0);
                        prop_assert!(waiting.remove(&(of.0, request.block)));
                    }
                }
            }
            for session in 0..4 {
                let expected = waiting.iter().filter(|(of, _)| *of == session).count();
                prop_assert_eq!(uploads.queued(SessionKey(session)), expected);
            }
        }
    }
}
