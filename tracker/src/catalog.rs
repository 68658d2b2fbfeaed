//! Names, their versions, their owners: the part of a tracker that must survive.
//!
//! What is in here is durable: [`Catalog::apply`] is called for writes that the store has committed, and
//! for nothing else. Checking a wish against names and wishes under way is the ledger's.
//!
//! Invariant N1: versions of a name ascend, and none is above its `top`. Invariant N2: `top` never goes
//! down, not even when the name is removed. Invariant N3: each version is in both indices.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, LazyLock};

use protocol::{Digest, ObjectId, Record};

use crate::store::{Write, WriteKind};

/// Versions of one name that are kept; the oldest go first.
pub(crate) const MAX_VERSIONS: usize = 1_000;

/// One version of a name: a [`Record`] without the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1 upwards per name.
    pub version: u32,
    /// The object that this version is.
    pub object: ObjectId,
    /// SHA-256 of the whole file; zero for a folder.
    pub content: Digest,
    /// Bytes of all files together.
    pub length: u64,
    /// Seconds since 1970, set when it was made durable.
    pub published_at: u64,
    /// Bytes of the manifest.
    pub manifest_len: u32,
    /// Pieces of the object.
    pub piece_count: u32,
    /// Files of the object.
    pub file_count: u32,
    /// Piece size = 2 to this power.
    pub piece_log2: u8,
}

impl Version {
    /// The version that a PUBLISH asks for, with the number that it gets.
    pub(crate) fn from_record(record: &Record, version: u32) -> Self {
        Self {
            version,
            object: record.object,
            content: record.content,
            length: record.length,
            published_at: 0,
            manifest_len: record.manifest_len,
            piece_count: record.piece_count,
            file_count: record.file_count,
            piece_log2: record.piece_log2,
        }
    }

    fn to_record(&self, name: &str) -> Record {
        Record {
            object: self.object,
            content: self.content,
            length: self.length,
            published_at: self.published_at,
            version: self.version,
            manifest_len: self.manifest_len,
            piece_count: self.piece_count,
            file_count: self.file_count,
            piece_log2: self.piece_log2,
            name: name.to_owned(),
        }
    }
}

/// All that is durable about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEntry {
    /// The SHA-256 of the key that its first publisher showed: a copied database gives no key away.
    pub owner: Digest,
    /// The highest version ever given out.
    pub top: u32,
    /// Wanted copies, 0 = the tracker's default.
    pub copies: u8,
    /// Ascending by number; empty after the name was removed.
    pub versions: Vec<Version>,
}

impl NameEntry {
    pub(crate) fn newest(&self) -> Option<&Version> {
        if canary!("older-version") {
            return self.versions.first();
        }
        self.versions.last()
    }
}

/// Everything that a store holds: what a tracker starts with.
pub type Snapshot = Vec<(String, NameEntry)>;

/// All names, in memory.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    live: BTreeMap<Arc<str>, NameEntry>,
    /// Removed names: their counters and owners stay.
    retired: BTreeMap<Arc<str>, NameEntry>,
    by_object: BTreeSet<(ObjectId, Arc<str>, u32)>,
    by_content: BTreeSet<(Digest, Arc<str>, u32)>,
    /// Bytes of the newest versions of all names.
    bytes: u64,
}

