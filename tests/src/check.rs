//! What must always hold, checked outside the code under test: on the bytes between nodes, on their
//! disks, on what they tell. Each broken rule is named as in this table. For each of them something
//! shows that it is noticed: a planted bug (`canaries`), a test in `sim_swarms/checks.rs`, one beside
//! the code, or the crash sweep's disks that lie.
//!
//! | | what must hold | how it is seen | seen broken by |
//! |---|---|---|---|
//! | S1 | no wrong byte is stored, sent by an honest node, offered as held, or called complete | each write of a worker and each frame as it leaves is compared with what was published; each BITMAP and HAVE, and each completion, with the node's disk | skip-the-hash, believe-any-manifest, last-byte, have-before-stored |
//! | S2 | what a journal calls durable is on the disk | at each power cut the journal is read by a reader of its own and compared with the bytes (`cuts`, `sweep`) | journal-before-sync, disks that lie |
//! | S3 | what has the final name is complete | the same, by name | rename-before-sync, disks that lie |
//! | S4 | nothing is changed outside the folder that was chosen | the disk notes the path of each change; the sweep compares everything else; on real files, storage's test of races | `checks`, `sweep`, races |
//! | S5 | queues are bounded | things and data in each sending queue, queues of connections that are gone (`rules`) | unbounded-queue, leak-on-close |
//! | S6 | only dishonest nodes are found corrupt, told so in BYE, or left alone; and they are | each such notice and frame, with who was made dishonest (`rules`) | forget-to-ban, `checks` |
//! | S7 | each REQUEST gets exactly one answer, none is sent beyond the window | requests, blocks, REJECTs and closed channels of each connection, as they leave; what is open when all rest (`holds`) | answer-twice, overrun-window |
//! | S8 | a live peer is never expired, a dead one is out after its lease | a second book of leases (`leases`); whom the tracker names (`rules`) | `leases`, leases-never-end |
//! | S9 | a name never goes back | versions acknowledged and found (`rules`) | older-version |
//! | S12 | nobody dials what nobody can be | each dial (`rules`) | dial-anybody |
//! | S13 | bytes received are bytes kept and bytes thrown away | figures of each fetch, against what was missing when it began (`books`) | `books` |
//! | S14 | virtual time moves | events at one moment, and deadlines in a row, are counted | `checks` |
//! | S15 | when all have stopped, nothing is left | connections and processes at the end of a run, part folders of who has everything, there and in each sweep | `checks`, `sweep` |
//!
//! Liveness: after all faults have ended, every fetcher completes within ten minutes and three times what
//! the slowest link needs for all copies and two more (`plan`). Without seeders, what fetchers hold together is shared, and what nobody
//! holds, or knows of any more, is called missing exactly, once nothing has come for a minute (`plan/orphans`, `sim_swarms/liveness.rs`).
//!
//! They stand for what the project promises: right bytes or no file (S1, S3), nothing outside the folder
//! (S4), bounded memory (S5), safety at any crash (S2, S3), honest peers are never dropped (S6).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use peer::notice::Notice;
use protocol::limits::MANIFEST_PIECE;
use protocol::{Code, FrameReader, Incoming, Manifest, Message, ObjectId, PieceSet};

use crate::books::Books;
use crate::content::Tree;
use crate::cuts::Places;
use crate::disk::Disk;
use crate::node::{Node, index_of};

/// Things in one sending queue at most: as many as REQUESTs may be open, and some small frames.
const QUEUED_MAX: usize = 6_000;
/// Why nobody ends a connection to an honest peer.
const BLAME: [Code; 4] = [Code::BAD_DATA, Code::MALFORMED, Code::BAD_STATE, Code::LIMIT];

/// What an object is, as read from the disk of whoever hashed it.
#[derive(Debug)]
struct Truth {
    manifest: Arc<Manifest>,
    tree: Tree,
}

impl Truth {
    fn file(&self, index: usize) -> Option<&[u8]> {
        let entry = self.manifest.entries().get(index)?;
        let path = entry.path.as_ref().map_or("", |path| path.as_str());
        self.tree.files.get(path).map(Vec::as_slice)
    }

