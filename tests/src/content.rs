//! Files to move: made from a seed, compared byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use protocol::{Digest, Entry, EntryKind, Manifest, SafePath};
use reactor::Rng;

/// Files and empty folders below some path; the file at the path itself has the empty name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Contents by relative path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Relative paths of folders with nothing in them.
    pub folders: BTreeSet<String>,
    /// Relative paths of the files that may be executed.
    pub executable: BTreeSet<String>,
}

impl Tree {
    /// One file of `len` bytes, all different from those of other seeds.
    pub fn file(seed: u64, len: usize) -> Self {
        Self { files: [(String::new(), bytes(seed, len))].into(), ..Self::default() }
    }

    /// With one more file.
    #[must_use]
    pub fn with(mut self, path: &str, content: Vec<u8>) -> Self {
        self.files.insert(path.to_owned(), content);
        self
    }

    /// With one more file, which may be executed.
    #[must_use]
    pub fn with_program(mut self, path: &str, content: Vec<u8>) -> Self {
        self.executable.insert(path.to_owned());
        self.with(path, content)
    }

    /// With one more empty folder.
    #[must_use]
    pub fn with_folder(mut self, path: &str) -> Self {
        self.folders.insert(path.to_owned());
        self
    }

    /// A folder of `count` files of up to `max` bytes.
    pub fn folder(seed: u64, count: usize, max: usize) -> Self {
        let mut rng = Rng::new(seed);
        (0..count).fold(Self::default(), |tree, index| {
            let len = rng.index(max + 1);
            tree.with(&format!("d{}/f{index}", index % 7), bytes(rng.next_u64(), len))
        })
    }

    /// Bytes of all files.
    pub fn len(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The object that this is, in pieces of so many bytes as a power of two.
    ///
    /// # Panics
    /// When no object can be like this.
    pub fn manifest(&self, piece_log2: u8) -> Arc<Manifest> {
        let path = |text: &str| (!text.is_empty()).then(|| SafePath::new(text).expect("a path"));
        let files = self.files.iter().map(|(name, content)| {
            let executable = self.executable.contains(name);
            let (len, digest) = (content.len() as u64, Digest::of(content));
            let kind = EntryKind::File { executable, len, digest };
            let hashes = content.chunks(1 << piece_log2).map(Digest::of).collect();
            (Entry { path: path(name), kind }, hashes)
        });
        let folders = self
            .folders
            .iter()
            .map(|name| (Entry { path: path(name), kind: EntryKind::EmptyFolder }, Vec::new()));
        let entries = files.chain(folders).collect();
        Arc::new(Manifest::build(piece_log2, entries).expect("a small object"))
    }

    /// In what it differs from `other`, in words; `None` if in nothing.
    pub fn difference(&self, other: &Self) -> Option<String> {
        for (path, content) in &self.files {
            match other.files.get(path) {
                None => return Some(format!("'{path}' is missing")),
                Some(there) if there.len() != content.len() => {
                    let (is, ought) = (there.len(), content.len());
                    return Some(format!("'{path}' has {is} bytes instead of {ought}"));
                }
                Some(there) if there == content => {}
                Some(there) => {
                    if let Some(at) = there.iter().zip(content).position(|(a, b)| a != b) {
                        return Some(format!("'{path}' differs at byte {at}"));
                    }
                }
            }
        }
        if let Some(extra) = other.files.keys().find(|path| !self.files.contains_key(*path)) {
            return Some(format!("'{extra}' is too much"));
        }
        if self.executable != other.executable {
            let (is, ought) = (&other.executable, &self.executable);
            return Some(format!("executable are {is:?} instead of {ought:?}"));
        }
        (self.folders != other.folders)
            .then(|| format!("empty folders {:?} instead of {:?}", other.folders, self.folders))
    }
}

/// Bytes that only this seed gives.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    out.truncate(len);
    out
}
