//! Looks into any bytes as a pack, as they are and as the records of a segment that a dead process left. What
//! is found has the right checksum, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_cache_core::checksum;
use rekindle_cache_core::store::{FolderStore, Found, Limits, Merge, Options, Store};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::OnceLock;

fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("rekindle-fuzz-pack-{}", std::process::id()));
        drop(FolderStore::open(&folder).expect("a folder of one's own"));
        folder
    })
}

fn look(read_only: bool) {
    let options = Options {
        limits: Limits::NONE,
        read_only,
        ..Options::default()
    };
    let store = FolderStore::open_with(folder(), options).expect("opens whatever is in it");
    let mut keys = Vec::new();
    store.for_each(&mut |found| {
        if let Found::Record(record) = found {
            assert!(record.metadata.entry.name.len() < 1 << 30);
            keys.push(record.key);
        }
        ControlFlow::Continue(())
    });
    for key in &keys {
        store.get(key, &mut |found| {
            if let Found::Record(record) = found {
                let _ = checksum(record.image.bytes) == record.image.checksum;
            }
            ControlFlow::Continue(())
        });
    }
    let _ = store.removals();
    let _ = store.verify(&mut |_| {});
    if !read_only {
        store.maintain().expect("maintained");
        store.merge(Merge::All).expect("merged");
        assert!(store.verify(&mut |_| {}).expect("verified").damage.is_empty());
        store.clear().expect("cleared");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let versioned = folder().join("v3");
    std::fs::write(versioned.join("0000000000000001.pack"), bytes).expect("written");
    std::fs::write(versioned.join("0000000000000002.segment"), bytes).expect("written");
    look(true);
    look(false);
});