    /// Whether this is what lies at some path inside the object that ends like `path`.
    fn has_part(&self, path: &Path, tree: &Tree) -> bool {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        let ends_so = |at: &&String| at.rsplit('/').next() == Some(name);
        self.tree.files.keys().filter(ends_so).any(|at| {
            let only = tree.files.get("").filter(|_| tree.files.len() == 1);
            only == self.tree.files.get(at.as_str())
        })
    }

    fn piece(&self, raw: u32) -> Option<&[u8]> {
        let geometry = self.manifest.geometry();
        let span = geometry.span(geometry.piece(raw)?);
        let start = usize::try_from(span.offset).ok()?;
        self.file(span.file)?.get(start..start + usize::try_from(span.len).ok()?)
    }
}

/// What has left one node of one object.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// How often each piece left, by its first block.
    pub pieces: Vec<u32>,
    /// Payload bytes.
    pub bytes: u64,
    /// Payload bytes that had left when the last piece left for the first time.
    pub bytes_until_all: Option<u64>,
}

/// The book of what must hold.
#[derive(Debug, Default)]
pub(crate) struct Check {
    broken: Option<String>,
    truths: BTreeMap<ObjectId, Truth>,
    /// Where each node keeps each object, and where it may be in the meantime.
    places: BTreeMap<(usize, ObjectId), BTreeSet<PathBuf>>,
    pub(crate) left: BTreeMap<(usize, ObjectId), Left>,
    pub(crate) corrupt_found: u64,
    pub(crate) may_blame: BTreeSet<usize>,
    books: Books,
}

