//! The manifest: sizes, paths, per-file SHA-256 and per-piece SHA-256 of an object, in canonical bytes.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::limits::{
    MAX_FILES, MAX_MANIFEST, MAX_PATH, MAX_PIECE_LOG2, MAX_PIECES, MIN_PIECE_LOG2,
};
use crate::wire::{Reader, Writer};
use crate::{DecodeError, Digest, Geometry, ObjectId, PathError, PieceIndex, SafePath, rules};

/// First four bytes of every manifest: `SWPM`.
const MAGIC: u32 = 0x5357_504D;
const VERSION: u8 = 1;
/// Bytes before the first entry.
const HEADER: usize = 12;
/// Bytes of an entry beside its path.
const ENTRY: usize = 43;
const HASH: usize = 32;
const EXECUTABLE: u8 = 1;

/// Why bytes are not a manifest, or files can't be described by one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem} [{rule}]")]
pub struct ManifestError {
    /// What is wrong, in words.
    pub problem: String,
    /// Requirement id in the spec.
    pub rule: &'static str,
}

impl ManifestError {
    pub(crate) fn new(problem: impl Into<String>, rule: &'static str) -> Self {
        Self { problem: problem.into(), rule }
    }
}

impl From<DecodeError> for ManifestError {
    fn from(error: DecodeError) -> Self {
        let DecodeError::Field { field, offset, problem, rule } = error else {
            return Self::new(error.to_string(), rules::MANIFEST_EXACT);
        };
        // The rules for frames have their own ids where they are rules for manifests.
        let rule = match rule {
            rules::EXACT => rules::MANIFEST_EXACT,
            rules::UTF8 => rules::PATH_LEN,
            other => other,
        };
        Self::new(format!("{field} at offset {offset}: {problem}"), rule)
    }
}

impl From<PathError> for ManifestError {
    fn from(error: PathError) -> Self {
        Self::new(error.problem, error.rule)
    }
}

/// What an entry of a manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File {
        /// May be executed.
        executable: bool,
        /// Bytes; may be 0.
        len: u64,
        /// SHA-256 of all its bytes.
        digest: Digest,
    },
    /// A folder with nothing in it.
    EmptyFolder,
}

/// One file or empty folder of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the object's folder; `None` only for the one file of a file object.
    pub path: Option<SafePath>,
    /// What it is.
    pub kind: EntryKind,
}

impl Entry {
    /// Bytes of its content; 0 for an empty folder.
    pub fn len(&self) -> u64 {
        match self.kind {
            EntryKind::File { len, .. } => len,
            EntryKind::EmptyFolder => 0,
        }
    }

    /// Whether it has no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its path as it stands in the manifest: an empty folder's ends in `/`.
    fn wire_path(&self) -> String {
        let path = self.path.as_ref().map_or("", SafePath::as_str);
        match self.kind {
            EntryKind::File { .. } => path.to_owned(),
            EntryKind::EmptyFolder => format!("{path}/"),
        }
    }

    fn read(r: &mut Reader<'_>, raw_path: &str) -> Result<Self, ManifestError> {
        let at = r.offset();
        let flags = r.u8("flags")?;
        r.check(flags & !EXECUTABLE == 0, at, "flags", "expected 0 or 1", rules::ENTRY_FLAGS)?;
        let len = r.u64("length")?;
        let digest = Digest(r.array("sha256")?);
        if let Some(folder) = raw_path.strip_suffix('/') {
            let bare = flags == 0 && len == 0 && digest == Digest::ZERO;
            r.check(
                bare,
                at,
                "flags",
                "an empty folder with flags, length or hash",
                rules::FOLDER,
            )?;
            let path = Some(SafePath::new(folder)?);
            return Ok(Self { path, kind: EntryKind::EmptyFolder });
        }
        let path = if raw_path.is_empty() { None } else { Some(SafePath::new(raw_path)?) };
        let executable = flags == EXECUTABLE;
        Ok(Self { path, kind: EntryKind::File { executable, len, digest } })
    }

