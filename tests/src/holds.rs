//! Who has what, seen from outside: for rules about a whole swarm at rest.

use peer::notice::Notice;
use protocol::{ObjectId, PieceSet};

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

    /// What none of these has.
    pub fn nowhere(&self, keys: &[NodeKey], object: ObjectId) -> PieceSet {
        let Some((manifest, _)) = self.check.truth(object) else { return PieceSet::empty(0) };
        let held: Vec<PieceSet> = keys.iter().map(|key| self.holds(*key, object)).collect();
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
        let told = self.nodes[key.0].notices.iter().rev().find_map(|(_, notice)| match notice {
            Notice::Stalled { missing, .. } => Some(missing.pieces.clone()),
            Notice::Resumed | Notice::Listening { .. } => Some(None),
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