impl Check {
    pub(crate) fn fail(&mut self, rule: &str, what: String) {
        self.broken.get_or_insert_with(|| format!("{rule}: {what}"));
    }

    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.clone()
    }

    pub(crate) fn queue(&mut self, index: usize, waiting: usize) {
        if waiting > QUEUED_MAX {
            self.fail("S5", format!("{waiting} things wait in a sending queue of node {index}"));
        }
    }

    /// Looks at what a process told.
    pub(crate) fn notice(&mut self, index: usize, node: &Node, notice: &Notice) {
        for stray in node.disk.strays() {
            self.fail("S4", format!("node {index} changed {}", stray.display()));
        }
        if let Some(problem) = self.books.notice(index, notice) {
            self.fail("S13", problem);
        }
        match notice {
            Notice::Hashed { path, manifest, .. } => self.learn(index, &node.disk, path, manifest),
            Notice::GotManifest { manifest, .. } => {
                let id = manifest.id();
                let right =
                    self.truths.get(&id).is_none_or(|t| t.manifest.bytes() == manifest.bytes());
                if !right {
                    self.fail("S1", format!("node {index} takes a wrong manifest for {id:?}"));
                }
            }
            Notice::FetchStarted { record, dest, .. } => {
                let places = self.places.entry((index, record.object)).or_default();
                places.insert(dest.clone());
                let parts = node.disk.parts().into_iter();
                places.extend(parts.map(|part| part.join("data")));
            }
            Notice::FetchDone { path, manifest, .. } => {
                self.places.entry((index, manifest.id())).or_default().insert(path.clone());
                self.complete(index, &node.disk, path, manifest);
            }
            Notice::PeerCorrupt { remote, .. } => {
                let guilty = index_of(remote.ip());
                self.corrupt_found += 1;
                self.blamed(index, guilty);
            }
            _ => {}
        }
    }

    /// Where this node's fetches are, and where they will be.
    pub(crate) fn fetch_places(&self, index: usize) -> Places {
        let mine = self.places.iter().filter(|((node, _), _)| *node == index);
        mine.flat_map(|((_, object), at)| at.iter().map(|at| (*object, at.clone()))).collect()
    }

    /// What an object is, if somebody has hashed it.
    pub(crate) fn truth(&self, object: ObjectId) -> Option<(Arc<Manifest>, Tree)> {
        let truth = self.truths.get(&object)?;
        Some((Arc::clone(&truth.manifest), truth.tree.clone()))
    }

    fn blamed(&mut self, index: usize, guilty: Option<usize>) {
        if guilty.is_none_or(|guilty| !self.may_blame.contains(&guilty)) {
            self.fail("S6", format!("node {index} blames node {guilty:?}, which is honest"));
        }
    }

    /// The first to hash something says what it is, if the disk agrees.
    fn learn(&mut self, index: usize, disk: &Disk, path: &Path, manifest: &Arc<Manifest>) {
        self.places.entry((index, manifest.id())).or_default().insert(path.to_owned());
        let Some(tree) = disk.tree(path) else { return };
        let truth = Truth { manifest: Arc::clone(manifest), tree };
        let right = |raw| {
            let piece = manifest.geometry().piece(raw)?;
            Some(protocol::Digest::of(truth.piece(raw)?) == manifest.piece_hash(piece))
        };
        if (0..manifest.geometry().piece_count()).all(|raw| right(raw) == Some(true)) {
            self.truths.entry(manifest.id()).or_insert(truth);
        } else if !disk.tampered() {
            self.fail("S1", format!("node {index} published what {} is not", path.display()));
        }
    }

    /// Looks at what a node's workers wrote: into files of a fetch, nothing but what belongs there.
    pub(crate) fn stored(&mut self, index: usize, disk: &Disk) {
        let written = disk.take_written();
        if written.is_empty() || disk.tampered() {
            return;
        }
        let mine = self.places.range((index, ObjectId([0; 32]))..=(index, ObjectId([255; 32])));
        let files = mine.flat_map(|((_, object), bases)| {
            let files = self.truths.get(object).into_iter().flat_map(|truth| &truth.tree.files);
            files.flat_map(move |file| bases.iter().map(move |base| (base, file)))
        });
        // Several objects may be said to be in one place: it is right if it is so for one of them.
        let mut right = vec![None; written.len()];
        for (base, (relative, ought)) in files {
            let path = if relative.is_empty() { base.clone() } else { base.join(relative) };
            let Some(ino) = disk.inode(&path) else { continue };
            for ((of, offset, len), right) in written.iter().zip(&mut right) {
                if *of == ino && *right != Some(true) {
                    let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                    let ought = ought.get(start..start.saturating_add(*len));
                    *right = Some(disk.read(&path, *offset, *len).as_deref() == ought);
                }
            }
        }
        if let Some(at) = right.iter().position(|right| *right == Some(false)) {
            let (_, offset, len) = written[at];
            let what = format!("{len} bytes at {offset} of a file, which do not belong there");
            self.fail("S1", format!("node {index} stores {what}"));
        }
    }

    /// What somebody outside the world says that an object is.
    pub(crate) fn publish(&mut self, manifest: &Arc<Manifest>, tree: &Tree) {
        let truth = Truth { manifest: Arc::clone(manifest), tree: tree.clone() };
        self.truths.insert(manifest.id(), truth);
    }

    fn complete(&mut self, index: usize, disk: &Disk, path: &Path, manifest: &Arc<Manifest>) {
        let Some(truth) = self.truths.get(&manifest.id()) else {
            return self.fail("S1", format!("node {index} completed what nobody published"));
        };
        let problem = match disk.tree(path) {
            None => Some("nothing is there".to_owned()),
            Some(tree) => truth.tree.difference(&tree).filter(|_| !truth.has_part(path, &tree)),
        };
        if let Some(problem) = problem {
            self.fail("S1", format!("node {index} calls {} complete: {problem}", path.display()));
        }
    }

    /// Whether a node has a piece, wherever it may keep it.
    pub(crate) fn holds(&self, index: usize, disk: &Disk, object: ObjectId, raw: u32) -> bool {
        let Some(truth) = self.truths.get(&object) else { return true };
        let geometry = truth.manifest.geometry();
        let (Some(piece), Some(content)) = (geometry.piece(raw), truth.piece(raw)) else {
            return false;
        };
        let span = geometry.span(piece);
        let entry = truth.manifest.entries().get(span.file);
        let relative = entry.and_then(|entry| entry.path.as_ref()).map_or("", |path| path.as_str());
        let places = self.places.get(&(index, object));
        places.into_iter().flatten().any(|base| {
            // Who fetches a part of an object keeps it without the path above the part.
            let starts =
                std::iter::once(0).chain(relative.match_indices('/').map(|(at, _)| at + 1));
            starts.chain([relative.len()]).any(|start| {
                let below = &relative[start..];
                let path = if below.is_empty() { base.clone() } else { base.join(below) };
                disk.read(&path, span.offset, content.len()).as_deref() == Some(content)
            })
        })
    }
}

