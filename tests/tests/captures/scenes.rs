//! What happens in each capture.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use peer::Peer;
use peer::job::{Config, Job};
use peer::storage::Storage;
use protocol::frame::kind;
use protocol::message::{
    Bitmap, Block, Bye, Cancel, Hello, Holdings, Open, Request, Role, Tlv, TlvTag,
};
use protocol::{
    ChannelId, Code, Digest, Entry, EntryKind, Manifest, Message, NodeId, ObjectId, PublisherKey,
    SafePath,
};
use tests::content::bytes;
use tests::{Disk, Tree, jobs};
use tracker::Tracker;
use tracker::store::{Committer, MemoryStore};

use crate::hosted::{Hosted, Script};
use crate::net::{Net, address};

/// Bytes per second of a node that is not slow on purpose.
const FAST: u64 = 2_000_000;

fn tracker(node: u8, store: &MemoryStore) -> Hosted<Tracker, Committer> {
    let config = tracker::Config::default();
    let machine = Tracker::new(config, NodeId([node; 16]), node.into(), store.snapshot());
    Hosted::new(machine, Committer::new(store.clone()))
}

fn store() -> MemoryStore {
    MemoryStore::new(|| 1_700_000_000)
}

/// A peer whose tracker is node 0.
fn peer(node: u8, jobs: Vec<Job>, disk: &Disk) -> Hosted<Peer, Storage> {
    let config = Config {
        node: NodeId([node; 16]),
        trackers: vec![address(0).to_string()],
        token: None,
        publisher: PublisherKey([node; 16]),
        advertise: None,
        up_limit: None,
        down_limit: None,
        max_peers: 50,
        piece_log2: None,
        buffer_bytes: 16 << 20,
        workers: 2,
        seed: node.into(),
    };
    let storage = Storage::new(Arc::new(disk.clone()), None);
    Hosted::new(Peer::new(config, jobs), storage)
}

/// A disk with this below `/share`.
fn sharing(name: &str, tree: &Tree) -> Disk {
    let disk = Disk::default();
    disk.put(&format!("/share/{name}"), tree);
    disk
}

fn seeder(node: u8, name: &str, disk: &Disk) -> Hosted<Peer, Storage> {
    peer(node, jobs::seed(&[&format!("/share/{name}")]), disk)
}

fn fetcher(node: u8, name: &str, disk: &Disk) -> Hosted<Peer, Storage> {
    peer(node, jobs::fetch(name, "/in"), disk)
}

fn assert_has(disk: &Disk, name: &str, tree: &Tree) {
    let there = disk.tree(Path::new(&format!("/in/{name}"))).expect("it was fetched");
    assert_eq!(tree.difference(&there), None);
}

/// Runs a net with a tracker as node 0 until nothing happens any more, all told to end at `stop` ms.
fn finish(mut net: Net, nodes: usize, stop: u64) -> Vec<u8> {
    for node in (0..nodes).rev() {
        net.at(stop, move |net| net.stop(node));
    }
    net.run(Duration::from_millis(stop + 10_000));
    for node in 0..nodes {
        assert!(net.is_over(node), "node {node} does not end");
    }
    net.pcap.bytes
}

/// Files of one piece each.
fn small_files(count: u64, len: usize) -> Tree {
    (0..count).fold(Tree::default(), |tree, n| tree.with(&format!("{n:02}"), bytes(n, len)))
}

pub(crate) fn folder() -> Vec<u8> {
    let tree = Tree::default()
        .with("README.txt", b"a small folder\n".to_vec())
        .with("data/größe.bin", bytes(1, 5_000))
        .with("data/empty", Vec::new())
        .with("data/two", bytes(2, 300))
        .with_folder("nothing here");
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(FAST), net.add(FAST)];
    let disk = Disk::default();
    net.start(nodes[0], tracker(0xA0, &store()));
    net.start(nodes[1], seeder(0xB1, "folder", &sharing("folder", &tree)));
    let fetching = fetcher(0xC2, "folder", &disk);
    net.at(1_000, move |net| net.start(nodes[2], fetching));
    let capture = finish(net, 3, 3_000);
    assert_has(&disk, "folder", &tree);
    capture
}

pub(crate) fn resume() -> Vec<u8> {
    let tree = small_files(16, 2_500);
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(5_000), net.add(FAST)];
    let disk = Disk::default();
    net.start(nodes[0], tracker(0xA0, &store()));
    net.start(nodes[1], seeder(0xB1, "many", &sharing("many", &tree)));
    let (first, again) = (fetcher(0xC2, "many", &disk), disk.clone());
    net.at(1_000, move |net| net.start(nodes[2], first));
    net.at(7_000, move |net| {
        net.kill(nodes[2]);
        again.forget_process();
    });
    let second = disk.clone();
    net.at(8_000, move |net| net.start(nodes[2], fetcher(0xC3, "many", &second)));
    let capture = finish(net, 3, 18_000);
    assert_has(&disk, "many", &tree);
    capture
}

