//! Reads any bytes as a record of uses: nothing hangs on them but the order of eviction.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_cache_core::store::{FolderStore, Limits, Store};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::OnceLock;

fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::temp_dir().join(format!("rekindle-fuzz-uses-{}", std::process::id())))
}

fuzz_target!(|bytes: &[u8]| {
    let store = FolderStore::open(folder()).expect("a folder of one's own");
    std::fs::write(store.folder().join("uses"), bytes).expect("written");
    store.inventory(&mut |_| ControlFlow::Continue(()));
    let few = Limits { max_bytes: 1 << 20, max_entries: 1 };
    store.prune(&few).expect("pruned");
    store.maintain().expect("maintained");
});