/// What one side of a connection said.
#[derive(Debug, Default)]
struct Side {
    reader: FrameReader,
    /// Not an honest peer, or its stream makes no sense: not looked at any more.
    ignored: bool,
    window: u32,
    /// REQUESTs that it sent and that were not answered: channel, piece, begin.
    open: BTreeMap<(u32, u32, u32), u32>,
    /// Named so before, and cancelled or lost with a channel.
    dead_channels: BTreeSet<u32>,
}

/// Follows the words of both sides of a connection as they leave.
#[derive(Debug)]
pub(crate) struct Watch {
    sides: [Side; 2],
    objects: BTreeMap<u32, ObjectId>,
    tracker: bool,
    /// Which side leaves the other alone.
    pub(crate) shunned: [bool; 2],
}

impl Watch {
    pub(crate) fn new(honest: [bool; 2]) -> Self {
        let side = |honest: bool| Side { ignored: !honest, ..Side::default() };
        Self {
            sides: honest.map(side),
            objects: BTreeMap::new(),
            tracker: false,
            shunned: [false; 2],
        }
    }

    /// Looks at bytes that `side` is about to send; `who` are the nodes of sender and receiver.
    pub(crate) fn sent(
        &mut self,
        side: usize,
        mut bytes: &[u8],
        who: [usize; 2],
        nodes: &[Node],
        check: &mut Check,
    ) {
        if self.tracker || self.sides[side].ignored {
            return;
        }
        if nodes[who[0]].is_tracker() || nodes[who[1]].is_tracker() {
            self.tracker = true;
            return;
        }
        loop {
            let mut reader = std::mem::take(&mut self.sides[side].reader);
            let seen = match reader.next(&mut bytes) {
                Ok(None) => {
                    self.sides[side].reader = reader;
                    return;
                }
                Ok(Some(Incoming::Message(message))) => {
                    self.message(side, message, who, nodes, check)
                }
                Ok(Some(Incoming::Data { head, offset, bytes })) => {
                    self.count(who[0], &head, offset, bytes.len(), check);
                    self.data(side, &head, offset, bytes, check, &nodes[who[0]].disk)
                }
                Ok(Some(Incoming::Skipped { .. })) => Ok(()),
                Err(error) => Err(format!("sends what makes no sense: {error}")),
            };
            self.sides[side].reader = reader;
            if let Err(problem) = seen {
                let [from, to] = who;
                check.fail("S1/S7", format!("node {from} to node {to}: {problem}"));
                self.sides[side].ignored = true;
                return;
            }
        }
    }