// ---- scripts: a peer that says what it is told to

fn hello(node: u8, versions: (u8, u8)) -> Vec<u8> {
    let agent = Tlv { tag: TlvTag::AGENT, value: b"script".to_vec() };
    frame(&Message::Hello(Hello {
        version_min: versions.0,
        version_max: versions.1,
        role: Role::Peer,
        node: NodeId([node; 16]),
        listen: 0,
        window: 512,
        tlvs: vec![agent],
    }))
}

fn frame(message: &Message) -> Vec<u8> {
    message.to_frame()
}

const CHANNEL: ChannelId = ChannelId(0);

fn open(object: ObjectId) -> Vec<u8> {
    let bitmap =
        Bitmap { channel: CHANNEL, manifest_len: 0, piece_count: 0, holdings: Holdings::None };
    let open = Message::Open(Open { channel: CHANNEL, object });
    [frame(&open), frame(&Message::Bitmap(bitmap))].concat()
}

fn block(piece: u32, begin: u32) -> Block {
    Block { channel: CHANNEL, piece, begin }
}

fn request(piece: u32, begin: u32, len: u32) -> Vec<u8> {
    frame(&Message::Request(Request { block: block(piece, begin), len }))
}

fn cancel(piece: u32, begin: u32) -> Vec<u8> {
    frame(&Message::Cancel(Cancel { block: block(piece, begin) }))
}

fn bye() -> Vec<u8> {
    frame(&Message::Bye(Bye { code: Code::OK, text: String::new() }))
}

/// The manifest that a seeder makes of files of one piece each.
fn manifest(tree: &Tree) -> Manifest {
    let entry = |(path, content): (&String, &Vec<u8>)| {
        let (len, digest) = (content.len() as u64, Digest::of(content));
        let path = (!path.is_empty()).then(|| SafePath::new(path).expect("a safe path"));
        let kind = EntryKind::File { executable: false, len, digest };
        (Entry { path, kind }, vec![digest])
    };
    let entries: Vec<_> = tree.files.iter().map(entry).collect();
    Manifest::build(18, entries).expect("a manifest")
}

pub(crate) fn reject() -> Vec<u8> {
    let (tree, other) = (small_files(4, 3_000), small_files(2, 1_000));
    let disk = sharing("other", &other);
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(3_000), net.add(FAST), net.add(FAST)];
    net.start(nodes[0], tracker(0xA0, &store()));
    net.start(nodes[1], seeder(0xB1, "four", &sharing("four", &tree)));
    net.start(nodes[2], seeder(0xB2, "other", &disk));
    // Of the fetcher's pieces some are not there yet.
    let fetching = fetcher(0xC3, "four", &Disk::default());
    net.at(1_000, move |net| net.start(nodes[3], fetching));
    let asking = (0..4).flat_map(|piece| request(piece, 0, 1_000)).collect();
    let lines = vec![
        (kind::HELLO, open(manifest(&tree).id())),
        (kind::BITMAP, asking),
        (kind::DATA, Vec::new()),
        (kind::DATA, bye()),
    ];
    let script = Script::new(address(nodes[3]), hello(0xD4, (1, 1)), lines);
    let from = net.add(FAST);
    net.at(4_000, move |net| net.start(from, script));

    // One file of the other seeder was cut short since it was hashed.
    net.at(2_000, move |_| disk.truncate("/share/other/00", 10));
    let outside = [request(2, 0, 1), request(1, 999, 2), request(1, u32::MAX, 1)].concat();
    let inside = [request(1, 0, 1_000), request(0, 0, 1_000)].concat();
    let lines = vec![
        (kind::HELLO, open(manifest(&other).id())),
        (kind::BITMAP, [outside, inside].concat()),
        (kind::CLOSE, bye()),
    ];
    let script = Script::new(address(nodes[2]), hello(0xD5, (1, 1)), lines);
    let from = net.add(FAST);
    net.at(2_001, move |net| net.start(from, script));
    finish_scripts(net, &nodes, 12_000)
}

/// As [`finish`], for nets in which scripts run on some nodes.
fn finish_scripts(mut net: Net, nodes: &[usize], stop: u64) -> Vec<u8> {
    for node in nodes.iter().rev().copied() {
        net.at(stop, move |net| net.stop(node));
    }
    net.run(Duration::from_millis(stop + 10_000));
    net.pcap.bytes
}

