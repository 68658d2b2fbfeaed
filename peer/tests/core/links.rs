//! Who is connected to whom: dials, duplicates, bans, room.

use std::time::Duration;

use peer::disk::StoreOutcome;

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
    assert_eq!(rig.bye(conn), Some(protocol::Code::BAD_DATA));
    rig.cut(conn);
    rig.sleep(Duration::from_secs(500));
    assert!(rig.dialed.is_empty(), "it is banned for 600 s");
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
