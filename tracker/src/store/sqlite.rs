//! Names in one SQLite file, in a folder that belongs to one process at a time.
//!
//! Write-ahead log with `synchronous = FULL`: a commit returns after fsync. Invariant S2: the folder's
//! lock is held for as long as the store lives. Invariant S3: a schema version that this program does
//! not know is refused, never touched.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use protocol::{Digest, ObjectId};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, params};
use thiserror::Error;

use super::{Batch, Store, StoreError, Write, WriteKind};
use crate::catalog::{MAX_VERSIONS, NameEntry, Snapshot, Version};

/// Why a folder can't be used as a store.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses it.
    #[error("data folder {} is in use by another tracker{}", dir.display(), pid_text(pid))]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process that holds it, if it said so.
        pid: Option<u32>,
    },
    /// Others on this host could change it.
    #[error("data folder {} can be written to by others (mode {mode:04o})", dir.display())]
    Exposed {
        /// The folder.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file or folder could not be used.
    #[error("can't {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database is damaged, or not ours.
    #[error("database {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite, or our own check, found.
        what: String,
    },
    /// The database was written by a newer tracker.
    #[error("database {} has format {found}, this tracker knows up to {known}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that we know.
        known: i64,
    },
}

fn pid_text(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// An open store.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    /// Holds the lock.
    _lock: File,
}

/// One statement list per format; the database counts in `user_version` how many it has seen.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE names (
        id     INTEGER PRIMARY KEY,
        name   TEXT    NOT NULL UNIQUE,
        owner  BLOB    NOT NULL,
        top    INTEGER NOT NULL,
        copies INTEGER NOT NULL
    );
    CREATE TABLE versions (
        name_id      INTEGER NOT NULL REFERENCES names (id),
        version      INTEGER NOT NULL,
        object       BLOB    NOT NULL,
        content      BLOB    NOT NULL,
        length       INTEGER NOT NULL,
        published_at INTEGER NOT NULL,
        manifest_len INTEGER NOT NULL,
        piece_count  INTEGER NOT NULL,
        file_count   INTEGER NOT NULL,
        piece_log2   INTEGER NOT NULL,
        PRIMARY KEY (name_id, version)
    ) WITHOUT ROWID;
"];

impl SqliteStore {
    /// Opens the store in `dir`, making both if they are not there, and reads all of it.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong; nothing was changed then, except that the folder may be new.
    pub fn open(dir: &Path) -> Result<(Self, Snapshot), OpenError> {
        prepare_dir(dir)?;
        let lock = lock_dir(dir)?;
        let path = dir.join("tracker.db");
        // SQLite gives its log files the mode of the database, which is only ours to read: 0600.
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| OpenError::Io { doing: "open", path: path.clone(), source })?;
        let damaged = |error: rusqlite::Error| OpenError::Damaged {
            path: path.clone(),
            what: error.to_string(),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(&path, flags).map_err(damaged)?;
        set_up(&db).map_err(damaged)?;
        check(&db, &path)?;
        migrate(&mut db, &path)?;
        let snapshot = load(&db).map_err(damaged)?;
        Ok((Self { db, _lock: lock }, snapshot))
    }
}

impl Store for SqliteStore {
    fn commit(&mut self, batch: &Batch) -> Result<u64, StoreError> {
        // [T-36] The commit returns after fsync; only then is a PUBLISH acknowledged.
        let published_at = reactor::clock::unix_time().as_secs();
        let attempt = || -> Result<(), rusqlite::Error> {
            let tx = self.db.transaction()?;
            for write in &batch.writes {
                put(&tx, write, published_at)?;
            }
            tx.commit()
        };
        match { attempt }() {
            Ok(()) => Ok(published_at),
            Err(error) => Err(StoreError {
                full: error.sqlite_error_code() == Some(ErrorCode::DiskFull),
                what: error.to_string(),
            }),
        }
    }
}

