//! From listed and hashed files to objects: what is hashed, which manifest that gives, which record.
//!
//! Plain functions; nothing of the machine is known here.

use protocol::{Entry, EntryKind, Manifest, Record};

use crate::disk::{
    FileHashes, HashJob, ScannedFile, ScannedObject, StorageError, StorageErrorKind,
};
use crate::hashing::WorkKey;
use crate::swarm::SharedFiles;

/// The files to serve an object from.
pub(super) fn shared_files(
    key: WorkKey,
    scanned: &ScannedObject,
    manifest: &Manifest,
) -> SharedFiles {
    let files = scanned.files.iter().map(|file| (file.path.clone(), file.stamp)).collect();
    let mut next = 0;
    let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File { .. });
    let of_entry = manifest.entries().iter().map(|entry| {
        next += usize::from(is_file(entry));
        is_file(entry).then(|| next - 1)
    });
    let of_entry = of_entry.collect();
    SharedFiles { share: key.0, object: key.1, files, of_entry }
}

/// What has to be hashed of it.
pub(super) fn hash_jobs(
    scanned: &ScannedObject,
    piece_log2: Option<u8>,
) -> Result<Vec<HashJob>, StorageError> {
    let lens: Vec<_> = scanned.files.iter().map(|file| file.stamp.len).collect();
    let Some(piece_log2) = piece_log2.or_else(|| Manifest::default_piece_log2(&lens)) else {
        return Err(StorageError {
            kind: StorageErrorKind::BadName,
            what: format!(
                "{} files of {} bytes are more than one object may have",
                lens.len(),
                lens.iter().sum::<u64>()
            ),
            path: scanned.path.clone(),
            advice: Some("share its sub-folders one by one: peer seed FOLDER".into()),
        });
    };
    let job =
        |file: &ScannedFile| HashJob { path: file.path.clone(), stamp: file.stamp, piece_log2 };
    Ok(scanned.files.iter().map(job).collect())
}

/// The manifest that these hashes give.
pub(super) fn build_manifest(
    scanned: &ScannedObject,
    hashes: Vec<FileHashes>,
    piece_log2: Option<u8>,
) -> Result<Manifest, StorageError> {
    let lens: Vec<_> = scanned.files.iter().map(|file| file.stamp.len).collect();
    let files = scanned.files.iter().zip(hashes).map(|(file, hashes)| {
        let kind = EntryKind::File {
            executable: file.executable,
            len: file.stamp.len,
            digest: hashes.digest,
        };
        (Entry { path: file.relative.clone(), kind }, hashes.pieces)
    });
    let folders = scanned
        .empty_folders
        .iter()
        .map(|path| (Entry { path: Some(path.clone()), kind: EntryKind::EmptyFolder }, Vec::new()));
    let piece_log2 = piece_log2.or_else(|| Manifest::default_piece_log2(&lens));
    Manifest::build(piece_log2.unwrap_or_default(), files.chain(folders).collect()).map_err(
        |error| StorageError {
            kind: StorageErrorKind::BadName,
            what: format!("can't be shared: {error}"),
            path: scanned.path.clone(),
            advice: None,
        },
    )
}

/// What the tracker is told of it.
pub(super) fn record_of(name: &str, manifest: &Manifest) -> Record {
    let count = |len: usize| u32::try_from(len).expect("limited when the manifest was built");
    Record {
        object: manifest.id(),
        content: manifest.content(),
        length: manifest.geometry().total_len(),
        published_at: 0,
        version: 0,
        manifest_len: count(manifest.bytes().len()),
        piece_count: manifest.geometry().piece_count(),
        file_count: count(manifest.entries().len()),
        piece_log2: manifest.piece_log2(),
        name: name.to_owned(),
    }
}
