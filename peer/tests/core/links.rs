//! Who is connected to whom: dials, duplicates, bans, room.

use std::net::SocketAddr;
use std::time::Duration;

use peer::disk::{StoreOutcome, Task};
use protocol::message::{Block, Request};

use crate::rig::{LARGER, Rig, SMALLER, addr, manifest};

/// Fetching, with one seed at `addr(2)` that has given the manifest.
fn begun(pieces: u32) -> (Rig, reactor::ConnId) {
    let manifest = manifest(pieces);
    let mut rig = Rig::fetching(&manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    rig.seed(conn, &manifest);
    rig.give_manifest(conn, &manifest);
    rig.prepared(&manifest);
    (rig, conn)
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
