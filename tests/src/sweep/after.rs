//! What must hold on a disk that lost power, looked at from outside and then by starting again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use peer::disk::{FetchKey, FetchSpec, StoreOutcome, StoredPiece, Task, TaskResult};
use peer::storage::Storage;
use protocol::{PieceIndex, PieceSet, SafePath};

use super::shape::{NAME, PLACE, Shape};
use crate::Tree;
use crate::disk::Disk;
use crate::journal::{self, Claims};

/// What a shape's disk must look like.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    shape: &'a Shape,
    precious: Tree,
    other: Tree,
    part: PathBuf,
}

type Verdict = Result<(), String>;

impl<'a> Judge<'a> {
    pub(super) fn new(shape: &'a Shape) -> Self {
        let disk = Disk::default();
        shape.prepare(&disk);
        let tree = |path| disk.tree(Path::new(path)).expect("it was put there");
        let part = PathBuf::from(shape.part());
        Self { shape, precious: tree("/home"), other: tree("/in/other"), part }
    }

    /// Before anything runs again: S2, S3, S4.
    pub(super) fn left(&self, disk: &Disk) -> Verdict {
        self.outside(disk)?;
        self.final_name(disk)?;
        let Some(claims) = self.claims(disk) else { return Ok(()) };
        match claims.durable.iter().find(|raw| !self.right(disk, *raw)) {
            Some(raw) => Err(format!("S2: the journal calls piece {raw} durable, which it is not")),
            None => Ok(()),
        }
    }

    /// S4
    fn outside(&self, disk: &Disk) -> Verdict {
        let same = |path, ought: &Tree| disk.tree(Path::new(path)).as_ref() == Some(ought);
        if !same("/home", &self.precious) || !same("/in/other", &self.other) {
            return Err("S4: something changed that is nobody's business but the user's".into());
        }
        let own = |path: &PathBuf| {
            let ours = [Path::new(PLACE), &self.part];
            ours.iter().any(|ours| path.starts_with(ours))
        };
        let known = |path: &PathBuf| {
            own(path) || path.starts_with("/home") || path.starts_with("/in/other")
        };
        match disk.paths().iter().find(|path| !known(path) && *path != Path::new("/in")) {
            Some(path) => Err(format!("S4: {} appeared", path.display())),
            None => Ok(()),
        }
    }

    /// S3
    fn final_name(&self, disk: &Disk) -> Verdict {
        let is = |path: &Path, ought: &Tree| {
            disk.tree(path).is_some_and(|there| ought.difference(&there).is_none())
        };
        let Some(there) = disk.tree(Path::new(PLACE)) else {
            // What was replaced by steps is still there while nothing has the name.
            let kept = self.shape.old.as_ref().is_none_or(|old| {
                !self.shape.swap
                    && (is(&self.part.join("replaced"), old)
                        || is(&self.part.join("data"), &self.shape.tree))
            });
            return if kept { Ok(()) } else { Err("S3: the old version is gone".into()) };
        };
        match self.shape.tree.difference(&there) {
            Some(how) if self.shape.old.as_ref() != Some(&there) => {
                Err(format!("S3: what has the final name is neither new nor old: {how}"))
            }
            _ => Ok(()),
        }
    }

    fn is_done(&self, disk: &Disk) -> bool {
        let there = disk.tree(Path::new(PLACE));
        there.is_some_and(|there| self.shape.tree.difference(&there).is_none())
    }

    fn claims(&self, disk: &Disk) -> Option<Claims> {
        let bytes = disk.read_all(&self.part.join("journal"))?;
        let manifest = &self.shape.manifest;
        let claims = journal::read(&bytes, manifest.id(), manifest.geometry().piece_count())?;
        (disk.inode(&self.part.join("data")) == Some(claims.inode)).then_some(claims)
    }

    /// Pieces that the journal tells of and that are right: what no later crash may take away.
    pub(super) fn confirmed(&self, disk: &Disk) -> Vec<u32> {
        let Some(claims) = self.claims(disk) else { return Vec::new() };
        let known = (0..claims.durable.len()).filter(|raw| {
            let piece = self.shape.manifest.geometry().piece(*raw);
            piece.is_some_and(|p| claims.durable.contains(p) || claims.written.contains(p))
        });
        known.filter(|raw| self.right(disk, *raw)).collect()
    }

    /// Whether the data has the bytes of a piece.
    fn right(&self, disk: &Disk, raw: u32) -> bool {
        let manifest = &self.shape.manifest;
        let Some(piece) = manifest.geometry().piece(raw) else { return false };
        let span = manifest.geometry().span(piece);
        let entry = &manifest.entries()[span.file];
        let data = self.part.join("data");
        let path =
            entry.path.as_ref().map_or_else(|| data.clone(), |path| data.join(path.as_str()));
        disk.read(&path, span.offset, span.len as usize).as_deref() == Some(self.piece(piece))
    }

    fn piece(&self, piece: PieceIndex) -> &[u8] {
        let manifest = &self.shape.manifest;
        let span = manifest.geometry().span(piece);
        let path = manifest.entries()[span.file].path.as_ref().map_or("", SafePath::as_str);
        let start = usize::try_from(span.offset).expect("shapes are small");
        &self.shape.tree.files[path][start..start + span.len as usize]
    }

