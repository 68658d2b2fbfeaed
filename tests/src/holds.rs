//! Who has what, seen from outside: for rules about a whole swarm at rest.

use std::path::PathBuf;

use peer::disk::StorageErrorKind;
use peer::notice::{Failure, Notice};
use protocol::{Digest, ObjectId, PieceSet};

use crate::journal;
use crate::node::{Life, NodeKey};
use crate::world::World;

impl World {
    /// Pieces of an object that are right on a node's disk, wherever it keeps them. Empty without a
    /// published object of that name.
    pub fn holds(&self, key: NodeKey, object: ObjectId) -> PieceSet {
        let Some((manifest, _)) = self.check.truth(object) else { return PieceSet::empty(0) };
        let geometry = manifest.geometry();
        let mut there = PieceSet::empty(geometry.piece_count());
        let disk = &self.nodes[key.0].disk;
        for piece in geometry.pieces() {
            if self.check.holds(key.0, disk, object, piece.get()) {
                there.insert(piece);
            }
        }
        there
    }

    /// What a node's last process has told since it listened, the newest first.
    pub fn said_in_this_run(&self, key: NodeKey) -> impl Iterator<Item = &Notice> {
        let told = self.nodes[key.0].notices.iter().rev().map(|(_, notice)| notice);
        told.take_while(|notice| !matches!(notice, Notice::Listening { .. }))
    }

    /// Whether a node has found out in this run what the object is.
    pub fn has_manifest(&self, key: NodeKey, object: ObjectId) -> bool {
        let knows = |notice: &Notice| match notice {
            Notice::GotManifest { manifest, .. } | Notice::Hashed { manifest, .. } => {
                manifest.id() == object
            }
            _ => false,
        };
        self.said_in_this_run(key).any(knows)
    }

    /// Whether a node has written down what the object is.
    pub fn keeps_manifest(&self, key: NodeKey, object: ObjectId) -> bool {
        let disk = &self.nodes[key.0].disk;
        let kept = |path: &PathBuf| {
            let bytes = disk.read_all(path).filter(|_| path.ends_with("manifest"));
            bytes.is_some_and(|bytes| Digest::of(&bytes).0 == object.0)
        };
        disk.paths().iter().any(kept)
    }

    /// Of what is right on a node's disk, what it knows of: without the pieces that the journal of its
    /// fetch does not name, if it keeps one.
    pub fn knows_of(&self, key: NodeKey, object: ObjectId) -> PieceSet {
        let held = self.holds(key, object);
        let disk = &self.nodes[key.0].disk;
        let journals = disk.paths().into_iter().filter(|path| path.ends_with("journal"));
        let bytes = journals.filter_map(|path| disk.read_all(&path));
        let claims = bytes.filter_map(|bytes| journal::read(&bytes, object, held.len())).next();
        let Some(claims) = claims else { return held };
        let mut known = PieceSet::empty(held.len());
        let truth = self.check.truth(object);
        let pieces = truth.iter().flat_map(|(manifest, _)| manifest.geometry().pieces());
        let claimed = |piece| claims.durable.contains(piece) || claims.written.contains(piece);
        pieces.filter(|piece| held.contains(*piece) && claimed(*piece)).for_each(|piece| {
            known.insert(piece);
        });
        known
    }

    /// Whether a fetch of a node ended because its disk was full. It may have had no room to write down what
    /// it has, either.
    pub fn ran_out_of_space(&self, key: NodeKey) -> bool {
        self.nodes[key.0].notices.iter().any(|(_, notice)| match notice {
            Notice::Failed(Failure::Storage(error)) => error.kind == StorageErrorKind::NoSpace,
            _ => false,
        })
    }

    /// What none of these has.
    pub fn nowhere(&self, keys: &[NodeKey], object: ObjectId) -> PieceSet {
        let held: Vec<PieceSet> = keys.iter().map(|key| self.holds(*key, object)).collect();
        self.in_none_of(&held, object)
    }

    /// What is in none of these sets of pieces of an object.
    pub fn in_none_of(&self, held: &[PieceSet], object: ObjectId) -> PieceSet {
        let Some((manifest, _)) = self.check.truth(object) else { return PieceSet::empty(0) };
        let mut nowhere = PieceSet::empty(manifest.geometry().piece_count());
        for piece in manifest.geometry().pieces() {
            if !held.iter().any(|held| held.contains(piece)) {
                nowhere.insert(piece);
            }
        }
        nowhere
    }

    /// What a fetch calls missing, if it has said that nothing comes and has not gone on since.
    pub fn called_missing(&self, key: NodeKey) -> Option<PieceSet> {
        let told = self.said_in_this_run(key).find_map(|notice| match notice {
            Notice::Stalled { missing, .. } => Some(missing.pieces.clone()),
            Notice::Resumed => Some(None),
            _ => None,
        });
        told.flatten()
    }

    /// A REQUEST between honest nodes that has no answer. To be asked when all of them are at rest; none
    /// may be left then. (S7)
    pub fn unanswered(&self, among: &[NodeKey]) -> Option<String> {
        let rests =
            |index: usize| self.nodes[index].life == Life::Up && among.contains(&NodeKey(index));
        self.links.iter().flatten().find_map(|link| {
            let lives = link.ends.iter().all(|end| end.known && rests(end.node));
            let open = link.watch.unanswered().filter(|_| lives)?;
            let [a, b] = [0, 1].map(|side| self.nodes[link.ends[side].node].name.as_str());
            Some(format!("between {a} and {b}, nobody answers {open:?}"))
        })
    }
}
