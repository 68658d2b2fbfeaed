//! Who is connected to whom: dials, duplicates, bans, room.

use std::net::SocketAddr;
use std::time::Duration;

use peer::disk::{StoreOutcome, Task, TaskResult};
use peer::job::Job;
use protocol::Message;
use protocol::limits::MANIFEST_PIECE;
use protocol::message::{Block, Holdings, Request};
use reactor::Event;

use crate::rig::{LARGER, Rig, SMALLER, addr, by_name, fetch, manifest, record};

fn begun(pieces: u32) -> (Rig, reactor::ConnId) {
    Rig::begun(&manifest(pieces), |_| {})
}

#[test]
fn who_sent_wrong_data_is_not_dialed_while_it_is_banned() {
    let (mut rig, conn) = begun(4);
    for request in rig.requests(conn) {
        rig.data(conn, request, &vec![8; request.len as usize]);
    }
    rig.store(StoreOutcome::Mismatch);
    assert_eq!(rig.bye(conn), Some(protocol::Code::BAD_DATA), "[P-49]");
    rig.cut(conn);
    rig.sleep(Duration::from_secs(500));
    assert!(rig.dialed.is_empty(), "[P-55]: it is banned for 600 s");
    let again = rig.accept(9, LARGER);
    assert_eq!(rig.bye(again), Some(protocol::Code::DENIED), "[P-55]: from wherever it comes");
    rig.cut(again);
    rig.sleep(Duration::from_secs(200));
    assert_eq!(rig.dialed.len(), 1, "it gets another chance");
}

#[test]
fn of_two_connections_that_one_node_dialed_the_newer_stays() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[]);
    for node in [SMALLER, LARGER] {
        let old = rig.accept(2, node);
        let new = rig.accept(2, node);
        assert_eq!(rig.bye(old), Some(protocol::Code::DUPLICATE), "{node:?}");
        assert_eq!(rig.bye(new), None, "{node:?}");
    }
}

#[test]
fn of_two_connections_the_one_that_the_smaller_node_dialed_stays() {
    for (node, ours_stays) in [(SMALLER, false), (LARGER, true)] {
        // Whichever comes first.
        for accepted_first in [false, true] {
            let mut rig = Rig::fetching(&manifest(4), &[addr(2)]);
            let (theirs, ours) = if accepted_first {
                (rig.accept(2, node), rig.connect(node))
            } else {
                let ours = rig.connect(node);
                (rig.accept(2, node), ours)
            };
            let (kept, ended) = if ours_stays { (ours, theirs) } else { (theirs, ours) };
            assert_eq!(rig.bye(ended), Some(protocol::Code::DUPLICATE), "[H-17], {node:?}");
            assert_eq!(rig.bye(kept), None, "[H-17], {node:?}");
        }
    }
}

#[test]
fn addresses_that_can_not_be_a_peers_are_not_dialed() {
    let peers = ["10.0.0.2:0", "0.0.0.0:4000", "[::]:4000", "224.0.0.1:4000", "[ff02::1]:4000"];
    let mut peers: Vec<SocketAddr> = peers.map(|peer| peer.parse().unwrap()).to_vec();
    peers.push(addr(3));
    let mut rig = Rig::fetching(&manifest(4), &peers);
    rig.sleep(Duration::from_secs(60));
    assert!(rig.dialed.iter().all(|(_, remote)| *remote == addr(3)), "[T-10]: {:?}", rig.dialed);
    assert!(!rig.dialed.is_empty());
}

#[test]
fn who_can_not_write_goes_on_reading() {
    let (mut rig, conn) = begun(4);
    let channel = rig.opened(conn).unwrap();
    rig.stuck = true;
    // Requests whose refusals can't leave, and between them what we are waiting for.
    for piece in 0..100 {
        let block = Block { channel, piece: piece % 4, begin: piece };
        let request = Request { block, len: 1 };
        assert!(rig.tell(conn, |session| session.request(request)));
    }
    for request in rig.requests(conn) {
        rig.data(conn, request, &vec![7; request.len as usize]);
    }
    assert!(rig.paused.is_empty(), "[F-15]");
    assert!(rig.tasks.iter().any(|task| matches!(task, Task::Store { .. })), "[F-15]");
    assert_eq!(rig.bye(conn), None);
}