    /// After all is done.
    pub(super) fn done(&self, disk: &Disk) -> Verdict {
        self.outside(disk)?;
        if let Some(stray) = disk.strays().first() {
            return Err(format!("S4: {} was touched", stray.display()));
        }
        if !self.is_done(disk) {
            return Err("S1: the next run completes something else".into());
        }
        match disk.tree(&self.part) {
            Some(_) => Err("S15: the part folder is left".into()),
            None => Ok(()),
        }
    }

    /// Starts storage again, stores what is missing, finishes; `confirmed` must have been kept.
    pub(super) fn restart(&self, disk: &Disk, confirmed: &[u32]) -> Verdict {
        const FETCH: FetchKey = FetchKey(1);
        let storage = Storage::new(Arc::new(disk.clone()), None);
        let spec = FetchSpec {
            manifest: Arc::clone(&self.shape.manifest),
            folder: PathBuf::from("/in"),
            file_name: NAME.to_owned(),
            part: None,
            if_exists: self.shape.if_exists(),
            sync: true,
            reserve: 0,
        };
        let was_done = self.is_done(disk);
        let prepared = match storage.run(Task::Prepare { fetch: FETCH, spec: Box::new(spec) }) {
            TaskResult::Prepared { outcome, .. } => outcome,
            other => return Err(format!("unexpected {other:?}")),
        };
        let prepared = prepared.map_err(|error| format!("it does not start again: {error}"))?;
        if prepared.finished.is_none() {
            let mut have = prepared.have;
            let geometry = self.shape.manifest.geometry();
            let pieces: Vec<PieceIndex> =
                prepared.doubtful.iter().filter_map(|raw| geometry.piece(raw)).collect();
            match storage.run(Task::Recheck { fetch: FETCH, pieces }) {
                TaskResult::Rechecked { outcome: Ok(pieces), .. } => {
                    for (piece, _) in pieces.into_iter().filter(|(_, there)| *there) {
                        have.insert(piece);
                    }
                }
                other => return Err(format!("it does not look again: {other:?}")),
            }
            self.resumed(disk, &have, if was_done { &[] } else { confirmed })?;
            let missing = geometry.pieces().filter(|piece| !have.contains(*piece));
            let pieces = missing.map(|piece| (piece, self.piece(piece).to_vec())).collect();
            let stored = storage.run(Task::Store { fetch: FETCH, pieces });
            let right = |one: &StoredPiece| matches!(one.outcome, Ok(StoreOutcome::Stored));
            match &stored {
                TaskResult::Stored { pieces, .. } if pieces.iter().all(right) => {}
                other => return Err(format!("it stores no more: {other:?}")),
            }
        }
        if let TaskResult::Finished { outcome: Err(error), .. } =
            storage.run(Task::Finish { fetch: FETCH })
        {
            return Err(format!("it does not finish: {error}"));
        }
        drop(storage.run(Task::Release { fetch: FETCH }));
        self.done(disk)
    }

    fn resumed(&self, disk: &Disk, have: &PieceSet, confirmed: &[u32]) -> Verdict {
        if let Some(raw) = have.iter().find(|raw| !self.right(disk, *raw)) {
            return Err(format!("S1: piece {raw} counts as stored, and is wrong"));
        }
        match confirmed.iter().find(|raw| !have.iter().any(|have| have == **raw)) {
            Some(raw) => Err(format!("S2: piece {raw} was safe, and is lost")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::bytes;

    /// What the judge says of a disk that `spoil` did something to.
    fn verdicts(shape: &Shape, spoil: impl FnOnce(&Disk)) -> [String; 2] {
        let disk = Disk::default();
        shape.prepare(&disk);
        spoil(&disk);
        let judge = Judge::new(shape);
        [judge.left(&disk), judge.done(&disk)].map(|verdict| verdict.err().unwrap_or_default())
    }

    #[test]
    fn each_rule_is_seen_broken() {
        let shape = Shape::folder();
        let put = |path: &'static str, tree: Tree| move |disk: &Disk| disk.put(path, &tree);
        let [left, done] = verdicts(&shape, put(PLACE, shape.tree.clone()));
        assert_eq!([left, done], ["", ""], "all is well");
        let [left, done] = verdicts(&shape, put("/home/precious", Tree::file(1, 5_000)));
        assert!(left.starts_with("S4") && done.starts_with("S4"), "{left} {done}");
        let [left, _] = verdicts(&shape, put("/in/stray", Tree::file(1, 5)));
        assert!(left.starts_with("S4"), "{left}");
        let [left, done] =
            verdicts(&shape, put(PLACE, shape.tree.clone().with("z", bytes(1, 700))));
        assert!(left.starts_with("S3") && done.starts_with("S1"), "{left} {done}");
        let [_, done] = verdicts(&shape, |disk| {
            disk.put(PLACE, &shape.tree);
            disk.put(&shape.part(), &Tree::default().with("lock", Vec::new()));
        });
        assert!(done.starts_with("S15"), "{done}");
        let [left, _] = verdicts(&Shape::version(), |disk| disk.delete(PLACE));
        assert!(left.starts_with("S3"), "{left}");
    }
}