    fn write(&self, path: &str, w: &mut Writer<'_>) {
        w.str16(path, MAX_PATH + 1);
        let (executable, len, digest) = match self.kind {
            EntryKind::File { executable, len, digest } => (executable, len, digest),
            EntryKind::EmptyFolder => (false, 0, Digest::ZERO),
        };
        w.u8(u8::from(executable));
        w.u64(len);
        w.bytes(&digest.0);
    }
}

/// A checked manifest with its bytes and identity. Cheap to share: keep it in an [`Arc`].
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    bytes: Arc<[u8]>,
    id: ObjectId,
    entries: Vec<Entry>,
    geometry: Geometry,
    hashes_at: usize,
}

/// Without its bytes and entries: there may be millions.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("id", &self.id)
            .field("entries", &self.entries.len())
            .field("total_len", &self.geometry.total_len())
            .field("pieces", &self.geometry.piece_count())
            .finish_non_exhaustive()
    }
}

impl Manifest {
    /// Checks bytes that came from outside. Memory and time are linear in their length.
    ///
    /// # Errors
    /// [`ManifestError`] names the rule that is broken.
    pub fn parse(bytes: Arc<[u8]>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST as usize {
            return Err(ManifestError::new("more than 16 MiB of manifest", rules::MANIFEST_LEN));
        }
        let mut r = Reader::new(&bytes);
        let magic = r.u32("magic")?;
        r.check(magic == MAGIC, 0, "magic", "expected 'SWPM'", rules::MANIFEST_HEADER)?;
        r.u8_in("version", VERSION..=VERSION, rules::MANIFEST_HEADER)?;
        let piece_log2 =
            r.u8_in("piece_log2", MIN_PIECE_LOG2..=MAX_PIECE_LOG2, rules::PIECE_LOG2)?;
        r.u16_in("zero", 0..=0, rules::MANIFEST_HEADER)?;
        let file_count = r.u32_in("file_count", 1..=MAX_FILES, rules::FILE_COUNT)?;
        let entries = read_entries(&mut r, file_count as usize)?;
        let geometry = Geometry::new(piece_log2, entries.iter().map(Entry::len))
            .ok_or_else(|| ManifestError::new("more than 262,144 pieces", rules::PIECE_COUNT))?;
        let hashes_at = r.offset();
        r.bytes("piece_hashes", HASH * geometry.piece_count() as usize)?;
        r.finish()?;
        let id = ObjectId(Digest::of(&bytes).0);
        Ok(Self { bytes, id, entries, geometry, hashes_at })
    }