#[test]
fn strangers_do_not_keep_us_from_dialing() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[]);
    for stranger in 0..60 {
        rig.accept(3, protocol::NodeId([100 + stranger; 16]));
    }
    rig.peers = vec![addr(2)];
    rig.sleep(Duration::from_secs(5));
    assert_eq!(rig.dialed.len(), 1);
}

#[test]
fn a_manifest_that_is_refused_is_asked_of_somebody_else() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2), addr(3)]);
    let conns = [rig.connect(SMALLER), rig.connect(LARGER)];
    for conn in conns {
        rig.seed(conn, &manifest);
    }
    let mut refused = 0;
    for _ in 0..20 {
        for request in rig.requests(conns[0]) {
            rig.tell(conns[0], |session| session.reject(request.block, protocol::Code::NO_PIECE))
                .unwrap();
            refused += 1;
        }
        rig.sleep(Duration::from_millis(300));
    }
    assert_eq!(refused, 1, "it is not asked again and again");
    assert_eq!(rig.requests(conns[1]).len(), 1);
}

/// Lets time pass, in which the remote says that it is there, and nothing else.
fn pass(rig: &mut Rig, conn: reactor::ConnId, seconds: u64) {
    for _ in 0..seconds {
        rig.sleep(Duration::from_secs(1));
        if rig.remotes.get(&conn).is_some_and(|remote| !remote.closed) {
            rig.event(Event::Received { conn, bytes: &Message::Noop.to_frame() });
        }
    }
}

/// Fetching, with so few places for connections, from a seed that gave the manifest and is then silent.
fn crowded(max_peers: usize) -> (Rig, reactor::ConnId) {
    Rig::begun(&manifest(4), |config| config.max_peers = max_peers)
}

#[test]
fn a_silent_seed_gives_way_when_it_holds_the_last_place() {
    let (mut rig, silent) = crowded(1);
    assert!(!rig.requests(silent).is_empty());
    rig.peers.push(addr(3));
    // Long enough for the tracker to be asked again.
    pass(&mut rig, silent, 90);
    assert_eq!(rig.bye(silent), Some(protocol::Code::OVERLOADED));
    rig.cut(silent);
    let dialed: Vec<_> = rig.dialed.iter().map(|(_, remote)| *remote).collect();
    assert_eq!(dialed, [addr(3)], "the other one comes first");
}

#[test]
fn who_does_not_serve_the_object_gives_way_when_it_holds_the_last_place() {
    let manifest = manifest(4);
    let jobs = vec![Job::Fetch(fetch(by_name()))];
    let mut rig = Rig::with(jobs, Some(record(&manifest)), &[addr(2)], |config| {
        config.max_peers = 1;
    });
    let other = rig.connect(LARGER);
    let channel = rig.opened(other).expect("the peer opens a channel");
    rig.tell(other, |session| session.close_channel(channel, protocol::Code::NOT_FOUND));
    rig.peers.push(addr(3));
    pass(&mut rig, other, 90);
    assert_eq!(rig.bye(other), Some(protocol::Code::OVERLOADED));
}

/// As in the simulator's seed 130090326: a seeder that was restarted is asked while it still hashes.
#[test]
fn who_does_not_serve_the_object_yet_is_asked_again_on_the_same_link() {
    let mut rig = Rig::fetching(&manifest(4), &[addr(2)]);
    let seeder = rig.connect(LARGER);
    let mut before = rig.opened(seeder).expect("the peer opens a channel");
    for _ in 0..5 {
        rig.tell(seeder, |session| session.close_channel(before, protocol::Code::NOT_FOUND));
        rig.sleep(Duration::from_millis(4_900));
        assert_eq!(rig.opened(seeder), Some(before), "nobody is asked on and on");
        rig.sleep(Duration::from_millis(500));
        let channel = rig.opened(seeder).expect("the peer opens a channel");
        assert_ne!(channel, before);
        before = channel;
    }
    assert!(rig.dialed.is_empty(), "there is a link already");
}