    fn message(
        &mut self,
        side: usize,
        message: Message,
        who: [usize; 2],
        nodes: &[Node],
        check: &Check,
    ) -> Result<(), String> {
        let both_honest = !self.sides[1 - side].ignored;
        match message {
            Message::Hello(hello) => self.sides[side].window = u32::from(hello.window),
            Message::Open(open) => {
                self.objects.insert(open.channel.0, open.object);
            }
            Message::Close(close) => {
                for side in &mut self.sides {
                    side.open.retain(|(channel, _, _), _| *channel != close.channel.0);
                    side.dead_channels.insert(close.channel.0);
                }
            }
            Message::Bitmap(bitmap) => {
                let set = bitmap.holdings.to_set(bitmap.piece_count);
                let pieces: Vec<u32> = set.iter().flat_map(PieceSet::iter).collect();
                return self.offered(bitmap.channel.0, &pieces, who, nodes, check);
            }
            Message::Have(have) => {
                return self.offered(have.channel.0, &have.pieces, who, nodes, check);
            }
            Message::Bye(bye)
                if both_honest
                    && BLAME.contains(&bye.code)
                    && !check.may_blame.contains(&who[1]) =>
            {
                let (code, text) = (bye.code, bye.text);
                return Err(format!("BYE({code}), though the other is honest (S6): {text}"));
            }
            Message::Request(_) if self.shunned[side] => {
                return Err("asks a node that it found corrupt before (S6)".to_owned());
            }
            Message::Request(request) if both_honest => {
                let key = (request.block.channel.0, request.block.piece, request.block.begin);
                if self.sides[side].dead_channels.contains(&key.0) {
                    return Ok(());
                }
                if self.sides[side].open.insert(key, request.len).is_some() {
                    return Err(format!("requests {key:?} twice"));
                }
                let open = self.sides[side].open.len();
                if open > self.sides[1 - side].window as usize {
                    return Err(format!("has {open} requests open"));
                }
            }
            Message::Reject(reject) if both_honest => {
                let key = (reject.block.channel.0, reject.block.piece, reject.block.begin);
                let closed = self.sides[1 - side].dead_channels.contains(&key.0);
                if self.sides[1 - side].open.remove(&key).is_none() && !closed {
                    return Err(format!("rejects {key:?}, which is not open"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A REQUEST without an answer, if both sides are looked at.
    pub(crate) fn unanswered(&self) -> Option<(u32, u32, u32)> {
        let seen = self.sides.iter().all(|side| !side.ignored) && self.shunned == [false; 2];
        let mut open = self.sides.iter().flat_map(|side| side.open.keys());
        open.next().copied().filter(|_| seen)
    }

    fn offered(
        &self,
        channel: u32,
        pieces: &[u32],
        who: [usize; 2],
        nodes: &[Node],
        check: &Check,
    ) -> Result<(), String> {
        let Some(object) = self.objects.get(&channel) else { return Ok(()) };
        let disk = &nodes[who[0]].disk;
        if disk.tampered() {
            return Ok(());
        }
        match pieces.iter().find(|piece| !check.holds(who[0], disk, *object, **piece)) {
            Some(piece) => Err(format!("offers piece {piece} of {object:?}, which it has not")),
            None => Ok(()),
        }
    }

    fn count(
        &self,
        from: usize,
        head: &protocol::message::DataHead,
        offset: u32,
        len: usize,
        check: &mut Check,
    ) {
        let Some(object) = self.objects.get(&head.block.channel.0) else { return };
        let Some(truth) = check.truths.get(object) else { return };
        let count = truth.manifest.geometry().piece_count();
        let left = check.left.entry((from, *object)).or_default();
        left.pieces.resize(usize::try_from(count).unwrap_or(0), 0);
        let Some(piece) = left.pieces.get_mut(head.block.piece as usize) else { return };
        left.bytes += len as u64;
        if head.block.begin == 0 && offset == 0 {
            *piece += 1;
        }
        if left.bytes_until_all.is_none() && left.pieces.iter().all(|times| *times > 0) {
            left.bytes_until_all = Some(left.bytes);
        }
    }

    fn data(
        &mut self,
        side: usize,
        head: &protocol::message::DataHead,
        offset: u32,
        bytes: &[u8],
        check: &Check,
        disk: &Disk,
    ) -> Result<(), String> {
        let key = (head.block.channel.0, head.block.piece, head.block.begin);
        if offset == 0 && !self.sides[1 - side].ignored {
            let closed = self.sides[1 - side].dead_channels.contains(&key.0);
            match self.sides[1 - side].open.remove(&key) {
                None if !closed => return Err(format!("sends {key:?}, which is not open")),
                Some(len) if len != head.len => {
                    return Err(format!("sends {} bytes for a request of {len}", head.len));
                }
                _ => {}
            }
        }
        let Some(truth) = self.objects.get(&key.0).and_then(|id| check.truths.get(id)) else {
            return Ok(());
        };
        let whole = if head.block.piece == MANIFEST_PIECE {
            Some(&**truth.manifest.bytes())
        } else {
            truth.piece(head.block.piece)
        };
        let start = usize::try_from(u64::from(head.block.begin) + u64::from(offset)).ok();
        let right = whole.zip(start).and_then(|(whole, at)| whole.get(at..at + bytes.len()));
        // Whose file was changed under it sends what the file has become, until it looks.
        if right == Some(bytes) || disk.tampered() {
            Ok(())
        } else {
            Err(format!("sends wrong bytes for {key:?}"))
        }
    }
}
