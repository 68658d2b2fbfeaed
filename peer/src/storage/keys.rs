//! Where this user's state lives, and the key in it that shows that names are ours. Both are private,
//! and are refused if they are not.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use protocol::PublisherKey;
use rustix::fs::{Mode, OFlags};

use crate::disk::{StorageError, StorageErrorKind};

use super::error::{advise, error, refused};
use super::fs::{Fs, Rename};
use super::os_fs::OsFs;

/// The name of the key's file in the state folder.
const KEY_FILE: &str = "publisher.key";
const KEY_LEN: usize = 16;

/// The folder for state, made if it does not exist: `flag` (from `--state-dir` or `PEER_STATE_DIR`), else
/// `$STATE_DIRECTORY` as systemd gives it, else `starling` in `$XDG_STATE_HOME` or `~/.local/state`.
///
/// # Errors
/// When there is no such place, or others could write there.
pub fn state_dir(flag: Option<&Path>) -> Result<PathBuf, StorageError> {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let path = flag
        .map(Path::to_owned)
        // systemd joins several folders with colons; the first is ours.
        .or_else(|| std::env::split_paths(&env("STATE_DIRECTORY")?).next())
        .or_else(|| Some(absolute("XDG_STATE_HOME")?.join("starling")))
        .or_else(|| Some(absolute("HOME")?.join(".local/state/starling")));
    let Some(path) = path else {
        let what = "no place for the state: neither STATE_DIRECTORY nor HOME is set";
        let error = error(StorageErrorKind::NotFound, what, Path::new(""));
        return Err(advise(error, "name a folder with --state-dir or PEER_STATE_DIR"));
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .map_err(|cause| refused("make the state folder", &path, &cause))?;
    let found = std::fs::metadata(&path)
        .map_err(|cause| refused("look at the state folder", &path, &cause))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_private(
            &path,
            "the state folder belongs to another user",
            "another folder",
        ));
    }
    if found.mode() & 0o022 != 0 {
        let fix = format!("chmod go-w '{}'", path.display());
        return Err(not_private(&path, "others can write to the state folder", &fix));
    }
    Ok(path)
}

/// The key in the state folder, made at first use.
///
/// # Errors
/// When it can't be read or made, is not a key, or others could read it.
pub fn publisher_key(state_dir: &Path) -> Result<PublisherKey, StorageError> {
    let path = state_dir.join(KEY_FILE);
    match read_key(&path) {
        Err(error) if error.kind == StorageErrorKind::NotFound => {}
        other => return other,
    }
    let fresh = reactor::seed::random_bytes::<KEY_LEN>()
        .map_err(|cause| refused("draw a random key", &path, &cause))?;
    match write_key(state_dir, &fresh) {
        Ok(()) => Ok(PublisherKey(fresh)),
        // Another process was faster: its key is the key.
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => read_key(&path),
        Err(cause) => Err(refused("make the publisher key", &path, &cause)),
    }
}

fn read_key(path: &Path) -> Result<PublisherKey, StorageError> {
    let refuse = |cause: io::Error| refused("read the publisher key", path, &cause);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|cause| refuse(cause.into()))?;
    let file = File::from(fd);
    let found = file.metadata().map_err(refuse)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_private(
            path,
            "the publisher key belongs to another user",
            "another folder",
        ));
    }
    if found.mode() & 0o077 != 0 {
        let what =
            format!("others can read the publisher key (mode {:04o})", found.mode() & 0o7777);
        return Err(not_private(path, &what, &format!("chmod 600 '{}'", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(KEY_LEN as u64 + 1).read_to_end(&mut bytes).map_err(refuse)?;
    <[u8; KEY_LEN]>::try_from(bytes).map(PublisherKey).map_err(|bytes| {
        let what =
            format!("not a publisher key: {KEY_LEN} bytes expected, {} or more found", bytes.len());
        let advice = "put the right file back from a backup; if you remove it, a new key is made, \
                      which does not own your names";
        advise(error(StorageErrorKind::Io, what, path), advice)
    })
}

/// All or nothing, and durable before it is used: a name published with a key that is lost again could
/// never be updated.
fn write_key(state_dir: &Path, key: &[u8]) -> io::Result<()> {
    let folder = OsFs.folder(state_dir)?;
    let new = PathBuf::from(format!("{KEY_FILE}.{}.tmp", std::process::id()));
    let full = state_dir.join(&new);
    match std::fs::remove_file(&full) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&full)?;
    file.write_all(key)?;
    file.sync_all()?;
    let renamed = folder.rename(&new, Path::new(KEY_FILE), Rename::Keep);
    if renamed.is_err() {
        // It has no other use; that it can't be removed matters less than the error at hand.
        let _ = std::fs::remove_file(&full);
    }
    renamed?;
    folder.sync_folder(Path::new(""))
}

fn not_private(path: &Path, what: &str, fix: &str) -> StorageError {
    let advice = if fix == "another folder" {
        "run as that user, or name another folder with --state-dir".to_owned()
    } else {
        format!("if you trust what is in it: {fix}")
    };
    advise(error(StorageErrorKind::Io, what, path), advice)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = state_dir(Some(&dir.path().join("new/state"))).unwrap();
        assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
        let key = publisher_key(&state).unwrap();
        assert_eq!(publisher_key(&state).unwrap(), key);
        let path = state.join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing else is left");

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = publisher_key(&state).unwrap_err();
        assert!(error.advice.unwrap().contains("chmod 600"));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(publisher_key(&state).is_err(), "a damaged key is not replaced");
        fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        assert!(publisher_key(&state).is_err());

        fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
        assert!(state_dir(Some(&state)).unwrap_err().advice.unwrap().contains("chmod go-w"));
    }
}