#[test]
fn nobody_gives_way_while_there_is_room_or_nobody_else_to_ask() {
    for (max_peers, others) in [(2, vec![addr(3)]), (1, vec![])] {
        let (mut rig, silent) = crowded(max_peers);
        rig.peers.extend(others);
        pass(&mut rig, silent, 90);
        assert_eq!(rig.bye(silent), None, "{max_peers}");
    }
}

#[test]
fn a_seed_that_goes_on_giving_does_not_give_way() {
    let (mut rig, giver) = crowded(1);
    rig.peers.push(addr(3));
    for request in rig.requests(giver) {
        pass(&mut rig, giver, 20);
        rig.data(giver, request, &vec![7; request.len as usize]);
        assert_eq!(rig.bye(giver), None);
    }
}

#[test]
fn a_stranger_of_no_use_gives_way_to_another() {
    let manifest = manifest(4);
    let jobs = vec![Job::Fetch(fetch(by_name()))];
    let mut rig = Rig::with(jobs, Some(record(&manifest)), &[], |config| config.max_peers = 1);
    let first = rig.accept(3, protocol::NodeId([100; 16]));
    pass(&mut rig, first, 20);
    let second = rig.accept(4, protocol::NodeId([101; 16]));
    let third = rig.accept(4, protocol::NodeId([102; 16]));
    assert!(!rig.remotes[&second].closed && rig.remotes[&third].closed, "no room so soon");
    pass(&mut rig, first, 15);
    let fourth = rig.accept(4, protocol::NodeId([103; 16]));
    assert!(rig.remotes[&first].closed, "it was there longest");
    assert!(!rig.remotes[&second].closed && !rig.remotes[&fourth].closed);
}

/// A stranger asks for the manifest of four pieces, and from now on nothing leaves.
fn asks_and_does_not_read(rig: &mut Rig) -> reactor::ConnId {
    let manifest = manifest(4);
    let slow = rig.accept(3, protocol::NodeId([100; 16]));
    let channel = rig.tell(slow, |session| session.open(manifest.id())).unwrap();
    rig.tell(slow, |session| session.send_bitmap(channel, 0, 0, &Holdings::None));
    rig.stuck = true;
    let block = Block { channel, piece: MANIFEST_PIECE, begin: 0 };
    let len = u32::try_from(manifest.bytes().len()).unwrap();
    assert!(rig.tell(slow, |session| session.request(Request { block, len })));
    slow
}

#[test]
fn a_stranger_that_has_not_read_everything_yet_does_not_give_way() {
    let (mut rig, _) = crowded(1);
    let slow = asks_and_does_not_read(&mut rig);
    pass(&mut rig, slow, 40);
    let other = rig.accept(4, protocol::NodeId([101; 16]));
    assert!(!rig.remotes[&slow].closed && rig.remotes[&other].closed);
}

#[test]
fn who_does_not_read_is_not_waited_for_at_the_end() {
    for (waits, waited_for) in [(Duration::ZERO, true), (Duration::from_secs(1), false)] {
        let (mut rig, seed) = begun(4);
        let slow = asks_and_does_not_read(&mut rig);
        rig.sleep(waits);
        rig.event(Event::ShutdownRequested);
        let at = rig.tasks.iter().position(|task| matches!(task, Task::Release { .. }));
        let Some(Task::Release { fetch, .. }) = rig.tasks.remove(at.unwrap()) else { panic!() };
        rig.done(TaskResult::Released { fetch });
        assert!(rig.exited);
        assert_eq!(rig.bye(seed), Some(protocol::Code::SHUTDOWN), "{waits:?}");
        assert_eq!(
            rig.bye(slow),
            waited_for.then_some(protocol::Code::SHUTDOWN),
            "[F-24], {waits:?}"
        );
        assert_eq!(rig.remotes[&slow].closed, !waited_for, "{waits:?}");
    }
}
