//! What is told and asked on a channel, and when.

use std::time::Duration;

use peer::disk::StoreOutcome;
use peer::session::SessionEvent;
use protocol::limits::MANIFEST_PIECE;
use protocol::message::{Block, Holdings, Request};
use protocol::{ChannelId, Code, Manifest};
use reactor::ConnId;

use crate::rig::{LARGER, Rig, SMALLER, addr, manifest};

/// Fetching from a node that holds everything; the manifest is there.
fn begun(manifest: &Manifest) -> (Rig, ConnId) {
    let mut rig = Rig::fetching(manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    rig.seed(conn, manifest);
    rig.give_manifest(conn, manifest);
    rig.prepared(manifest);
    (rig, conn)
}

/// Another fetcher, which knows the manifest and holds nothing.
fn member(rig: &mut Rig, manifest: &Manifest) -> (ConnId, ChannelId) {
    let conn = rig.accept(3, SMALLER);
    let len = u32::try_from(manifest.bytes().len()).unwrap();
    let count = manifest.geometry().piece_count();
    let channel = rig.tell(conn, |session| {
        let channel = session.open(manifest.id()).expect("room for one");
        session.send_bitmap(channel, len, count, &Holdings::None);
        channel
    });
    (conn, channel)
}

/// Pieces that this connection was told of since the last call.
fn told(rig: &mut Rig, conn: ConnId) -> Vec<u32> {
    let mut all = Vec::new();
    rig.remotes.get_mut(&conn).unwrap().heard.retain(|event| match event {
        SessionEvent::Have { pieces, .. } => {
            all.extend(pieces);
            false
        }
        _ => true,
    });
    all
}

/// The codes with which a request of this connection was refused.
fn refusals(rig: &Rig, conn: ConnId) -> Vec<Code> {
    let heard = rig.remotes[&conn].heard.iter();
    let codes = heard.filter_map(|event| match event {
        SessionEvent::Rejected { code, .. } => Some(*code),
        _ => None,
    });
    codes.collect()
}

#[test]
fn an_opener_tells_what_it_holds_at_once() {
    let mut rig = Rig::fetching(&manifest(4), &[addr(2)]);
    let conn = rig.connect(LARGER);
    let heard = &rig.remotes[&conn].heard;
    let at = heard.iter().position(|event| matches!(event, SessionEvent::Opened { .. })).unwrap();
    let next = &heard[at + 1..];
    assert!(matches!(next, [SessionEvent::Bitmap { .. }]), "[P-3]: {heard:?}");
}

#[test]
fn pieces_are_told_of_when_they_are_right_and_stored() {
    let manifest = manifest(4);
    let (mut rig, conn) = begun(&manifest);
    let (other, _) = member(&mut rig, &manifest);
    let bitmap = |event: &SessionEvent<'_>| {
        matches!(event, SessionEvent::Bitmap { holdings: Holdings::None, piece_count: 4, .. })
    };
    assert!(rig.remotes[&other].heard.iter().any(bitmap), "[P-20]");
    let requests = rig.requests(conn);
    let piece = requests[0].block.piece;
    for request in requests.iter().filter(|request| request.block.piece == piece) {
        rig.data(conn, *request, &vec![7; request.len as usize]);
    }
    rig.sleep(Duration::from_secs(2));
    assert_eq!(
        told(&mut rig, other),
        Vec::<u32>::new(),
        "[P-20]: whole, but not yet known to be right"
    );
    rig.store(StoreOutcome::Stored);
    rig.sleep(Duration::from_millis(100));
    assert_eq!(told(&mut rig, other), [piece], "[P-25]");
    assert_eq!(refusals(&rig, other), Vec::<Code>::new());
}

#[test]
fn what_is_not_held_is_refused_as_such() {
    let manifest = manifest(4);
    let mut rig = Rig::fetching(&manifest, &[addr(2)]);
    let conn = rig.connect(LARGER);
    let channel = rig.seed(conn, &manifest);
    let ask = |rig: &mut Rig, piece| {
        let request = Request { block: Block { channel, piece, begin: 0 }, len: 5 };
        assert!(rig.tell(conn, |session| session.request(request)));
    };
    ask(&mut rig, MANIFEST_PIECE);
    ask(&mut rig, 1);
    assert_eq!(refusals(&rig, conn), [Code::NO_PIECE; 2], "[P-33]: not even the manifest");
    rig.give_manifest(conn, &manifest);
    rig.prepared(&manifest);
    ask(&mut rig, 2);
    assert_eq!(refusals(&rig, conn), [Code::NO_PIECE; 3], "[P-33]");
}

#[test]
fn what_a_node_does_not_have_is_asked_of_it_when_it_has_it() {
    let manifest = manifest(1);
    let (mut rig, conn) = begun(&manifest);
    let channel = rig.opened(conn).unwrap();
    let requests = rig.requests(conn);
    assert!(!requests.is_empty());
    rig.tell(conn, |session| {
        let refuse = |request: &Request| session.reject(request.block, Code::NO_PIECE);
        requests.iter().map(refuse).collect::<Result<Vec<()>, _>>()
    })
    .unwrap();
    rig.sleep(Duration::from_secs(60));
    assert_eq!(rig.requests(conn), Vec::<Request>::new(), "[P-41]");
    rig.tell(conn, |session| session.have(channel, &[0]));
    rig.sleep(Duration::from_secs(1));
    assert!(rig.requests(conn).iter().all(|request| request.block.piece == 0), "[P-41]");
}
