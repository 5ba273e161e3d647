//! Folders that cannot be written, read or trusted.
//!
//! Root may do everything, so what a user may not do is tried by a child process of another user.

use crate::records::{Sample, Seen, files};
use rekindle_cache_core::store::{FolderStore, Store, StoreError};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const ROLE: &str = "REKINDLE_TEST_USER_ROLE";
const FOLDER: &str = "REKINDLE_TEST_USER_FOLDER";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn change_mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).expect("changed");
}

/// Runs [`child`] as a user who is not root, whoever runs the tests.
fn run_as_user(role: &str, folder: &Path) {
    let executable = std::env::current_exe().expect("a path");
    // The build may be in a folder that only root can enter.
    let open = tempfile::tempdir().expect("a folder");
    change_mode(open.path(), 0o755);
    let copy = open.path().join("tests");
    std::fs::copy(executable, &copy).expect("copied");
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copy);
        command
    } else {
        Command::new(&copy)
    };
    let output = command
        .args(["--exact", "permissions::child", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .output()
        .expect("runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
}

#[test]
#[ignore = "is no test: the other tests start it as a process of another user"]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("a folder"));
    match role.as_str() {
        "may only read" => {
            let store = FolderStore::open(&folder).expect("opens for reading");
            assert_eq!(Seen::of(&store, "a").versions(), [1]);
            store.flush().expect("nothing to flush");
            for version in 2..6 {
                Sample::new("a", version, 100_000)
                    .put(&store)
                    .expect("kept in memory");
            }
            assert!(matches!(store.flush(), Err(StoreError::Io { .. })));
            assert_eq!(Seen::of(&store, "a").versions(), [5, 4, 3, 2, 1]);
        }
        "may not read" => {
            let error = FolderStore::open(&folder).err().expect("refused");
            assert!(
                error.to_string().contains(folder.to_str().expect("text")),
                "{error}"
            );
        }
        "may not create" => {
            let error = FolderStore::open(folder.join("new"))
                .err()
                .expect("refused");
            assert!(
                matches!(
                    error,
                    StoreError::Io {
                        action: "create",
                        ..
                    }
                ),
                "{error}"
            );
        }
        other => panic!("no such role: {other}"),
    }
}

/// A store's folder with one record in a pack that everyone can read.
fn readable_store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    Sample::new("a", 1, 100).put(&store).expect("put");
    store.flush().expect("flushed");
    change_mode(&files(folder.path(), "pack")[0], 0o644);
    folder
}

#[test]
fn a_folder_that_can_only_be_read_is_read() {
    let folder = readable_store();
    change_mode(&folder.path().join("v3"), 0o555);
    change_mode(folder.path(), 0o555);
    run_as_user("may only read", folder.path());
    change_mode(folder.path(), 0o755);
    change_mode(&folder.path().join("v3"), 0o755);
    assert_eq!(files(folder.path(), "pack").len(), 1);
    assert!(files(folder.path(), "segment").is_empty());
}

#[test]
fn a_folder_that_cannot_be_read_is_an_error() {
    let folder = readable_store();
    change_mode(&folder.path().join("v3"), 0o000);
    change_mode(folder.path(), 0o500);
    run_as_user("may not read", folder.path());
    change_mode(folder.path(), 0o700);
    change_mode(&folder.path().join("v3"), 0o700);
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let parent = tempfile::tempdir().expect("a folder");
    change_mode(parent.path(), 0o555);
    run_as_user("may not create", parent.path());
    change_mode(parent.path(), 0o755);

    let file = parent.path().join("file");
    std::fs::write(&file, b"").expect("written");
    assert!(matches!(
        FolderStore::open(file.join("store")),
        Err(StoreError::Io { .. })
    ));
    assert!(matches!(
        FolderStore::open(&file),
        Err(StoreError::Io { .. })
    ));
}

#[test]
fn folders_and_files_are_private() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("deep/store");
    let store = FolderStore::open(&folder).expect("opens");
    for version in 0..3 {
        Sample::new("a", version, 100_000).put(&store).expect("put");
    }
    let mode = |path: &Path| path.metadata().expect("is there").mode() & 0o7777;
    assert_eq!(mode(&parent.path().join("deep")), 0o700);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(store.folder()), 0o700);
    assert_eq!(mode(&files(&folder, "segment")[0]), 0o600);
    store.flush().expect("flushed");
    assert_eq!(mode(&files(&folder, "pack")[0]), 0o600);
}