impl Catalog {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let mut catalog = Self::default();
        for (name, entry) in snapshot {
            let name: Arc<str> = name.into();
            for version in &entry.versions {
                catalog.index(&name, version);
            }
            catalog.bytes = catalog.bytes.saturating_add(newest_len(&entry));
            let home =
                if entry.versions.is_empty() { &mut catalog.retired } else { &mut catalog.live };
            home.insert(name, entry);
        }
        catalog
    }

    /// A name, whether live or removed.
    pub(crate) fn entry(&self, name: &str) -> Option<&NameEntry> {
        self.live.get(name).or_else(|| self.retired.get(name))
    }

    /// Names that can be found.
    pub(crate) fn name_count(&self) -> usize {
        self.live.len()
    }

    /// Names whose counters are kept: live and removed ones.
    pub(crate) fn known_count(&self) -> usize {
        self.live.len() + self.retired.len()
    }

    /// Versions of all names.
    pub(crate) fn version_count(&self) -> usize {
        self.by_object.len()
    }

    /// Bytes of the newest versions of all names.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A version of a name, 0 for the newest.
    pub(crate) fn by_name(&self, name: &str, version: u32) -> Option<Record> {
        let entry = self.live.get(name)?;
        let found = if version == 0 {
            entry.newest()?
        } else {
            let at = entry.versions.binary_search_by_key(&version, |v| v.version).ok()?;
            &entry.versions[at]
        };
        Some(found.to_record(name))
    }

    /// A version that is this object; the first in the order of names and versions if there are
    /// more.
    pub(crate) fn by_object(&self, id: ObjectId) -> Option<Record> {
        let (_, name, version) = first_of(&self.by_object, id)?;
        self.by_name(name, *version)
    }

    /// As [`Catalog::by_object`], for the content of a single file.
    pub(crate) fn by_content(&self, content: Digest) -> Option<Record> {
        let (_, name, version) = first_of(&self.by_content, content)?;
        self.by_name(name, *version)
    }

    /// The newest versions of names that begin with `prefix` and come after `after`, in byte order.
    pub(crate) fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: &'a str,
    ) -> impl Iterator<Item = Record> + 'a {
        let from = if after < prefix {
            Bound::Included(prefix)
        } else if after.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(after)
        };
        self.live
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .filter_map(|(name, entry)| Some(entry.newest()?.to_record(name)))
    }

    /// Everything, as a store would give it to a tracker that starts.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let all = self.live.iter().chain(&self.retired);
        all.map(|(name, entry)| (name.to_string(), entry.clone())).collect()
    }

    /// Takes over a committed write. `published_at` is when the store committed it.
    pub(crate) fn apply(&mut self, write: Write, published_at: u64) {
        match write.kind {
            WriteKind::Publish { owner, copies, version } => {
                let version = Version { published_at, ..version };
                self.publish(write.name, owner, copies, version);
            }
            WriteKind::Unpublish => self.unpublish(&write.name),
        }
    }

    fn publish(&mut self, name: Arc<str>, owner: Digest, copies: u8, version: Version) {
        let mut entry = self
            .live
            .remove(&name)
            .or_else(|| self.retired.remove(&name))
            .unwrap_or_else(|| NameEntry { owner, top: 0, copies, versions: Vec::new() });
        self.bytes = self.bytes.saturating_sub(newest_len(&entry));
        (entry.top, entry.copies) = (version.version, copies);
        self.index(&name, &version);
        entry.versions.push(version);
        if entry.versions.len() > MAX_VERSIONS {
            let oldest = entry.versions.remove(0);
            self.unindex(&name, &oldest);
        }
        self.bytes = self.bytes.saturating_add(newest_len(&entry));
        self.live.insert(name, entry);
    }

    fn unpublish(&mut self, name: &Arc<str>) {
        let Some(mut entry) = self.live.remove(name) else { return };
        self.bytes = self.bytes.saturating_sub(newest_len(&entry));
        for version in std::mem::take(&mut entry.versions) {
            self.unindex(name, &version);
        }
        self.retired.insert(Arc::clone(name), entry);
    }

    fn index(&mut self, name: &Arc<str>, version: &Version) {
        self.by_object.insert((version.object, Arc::clone(name), version.version));
        // Folders have no content digest: all zeros is nobody's.
        if version.content != Digest::ZERO {
            self.by_content.insert((version.content, Arc::clone(name), version.version));
        }
    }

    fn unindex(&mut self, name: &Arc<str>, version: &Version) {
        self.by_object.remove(&(version.object, Arc::clone(name), version.version));
        self.by_content.remove(&(version.content, Arc::clone(name), version.version));
    }
}

fn newest_len(entry: &NameEntry) -> u64 {
    entry.newest().map_or(0, |version| version.length)
}

/// The first triple that begins with `key`.
fn first_of<K: Ord + Copy>(
    set: &BTreeSet<(K, Arc<str>, u32)>,
    key: K,
) -> Option<&(K, Arc<str>, u32)> {
    // No name is empty, so (key, "", 0) comes before everything that begins with `key`. Made once, because
    // this is asked for each FIND.
    static LOWEST: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));
    let lowest = Arc::clone(&LOWEST);
    set.range((key, lowest, 0)..).next().filter(|(k, _, _)| *k == key)
}
