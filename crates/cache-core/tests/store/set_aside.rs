//! What becomes of damage: met by a look-up or sought by verifying.

use crate::records::{Seen, files, open, put};
use rekindle_cache_core::store::{FolderStore, Store};
use std::path::{Path, PathBuf};

/// Flushes five records, `name 0` to `name 4`, and gives their pack and its bytes.
fn five_records(folder: &Path) -> (PathBuf, Vec<u8>) {
    let store = open(folder);
    for version in 0..5 {
        put(&store, &format!("name {version}"), version, 100);
    }
    store.flush().expect("flushed");
    let [pack]: [PathBuf; 1] = files(folder, "pack").try_into().expect("one");
    let bytes = std::fs::read(&pack).expect("read");
    (pack, bytes)
}

/// A poisoned cache that recovers without a person is what edutelligence asked for.
#[test]
fn damage_met_by_a_look_up_is_set_aside_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pack, mut bytes) = five_records(folder.path());
    // In the metadata of one record.
    let place = bytes.windows(6).position(|window| window == b"name 2");
    bytes[place.expect("is there")] ^= 1;
    std::fs::write(&pack, bytes).expect("written");

    let store = open(folder.path());
    assert_eq!(store.quarantined().expect("listed"), [], "not met yet");
    let seen = Seen::of(&store, "name 2");
    assert!(seen.records.is_empty());
    assert_eq!(seen.damage.len(), 1);
    store.maintain().expect("maintained");
    let [quarantined] = store
        .quarantined()
        .expect("listed")
        .try_into()
        .expect("one");
    assert!(
        quarantined
            .reason
            .contains("the checksum of header and metadata is wrong"),
        "{}",
        quarantined.reason
    );
    for store in [&store, &open(folder.path())] {
        for version in [0, 1, 3, 4] {
            let seen = Seen::of(store, &format!("name {version}"));
            assert_eq!(seen.versions(), [version]);
        }
        let seen = Seen::of(store, "name 2");
        assert!(
            seen.records.is_empty() && seen.damage.is_empty(),
            "once: {seen:?}"
        );
        assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, []);
    }
    store.clear().expect("cleared");
    assert_eq!(store.quarantined().expect("listed"), []);
}

#[test]
fn verifying_finds_what_no_look_up_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pack, good) = five_records(folder.path());
    let mut progress = 0;
    let verify = |progress: &mut u64| {
        let store = open(folder.path());
        let verified = store.verify(&mut |now| {
            assert!(now.done >= *progress && now.done <= now.total);
            *progress = now.done;
        });
        verified.expect("verified")
    };
    let verified = verify(&mut progress);
    assert_eq!((verified.packs, verified.records), (1, 5));
    assert_eq!(
        (verified.bytes, progress),
        (good.len() as u64, good.len() as u64)
    );
    assert_eq!(verified.damage, []);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        std::fs::write(&pack, bad).expect("written");
        // Opening sets aside what it cannot read, so look without changing anything.
        let store = FolderStore::open_read_only(folder.path()).expect("opens");
        let verified = store.verify(&mut |_| {}).expect("verified");
        assert!(
            !verified.damage.is_empty(),
            "byte {place} of {}",
            good.len()
        );
    }
}
