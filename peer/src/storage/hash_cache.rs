//! The memory of earlier runs: which file hashes to what, in one SQLite database that several processes
//! may share.
//!
//! A file is known again by device, inode, length, both its times and the piece size. Times tell a
//! change only if it did not come within one tick of them, so a file is remembered only if it was at
//! least 2 seconds old when hashing began (its clock is assumed to be within that of ours; writing
//! through a mapping may escape any such rule, as it does with other tools).
//!
//! It is only a memory: whatever is wrong with it, hashing goes on without it. A row carries a CRC; a
//! database that SQLite can't read is set aside under another name, and a new one begun.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::Digest;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use crate::disk::{FileHashes, HashJob, StorageError};

use super::error::refused;

/// Of the tables below; a database of another one is set aside.
const SCHEMA: i64 = 1;
/// Files not met for so long are forgotten.
const KEEP_DAYS: i64 = 180;
/// Wait so long for another process.
const BUSY: Duration = Duration::from_secs(2);

/// Remembered hashes.
pub struct HashCache {
    path: PathBuf,
    /// `None` while the database can't be used.
    db: Option<Connection>,
    /// Days since 1970.
    today: i64,
    pruned: bool,
}

impl HashCache {
    /// Opens the database at `path`, or makes it. `now` is the time since 1970.
    ///
    /// # Errors
    /// When there can be no database at that path.
    pub fn open(path: &Path, now: Duration) -> Result<Self, StorageError> {
        let today = i64::try_from(now.as_secs() / 86_400).unwrap_or(i64::MAX);
        let mut cache = Self { path: path.to_owned(), db: None, today, pruned: false };
        let opened = connect(path).or_else(|_| {
            cache.set_aside();
            connect(path)
        });
        let db = opened
            .map_err(|cause| refused("open the hash cache", path, &std::io::Error::other(cause)))?;
        cache.db = Some(db);
        Ok(cache)
    }

    /// What files hash to; `None` for those that are not known.
    pub(super) fn lookup(&mut self, jobs: &[HashJob]) -> Vec<Option<FileHashes>> {
        let Some(db) = &mut self.db else { return Vec::new() };
        match find_all(db, jobs, self.today) {
            Ok(found) => found,
            Err(cause) => {
                self.failed(&cause);
                Vec::new()
            }
        }
    }

    /// Adds what was hashed.
    pub(super) fn remember(&mut self, hashed: &[(HashJob, FileHashes)]) {
        let Some(db) = &mut self.db else { return };
        let forget_before = (!self.pruned).then(|| self.today.saturating_sub(KEEP_DAYS));
        match add_all(db, hashed, self.today, forget_before) {
            Ok(()) => self.pruned = true,
            Err(cause) => self.failed(&cause),
        }
    }

    /// A busy or full database is passed over this time, a broken one replaced.
    fn failed(&mut self, cause: &rusqlite::Error) {
        log::warn!("hash cache not used path={}: {cause}", self.path.display());
        let broken = matches!(
            cause.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None
        );
        if broken {
            self.db = None;
            self.set_aside();
            self.db = connect(&self.path).ok();
        }
    }

    fn set_aside(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let with = |middle: &str| {
                let mut name = self.path.clone().into_os_string();
                name.push(middle);
                name.push(suffix);
                PathBuf::from(name)
            };
            if let Err(cause) = std::fs::rename(with(""), with(".bad"))
                && cause.kind() != std::io::ErrorKind::NotFound
            {
                log::warn!("could not set the hash cache aside: {cause}");
            }
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match step.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
        SCHEMA => {}
        0 => {
            step.execute_batch(
                "CREATE TABLE hashes (
                    device INTEGER NOT NULL, inode INTEGER NOT NULL, piece_log2 INTEGER NOT NULL,
                    len INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
                    seen INTEGER NOT NULL, crc INTEGER NOT NULL,
                    digest BLOB NOT NULL, pieces BLOB NOT NULL,
                    UNIQUE (device, inode, piece_log2)
                )",
            )?;
            step.pragma_update(None, "user_version", SCHEMA)?;
        }
        _ => return Err(rusqlite::Error::InvalidQuery),
    }
    step.commit()?;
    Ok(db)
}

/// What a file is known by, as SQLite has it.
struct Key {
    device: i64,
    inode: i64,
    len: i64,
    mtime_ns: i64,
    ctime_ns: i64,
    piece_log2: u8,
}

impl Key {
    /// `None` for times that no file has.
    fn of(job: &HashJob) -> Option<Self> {
        Some(Self {
            device: job.stamp.device.cast_signed(),
            inode: job.stamp.inode.cast_signed(),
            len: job.stamp.len.cast_signed(),
            mtime_ns: i64::try_from(job.stamp.mtime_ns).ok()?,
            ctime_ns: i64::try_from(job.stamp.ctime_ns).ok()?,
            piece_log2: job.piece_log2,
        })
    }