pub(crate) fn cancelling() -> Vec<u8> {
    let tree = Tree::file(5, 8_000);
    let object = manifest(&tree).id();
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(4_000), net.add(FAST)];
    net.start(nodes[0], tracker(0xA0, &store()));
    net.start(nodes[1], seeder(0xB1, "file", &sharing("file", &tree)));
    let asking = (0..4).flat_map(|n| request(0, n * 2_000, 2_000)).collect();
    // The last of them at once, and one that was never asked for; then one that is answered, and one
    // that is on its way.
    let lines = vec![
        (kind::HELLO, open(object)),
        (kind::BITMAP, [asking, cancel(0, 6_000), cancel(0, 7_000)].concat()),
        (kind::DATA, [cancel(0, 0), cancel(0, 2_000)].concat()),
        (kind::DATA, Vec::new()),
        (kind::DATA, bye()),
    ];
    let script = Script::new(address(nodes[1]), hello(0xD2, (1, 1)), lines);
    net.at(1_000, move |net| net.start(nodes[2], script));
    finish_scripts(net, &nodes[..2], 20_000)
}

pub(crate) fn endgame() -> Vec<u8> {
    let tree = small_files(8, 4_000);
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(50_000), net.add(2_000), net.add(FAST)];
    let disk = Disk::default();
    net.start(nodes[0], tracker(0xA0, &store()));
    net.start(nodes[1], seeder(0xB1, "many", &sharing("many", &tree)));
    net.start(nodes[2], seeder(0xB1 + 1, "many", &sharing("many", &tree)));
    let fetching = fetcher(0xC3, "many", &disk);
    net.at(3_000, move |net| net.start(nodes[3], fetching));
    let capture = finish(net, 4, 30_000);
    assert_has(&disk, "many", &tree);
    capture
}

pub(crate) fn corrupt_piece() -> Vec<u8> {
    let tree = small_files(3, 2_000);
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(50_000), net.add(10_000), net.add(FAST)];
    let disk = Disk::default();
    net.start(nodes[0], tracker(0xA0, &store()));
    // The fast seeder's blocks have a wrong byte at their end; its manifest is right.
    net.twist(nodes[1], |bytes| {
        let is_block = bytes.first() == Some(&kind::DATA) && bytes.get(8..12) != Some(&[0xFF; 4]);
        if let (true, Some(last)) = (is_block, bytes.last_mut()) {
            *last ^= 1;
        }
    });
    net.start(nodes[1], seeder(0xB1, "three", &sharing("three", &tree)));
    net.start(nodes[2], seeder(0xB2, "three", &sharing("three", &tree)));
    let fetching = fetcher(0xC3, "three", &disk);
    net.at(3_000, move |net| net.start(nodes[3], fetching));
    let capture = finish(net, 4, 10_000);
    assert_has(&disk, "three", &tree);
    capture
}

pub(crate) fn version_refusal() -> Vec<u8> {
    let tree = Tree::file(5, 100);
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(FAST)];
    net.start(nodes[0], tracker(0xA0, &store()));
    net.start(nodes[1], seeder(0xB1, "file", &sharing("file", &tree)));
    // Too new for both; and one who speaks more than we do, which is no reason to refuse.
    for (n, target) in nodes.into_iter().enumerate() {
        let n = u8::try_from(n).expect("two");
        let from = net.add(FAST);
        let script = Script::new(address(target), hello(0xD2 + n, (2, 3)), Vec::new());
        net.at(1_000 + 100 * u64::from(n), move |net| net.start(from, script));
    }
    let from = net.add(FAST);
    let lines = vec![(kind::HELLO, bye())];
    let script = Script::new(address(nodes[1]), hello(0xD4, (1, 200)), lines);
    net.at(1_300, move |net| net.start(from, script));
    finish_scripts(net, &nodes, 3_000)
}

pub(crate) fn tracker_restart() -> Vec<u8> {
    let tree = Tree::file(5, 1_000);
    let mut net = Net::new();
    let nodes = [net.add(FAST), net.add(FAST), net.add(FAST)];
    let (names, disk) = (store(), Disk::default());
    net.start(nodes[0], tracker(0xA0, &names));
    net.start(nodes[1], seeder(0xB1, "file", &sharing("file", &tree)));
    net.at(2_000, move |net| net.kill(nodes[0]));
    // Another node id: it may have forgotten who holds what. It has; names it keeps.
    net.at(4_000, move |net| net.start(nodes[0], tracker(0xAF, &names)));
    let fetching = fetcher(0xC2, "file", &disk);
    net.at(20_000, move |net| net.start(nodes[2], fetching));
    let capture = finish(net, 3, 25_000);
    assert_has(&disk, "file", &tree);
    capture
}
