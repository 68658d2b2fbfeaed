use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::catalog::Catalog;
use crate::store::MemoryStore;

fn publish(name: &str, number: u32, content: u8) -> Write {
    let version = Version {
        version: number,
        object: ObjectId([content; 32]),
        content: Digest([content; 32]),
        length: 4 << 40,
        published_at: 0,
        manifest_len: u32::MAX,
        piece_count: 262_144,
        file_count: 1,
        piece_log2: 24,
    };
    let kind = WriteKind::Publish { owner: Digest([7; 32]), copies: 3, version };
    Write { name: name.into(), kind }
}

fn unpublish(name: &str) -> Write {
    Write { name: name.into(), kind: WriteKind::Unpublish }
}

fn sorted(mut snapshot: Snapshot) -> Snapshot {
    snapshot.sort_by(|a, b| a.0.cmp(&b.0));
    // Each store stamps with its own clock.
    for version in snapshot.iter_mut().flat_map(|(_, entry)| &mut entry.versions) {
        assert!(version.published_at > 0);
        version.published_at = 1;
    }
    snapshot
}

#[test]
fn what_is_committed_is_there_after_a_restart_as_the_other_store_has_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state/tracker");
    let (mut store, empty) = SqliteStore::open(&dir).unwrap();
    assert_eq!(empty, Snapshot::new());
    let mut reference = MemoryStore::new(|| 1);
    let batches = [
        vec![publish("a", 1, 1), publish("a", 2, 2), publish("b/ü 'x'", 1, 3)],
        vec![unpublish("a"), publish("c", 1, 1), publish("a", 3, 1)],
        vec![unpublish("c"), unpublish("never")],
    ];
    for writes in batches {
        let batch = Batch { writes };
        assert!(store.commit(&batch).unwrap() > 1_600_000_000);
        reference.commit(&batch).unwrap();
    }
    drop(store);
    let (_store, found) = SqliteStore::open(&dir).unwrap();
    assert_eq!(sorted(found), sorted(reference.snapshot()));
}

// [T-54]
#[test]
fn old_versions_go_first() {
    let home = tempfile::tempdir().unwrap();
    let (mut store, _) = SqliteStore::open(home.path()).unwrap();
    let top = u32::try_from(MAX_VERSIONS).unwrap() + 5;
    let writes: Vec<_> = (1..=top).map(|number| publish("a", number, 1)).collect();
    let mut catalog = Catalog::default();
    writes.iter().for_each(|write| catalog.apply(write.clone(), 1));
    store.commit(&Batch { writes }).unwrap();
    drop(store);
    let (_store, found) = SqliteStore::open(home.path()).unwrap();
    assert_eq!(found[0].1.versions.len(), MAX_VERSIONS);
    assert_eq!(found[0].1.versions[0].version, 6);
    assert_eq!(sorted(found), sorted(catalog.snapshot()));
}

#[test]
fn a_batch_is_there_whole_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let (mut store, _) = SqliteStore::open(home.path()).unwrap();
    store.commit(&Batch { writes: vec![publish("a", 1, 1)] }).unwrap();
    // The second write breaks the rules of the table.
    let broken = Batch { writes: vec![publish("b", 1, 1), publish("a", 1, 2)] };
    assert!(!store.commit(&broken).unwrap_err().full);
    drop(store);
    let (_store, found) = SqliteStore::open(home.path()).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn a_full_disk_is_called_so() {
    let home = tempfile::tempdir().unwrap();
    let (mut store, _) = SqliteStore::open(home.path()).unwrap();
    store.db.pragma_update(None, "max_page_count", 10).unwrap();
    let writes = (0..2_000).map(|n| publish(&format!("name-{n}"), 1, 1)).collect();
    assert!(store.commit(&Batch { writes }).unwrap_err().full);
}

#[test]
fn settings_are_those_that_survive_a_power_cut() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = SqliteStore::open(home.path()).unwrap();
    let text = |name: &str| -> String {
        store.db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(text("journal_mode"), "wal");
    let full: i64 = store.db.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(full, 2);
}

#[test]
fn a_folder_belongs_to_one_and_is_private() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state");
    let (store, _) = SqliteStore::open(&dir).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in std::fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    match SqliteStore::open(&dir) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(store);
    SqliteStore::open(&dir).unwrap();
    std::fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(SqliteStore::open(&dir), Err(OpenError::Exposed { mode: 0o777, .. })));
}

#[test]
fn what_is_damaged_or_newer_is_refused_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tracker.db");
    let (mut store, _) = SqliteStore::open(home.path()).unwrap();
    let writes = (0..200).map(|n| publish(&format!("name-{n}"), 1, 1)).collect();
    store.commit(&Batch { writes }).unwrap();
    store.db.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let newer = std::fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(home.path()), Err(OpenError::TooNew { found: 99, .. })));
    assert_eq!(std::fs::read(&path).unwrap(), newer);

    let mut damaged = newer;
    let end = damaged.len();
    damaged[4_096..end].fill(0x5A);
    std::fs::write(&path, &damaged).unwrap();
    assert!(matches!(SqliteStore::open(home.path()), Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), damaged);
    std::fs::write(&path, b"not a database, but long enough to look like one".repeat(100)).unwrap();
    assert!(matches!(SqliteStore::open(home.path()), Err(OpenError::Damaged { .. })));
}