fn prepare_dir(dir: &Path) -> Result<(), OpenError> {
    let io = |doing, source| OpenError::Io { doing, path: dir.to_owned(), source };
    make_dir(dir).map_err(|error| io("make data folder", error))?;
    let metadata = std::fs::metadata(dir).map_err(|error| io("look at data folder", error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(OpenError::Exposed { dir: dir.to_owned(), mode });
    }
    Ok(())
}

/// Makes a folder and those above it, and makes their entries durable: what is committed into a new folder
/// has to be there after a power cut.
fn make_dir(dir: &Path) -> io::Result<()> {
    let missing: Vec<_> = dir.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    for path in missing {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn lock_dir(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let io = |doing| {
        let path = path.clone();
        move |source| OpenError::Io { doing, path, source }
    };
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(io("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = (&file).take(16).read_to_string(&mut text).ok();
            let pid = pid.and_then(|_| text.trim().parse().ok());
            return Err(OpenError::Locked { dir: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(io("lock")(error)),
    }
    let note_pid = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    note_pid(&mut file).map_err(io("write to"))?;
    Ok(file)
}

fn set_up(db: &Connection) -> Result<(), rusqlite::Error> {
    // Whoever inspects the file with other tools may make us wait this long, not longer.
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)
}

fn check(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |what| OpenError::Damaged { path: path.to_owned(), what };
    let verdict: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(verdict)) }
}

fn migrate(db: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let damaged = |error: rusqlite::Error| OpenError::Damaged {
        path: path.to_owned(),
        what: error.to_string(),
    };
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(damaged)?;
    let known = i64::try_from(MIGRATIONS.len()).expect("a handful");
    let Some(missing) = usize::try_from(found).ok().and_then(|seen| MIGRATIONS.get(seen..)) else {
        return Err(OpenError::TooNew { path: path.to_owned(), found, known });
    };
    let run = |db: &mut Connection| {
        let tx = db.transaction()?;
        missing.iter().try_for_each(|statements| tx.execute_batch(statements))?;
        tx.pragma_update(None, "user_version", known)?;
        tx.commit()
    };
    if missing.is_empty() { Ok(()) } else { run(db).map_err(damaged) }
}

fn load(db: &Connection) -> Result<Snapshot, rusqlite::Error> {
    let mut names = db.prepare("SELECT id, name, owner, top, copies FROM names ORDER BY id")?;
    let mut versions = db.prepare(
        "SELECT name_id, version, object, content, length, published_at, manifest_len,
                piece_count, file_count, piece_log2
         FROM versions ORDER BY name_id, version",
    )?;
    let mut rows = versions.query([])?;
    let mut next = rows.next()?.map(read_version).transpose()?;
    let mut snapshot = Vec::new();
    let mut entries = names.query([])?;
    while let Some(row) = entries.next()? {
        let id: i64 = row.get(0)?;
        let mut entry = NameEntry {
            owner: Digest(row.get(2)?),
            top: row.get(3)?,
            copies: row.get(4)?,
            versions: Vec::new(),
        };
        while let Some((_, version)) = next.take_if(|(name_id, _)| *name_id == id) {
            entry.versions.push(version);
            next = rows.next()?.map(read_version).transpose()?;
        }
        snapshot.push((row.get(1)?, entry));
    }
    Ok(snapshot)
}

fn read_version(row: &Row<'_>) -> Result<(i64, Version), rusqlite::Error> {
    let unsigned = |index| -> Result<u64, rusqlite::Error> {
        let value: i64 = row.get(index)?;
        u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, value))
    };
    let version = Version {
        version: row.get(1)?,
        object: ObjectId(row.get(2)?),
        content: Digest(row.get(3)?),
        length: unsigned(4)?,
        published_at: unsigned(5)?,
        manifest_len: row.get(6)?,
        piece_count: row.get(7)?,
        file_count: row.get(8)?,
        piece_log2: row.get(9)?,
    };
    Ok((row.get(0)?, version))
}

fn put(tx: &Transaction<'_>, write: &Write, published_at: u64) -> Result<(), rusqlite::Error> {
    match &write.kind {
        WriteKind::Publish { owner, copies, version } => {
            let id: i64 = tx
                .prepare_cached(
                    "INSERT INTO names (name, owner, top, copies) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (name) DO UPDATE SET top = excluded.top, copies = excluded.copies
                     RETURNING id",
                )?
                .query_row(params![&*write.name, owner.0, version.version, copies], |row| {
                    row.get(0)
                })?;
            insert_version(tx, id, version, published_at)
        }
        WriteKind::Unpublish => tx
            .prepare_cached(
                "DELETE FROM versions WHERE name_id = (SELECT id FROM names WHERE name = ?1)",
            )?
            .execute(params![&*write.name])
            .map(|_| ()),
    }
}

fn insert_version(
    tx: &Transaction<'_>,
    name_id: i64,
    version: &Version,
    published_at: u64,
) -> Result<(), rusqlite::Error> {
    tx.prepare_cached("INSERT INTO versions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            name_id,
            version.version,
            version.object.0,
            version.content.0,
            signed(version.length)?,
            signed(published_at)?,
            version.manifest_len,
            version.piece_count,
            version.file_count,
            version.piece_log2,
        ])?;
    // Ascending and without gaps but for removed names, so this drops at most one.
    tx.prepare_cached(
        "DELETE FROM versions WHERE name_id = ?1 AND version <=
            (SELECT version FROM versions WHERE name_id = ?1
             ORDER BY version DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![name_id, i64::try_from(MAX_VERSIONS).expect("a thousand")])
    .map(|_| ())
}

/// SQLite's integers are signed; no length or time of ours comes near the limit.
fn signed(value: u64) -> Result<i64, rusqlite::Error> {
    i64::try_from(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