    fn crc(&self, digest: &[u8], pieces: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        for number in [self.device, self.inode, self.len, self.mtime_ns, self.ctime_ns] {
            crc.update(&number.to_be_bytes());
        }
        crc.update(&[self.piece_log2]);
        crc.update(digest);
        crc.update(pieces);
        crc.finalize()
    }
}

fn find_all(
    db: &mut Connection,
    jobs: &[HashJob],
    today: i64,
) -> rusqlite::Result<Vec<Option<FileHashes>>> {
    let mut found = Vec::with_capacity(jobs.len());
    let mut seen = Vec::new();
    let step = db.transaction()?;
    {
        let mut query = step.prepare_cached(
            "SELECT seen, crc, digest, pieces, rowid FROM hashes
             WHERE device = ?1 AND inode = ?2 AND piece_log2 = ?3
             AND len = ?4 AND mtime_ns = ?5 AND ctime_ns = ?6",
        )?;
        for job in jobs {
            let Some(key) = Key::of(job) else {
                found.push(None);
                continue;
            };
            let Key { device, inode, piece_log2, len, mtime_ns, ctime_ns } = key;
            let values = params![device, inode, piece_log2, len, mtime_ns, ctime_ns];
            let row = query.query_row(values, |row| {
                let hashes = decode(&key, job, row.get(1)?, row.get(2)?, row.get(3)?);
                Ok((row.get::<_, i64>(0)?, hashes, row.get::<_, i64>(4)?))
            });
            let row = row.optional()?;
            seen.extend(row.as_ref().filter(|row| row.0 != today).map(|row| row.2));
            found.push(row.and_then(|row| row.1));
        }
    }
    step.commit()?;
    if !seen.is_empty() {
        // Worth a try once a day, not worth waiting or failing for.
        let _ = note_seen(db, &seen, today);
    }
    Ok(found)
}

fn note_seen(db: &mut Connection, rows: &[i64], today: i64) -> rusqlite::Result<()> {
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut update = step.prepare_cached("UPDATE hashes SET seen = ?1 WHERE rowid = ?2")?;
        for row in rows {
            update.execute(params![today, row])?;
        }
    }
    step.commit()
}

fn add_all(
    db: &mut Connection,
    hashed: &[(HashJob, FileHashes)],
    today: i64,
    forget_before: Option<i64>,
) -> rusqlite::Result<()> {
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(day) = forget_before {
        step.execute("DELETE FROM hashes WHERE seen < ?1", [day])?;
    }
    {
        let mut insert = step.prepare_cached(
            "INSERT OR REPLACE INTO hashes
             (device, inode, piece_log2, len, mtime_ns, ctime_ns, seen, crc, digest, pieces)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        for (job, hashes) in hashed {
            let Some(key) = Key::of(job) else { continue };
            let pieces: Vec<u8> = hashes.pieces.iter().flat_map(|piece| piece.0).collect();
            let crc = key.crc(&hashes.digest.0, &pieces);
            let Key { device, inode, piece_log2, len, mtime_ns, ctime_ns } = key;
            let digest = &hashes.digest.0[..];
            insert.execute(params![
                device, inode, piece_log2, len, mtime_ns, ctime_ns, today, crc, digest, pieces
            ])?;
        }
    }
    step.commit()
}

/// As [`decode`], for one who has no key; see [`super::probe`].
pub(super) fn read_row(
    job: &HashJob,
    crc: u32,
    digest: Vec<u8>,
    pieces: Vec<u8>,
) -> Option<FileHashes> {
    decode(&Key::of(job)?, job, crc, digest, pieces)
}

/// The CRC of a row; see [`super::probe`].
pub(super) fn row_crc(job: &HashJob, digest: &[u8], pieces: &[u8]) -> Option<u32> {
    Some(Key::of(job)?.crc(digest, pieces))
}

/// A row's hashes, if the row is whole and fits the file.
fn decode(
    key: &Key,
    job: &HashJob,
    crc: u32,
    digest: Vec<u8>,
    pieces: Vec<u8>,
) -> Option<FileHashes> {
    let count = job.stamp.len.div_ceil(1u64.checked_shl(u32::from(job.piece_log2))?);
    let whole = key.crc(&digest, &pieces) == crc && pieces.len() as u64 == count.checked_mul(32)?;
    if !whole {
        return None;
    }
    let (pieces, _) = pieces.as_chunks::<32>();
    Some(FileHashes {
        digest: Digest(digest.try_into().ok()?),
        pieces: pieces.iter().map(|piece| Digest(*piece)).collect(),
    })
}
