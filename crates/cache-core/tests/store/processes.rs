//! Real processes on one folder: writing at once, dying, and leaving things behind.
//!
//! A test starts its own executable again, which runs [`child`] in the role that the environment names.

use crate::records::{Sample, Seen, files};
use rekindle_cache_core::store::{FolderStore, Store};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub(crate) const ROLE: &str = "REKINDLE_TEST_ROLE";
pub(crate) const FOLDER: &str = "REKINDLE_TEST_FOLDER";

/// Three of these are more than a batch, two are less.
const LARGE: usize = 100_000;

pub(crate) fn start(role: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "processes::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts")
}

/// Waits until the child says that it is ready.
fn wait_until_ready(child: &mut Child) {
    let output = child.stdout.take().expect("piped");
    let mut lines = BufReader::new(output);
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).expect("reads"),
            0,
            "the child ended early"
        );
    }
    // Kept open, so that the child can go on writing.
    child.stdout = Some(lines.into_inner());
}

/// Lets the child go on and waits for its end.
pub(crate) fn finish(mut child: Child) {
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
}

fn ready() {
    println!("ready");
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).expect("reads");
}

#[test]
#[ignore = "is no test: the other tests start it as a process of its own"]
fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("a folder"));
    if role == "everything" {
        return crate::kills::do_everything(&folder);
    }
    let store = FolderStore::open(&folder).expect("opens");
    match role.as_str() {
        "until killed" => crate::kills::work_until_killed(&store),
        "left" | "right" => {
            ready();
            for version in 0..200 {
                Sample::new(&format!("{role} {version}"), version, 2000)
                    .put(&store)
                    .expect("put");
                Sample::new("shared", version, 100)
                    .put(&store)
                    .expect("put");
                if version % 50 == 49 {
                    store.flush().expect("flushed");
                }
            }
        }
        "killed" => {
            for version in 0..4 {
                Sample::new(&format!("killed {version}"), version, LARGE)
                    .put(&store)
                    .expect("put");
            }
            std::process::abort();
        }
        "living" => {
            for version in 0..4 {
                Sample::new(&format!("living {version}"), version, LARGE)
                    .put(&store)
                    .expect("put");
            }
            ready();
        }
        "adopting" => {
            ready();
            assert_eq!(
                Seen::of(&store, "killed 0").records.len(),
                0,
                "opened before"
            );
            drop(store);
            let store = FolderStore::open(&folder).expect("opens");
            let missing = Seen::of(&store, "never put");
            assert!(missing.damage.is_empty(), "{missing:?}");
        }
        "forking" => fork(&store),
        "full disk" => crate::bad_days::fill_the_disk(&store),
        "no files left" => crate::bad_days::use_up_files(&store),
        other => panic!("no such role: {other}"),
    }
}

/// Forks while a segment is open, and lets both processes go on.
fn fork(store: &FolderStore) {
    for version in 0..3 {
        Sample::new(&format!("before {version}"), version, LARGE)
            .put(store)
            .expect("put");
    }
    // SAFETY: The child uses the store, whose locks no other thread holds at this moment as there is
    // none that knows of it, and memory, which the C library makes usable after a fork. It leaves by
    // `_exit`, so it runs none of the parent's handlers.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let put = Sample::new("in the child", 1, LARGE).put(store).is_ok();
        let good = put && store.flush().is_ok() && Seen::of(store, "before 0").records.len() == 1;
        // SAFETY: Ends this process, and nothing else.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut status = 0;
    // SAFETY: `status` is a place for one number, and `child` is this process's child.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    Sample::new("in the parent", 1, LARGE)
        .put(store)
        .expect("put");
    store.flush().expect("flushed");
}

#[test]
fn two_write_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut children = ["left", "right"].map(|role| start(role, folder.path()));
    children.iter_mut().for_each(wait_until_ready);
    children.into_iter().for_each(finish);
    let store = FolderStore::open(folder.path()).expect("opens");
    for role in ["left", "right"] {
        for version in 0..200 {
            let seen = Seen::of(&store, &format!("{role} {version}"));
            assert_eq!(seen.versions(), [version]);
            assert_eq!(seen.records[0].image, Sample::new("", version, 2000).image);
        }
    }
    assert_eq!(Seen::of(&store, "shared").records.len(), 400);
    assert_eq!(store.statistics().damaged, 0);
}

#[test]
fn what_a_killed_process_had_written_is_adopted() {
    let folder = tempfile::tempdir().expect("a folder");
    let status = start("killed", folder.path()).wait().expect("ends");
    assert!(!status.success());
    assert_eq!(files(folder.path(), "segment").len(), 1);
    let store = FolderStore::open(folder.path()).expect("opens");
    for version in 0..3 {
        let seen = Seen::of(&store, &format!("killed {version}"));
        assert_eq!(seen.records.len(), 1, "{version}");
        assert!(seen.records[0].image_is_right);
    }
    let lost = Seen::of(&store, "killed 3");
    assert!(
        lost.records.is_empty() && lost.damage.is_empty(),
        "in memory only: {lost:?}"
    );
    assert!(files(folder.path(), "segment").is_empty());
    assert_eq!(files(folder.path(), "pack").len(), 1);
}

#[test]
fn many_adopt_at_once_and_one_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut children = [(); 4].map(|()| start("adopting", folder.path()));
    children.iter_mut().for_each(wait_until_ready);
    start("killed", folder.path()).wait().expect("ends");
    for child in &mut children {
        drop(child.stdin.take());
    }
    children.into_iter().for_each(finish);
    assert!(files(folder.path(), "segment").is_empty());
    assert_eq!(files(folder.path(), "pack").len(), 1);
    let store = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(store.statistics().records, 3);
}

#[test]
fn the_segment_of_a_living_process_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = start("living", folder.path());
    wait_until_ready(&mut child);
    let segments = files(folder.path(), "segment");
    assert_eq!(segments.len(), 1);
    let store = FolderStore::open(folder.path()).expect("opens");
    assert_eq!(files(folder.path(), "segment"), segments);
    let seen = Seen::of(&store, "living 0");
    assert!(
        seen.records.is_empty() && seen.damage.is_empty(),
        "{seen:?}"
    );
    assert!(!store.refresh().expect("refreshed"));
    finish(child);
    assert!(store.refresh().expect("refreshed"));
    for version in 0..4 {
        assert_eq!(
            Seen::of(&store, &format!("living {version}")).versions(),
            [version]
        );
    }
}

#[test]
fn a_forked_process_begins_a_segment_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    finish(start("forking", folder.path()));
    assert_eq!(files(folder.path(), "pack").len(), 2);
    let store = FolderStore::open(folder.path()).expect("opens");
    for name in [
        "before 0",
        "before 1",
        "before 2",
        "in the child",
        "in the parent",
    ] {
        let seen = Seen::of(&store, name);
        assert_eq!(seen.records.len(), 1, "{name}");
        assert!(seen.records[0].image_is_right, "{name}");
    }
    assert_eq!(store.statistics().damaged, 0);
}
