//! Wrong bytes: what is thrown away, who is to blame, and who is not.

use peer::disk::{StoreOutcome, Task};
use protocol::limits::MANIFEST_PIECE;
use protocol::message::DataHead;
use protocol::{Code, Manifest};
use reactor::{ConnId, Event, Machine};

use crate::rig::{LARGER, Rig, SMALLER, addr, manifest};

/// Fetching from two nodes that hold everything; the manifest is there.
fn begun(manifest: &Manifest) -> (Rig, [ConnId; 2]) {
    let mut rig = Rig::fetching(manifest, &[addr(2), addr(3)]);
    let conns = [rig.connect(SMALLER), rig.connect(LARGER)];
    for conn in conns {
        rig.seed(conn, manifest);
    }
    for conn in conns {
        rig.give_manifest(conn, manifest);
    }
    rig.prepared(manifest);
    (rig, conns)
}

/// Answers all requests on a connection with bytes of this value.
fn answer(rig: &mut Rig, conn: ConnId, value: u8) -> Vec<u32> {
    let requests = rig.requests(conn);
    for request in &requests {
        rig.data(conn, *request, &vec![value; request.len as usize]);
    }
    requests.iter().map(|request| request.block.piece).collect()
}

/// The bytes of the first piece that waits to be stored.
fn stored(rig: &Rig) -> Vec<u8> {
    let pieces = rig.tasks.iter().find_map(|task| match task {
        Task::Store { pieces, .. } => pieces.first(),
        _ => None,
    });
    pieces.expect("the piece is there").1.clone()
}

#[test]
fn a_manifest_is_asked_of_one_node_and_a_wrong_one_is_its_fault() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2), addr(3)]);
    let addrs: Vec<_> = rig.dialed.iter().map(|(_, remote)| *remote).collect();
    let conns = [rig.connect(SMALLER), rig.connect(LARGER)];
    for conn in conns {
        rig.seed(conn, &manifest);
    }
    let asked = conns.map(|conn| rig.requests(conn));
    let all: Vec<_> = asked.iter().flatten().collect();
    assert!(!all.is_empty() && all.iter().all(|r| r.block.piece == MANIFEST_PIECE), "[P-53]");
    assert!(asked.iter().any(Vec::is_empty), "[P-51]: one at a time");
    let (liar, other) = if asked[0].is_empty() { (1, 0) } else { (0, 1) };
    for request in &asked[liar] {
        rig.data(conns[liar], *request, &vec![0; request.len as usize]);
    }
    assert_eq!(rig.bye(conns[liar]), Some(Code::BAD_DATA), "[P-51]");
    assert_eq!(rig.bye(conns[other]), None);
    rig.cut(conns[liar]);
    rig.give_manifest(conns[other], &manifest);
    rig.prepared(&manifest);
    rig.sleep(std::time::Duration::from_secs(590));
    // The other one fell silent, and may be tried again.
    let again = rig.dialed.iter().any(|(_, remote)| *remote == addrs[liar]);
    assert!(!again, "[P-51]: it is avoided");
}

#[test]
fn a_wrong_piece_is_thrown_away_as_a_whole() {
    let manifest = manifest(1);
    let (mut rig, [small, large]) = begun(&manifest);
    let from_small = answer(&mut rig, small, 8);
    let (liar, other) = if from_small.is_empty() { (large, small) } else { (small, large) };
    if from_small.is_empty() {
        answer(&mut rig, large, 8);
    }
    rig.store(StoreOutcome::Mismatch);
    assert_eq!(rig.bye(liar), Some(Code::BAD_DATA), "[P-49]");
    assert_eq!(rig.bye(other), None, "[P-49]");
    rig.cut(liar);
    rig.sleep(std::time::Duration::from_secs(1));
    // All of it is asked for again, and none of the old bytes is in what is stored.
    for _ in 0..3 {
        answer(&mut rig, other, 7);
        rig.sleep(std::time::Duration::from_secs(1));
    }
    let data = stored(&rig);
    assert!(data.len() == 1 << 16 && data.iter().all(|byte| *byte == 7), "[P-48]");
}

#[test]
fn a_piece_is_never_put_together_from_two_nodes() {
    // One sends half of a piece and leaves. What it sent is not mixed with what the next one sends, so a
    // wrong piece always has one sender.
    let manifest = manifest(1);
    let (mut rig, [small, large]) = begun(&manifest);
    let asked = [rig.requests(small), rig.requests(large)];
    let (first, second) = if asked[0].is_empty() { (large, small) } else { (small, large) };
    let requests = if asked[0].is_empty() { &asked[1] } else { &asked[0] };
    // Without the last byte, so that it is never whole.
    let (last, before) = requests.split_last().expect("it is asked for");
    for request in before {
        rig.data(first, *request, &vec![8; request.len as usize]);
    }
    let head = DataHead { block: last.block, len: last.len };
    let mut frame = head.to_frame_head().to_vec();
    frame.resize(frame.len() + last.len as usize - 1, 8);
    rig.event(Event::Received { conn: first, bytes: &frame });
    rig.cut(first);
    for request in if first == small { &asked[1] } else { &asked[0] } {
        rig.data(second, *request, &vec![7; request.len as usize]);
    }
    for _ in 0..3 {
        rig.sleep(std::time::Duration::from_secs(1));
        answer(&mut rig, second, 7);
    }
    let data = stored(&rig);
    assert!(data.iter().all(|byte| *byte == 7), "[P-50]");
}

#[test]
fn data_may_be_read_straight_to_where_it_belongs() {
    let manifest = manifest(1);
    let (mut rig, conns) = begun(&manifest);
    let asked = conns.map(|conn| (conn, rig.requests(conn)));
    let (conn, requests) = asked.into_iter().find(|(_, asked)| !asked.is_empty()).unwrap();
    let request = requests[0];
    let len = request.len as usize;
    let head = DataHead { block: request.block, len: request.len };
    rig.event(Event::Received { conn, bytes: &head.to_frame_head() });
    assert_eq!(rig.peer.landing(conn), None, "what comes is not checked before its first byte");
    rig.event(Event::Received { conn, bytes: &[7; 10] });
    let mut filled = 10;
    for part in [1, 1000, len - 1011] {
        let place = rig.peer.landing(conn).expect("it is waited for");
        assert_eq!(place.len(), len - filled);
        place[..part].fill(7);
        rig.event(Event::Landed { conn, len: part });
        filled += part;
    }
    assert_eq!(rig.peer.landing(conn), None, "the block is whole");
    for request in &requests[1..] {
        rig.data(conn, *request, &vec![7; request.len as usize]);
    }
    for _ in 0..3 {
        answer(&mut rig, conn, 7);
        rig.sleep(std::time::Duration::from_secs(1));
    }
    let data = stored(&rig);
    assert!(data.len() == 1 << 16 && data.iter().all(|byte| *byte == 7));
}

#[test]
fn data_that_nobody_waits_for_has_no_place() {
    let manifest = manifest(1);
    let (mut rig, conns) = begun(&manifest);
    let asked = conns.map(|conn| (conn, rig.requests(conn)));
    let (conn, requests) = asked.into_iter().find(|(_, asked)| !asked.is_empty()).unwrap();
    let head = DataHead { block: requests[0].block, len: requests[0].len };
    let mut frame = head.to_frame_head().to_vec();
    frame.push(7);
    rig.event(Event::Received { conn, bytes: &frame });
    assert!(rig.peer.landing(conn).is_some());
    // It stops in the middle, for so long that the piece is asked of the other one.
    rig.sleep(std::time::Duration::from_secs(20));
    assert_eq!(rig.peer.landing(conn), None);
}