#[test]
fn a_folder_that_others_can_write_is_refused_with_the_command_that_mends_it() {
    let folder = tempfile::tempdir().expect("a folder");
    change_mode(folder.path(), 0o770);
    let error = FolderStore::open(folder.path()).err().expect("refused");
    assert!(matches!(error, StoreError::Untrusted { .. }));
    let remedy = format!("chmod go-w {}", folder.path().display());
    assert!(error.to_string().contains(&remedy), "{error}");
    assert!(!folder.path().join("v3").exists());
    change_mode(folder.path(), 0o700);
    FolderStore::open(folder.path()).expect("mended");
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    if !is_root() {
        // Only root can give a folder away.
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::chown(folder.path(), Some(1234), None).expect("given away");
    let error = FolderStore::open(folder.path())
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("user 1234") && error.contains("REKINDLE_DIR"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_written_is_found_and_written_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    std::fs::remove_dir_all(store.folder()).expect("removed");
    // Neither can the folder be made again.
    std::fs::write(store.folder(), b"in the way").expect("written");
    for version in 0..3 {
        let put = Sample::new("a", version, 100_000).put(&store);
        // The third one fills a batch.
        assert_eq!(put.is_err(), version == 2);
    }
    assert!(matches!(store.flush(), Err(StoreError::Io { .. })));
    assert_eq!(Seen::of(&store, "a").versions(), [2, 1, 0]);
    Sample::new("a", 3, 10)
        .put(&store)
        .expect("no try with every record");
    std::fs::remove_file(store.folder()).expect("removed");
    std::fs::create_dir(store.folder()).expect("made again");
    store.flush().expect("flushed");
    assert_eq!(Seen::of(&store, "a").versions(), [3, 2, 1, 0]);
    let other = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(Seen::of(&other, "a").versions(), [3, 2, 1, 0]);
}

#[test]
fn a_folder_removed_underneath_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("store");
    let store = FolderStore::open(&root).expect("opens");
    Sample::new("before", 1, 10).put(&store).expect("put");
    store.flush().expect("flushed");
    std::fs::remove_dir_all(&root).expect("removed");
    assert!(!store.refresh().expect("nothing new"));
    assert_eq!(Seen::of(&store, "before").versions(), [1], "still mapped");
    Sample::new("after", 2, 10).put(&store).expect("put");
    store.flush().expect("flushed");
    let other = FolderStore::open(&root).expect("opens");
    assert_eq!(Seen::of(&other, "after").versions(), [2]);
    assert!(Seen::of(&other, "before").records.is_empty());
    store.maintain().expect("maintained");
}

#[test]
fn a_segment_that_cannot_be_sealed_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    for version in 0..3 {
        Sample::new("a", version, 100_000).put(&store).expect("put");
    }
    std::fs::remove_file(&files(folder.path(), "segment")[0]).expect("removed");
    assert!(matches!(store.flush(), Err(StoreError::Io { .. })));
    assert_eq!(Seen::of(&store, "a").versions(), [2, 1, 0]);
    store.flush().expect("flushed");
    assert_eq!(Seen::of(&store, "a").versions(), [2, 1, 0]);
    let other = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(Seen::of(&other, "a").versions(), [2, 1, 0]);
}

/// No owner and mode check is what holochain was told of.
#[test]
fn files_that_others_could_have_written_are_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("opens");
    for (name, version) in [("good", 1), ("bad", 2)] {
        Sample::new(name, version, 10).put(&store).expect("put");
        store.flush().expect("flushed");
    }
    let bad = pack_of(&store, "bad");
    drop(store);
    let refused = || {
        let store = FolderStore::open(folder.path()).expect("the others are used");
        assert_eq!(Seen::of(&store, "good").versions(), [1]);
        assert!(Seen::of(&store, "bad").records.is_empty());
        assert!(store.statistics().faults > 0);
    };
    for mode in [0o620, 0o602, 0o666] {
        change_mode(&bad, mode);
        refused();
    }
    change_mode(&bad, 0o600);
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&bad, &elsewhere).expect("renamed");
    std::os::unix::fs::symlink(&elsewhere, &bad).expect("linked");
    refused();
    std::fs::remove_file(&bad).expect("removed");
    std::fs::rename(&elsewhere, &bad).expect("renamed");
    if is_root() {
        std::os::unix::fs::chown(&bad, Some(1234), None).expect("given away");
        refused();
        std::os::unix::fs::chown(&bad, Some(0), None).expect("taken back");
    }
    let store = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(Seen::of(&store, "bad").versions(), [2], "mended");
    assert_eq!(store.statistics().faults, 0);
}

/// The pack that has the record called `name`.
fn pack_of(store: &FolderStore, name: &str) -> PathBuf {
    let mut found = None;
    store.inventory(&mut |listed| {
        if listed.record.metadata.entry.name == *name {
            found = Some(listed.file.to_owned());
        }
        std::ops::ControlFlow::Continue(())
    });
    found.expect("is in a pack")
}
