//! The command as a user runs it.

use rekindle_cache_core::artifact::ImageRef;
use rekindle_cache_core::key::FormKey;
use rekindle_cache_core::metadata::{Entry, Manifest, Metadata};
use rekindle_cache_core::store::{FolderStore, NewRecord, Provenance, Store};
use rekindle_cache_core::{Digest, checksum};
use std::path::Path;
use std::process::{Command, Output};

fn rekindle(arguments: &[&str], folder: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.args(arguments).env_remove("REKINDLE_DIR");
    if let Some(folder) = folder {
        command.env("REKINDLE_DIR", folder);
    }
    command.output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A store with one flushed record, and its key.
fn store(folder: &Path) -> FormKey {
    let image = [0; 1536];
    let key = FormKey(Digest::of("test", b"one"));
    let metadata = Metadata {
        manifest: Manifest {
            dependencies: Vec::new(),
            object_key: [0; 32],
            ..Manifest::default()
        },
        entry: Entry {
            name: "user/one".to_owned(),
            factory: "make".to_owned(),
            defines: Vec::new(),
            defines_later: Vec::new(),
            references: Vec::new(),
            environment: [0; 32],
            object_digest: [0; 32],
            compile_ns: 1_400_000,
            created: 0,
            image_checksum: checksum(&image),
            ..Entry::default()
        },
    };
    let store = FolderStore::open(folder).expect("opens");
    store
        .put(NewRecord {
            key,
            metadata: &metadata,
            image: ImageRef {
                bytes: &image,
                checksum: checksum(&image),
            },
            provenance: Provenance::OWN,
        })
        .expect("put");
    store.flush().expect("flushed");
    key
}

#[test]
fn status_and_list_show_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = store(folder.path()).to_string();

    let status = rekindle(&["status"], Some(folder.path()));
    assert!(status.status.success(), "{}", text(&status.stderr));
    let shown = text(&status.stdout);
    assert!(
        shown.contains(&format!("folder   {}\n", folder.path().display())),
        "{shown}"
    );
    assert!(
        shown.contains("packs    1\nrecords  1\n") && shown.contains("damaged  0\n"),
        "{shown}"
    );

    let list = rekindle(
        &["list", "--dir", folder.path().to_str().expect("text")],
        None,
    );
    assert!(list.status.success(), "{}", text(&list.stderr));
    let shown = text(&list.stdout);
    assert_eq!(shown.lines().count(), 1);
    for part in [&key[..16], "1.5 KiB", "1.4 ms", "user/one"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn status_names_what_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    store(folder.path());
    let pack = std::fs::read_dir(folder.path().join("v2"))
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .next()
        .expect("a pack");
    let mut bytes = std::fs::read(&pack).expect("read");
    bytes[100] ^= 1;
    std::fs::write(&pack, bytes).expect("written");
    let shown = text(&rekindle(&["status"], Some(folder.path())).stdout);
    let damage = format!("damaged  1\n  {}, offset 32: ", pack.display());
    assert!(shown.contains(&damage), "{shown}");
    assert!(pack.exists(), "looking changes nothing");
}

#[test]
fn a_missing_folder_is_an_error_and_is_not_made() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("missing");
    let output = rekindle(&["status"], Some(&folder));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(
        text(&output.stderr).contains("missing"),
        "{}",
        text(&output.stderr)
    );
    assert!(!folder.exists());
}