    /// Describes files: entries in any order (they are sorted here), and each file's piece hashes in the
    /// order of `entries` as given.
    ///
    /// # Errors
    /// When a limit or a path rule is broken, or the number of hashes does not fit the lengths.
    pub fn build(
        piece_log2: u8,
        entries: Vec<(Entry, Vec<Digest>)>,
    ) -> Result<Self, ManifestError> {
        let count = u32::try_from(entries.len()).ok().filter(|count| *count <= MAX_FILES);
        let Some(count) = count else {
            return Err(ManifestError::new("more than 131,072 files", rules::FILE_COUNT));
        };
        let mut entries: Vec<_> =
            entries.into_iter().map(|(entry, hashes)| (entry.wire_path(), entry, hashes)).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));

        let mut size = HEADER;
        for (path, entry, hashes) in &entries {
            let expected = entry.len().div_ceil(1 << piece_log2.min(MAX_PIECE_LOG2));
            if hashes.len() as u64 != expected {
                let problem = format!("{path:?}: {expected} pieces, {} hashes", hashes.len());
                return Err(ManifestError::new(problem, rules::MANIFEST_EXACT));
            }
            size += ENTRY + path.len() + HASH * hashes.len();
        }
        if size > MAX_MANIFEST as usize {
            let problem = format!("a manifest of {size} bytes, at most {MAX_MANIFEST}");
            return Err(ManifestError::new(problem, rules::MANIFEST_LEN));
        }

        let mut bytes = Vec::with_capacity(size);
        let mut w = Writer::plain(&mut bytes, size);
        w.u32(MAGIC);
        w.u8(VERSION);
        w.u8(piece_log2);
        w.u16(0);
        w.u32(count);
        for (path, entry, _) in &entries {
            entry.write(path, &mut w);
        }
        for hash in entries.iter().flat_map(|(_, _, hashes)| hashes) {
            w.bytes(&hash.0);
        }
        // All other rules: the same check as for bytes of strangers.
        Self::parse(bytes.into())
    }

    /// The power of two that the default rule gives for files of these lengths, so that independent
    /// seeders of the same files agree; `None` if no piece size fits the limits.
    pub fn default_piece_log2(file_lens: &[u64]) -> Option<u8> {
        let total = file_lens.iter().try_fold(0u64, |sum, len| sum.checked_add(*len))?;
        // [M-15]
        let by_size = match total {
            0..=0x4000_0000 => 18,
            0x4000_0001..=0x1_0000_0000 => 19,
            _ => 20,
        };
        (by_size..=MAX_PIECE_LOG2).find(|log2| {
            let pieces = file_lens.iter().map(|len| len.div_ceil(1 << log2)).sum::<u64>();
            pieces <= u64::from(MAX_PIECES)
        })
    }

    /// The canonical bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// SHA-256 of the canonical bytes.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// Files and empty folders, ascending by the bytes of their paths.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether it is one file rather than a folder.
    pub fn is_single_file(&self) -> bool {
        self.entries.len() == 1 && self.entries[0].path.is_none()
    }

    /// How it is cut into pieces.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The hash that a piece must have.
    pub fn piece_hash(&self, piece: PieceIndex) -> Digest {
        let at = self.hashes_at + 32 * piece.index();
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.bytes[at..at + 32]);
        Digest(hash)
    }

    /// SHA-256 of the content of a file object; zero for a folder.
    pub fn content(&self) -> Digest {
        match self.entries.as_slice() {
            [Entry { path: None, kind: EntryKind::File { digest, .. } }] => *digest,
            _ => Digest::ZERO,
        }
    }

    /// Piece size as a power of two.
    pub fn piece_log2(&self) -> u8 {
        self.geometry.piece_log2()
    }
}

/// The entries, in the one order that is allowed.
fn read_entries(r: &mut Reader<'_>, count: usize) -> Result<Vec<Entry>, ManifestError> {
    // A count that the bytes can't hold is refused before there is memory for it.
    let enough = count <= r.remaining() / ENTRY;
    r.check(enough, 8, "file_count", "more than there are bytes for", rules::MANIFEST_EXACT)?;
    let mut entries = Vec::with_capacity(count);
    let mut order = Order::default();
    for _ in 0..count {
        let at = r.offset();
        let path = r.str16("path", MAX_PATH + 1)?;
        let named = !path.is_empty() || count == 1;
        r.check(named, at, "path", "empty, one of several", rules::EMPTY_PATH)?;
        order.accept(path).map_err(|(problem, rule)| {
            ManifestError::new(format!("path at offset {at}: {problem}"), rule)
        })?;
        entries.push(Entry::read(r, path)?);
    }
    Ok(entries)
}

/// Checks that paths ascend and that none lies below a file or an empty folder.
///
/// In byte order all paths with the same front stand together, but not right behind the path that is
/// this front (`a`, `a-b`, `a/c`). So it keeps those paths that are fronts of the latest: each is one of
/// the fronts of the next path too, or of none that follows. Time is linear in the bytes of all paths.
#[derive(Default)]
struct Order<'a> {
    fronts: Vec<&'a str>,
}

impl<'a> Order<'a> {
    fn accept(&mut self, path: &'a str) -> Result<(), (&'static str, &'static str)> {
        // [M-7]
        if self.fronts.last().is_some_and(|last| path <= *last) {
            return Err(("not above the one before", rules::ORDER));
        }
        while let Some(last) = self.fronts.last()
            && !path.starts_with(last)
        {
            self.fronts.pop();
        }
        let inside =
            |front: &&str| front.ends_with('/') || path.as_bytes().get(front.len()) == Some(&b'/');
        // [M-12]
        if self.fronts.iter().any(inside) {
            return Err(("below a file or an empty folder", rules::CONFLICT));
        }
        self.fronts.push(path);
        Ok(())
    }
}
